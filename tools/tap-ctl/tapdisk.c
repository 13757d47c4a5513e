// SPDX-License-Identifier: GPL-2.0-only
/*
 * Starting a tapdisk: tapdisk --ready-fd=N writes one line to descriptor N,
 * "ok" once it has registered, or "error: " and why it could not.
 */
#include "tapdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "report.h"

#ifndef SBINDIR
#define SBINDIR "/usr/local/sbin"
#endif

#define READY_TIMEOUT	30	/* seconds until a tapdisk must be ready, if not said */
#define STOP_TIMEOUT	5	/* seconds it gets to end by itself */
#define READY_FD	3	/* in the child */

/**
 * struct birth - a tapdisk that is starting
 * @pid: the process
 * @fd: where it tells how it goes
 * @interrupt: give up once this is readable; -1: never
 * @timeout: seconds until it must be ready
 * @len: bytes that it has told
 * @line: what it has told
 * @path: the binary
 */
struct birth {
	pid_t pid;
	int fd;
	int interrupt;
	uint32_t timeout;
	size_t len;
	char line[1024];
	char path[PATH_MAX];
};

static bool is_program(const char *path)
{
	return !access(path, X_OK);
}

/* Where the binary is. Returns 0 or -ENOENT, reported. */
static int find_binary(char path[PATH_MAX])
{
	const char *named = getenv("TAPDISK");
	char beside[PATH_MAX - 16] = "";
	char *slash;

	if (named && *named) {
		snprintf(path, PATH_MAX, "%s", named);
		if (is_program(path))
			return 0;
		report("no tapdisk: %s (from $TAPDISK): %s", named, strerror(errno));
		return -ENOENT;
	}
	if (readlink("/proc/self/exe", beside, sizeof(beside) - 1) > 0) {
		slash = strrchr(beside, '/');
		*slash = '\0';
		snprintf(path, PATH_MAX, "%s/tapdisk", beside);
		if (is_program(path))
			return 0;
	}
	snprintf(path, PATH_MAX, "%s/tapdisk", SBINDIR);
	if (is_program(path))
		return 0;
	report("no tapdisk in %s or %s: install it, or set $TAPDISK", beside, SBINDIR);
	return -ENOENT;
}

static void __attribute__((noreturn)) run_child(const char *path, int ready_fd)
{
	char option[32];
	sigset_t none;
	int null;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR);
	/* Away from 0 to 3 first: the pipe may be one of them. */
	ready_fd = fcntl(ready_fd, F_DUPFD, READY_FD + 1);
	for (int fd = 0; fd < READY_FD; fd++)
		dup2(null, fd);
	dup2(ready_fd, READY_FD);
	syscall(SYS_close_range, READY_FD + 1, ~0U, 0);
	if (chdir("/"))
		_exit(errno);
	snprintf(option, sizeof(option), "--ready-fd=%d", READY_FD);
	execl(path, "tapdisk", option, NULL);
	dprintf(READY_FD, "error: cannot run %s: %s\n", path, strerror(errno));
	_exit(errno);
}

int tapdisk_watch(pid_t pid)
{
	int watch = (int)syscall(SYS_pidfd_open, pid, 0);

	return watch < 0 ? -errno : watch;
}

bool tapdisk_await(int watch)
{
	struct pollfd end = { .fd = watch, .events = POLLIN };

	if (watch < 0)
		return watch == -ESRCH;
	return poll(&end, 1, STOP_TIMEOUT * 1000) > 0;
}

/* Wait for the end of our child; its status, or -1: it goes on. */
static int wait_end(pid_t pid)
{
	int watch = tapdisk_watch(pid), status = -1;

	if (watch < 0)
		return -1;
	if (tapdisk_await(watch) && waitpid(pid, &status, 0) != pid)
		status = -1;
	close(watch);
	return status;
}

void tapdisk_stop(pid_t pid, int sig)
{
	kill(pid, sig);
	if (wait_end(pid) >= 0)
		return;
	kill(pid, SIGKILL);
	if (wait_end(pid) < 0)
		report("tapdisk %d does not end: it waits for its image's storage", pid);
}

/* Read up to a newline. -EPIPE: it ended before that; -ETIMEDOUT; -EINTR. */
static int read_line(struct birth *b)
{
	struct pollfd in[2] = {
		{ .fd = b->fd, .events = POLLIN },
		{ .fd = b->interrupt, .events = POLLIN },
	};
	struct timespec now;
	time_t end;
	ssize_t n;

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + b->timeout;
	while (b->len < sizeof(b->line) - 1 && !memchr(b->line, '\n', b->len)) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= end || poll(in, 2, (end - now.tv_sec) * 1000) == 0)
			return -ETIMEDOUT;
		if (in[1].revents)
			return -EINTR;
		n = read(b->fd, b->line + b->len, sizeof(b->line) - 1 - b->len);
		if (n == 0 || (n < 0 && errno != EINTR))
			return -EPIPE;
		b->len += n > 0 ? n : 0;
	}
	b->line[b->len] = '\0';
	b->line[strcspn(b->line, "\n")] = '\0';
	return 0;
}

/* It has said what is wrong. Returns the errno it ends with. */
static int bury_failed(struct birth *b)
{
	int status = wait_end(b->pid);

	report("tapdisk: %s", strncmp(b->line, "error: ", 7) ? b->line : b->line + 7);
	if (status < 0)
		tapdisk_stop(b->pid, SIGKILL);
	if (status >= 0 && WIFEXITED(status) && WEXITSTATUS(status))
		return -WEXITSTATUS(status);
	return -ECHILD;
}

/* It has ended in silence. */
static int bury_silent(struct birth *b)
{
	int status = wait_end(b->pid);

	if (status < 0)
		tapdisk_stop(b->pid, SIGKILL);
	if (status >= 0 && WIFSIGNALED(status))
		report("tapdisk %s: killed by signal %d while it started", b->path,
		       WTERMSIG(status));
	else
		report("tapdisk %s: ended while it started: see the system's log", b->path);
	return -ECHILD;
}

static int await_ready(struct birth *b)
{
	int err = read_line(b);

	if (err == -EPIPE)
		return bury_silent(b);
	if (!err)
		return strcmp(b->line, "ok") ? bury_failed(b) : 0;
	if (err == -ETIMEDOUT)
		report("tapdisk %s: not ready within %u s", b->path, b->timeout);
	else
		report("tapdisk %s: interrupted while it started", b->path);
	tapdisk_stop(b->pid, SIGKILL);
	return err;
}

int tapdisk_spawn(pid_t *pid, int interrupt, uint32_t timeout)
{
	struct birth b = { .interrupt = interrupt, .timeout = timeout ?: READY_TIMEOUT };
	int fds[2], err;

	err = find_binary(b.path);
	if (err)
		return err;
	if (pipe2(fds, O_CLOEXEC)) {
		report("tapdisk: pipe: %s", strerror(errno));
		return -errno;
	}
	b.fd = fds[0];
	b.pid = fork();
	if (b.pid == 0)
		run_child(b.path, fds[1]);
	err = b.pid < 0 ? -errno : 0;
	close(fds[1]);
	if (err)
		report("tapdisk: fork: %s", strerror(-err));
	else
		err = await_ready(&b);
	close(b.fd);
	*pid = b.pid;
	return err;
}
