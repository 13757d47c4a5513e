// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	const char *name = NULL, *parent = NULL;
	struct vhd_error err;
	bool raw = false;
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
	r = vhd_snapshot(name, parent, raw, &err);
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
