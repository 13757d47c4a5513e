// SPDX-License-Identifier: GPL-2.0-only
#include "command.h"
#include "steps.h"

static int run_attach(const struct args *args)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_ATTACH, .minor = args->minor, .pid = args->pid,
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

static const struct opt *const opts[] = { &opt_pid, &opt_minor, &opt_timeout, NULL };

const struct command cmd_attach = {
	.name = "attach",
	.summary = "Have a tapdisk serve a tap",
	.opts = opts,
	.required = "pm",
	.run = run_attach,
};

static int run_detach(const struct args *args)
{
	struct client *client;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = step_detach(client, args->minor, args->pid, args->timeout);
	client_close(client);
	return err;
}

const struct command cmd_detach = {
	.name = "detach",
	.summary = "Part a tap from its tapdisk, which ends if it serves no other",
	.opts = opts,
	.required = "m",
	.run = run_detach,
};
