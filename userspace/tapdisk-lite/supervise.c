// SPDX-License-Identifier: GPL-2.0-only
/*
 * The supervisor. The kernel's events say which taps are orphaned; each is
 * recovered by a child of ours, so that one image that can't be opened holds up
 * no other.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "../../tools/tap-ctl/orphan.h"
#include "../../tools/tap-ctl/taps.h"

#define BACKOFF_FIRST	100	/* ms before the second try; then twice as long each time */
#define BACKOFF_MAX	30000	/* ms */
#define LOOK_PERIOD	10000	/* ms in which an event that was lost is made good */
#define STEADY		300	/* ms that a tapdisk lives if it is not at fault */
#define QUICK_MAX	1000	/* ms to wait after one that did not */

/**
 * struct ward - a tap that was an orphan
 * @link: in the list of them
 * @minor: the tap
 * @orphaned: it is one now
 * @helper: the child that recovers it; 0: none
 * @due: when it is to be recovered; ms, as now()
 * @recovered: when it was, last
 * @tries: that failed, or did not last
 */
struct ward {
	LIST_ENTRY(ward) link;
	uint32_t minor;
	bool orphaned;
	pid_t helper;
	int64_t due;
	int64_t recovered;
	unsigned int tries;
};

/**
 * struct supervisor - what we know
 * @events: where the kernel tells them
 * @signals: SIGCHLD, and those that end us
 * @wards: taps that were orphans
 */
struct supervisor {
	struct client *events;
	int signals;
	LIST_HEAD(, ward) wards;
};

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static struct ward *ward_find(struct supervisor *s, uint32_t minor)
{
	struct ward *ward;

	LIST_FOREACH(ward, &s->wards, link)
		if (ward->minor == minor)
			return ward;
	return NULL;
}

static int64_t backoff(const struct ward *ward, int64_t max)
{
	int64_t ms = BACKOFF_FIRST;

	if (!ward->tries)
		return 0;
	for (unsigned int i = 1; i < ward->tries && ms < max; i++)
		ms *= 2;
	return ms < max ? ms : max;
}

/* One whose tapdisk dies again and again is not worth a busy loop. */
static void ward_orphaned(struct ward *ward)
{
	if (ward->orphaned)
		return;
	ward->orphaned = true;
	if (ward->recovered && now() - ward->recovered < STEADY)
		ward->tries++;
	else
		ward->tries = 0;
	ward->due = now() + backoff(ward, QUICK_MAX);
	syslog(LOG_WARNING, "tap %u: its tapdisk has gone", ward->minor);
}

/* A message_fn: an event, or a tap of a dump. */
static int take_tap(struct message *msg, void *arg)
{
	struct supervisor *s = arg;
	bool orphan = message_has(msg, BLKTAP_A_STATE) && orphan_is(msg);
	bool gone = msg->event == BLKTAP_EVENT_TAP_REMOVED;
	struct ward *ward;

	if (!message_has(msg, BLKTAP_A_MINOR) || (!gone && !message_has(msg, BLKTAP_A_STATE)))
		return 0;
	ward = ward_find(s, msg->minor);
	if (orphan && !ward) {
		ward = calloc(1, sizeof(*ward));
		if (!ward)
			return 0;	/* the next look finds it */
		ward->minor = msg->minor;
		LIST_INSERT_HEAD(&s->wards, ward, link);
	}
	if (!ward)
		return 0;
	if (orphan)
		ward_orphaned(ward);
	else
		ward->orphaned = false;
	if (gone && !ward->helper) {
		LIST_REMOVE(ward, link);
		free(ward);
	}
	return 0;
}

/* What events may not have told. */
static int look(struct supervisor *s)
{
	struct taps taps = { 0 };
	struct client *client;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = taps_dump(client, BLKTAP_CMD_GET, &taps);
	for (size_t i = 0; !err && i < taps.nr; i++)
		take_tap(&taps.at[i], s);
	taps_free(&taps);
	client_close(client);
	return err;
}

static void __attribute__((noreturn)) help(uint32_t minor)
{
	struct client *client;
	struct message tap;
	sigset_t none;
	int err;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	err = client_open(&client);
	if (err)
		_exit(-err);
	/* Somebody may be at it already, a handover say. */
	err = orphan_await(client, (int)minor, &tap);
	/* One that let go of its ring and lives on may still write. */
	if (!err && orphan_is(&tap) && tap.pid)
		err = orphan_kill((pid_t)tap.pid);
	if (!err && orphan_is(&tap))
		err = orphan_recover(client, (int)minor, 0);
	_exit(-err);
}

static void start_helper(struct ward *ward)
{
	ward->helper = fork();
	if (ward->helper == 0)
		help(ward->minor);
	if (ward->helper < 0) {
		syslog(LOG_ERR, "tap %u: fork: %m", ward->minor);
		ward->helper = 0;
		ward->tries++;
		ward->due = now() + backoff(ward, BACKOFF_MAX);
	}
}

/* Starts what is due. Returns the ms to the next that will be, LOOK_PERIOD at most. */
static int start_due(struct supervisor *s)
{
	int64_t next = LOOK_PERIOD, left;
	struct ward *ward;

	LIST_FOREACH(ward, &s->wards, link) {
		if (!ward->orphaned || ward->helper)
			continue;
		left = ward->due - now();
		if (left <= 0)
			start_helper(ward);
		else if (left < next)
			next = left;
	}
	return (int)next;
}

static void helper_ended(struct ward *ward, int status)
{
	int err = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;

	ward->helper = 0;
	if (!err) {
		syslog(LOG_NOTICE, "tap %u: recovered", ward->minor);
		ward->orphaned = false;
		ward->recovered = now();
		return;
	}
	ward->tries++;
	ward->due = now() + backoff(ward, BACKOFF_MAX);
	syslog(LOG_ERR, "tap %u: not recovered: %s", ward->minor, strerror(err));
}

/* Returns false when we are to end. */
static bool take_signal(struct supervisor *s)
{
	struct signalfd_siginfo info;
	struct ward *ward;
	int status;
	pid_t pid;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return true;
	if (info.ssi_signo != SIGCHLD)
		return false;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		bool ours = false;

		LIST_FOREACH(ward, &s->wards, link) {
			ours = ward->helper == pid;
			if (ours)
				break;
		}
		if (ours)
			helper_ended(ward, status);
	}
	/* It may be an orphan again already, of which we took no notice. */
	look(s);
	return true;
}

static int serve(struct supervisor *s)
{
	struct pollfd in[2] = {
		{ .fd = client_fd(s->events), .events = POLLIN },
		{ .fd = s->signals, .events = POLLIN },
	};
	int err = look(s), n;

	while (!err) {
		n = poll(in, 2, start_due(s));
		if (n < 0 && errno != EINTR)
			return -errno;
		/* The module may be another one than that which knows of us. */
		if (n == 0)
			err = look(s);
		if (!err && in[0].revents)
			err = client_events(s->events, take_tap, s);
		if (err == -ENOBUFS)
			err = look(s);
		if (in[1].revents && !take_signal(s))
			break;
	}
	return err;
}

int supervise(void)
{
	struct supervisor s = { 0 };
	sigset_t set;
	int err;

	LIST_INIT(&s.wards);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s.signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (s.signals < 0)
		return -errno;
	/* Memory may have to be written to a tap that waits for us. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		syslog(LOG_WARNING, "locking memory: %m");
	err = client_open(&s.events);
	if (!err) {
		err = client_join(s.events) ?: serve(&s);
		client_close(s.events);
	}
	close(s.signals);
	return err;
}
