// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes wrong on demand, by the kernel's fault injection: each allocation of
 * a tap's birth, a grant, the image, an upcall, a tapdisk that takes its time.
 *
 * kernels: uml kdbg
 */
#include <fcntl.h>
#include <linux/blktap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/granter.h"
#include "lib/state.h"

#define DEBUGFS		"/sys/kernel/debug"
#define AT		GRANTER_CHUNK	/* a sector that is not the scan's */
#define FILE_BYTES	((off_t)GRANTER_SECTORS * B2_SECTOR)
#define SLOW_MS		"6000"	/* long, for a limit of 1 s that is looked at each second */

static void debugfs_write(const char *point, const char *file, const char *value)
{
	char dir[128];

	snprintf(dir, sizeof(dir), DEBUGFS "/%s", point);
	CHECK(!sysfs_write(dir, file, value), "%s/%s: %s", dir, file, strerror(errno));
}

/* From now on the point fails, as often as that. */
static void fault(const char *point, unsigned int times)
{
	char buf[16], path[64];

	snprintf(path, sizeof(path), "blktap/%s", point);
	snprintf(buf, sizeof(buf), "%u", times);
	debugfs_write(path, "verbose", "0");
	debugfs_write(path, "times", buf);
	debugfs_write(path, "probability", "100");
}

static unsigned int faults_left(const char *point)
{
	char dir[128], buf[32];

	snprintf(dir, sizeof(dir), DEBUGFS "/blktap/%s", point);
	CHECK(sysfs_read(dir, "times", buf, sizeof(buf)));
	return atoi(buf);
}

/* --- allocations ------------------------------------------------------------------- */

/* Open while an allocation is to fail: to open it takes some. */
static int fail_nth_open(void)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);

	CHECK_OK(fd);
	return fd;
}

/* To write and to read the number copies from and to userspace, which may fail as well. */
static void fail_nth(int fd, unsigned int nth)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%u", nth);

	CHECK(pwrite(fd, buf, len, 0) == len || pwrite(fd, buf, len, 0) == len);
}

static bool nth_has_failed(int fd)
{
	char buf[16] = "";

	return pread(fd, buf, sizeof(buf) - 1, 0) > 0 && !atoi(buf);
}

/*
 * Calls again and again; each time another allocation, or copy from or to userspace,
 * fails, the first, the second and so on, till there are no more. @call returns 0 or
 * an errno; @undo gets it, and has things again as they were before.
 */
static void each_allocation(const char *what, int (*call)(void *),
			    void (*undo)(void *, int), void *arg)
{
	int err, fd = fail_nth_open();
	unsigned int n, failed = 0;
	bool done;

	for (n = 1;; n++) {
		fail_nth(fd, n);
		err = call(arg);
		done = !nth_has_failed(fd);
		fail_nth(fd, 0);
		if (done)
			break;
		CHECK(!err || err == ENOMEM || err == EFAULT, "%s: allocation %u: %s", what, n,
		      strerror(err));
		failed += !!err;
		undo(arg, err);
	}
	CHECK(!err, "%s: %s", what, strerror(err));
	CHECK(failed, "%s: no allocation could fail", what);
	close(fd);
	ktap_say("%s: %u allocations, %u of them needed", what, n - 1, failed);
}

static void all_allocations_may_fail(void)
{
	debugfs_write("failslab", "verbose", "0");
	debugfs_write("failslab", "ignore-gfp-wait", "N");
	debugfs_write("fail_usercopy", "verbose", "0");
	debugfs_write("fail_page_alloc", "verbose", "0");
	debugfs_write("fail_page_alloc", "ignore-gfp-wait", "N");
	debugfs_write("fail_page_alloc", "min-order", "0");
}

/* A tap by its ioctl alone. */
struct new_tap {
	int control;
	struct b2_handle h;
};

static int alloc_tap(void *new)
{
	struct new_tap *t = new;

	return ioctl(t->control, BLKTAP_IOCTL_ALLOC_TAP, &t->h) ? errno : 0;
}

static void free_new_tap(void *new, int err)
{
	if (!err)
		CHECK_OK(tap_free(((struct new_tap *)new)->h.minor));
}

static void allocations_of_alloc_tap(void)
{
	struct new_tap t = { .control = control_open() };

	all_allocations_may_fail();
	each_allocation("ALLOC_TAP", alloc_tap, free_new_tap, &t);
	free_new_tap(&t, 0);
	close(t.control);
}

static int map_ring(void *granter)
{
	struct granter *g = granter;

	g->tap.ring = tap_mmap(&g->tap);
	return g->tap.ring == MAP_FAILED ? errno : 0;
}

/* A descriptor's close waits for the end of the mapping that was. */
static void unmap_ring(void *granter, int err)
{
	struct granter *g = granter;

	if (!err)
		CHECK_OK(munmap(g->tap.ring, B2_MAP_BYTES));
	close(open(g->tap.ring_node, O_RDWR | O_CLOEXEC));
}

static int map_layout(void *granter)
{
	struct granter *g = granter;

	g->pages = granter_map_layout(&g->tap);
	return g->pages == MAP_FAILED ? errno : 0;
}

/* Its pages stay as long as the ring. */
static void unmap_layout(void *granter, int err)
{
	struct granter *g = granter;

	if (!err)
		CHECK_OK(munmap(g->pages, (size_t)BLKTAP_RING_SIZE * B2_PAGE));
	unmap_ring(g, 0);
	CHECK(map_ring(g) == 0);
}

static int add_image(void *granter)
{
	struct granter *g = granter;

	return granter_add(g, *(int *)g->arg, BLKTAP_FILE_WRITE) < 0 ? errno : 0;
}

static void keep_image(void *granter, int err)
{
	(void)granter;
	(void)err;
}

/* device_add() calls it EINVAL where a disk's name can't be allocated. */
static int create_disk(void *granter)
{
	struct granter *g = granter;
	struct blktap_params p = {
		.capacity = g->sectors, .sector_size = B2_SECTOR, .flags = BLKTAP_DEVICE_LAYOUT,
	};

	if (!ioctl(g->tap.fd, BLKTAP_IOCTL_CREATE_DEVICE, &p))
		return 0;
	return errno == EINVAL ? ENOMEM : errno;
}

static bool drop_disk(void *granter)
{
	struct granter *g = granter;

	granter_scan(g);
	return !ioctl(g->tap.fd, BLKTAP_IOCTL_REMOVE_DEVICE);
}

/* The images go with the disk. */
static void undo_create_disk(void *granter, int err)
{
	if (err)
		return;
	CHECK(wait_until(drop_disk, granter, 10), "the disk stays busy");
	CHECK(add_image(granter) == 0);
}

/* The disk that comes in the end works. */
static void allocations_of_a_disk(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct granter g = { .sectors = GRANTER_SECTORS, .arg = &fd };

	all_allocations_may_fail();
	tap_alloc(&g.tap);
	each_allocation("mmap of the ring", map_ring, unmap_ring, &g);
	each_allocation("mmap of the layout", map_layout, unmap_layout, &g);
	each_allocation("ADD_FILE", add_image, keep_image, &g);
	each_allocation("CREATE_DEVICE", create_disk, undo_create_disk, &g);
	CHECK(granter_until(&g, child_start(do_disk_io, granter_io(&g, true, AT, 8, 1))) == 0);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 1);
	granter_down(&g);
}

/* --- grants, the image --------------------------------------------------------------- */

/* A tap that is served by a thread. Return: its image. */
static int granter_ready(struct granter *g)
{
	int fd = scratch_file(FILE_BYTES);

	granter_up(g, fd);
	granter_start(g);
	return fd;
}

static void granter_end(struct granter *g)
{
	granter_stop(g);
	granter_down(g);
}

static int io_of(struct granter *g, bool write, uint64_t sector, uint8_t pattern)
{
	struct disk_io *io = granter_io(g, write, sector, 8, pattern);
	int err = in_child(do_disk_io, io);

	CHECK(err || write || filled_with(io->buf, io->len, pattern));
	return err;
}

static void a_dropped_grant_is_asked_for_again(void)
{
	struct granter g = { 0 };
	int fd = granter_ready(&g);
	unsigned long gets = g.gets;

	fault("fail_grant", 3);
	CHECK(io_of(&g, true, AT, 0x11) == 0);
	CHECK(faults_left("fail_grant") == 0);
	CHECK(g.gets - gets == 4, "%lu LAYOUTGETs", g.gets - gets);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 0x11);
	granter_end(&g);
}

static void an_error_of_the_image_is_the_request_s(void)
{
	struct granter g = { 0 };
	int fd = granter_ready(&g);

	CHECK(io_of(&g, true, AT, 0x11) == 0);
	fault("fail_backend", 1);
	CHECK(io_of(&g, false, AT, 0x11) == EIO);
	CHECK(io_of(&g, false, AT, 0x11) == 0);
	fault("fail_backend", 1);
	CHECK(io_of(&g, true, AT, 0x22) == EIO);
	CHECK(io_of(&g, true, AT, 0x33) == 0);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 0x33);
	granter_end(&g);
}

static void grant_invalid(struct granter *g, const struct blktap_ring_request *r)
{
	struct blktap_extent e = EXTENT(AT, GRANTER_CHUNK, AT * B2_SECTOR, 0, INVALID_DATA);

	if (r->operation == BLKTAP_OP_LAYOUTCOMMIT)
		CHECK_OK(granter_answer(g, r, 0, 0));
	else
		CHECK_OK(granter_grant(g, r, &e, 1));
}

static int sync_disk(void *node)
{
	int fd = open(node, O_RDWR | O_CLOEXEC), err;

	if (fd < 0)
		return errno;
	err = fsync(fd) ? errno : 0;
	close(fd);
	return err;
}

static void a_write_that_failed_is_not_committed(void)
{
	struct granter g = { .serve = grant_invalid, .flags = BLKTAP_DEVICE_FLUSH };

	granter_ready(&g);
	fault("fail_backend", 1);
	CHECK(io_of(&g, true, AT, 0x11) == EIO);
	CHECK(in_child(sync_disk, g.tap.disk_node) == 0);
	CHECK(g.commits == 0, "%lu commits", g.commits);
	CHECK(io_of(&g, true, AT, 0x11) == 0);
	CHECK(in_child(sync_disk, g.tap.disk_node) == 0);
	CHECK(g.commits == 1, "%lu commits", g.commits);
	granter_end(&g);
}

/* --- the tapdisk ----------------------------------------------------------------------- */

/* The first tapdisk, a process of its own, shared with the case. */
struct first {
	struct granter g;
	char path[128];		/* of the image */
	_Atomic bool ready;
};

static int image_open(const struct first *f)
{
	int fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0, "%s: %s", f->path, strerror(errno));
	CHECK_OK(ftruncate(fd, FILE_BYTES));
	return fd;
}

static int first_run(void *arg)
{
	struct first *f = arg;

	granter_up(&f->g, image_open(f));
	granter_start(&f->g);
	f->ready = true;
	pause();
	return 0;
}

static bool is_ready(void *first)
{
	return ((struct first *)first)->ready;
}

static bool no_fault_left(void *point)
{
	return !faults_left(point);
}

static void a_lost_upcall_is_asked_of_the_next_tapdisk(void)
{
	struct first *f = shared_alloc(sizeof(*f));
	struct granter g = { 0 };
	pid_t first, reader;
	int fd, result;

	snprintf(f->path, sizeof(f->path), "%s/faults.%d", getenv("SCRATCH") ?: "/tmp", getpid());
	first = child_start(first_run, f);
	CHECK(wait_until(is_ready, f, 10));
	fault("lose_upcall", 1);
	reader = child_start(do_disk_io, granter_io(&f->g, true, AT, 8, 0x11));
	CHECK(wait_until(no_fault_left, "lose_upcall", 10));
	CHECK(io_of(&f->g, true, AT + GRANTER_CHUNK, 0x22) == 0);
	CHECK(!child_is_done(reader, &result), "it did not wait");
	kill(first, SIGKILL);
	waitpid(first, NULL, 0);
	fd = image_open(f);
	CHECK_OK(unlink(f->path));
	granter_adopt(&g, f->g.tap.h);
	CHECK(granter_add(&g, fd, BLKTAP_FILE_WRITE) == 0);
	granter_create(&g);
	CHECK(granter_until(&g, reader) == 0);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 0x11);
	granter_down(&g);
}

static void slow_down(unsigned int times)
{
	CHECK_OK(sysfs_write(DEBUGFS "/blktap", "slow_ms", SLOW_MS));
	fault("slow_tapdisk", times);
}

static void a_slow_tapdisk_is_waited_for(void)
{
	struct granter g = { 0 };
	int fd = granter_ready(&g);

	CHECK_OK(sysfs_write(g.tap.sysfs, "request_timeout", "1"));
	slow_down(1);
	CHECK(io_of(&g, true, AT, 0x11) == 0);
	CHECK(faults_left("slow_tapdisk") == 0);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 0x11);
	granter_end(&g);
}

static void a_slow_tapdisk_is_not_waited_for_where_the_policy_is_fail(void)
{
	struct granter g = { 0 };
	int fd = granter_ready(&g);

	CHECK_OK(sysfs_write(g.tap.sysfs, "on_timeout", "fail"));
	CHECK_OK(sysfs_write(g.tap.sysfs, "request_timeout", "1"));
	slow_down(1);
	CHECK(io_of(&g, true, AT, 0x11) == EIO);
	CHECK(faults_left("slow_tapdisk") == 0);
	CHECK_OK(sysfs_write(g.tap.sysfs, "request_timeout", "0"));
	/* The answer comes late, and is good for what comes later. */
	CHECK(io_of(&g, true, AT, 0x22) == 0);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 0x22);
	granter_end(&g);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(allocations_of_alloc_tap),
	KTAP_CASE(allocations_of_a_disk),
	KTAP_CASE(a_dropped_grant_is_asked_for_again),
	KTAP_CASE(an_error_of_the_image_is_the_request_s),
	KTAP_CASE(a_write_that_failed_is_not_committed),
	KTAP_CASE(a_lost_upcall_is_asked_of_the_next_tapdisk),
	KTAP_CASE(a_slow_tapdisk_is_waited_for),
	KTAP_CASE(a_slow_tapdisk_is_not_waited_for_where_the_policy_is_fail),
};

int main(int argc, char **argv)
{
	return ktap_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]), &state_checks);
}
