// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a tapdisk may grant and what not: a lie fails its tap with one line in
 * the kernel's log that says what was wrong, and no I/O goes where it pointed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/granter.h"
#include "lib/nl.h"
#include "lib/state.h"

#define AT		(GRANTER_CHUNK + 1024)	/* the sector that is asked for */
#define NR		8			/* sectors of an I/O */
#define FILE_BYTES	((off_t)GRANTER_SECTORS * B2_SECTOR)
#define OLD		0x0f			/* what the files hold */

enum { RW, RO, NR_FILES };			/* registered files */

struct bed {
	struct granter g;
	int fd[NR_FILES];
};

static void bed_up(struct bed *b)
{
	*b = (struct bed) { 0 };
	granter_map(&b->g);
	for (int i = 0; i < NR_FILES; i++) {
		b->fd[i] = scratch_file(FILE_BYTES);
		scratch_fill(b->fd[i], AT * B2_SECTOR, NR * B2_SECTOR, OLD);
	}
	CHECK(granter_add(&b->g, b->fd[RW], BLKTAP_FILE_WRITE) == RW);
	CHECK(granter_add(&b->g, b->fd[RO], 0) == RO);
	granter_create(&b->g);
	kernel_log_mark();
}

static void bed_close(struct bed *b)
{
	for (int i = 0; i < NR_FILES; i++)
		close(b->fd[i]);
}

static void bed_down(struct bed *b)
{
	granter_down(&b->g);
	bed_close(b);
}

/* --- lies -------------------------------------------------------------------- */

#define BOUNDS	"out of bounds"
#define ORDER	"in a wrong order"
#define OVERLAP	"that overlap"
#define NOTHING	"nothing for the sector"
#define ROOM	"more extents than there is room for"

#define R false
#define W true

struct lie {
	const char *what;
	bool write;
	const char *why;		/* said in the kernel's log */
	struct blktap_extent e[3];
	uint32_t nr;			/* said; 0: as many as are given */
};

#define HERE(n, file, st)	EXTENT(AT, n, AT * B2_SECTOR, file, st)
#define LAST			GRANTER_SECTORS

static const struct lie lies[] = {
	{ "a sector behind the disk", R, BOUNDS,
	  .e = { HERE(NR, RW, READ_WRITE_DATA), EXTENT(LAST, 1, 0, RW, READ_WRITE_DATA) } },
	{ "one sector too many", R, BOUNDS, .e = { HERE(LAST - AT + 1, RW, READ_WRITE_DATA) } },
	{ "no sectors", R, BOUNDS, .e = { HERE(0, RW, READ_WRITE_DATA) } },
	{ "all sectors there are", R, BOUNDS, .e = { HERE(-1ULL, RW, READ_WRITE_DATA) } },
	{ "an end that overflows", R, BOUNDS, .e = { HERE(-(uint64_t)AT, RW, READ_WRITE_DATA) } },
	{ "a sector near 2^64", R, BOUNDS, .e = { EXTENT(-8ULL, 16, 0, RW, READ_WRITE_DATA) } },
	{ "bytes that overflow", R, BOUNDS, .e = { HERE(1ULL << 55, RW, READ_WRITE_DATA) } },
	{ "an odd offset", R, BOUNDS, .e = { EXTENT(AT, NR, 513, RW, READ_WRITE_DATA) } },
	{ "an offset of 2^63", R, BOUNDS, .e = { EXTENT(AT, NR, 1ULL << 63, RW, READ_WRITE_DATA) } },
	{ "an offset of -512", R, BOUNDS, .e = { EXTENT(AT, NR, -512ULL, RW, READ_WRITE_DATA) } },
	{ "the last offset", R, BOUNDS,
	  .e = { EXTENT(AT, NR, (1ULL << 63) - 512, RW, READ_WRITE_DATA) } },
	{ "an offset too far", R, BOUNDS, .e = { EXTENT(AT, NR, 1ULL << 61, RW, READ_WRITE_DATA) } },
	{ "a file never registered", R, BOUNDS, .e = { HERE(NR, NR_FILES, READ_DATA) } },
	{ "the last file there can be", R, BOUNDS, .e = { HERE(NR, 255, READ_DATA) } },
	{ "a file behind the table", R, BOUNDS, .e = { HERE(NR, BLKTAP_FILES_MAX, READ_DATA) } },
	{ "file 2^32 - 1", R, BOUNDS, .e = { HERE(NR, -1U, READ_DATA) } },
	{ "a file that wraps to 0", R, BOUNDS, .e = { HERE(NR, 1U << 31, READ_WRITE_DATA) } },
	{ "the state of dirty sectors", R, BOUNDS, .e = { { AT, NR, AT * 512, RW, 4 } } },
	{ "state 5", R, BOUNDS, .e = { { AT, NR, AT * 512, RW, 5 } } },
	{ "state 8", W, BOUNDS, .e = { { AT, NR, AT * 512, RW, 8 } } },
	{ "state 2^32 - 1", W, BOUNDS, .e = { { AT, NR, AT * 512, RW, -1U } } },
	{ "writing to a file for reading", W, BOUNDS, .e = { HERE(NR, RO, READ_WRITE_DATA) } },
	{ "allocation in a file for reading", W, BOUNDS, .e = { HERE(NR, RO, INVALID_DATA) } },
	{ "the same, for a read", R, BOUNDS,
	  .e = { HERE(NR, RO, READ_DATA), HERE(NR, RO, INVALID_DATA) } },
	{ "the same twice", R, OVERLAP,
	  .e = { HERE(NR, RW, READ_WRITE_DATA), HERE(NR, RW, READ_WRITE_DATA) } },
	{ "one sector twice", R, OVERLAP,
	  .e = { HERE(NR, RO, READ_DATA), EXTENT(AT + NR - 1, 4, 0, RW, READ_WRITE_DATA) } },
	{ "descending sectors", R, OVERLAP,
	  .e = { HERE(NR, RW, READ_DATA), EXTENT(AT - 8, 8, 0, RW, READ_DATA) } },
	{ "an overlap behind good ones", R, OVERLAP,
	  .e = { EXTENT(AT - 16, 8, 0, RW, READ_DATA), HERE(NR, RW, READ_DATA),
	    HERE(NR, RW, READ_DATA) } },
	{ "invalid sectors that overlap", W, OVERLAP,
	  .e = { HERE(NR, RW, INVALID_DATA), EXTENT(AT + 1, NR, 0, RW, INVALID_DATA) } },
	{ "invalid ones before others", W, ORDER,
	  .e = { HERE(NR, RW, INVALID_DATA), EXTENT(AT + NR, NR, 0, RW, READ_WRITE_DATA) } },
	{ "what lies beneath behind it", W, ORDER,
	  .e = { HERE(NR, RW, INVALID_DATA), HERE(NR, RO, READ_DATA) } },
	{ "no extents", R, NOTHING, .e = { { 0 } } },
	{ "other sectors", R, NOTHING, .e = { EXTENT(AT + 1, NR, 0, RW, READ_WRITE_DATA) } },
	{ "sectors before", R, NOTHING, .e = { EXTENT(AT - NR, NR, 0, RW, READ_WRITE_DATA) } },
	{ "reading to a writer", W, NOTHING, .e = { HERE(NR, RW, READ_DATA) } },
	{ "zeroes to a writer", W, NOTHING, .e = { HERE(NR, RW, NONE_DATA) } },
	{ "writing only to a reader", R, NOTHING, .e = { HERE(NR, RW, INVALID_DATA) } },
	{ "one extent too many", R, ROOM, .nr = BLKTAP_EXTENTS_MAX + 1,
	  .e = { HERE(NR, RW, READ_WRITE_DATA) } },
	{ "2^32 - 1 extents", R, ROOM, .nr = -1U,
	  .e = { HERE(NR, RW, READ_WRITE_DATA) } },
	{ "2^31 extents", R, ROOM, .nr = 1U << 31,
	  .e = { HERE(NR, RW, READ_WRITE_DATA) } },
};

static unsigned int nr_given(const struct lie *lie)
{
	unsigned int nr = 0;

	while (nr < 3 && (lie->e[nr].nr_sectors || lie->e[nr].sector))
		nr++;
	return nr;
}

/* All that is not granted is the page's zeroes: no sectors, which is a lie too. */
static void tell(struct bed *b, const struct lie *lie)
{
	struct disk_io *io = granter_io(&b->g, lie->write, AT, NR, 0x77);
	pid_t child = child_start(do_disk_io, io);
	struct blktap_ring_request r;
	int err;

	granter_next(&b->g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK(r.lg.sector_number == AT && r.lg.iomode == lie->write);
	memcpy(b->g.pages[r.id], lie->e, sizeof(lie->e));
	CHECK_ERRNO(granter_answer(&b->g, &r, 0, lie->nr ?: nr_given(lie)), EIO);
	err = child_wait(child);
	CHECK(err == EIO, "%s: I/O gives %d", lie->what, err);
	CHECK(kernel_log_wait(lie->why, 5) == 1, "%s: the kernel's log does not say '%s' once",
	      lie->what, lie->why);
	err = in_child(do_disk_io, io);
	CHECK(err == EIO || err == ENXIO, "%s: later I/O gives %d", lie->what, err);
	for (int i = 0; i < NR_FILES; i++)
		scratch_expect(b->fd[i], AT * B2_SECTOR, NR * B2_SECTOR, OLD);
}

static void lies_fail_the_tap(void)
{
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct bed b;

		bed_up(&b);
		tell(&b, &lies[i]);
		granter_clear(&b.g);
		bed_close(&b);
	}
}

/* Looks odd, and is right. */
static const struct lie truths[] = {
	{ "up to the last sector", R, NULL, .e = { HERE(LAST - AT, RW, READ_WRITE_DATA) } },
	{ "the whole disk, for writing", W, NULL, .e = { EXTENT(0, LAST, 0, RW, READ_WRITE_DATA) } },
	{ "zeroes with a file and an offset", R, NULL, .e = { EXTENT(AT, NR, 777, 999, NONE_DATA) } },
	{ "a file for reading", R, NULL, .e = { HERE(NR, RO, READ_DATA) } },
	{ "invalid sectors over what is beneath", R, NULL,
	  .e = { HERE(NR, RO, READ_DATA), HERE(NR, RW, INVALID_DATA) } },
	{ "invalid sectors over less than them", W, NULL,
	  .e = { EXTENT(AT + 1, 1, 0, 0, NONE_DATA), HERE(NR, RW, INVALID_DATA) } },
	{ "one sector of the eight", R, NULL, .e = { HERE(1, RW, READ_DATA) } },
	{ "a place far behind the file's end", R, NULL, .e = { EXTENT(AT, NR, 1ULL << 40, RW, READ_DATA) } },
};

static void odd_truths_are_believed(void)
{
	for (size_t i = 0; i < sizeof(truths) / sizeof(truths[0]); i++) {
		const struct lie *t = &truths[i];
		struct blktap_ring_request r;
		struct disk_io *io;
		struct bed b;
		pid_t child;

		bed_up(&b);
		io = granter_io(&b.g, t->write, AT, NR, 0x77);
		child = child_start(do_disk_io, io);
		granter_next(&b.g, &r, BLKTAP_OP_LAYOUTGET);
		CHECK_OK(granter_grant(&b.g, &r, t->e, nr_given(t)));
		/* The rest of what is wanted, and commits. */
		CHECK(granter_until(&b.g, child) == 0, "%s", t->what);
		/* What landed in INVALID_DATA must be committed before the end. */
		child = granter_sysfs(&b.g, "pause");
		while (((struct blktap_ring *)b.g.tap.ring)->msg == BLKTAP_MSG_NONE)
			if (granter_take(&b.g, &r))
				granter_all(&b.g, &r);
		granter_paused(&b.g);
		CHECK(child_wait(child) == 0);
		bed_down(&b);
	}
}

/* --- a page that changes while the kernel reads it ------------------------------ */

struct flipper {
	struct bed *b;
	unsigned int seed;
	_Atomic bool stop;
};

/* Good extents and bad ones in turn, field by field, in every slot's page. */
static void *flip(void *arg)
{
	struct flipper *f = arg;

	while (!f->stop) {
		volatile struct blktap_extent *e =
			&f->b->g.pages[rand_r(&f->seed) % BLKTAP_RING_SIZE][rand_r(&f->seed) % 2];
		unsigned int what = rand_r(&f->seed);

		switch (what >> 8 & 7) {
		case 0:
			e->file = what & 1 ? RW : RO;
			break;
		case 1:
			e->file = what & 1 ? RW : 200;
			break;
		case 2:
			e->state = what & 1 ? BLKTAP_EXT_READ_WRITE_DATA : what & 7;
			break;
		case 3:
			e->offset = what & 1 ? e->sector * B2_SECTOR : -512ULL;
			break;
		case 4:
			e->nr_sectors = what & 1 ? NR : -1ULL;
			break;
		case 5:
			e->sector = what & 1 ? AT : what;
			break;
		default:
			*(struct blktap_extent *)e = HERE(NR, RW, READ_WRITE_DATA);
		}
	}
	return NULL;
}

/* One tap's life under such a page: until it fails, or a hundred grants were taken. */
static void flip_once(struct bed *b, unsigned int seed)
{
	struct flipper f = { .b = b, .seed = seed };
	struct blktap_ring_request r;
	pthread_t thread;
	int result;

	bed_up(b);
	CHECK(!pthread_create(&thread, NULL, flip, &f));
	for (int i = 0; i < 100; i++) {
		struct disk_io *io = granter_io(&b->g, i & 1, AT + i / 8 * 8, 8, 0x77);
		pid_t child = child_start(do_disk_io, io);

		while (!child_is_done(child, &result))
			if (granter_take(&b->g, &r))
				granter_answer(&b->g, &r, 0, 1 + i % 2);
		if (result)
			break;
	}
	f.stop = true;
	pthread_join(thread, NULL);
	/* A file for reading is not written, whatever was said of it. */
	scratch_expect(b->fd[RO], AT * B2_SECTOR, NR * B2_SECTOR, OLD);
	granter_clear(&b->g);
	bed_close(b);
}

static void extents_rewritten_while_the_kernel_reads(void)
{
	for (unsigned int seed = 1; seed <= 10; seed++) {
		struct bed b;

		flip_once(&b, seed);
	}
}

/* --- grants that are right no more ----------------------------------------------- */

/* Write @sectors at @sector, where the kernel must ask; it is told @e. */
static void write_into(struct bed *b, uint64_t sector, unsigned int sectors, uint8_t pattern,
		       const struct blktap_extent *e, unsigned int nr)
{
	struct disk_io *io = granter_io(&b->g, true, sector, sectors, pattern);
	pid_t child = child_start(do_disk_io, io);
	struct blktap_ring_request r;

	granter_next(&b->g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK_OK(granter_grant(&b->g, &r, e, nr));
	CHECK(child_wait(child) == 0);
}

/* Read from the disk without an upcall. */
static void expect_read(struct bed *b, uint64_t sector, unsigned int sectors, uint8_t pattern)
{
	struct disk_io *io = granter_io(&b->g, false, sector, sectors, 0);
	unsigned long gets = b->g.gets;

	CHECK(granter_until(&b->g, child_start(do_disk_io, io)) == 0);
	CHECK(filled_with(io->buf, io->len, pattern), "sector %lu", sector);
	CHECK(b->g.gets == gets, "a read of what is there asks");
}

/* The ranges of the next LAYOUTCOMMIT, which is answered. */
static void expect_commit(struct bed *b, uint64_t sector, uint64_t nr)
{
	struct blktap_ring_request r;
	struct blktap_extent *e;

	granter_next(&b->g, &r, BLKTAP_OP_LAYOUTCOMMIT);
	e = b->g.pages[r.id];
	CHECK(r.lc.nr_ranges == 1, "%u ranges", r.lc.nr_ranges);
	CHECK(e->sector == sector && e->nr_sectors == nr, "%llu + %llu", e->sector, e->nr_sectors);
	CHECK_OK(granter_answer(&b->g, &r, BLKTAP_RSP_OKAY, 0));
}

static void a_grant_over_dirty_sectors_changes_nothing(void)
{
	const struct blktap_extent invalid = EXTENT(AT, 8, AT * 512, RW, INVALID_DATA);
	const struct blktap_extent over[] = {
		EXTENT(AT - 8, 32, 0, RO, READ_DATA),
		EXTENT(AT, 16, 0, RW, INVALID_DATA),
	};
	struct disk_io *io;
	struct bed b;
	pid_t child;

	bed_up(&b);
	write_into(&b, AT, 8, 0x11, &invalid, 1);
	expect_read(&b, AT, 8, 0x11);
	/* The next sectors, granted with what was written as if it lay elsewhere. */
	write_into(&b, AT + 8, 8, 0x22, over, 2);
	expect_read(&b, AT, 8, 0x11);
	expect_read(&b, AT + 8, 8, 0x22);
	scratch_expect(b.fd[RW], AT * 512, 8 * 512, 0x11);
	scratch_expect(b.fd[RW], 8 * 512, 8 * 512, 0x22);

	io = granter_io(&b.g, true, AT, 8, 0x33);
	io->sync = true;
	child = child_start(do_disk_io, io);
	expect_commit(&b, AT, 16);
	CHECK(child_wait(child) == 0);
	expect_read(&b, AT, 8, 0x33);
	scratch_expect(b.fd[RW], AT * 512, 8 * 512, 0x33);
	bed_down(&b);
}

/* A read that was told where the sectors lay before they were written. */
static void a_grant_computed_before_a_write_changes_nothing(void)
{
	const struct blktap_extent invalid = EXTENT(AT, 8, AT * 512, RW, INVALID_DATA);
	const struct blktap_extent old[] = {
		EXTENT(AT, 16, 0, RO, READ_DATA),
	};
	struct disk_io *reader, *writer;
	struct blktap_ring_request get, put;
	pid_t r, w;
	struct bed b;

	bed_up(&b);
	reader = granter_io(&b.g, false, AT, 16, 0);
	writer = granter_io(&b.g, true, AT, 8, 0x44);
	r = child_start(do_disk_io, reader);
	granter_next(&b.g, &get, BLKTAP_OP_LAYOUTGET);
	w = child_start(do_disk_io, writer);
	granter_next(&b.g, &put, BLKTAP_OP_LAYOUTGET);
	CHECK(get.lg.iomode == BLKTAP_IOMODE_READ && put.lg.iomode == BLKTAP_IOMODE_WRITE);
	CHECK_OK(granter_grant(&b.g, &put, &invalid, 1));
	CHECK(child_wait(w) == 0);
	CHECK_OK(granter_grant(&b.g, &get, old, 1));
	CHECK(child_wait(r) == 0);
	expect_read(&b, AT, 8, 0x44);
	scratch_expect(b.fd[RW], AT * 512, 8 * 512, 0x44);

	writer->sync = true;
	w = child_start(do_disk_io, writer);
	expect_commit(&b, AT, 8);
	CHECK(child_wait(w) == 0);
	bed_down(&b);
}

/* Extents and files of before a pause are no more after it. */
static void files_of_before_a_pause_are_not_known(void)
{
	const struct blktap_extent e = HERE(NR, RW, READ_WRITE_DATA);
	struct blktap_ring_request r;
	struct disk_io *io;
	struct bed b;
	pid_t child;

	bed_up(&b);
	write_into(&b, AT, NR, 0x55, &e, 1);
	granter_pause(&b.g);
	child = granter_sysfs(&b.g, "resume");
	granter_message(&b.g, BLKTAP_MSG_RESUME);
	granter_resumed(&b.g);
	CHECK(child_wait(child) == 0);

	io = granter_io(&b.g, true, AT, NR, 0x66);
	child = child_start(do_disk_io, io);
	granter_next(&b.g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK_ERRNO(granter_grant(&b.g, &r, &e, 1), EIO);
	CHECK(child_wait(child) == EIO);
	CHECK(kernel_log_wait(BOUNDS, 5) == 1);
	scratch_expect(b.fd[RW], AT * 512, NR * 512, 0x55);
	granter_clear(&b.g);
	bed_close(&b);
}

static bool is_draining(void *minor)
{
	struct btnl nl;
	long state;

	btnl_open(&nl);
	state = btnl_get_u32(&nl, *(uint32_t *)minor, BLKTAP_A_STATE);
	btnl_close(&nl);
	return state >= 0 && (state & BLKTAP_STATE_QUIESCE_REQUESTED);
}

/* An answer of before a pause, given after it. */
static void a_grant_given_while_a_pause_waits_is_asked_again(void)
{
	const struct blktap_extent e = HERE(NR, RW, READ_WRITE_DATA);
	struct blktap_ring_request r, again;
	pid_t child, pause;
	struct disk_io *io;
	struct bed b;

	bed_up(&b);
	io = granter_io(&b.g, true, AT, NR, 0x55);
	child = child_start(do_disk_io, io);
	granter_next(&b.g, &r, BLKTAP_OP_LAYOUTGET);
	pause = granter_sysfs(&b.g, "pause");
	/* The pause waits for the answer; the request then waits for the resume. */
	CHECK(wait_until(is_draining, &b.g.tap.h.minor, 10));
	nap_ms(20 * ktap_scale());
	CHECK(((struct blktap_ring *)b.g.tap.ring)->msg == BLKTAP_MSG_NONE);
	CHECK_OK(granter_grant(&b.g, &r, &e, 1));
	granter_paused(&b.g);
	CHECK(child_wait(pause) == 0);
	CHECK(granter_add(&b.g, b.fd[RW], BLKTAP_FILE_WRITE) == 0);
	pause = granter_sysfs(&b.g, "resume");
	granter_message(&b.g, BLKTAP_MSG_RESUME);
	granter_resumed(&b.g);
	CHECK(child_wait(pause) == 0);
	granter_next(&b.g, &again, BLKTAP_OP_LAYOUTGET);
	CHECK(again.lg.sector_number == AT);
	CHECK_OK(granter_grant(&b.g, &again, &e, 1));
	CHECK(child_wait(child) == 0);
	scratch_expect(b.fd[RW], AT * 512, NR * 512, 0x55);
	bed_down(&b);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(lies_fail_the_tap),
	KTAP_CASE(odd_truths_are_believed),
	KTAP_CASE(extents_rewritten_while_the_kernel_reads),
	KTAP_CASE(a_grant_over_dirty_sectors_changes_nothing),
	KTAP_CASE(a_grant_computed_before_a_write_changes_nothing),
	KTAP_CASE(files_of_before_a_pause_are_not_known),
	KTAP_CASE(a_grant_given_while_a_pause_waits_is_asked_again),
};

KTAP_MAIN(cases, &state_checks)
