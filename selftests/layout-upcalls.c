// SPDX-License-Identifier: GPL-2.0-only
/*
 * The operations of layout mode as a tapdisk sees them: which requests wait
 * behind which upcall, what is committed when, and where I/O goes.
 *
 * kernels: uml kdbg
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/granter.h"
#include "lib/server.h"
#include "lib/state.h"

#define AT		GRANTER_CHUNK		/* a sector that is not the scan's */
#define FILE_BYTES	((off_t)GRANTER_SECTORS * B2_SECTOR)

static const struct blktap_extent whole = EXTENT(0, GRANTER_SECTORS, 0, 0, READ_WRITE_DATA);
static const struct blktap_extent invalid = EXTENT(AT, GRANTER_CHUNK, AT * B2_SECTOR, 0,
						   INVALID_DATA);

/* --- misses ---------------------------------------------------------------------- */

struct in_flight {
	struct granter *g;
	unsigned int wanted;
};

static bool are_in_flight(void *arg)
{
	struct in_flight *f = arg;
	unsigned int reads = 0, writes = 0;
	char dir[64], buf[64];

	granter_scan(f->g);
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", f->g->tap.h.disk_major,
		 f->g->tap.h.minor);
	CHECK(sysfs_read(dir, "inflight", buf, sizeof(buf)));
	CHECK(sscanf(buf, "%u %u", &reads, &writes) == 2, "%s", buf);
	return reads + writes >= f->wanted;
}

/* Start @nr reads, the n-th at sector @at + n * @step, and wait until all are under way. */
static void start_reads(struct granter *g, pid_t *pids, unsigned int nr, uint64_t at,
			uint64_t step)
{
	struct in_flight f = { g, nr };

	for (unsigned int i = 0; i < nr; i++)
		pids[i] = child_start(do_disk_io, granter_io(g, false, at + i * step, 8, 1));
	CHECK(wait_until(are_in_flight, &f, 10), "not all of %u reads are in flight", nr);
}

static void misses_of_one_chunk_share_an_upcall(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request r;
	struct granter g = { 0 };
	pid_t pids[8];

	granter_up(&g, fd);
	start_reads(&g, pids, 8, AT, GRANTER_CHUNK / 8);
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK_OK(granter_grant(&g, &r, &whole, 1));
	for (int i = 0; i < 8; i++)
		CHECK(granter_until(&g, pids[i]) == 0);
	CHECK(g.gets == 1, "%lu upcalls", g.gets);
	granter_down(&g);
}

/* What the answer does not cover is asked for again. */
static void what_an_answer_leaves_out_is_asked_again(void)
{
	const struct blktap_extent half = EXTENT(AT, 2048, 0, 0, NONE_DATA);
	const struct blktap_extent rest = EXTENT(AT + 2048, 2048, 0, 0, NONE_DATA);
	struct blktap_ring_request r;
	struct granter g = { 0 };
	pid_t pids[8];

	granter_up(&g, -1);
	start_reads(&g, pids, 8, AT, 512);
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	if (r.lg.sector_number < AT + 2048) {
		CHECK_OK(granter_grant(&g, &r, &half, 1));
		granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
		CHECK(r.lg.sector_number >= AT + 2048);
		CHECK_OK(granter_grant(&g, &r, &rest, 1));
	} else {
		CHECK_OK(granter_grant(&g, &r, &rest, 1));
		granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
		CHECK(r.lg.sector_number < AT + 2048);
		CHECK_OK(granter_grant(&g, &r, &half, 1));
	}
	for (int i = 0; i < 8; i++)
		CHECK(granter_until(&g, pids[i]) == 0);
	CHECK(g.gets == 2, "%lu upcalls", g.gets);
	granter_down(&g);
}

/* Found by stress: the disk ends within a chunk: nothing is wanted behind its end. */
static void a_disk_that_ends_within_a_chunk(void)
{
	struct granter g = { .sectors = 2 * GRANTER_CHUNK + 1000 };
	struct blktap_ring_request r;
	pid_t child;

	granter_up(&g, scratch_file(FILE_BYTES));
	child = child_start(do_disk_io, granter_io(&g, true, 2 * GRANTER_CHUNK + 8, 8, 1));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK(r.lg.nr_sectors == 1000 - 8, "%llu", r.lg.nr_sectors);
	granter_all(&g, &r);
	CHECK(granter_until(&g, child) == 0);
	granter_down(&g);
}

static void readers_and_writers_and_chunks_ask_each_for_themselves(void)
{
	struct blktap_ring_request r[3];
	struct granter g = { 0 };
	pid_t pids[3];
	int fd = scratch_file(FILE_BYTES);

	granter_up(&g, fd);
	pids[0] = child_start(do_disk_io, granter_io(&g, false, AT, 8, 1));
	granter_next(&g, &r[0], BLKTAP_OP_LAYOUTGET);
	pids[1] = child_start(do_disk_io, granter_io(&g, true, AT + 8, 8, 1));
	granter_next(&g, &r[1], BLKTAP_OP_LAYOUTGET);
	pids[2] = child_start(do_disk_io, granter_io(&g, false, AT + GRANTER_CHUNK, 8, 1));
	granter_next(&g, &r[2], BLKTAP_OP_LAYOUTGET);
	CHECK(r[0].lg.iomode == BLKTAP_IOMODE_READ && r[1].lg.iomode == BLKTAP_IOMODE_WRITE);
	/* In another order than they came. */
	for (int i = 2; i >= 0; i--)
		CHECK_OK(granter_grant(&g, &r[i], &whole, 1));
	for (int i = 0; i < 3; i++)
		CHECK(granter_until(&g, pids[i]) == 0);
	CHECK(g.gets == 3, "%lu upcalls", g.gets);
	granter_down(&g);
}

static void a_refused_upcall_fails_who_waits_and_nobody_else(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request r;
	struct granter g = { 0 };
	pid_t pids[4];

	granter_up(&g, fd);
	start_reads(&g, pids, 4, AT, 512);
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_ERROR, 1));
	for (int i = 0; i < 4; i++)
		CHECK(granter_until(&g, pids[i]) == EIO);
	CHECK(g.gets == 1);
	pids[0] = child_start(do_disk_io, granter_io(&g, false, AT, 8, 1));
	CHECK(granter_until(&g, pids[0]) == 0);
	CHECK(g.gets == 2);
	granter_down(&g);
}

/* Of the slots; the others are for the end of a recall and its commit. */
#define MISSES_MAX	(BLKTAP_RING_SIZE - 2)

/* More misses than slots: the rest waits its turn. */
static void more_misses_than_slots(void)
{
	struct granter g = { .sectors = 48 * GRANTER_CHUNK };
	struct blktap_ring_request r[BLKTAP_RING_SIZE], next;
	pid_t pids[40];

	granter_up(&g, -1);
	start_reads(&g, pids, 40, AT, GRANTER_CHUNK);
	for (int i = 0; i < MISSES_MAX; i++)
		granter_next(&g, &r[i], BLKTAP_OP_LAYOUTGET);
	for (int i = 0; i < MISSES_MAX; i++) {
		struct blktap_extent e = EXTENT(r[i].lg.sector_number, GRANTER_CHUNK, 0, 0,
						NONE_DATA);

		CHECK_OK(granter_grant(&g, &r[i], &e, 1));
	}
	for (int i = MISSES_MAX; i < 40; i++) {
		struct blktap_extent e = EXTENT(0, g.sectors, 0, 0, NONE_DATA);

		granter_next(&g, &next, BLKTAP_OP_LAYOUTGET);
		CHECK_OK(granter_grant(&g, &next, &e, 1));
	}
	for (int i = 0; i < 40; i++)
		CHECK(granter_until(&g, pids[i]) == 0);
	granter_down(&g);
}

/* --- "give me the data" ----------------------------------------------------------- */

struct image {
	uint8_t *data;
	unsigned int writes, flushes;
};

/* The image is in memory; nothing is ever granted. */
static void serve_data(struct granter *g, const struct blktap_ring_request *r)
{
	struct image *i = g->arg;
	uint8_t *image = i->data + r->rw.sector_number * B2_SECTOR;

	if (r->operation == BLKTAP_OP_LAYOUTGET) {
		CHECK_OK(granter_answer(g, r, BLKTAP_RSP_EOPNOTSUPP, 0));
		return;
	}
	i->writes += r->operation == BLKTAP_OP_WRITE;
	i->flushes += r->operation == BLKTAP_OP_FLUSH;
	for (int n = 0; r->operation <= BLKTAP_OP_WRITE && n < r->nr_segments; n++) {
		uint8_t *page = tap_page(&g->tap, r->id, n);
		size_t len = (r->rw.seg[n].last_sect + 1) * B2_SECTOR;

		memcpy(r->operation == BLKTAP_OP_READ ? page : image,
		       r->operation == BLKTAP_OP_READ ? image : page, len);
		image += len;
	}
	CHECK_OK(granter_answer(g, r, BLKTAP_RSP_OKAY, 0));
}

static void data_goes_over_the_ring_where_nothing_is_granted(void)
{
	struct image i = { .data = shared_alloc(FILE_BYTES) };
	struct granter g = {
		.serve = serve_data, .arg = &i, .keep_scan = true, .flags = BLKTAP_DEVICE_FLUSH,
	};
	uint8_t *image = i.data;
	struct disk_io *io;

	granter_up(&g, -1);
	/* More than fits one slot, and a flush that must reach the tapdisk. */
	io = granter_io(&g, true, AT, 512, 0x5e);
	io->sync = true;
	CHECK(granter_until(&g, child_start(do_disk_io, io)) == 0);
	CHECK(filled_with(image + AT * B2_SECTOR, io->len, 0x5e));
	CHECK(i.writes == 6 && i.flushes == 1, "%u writes of at most 44 KiB, %u flushes",
	      i.writes, i.flushes);

	memset(image + AT * B2_SECTOR, 0x6f, io->len);
	io = granter_io(&g, false, AT, 512, 0);
	CHECK(granter_until(&g, child_start(do_disk_io, io)) == 0);
	CHECK(filled_with(io->buf, io->len, 0x6f));
	CHECK(!g.commits);
	granter_down(&g);
}

static void wanting_data_after_a_grant_fails_the_tap(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request r;
	struct granter g = { 0 };
	pid_t child;

	granter_up(&g, fd);
	child = child_start(do_disk_io, granter_io(&g, true, AT, 8, 1));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK_OK(granter_grant(&g, &r, &invalid, 1));
	CHECK(child_wait(child) == 0);
	kernel_log_mark();
	child = child_start(do_disk_io, granter_io(&g, false, AT + 2 * GRANTER_CHUNK, 8, 1));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK_ERRNO(granter_answer(&g, &r, BLKTAP_RSP_EOPNOTSUPP, 0), EIO);
	CHECK(child_wait(child) == EIO);
	CHECK(kernel_log_wait("wants the data", 5) == 1);
	granter_clear(&g);
}

/* --- commits ----------------------------------------------------------------------- */

/*
 * A tap of layout mode on the disk of a tap of ring mode: what is written to
 * the file below, when it is synced, and when the tap above commits, is seen in
 * one order.
 */
struct tower {
	struct granter g;		/* above */
	struct server below;
	struct tap below_tap;
	int fd;				/* its disk */
	char log[64];			/* W: written, F: synced, C: committed */
	_Atomic unsigned int nr;
	_Atomic bool no_flush;		/* the disk below fails to sync */
};

static void note(struct tower *t, char what)
{
	unsigned int i = t->nr++;

	if (i < sizeof(t->log) - 1)
		t->log[i] = what;
}

static int note_below(struct server *s, const struct b2_request *r)
{
	struct tower *t = s->arg;

	if (r->op == B2_WRITE)
		note(t, 'W');
	if (r->op != B2_FLUSH)
		return SERVE;
	note(t, 'F');
	return t->no_flush ? B2_ERROR : SERVE;
}

static void tower_up(struct tower *t)
{
	memset(t, 0, sizeof(*t));
	t->below = (struct server) {
		.hook = note_below, .arg = t, .flags = B2_F_FLUSH, .level = true,
	};
	server_up(&t->below, &t->below_tap, GRANTER_SECTORS);
	t->fd = open(t->below_tap.disk_node, O_RDWR | O_CLOEXEC);
	CHECK_OK(t->fd);
	granter_up(&t->g, t->fd);
}

static void tower_down(struct tower *t)
{
	granter_down(&t->g);
	close(t->fd);
	server_down(&t->below);
}

/* The log since the last call. */
static void expect_log(struct tower *t, const char *want)
{
	CHECK(!strcmp(t->log, want), "'%s', wanted '%s'", t->log, want);
	memset(t->log, 0, sizeof(t->log));
	t->nr = 0;
}

static pid_t start_write(struct tower *t, uint64_t sector, bool sync)
{
	struct disk_io *io = granter_io(&t->g, true, sector, 8, 0x3c);

	io->sync = sync;
	return child_start(do_disk_io, io);
}

static void next_get(struct tower *t, const struct blktap_extent *e)
{
	struct blktap_ring_request r;

	granter_next(&t->g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK_OK(granter_grant(&t->g, &r, e, 1));
}

static void next_commit(struct tower *t, int status, uint64_t sector, uint64_t nr)
{
	struct blktap_ring_request r;
	struct blktap_extent *e;

	granter_next(&t->g, &r, BLKTAP_OP_LAYOUTCOMMIT);
	note(t, 'C');
	e = t->g.pages[r.id];
	CHECK(r.lc.nr_ranges == 1 && e->sector == sector && e->nr_sectors == nr,
	      "%u ranges, %llu + %llu", r.lc.nr_ranges, e->sector, e->nr_sectors);
	CHECK_OK(granter_answer(&t->g, &r, status, 0));
}

/* Data is durable before the commit, and the commit before the flush has ended. */
static void a_commit_stands_between_two_syncs(void)
{
	struct tower t;
	pid_t child;

	tower_up(&t);
	child = start_write(&t, AT, true);
	next_get(&t, &invalid);
	next_commit(&t, BLKTAP_RSP_OKAY, AT, 8);
	CHECK(child_wait(child) == 0);
	expect_log(&t, "WFCF");
	CHECK(filled_with(t.below.data + AT * B2_SECTOR, 8 * B2_SECTOR, 0x3c));

	/* Nothing is dirty any more: one sync, no upcall. */
	CHECK(child_wait(start_write(&t, AT, true)) == 0);
	expect_log(&t, "WF");
	tower_down(&t);
}

/* Without a flush nothing is committed, and then all of it at once. */
static void commits_wait_for_a_flush(void)
{
	struct tower t;
	pid_t child;

	tower_up(&t);
	child = start_write(&t, AT, false);
	next_get(&t, &invalid);
	CHECK(child_wait(child) == 0);
	for (int i = 1; i < 4; i++)
		CHECK(child_wait(start_write(&t, AT + i * 8, false)) == 0);
	expect_log(&t, "WWWW");
	CHECK(t.g.gets == 1 && !t.g.commits);
	child = start_write(&t, AT + 32, true);
	next_commit(&t, BLKTAP_RSP_OKAY, AT, 40);
	CHECK(child_wait(child) == 0);
	expect_log(&t, "WFCF");
	tower_down(&t);
}

static void a_refused_commit_fails_the_flush_and_is_repeated(void)
{
	struct blktap_ring_request r;
	struct blktap_extent *e;
	struct tower t;
	pid_t child;

	tower_up(&t);
	child = start_write(&t, AT, true);
	next_get(&t, &invalid);
	next_commit(&t, BLKTAP_RSP_ERROR, AT, 8);
	CHECK(child_wait(child) == EIO);
	expect_log(&t, "WFC");

	child = start_write(&t, AT + 64, true);
	granter_next(&t.g, &r, BLKTAP_OP_LAYOUTCOMMIT);
	e = t.g.pages[r.id];
	CHECK(r.lc.nr_ranges == 2 && e[0].sector == AT && e[1].sector == AT + 64,
	      "%u ranges, %llu and %llu", r.lc.nr_ranges, e[0].sector, e[1].sector);
	CHECK_OK(granter_answer(&t.g, &r, BLKTAP_RSP_OKAY, 0));
	CHECK(child_wait(child) == 0);
	expect_log(&t, "WFF");
	tower_down(&t);
}

/* What a failed sync has lost is not said to be there. */
static void a_failed_sync_is_followed_by_no_commit(void)
{
	struct tower t;
	pid_t child;

	tower_up(&t);
	t.no_flush = true;
	child = start_write(&t, AT, true);
	next_get(&t, &invalid);
	CHECK(child_wait(child) == EIO);
	expect_log(&t, "WF");
	t.no_flush = false;
	CHECK(child_wait(start_write(&t, AT, true)) == EIO);

	/* A pause ends that: what is lost is lost, and forgotten. */
	child = granter_sysfs(&t.g, "pause");
	granter_paused(&t.g);
	CHECK(child_wait(child) == 0);
	CHECK(!t.g.commits);
	tower_down(&t);
}

/* A pause commits what is dirty before the tapdisk hears of it. */
static void a_pause_commits_first(void)
{
	struct tower t;
	pid_t child;

	tower_up(&t);
	child = start_write(&t, AT, false);
	next_get(&t, &invalid);
	CHECK(child_wait(child) == 0);
	expect_log(&t, "W");
	child = granter_sysfs(&t.g, "pause");
	next_commit(&t, BLKTAP_RSP_OKAY, AT, 8);
	granter_paused(&t.g);
	CHECK(child_wait(child) == 0);
	expect_log(&t, "FCF");
	tower_down(&t);
}

/* More ranges than a page holds: several commits, each range once. */
static void more_dirty_ranges_than_one_commit_holds(void)
{
	enum { RANGES = BLKTAP_EXTENTS_MAX + 40 };
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request r;
	unsigned int seen = 0;
	struct granter g = { 0 };
	struct disk_io *io;
	pid_t child;

	granter_up(&g, fd);
	for (int i = 0; i < RANGES; i++) {
		child = child_start(do_disk_io, granter_io(&g, true, AT + i * 2, 1, 9));
		if (!i) {
			granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
			CHECK_OK(granter_grant(&g, &r, &invalid, 1));
		}
		CHECK(child_wait(child) == 0);
	}
	io = granter_io(&g, true, AT, 1, 9);
	io->sync = true;
	child = child_start(do_disk_io, io);
	while (seen < RANGES) {
		granter_next(&g, &r, BLKTAP_OP_LAYOUTCOMMIT);
		CHECK(r.lc.nr_ranges <= BLKTAP_EXTENTS_MAX, "%u", r.lc.nr_ranges);
		for (unsigned int i = 0; i < r.lc.nr_ranges; i++, seen++)
			CHECK(g.pages[r.id][i].sector == AT + seen * 2 &&
			      g.pages[r.id][i].nr_sectors == 1,
			      "range %u is %llu + %llu", seen, g.pages[r.id][i].sector,
			      g.pages[r.id][i].nr_sectors);
		CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_OKAY, 0));
	}
	CHECK(child_wait(child) == 0);
	CHECK(g.commits == 2, "%lu commits", g.commits);
	granter_down(&g);
}

/* --- files that end before their extents ------------------------------------------------ */

#define TAIL	(4 * B2_SECTOR + 100)	/* bytes from AT to the file's end */

static void expect_at(struct granter *g, uint64_t sector, unsigned int sectors, size_t data,
		      uint8_t pattern)
{
	struct disk_io *io = granter_io(g, false, sector, sectors, 0xee);
	uint8_t *buf = io->buf;

	CHECK(granter_until(g, child_start(do_disk_io, io)) == 0);
	CHECK(filled_with(buf, data, pattern), "the file's part of sector %lu", sector);
	CHECK(filled_with(buf + data, io->len - data, 0), "what is past the end");
}

static void reads_past_the_end_of(int fd)
{
	struct granter g = { 0 };
	struct disk_io *io;

	CHECK_OK(ftruncate(fd, AT * B2_SECTOR + TAIL));
	scratch_fill(fd, AT * B2_SECTOR, TAIL, 0xab);
	granter_up(&g, fd);
	expect_at(&g, AT, 64, TAIL, 0xab);
	expect_at(&g, AT + 4, 1, 100, 0xab);
	expect_at(&g, AT + 5, 8, 0, 0);
	expect_at(&g, AT + 2048, 8, 0, 0);

	/* Writing there makes the file longer, with zeroes between. */
	io = granter_io(&g, true, AT + 16, 8, 0xcd);
	CHECK(granter_until(&g, child_start(do_disk_io, io)) == 0);
	expect_at(&g, AT + 16, 64, 8 * B2_SECTOR, 0xcd);
	expect_at(&g, AT, 16, TAIL, 0xab);
	granter_down(&g);
	scratch_expect(fd, AT * B2_SECTOR + TAIL, 16 * B2_SECTOR - TAIL, 0);
	scratch_expect(fd, (AT + 16) * B2_SECTOR, 8 * B2_SECTOR, 0xcd);
	CHECK(lseek(fd, 0, SEEK_END) == (AT + 24) * B2_SECTOR);
	close(fd);
}

static void past_a_files_end_are_zeroes(void)
{
	reads_past_the_end_of(scratch_file(0));
}

/* tmpfs has no direct I/O before Linux 6.6. */
static void past_the_end_of_a_file_without_direct_io_are_zeroes(void)
{
	reads_past_the_end_of(memfd_create("granted", MFD_CLOEXEC));
}

static const struct ktap_case cases[] = {
	KTAP_CASE(misses_of_one_chunk_share_an_upcall),
	KTAP_CASE(what_an_answer_leaves_out_is_asked_again),
	KTAP_CASE(a_disk_that_ends_within_a_chunk),
	KTAP_CASE(readers_and_writers_and_chunks_ask_each_for_themselves),
	KTAP_CASE(a_refused_upcall_fails_who_waits_and_nobody_else),
	KTAP_CASE(more_misses_than_slots),
	KTAP_CASE(data_goes_over_the_ring_where_nothing_is_granted),
	KTAP_CASE(wanting_data_after_a_grant_fails_the_tap),
	KTAP_CASE(a_commit_stands_between_two_syncs),
	KTAP_CASE(commits_wait_for_a_flush),
	KTAP_CASE(a_refused_commit_fails_the_flush_and_is_repeated),
	KTAP_CASE(a_failed_sync_is_followed_by_no_commit),
	KTAP_CASE(a_pause_commits_first),
	KTAP_CASE(more_dirty_ranges_than_one_commit_holds),
	KTAP_CASE(past_a_files_end_are_zeroes),
	KTAP_CASE(past_the_end_of_a_file_without_direct_io_are_zeroes),
};

KTAP_MAIN(cases, &state_checks)
