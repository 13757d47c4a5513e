// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "orphan.h"
#include "report.h"
#include "tapdisk.h"
#include "taps.h"

/* By SIGSTOP, or a debugger: the letter after the name in /proc/PID/stat. */
static bool is_stopped(pid_t pid)
{
	char path[32], line[512], *end;
	bool stopped = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (fgets(line, sizeof(line), file)) {
		end = strrchr(line, ')');
		stopped = end && (end[2] == 'T' || end[2] == 't');
	}
	fclose(file);
	return stopped;
}

/* Is there something to recover, or is its tapdisk at least to be killed? */
static int may_recover(const struct args *args, const struct message *tap)
{
	if (!message_has(tap, BLKTAP_A_CAPACITY)) {
		report("tap %ld: it has no disk: there is nothing to recover", args->minor);
		return -ENOTCONN;
	}
	if (tap->state & BLKTAP_STATE_DEAD) {
		report("tap %ld: it has failed and can't be recovered: free it", args->minor);
		return -EIO;
	}
	if (!orphan_is(tap) && !args->force && !(tap->pid && is_stopped(tap->pid))) {
		report("tap %ld: tapdisk %u serves it: -f kills it, handover replaces it",
		       args->minor, tap->pid);
		return -EALREADY;
	}
	if (!tap->name) {
		report("tap %ld: its image is not known: write type:/path to its name in sysfs",
		       args->minor);
		return -ENOENT;
	}
	return 0;
}

/* The taps of a tapdisk that is killed, all of them: they are orphans at once. */
static int adopt_all(struct client *client, const struct taps *taps, uint32_t old, pid_t pid,
		     const struct args *args)
{
	int err = 0, one, served = 0;
	bool adopted;

	for (size_t i = 0; i < taps->nr; i++) {
		const struct message *tap = &taps->at[i];

		if (tap->pid != old || !message_has(tap, BLKTAP_A_CAPACITY))
			continue;
		one = orphan_adopt(client, tap->minor, pid, args->timeout, &adopted);
		err = err ?: one;
		served += adopted;
	}
	if (!served)
		tapdisk_stop(pid, SIGKILL);
	return err;
}

/* A tap whose image nobody knows would be an orphan for good. */
static int names_known(const struct taps *taps, uint32_t pid)
{
	for (size_t i = 0; i < taps->nr; i++) {
		const struct message *tap = &taps->at[i];

		if (tap->pid != pid || !message_has(tap, BLKTAP_A_CAPACITY) || tap->name)
			continue;
		report("tap %u: its image is not known: write type:/path to its name in sysfs",
		       tap->minor);
		return -ENOENT;
	}
	return 0;
}

/* Kills a tapdisk, when there is another one for all of its taps. */
static int handover(struct client *client, const struct args *args, uint32_t old)
{
	struct taps taps;
	pid_t pid;
	int err;

	err = taps_get(client, &taps);
	if (err)
		return err;
	err = names_known(&taps, old);
	/* It is there, and can start, before the old one goes. */
	err = err ?: tapdisk_spawn(&pid, -1);
	if (!err) {
		err = orphan_kill(old);
		if (err)
			tapdisk_stop(pid, SIGKILL);
		else
			err = adopt_all(client, &taps, old, pid, args);
	}
	taps_free(&taps);
	return err;
}

static int run_recover(const struct args *args)
{
	struct client *client;
	struct message tap;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = orphan_await(client, args->minor, &tap);
	if (!err)
		err = may_recover(args, &tap);
	if (!err && tap.pid)
		err = handover(client, args, tap.pid);
	else if (!err)
		err = orphan_recover(client, args->minor, args->timeout);
	message_free(&tap);
	client_close(client);
	return err;
}

static const struct opt *const recover_opts[] = { &opt_minor, &opt_kill, &opt_timeout, NULL };

const struct command cmd_recover = {
	.name = "recover",
	.summary = "Give a tap whose tapdisk has gone a new one",
	.about = "Spawns a tapdisk, which opens the image that the tap had; its requests, which\n"
		 "have waited, go on. A tapdisk that is stopped is killed first; its other taps go\n"
		 "to the new one, too.",
	.opts = recover_opts,
	.required = "m",
	.run = run_recover,
};

static int run_handover(const struct args *args)
{
	struct client *client;
	struct message tap;
	uint32_t pid;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = tap_get(client, args->minor, &tap);
	pid = tap.pid;
	if (!err && (!pid || !message_has(&tap, BLKTAP_A_CAPACITY))) {
		report("tap %ld: no tapdisk serves it: %s", args->minor,
		       orphan_is(&tap) ? "recover it" : "there is nothing to hand over");
		err = -ENOTCONN;
	}
	message_free(&tap);
	if (!err)
		err = handover(client, args, pid);
	client_close(client);
	return err;
}

static const struct opt *const handover_opts[] = { &opt_minor, &opt_timeout, NULL };

const struct command cmd_handover = {
	.name = "handover",
	.summary = "Replace a tap's tapdisk by a new one, after an upgrade say",
	.about = "All taps of that tapdisk go to the new one. It is killed as soon as the new\n"
		 "one has started; what it was doing is done again, and nobody sees an error.",
	.opts = handover_opts,
	.required = "m",
	.run = run_handover,
};
