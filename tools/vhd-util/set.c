// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include <unistd.h>
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	const char *name = NULL;
	const char *field = NULL, *value = NULL;
	struct vhd *v;
	struct vhd_error err;
	int c, r;

	while ((c = next_option(cmd, argc, argv, "n:f:v:h")) != -1) {
		switch (c) {
		case 'n':
			name = optarg;
			break;
		case 'f':
			field = optarg;
			break;
		case 'v':
			value = optarg;
			break;
		case HELP_SHOWN:
			return 0;
		default:
			return fail_usage(cmd, "wrong option");
		}
	}
	if (!name || !field || !value || optind != argc)
		return fail_usage(cmd, "needs -n, -f and -v, and nothing else");
	if (strcmp(field, "hidden"))
		return fail_usage(cmd, "the only field that can be set is hidden");
	if (strcmp(value, "0") && strcmp(value, "1"))
		return fail_usage(cmd, "hidden is 0 or 1");
	r = vhd_open(&v, name, VHD_OPEN_RDWR, &err);
	if (r)
		return fail(r, &err);
	r = vhd_set_hidden(v, *value == '1', &err);
	vhd_close(v);
	return r ? fail(r, &err) : 0;
}

const struct command command_set = {
	.name = "set",
	.summary = "mark an image as hidden, or not",
	.usage =
	"Usage: vhd-util set -n FILE -f hidden -v 0|1\n\n"
	"Mark an image as one that storage managers hide from users, or take the mark\n"
	"away. It does nothing to what the image holds.\n\n"
	"  -n FILE     the image; nobody may have it open\n"
	"  -f hidden   the field\n"
	"  -v 0|1      its value\n"
	"  -h, --help  this text\n",
	.run = run,
};
