/* SPDX-License-Identifier: GPL-2.0-only */
/* The commands of vhd-util: one a file. */
#ifndef VHD_UTIL_COMMAND_H
#define VHD_UTIL_COMMAND_H

#include "libvhd/vhd.h"

/**
 * struct command - what vhd-util can do
 * @name: as typed
 * @summary: for the list of commands
 * @usage: what --help prints
 * @run: gets argv from the command's name on; returns 0 or a negative errno,
 *	having printed what is wrong
 */
struct command {
	const char *name;
	const char *summary;
	const char *usage;
	int (*run)(const struct command *cmd, int argc, char **argv);
};

extern const struct command command_create, command_snapshot, command_query,
	command_check, command_set, command_resize, command_modify,
	command_coalesce, command_repair;

/*
 * getopt_long() with -h and --help, which it serves. Return: as getopt(); '?' for
 * a wrong option, HELP_SHOWN when there is nothing more to do.
 */
#define HELP_SHOWN	1
int next_option(const struct command *cmd, int argc, char **argv,
		const char *options);

/* For commands that take -n alone. Return: 0, @name NULL if it was --help; -EINVAL. */
int only_name(const struct command *cmd, int argc, char **argv, const char **name);

/* An image and the one beneath it, which may be raw. */
struct lineage {
	const char *name;
	const char *parent;
	bool raw;
};

/* For commands that take -n, -p and -m. Return: as only_name(). */
int name_and_parent(const struct command *cmd, int argc, char **argv, struct lineage *of);

/* What is wrong with the command line. Return: -EINVAL. */
int fail_usage(const struct command *cmd, const char *what);

/* MiB from 1 up, as text, to bytes. Return: 0 or -EINVAL. */
int parse_mib(const char *text, uint64_t *bytes);

/* Print an error of libvhd's. Return: @error. */
int fail(int error, const struct vhd_error *err);

#endif /* VHD_UTIL_COMMAND_H */
