// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	const char *name = NULL;
	struct vhd_error err;
	int c, r;

	while ((c = next_option(cmd, argc, argv, "n:h")) != -1) {
		switch (c) {
		case 'n':
			name = optarg;
			break;
		case HELP_SHOWN:
			return 0;
		default:
			return fail_usage(cmd, "wrong option");
		}
	}
	if (!name || optind != argc)
		return fail_usage(cmd, "needs -n, and nothing else");
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
