// SPDX-License-Identifier: GPL-2.0-only
#include "command.h"
#include "report.h"
#include "steps.h"

static int run_allocate(const struct args *args)
{
	struct client *client;
	char path[PATH_MAX];
	int minor, err;

	err = client_open(&client);
	if (err)
		return err;
	minor = step_allocate(client, args->node, path);
	err = minor < 0 ? minor : say("%s\n", path);
	if (err && minor >= 0)
		step_free(client, minor, args->node, 0);
	client_close(client);
	return err;
}

static const struct opt *const allocate_opts[] = { &opt_node, NULL };

const struct command cmd_allocate = {
	.name = "allocate",
	.summary = "Make a tap without a tapdisk and print its device's path",
	.about = "The device can be opened once a tapdisk is attached and has an image open.",
	.opts = allocate_opts,
	.run = run_allocate,
};

static int run_free(const struct args *args)
{
	struct client *client;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = step_free(client, args->minor, args->node, args->timeout);
	client_close(client);
	return err;
}

static const struct opt *const free_opts[] = { &opt_minor, &opt_node, &opt_timeout, NULL };

const struct command cmd_free = {
	.name = "free",
	.summary = "Remove a tap that has no tapdisk",
	.opts = free_opts,
	.required = "m",
	.run = run_free,
};
