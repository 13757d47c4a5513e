// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	const char *name = NULL;
	const char *parent = NULL;
	bool raw = false;
	struct vhd_error err;
	int c, r;

	while ((c = next_option(cmd, argc, argv, "n:p:mh")) != -1) {
		switch (c) {
		case 'n':
			name = optarg;
			break;
		case 'p':
			parent = optarg;
			break;
		case 'm':
			raw = true;
			break;
		case HELP_SHOWN:
			return 0;
		default:
			return fail_usage(cmd, "wrong option");
		}
	}
	if (!name || !parent || optind != argc)
		return fail_usage(cmd, "needs -n and -p, and nothing else but options");
	r = vhd_set_parent(name, parent, raw, &err);
	return r ? fail(r, &err) : 0;
}

const struct command command_modify = {
	.name = "modify",
	.summary = "give a differencing image another parent",
	.usage =
	"Usage: vhd-util modify -n FILE -p PARENT [-m]\n\n"
	"Give a differencing image another parent: one that holds the same where FILE\n"
	"holds nothing, after a copy, a move or a coalesce. That is not checked.\n\n"
	"  -n FILE     the image; nobody may have it open\n"
	"  -p PARENT   the image beneath it from now on\n"
	"  -m          PARENT is a raw image, not a VHD\n"
	"  -h, --help  this text\n",
	.run = run,
};
