// SPDX-License-Identifier: GPL-2.0-only
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	struct vhd_error err;
	struct lineage of;
	int r = name_and_parent(cmd, argc, argv, &of);

	if (r < 0 || !of.name)
		return r;
	r = vhd_snapshot(of.name, of.parent, of.raw, &err);
	return r ? fail(r, &err) : 0;
}

const struct command command_snapshot = {
	.name = "snapshot",
	.summary = "make a differencing image on top of another image",
	.usage =
	"Usage: vhd-util snapshot -n FILE -p PARENT [-m]\n\n"
	"Make a differencing image: it holds what is written to it, and reads the rest\n"
	"from PARENT, which must not be written to from then on. FILE must not exist,\n"
	"or be a block device, which is overwritten. PARENT must not be open for\n"
	"writing: pause its tap first.\n\n"
	"  -n FILE     the new image\n"
	"  -p PARENT   the image beneath it\n"
	"  -m          PARENT is a raw image, not a VHD\n"
	"  -h, --help  this text\n",
	.run = run,
};
