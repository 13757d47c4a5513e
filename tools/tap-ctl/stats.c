// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <json-c/json_tokener.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "format.h"
#include "report.h"

static int print_stats(const char *text, bool pretty)
{
	struct json_object *json;

	if (!pretty) {
		printf("%s\n", text);
		return 0;
	}
	json = json_tokener_parse(text);
	if (!json) {
		report("stats: the tapdisk's answer is not JSON: %s", text);
		return -EPROTO;
	}
	format_print_json(stdout, json);
	return 0;
}

static int run_stats(const struct args *args)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_STATS, .minor = args->minor, .pid = args->pid,
		.timeout = args->timeout,
	};
	struct client *client;
	char *text = NULL;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = client_order(client, &rq, &text);
	client_close(client);
	if (!err)
		err = print_stats(text ?: "{}", args->json);
	free(text);
	return err;
}

static const struct opt *const opts[] = {
	&opt_pid, &opt_minor, &opt_timeout, &opt_json, NULL,
};

const struct command cmd_stats = {
	.name = "stats",
	.summary = "Print what a tap's tapdisk counts, as one line of JSON",
	.about = "With --json it is spread over lines.",
	.opts = opts,
	.required = "m",
	.run = run_stats,
};
