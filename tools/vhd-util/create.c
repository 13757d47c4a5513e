// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	enum vhd_type type = VHD_TYPE_DYNAMIC;
	const char *name = NULL;
	struct vhd_error err;
	uint64_t size = 0;
	int c, r;

	while ((c = next_option(cmd, argc, argv, "n:s:rh")) != -1) {
		switch (c) {
		case 'n':
			name = optarg;
			break;
		case 's':
			if (parse_mib(optarg, &size))
				return fail_usage(cmd, "-s needs a number of MiB from 1 up");
			break;
		case 'r':
			type = VHD_TYPE_FIXED;
			break;
		case HELP_SHOWN:
			return 0;
		default:
			return fail_usage(cmd, "wrong option");
		}
	}
	if (!name || !size || optind != argc)
		return fail_usage(cmd, "needs -n and -s, and nothing else but options");
	r = vhd_create(name, type, size, &err);
	return r ? fail(r, &err) : 0;
}

const struct command command_create = {
	.name = "create",
	.summary = "make an empty image",
	.usage =
	"Usage: vhd-util create -n FILE -s MIB [-r]\n\n"
	"Make an empty image. FILE must not exist, or be a block device, which is\n"
	"overwritten.\n\n"
	"  -n FILE     the image\n"
	"  -s MIB      size of the disk in MiB, at most 2088960 (2040 GiB)\n"
	"  -r          reserve: fixed size, all space allocated; else dynamic\n"
	"  -h, --help  this text\n",
	.run = run,
};
