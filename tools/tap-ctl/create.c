// SPDX-License-Identifier: GPL-2.0-only
/* From an image's name to a block device in one go, and back. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "create.h"
#include "image.h"
#include "orphan.h"
#include "report.h"
#include "signals.h"
#include "steps.h"
#include "tapdisk.h"
#include "taps.h"

#define UNDO_TIMEOUT	10	/* seconds for a step of the way back */
#define VACATE_TIMEOUT	10	/* seconds until a guest's image is free */
#define VACATE_INTERVAL	100	/* milliseconds between two looks whether it is */

/**
 * struct creation - a tap on its way
 * @client: the connection
 * @args: what is asked for
 * @vbd: the guest's disk that it is for, or NULL
 * @name: the image
 * @signals: those that ask us to end, which waits until all is undone
 * @vacating: the image may be in use still: that is not reported yet
 * @killed: we were, and have killed our tapdisk so that it does not take long
 * @minor: the tap
 * @pid: its tapdisk
 * @path: its device
 */
struct creation {
	struct client *client;
	const struct args *args;
	const struct vbd_ids *vbd;
	char *name;
	struct signals signals;
	bool vacating;
	bool killed;
	int minor;
	pid_t pid;
	char path[PATH_MAX];
};

static bool is_interrupted(const struct creation *c, int milliseconds)
{
	struct pollfd fd = { .fd = c->signals.fd, .events = POLLIN };

	return poll(&fd, 1, milliseconds) > 0;
}

static int order(struct creation *c, uint8_t cmd, uint32_t timeout)
{
	bool open = cmd == BLKTAP_CMD_OPEN;
	struct request rq = {
		.cmd = cmd, .minor = c->minor, .pid = c->pid, .timeout = timeout,
		.name = open ? c->name : NULL, .rdonly = open && c->args->rdonly,
		.ring = open && args_ring(c->args), .may_be_busy = open && c->vacating,
	};

	return client_order(c->client, &rq, NULL);
}

/* The last step: from here on it counts as made. */
static int print_path(struct creation *c)
{
	if (is_interrupted(c, 0))
		return -EINTR;
	return c->vbd ? 0 : say("%s\n", c->path);
}

/*
 * A guest that restarts asks for its disk while the tap that it had may still be closing
 * the image: it can't know when that has ended.
 */
static int open_image(struct creation *c)
{
	int tries = c->vbd ? VACATE_TIMEOUT * 1000 / VACATE_INTERVAL : 0, err;

	do {
		c->vacating = tries > 0;
		err = order(c, BLKTAP_CMD_OPEN, c->args->timeout);
		if (err != -EBUSY || !c->vacating)
			return err;
	} while (tries-- && !is_interrupted(c, VACATE_INTERVAL));
	return -EINTR;
}

/* What the tapdisk is at ends with it. */
static void kill_tapdisk(void *arg)
{
	struct creation *c = arg;

	kill(c->pid, SIGKILL);
	c->killed = true;
}

/* Undone on an error; *detached: the tapdisk then certainly serves no tap. */
static int attach_and_open(struct creation *c, bool *detached)
{
	int err;

	err = order(c, BLKTAP_CMD_ATTACH, c->args->timeout);
	if (err)
		return err;
	err = open_image(c);
	if (!err) {
		err = print_path(c);
		if (err && !c->killed)
			order(c, BLKTAP_CMD_CLOSE, UNDO_TIMEOUT);
	}
	/* One that hangs would not detach either: it is killed, if it is ours. */
	if (err && !c->killed && (err != -ETIMEDOUT || c->args->pid))
		*detached = !order(c, BLKTAP_CMD_DETACH, UNDO_TIMEOUT);
	return err;
}

static int serve(struct creation *c)
{
	bool detached = false;
	int err;

	c->pid = c->args->pid;
	if (c->pid)
		return attach_and_open(c, &detached);
	err = tapdisk_spawn(&c->pid, c->signals.fd, c->args->timeout);
	if (err)
		return err;
	client_on_interrupt(c->client, c->signals.fd, kill_tapdisk, c);
	err = attach_and_open(c, &detached);
	client_on_interrupt(c->client, -1, NULL, NULL);
	if (err)
		tapdisk_stop(c->pid, detached ? SIGTERM : SIGKILL);
	return err;
}

static int create(struct creation *c)
{
	int err;

	c->minor = c->vbd ? step_allocate_for(c->client, c->vbd) :
			    step_allocate(c->client, c->args->node, c->path);
	if (c->minor < 0)
		return c->minor;
	err = serve(c);
	if (err && !c->vbd)
		step_free(c->client, c->minor, c->args->node, UNDO_TIMEOUT);
	return err;
}

int create_tap(const struct args *args, const struct vbd_ids *vbd)
{
	struct creation c = { .args = args, .vbd = vbd };
	int err;

	err = client_open(&c.client);
	if (err)
		return err;
	err = image_name(args->image, &c.name);
	if (err)
		goto out_client;

	err = signals_hold(&c.signals);
	if (!err) {
		err = create(&c);
		signals_let(&c.signals);
	}
	free(c.name);
out_client:
	client_close(c.client);
	return err;
}

static int run_create(const struct args *args)
{
	return create_tap(args, NULL);
}

static const struct opt *const create_opts[] = {
	&opt_image, &opt_mode, &opt_node, &opt_rdonly, &opt_tapdisk, &opt_timeout, NULL,
};

const struct command cmd_create = {
	.name = "create",
	.summary = "Serve an image as a block device and print the device's path",
	.about = "Allocates a tap, spawns a tapdisk, attaches them and opens the image. If\n"
		 "any of it fails nothing is left of the rest.",
	.opts = create_opts,
	.required = "a",
	.run = run_create,
};

/* Seconds left of @timeout since @start, at least 1. */
static uint32_t left(time_t start, long timeout)
{
	struct timespec now;
	long rest;

	clock_gettime(CLOCK_MONOTONIC, &now);
	rest = (timeout ?: DEFAULT_TIMEOUT) - (now.tv_sec - start);
	return rest > 1 ? rest : 1;
}

static int destroy(struct client *client, const struct args *args, const struct message *tap)
{
	struct request close = {
		.cmd = BLKTAP_CMD_CLOSE, .minor = args->minor, .pid = args->pid,
		.timeout = args->timeout,
	};
	struct timespec start;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &start);
	/* With its tapdisk dead its pid is of no use any more: take any. */
	if (!tap->pid && args->pid && !orphan_is(tap) && !(tap->state & BLKTAP_STATE_DEAD)) {
		report("tap %ld: tapdisk %ld does not serve it", args->minor, args->pid);
		return -ESRCH;
	}
	if (tap->pid) {
		err = client_order(client, &close, NULL);
		if (err)
			return err;
		err = step_detach(client, args->minor, args->pid,
				  left(start.tv_sec, args->timeout));
		if (err)
			return err;
	}
	return step_free(client, args->minor, args->node, left(start.tv_sec, args->timeout));
}

static int run_destroy(const struct args *args)
{
	struct client *client;
	struct message tap;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = tap_get(client, args->minor, &tap);
	if (!err)
		err = destroy(client, args, &tap);
	message_free(&tap);
	client_close(client);
	return err;
}

static const struct opt *const destroy_opts[] = {
	&opt_pid, &opt_minor, &opt_node, &opt_timeout, NULL,
};

const struct command cmd_destroy = {
	.name = "destroy",
	.summary = "Remove a disk, its tap and a tapdisk that serves no other",
	.about = "Waits until nobody has the disk open, up to the time limit, but not for\n"
		 "one that is mounted or otherwise claimed: that is an error at once, and\n"
		 "nothing changes.",
	.opts = destroy_opts,
	.required = "m",
	.run = run_destroy,
};
