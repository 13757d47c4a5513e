/* SPDX-License-Identifier: GPL-2.0-only */
/* A command: what it is called, what it takes, what it does. */
#ifndef TAPCTL_COMMAND_H
#define TAPCTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

/**
 * struct args - what the command line said
 * @pid: a tapdisk; 0: not said
 * @minor: a tap; -1: not said
 * @timeout: seconds; 0: not said
 * @pages: a pool's quota; 0: not said
 * @request_timeout: seconds, 0: none; -1: not said
 * @on_timeout: "wait" or "fail", or NULL
 * @image: type:/path, as typed, or NULL
 * @node: where the block device's node is to be, or NULL: at its usual place
 * @mode: of the disk: "layout" or "ring", or NULL
 * @type: type of image, or NULL
 * @file: path of an image, or NULL
 * @pool: name of a pool, or NULL
 * @rdonly: open the image read-only
 * @force: do not wait for what is in the way
 * @json: print JSON
 * @vbds: guests' disks, not taps
 */
struct args {
	long pid;
	long minor;
	long timeout;
	long pages;
	long request_timeout;
	const char *on_timeout;
	const char *image;
	const char *node;
	const char *mode;
	const char *type;
	const char *file;
	const char *pool;
	bool rdonly;
	bool force;
	bool json;
	bool vbds;
};

enum opt_kind { OPT_FLAG, OPT_NUMBER, OPT_TEXT, OPT_WORD };

/**
 * struct opt - an option
 * @key: its letter, or a number above 255 where it has none
 * @kind: what it takes
 * @name: its long name
 * @value: what the help calls its value; OPT_WORD: the words, with | between
 * @help: one line
 * @offset: of its field in struct args: bool, long or, for texts and words,
 *	const char *
 * @min: smallest number
 * @max: largest number
 */
struct opt {
	int key;
	enum opt_kind kind;
	const char *name;
	const char *value;
	const char *help;
	size_t offset;
	long min;
	long max;
};

extern const struct opt opt_pid, opt_tapdisk, opt_minor, opt_image, opt_node, opt_rdonly,
	opt_timeout, opt_force, opt_kill, opt_request_timeout, opt_on_timeout, opt_mode, opt_type,
	opt_file, opt_json, opt_pool, opt_pages, opt_vbds;

/**
 * struct command - a command
 * @name: one word, or two
 * @summary: one line
 * @about: further lines of its help, or NULL
 * @opts: options it takes, ended by NULL
 * @required: keys of those that it can't do without
 * @run: does it; returns 0 or a negative errno, which it has reported
 */
struct command {
	const char *name;
	const char *summary;
	const char *about;
	const struct opt *const *opts;
	const char *required;
	int (*run)(const struct args *args);
};

extern const struct command cmd_list, cmd_allocate, cmd_free, cmd_create, cmd_destroy, cmd_spawn,
	cmd_attach, cmd_detach, cmd_open, cmd_close, cmd_pause, cmd_unpause, cmd_stats, cmd_major,
	cmd_check, cmd_pool_get, cmd_pool_set, cmd_monitor, cmd_recover, cmd_handover, cmd_set,
	cmd_serve;

/**
 * args_parse() - read a command's options
 * @cmd: the command
 * @argc: of @argv
 * @argv: the command's name (its last word), then the options
 * @args: filled in; the strings are @argv's
 *
 * Returns 0, 1 when help was asked for and printed, or -EINVAL, reported.
 */
int args_parse(const struct command *cmd, int argc, char **argv, struct args *args);

/** args_ring() - true if a disk in ring mode is asked for */
bool args_ring(const struct args *args);

/** args_usage() - print a command's help on stdout */
void args_usage(const struct command *cmd);

#endif
