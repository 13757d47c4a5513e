// SPDX-License-Identifier: GPL-2.0-only
/*
 * Extents that are taken back while the disk is in use: by the tapdisk's own
 * RECALL, and by the kernel for a TRIM.
 *
 * kernels: uml kdbg
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/granter.h"
#include "lib/nl.h"
#include "lib/state.h"

#define AT		GRANTER_CHUNK		/* a sector that is not the scan's */
#define FILE_BYTES	((off_t)GRANTER_SECTORS * B2_SECTOR)
#define COOKIE		0x1234567890abcdefull
#define RELEASE		(BLKTAP_DEVICE_TRIM | BLKTAP_DEVICE_BLOCK | BLKTAP_DEVICE_RELEASE)

static const struct blktap_extent whole = EXTENT(0, GRANTER_SECTORS, 0, 0, READ_WRITE_DATA);
static const struct blktap_extent invalid = EXTENT(AT, GRANTER_CHUNK, AT * B2_SECTOR, 0,
						   INVALID_DATA);

static int recall(struct granter *g, uint64_t sector, uint64_t nr)
{
	struct blktap_recall r = { .cookie = COOKIE, .sector = sector, .nr_sectors = nr };

	return ioctl(g->tap.fd, BLKTAP_IOCTL_RECALL, &r);
}

static void expect_recalled(struct granter *g, uint64_t sector, uint64_t nr)
{
	struct blktap_ring_request r;

	granter_next(g, &r, BLKTAP_OP_RECALLED);
	CHECK(r.rc.cookie == COOKIE && r.rc.sector_number == sector && r.rc.nr_sectors == nr &&
	      !r.rc.error, "%#llx, %llu + %llu, error %u", r.rc.cookie, r.rc.sector_number,
	      r.rc.nr_sectors, r.rc.error);
	CHECK_OK(granter_answer(g, &r, BLKTAP_RSP_OKAY, 0));
}

/* I/O of one extent, which is granted on demand. */
static void do_io(struct granter *g, bool write, uint64_t sector, const struct blktap_extent *e)
{
	pid_t child = child_start(do_disk_io, granter_io(g, write, sector, 8, 7));
	struct blktap_ring_request r;

	if (e) {
		granter_next(g, &r, BLKTAP_OP_LAYOUTGET);
		CHECK_OK(granter_grant(g, &r, e, 1));
	}
	CHECK(child_wait(child) == 0);
}

static void what_is_recalled_is_asked_for_again(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct granter g = { 0 };

	granter_up(&g, fd);
	do_io(&g, false, AT, &whole);
	do_io(&g, true, 2 * AT, NULL);
	CHECK_OK(recall(&g, AT, GRANTER_CHUNK));
	expect_recalled(&g, AT, GRANTER_CHUNK);
	do_io(&g, true, 2 * AT, NULL);
	do_io(&g, false, AT, &whole);
	CHECK(g.gets == 2, "%lu upcalls", g.gets);
	granter_down(&g);
}

static void a_recall_commits_what_is_dirty(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request r;
	struct granter g = { 0 };

	granter_up(&g, fd);
	do_io(&g, true, AT + 8, &invalid);
	CHECK_OK(recall(&g, AT, GRANTER_CHUNK));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTCOMMIT);
	CHECK(r.lc.nr_ranges == 1 && g.pages[r.id][0].sector == AT + 8 &&
	      g.pages[r.id][0].nr_sectors == 8);
	CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_OKAY, 0));
	expect_recalled(&g, AT, GRANTER_CHUNK);
	do_io(&g, false, AT + 8, &whole);
	granter_down(&g);
}

static void grant_or_be_told(struct granter *g, const struct blktap_ring_request *r)
{
	_Atomic bool *told = g->arg;

	if (r->operation == BLKTAP_OP_LAYOUTGET) {
		CHECK_OK(granter_grant(g, r, &whole, 1));
		return;
	}
	CHECK(r->operation == BLKTAP_OP_RECALLED && r->rc.cookie == COOKIE && !r->rc.error);
	CHECK_OK(granter_answer(g, r, BLKTAP_RSP_OKAY, 0));
	*told = true;
}

static int is_told(void *told)
{
	while (!*(_Atomic bool *)told)
		nap_ms(1);
	return 0;
}

/* An answer that was on its way when the range was recalled says nothing any more. */
static void a_grant_from_before_a_recall_is_stale(void)
{
	_Atomic bool *told = shared_alloc(sizeof(*told));
	struct granter g = { .serve = grant_or_be_told, .arg = told };
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request r;
	pid_t child;

	granter_up(&g, fd);
	child = child_start(do_disk_io, granter_io(&g, false, AT, 8, 7));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK_OK(recall(&g, AT, 8));
	CHECK_OK(granter_grant(&g, &r, &whole, 1));
	CHECK(granter_until(&g, child) == 0);
	CHECK(g.gets >= 2, "the grant was taken");
	granter_until(&g, child_start(is_told, told));
	granter_down(&g);
}

static void a_refused_commit_is_told(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request r;
	struct granter g = { 0 };

	granter_up(&g, fd);
	do_io(&g, true, AT, &invalid);
	CHECK_OK(recall(&g, AT, 8));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTCOMMIT);
	CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_ERROR, 0));
	granter_next(&g, &r, BLKTAP_OP_RECALLED);
	CHECK(r.rc.error == EIO, "error %u", r.rc.error);
	CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_OKAY, 0));
	/* It is dirty still, and in use. */
	do_io(&g, false, AT, NULL);
	granter_clear(&g);
}

static void bad_recalls(void)
{
	struct granter g = { 0 };
	int refused = 0;

	granter_map(&g);
	CHECK_ERRNO(recall(&g, 0, 8), ENOTCONN);
	granter_create(&g);
	CHECK_ERRNO(recall(&g, 0, 0), EINVAL);
	CHECK_ERRNO(recall(&g, ~0ull, 2), EINVAL);
	/* Far past the end there is nothing, which is soon taken back. */
	CHECK_OK(recall(&g, 1ull << 60, 1));
	expect_recalled(&g, 1ull << 60, 1);
	for (int i = 0; i < 2 * BLKTAP_RING_SIZE; i++)
		refused += recall(&g, AT, 8) && errno == EBUSY;
	CHECK(refused == BLKTAP_RING_SIZE, "%d refused", refused);
	for (int i = 0; i < BLKTAP_RING_SIZE; i++)
		expect_recalled(&g, AT, 8);
	granter_down(&g);
}

/* The tap is cleared away with a recall that nobody was told the end of. */
/*
 * A tapdisk that keeps all misses waiting until the end of its recall gets that
 * end, and the commit that it takes.
 */
static void a_recall_ends_though_all_else_waits(void)
{
	enum { READERS = BLKTAP_RING_SIZE + 4, CHUNKS = READERS + 2 };
	struct granter g = { .sectors = CHUNKS * GRANTER_CHUNK };
	int fd = scratch_file((off_t)CHUNKS * GRANTER_CHUNK * B2_SECTOR);
	struct blktap_ring_request held[BLKTAP_RING_SIZE], r;
	const struct blktap_extent all = EXTENT(0, g.sectors, 0, 0, READ_WRITE_DATA);
	pid_t pids[READERS];
	int nr = 0;

	granter_up(&g, fd);
	do_io(&g, true, AT, &invalid);
	for (int i = 0; i < READERS; i++)
		pids[i] = child_start(do_disk_io, granter_io(&g, false, (i + 2) * AT, 8, 7));
	while (nr < BLKTAP_RING_SIZE - 2)
		granter_next(&g, &held[nr++], BLKTAP_OP_LAYOUTGET);
	CHECK_OK(recall(&g, 0, g.sectors));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTCOMMIT);
	CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_OKAY, 0));
	expect_recalled(&g, 0, g.sectors);
	while (nr--)
		CHECK_OK(granter_grant(&g, &held[nr], &all, 1));
	for (int i = 0; i < READERS; i++)
		CHECK(granter_until(&g, pids[i]) == 0);
	granter_down(&g);
}

static void a_pause_waits_for_a_recall(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request r;
	struct granter g = { 0 };
	pid_t pause;

	granter_up(&g, fd);
	do_io(&g, true, AT, &invalid);
	CHECK_OK(recall(&g, AT, 8));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTCOMMIT);
	pause = granter_sysfs(&g, "pause");
	child_settle(pause);
	CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_OKAY, 0));
	expect_recalled(&g, AT, 8);
	granter_paused(&g);
	CHECK(child_wait(pause) == 0);
	CHECK_ERRNO(recall(&g, AT, 8), EBUSY);
	granter_down(&g);
}

static void an_untold_recall_goes_with_its_tap(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct granter g = { 0 };

	granter_up(&g, fd);
	do_io(&g, true, AT, &invalid);
	CHECK_OK(recall(&g, AT, 8));
	granter_clear(&g);
}

/* --- TRIM of whole blocks --------------------------------------------------------- */

static void expect_trim(struct granter *g, struct blktap_ring_request *r, uint64_t sector,
			uint64_t nr)
{
	granter_next(g, r, BLKTAP_OP_TRIM);
	CHECK(r->tr.sector_number == sector && r->tr.nr_sectors == nr, "%llu + %llu",
	      r->tr.sector_number, r->tr.nr_sectors);
}

/* The blocks go to the tapdisk; what is a part of one is punched by the kernel. */
static void whole_blocks_are_trimmed(void)
{
	struct granter g = { .flags = RELEASE };
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request r;
	pid_t child;

	scratch_fill(fd, AT * B2_SECTOR, 3 * AT * B2_SECTOR, 0x77);
	granter_up(&g, fd);
	do_io(&g, false, AT, &whole);
	child = granter_discard(&g, AT, GRANTER_CHUNK + 64);
	expect_trim(&g, &r, AT, GRANTER_CHUNK);
	CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_OKAY, 0));
	CHECK(child_wait(child) == 0);
	scratch_expect(fd, AT * B2_SECTOR, AT * B2_SECTOR, 0x77);
	scratch_expect(fd, 2 * AT * B2_SECTOR, 64 * B2_SECTOR, 0);
	scratch_expect(fd, (2 * AT + 64) * B2_SECTOR, AT * B2_SECTOR, 0x77);
	do_io(&g, false, AT, &whole);
	granter_down(&g);
}

/* Nobody asks where the blocks are, and nobody is told, while they are given back. */
static void a_trim_holds_its_blocks_misses(void)
{
	struct granter g = { .flags = RELEASE };
	int fd = scratch_file(FILE_BYTES);
	struct blktap_ring_request trim, r;
	pid_t discard, held, other;

	granter_up(&g, fd);
	do_io(&g, false, AT, &whole);
	CHECK_OK(recall(&g, 2 * AT, AT));
	expect_recalled(&g, 2 * AT, AT);
	discard = granter_discard(&g, AT, GRANTER_CHUNK);
	expect_trim(&g, &trim, AT, GRANTER_CHUNK);

	held = child_start(do_disk_io, granter_io(&g, false, AT, 8, 7));
	child_settle(held);
	CHECK(!granter_take(&g, &r), "operation %u of a block that is trimmed", r.operation);

	/* What a wide answer says of the held block is not taken. */
	other = child_start(do_disk_io, granter_io(&g, false, 2 * AT, 8, 7));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK(r.lg.sector_number == 2 * AT, "sector %llu", r.lg.sector_number);
	CHECK_OK(granter_grant(&g, &r, &whole, 1));
	CHECK(child_wait(other) == 0);
	nap_ms(100);
	CHECK(!granter_take(&g, &r), "operation %u of a block that is trimmed", r.operation);

	CHECK_OK(granter_answer(&g, &trim, BLKTAP_RSP_OKAY, 0));
	CHECK(child_wait(discard) == 0);
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK(r.lg.sector_number == AT, "sector %llu", r.lg.sector_number);
	CHECK_OK(granter_grant(&g, &r, &whole, 1));
	CHECK(child_wait(held) == 0);
	granter_down(&g);
}

static void trims_take_turns(void)
{
	struct granter g = { .flags = RELEASE };
	struct blktap_ring_request r[2];
	pid_t children[2];

	granter_up(&g, -1);
	children[0] = granter_discard(&g, AT, GRANTER_CHUNK);
	expect_trim(&g, &r[0], AT, GRANTER_CHUNK);
	children[1] = granter_discard(&g, 2 * AT, GRANTER_CHUNK);
	child_settle(children[1]);
	CHECK(!granter_take(&g, &r[1]), "operation %u beside a TRIM", r[1].operation);
	CHECK_OK(granter_answer(&g, &r[0], BLKTAP_RSP_OKAY, 0));
	expect_trim(&g, &r[1], 2 * AT, GRANTER_CHUNK);
	CHECK_OK(granter_answer(&g, &r[1], BLKTAP_RSP_ERROR, 0));
	CHECK(child_wait(children[0]) == 0);
	CHECK(child_wait(children[1]) == EIO);
	granter_down(&g);
}

/* A TRIM of a block, and one that waits for its turn: both have failed. */
static void trims_fail(struct granter *g, struct blktap_ring_request *trim)
{
	pid_t children[2];

	CHECK_OK(sysfs_write(g->tap.sysfs, "on_timeout", "fail"));
	CHECK_OK(sysfs_write(g->tap.sysfs, "request_timeout", "1"));
	children[0] = granter_discard(g, AT, GRANTER_CHUNK);
	expect_trim(g, trim, AT, GRANTER_CHUNK);
	children[1] = granter_discard(g, 2 * AT, GRANTER_CHUNK);
	for (int i = 0; i < 2; i++)
		CHECK(child_wait(children[i]) == EIO, "discard %d", i);
	CHECK_OK(sysfs_write(g->tap.sysfs, "request_timeout", "0"));
}

/* The block may still be given back: nobody is let write there before the answer. */
static void a_trim_that_has_failed_holds_its_blocks(void)
{
	struct granter g = { .flags = RELEASE };
	int fd = scratch_file(FILE_BYTES), result;
	struct blktap_ring_request trim, r;
	pid_t held, next;

	granter_up(&g, fd);
	do_io(&g, false, AT, &whole);
	trims_fail(&g, &trim);
	held = child_start(do_disk_io, granter_io(&g, true, AT, 8, 7));
	child_settle(held);
	CHECK(!granter_take(&g, &r), "operation %u of a block that is trimmed", r.operation);
	CHECK(!child_is_done(held, &result), "a write went where the block was");

	CHECK_OK(granter_answer(&g, &trim, BLKTAP_RSP_OKAY, 0));
	granter_next(&g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK(r.lg.sector_number == AT, "sector %llu", r.lg.sector_number);
	CHECK_OK(granter_grant(&g, &r, &whole, 1));
	CHECK(child_wait(held) == 0);
	next = granter_discard(&g, 2 * AT, GRANTER_CHUNK);
	expect_trim(&g, &r, 2 * AT, GRANTER_CHUNK);
	CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_OKAY, 0));
	CHECK(child_wait(next) == 0);
	granter_down(&g);
}

static void a_trim_that_has_failed_ends_with_its_tap(void)
{
	struct granter g = { .flags = RELEASE };
	struct blktap_ring_request trim;

	granter_up(&g, -1);
	trims_fail(&g, &trim);
	CHECK(tap_close_force(g.tap.h.minor) == 0);
	granter_clear(&g);
}

static void trims_end_with_their_tap(void)
{
	struct granter g = { .flags = RELEASE };
	struct blktap_ring_request r;
	pid_t children[2];

	granter_up(&g, -1);
	children[0] = granter_discard(&g, AT, GRANTER_CHUNK);
	expect_trim(&g, &r, AT, GRANTER_CHUNK);
	children[1] = granter_discard(&g, 2 * AT, GRANTER_CHUNK);
	child_settle(children[1]);
	granter_clear(&g);
	for (int i = 0; i < 2; i++)
		CHECK(child_wait(children[i]) == EIO);
}

static void release_needs_trim_and_a_block(void)
{
	struct blktap_params p = {
		.capacity = GRANTER_SECTORS, .sector_size = B2_SECTOR,
		.flags = BLKTAP_DEVICE_LAYOUT | BLKTAP_DEVICE_RELEASE | BLKTAP_DEVICE_BLOCK,
		.block_size = GRANTER_CHUNK * B2_SECTOR,
	};
	struct granter g = { 0 };

	granter_map(&g);
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_CREATE_DEVICE, &p), EINVAL);
	p.flags = BLKTAP_DEVICE_LAYOUT | BLKTAP_DEVICE_BLOCK;
	for (uint32_t size = 1; size < 4096; size <<= 1) {
		p.block_size = size;
		CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_CREATE_DEVICE, &p), EINVAL);
	}
	p.block_size = 3 << 20;
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_CREATE_DEVICE, &p), EINVAL);
	p.block_size = 512 << 20;
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_CREATE_DEVICE, &p), EINVAL);
	granter_create(&g);
	granter_down(&g);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(what_is_recalled_is_asked_for_again),
	KTAP_CASE(a_recall_commits_what_is_dirty),
	KTAP_CASE(a_grant_from_before_a_recall_is_stale),
	KTAP_CASE(a_refused_commit_is_told),
	KTAP_CASE(bad_recalls),
	KTAP_CASE(a_recall_ends_though_all_else_waits),
	KTAP_CASE(a_pause_waits_for_a_recall),
	KTAP_CASE(an_untold_recall_goes_with_its_tap),
	KTAP_CASE(whole_blocks_are_trimmed),
	KTAP_CASE(a_trim_holds_its_blocks_misses),
	KTAP_CASE(trims_take_turns),
	KTAP_CASE(a_trim_that_has_failed_holds_its_blocks),
	KTAP_CASE(a_trim_that_has_failed_ends_with_its_tap),
	KTAP_CASE(trims_end_with_their_tap),
	KTAP_CASE(release_needs_trim_and_a_block),
};

KTAP_MAIN(cases, &state_checks)
