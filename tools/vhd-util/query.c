// SPDX-License-Identifier: GPL-2.0-only
/*
 * The outputs are those that storage managers parse. They query images that are
 * in use, so nothing is locked here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "command.h"

enum {
	VIRTUAL_SIZE = 1 << 0,
	PHYSICAL_SIZE = 1 << 1,
	PARENT = 1 << 2,
	FIELDS = 1 << 3,
	DEPTH = 1 << 4,
	MAX_SIZE = 1 << 5,
};

static uint64_t physical_size(const struct vhd *v)
{
	return vhd_is_flat(v) ? v->file_size : v->next_free + VHD_SECTOR;
}

static uint64_t max_size(const struct vhd *v)
{
	return vhd_is_flat(v) ? v->size : (uint64_t)v->bat_entries * v->block_size;
}

static int print_parent(const struct vhd *v, const char *name)
{
	struct vhd_error err;
	char *path;
	int r;

	if (v->type != VHD_TYPE_DIFFERENCING) {
		printf("%s has no parent\n", name);
		return 0;
	}
	r = vhd_parent_path(v, &path, &err);
	if (r)
		return fail(r, &err);
	puts(path);
	free(path);
	return 0;
}

static int print_depth(const char *name)
{
	struct vhd_error err;
	unsigned int depth = 0;
	struct vhd *leaf;
	int r;

	r = vhd_open_chain(&leaf, name, VHD_OPEN_NOLOCK, &err);
	if (r)
		return fail(r, &err);
	for (const struct vhd *v = leaf; v; v = v->parent)
		depth++;
	vhd_close(leaf);
	printf("chain depth: %u\n", depth);
	return 0;
}

static int query(const char *name, int what)
{
	struct vhd_error err;
	struct vhd *v;
	int r;

	r = vhd_open(&v, name, VHD_OPEN_NOLOCK, &err);
	if (r)
		return fail(r, &err);
	if (what & VIRTUAL_SIZE)
		printf("%ju\n", (uintmax_t)v->size >> 20);
	if (what & PHYSICAL_SIZE)
		printf("%ju\n", (uintmax_t)physical_size(v));
	if (what & PARENT)
		r = print_parent(v, name);
	if (what & FIELDS)
		printf("hidden: %d\n", v->footer.hidden);
	if (what & DEPTH && !r)
		r = print_depth(name);
	if (what & MAX_SIZE)
		printf("%ju\n", (uintmax_t)max_size(v) >> 20);
	vhd_close(v);
	return r;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	const char *name = NULL;
	int c, what = 0;

	while ((c = next_option(cmd, argc, argv, "n:vspfdSh")) != -1) {
		switch (c) {
		case 'n':
			name = optarg;
			break;
		case 'v':
			what |= VIRTUAL_SIZE;
			break;
		case 's':
			what |= PHYSICAL_SIZE;
			break;
		case 'p':
			what |= PARENT;
			break;
		case 'f':
			what |= FIELDS;
			break;
		case 'd':
			what |= DEPTH;
			break;
		case 'S':
			what |= MAX_SIZE;
			break;
		case HELP_SHOWN:
			return 0;
		default:
			return fail_usage(cmd, "wrong option");
		}
	}
	if (!name || optind != argc)
		return fail_usage(cmd, "needs -n, and nothing else but options");
	if (!what)
		return fail_usage(cmd, "needs to know what to print");
	return query(name, what);
}

const struct command command_query = {
	.name = "query",
	.summary = "print facts about an image",
	.usage =
	"Usage: vhd-util query -n FILE [-v] [-s] [-p] [-f] [-d] [-S]\n\n"
	"Print facts about an image, one a line, in this order. The image may be in use.\n\n"
	"  -n FILE     the image\n"
	"  -v          size of the disk in MiB\n"
	"  -s          size of what is in use of the file or block device, in bytes\n"
	"  -p          path of the parent, or 'FILE has no parent'\n"
	"  -f          'hidden: 0' or 'hidden: 1', a mark of storage managers\n"
	"  -d          'chain depth: N', the number of images in the chain\n"
	"  -S          size in MiB to which the disk could grow within its BAT\n"
	"  -h, --help  this text\n",
	.run = run,
};
