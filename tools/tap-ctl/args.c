// SPDX-License-Identifier: GPL-2.0-only
/* Options: the tables, and reading them with getopt_long(). */
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <linux/blktap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

#define OPTS_MAX	10	/* options of one command, --help included */
#define MINOR_MAX	((1 << 20) - 1)
#define FIELD(name)	offsetof(struct args, name)

enum { KEY_JSON = 256, KEY_MODE, KEY_REQUEST_TIMEOUT, KEY_ON_TIMEOUT, KEY_VBDS };

const struct opt opt_pid = {
	'p', OPT_NUMBER, "pid", "PID", "the tapdisk's process id", FIELD(pid), 1, INT_MAX,
};

const struct opt opt_tapdisk = {
	'p', OPT_NUMBER, "tapdisk", "PID", "have this tapdisk serve it; else one is spawned",
	FIELD(pid), 1, INT_MAX,
};

const struct opt opt_minor = {
	'm', OPT_NUMBER, "minor", "MINOR", "the tap's minor number", FIELD(minor), 0, MINOR_MAX,
};

const struct opt opt_image = {
	'a', OPT_TEXT, "image", "TYPE:/PATH", "the image: vhd:/path, or aio:/path for a raw one",
	FIELD(image), 0, 0,
};

const struct opt opt_node = {
	'd', OPT_TEXT, "device", "PATH", "the block device's node, instead of the usual path",
	FIELD(node), 0, 0,
};

const struct opt opt_rdonly = {
	'R', OPT_FLAG, "readonly", NULL, "open the image read-only", FIELD(rdonly), 0, 0,
};

const struct opt opt_timeout = {
	't', OPT_NUMBER, "timeout", "SECONDS", "give up after this long (default: 120)",
	FIELD(timeout), 1, 86400,
};

const struct opt opt_force = {
	'f', OPT_FLAG, "force", NULL, "do not have the image flushed", FIELD(force), 0, 0,
};

const struct opt opt_kill = {
	'f', OPT_FLAG, "force", NULL, "kill the tapdisk that serves it now", FIELD(force), 0, 0,
};

const struct opt opt_request_timeout = {
	KEY_REQUEST_TIMEOUT, OPT_NUMBER, "request-timeout", "SECONDS",
	"report a request that waits for longer (0: never)", FIELD(request_timeout), 0, 86400,
};

const struct opt opt_on_timeout = {
	KEY_ON_TIMEOUT, OPT_WORD, "on-timeout", "wait|fail", "what becomes of it then",
	FIELD(on_timeout), 0, 0,
};

const struct opt opt_mode = {
	KEY_MODE, OPT_WORD, "mode", "layout|ring",
	"who moves the data: the kernel (default), or the tapdisk", FIELD(mode), 0, 0,
};

const struct opt opt_type = {
	't', OPT_TEXT, "type", "TYPE", "images of this type only", FIELD(type), 0, 0,
};

const struct opt opt_file = {
	'f', OPT_TEXT, "file", "PATH", "the image with this path only", FIELD(file), 0, 0,
};

const struct opt opt_json = {
	KEY_JSON, OPT_FLAG, "json", NULL, "print JSON", FIELD(json), 0, 0,
};

const struct opt opt_vbds = {
	KEY_VBDS, OPT_FLAG, "vbds", NULL, "list guests' disks instead", FIELD(vbds), 0, 0,
};

const struct opt opt_pool = {
	'n', OPT_TEXT, "name", "NAME", "the pool's name", FIELD(pool), 0, 0,
};

const struct opt opt_pages = {
	's', OPT_NUMBER, "size", "PAGES", "the pool's quota, in pages", FIELD(pages),
	BLKTAP_SEGMENT_MAX, INT_MAX / 2,
};

static int set_number(const struct opt *opt, const char *text, long *field)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || value < opt->min ||
	    value > opt->max) {
		report("--%s %s: not a number from %ld to %ld", opt->name, text, opt->min,
		       opt->max);
		return -EINVAL;
	}
	*field = value;
	return 0;
}

static int set_word(const struct opt *opt, const char *text, const char **field)
{
	const char *word = opt->value;
	size_t len;

	for (;;) {
		len = strcspn(word, "|");
		if (len == strlen(text) && !memcmp(word, text, len)) {
			*field = text;
			return 0;
		}
		if (!word[len])
			break;
		word += len + 1;
	}
	report("--%s %s: not one of %s", opt->name, text, opt->value);
	return -EINVAL;
}

static int set_field(const struct opt *opt, const char *text, struct args *args)
{
	void *field = (char *)args + opt->offset;

	switch (opt->kind) {
	case OPT_NUMBER:
		return set_number(opt, text, field);
	case OPT_TEXT:
		if (!*text) {
			report("--%s: empty", opt->name);
			return -EINVAL;
		}
		*(const char **)field = text;
		return 0;
	case OPT_WORD:
		return set_word(opt, text, field);
	default:
		*(bool *)field = true;
		return 0;
	}
}

bool args_ring(const struct args *args)
{
	return args->mode && !strcmp(args->mode, "ring");
}

static bool is_required(const struct command *cmd, const struct opt *opt)
{
	return opt->key < 256 && cmd->required && strchr(cmd->required, opt->key);
}

/* Both forms of getopt's tables, from ours. */
static void fill_tables(const struct command *cmd, struct option *longs, char *shorts)
{
	const struct opt *const *o;

	for (o = cmd->opts; *o; o++) {
		int has_arg = (*o)->kind == OPT_FLAG ? no_argument : required_argument;

		*longs++ = (struct option){ (*o)->name, has_arg, NULL, (*o)->key };
		if ((*o)->key > 255)
			continue;
		*shorts++ = (*o)->key;
		if (has_arg == required_argument)
			*shorts++ = ':';
	}
	*longs++ = (struct option){ "help", no_argument, NULL, 'h' };
	*shorts++ = 'h';
	*longs = (struct option){ 0 };
	*shorts = '\0';
}

static void print_option(const struct opt *opt)
{
	char left[40];

	snprintf(left, sizeof(left), "--%s%s%s", opt->name, opt->value ? " " : "",
		 opt->value ?: "");
	if (opt->key < 256)
		printf("  -%c, %-20s %s\n", opt->key, left, opt->help);
	else
		printf("      %-20s %s\n", left, opt->help);
}

void args_usage(const struct command *cmd)
{
	const struct opt *const *o;

	printf("Usage: tap-ctl %s", cmd->name);
	for (o = cmd->opts; *o; o++) {
		bool required = is_required(cmd, *o);
		char letter[3] = { '-', (*o)->key };

		printf(" %s%s%s%s%s%s", required ? "" : "[", (*o)->key > 255 ? "--" : letter,
		       (*o)->key > 255 ? (*o)->name : "", (*o)->value ? " " : "",
		       (*o)->value ?: "", required ? "" : "]");
	}
	printf("\n\n%s.\n", cmd->summary);
	if (cmd->about)
		printf("%s\n", cmd->about);
	printf("\nOptions:\n");
	for (o = cmd->opts; *o; o++)
		print_option(*o);
	printf("  -h, %-20s %s\n", "--help", "print this");
}

static int refuse(const struct command *cmd)
{
	report("try: tap-ctl %s --help", cmd->name);
	return -EINVAL;
}

/* The option that getopt has returned as @key; NULL: --help, or none of ours. */
static const struct opt *find_opt(const struct command *cmd, int key)
{
	const struct opt *const *o;

	for (o = cmd->opts; *o; o++)
		if ((*o)->key == key)
			return *o;
	return NULL;
}

int args_parse(const struct command *cmd, int argc, char **argv, struct args *args)
{
	char program[64], shorts[2 * OPTS_MAX + 1];
	struct option longs[OPTS_MAX + 1];
	bool given[256] = { false };
	const struct opt *opt;
	const char *r;
	int key;

	/* getopt begins its messages with argv[0] */
	snprintf(program, sizeof(program), "tap-ctl %s", cmd->name);
	argv[0] = program;
	*args = (struct args){ .minor = -1, .request_timeout = -1 };
	fill_tables(cmd, longs, shorts);
	while ((key = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		opt = find_opt(cmd, key);
		if (!opt && key == 'h') {
			args_usage(cmd);
			return 1;
		}
		if (!opt || set_field(opt, optarg, args))
			return refuse(cmd);
		given[key & 0xff] |= key < 256;
	}
	if (optind < argc) {
		report("%s: what is \"%s\"?", cmd->name, argv[optind]);
		return refuse(cmd);
	}
	for (r = cmd->required ?: ""; *r; r++) {
		if (given[(unsigned char)*r])
			continue;
		report("%s: -%c is missing", cmd->name, *r);
		return refuse(cmd);
	}
	return 0;
}
