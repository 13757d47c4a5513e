// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "state.h"
#include "tap.h"

#define DEBUGFS		"/sys/kernel/debug"
#define WORKERS_MAX	64
#define QUIET_ROUNDS	3	/* in which no worker's allocation fails: there are no more */

static const char *const points[] = {
	"blktap/fail_grant", "blktap/" FAULT_BACKEND, "blktap/lose_upcall",
	"blktap/slow_tapdisk", "failslab", "fail_page_alloc", "fail_usercopy",
};

void debugfs_write(const char *dir, const char *file, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), DEBUGFS "/%s", dir);
	CHECK(!sysfs_write(path, file, value), "%s/%s: %s", path, file, strerror(errno));
}

static void write_number(const char *dir, const char *file, unsigned int n)
{
	char buf[16];

	snprintf(buf, sizeof(buf), "%u", n);
	debugfs_write(dir, file, buf);
}

static void fault_dir(char *path, size_t size, const char *point)
{
	snprintf(path, size, "blktap/%s", point);
}

void fault(const char *point, unsigned int times)
{
	char path[64];

	fault_dir(path, sizeof(path), point);
	debugfs_write(path, "verbose", "0");
	write_number(path, "times", times);
	debugfs_write(path, "probability", "100");
}

static unsigned int times_left(const char *dir)
{
	char path[128], buf[32];

	snprintf(path, sizeof(path), DEBUGFS "/%s", dir);
	CHECK(sysfs_read(path, "times", buf, sizeof(buf)));
	return atoi(buf);
}

unsigned int faults_left(const char *point)
{
	char path[64];

	fault_dir(path, sizeof(path), point);
	return times_left(path);
}

void fault_errno(int err)
{
	write_number("blktap", "errno", err);
}

static void faults_off(void)
{
	for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++)
		debugfs_write(points[i], "probability", "0");
	fault_errno(EIO);
}

static void before(const char *name)
{
	faults_off();
	state_checks.before(name);
}

/* A case that has failed leaves its faults, and what waits for their end. */
static const char *after(void)
{
	faults_off();
	return state_checks.after();
}

const struct ktap_checks fault_checks = { .before = before, .after = after };

void all_allocations_may_fail(void)
{
	debugfs_write("failslab", "verbose", "0");
	debugfs_write("failslab", "ignore-gfp-wait", "N");
	debugfs_write("fail_usercopy", "verbose", "0");
	debugfs_write("fail_page_alloc", "verbose", "0");
	debugfs_write("fail_page_alloc", "ignore-gfp-wait", "N");
	debugfs_write("fail_page_alloc", "min-order", "0");
}

#define TIMES_MAX 1000000000

static void allocator_fails(const char *dir, unsigned int percent)
{
	debugfs_write(dir, "ignore-gfp-wait", "Y");
	write_number(dir, "times", TIMES_MAX);
	write_number(dir, "probability", percent);
}

void allocations_fail(unsigned int percent)
{
	all_allocations_may_fail();
	allocator_fails("fail_page_alloc", percent);
	allocator_fails("failslab", percent);
}

unsigned int allocations_failed(void)
{
	return 2 * TIMES_MAX - times_left("failslab") - times_left("fail_page_alloc");
}

void allocations_are_well(void)
{
	debugfs_write("failslab", "probability", "0");
	debugfs_write("fail_page_alloc", "probability", "0");
}

/* Open while an allocation is to fail: to open it takes some. */
static int fail_nth_open(void)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);

	CHECK_OK(fd);
	return fd;
}

/* To write and to read the number copies from and to userspace, which may fail as well. */
static bool fail_nth(int fd, unsigned int nth)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%u", nth);

	return pwrite(fd, buf, len, 0) == len || pwrite(fd, buf, len, 0) == len;
}

static bool nth_has_failed(int fd)
{
	char buf[16] = "";

	return pread(fd, buf, sizeof(buf) - 1, 0) > 0 && !atoi(buf);
}

static bool for_want_of_memory(int err)
{
	return !err || err == ENOMEM || err == EFAULT || err == ENOBUFS;
}

void each_allocation(const char *what, int (*call)(void *), void (*undo)(void *, int),
		     void *arg)
{
	int err, fd = fail_nth_open();
	unsigned int n, failed = 0;
	bool done;

	for (n = 1;; n++) {
		CHECK(fail_nth(fd, n));
		err = call(arg);
		done = !nth_has_failed(fd);
		CHECK(fail_nth(fd, 0));
		if (done)
			break;
		CHECK(for_want_of_memory(err), "%s: allocation %u: %s", what, n, strerror(err));
		failed += !!err;
		undo(arg, err);
	}
	CHECK(!err, "%s: %s", what, strerror(err));
	CHECK(failed, "%s: no allocation could fail", what);
	close(fd);
	ktap_say("%s: %u allocations, %u of them needed", what, n - 1, failed);
}

/* The fail-nth of those that work for queues that are bound to no CPU, as the module's. */
struct workers {
	int fd[WORKERS_MAX];
	int nr;
};

static bool is_worker(const char *pid)
{
	char dir[64], comm[64];

	snprintf(dir, sizeof(dir), "/proc/%.16s", pid);
	return atoi(pid) > 0 && sysfs_read(dir, "comm", comm, sizeof(comm)) &&
	       !strncmp(comm, "kworker/u", 9);
}

static void workers_open(struct workers *w)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char path[64];

	w->nr = 0;
	CHECK(proc);
	while ((entry = readdir(proc)) && w->nr < WORKERS_MAX) {
		if (!is_worker(entry->d_name))
			continue;
		snprintf(path, sizeof(path), "/proc/%.16s/fail-nth", entry->d_name);
		w->fd[w->nr] = open(path, O_RDWR | O_CLOEXEC);
		if (w->fd[w->nr] >= 0)
			w->nr++;
	}
	closedir(proc);
}

/* Some may have gone meanwhile. Return: of how many an allocation has failed. */
static int workers_end(struct workers *w)
{
	int hits = 0;

	for (int i = 0; i < w->nr; i++) {
		hits += nth_has_failed(w->fd[i]);
		fail_nth(w->fd[i], 0);
		close(w->fd[i]);
	}
	return hits;
}

void each_allocation_of_workers(const char *what, int (*call)(void *),
				void (*undo)(void *, int), void *arg)
{
	unsigned int n, hits = 0, failed = 0, quiet = 0;
	struct workers w;
	int err = 0;

	for (n = 1; quiet < QUIET_ROUNDS; n++) {
		int hit;

		workers_open(&w);
		for (int i = 0; i < w.nr; i++)
			fail_nth(w.fd[i], n);
		err = call(arg);
		hit = workers_end(&w);
		CHECK(for_want_of_memory(err), "%s: allocation %u: %s", what, n, strerror(err));
		hits += hit;
		failed += !!err;
		quiet = hit ? 0 : quiet + 1;
		undo(arg, err);
	}
	CHECK(!err, "%s: %s", what, strerror(err));
	CHECK(hits, "%s: no allocation failed", what);
	ktap_say("%s: %u allocations of workers, %u of them needed", what, hits, failed);
}
