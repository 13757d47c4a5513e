// SPDX-License-Identifier: GPL-2.0-only
#include "orphan.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "tapdisk.h"
#include "taps.h"

#define ADOPT_BUSY	5000	/* ms of tries while something is busy */
#define ADOPT_NAP	20	/* ms between them */
#define AWAIT_NAP	50	/* ms between looks at another's recovery */

bool orphan_is(const struct message *tap)
{
	return tap->state & BLKTAP_STATE_ORPHANED && !(tap->state & BLKTAP_STATE_DEAD);
}

int orphan_await(struct client *client, int minor, struct message *tap)
{
	struct timespec nap = { .tv_nsec = AWAIT_NAP * 1000000L };
	int err;

	for (;;) {
		err = tap_get(client, minor, tap);
		if (err || !(tap->state & BLKTAP_STATE_RECOVERING))
			return err;
		message_free(tap);
		nanosleep(&nap, NULL);
	}
}

int orphan_kill(int watch, pid_t pid)
{
	if (watch == -ESRCH)
		return 0;
	if (watch < 0) {
		report("tapdisk %d: %s", pid, strerror(-watch));
		return watch;
	}
	if (syscall(SYS_pidfd_send_signal, watch, SIGKILL, NULL, 0) && errno != ESRCH) {
		report("killing tapdisk %d: %s", pid, strerror(errno));
		return -errno;
	}
	if (tapdisk_await(watch))
		return 0;
	report("tapdisk %d does not end: it waits for its image's storage; when it has ended, recover its taps",
	       pid);
	return -EBUSY;
}

void orphan_protect(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		report("locking memory: %s", strerror(errno));
	/* Without the privilege nothing else is done here either. */
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

/* Returns 1 if nobody serves the tap, 0 if somebody does, or a negative errno. */
static int is_orphan(struct client *client, int minor)
{
	struct message tap;
	int err = orphan_await(client, minor, &tap);

	if (!err)
		err = orphan_is(&tap);
	message_free(&tap);
	return err;
}

void orphan_heir_end(struct heir *heir)
{
	if (heir->pid && !heir->served)
		tapdisk_stop(heir->pid, SIGKILL);
	heir->pid = 0;
	heir->served = 0;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* One try; a tapdisk that could not open its only image has ended, or is to. */
static int adopt_once(struct client *client, int minor, struct heir *heir, uint32_t timeout,
		      bool last)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_RECOVER, .minor = minor, .timeout = timeout,
		.may_be_busy = !last,
	};
	int err = 0;

	if (!heir->pid)
		err = tapdisk_spawn(&heir->pid, heir->interrupt, timeout);
	if (err) {
		heir->pid = 0;
		return err;
	}
	rq.pid = heir->pid;
	err = client_order(client, &rq, NULL);
	if (err)
		orphan_heir_end(heir);
	else
		heir->served++;
	return err;
}

int orphan_adopt(struct client *client, int minor, struct heir *heir, uint32_t timeout)
{
	struct timespec nap = { .tv_nsec = ADOPT_NAP * 1000000L };
	int64_t end = now_ms() + ADOPT_BUSY;
	bool last;
	int err;

	for (;;) {
		last = now_ms() >= end;
		err = adopt_once(client, minor, heir, timeout, last);
		if (err != -EBUSY || last)
			return err;
		err = is_orphan(client, minor);
		if (err <= 0)
			return err;
		nanosleep(&nap, NULL);
	}
}
