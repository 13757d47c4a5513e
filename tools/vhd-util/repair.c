// SPDX-License-Identifier: GPL-2.0-only
#include "command.h"

static int run(const struct command *cmd, int argc, char **argv)
{
	struct vhd_error err;
	const char *name;
	struct vhd *v;
	int r = only_name(cmd, argc, argv, &name);

	if (r < 0 || !name)
		return r;
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
