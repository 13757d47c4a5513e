// SPDX-License-Identifier: GPL-2.0-only
#include <unistd.h>
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	const char *name = NULL;
	struct vhd *v;
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
	/* Who opens it for writing puts back a lost footer. */
	r = vhd_open(&v, name, VHD_OPEN_RDWR, &err);
	if (!r)
		vhd_close(v);
	return r ? fail(r, &err) : 0;
}

const struct command command_repair = {
	.name = "repair",
	.summary = "put back a lost footer",
	.usage =
	"Usage: vhd-util repair -n FILE\n\n"
	"Put back the footer at the end, or its copy at the start, where one of them is\n"
	"lost. Nothing else can be repaired. A tapdisk does the same when it opens an\n"
	"image for writing.\n\n"
	"  -n FILE     the image; nobody may have it open\n"
	"  -h, --help  this text\n",
	.run = run,
};
