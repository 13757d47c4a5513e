// SPDX-License-Identifier: GPL-2.0-only
/*
 * A daemon that makes taps for guests' disks that ask for one. The kernel knows
 * which do; its events only say when to look. Each tap is made by a process of its
 * own, since that takes time; what it reports is also the guest's administrator's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "command.h"
#include "create.h"
#include "report.h"

#define JOBS_MAX	32	/* taps made at the same time; others wait */
#define JOBS_END	30	/* seconds that a daemon before us gets to undo its own */
#define TEXT_MAX	1000	/* of what a process reports, without its NUL */

/**
 * struct job - a tap that is being made
 * @vbd: the disk that it is for
 * @name: the image
 * @pid: the process that makes it; 0: no job
 * @fd: what it reports
 * @len: bytes of that
 * @text: those
 */
struct job {
	struct vbd_ids vbd;
	char *name;
	pid_t pid;
	int fd;
	size_t len;
	char text[TEXT_MAX + 1];
};

/**
 * struct server - the daemon
 * @args: what all taps have in common
 * @client: for commands
 * @events: for events
 * @lock: the descriptor whose lock says that we run
 * @jobs_lock: the one whose lock says that we or a process that makes a tap do
 * @look: there may be disks that wait
 * @jobs: the taps that are being made
 */
struct server {
	const struct args *args;
	struct client *client;
	struct client *events;
	int lock;
	int jobs_lock;
	bool look;
	struct job jobs[JOBS_MAX];
};

static struct job *find_job(struct server *s, const struct vbd_ids *vbd)
{
	for (struct job *job = s->jobs; job < s->jobs + JOBS_MAX; job++)
		if (job->pid && job->vbd.domid == vbd->domid && job->vbd.devid == vbd->devid)
			return job;
	return NULL;
}

static struct job *free_job(struct server *s)
{
	for (struct job *job = s->jobs; job < s->jobs + JOBS_MAX; job++)
		if (!job->pid)
			return job;
	return NULL;
}

/*
 * The process that makes one tap: what it reports goes to the daemon. Without the daemon,
 * which would say to the kernel how it ended, it undoes what it has done.
 */
static void __attribute__((noreturn)) run_job(const struct server *s, const struct job *job,
					      bool rdonly, int out, pid_t daemon)
{
	struct args args = *s->args;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != daemon)
		_exit(EINTR);
	close(s->lock);
	signal(SIGPIPE, SIG_IGN);
	dup2(out, STDERR_FILENO);
	args.image = job->name;
	args.rdonly = rdonly;
	exit(-create_tap(&args, &job->vbd));
}

static int start_job(struct server *s, struct job *job, const struct message *msg)
{
	pid_t daemon = getpid();
	int fds[2];

	*job = (struct job){ .vbd = msg->vbd, .name = strdup(msg->name) };
	if (!job->name || pipe2(fds, O_CLOEXEC)) {
		report("domain %u disk %u: %s", msg->vbd.domid, msg->vbd.devid, strerror(errno));
		free(job->name);
		return -ENOMEM;
	}
	fflush(stdout);
	job->pid = fork();
	if (job->pid == 0)
		run_job(s, job, message_has(msg, BLKTAP_A_RDONLY), fds[1], daemon);
	close(fds[1]);
	job->fd = fds[0];
	if (job->pid > 0)
		return 0;
	report("domain %u disk %u: fork: %s", msg->vbd.domid, msg->vbd.devid, strerror(errno));
	job->pid = 0;
	close(fds[0]);
	free(job->name);
	return -EAGAIN;
}

/* A name says that the disk waits. */
static int take_vbd(struct message *msg, void *arg)
{
	struct server *s = arg;
	struct job *job;

	/* Also one that another disk, which has gone, has left: the image is the same, say. */
	if (!msg->name || find_job(s, &msg->vbd))
		return 0;
	job = free_job(s);
	return job ? start_job(s, job, msg) : 0;
}

static int take_event(struct message *msg, void *arg)
{
	struct server *s = arg;

	s->look |= msg->event == BLKTAP_EVENT_VBD_WANTED;
	return 0;
}

/* The kernel's answer for the disk. Where that has gone, no other one gets it. */
static void answer(struct server *s, const struct job *job, int error)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_VBD_SET, .minor = -1, .vbd = &job->vbd, .error = error,
		.text = error ? job->text : NULL,
	};

	if (!client_get(s->client, &rq, NULL, NULL) && !error)
		say("domain %u disk %u: %s\n", job->vbd.domid, job->vbd.devid, job->name);
}

static void end_job(struct server *s, struct job *job)
{
	static const char prefix[] = "tap-ctl: ";
	int status = 0, error;

	close(job->fd);
	job->text[job->len] = '\0';
	if (!strncmp(job->text, prefix, sizeof(prefix) - 1))
		memmove(job->text, job->text + sizeof(prefix) - 1,
			sizeof(job->text) - sizeof(prefix) + 1);
	job->text[strcspn(job->text, "\n")] = '\0';
	if (job->text[0])
		report("domain %u disk %u: %s", job->vbd.domid, job->vbd.devid, job->text);

	waitpid(job->pid, &status, 0);
	error = WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
	if (error && !job->text[0])
		snprintf(job->text, sizeof(job->text), "%s: its tap could not be made", job->name);
	answer(s, job, error);
	free(job->name);
	job->pid = 0;
	s->look = true;
}

static void read_job(struct server *s, struct job *job)
{
	char rest[256];
	bool full = job->len == TEXT_MAX;
	ssize_t n;

	n = full ? read(job->fd, rest, sizeof(rest)) :
		   read(job->fd, job->text + job->len, TEXT_MAX - job->len);
	if (n > 0 && !full)
		job->len += n;
	if (n == 0 || (n < 0 && errno != EINTR))
		end_job(s, job);
}

static int wait_for_work(struct server *s, int events)
{
	struct pollfd fds[JOBS_MAX + 1] = { { .fd = events, .events = POLLIN } };
	int err;

	for (int i = 0; i < JOBS_MAX; i++)
		fds[i + 1] = (struct pollfd){
			.fd = s->jobs[i].pid ? s->jobs[i].fd : -1, .events = POLLIN,
		};
	if (poll(fds, JOBS_MAX + 1, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < JOBS_MAX; i++)
		if (fds[i + 1].revents)
			read_job(s, &s->jobs[i]);
	if (!fds[0].revents)
		return 0;
	err = client_events(s->events, take_event, s);
	if (err == -ENOBUFS)
		s->look = true;
	return err == -ENOBUFS ? 0 : err;
}

static int serve(struct server *s)
{
	int events = client_fd(s->events), err = client_join(s->events);

	s->look = true;
	if (!err)
		err = say("waiting for guests' disks\n");
	while (!err) {
		if (s->look) {
			s->look = false;
			err = client_dump(s->client, BLKTAP_CMD_VBD_GET, take_vbd, s);
		}
		err = err ?: wait_for_work(s, events);
	}
	return err;
}

static int open_lock(void)
{
	int fd = open(BLKTAP_CONTROL_NODE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	report("serve: %s: %s", BLKTAP_CONTROL_NODE, strerror(errno));
	return -errno;
}

/* A tap that is made twice takes the disk away from its twin. */
static void await_jobs(const struct server *s)
{
	struct flock all = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	const struct timespec interval = { .tv_nsec = 100000000 };

	for (int i = 0; i < JOBS_END * 10; i++) {
		if (!fcntl(s->jobs_lock, F_OFD_SETLK, &all))
			return;
		nanosleep(&interval, NULL);
	}
	report("serve: a tap that another tap-ctl serve has begun hangs: going on without it");
}

/* Two of us would make each tap twice. The locks go with the processes. */
static int lock(struct server *s)
{
	s->lock = open_lock();
	if (s->lock < 0)
		return s->lock;
	if (flock(s->lock, LOCK_EX | LOCK_NB)) {
		report("serve: another tap-ctl serve is running");
		return -EBUSY;
	}
	s->jobs_lock = open_lock();
	if (s->jobs_lock < 0)
		return s->jobs_lock;
	await_jobs(s);
	return 0;
}

static int run_serve(const struct args *args)
{
	struct server *s = calloc(1, sizeof(*s));
	int err;

	if (!s) {
		report("serve: out of memory");
		return -ENOMEM;
	}
	s->args = args;
	err = client_open(&s->client);
	if (err)
		goto out_free;
	err = client_open(&s->events);
	if (err)
		goto out_client;
	err = lock(s) ?: serve(s);
	client_close(s->events);
out_client:
	client_close(s->client);
out_free:
	free(s);
	return err;
}

static const struct opt *const opts[] = { &opt_mode, &opt_timeout, NULL };

const struct command cmd_serve = {
	.name = "serve",
	.summary = "Make taps for guests' disks that ask for one, until interrupted",
	.about = "A guest's disk asks by its params, tap:TYPE:/PATH, where the module\n"
		 "xen-blkback-glue is loaded. Its tap is freed when the guest has gone. Only\n"
		 "one may run; taps go on without it.",
	.opts = opts,
	.run = run_serve,
};
