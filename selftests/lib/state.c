// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "state.h"
#include "tap.h"

#define MODULE_DIR "/sys/module/blktap"

static int kmsg_fd = -1;

void kernel_log_mark(void)
{
	if (kmsg_fd >= 0)
		close(kmsg_fd);
	kmsg_fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	CHECK(kmsg_fd >= 0, "/dev/kmsg: %s", strerror(errno));
	lseek(kmsg_fd, 0, SEEK_END);
}

/* Call @fn with each line since the mark; the mark moves on. */
static void kernel_log_each(void (*fn)(const char *line, void *arg), void *arg)
{
	char line[8192];
	ssize_t n;

	for (;;) {
		n = read(kmsg_fd, line, sizeof(line) - 1);
		if (n < 0 && (errno == EPIPE || errno == EINTR))
			continue;
		if (n <= 0)
			return;
		line[n] = 0;
		fn(strchr(line, ';') ? strchr(line, ';') + 1 : line, arg);
	}
}

struct count {
	const char *text;
	int n;
};

static void count_line(const char *line, void *arg)
{
	struct count *c = arg;

	if (!strstr(line, c->text))
		return;
	c->n++;
	ktap_say("kernel: %.*s", (int)strcspn(line, "\n"), line);
}

int kernel_log_count(const char *text)
{
	struct count c = { .text = text };

	kernel_log_each(count_line, &c);
	return c.n;
}

static bool log_has(void *arg)
{
	struct count *c = arg;

	c->n += kernel_log_count(c->text);
	return c->n > 0;
}

int kernel_log_wait(const char *text, double seconds)
{
	struct count c = { .text = text };

	wait_until(log_has, &c, seconds);
	return c.n;
}

/* Lines that no test may cause. UML's mm prints a report of its own at exec. */
static bool is_trouble(const char *line)
{
	static const char *const texts[] = {
		"WARNING:", "BUG:", "Oops", "KASAN", "UBSAN", "kernel BUG",
		"possible circular", "possible recursive", "inconsistent lock",
		"blocked for more", "soft lockup", "general protection", "sleeping function",
		"ODEBUG",
	};

	if (strstr(line, "suspicious RCU usage"))
		return false;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strstr(line, texts[i]))
			return true;
	return false;
}

static void look_for_trouble(const char *line, void *arg)
{
	int *show = arg;

	if (is_trouble(line))
		*show = 60;
	if (*show)
		ktap_say("kernel: %.*s", (int)strcspn(line, "\n"), line);
	if (*show > 1)
		--*show;
}

static int nr_matches(const char *pattern)
{
	glob_t g;
	int n = glob(pattern, 0, NULL, &g) ? 0 : (int)g.gl_pathc;

	globfree(&g);
	return n;
}

/* Pages in use, of all pools. */
static long pages_in_use(void)
{
	long used = 0;
	glob_t g;

	if (glob(MISC_DIR "/pools/*", 0, NULL, &g))
		return 0;
	for (size_t i = 0; i < g.gl_pathc; i++) {
		char size[32], free[32];

		if (sysfs_read(g.gl_pathv[i], "size", size, sizeof(size)) &&
		    sysfs_read(g.gl_pathv[i], "free", free, sizeof(free)))
			used += atol(size) - atol(free);
	}
	globfree(&g);
	return used;
}

static bool describe(char *buf, size_t size)
{
	char devices[4096] = "", refs[32] = "";
	int taps = nr_matches(CLASS_DIR "/blktap[0-9]*");
	int disks = nr_matches("/sys/block/td[a-z]*");
	long pages = pages_in_use();

	sysfs_read(CLASS_DIR, "devices", devices, sizeof(devices));
	sysfs_read(MODULE_DIR, "refcnt", refs, sizeof(refs));
	snprintf(buf, size,
		 "left behind: %d taps, %d disks, %ld pool pages, %s module references, devices '%.200s'",
		 taps, disks, pages, refs, devices);
	return taps || disks || pages || devices[0] || strcmp(refs, "0");
}

static bool is_clean(void *unused)
{
	char buf[512];

	(void)unused;
	return !describe(buf, sizeof(buf));
}

static void free_all_taps(void)
{
	glob_t g;

	if (glob(CLASS_DIR "/blktap[0-9]*", 0, NULL, &g))
		return;
	for (size_t i = 0; i < g.gl_pathc; i++)
		tap_free(atoi(strrchr(g.gl_pathv[i], '/') + strlen("/blktap")));
	globfree(&g);
}

static void remove_nodes(void)
{
	glob_t g;

	if (glob("/tmp/blktap-test.*", 0, NULL, &g))
		return;
	for (size_t i = 0; i < g.gl_pathc; i++)
		unlink(g.gl_pathv[i]);
	globfree(&g);
}

static void before(const char *name)
{
	(void)name;
	kernel_log_mark();
}

static const char *after(void)
{
	static char what[512];
	int show = 0;

	/* A case that failed, or one about dying tapdisks, leaves its taps allocated. */
	free_all_taps();
	remove_nodes();
	wait_until(is_clean, NULL, 5);
	kernel_log_each(look_for_trouble, &show);
	if (show)
		return "the kernel complained";
	return describe(what, sizeof(what)) ? what : NULL;
}

const struct ktap_checks state_checks = { .before = before, .after = after };
