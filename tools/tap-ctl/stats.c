// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <json-c/json_tokener.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"
#include "format.h"
#include "report.h"
#include "taps.h"

/* Of all data: the tapdisk knows only of what came to it. */
static void add_sectors(struct json_object *json, const struct message *tap)
{
	struct json_object *secs = json_object_new_array();

	json_object_array_add(secs, json_object_new_uint64(tap->counters[BLKTAP_C_READ_SECTORS]));
	json_object_array_add(secs, json_object_new_uint64(tap->counters[BLKTAP_C_WRITE_SECTORS]));
	json_object_object_add(json, "secs", secs);
}

/* What the tapdisk counts, and what the kernel does, as "kernel". */
static int print_stats(const char *text, const struct message *tap, bool pretty)
{
	struct json_object *json = json_tokener_parse(text);

	if (!json_object_is_type(json, json_type_object)) {
		report("stats: the tapdisk's answer is no JSON object: %s", text);
		json_object_put(json);
		return -EPROTO;
	}
	if (message_has(tap, BLKTAP_A_COUNTERS)) {
		add_sectors(json, tap);
		json_object_object_add(json, "kernel", format_counters(tap));
	}
	if (pretty) {
		format_print_json(stdout, json);
		return 0;
	}
	printf("%s\n", json_object_to_json_string_ext(json, JSON_C_TO_STRING_SPACED |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(json);
	return 0;
}

static int run_stats(const struct args *args)
{
	struct request rq = {
		.cmd = BLKTAP_CMD_STATS, .minor = args->minor, .pid = args->pid,
		.timeout = args->timeout,
	};
	struct message tap = { 0 };
	struct client *client;
	char *text = NULL;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = client_order(client, &rq, &text);
	if (!err)
		err = tap_get(client, args->minor, &tap);
	client_close(client);
	if (!err)
		err = print_stats(text ?: "{}", &tap, args->json);
	message_free(&tap);
	free(text);
	return err;
}

static const struct opt *const opts[] = {
	&opt_pid, &opt_minor, &opt_timeout, &opt_json, NULL,
};

const struct command cmd_stats = {
	.name = "stats",
	.summary = "Print what the tapdisk and the kernel count, as one line of JSON",
	.about = "With --json it is spread over lines.",
	.opts = opts,
	.required = "m",
	.run = run_stats,
};
