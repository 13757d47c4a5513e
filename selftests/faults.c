// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes wrong on demand, by the module's own points: a grant, the image, an upcall,
 * a tapdisk that takes its time. Allocations: faults-memory.
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

#include "lib/fault.h"
#include "lib/granter.h"
#include "lib/nl.h"
#include "lib/state.h"

#define AT		GRANTER_CHUNK	/* a sector that is not the scan's */
#define FILE_BYTES	((off_t)GRANTER_SECTORS * B2_SECTOR)
#define MANY		1000	/* faults: more than any case has use for */
#define SLOW_MS		"6000"	/* long, for a limit of 1 s that is looked at each second */

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

/* At once: nothing is tried again. */
static void an_error_of_the_image_is_the_request_s(void)
{
	struct granter g = { 0 };
	int fd = granter_ready(&g);

	CHECK(io_of(&g, true, AT, 0x11) == 0);
	fault(FAULT_BACKEND, MANY);
	CHECK(io_of(&g, false, AT, 0x11) == EIO);
	CHECK(faults_left(FAULT_BACKEND) == MANY - 1);
	CHECK(io_of(&g, true, AT, 0x22) == EIO);
	CHECK(faults_left(FAULT_BACKEND) == MANY - 2);
	fault(FAULT_BACKEND, 0);
	CHECK(io_of(&g, true, AT, 0x33) == 0);
	CHECK(io_of(&g, false, AT, 0x33) == 0);
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
	fault(FAULT_BACKEND, 1);
	CHECK(io_of(&g, true, AT, 0x11) == EIO);
	CHECK(in_child(sync_disk, g.tap.disk_node) == 0);
	CHECK(g.commits == 0, "%lu commits", g.commits);
	CHECK(io_of(&g, true, AT, 0x11) == 0);
	CHECK(in_child(sync_disk, g.tap.disk_node) == 0);
	CHECK(g.commits == 1, "%lu commits", g.commits);
	granter_end(&g);
}

/* --- errors that may pass --------------------------------------------------------------- */

static bool has_no_space(void *granter)
{
	struct granter *g = granter;
	struct btnl nl;
	long state;

	btnl_open(&nl);
	state = btnl_get_u32(&nl, g->tap.h.minor, BLKTAP_A_STATE);
	btnl_close(&nl);
	return state & BLKTAP_STATE_NO_SPACE;
}

static bool has_space(void *granter)
{
	return !has_no_space(granter);
}

/* It must wait, be told of once, and go on when there is space. */
static void waits_for_space(struct granter *g, int (*fn)(void *), void *arg)
{
	uint32_t minor = g->tap.h.minor;
	struct btnl events;
	int result;
	pid_t pid;

	btnl_open(&events);
	btnl_join(&events);
	fault_errno(ENOSPC);
	fault(FAULT_BACKEND, MANY);
	pid = child_start(fn, arg);
	CHECK(btnl_count_events(&events, BLKTAP_EVENT_NO_SPACE, minor, 10, 1) == 1, "no event");
	CHECK(has_no_space(g));
	CHECK(btnl_count_events(&events, BLKTAP_EVENT_NO_SPACE, minor, 1, 1) == 0, "told twice");
	CHECK(!child_is_done(pid, &result), "it did not wait: %s", strerror(result));
	fault(FAULT_BACKEND, 0);
	CHECK(child_wait(pid) == 0);
	CHECK(btnl_count_events(&events, BLKTAP_EVENT_GOES_ON, minor, 10, 1) == 1, "no event");
	CHECK(wait_until(has_space, g, 10));
	btnl_close(&events);
}

static void space_for_data_is_waited_for(void)
{
	struct granter g = { 0 };
	int fd = granter_ready(&g);

	waits_for_space(&g, do_disk_io, granter_io(&g, true, AT, 8, 0x11));
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 0x11);
	granter_end(&g);
}

/* Return: how often it was tried before it failed. */
static unsigned int tries_within(struct granter *g, const char *limit)
{
	CHECK_OK(sysfs_write(g->tap.sysfs, "request_timeout", limit));
	fault(FAULT_BACKEND, MANY);
	CHECK(io_of(g, true, AT, 0x22) == ETIMEDOUT);
	return MANY - faults_left(FAULT_BACKEND);
}

/*
 * The pauses are 0.1, 0.1, 0.2, 0.4, 0.8, 1.6 and 3.2 s, or longer where the machine is
 * slow: more tries than fit are too many. In four times the time as many would be were
 * the pauses even.
 */
static void a_timeout_of_the_image_is_tried_again_at_growing_intervals(void)
{
	struct granter g = { 0 };
	int fd = granter_ready(&g);
	unsigned int tries;

	fault_errno(ETIMEDOUT);
	fault(FAULT_BACKEND, 4);
	CHECK(io_of(&g, true, AT, 0x11) == 0);
	CHECK(faults_left(FAULT_BACKEND) == 0);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 0x11);
	granter_end(&g);

	g = (struct granter) { 0 };
	granter_ready(&g);
	tries = tries_within(&g, "1");
	CHECK(tries > 1 && tries <= 5, "%u tries", tries);
	granter_end(&g);

	g = (struct granter) { 0 };
	granter_ready(&g);
	tries = tries_within(&g, "4");
	CHECK(tries > 2 && tries <= 7, "%u tries", tries);
	granter_end(&g);
}

/* --- a sync --------------------------------------------------------------------------- */

static void a_sync_that_fails_is_reported_and_not_tried_again(void)
{
	static const int errors[] = { EIO, ENOSPC, ETIMEDOUT, EAGAIN };

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		struct granter g = { 0 };

		granter_ready(&g);
		CHECK(io_of(&g, true, AT, 0x11) == 0);
		fault_errno(errors[i]);
		fault(FAULT_BACKEND, MANY);
		CHECK(in_child(sync_disk, g.tap.disk_node) == EIO);
		CHECK(faults_left(FAULT_BACKEND) == MANY - 1, "%u syncs",
		      MANY - faults_left(FAULT_BACKEND));
		/* Nor is the next one a success: what was lost is not there. */
		fault(FAULT_BACKEND, 0);
		CHECK(in_child(sync_disk, g.tap.disk_node) == EIO);
		CHECK(has_space(&g));
		CHECK(io_of(&g, false, AT, 0x11) == 0);
		granter_end(&g);
	}
}

#define CROWD	170	/* dirty ranges, of a quarter of the extents that 64 KiB hold */

/* Writes ranges that do not touch. Return: 0, or the first one's error that fails. */
static int write_ranges(void *node)
{
	static uint8_t sector[B2_SECTOR] __attribute__((aligned(B2_SECTOR)));
	int fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	int i, err = fd < 0 ? errno : 0;

	for (i = 0; !err && i < 2 * CROWD; i++)
		if (pwrite(fd, sector, B2_SECTOR, (off_t)(AT + 2 * i) * B2_SECTOR) != B2_SECTOR)
			err = errno;
	close(fd);
	return i > CROWD ? err : ENODATA;
}

/* What waits for a commit to make room in the maps does not wait for ever. */
static void a_write_behind_a_sync_that_fails_is_not_held_up(void)
{
	struct granter g = { .serve = grant_invalid };

	granter_ready(&g);
	CHECK_OK(sysfs_write(g.tap.sysfs, "map_limit", "65536"));
	CHECK(io_of(&g, true, AT + 1024, 0x11) == 0);
	fault_errno(ENOSPC);
	fault(FAULT_BACKEND, 1);
	CHECK(in_child(sync_disk, g.tap.disk_node) == EIO);
	CHECK(in_child(write_ranges, g.tap.disk_node) == EIO);
	CHECK(has_space(&g));
	granter_end(&g);
}

static void resume_disk(struct granter *g, int fd)
{
	pid_t child = granter_sysfs(g, "resume");

	granter_message(g, BLKTAP_MSG_RESUME);
	CHECK(granter_add(g, fd, BLKTAP_FILE_WRITE) == 0);
	granter_resumed(g);
	CHECK(child_wait(child) == 0);
}

/* A write that came after the flush that failed was never said to be lost. */
static void what_a_pause_gives_up_the_next_flush_tells(void)
{
	struct granter g = { .serve = grant_invalid };
	int fd = granter_ready(&g);

	CHECK(io_of(&g, true, AT, 0x11) == 0);
	fault(FAULT_BACKEND, 1);
	CHECK(in_child(sync_disk, g.tap.disk_node) == EIO);
	CHECK(io_of(&g, true, AT + 64, 0x22) == 0);
	granter_pause(&g);
	CHECK(in_child(sync_disk, g.tap.disk_node) == EIO);
	resume_disk(&g, fd);
	CHECK(g.commits == 0, "%lu commits", g.commits);
	CHECK(in_child(sync_disk, g.tap.disk_node) == EIO);
	CHECK(in_child(sync_disk, g.tap.disk_node) == 0);
	CHECK(io_of(&g, true, AT + 64, 0x33) == 0);
	CHECK(in_child(sync_disk, g.tap.disk_node) == 0);
	CHECK(g.commits == 1, "%lu commits", g.commits);
	granter_end(&g);
}

/* Nor was one that needs no commit, where the pause is the first to hear of it. */
static void a_sync_that_fails_in_a_pause_the_next_flush_tells(void)
{
	struct granter g = { 0 };
	int fd = granter_ready(&g);

	CHECK(io_of(&g, true, AT, 0x11) == 0);
	fault(FAULT_BACKEND, 1);
	granter_pause(&g);
	resume_disk(&g, fd);
	CHECK(faults_left(FAULT_BACKEND) == 0);
	CHECK(in_child(sync_disk, g.tap.disk_node) == EIO);
	CHECK(in_child(sync_disk, g.tap.disk_node) == 0);
	granter_pause(&g);
	resume_disk(&g, fd);
	CHECK(in_child(sync_disk, g.tap.disk_node) == 0);
	granter_end(&g);
}

static void grant_and_be_told(struct granter *g, const struct blktap_ring_request *r)
{
	if (r->operation != BLKTAP_OP_RECALLED) {
		grant_invalid(g, r);
		return;
	}
	CHECK_OK(granter_answer(g, r, BLKTAP_RSP_OKAY, 0));
	*(_Atomic int *)g->arg = r->rc.error;
}

static bool is_told(void *error)
{
	return *(_Atomic int *)error >= 0;
}

/* Also where its errno is one that means something else within the kernel. */
static void a_recall_behind_a_sync_that_fails_ends(void)
{
	struct blktap_recall recall = { .sector = AT, .nr_sectors = GRANTER_CHUNK };
	_Atomic int error = -1;
	struct granter g = { .serve = grant_and_be_told, .arg = &error };

	granter_ready(&g);
	CHECK(io_of(&g, true, AT, 0x11) == 0);
	fault_errno(EAGAIN);
	fault(FAULT_BACKEND, 1);
	CHECK_OK(ioctl(g.tap.fd, BLKTAP_IOCTL_RECALL, &recall));
	CHECK(wait_until(is_told, &error, 10), "the recall goes on");
	CHECK(error == EIO, "%d", error);
	granter_end(&g);
}

/* --- discards and zeroes ---------------------------------------------------------------- */

/* A discard promises nothing, so its error is nobody's. */
static void a_discard_that_fails_leaves_the_data(void)
{
	struct granter g = { .flags = BLKTAP_DEVICE_TRIM };

	granter_ready(&g);
	CHECK(io_of(&g, true, AT, 0x11) == 0);
	fault(FAULT_BACKEND, 1);
	CHECK(child_wait(granter_discard(&g, AT, 8)) == 0);
	CHECK(faults_left(FAULT_BACKEND) == 0);
	CHECK(io_of(&g, false, AT, 0x11) == 0);
	CHECK(child_wait(granter_discard(&g, AT, 8)) == 0);
	CHECK(io_of(&g, false, AT, 0) == 0);
	granter_end(&g);
}

/* WRITE_ZEROES, and nothing else where that fails. */
static int zero_block(void *node)
{
	int fd = open(node, O_RDWR | O_CLOEXEC), err;

	if (fd < 0)
		return errno;
	err = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)AT * B2_SECTOR,
			4096) ? errno : 0;
	close(fd);
	return err;
}

static void zeroes_that_fail_are_an_error(void)
{
	struct granter g = { 0 };

	granter_ready(&g);
	CHECK(io_of(&g, true, AT, 0x11) == 0);
	fault(FAULT_BACKEND, MANY);
	CHECK(in_child(zero_block, g.tap.disk_node) == EIO);
	CHECK(faults_left(FAULT_BACKEND) == MANY - 1);
	fault(FAULT_BACKEND, 0);
	CHECK(io_of(&g, false, AT, 0x11) == 0);
	CHECK(in_child(zero_block, g.tap.disk_node) == 0);
	CHECK(io_of(&g, false, AT, 0) == 0);
	granter_end(&g);
}

static void space_for_zeroes_is_waited_for(void)
{
	struct granter g = { 0 };

	granter_ready(&g);
	CHECK(io_of(&g, true, AT, 0x11) == 0);
	waits_for_space(&g, zero_block, g.tap.disk_node);
	CHECK(io_of(&g, false, AT, 0) == 0);
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
	debugfs_write("blktap", "slow_ms", SLOW_MS);
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
	KTAP_CASE(a_dropped_grant_is_asked_for_again),
	KTAP_CASE(an_error_of_the_image_is_the_request_s),
	KTAP_CASE(a_write_that_failed_is_not_committed),
	KTAP_CASE(space_for_data_is_waited_for),
	KTAP_CASE(a_timeout_of_the_image_is_tried_again_at_growing_intervals),
	KTAP_CASE(a_sync_that_fails_is_reported_and_not_tried_again),
	KTAP_CASE(a_write_behind_a_sync_that_fails_is_not_held_up),
	KTAP_CASE(what_a_pause_gives_up_the_next_flush_tells),
	KTAP_CASE(a_sync_that_fails_in_a_pause_the_next_flush_tells),
	KTAP_CASE(a_recall_behind_a_sync_that_fails_ends),
	KTAP_CASE(a_discard_that_fails_leaves_the_data),
	KTAP_CASE(zeroes_that_fail_are_an_error),
	KTAP_CASE(space_for_zeroes_is_waited_for),
	KTAP_CASE(a_lost_upcall_is_asked_of_the_next_tapdisk),
	KTAP_CASE(a_slow_tapdisk_is_waited_for),
	KTAP_CASE(a_slow_tapdisk_is_not_waited_for_where_the_policy_is_fail),
};

KTAP_MAIN(cases, &fault_checks)
