// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "command.h"

static void report(void *arg, bool damage, const char *text)
{
	const char *name = arg;

	fprintf(stderr, "vhd-util: %s: %s%s\n", name, damage ? "" : "note: ", text);
}

static int check(const char *name)
{
	struct vhd_error err;
	struct vhd *v;
	int r;

	r = vhd_open_chain(&v, name, 0, &err);
	if (r)
		return fail(r, &err);
	r = vhd_check(v, report, (void *)name);
	vhd_close(v);
	if (r > 0)
		return -EINVAL;
	if (r < 0)
		fprintf(stderr, "vhd-util: %s: checking failed: %s\n", name, strerror(-r));
	else
		printf("%s is valid\n", name);
	return r;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	const char *name;
	int r = only_name(cmd, argc, argv, &name);

	return r < 0 || !name ? r : check(name);
}

const struct command command_check = {
	.name = "check",
	.summary = "look whether an image is sound",
	.usage =
	"Usage: vhd-util check -n FILE\n\n"
	"Check an image's metadata, and that all images beneath it are there and are\n"
	"the right ones. Says 'FILE is valid', or what is wrong. Changes nothing.\n\n"
	"  -n FILE     the image; nobody may have it open for writing\n"
	"  -h, --help  this text\n",
	.run = run,
};
