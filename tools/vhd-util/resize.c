// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	const char *name = NULL;
	uint64_t size = 0;
	struct vhd_error err;
	int c, r;

	while ((c = next_option(cmd, argc, argv, "n:s:j:h")) != -1) {
		switch (c) {
		case 'n':
			name = optarg;
			break;
		case 's':
			if (parse_mib(optarg, &size))
				return fail_usage(cmd, "-s needs a number of MiB from 1 up");
			break;
		case 'j':
			/* Others keep a journal, which we have no need of. */
			break;
		case HELP_SHOWN:
			return 0;
		default:
			return fail_usage(cmd, "wrong option");
		}
	}
	if (!name || !size || optind != argc)
		return fail_usage(cmd, "needs -n and -s, and nothing else but options");
	r = vhd_resize(name, size, &err);
	return r ? fail(r, &err) : 0;
}

const struct command command_resize = {
	.name = "resize",
	.summary = "make a disk larger",
	.usage =
	"Usage: vhd-util resize -n FILE -s MIB\n\n"
	"Make a disk larger; what is new reads as zeroes. A disk can't be made smaller.\n"
	"The image is whole at every moment, so an interrupted resize is just repeated.\n\n"
	"  -n FILE     the image; nobody may have it open\n"
	"  -s MIB      size of the disk in MiB, at most 2088960 (2040 GiB)\n"
	"  -j FILE     ignored: other vhd-utils ask for the name of a journal\n"
	"  -h, --help  this text\n",
	.run = run,
};
