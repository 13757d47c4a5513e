// SPDX-License-Identifier: GPL-2.0-only
/* vhd-util: make and look at VHD images. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"

static const struct command *const commands[] = {
	&command_create, &command_snapshot, &command_query, &command_check,
	&command_set, &command_resize, &command_modify, &command_coalesce,
	&command_repair, NULL
};

int next_option(const struct command *cmd, int argc, char **argv,
		const char *options)
{
	static const struct option long_options[] = {
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int c = getopt_long(argc, argv, options, long_options, NULL);

	if (c == 'h') {
		fputs(cmd->usage, stdout);
		return HELP_SHOWN;
	}
	return c;
}

int only_name(const struct command *cmd, int argc, char **argv, const char **name)
{
	int c;

	*name = NULL;
	while ((c = next_option(cmd, argc, argv, "n:h")) != -1) {
		if (c != 'n') {
			*name = NULL;
			return c == HELP_SHOWN ? 0 : fail_usage(cmd, "wrong option");
		}
		*name = optarg;
	}
	if (!*name || optind != argc)
		return fail_usage(cmd, "needs -n, and nothing else");
	return 0;
}

int name_and_parent(const struct command *cmd, int argc, char **argv, struct lineage *of)
{
	int c;

	*of = (struct lineage){ 0 };
	while ((c = next_option(cmd, argc, argv, "n:p:mh")) != -1) {
		switch (c) {
		case 'n':
			of->name = optarg;
			break;
		case 'p':
			of->parent = optarg;
			break;
		case 'm':
			of->raw = true;
			break;
		case HELP_SHOWN:
			of->name = NULL;
			return 0;
		default:
			return fail_usage(cmd, "wrong option");
		}
	}
	if (!of->name || !of->parent || optind != argc)
		return fail_usage(cmd, "needs -n and -p, and nothing else but options");
	return 0;
}

/* What is too large to be counted is too large for a VHD too. */
int parse_mib(const char *text, uint64_t *bytes)
{
	unsigned long long mib;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	mib = strtoull(text, &end, 10);
	if (*end || !mib)
		return -EINVAL;
	if (errno || mib > UINT64_MAX >> 20)
		mib = UINT64_MAX >> 20;
	*bytes = (uint64_t)mib << 20;
	return 0;
}

int fail_usage(const struct command *cmd, const char *what)
{
	fprintf(stderr, "vhd-util %s: %s; see vhd-util %s --help\n", cmd->name,
		what, cmd->name);
	return -EINVAL;
}

int fail(int error, const struct vhd_error *err)
{
	fprintf(stderr, "vhd-util: %s\n", err->text);
	return error;
}

static void print_help(void)
{
	puts("Usage: vhd-util COMMAND [OPTIONS]\n\n"
	     "Make and look at disk images in the VHD format.\n");
	for (const struct command *const *c = commands; *c; c++)
		printf("  %-10s %s\n", (*c)->name, (*c)->summary);
	puts("\n'vhd-util COMMAND --help' tells a command's options. The exit status is 0\n"
	     "or the number of the error (errno).");
}

static const struct command *find_command(const char *name)
{
	for (const struct command *const *c = commands; *c; c++)
		if (!strcmp(name, (*c)->name))
			return *c;
	return NULL;
}

static int dispatch(int argc, char **argv)
{
	const struct command *cmd;
	int r;

	if (argc < 2) {
		fputs("vhd-util: no command given; see vhd-util --help\n", stderr);
		return -EINVAL;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
	    !strcmp(argv[1], "help")) {
		print_help();
		return 0;
	}
	cmd = find_command(argv[1]);
	if (!cmd) {
		fprintf(stderr, "vhd-util: unknown command '%s'; see vhd-util --help\n",
			argv[1]);
		return -EINVAL;
	}
	r = cmd->run(cmd, argc - 1, argv + 1);
	if (fflush(stdout) && !r) {
		fputs("vhd-util: writing the output failed\n", stderr);
		return -EIO;
	}
	return r;
}

int main(int argc, char **argv)
{
	return -dispatch(argc, argv);
}
