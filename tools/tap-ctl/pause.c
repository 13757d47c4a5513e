// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>

#include "client.h"
#include "command.h"
#include "steps.h"

static int run_pause(const struct args *args)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_PAUSE, .minor = args->minor, .pid = args->pid,
		.timeout = args->timeout,
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

static const struct opt *const pause_opts[] = { &opt_pid, &opt_minor, &opt_timeout, NULL };

const struct command cmd_pause = {
	.name = "pause",
	.summary = "Hold a disk's requests and have its image closed",
	.about = "Requests made meanwhile wait for unpause. The image may be moved, copied\n"
		 "or become the parent of another.",
	.opts = pause_opts,
	.required = "m",
	.run = run_pause,
};

static int run_unpause(const struct args *args)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_RESUME, .minor = args->minor, .pid = args->pid,
		.timeout = args->timeout,
	};
	struct client *client;
	char *name = NULL;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	if (args->image)
		err = step_image(client, args->minor, args->image, &name);
	if (!err) {
		rq.name = name;
		err = client_order(client, &rq, NULL);
	}
	free(name);
	client_close(client);
	return err;
}

static const struct opt *const unpause_opts[] = {
	&opt_pid, &opt_minor, &opt_image, &opt_timeout, NULL,
};

const struct command cmd_unpause = {
	.name = "unpause",
	.summary = "Have a paused disk's image opened, and let its requests go on",
	.about = "With -a it goes on with that image, else with the one it had.",
	.opts = unpause_opts,
	.required = "m",
	.run = run_unpause,
};
