// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>

#include "client.h"
#include "command.h"
#include "steps.h"

static int run_open(const struct args *args)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_OPEN, .minor = args->minor, .pid = args->pid,
		.rdonly = args->rdonly, .ring = args_ring(args), .timeout = args->timeout,
	};
	struct client *client;
	char *name;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = step_image(client, args->minor, args->image, &name);
	if (!err) {
		rq.name = name;
		err = client_order(client, &rq, NULL);
		free(name);
	}
	client_close(client);
	return err;
}

static const struct opt *const open_opts[] = {
	&opt_pid, &opt_minor, &opt_image, &opt_mode, &opt_rdonly, &opt_timeout, NULL,
};

const struct command cmd_open = {
	.name = "open",
	.summary = "Have the tapdisk of a tap open an image, and make the disk",
	.opts = open_opts,
	.required = "ma",
	.run = run_open,
};

static int run_close(const struct args *args)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_CLOSE, .minor = args->minor, .pid = args->pid,
		.force = args->force, .timeout = args->timeout,
	};
	struct client *client;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = client_order(client, &rq, NULL);
	client_close(client);
	return err;
}

static const struct opt *const close_opts[] = {
	&opt_pid, &opt_minor, &opt_force, &opt_timeout, NULL,
};

const struct command cmd_close = {
	.name = "close",
	.summary = "Remove a tap's disk and have its image closed",
	.about = "Waits until nobody has the disk open, up to the time limit.",
	.opts = close_opts,
	.required = "m",
	.run = run_close,
};
