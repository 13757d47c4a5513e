// SPDX-License-Identifier: GPL-2.0-only
/*
 * tap-ctl: the administration of taps.
 *
 * The exit status is 0 or an errno.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "report.h"

static const struct command *const commands[] = {
	&cmd_list,  &cmd_create,  &cmd_destroy, &cmd_pause, &cmd_unpause,  &cmd_stats,
	&cmd_spawn, &cmd_allocate, &cmd_attach, &cmd_open,  &cmd_close,    &cmd_detach,
	&cmd_free,  &cmd_recover, &cmd_handover, &cmd_set, &cmd_monitor, &cmd_serve, &cmd_pool_get,
	&cmd_pool_set, &cmd_major, &cmd_check,
	NULL,
};

static void print_help(void)
{
	const struct command *const *c;

	printf("Usage: tap-ctl COMMAND [OPTION...]\n\n"
	       "Serve disk images as block devices.\n\nCommands:\n");
	for (c = commands; *c; c++)
		printf("  %-10s %s\n", (*c)->name, (*c)->summary);
	printf("\ntap-ctl COMMAND --help tells more of a command.\n");
}

/* How many of the words at @argv are the command's name; 0: it's another one. */
static int name_words(const struct command *cmd, int argc, char **argv)
{
	const char *space = strchr(cmd->name, ' ');
	size_t first = strcspn(cmd->name, " ");

	if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], cmd->name, first))
		return 0;
	if (!space)
		return 1;
	return argc > 1 && !strcmp(argv[1], space + 1) ? 2 : 0;
}

/* "tap-ctl pool --help": the commands whose names begin with that word. */
static int print_group(const char *word)
{
	const struct command *const *c;
	size_t len = strlen(word);
	int found = 0;

	for (c = commands; *c; c++) {
		if (strncmp((*c)->name, word, len) || (*c)->name[len] != ' ')
			continue;
		if (found++)
			putchar('\n');
		args_usage(*c);
	}
	return found;
}

static int run_command(int argc, char **argv)
{
	const struct command *const *c;
	struct args args;
	int words, err;

	for (c = commands; *c; c++) {
		words = name_words(*c, argc, argv);
		if (!words)
			continue;
		err = args_parse(*c, argc - words + 1, argv + words - 1, &args);
		if (err)
			return err < 0 ? err : 0;
		return (*c)->run(&args);
	}
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) &&
	    print_group(argv[0]))
		return 0;
	if (argc)
		report("no command \"%s\"; tap-ctl --help lists them", argv[0]);
	else
		report("which command? tap-ctl --help lists them");
	return -EINVAL;
}

int main(int argc, char **argv)
{
	int err = 0;

	if (argc < 2)
		err = run_command(0, argv);
	else if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		print_help();
	else if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))
		printf("tap-ctl (blktap) %s\n", BLKTAP_VERSION);
	else
		err = run_command(argc - 1, argv + 1);

	if (!err && (fflush(stdout) || ferror(stdout))) {
		report("writing the output: %s", strerror(errno));
		err = -(errno ?: EIO);
	}
	return -err;
}
