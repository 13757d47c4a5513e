// SPDX-License-Identifier: GPL-2.0-only
/* What tap-ctl makes of names, options and lists, without a kernel. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../command.h"
#include "../format.h"
#include "../image.h"
#include "../taps.h"

#define HAS(attr)	(1U << (attr))

/* --- names of images --- */

static int enter_dir(void **state)
{
	char *dir = strdup("/tmp/unit-tap-ctl.XXXXXX");
	int fd;

	if (!dir || !mkdtemp(dir) || chdir(dir))
		return -1;
	fd = creat("d.vhd", 0600);
	if (fd < 0 || symlink("d.vhd", "link"))
		return -1;
	close(fd);
	*state = dir;
	return 0;
}

static int leave_dir(void **state)
{
	unlink("d.vhd");
	unlink("link");
	if (chdir("/") || rmdir(*state))
		return -1;
	free(*state);
	return 0;
}

static void expect_name(const char *arg, const char *type, const char *dir, const char *file)
{
	char want[PATH_MAX], *name;

	snprintf(want, sizeof(want), "%s:%s/%s", type, dir, file);
	assert_int_equal(image_name(arg, &name), 0);
	assert_string_equal(name, want);
	free(name);
}

static void relative_path_becomes_absolute(void **state)
{
	expect_name("vhd:d.vhd", "vhd", *state, "d.vhd");
	expect_name("aio:./d.vhd", "aio", *state, "d.vhd");
	expect_name("vhd:link", "vhd", *state, "d.vhd");
}

static void absolute_path_stays(void **state)
{
	char arg[PATH_MAX];

	snprintf(arg, sizeof(arg), "vhd:%s/link", (char *)*state);
	expect_name(arg, "vhd", *state, "link");
}

static void old_prefixes_go(void **state)
{
	expect_name("tap:vhd:d.vhd", "vhd", *state, "d.vhd");
	expect_name("tapdisk:aio:d.vhd", "aio", *state, "d.vhd");
	expect_name("tap:tapdisk:aio:d.vhd", "aio", *state, "d.vhd");
}

static void bad_names_are_refused(void **state)
{
	static const struct {
		const char *arg;
		int err;
	} bad[] = {
		{ "", -EINVAL }, { "d.vhd", -EINVAL }, { "/d.vhd", -EINVAL },
		{ "qcow2:d.vhd", -EINVAL }, { "vh:d.vhd", -EINVAL }, { "vhdx:d.vhd", -EINVAL },
		{ "VHD:d.vhd", -EINVAL }, { "tap:d.vhd", -EINVAL }, { "tap:", -EINVAL },
		{ "vhd", -EINVAL }, { "vhd:", -EINVAL }, { "vhd:nothere", -ENOENT },
		{ "vhd:d.vhd/x", -ENOTDIR },
	};
	char *name = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(image_name(bad[i].arg, &name), bad[i].err);
	assert_null(name);
}

/* A path that the filesystem takes can be too long for the ABI with its type. */
static void long_names_are_refused(void **state)
{
	char arg[BLKTAP_NAME_MAX + 16] = "vhd:", *name = NULL;
	size_t room = BLKTAP_NAME_MAX - strlen("d.vhd") - 2;

	(void)state;
	while (strlen(arg) < room)
		strcat(arg, strlen(arg) % 2 ? "/" : "./");
	strcat(arg, strlen(arg) % 2 ? "/d.vhd" : "d.vhd");
	assert_int_equal(image_name(arg, &name), 0);
	free(name);

	memmove(arg + 4 + strlen(*state) + 1, arg + 4, strlen(arg + 4) + 1);
	memcpy(arg + 4, *state, strlen(*state));
	arg[4 + strlen(*state)] = '/';
	assert_int_equal(image_name(arg, &name), -ENAMETOOLONG);
}

static void path_of_a_name(void **state)
{
	(void)state;
	assert_string_equal(image_path("vhd:/a:b"), "/a:b");
	assert_string_equal(image_path("nothing"), "nothing");
	assert_string_equal(image_path("vhd:"), "");
}

/* --- what is printed --- */

static const struct message served = {
	.has = HAS(BLKTAP_A_PID) | HAS(BLKTAP_A_MINOR) | HAS(BLKTAP_A_STATE) | HAS(BLKTAP_A_NAME),
	.pid = 172, .name = (char *)"vhd:/mnt/a/d.vhd",
};

static const struct message paused = {
	.has = HAS(BLKTAP_A_PID) | HAS(BLKTAP_A_MINOR) | HAS(BLKTAP_A_STATE) | HAS(BLKTAP_A_NAME),
	.pid = 1, .minor = 12, .state = 0x2a, .name = (char *)"aio:/dev/vg/lv:x",
};

static const struct message idle_tapdisk = { .has = HAS(BLKTAP_A_PID), .pid = 353 };

static const struct message idle_tap = {
	.has = HAS(BLKTAP_A_MINOR) | HAS(BLKTAP_A_STATE), .minor = 1,
};

static const struct message odd_name = {
	.has = HAS(BLKTAP_A_MINOR) | HAS(BLKTAP_A_STATE) | HAS(BLKTAP_A_NAME), .minor = 7,
	.state = 1, .name = (char *)"seven",
};

static void expect_printed(void (*print)(FILE *, const struct message *),
			   const struct message *msg, const char *want)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	print(out, msg);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
}

static void lines(void **state)
{
	(void)state;
	expect_printed(format_tap_line, &served, "pid=172 minor=0 state=0 args=vhd:/mnt/a/d.vhd\n");
	expect_printed(format_tap_line, &paused,
		       "pid=1 minor=12 state=0x2a args=aio:/dev/vg/lv:x\n");
	expect_printed(format_tap_line, &idle_tapdisk, "pid=353\n");
	expect_printed(format_tap_line, &idle_tap, "minor=1 state=0\n");
	expect_printed(format_tap_line, &odd_name, "minor=7 state=0x1 args=seven\n");
}

static void rows(void **state)
{
	(void)state;
	expect_printed(format_tap_row, &served, "     172    0    0        vhd /mnt/a/d.vhd\n");
	expect_printed(format_tap_row, &paused, "       1   12 0x2a        aio /dev/vg/lv:x\n");
	expect_printed(format_tap_row, &idle_tapdisk, "     353    -    -          - -\n");
	expect_printed(format_tap_row, &idle_tap, "       -    1    0          - -\n");
	expect_printed(format_tap_row, &odd_name, "       -    7  0x1          - seven\n");
}

static void events(void **state)
{
	struct message event = {
		.has = HAS(BLKTAP_A_EVENT) | HAS(BLKTAP_A_MINOR) | HAS(BLKTAP_A_ERROR) |
		       HAS(BLKTAP_A_TEXT),
		.event = BLKTAP_EVENT_DONE, .minor = 3, .error = 16, .text = (char *)"in use",
	};

	(void)state;
	expect_printed(format_event_line, &event, "done minor=3 error=16 text=in use\n");
	event.event = 77;
	expect_printed(format_event_line, &event, "unknown minor=3 error=16 text=in use\n");
	event = idle_tapdisk;
	event.event = BLKTAP_EVENT_TAPDISK_GONE;
	expect_printed(format_event_line, &event, "tapdisk-gone pid=353\n");
}

static void expect_key(struct json_object *json, const char *key, const char *want)
{
	struct json_object *value;

	assert_true(json_object_object_get_ex(json, key, &value));
	assert_string_equal(json_object_get_string(value), want);
}

static void json(void **state)
{
	struct json_object *json = format_json(&paused);

	(void)state;
	assert_int_equal(json_object_object_length(json), 6);
	expect_key(json, "pid", "1");
	expect_key(json, "minor", "12");
	expect_key(json, "state", "42");
	expect_key(json, "args", "aio:/dev/vg/lv:x");
	expect_key(json, "type", "aio");
	expect_key(json, "file", "/dev/vg/lv:x");
	json_object_put(json);
}

/* --- merging taps and tapdisks --- */

static void add(struct taps *taps, struct message msg)
{
	msg.name = msg.name ? strdup(msg.name) : NULL;
	assert_int_equal(taps_add(&msg, taps), 0);
	assert_null(msg.name);
}

static void taps_then_idle_tapdisks(void **state)
{
	struct message tapdisk = idle_tapdisk;
	struct taps taps = { 0 }, tapdisks = { 0 };

	(void)state;
	add(&taps, paused);
	add(&taps, served);
	add(&taps, idle_tap);
	add(&tapdisks, tapdisk);
	tapdisk.pid = 20;
	add(&tapdisks, tapdisk);
	tapdisk.pid = 172;	/* attached between the two dumps */
	add(&tapdisks, tapdisk);
	tapdisk.pid = 500;	/* its tap came after the first one */
	tapdisk.nr_taps = 1;
	add(&tapdisks, tapdisk);

	assert_int_equal(taps_merge(&taps, &tapdisks), 0);
	assert_int_equal(taps.nr, 5);
	assert_int_equal(taps.at[0].minor, 0);
	assert_int_equal(taps.at[1].minor, 1);
	assert_int_equal(taps.at[2].minor, 12);
	assert_int_equal(taps.at[3].pid, 20);
	assert_int_equal(taps.at[4].pid, 353);
	taps_free(&taps);
	taps_free(&tapdisks);
}

/* --- options --- */

#define PARSE(cmd, args, ...) \
	parse(cmd, args, (char *[]){ (char *)"cmd", __VA_ARGS__, NULL })

static int parse(const struct command *cmd, struct args *args, char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	optind = 0;
	return args_parse(cmd, argc, argv, args);
}

static const struct opt *const some_opts[] = {
	&opt_pid, &opt_minor, &opt_image, &opt_mode, &opt_rdonly, &opt_timeout, &opt_json, NULL,
};

static const struct command some = {
	.name = "some", .summary = "Some", .opts = some_opts, .required = "ma",
};

static void options(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(PARSE(&some, &args, "-p", "7", "-m0", "-a", "vhd:x", "-R", "-t", "9"), 0);
	assert_int_equal(args.pid, 7);
	assert_int_equal(args.minor, 0);
	assert_int_equal(args.timeout, 9);
	assert_string_equal(args.image, "vhd:x");
	assert_true(args.rdonly);
	assert_false(args.json);
	assert_int_equal(PARSE(&some, &args, "--minor=1048575", "--image", "x", "--json"), 0);
	assert_int_equal(args.minor, 1048575);
	assert_int_equal(args.pid, 0);
	assert_true(args.json);
	assert_false(args_ring(&args));
	assert_int_equal(PARSE(&some, &args, "-m0", "-a", "x", "--mode=layout"), 0);
	assert_false(args_ring(&args));
	assert_int_equal(PARSE(&some, &args, "-m0", "-a", "x", "--mode", "ring"), 0);
	assert_true(args_ring(&args));
}

static void bad_options(void **state)
{
	struct args args;

	(void)state;
	assert_int_equal(PARSE(&some, &args, "-m", "0"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "", "-m", "0"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "1048576"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "-1"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", ""), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "1x"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "99999999999999999999"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "0", "-p", "0"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "0", "-t", "86401"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "0", "--mode", ""), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "0", "--mode", "rin"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "0", "--mode", "ring|"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "0", "-z"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m", "0", "more"), -EINVAL);
	assert_int_equal(PARSE(&some, &args, "-a", "x", "-m"), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(relative_path_becomes_absolute, enter_dir,
						leave_dir),
		cmocka_unit_test_setup_teardown(absolute_path_stays, enter_dir, leave_dir),
		cmocka_unit_test_setup_teardown(old_prefixes_go, enter_dir, leave_dir),
		cmocka_unit_test_setup_teardown(bad_names_are_refused, enter_dir, leave_dir),
		cmocka_unit_test_setup_teardown(long_names_are_refused, enter_dir, leave_dir),
		cmocka_unit_test(path_of_a_name),
		cmocka_unit_test(lines),
		cmocka_unit_test(rows),
		cmocka_unit_test(events),
		cmocka_unit_test(json),
		cmocka_unit_test(taps_then_idle_tapdisks),
		cmocka_unit_test(options),
		cmocka_unit_test(bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
