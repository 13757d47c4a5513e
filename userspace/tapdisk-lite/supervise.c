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
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "../../tools/tap-ctl/orphan.h"
#include "../../tools/tap-ctl/tapdisk.h"
#include "../../tools/tap-ctl/taps.h"

#define BACKOFF_FIRST	100	/* ms before the second try; then twice as long each time */
#define BACKOFF_MAX	30000	/* ms */
#define LOOK_PERIOD	10000	/* ms in which an event that was lost is made good */
#define STEADY		300	/* ms that a tapdisk lives if it is not at fault */
#define QUICK_MAX	1000	/* ms to wait after one that did not */
#define HELPERS_MAX	16	/* at a time that start a tapdisk */
#define HELP_START	5000	/* ms that takes; who is not done then waits for storage */

/**
 * struct ward - a tap that was an orphan
 * @link: in the list of them
 * @minor: the tap
 * @orphaned: it is one now
 * @gone: there is no such tap any more
 * @seen: by the look that is under way
 * @helper: the child that recovers it; 0: none
 * @helped: since when; ms, as now()
 * @due: when it is to be recovered; ms, as now()
 * @recovered: when it was, last
 * @tries: that failed, or did not last
 */
struct ward {
	LIST_ENTRY(ward) link;
	uint32_t minor;
	bool orphaned;
	bool gone;
	bool seen;
	pid_t helper;
	int64_t helped;
	int64_t due;
	int64_t recovered;
	unsigned int tries;
};

/**
 * struct supervisor - what we know
 * @events: where the kernel tells them
 * @signals: SIGCHLD, and those that end us
 * @look_due: when all taps are to be looked at again; ms, as now()
 * @wards: taps that were orphans
 */
struct supervisor {
	struct client *events;
	int signals;
	int64_t look_due;
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

/* One that is being helped is looked after until its helper ends. */
static void ward_gone(struct ward *ward)
{
	ward->orphaned = false;
	ward->gone = true;
	if (ward->helper)
		return;
	LIST_REMOVE(ward, link);
	free(ward);
}

static struct ward *ward_new(struct supervisor *s, uint32_t minor)
{
	struct ward *ward = calloc(1, sizeof(*ward));

	if (!ward)
		return NULL;	/* the next look finds it */
	ward->minor = minor;
	LIST_INSERT_HEAD(&s->wards, ward, link);
	return ward;
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
	if (orphan && !ward)
		ward = ward_new(s, msg->minor);
	if (!ward)
		return 0;
	ward->seen = true;
	ward->gone = false;
	if (gone)
		ward_gone(ward);
	else if (orphan)
		ward_orphaned(ward);
	else
		ward->orphaned = false;
	return 0;
}

/* Taps that were not in the dump have gone, and the event was lost. */
static void forget_unseen(struct supervisor *s)
{
	struct ward *ward, *next;

	for (ward = LIST_FIRST(&s->wards); ward; ward = next) {
		next = LIST_NEXT(ward, link);
		if (!ward->seen)
			ward_gone(ward);
	}
}

/* What events may not have told. */
static int look(struct supervisor *s)
{
	struct taps taps = { 0 };
	struct client *client;
	struct ward *ward;
	int err;

	s->look_due = now() + LOOK_PERIOD;
	err = client_open(&client);
	if (err)
		return err;
	LIST_FOREACH(ward, &s->wards, link)
		ward->seen = false;
	err = taps_dump(client, BLKTAP_CMD_GET, &taps);
	for (size_t i = 0; !err && i < taps.nr; i++)
		take_tap(&taps.at[i], s);
	if (!err)
		forget_unseen(s);
	taps_free(&taps);
	client_close(client);
	return err;
}

/*
 * One that let go of its ring and lives on may still write. What the kernel says once
 * the process is held is not of another one that has its number now.
 */
static int kill_former(struct client *client, uint32_t minor, struct message *tap)
{
	uint32_t pid = tap->pid;
	int watch = tapdisk_watch((pid_t)pid), err;

	message_free(tap);
	err = orphan_await(client, (int)minor, tap);
	if (!err && orphan_is(tap) && tap->pid == pid)
		err = orphan_kill(watch, (pid_t)pid);
	if (watch >= 0)
		close(watch);
	return err;
}

static void __attribute__((noreturn)) help(uint32_t minor)
{
	struct heir heir = { .interrupt = -1 };
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
	if (!err && orphan_is(&tap) && tap.pid)
		err = kill_former(client, minor, &tap);
	if (!err && orphan_is(&tap))
		err = orphan_adopt(client, (int)minor, &heir, 0);
	orphan_heir_end(&heir);
	_exit(-err);
}

static void start_helper(struct ward *ward)
{
	ward->helped = now();
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

/* One that hangs holds up no other. Returns how many are not known to; ms to the next. */
static unsigned int count_helpers(const struct supervisor *s, int64_t *next)
{
	unsigned int helpers = 0;
	struct ward *ward;

	LIST_FOREACH(ward, &s->wards, link) {
		int64_t left = ward->helped + HELP_START - now();

		if (!ward->helper || left <= 0)
			continue;
		helpers++;
		if (left < *next)
			*next = left;
	}
	return helpers;
}

static struct ward *first_due(const struct supervisor *s)
{
	struct ward *ward, *first = NULL;

	LIST_FOREACH(ward, &s->wards, link)
		if (ward->orphaned && !ward->helper && (!first || ward->due < first->due))
			first = ward;
	return first;
}

/* Starts what is due, who has waited longest first. Returns the ms to what comes next. */
static int start_due(struct supervisor *s)
{
	int64_t next = s->look_due - now(), left;
	unsigned int helpers = count_helpers(s, &next);
	struct ward *ward;

	while (helpers < HELPERS_MAX && (ward = first_due(s))) {
		left = ward->due - now();
		if (left > 0) {
			next = left < next ? left : next;
			break;
		}
		start_helper(ward);
		helpers++;
		next = next < HELP_START ? next : HELP_START;
	}
	return next > 0 ? (int)next : 0;
}

static void helper_ended(struct ward *ward, int status)
{
	int err = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;

	ward->helper = 0;
	if (ward->gone) {
		ward_gone(ward);
		return;
	}
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
		/* A recovery's end comes before what has become of its tapdisk since. */
		if (n > 0 && in[1].revents && !take_signal(s))
			break;
		if (n > 0 && in[0].revents)
			err = client_events(s->events, take_tap, s);
		/* The module may be another one than that which knows of us. */
		if (err == -ENOBUFS || (!err && now() >= s->look_due))
			err = look(s);
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
	orphan_protect();
	err = client_open(&s.events);
	if (!err) {
		err = client_join(s.events) ?: serve(&s);
		client_close(s.events);
	}
	close(s.signals);
	return err;
}
