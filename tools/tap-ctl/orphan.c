// SPDX-License-Identifier: GPL-2.0-only
#include "orphan.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "tapdisk.h"
#include "taps.h"

#define ADOPT_TRIES	250	/* while something is busy */
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

int orphan_kill(pid_t pid)
{
	int watch = tapdisk_watch(pid), err;
	bool ended;

	if (watch < 0 && errno == ESRCH)
		return 0;
	if (watch < 0 || syscall(SYS_pidfd_send_signal, watch, SIGKILL, NULL, 0)) {
		err = -errno;
		report("killing tapdisk %d: %s", pid, strerror(errno));
		if (watch >= 0)
			close(watch);
		return err == -ESRCH ? 0 : err;
	}
	ended = tapdisk_await(watch);
	close(watch);
	if (ended)
		return 0;
	report("tapdisk %d does not end: it waits for its image's storage; when it has ended, recover its taps",
	       pid);
	return -EBUSY;
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

int orphan_adopt(struct client *client, int minor, pid_t pid, uint32_t timeout, bool *adopted)
{
	struct timespec nap = { .tv_nsec = ADOPT_NAP * 1000000L };
	struct request rq = {
		.cmd = BLKTAP_CMD_RECOVER, .minor = minor, .pid = pid, .timeout = timeout,
		.may_be_busy = true,
	};
	int err;

	*adopted = false;
	for (int i = 0; i < ADOPT_TRIES; i++) {
		rq.may_be_busy = i < ADOPT_TRIES - 1;
		err = client_order(client, &rq, NULL);
		if (err != -EBUSY) {
			*adopted = !err;
			return err;
		}
		err = is_orphan(client, minor);
		if (err <= 0)
			return err;
		nanosleep(&nap, NULL);
	}
	return -EBUSY;
}

int orphan_recover(struct client *client, int minor, uint32_t timeout)
{
	bool adopted;
	pid_t pid;
	int err;

	err = tapdisk_spawn(&pid, -1);
	if (err)
		return err;
	err = orphan_adopt(client, minor, pid, timeout, &adopted);
	if (!adopted)
		tapdisk_stop(pid, SIGKILL);
	return err;
}
