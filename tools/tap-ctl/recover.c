// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "image.h"
#include "orphan.h"
#include "report.h"
#include "signals.h"
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

/* A block device is the same by whatever node. */
static bool same_file(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) || S_ISBLK(b->st_mode))
		return S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Has the process the file open that is there now? */
static bool has_open(uint32_t pid, const struct stat *file)
{
	char path[64];
	struct dirent *entry;
	bool found = false;
	struct stat st;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%u/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT;	/* it has gone meanwhile */
	while (!found && (entry = readdir(dir)))
		found = !fstatat(dirfd(dir), entry->d_name, &st, 0) && same_file(&st, file);
	closedir(dir);
	return found;
}

/* What its tapdisk has open still, but can't be opened any more, would be lost with it. */
static int may_hand_over(const struct message *tap)
{
	struct stat st;
	const char *path;

	if (!tap->name) {
		report("tap %u: its image is not known: write type:/path to its name in sysfs",
		       tap->minor);
		return -ENOENT;
	}
	/* It has none open, or serves it no more. */
	if (tap->state & BLKTAP_STATE_PAUSED || orphan_is(tap))
		return 0;
	path = image_path(tap->name);
	if (stat(path, &st)) {
		report("tap %u: %s: %s: the next tapdisk could not open it", tap->minor, path,
		       strerror(errno));
		return -errno;
	}
	if (!has_open(tap->pid, &st)) {
		report("tap %u: %s is another file than its tapdisk %u has open", tap->minor, path,
		       tap->pid);
		return -ESTALE;
	}
	return 0;
}

/**
 * struct succession - a tapdisk that is killed, and its taps
 * @client: the connection
 * @args: what is asked for
 * @old: the process
 * @watch: holds it, so that no other one is taken for it; -1: it has gone
 * @heir: who gets its taps
 */
struct succession {
	struct client *client;
	const struct args *args;
	uint32_t old;
	int watch;
	struct heir heir;
};

static bool is_inherited(const struct succession *s, const struct message *tap)
{
	return tap->pid == s->old && tap->minor != s->args->minor &&
	       message_has(tap, BLKTAP_A_CAPACITY);
}

/* The tap that was named, and all others of its tapdisk: they are orphans at once. */
static int adopt_all(struct succession *s, const struct taps *taps)
{
	int err, one;

	err = orphan_adopt(s->client, s->args->minor, &s->heir, s->args->timeout);
	for (size_t i = 0; i < taps->nr; i++) {
		if (!is_inherited(s, &taps->at[i]))
			continue;
		one = orphan_adopt(s->client, taps->at[i].minor, &s->heir, s->args->timeout);
		err = err ?: one;
	}
	orphan_heir_end(&s->heir);
	return err;
}

/* The list is made as late as can be: no tap is to come to the old one any more. */
static int replace(struct succession *s)
{
	struct taps taps;
	int err;

	err = taps_get(s->client, &taps);
	if (err)
		return err;
	for (size_t i = 0; !err && i < taps.nr; i++)
		if (taps.at[i].pid == s->old && message_has(&taps.at[i], BLKTAP_A_CAPACITY))
			err = may_hand_over(&taps.at[i]);
	err = err ?: orphan_kill(s->watch, s->old);
	if (!err)
		err = adopt_all(s, &taps);
	taps_free(&taps);
	return err;
}

/* It has gone before it was killed: its number may be another process's. */
static int let_go(struct succession *s, const struct message *tap)
{
	if (s->watch >= 0)
		close(s->watch);
	s->watch = -ESRCH;
	if (orphan_is(tap) && !tap->pid)
		return 0;
	report("tap %ld: tapdisk %u has gone meanwhile: try again", s->args->minor, s->old);
	return -EAGAIN;
}

/* Kills a tapdisk, when there is another one for all of its taps. */
static int handover(struct client *client, const struct args *args, uint32_t old,
		    struct signals *signals)
{
	struct succession s = {
		.client = client, .args = args, .old = old, .watch = tapdisk_watch(old),
		.heir.interrupt = signals->fd,
	};
	struct message tap;
	int err;

	/* It has its number still, after we have got hold of it: it is this process. */
	err = tap_get(client, args->minor, &tap);
	if (!err && tap.pid != old)
		err = let_go(&s, &tap);
	message_free(&tap);
	/* The next one is there, and can start, before the old one goes. */
	err = err ?: tapdisk_spawn(&s.heir.pid, signals->fd, args->timeout);
	if (!err) {
		s.heir.interrupt = -1;
		err = replace(&s);
		orphan_heir_end(&s.heir);
	}
	if (s.watch >= 0)
		close(s.watch);
	return err;
}

/* A tapdisk that serves it no more may be there still, and have others. */
static int recover(struct client *client, const struct args *args, const struct message *tap,
		   struct signals *signals)
{
	struct heir heir = { .interrupt = signals->fd };
	int err;

	if (tap->pid)
		return handover(client, args, tap->pid, signals);
	err = orphan_adopt(client, args->minor, &heir, args->timeout);
	orphan_heir_end(&heir);
	return err;
}

static int run_recover(const struct args *args)
{
	struct signals signals;
	struct client *client;
	struct message tap;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = orphan_await(client, args->minor, &tap);
	if (!err)
		err = may_recover(args, &tap);
	if (!err)
		err = signals_hold(&signals);
	if (!err) {
		orphan_protect();
		err = recover(client, args, &tap, &signals);
		signals_let(&signals);
	}
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
	struct signals signals;
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
		err = signals_hold(&signals);
	if (!err) {
		orphan_protect();
		err = handover(client, args, pid, &signals);
		signals_let(&signals);
	}
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
