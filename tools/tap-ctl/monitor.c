// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>

#include "command.h"
#include "format.h"

static int print_event(struct message *event, void *arg)
{
	const struct args *args = arg;

	if (args->json) {
		struct json_object *json = format_json(event);

		printf("%s\n", json_object_to_json_string_ext(json,
							      JSON_C_TO_STRING_NOSLASHESCAPE));
		json_object_put(json);
	} else {
		format_event_line(stdout, event);
	}
	fflush(stdout);
	return 0;
}

static int run_monitor(const struct args *args)
{
	struct client *client;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	err = client_listen(client, print_event, (void *)args);
	client_close(client);
	return err;
}

static const struct opt *const opts[] = { &opt_json, NULL };

const struct command cmd_monitor = {
	.name = "monitor",
	.summary = "Print events as they happen, until interrupted",
	.about = "A line each: the event, then pid=, minor=, state=, args=, error=, text= as\n"
		 "far as they apply. With --json a JSON object each.",
	.opts = opts,
	.run = run_monitor,
};
