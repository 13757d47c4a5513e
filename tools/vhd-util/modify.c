// SPDX-License-Identifier: GPL-2.0-only
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	struct vhd_error err;
	struct lineage of;
	int r = name_and_parent(cmd, argc, argv, &of);

	if (r < 0 || !of.name)
		return r;
	r = vhd_set_parent(of.name, of.parent, of.raw, &err);
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
