// SPDX-License-Identifier: GPL-2.0-only
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "format.h"
#include "image.h"
#include "taps.h"

static bool type_is(const struct message *tap, const char *type)
{
	size_t len = strlen(type);

	return tap->name && !strncmp(tap->name, type, len) && tap->name[len] == ':';
}

/* The same path, or two paths to the same place. */
static bool file_is(const struct message *tap, const char *file)
{
	char a[PATH_MAX], b[PATH_MAX];
	const char *path;

	if (!tap->name)
		return false;
	path = image_path(tap->name);
	if (!strcmp(path, file))
		return true;
	return realpath(path, a) && realpath(file, b) && !strcmp(a, b);
}

static bool wanted(const struct message *tap, const struct args *args)
{
	if (args->pid && tap->pid != args->pid)
		return false;
	if (args->minor >= 0 && (!message_has(tap, BLKTAP_A_MINOR) || tap->minor != args->minor))
		return false;
	if (args->type && !type_is(tap, args->type))
		return false;
	return !args->file || file_is(tap, args->file);
}

static void print_json(const struct taps *taps, const struct args *args)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < taps->nr; i++)
		if (wanted(&taps->at[i], args))
			json_object_array_add(array, format_json(&taps->at[i]));
	format_print_json(stdout, array);
}

static void print_text(const struct taps *taps, const struct args *args)
{
	bool terminal = isatty(STDOUT_FILENO);

	for (size_t i = 0; i < taps->nr; i++) {
		if (!wanted(&taps->at[i], args))
			continue;
		if (terminal && !args->vbds)
			format_tap_row(stdout, &taps->at[i]);
		else
			format_tap_line(stdout, &taps->at[i]);
	}
}

static int run_list(const struct args *args)
{
	struct taps taps = { 0 };
	struct client *client;
	int err;

	err = client_open(&client);
	if (err)
		return err;
	if (args->vbds)
		err = client_dump(client, BLKTAP_CMD_VBD_GET, taps_add, &taps);
	else
		err = taps_get(client, &taps);
	client_close(client);
	if (!err && args->json)
		print_json(&taps, args);
	else if (!err)
		print_text(&taps, args);
	taps_free(&taps);
	return err;
}

static const struct opt *const list_opts[] = {
	&opt_pid, &opt_minor, &opt_type, &opt_file, &opt_json, &opt_vbds, NULL,
};

const struct command cmd_list = {
	.name = "list",
	.summary = "List the taps, and the tapdisks that serve none",
	.about = "On a terminal: columns pid, minor, state, type, file. Else a line of\n"
		 "pid=, minor=, state=, args= for each, of which those that do not apply are\n"
		 "absent. Bits of state: 1 dead, 2 closed, 4 quiesce requested, 8 quiesced,\n"
		 "0x10 pause requested, 0x20 paused, 0x40 shutdown requested, 0x200 resume\n"
		 "failed, 0x400 orphaned (recover it), 0x800 stalled, 0x1000 no space,\n"
		 "0x2000 recovering. With\n"
		 "--vbds: domid= and devid= of each guest's disk that the kernel knows of,\n"
		 "minor= of its tap, args= of one that waits for a tap.",
	.opts = list_opts,
	.run = run_list,
};
