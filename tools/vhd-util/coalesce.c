// SPDX-License-Identifier: GPL-2.0-only
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	struct vhd_error err;
	const char *name;
	int r = only_name(cmd, argc, argv, &name);

	if (r < 0 || !name)
		return r;
	r = vhd_coalesce(name, &err);
	return r ? fail(r, &err) : 0;
}

const struct command command_coalesce = {
	.name = "coalesce",
	.summary = "write what an image has to its parent",
	.usage =
	"Usage: vhd-util coalesce -n FILE\n\n"
	"Write what a differencing image has to its parent, which then holds the same.\n"
	"FILE stays as it is; its own children can be given the parent (vhd-util modify),\n"
	"and FILE removed. Other children of the parent would see FILE's data: it must\n"
	"have none. An interrupted coalesce is just repeated.\n\n"
	"  -n FILE     the image; nobody may have it, or its parent, open\n"
	"  -h, --help  this text\n",
	.run = run,
};
