// SPDX-License-Identifier: GPL-2.0-only
/* tapdisk: serves disk images to the blktap driver. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <unistd.h>

#include "confine.h"
#include "supervise.h"
#include "tap.h"

#define RETRY_MS	10	/* when the kernel had no memory for I/O */
#define TURN_ROUNDS	32	/* before events are looked at again */
#define LARGE_BLOCK	(128 << 10)	/* bytes from which malloc() maps memory of its own */

struct options {
	int ready_fd;		/* -1: none */
	int verbose;
	bool supervise;
};

static void usage(FILE *out)
{
	fputs("Usage: tapdisk [OPTION]...\n"
	      "Serve disk images to the blktap driver, as the kernel orders. Started by\n"
	      "tap-ctl spawn or tap-ctl create; exits when its last tap is detached.\n"
	      "\n"
	      "  --supervise    serve nothing: give each tap whose tapdisk has gone a new one\n"
	      "  --ready-fd=N   write \"ok\" or \"error: TEXT\" to descriptor N when started\n"
	      "  -v, --verbose  log to standard error too; twice: debugging messages\n"
	      "  -h, --help     show this help\n"
	      "  -V, --version  show the version\n", out);
}

static int parse_ready_fd(const char *text)
{
	char *end;
	long fd;

	errno = 0;
	fd = strtol(text, &end, 10);
	if (errno || *end || end == text || fd < 0 || fd > INT_MAX || fcntl((int)fd, F_GETFD) < 0) {
		fprintf(stderr, "tapdisk: --ready-fd=%s: not an open descriptor\n", text);
		exit(EINVAL);
	}
	return (int)fd;
}

static void parse_options(struct options *options, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "ready-fd", required_argument, NULL, 'r' },
		{ "supervise", no_argument, NULL, 's' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "vhV", longs, NULL)) != -1) {
		switch (c) {
		case 'r':
			options->ready_fd = parse_ready_fd(optarg);
			break;
		case 's':
			options->supervise = true;
			break;
		case 'v':
			options->verbose++;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		case 'V':
			puts("tapdisk (blktap) " BLKTAP_VERSION);
			exit(0);
		default:
			usage(stderr);
			exit(EINVAL);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "tapdisk: unexpected argument '%s'\n", argv[optind]);
		exit(EINVAL);
	}
}

static void ready(const struct options *options, const char *error)
{
	if (error)
		syslog(LOG_ERR, "%s", error);
	if (options->ready_fd < 0)
		return;

	if (error)
		dprintf(options->ready_fd, "error: %s\n", error);
	else
		dprintf(options->ready_fd, "ok\n");
	close(options->ready_fd);
}

/*
 * Dirty memory is written through us: waiting for memory may mean waiting for
 * ourselves. Without the privileges we serve all the same.
 */
static void protect(void)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int fd;

	/*
	 * Images come and go. Unless the threshold is set it grows with what is freed, and
	 * memory that is locked stays behind in the heap's holes.
	 */
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
	/* Later the privilege is gone, and images take memory. */
	if (setrlimit(RLIMIT_MEMLOCK, &unlimited))
		syslog(LOG_INFO, "RLIMIT_MEMLOCK: %m");
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		syslog(LOG_WARNING, "locking memory: %m");
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		syslog(LOG_INFO, "PR_SET_IO_FLUSHER: %m");

	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "-1000", 5) != 5)
		syslog(LOG_INFO, "oom_score_adj: %m");
	if (fd >= 0)
		close(fd);
}

static void signal_ready(struct loop_source *source, uint32_t events)
{
	struct tapdisk *tapdisk = container_of(source, struct tapdisk, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(source->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (LIST_EMPTY(&tapdisk->taps))
		tapdisk->loop.stopped = true;
	else
		syslog(LOG_WARNING, "signal %u ignored: taps are attached: tap-ctl destroy them",
		       info.ssi_signo);
}

static int signals_init(struct tapdisk *tapdisk)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	tapdisk->signals.ready = signal_ready;
	tapdisk->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (tapdisk->signals.fd < 0)
		return -errno;
	return loop_add(&tapdisk->loop, &tapdisk->signals);
}

static int start(struct tapdisk *tapdisk, struct vhd_error *error)
{
	int err;

	LIST_INIT(&tapdisk->taps);
	err = loop_init(&tapdisk->loop);
	if (!err)
		err = signals_init(tapdisk);
	if (err)
		return deny(error, -err, "starting: %s", strerror(-err));

	err = aio_init(&tapdisk->aio, &tapdisk->loop);
	if (err)
		return deny(error, -err, "io_setup: %s%s", strerror(-err),
			    err == -EAGAIN ? ": raise the sysctl fs.aio-max-nr" : "");
	protect();
	err = control_init(tapdisk, error);
	return err ? err : confine(error);
}

/*
 * I/O is submitted, what has ended is answered, and requests that come when
 * slots get free are taken, until there is nothing to do, or others are to be
 * looked at too. Returns how long to wait for events, in milliseconds.
 */
static int turn_end(struct tapdisk *tapdisk)
{
	struct tap *tap, *next;
	bool again, queued;

	for (unsigned int i = 0; i < TURN_ROUNDS; i++) {
		queued = false;
		again = aio_submit(&tapdisk->aio);
		for (tap = LIST_FIRST(&tapdisk->taps); tap; tap = next) {
			next = LIST_NEXT(tap, link);
			ring_publish(tap);
			queued |= ring_take(tap);
			queued |= tap_order_advance(tap);
		}
		if (!queued)
			return again ? RETRY_MS : -1;
	}
	return 0;
}

static int serve(struct tapdisk *tapdisk)
{
	int wait_ms = -1;
	int err = 0;

	while (!err && !tapdisk->loop.stopped) {
		err = loop_turn(&tapdisk->loop, wait_ms);
		wait_ms = turn_end(tapdisk);
	}
	return err;
}

int main(int argc, char **argv)
{
	struct options options = { .ready_fd = -1 };
	struct tapdisk tapdisk = { 0 };
	struct vhd_error error;
	int err;

	parse_options(&options, argc, argv);
	openlog("tapdisk", LOG_PID | (options.verbose ? LOG_PERROR : 0), LOG_DAEMON);
	setlogmask(LOG_UPTO(options.verbose > 1 ? LOG_DEBUG : LOG_INFO));

	if (options.supervise)
		return -supervise();

	err = start(&tapdisk, &error);
	ready(&options, err ? error.text : NULL);
	if (err)
		return -err;

	err = serve(&tapdisk);
	if (err)
		syslog(LOG_CRIT, "waiting for events: %s", strerror(-err));
	control_exit(&tapdisk);
	aio_exit(&tapdisk.aio);
	close(tapdisk.signals.fd);
	loop_exit(&tapdisk.loop);
	return -err;
}
