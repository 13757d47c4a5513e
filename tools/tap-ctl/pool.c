// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <unistd.h>

#include "command.h"
#include "format.h"
#include "report.h"
#include "taps.h"

static int get_pools(struct client *client, const char *name, struct taps *pools)
{
	struct request rq = { .cmd = BLKTAP_CMD_POOL_GET, .minor = -1, .pool = name };

	if (name)
		return client_get(client, &rq, taps_add, pools);
	return taps_dump(client, rq.cmd, pools);
}

static void print_pools(const struct taps *pools, bool json)
{
	struct json_object *array = json ? json_object_new_array() : NULL;
	bool terminal = isatty(STDOUT_FILENO);

	for (size_t i = 0; i < pools->nr; i++) {
		if (json)
			json_object_array_add(array, format_json(&pools->at[i]));
		else if (terminal)
			format_pool_row(stdout, &pools->at[i]);
		else
			format_pool_line(stdout, &pools->at[i]);
	}
	if (json)
		format_print_json(stdout, array);
}

static int run_get(const struct args *args)
{
	struct taps pools = { 0 };
	struct client *client;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = get_pools(client, args->pool, &pools);
	client_close(client);
	if (!err)
		print_pools(&pools, args->json);
	taps_free(&pools);
	return err;
}

static const struct opt *const get_opts[] = { &opt_pool, &opt_json, NULL };

const struct command cmd_pool_get = {
	.name = "pool get",
	.summary = "Show a pool of pages, or all of them",
	.about = "On a terminal: columns name, pages, free. Else a line of name=, pages=,\n"
		 "free= for each.",
	.opts = get_opts,
	.run = run_get,
};

static int run_set(const struct args *args)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_POOL_SET, .minor = args->minor, .pool = args->pool,
		.pages = args->pages,
	};
	struct client *client;
	int err;

	if (args->minor < 0 && !args->pages) {
		report("pool set: give the size (-s) or the tap to move (-m)");
		return -EINVAL;
	}
	err = client_open(&client);
	if (err)
		return err;
	err = client_get(client, &rq, NULL, NULL);
	client_close(client);
	return err;
}

static const struct opt *const set_opts[] = { &opt_pool, &opt_pages, &opt_minor, NULL };

const struct command cmd_pool_set = {
	.name = "pool set",
	.summary = "Set a pool's quota, or move a tap without a disk to a pool",
	.about = "A pool that is not there yet is made when a tap is moved to it.",
	.opts = set_opts,
	.required = "n",
	.run = run_set,
};
