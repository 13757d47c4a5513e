// SPDX-License-Identifier: GPL-2.0-only
/*
 * Power cuts: a guest works on an image, all that is done to the file is
 * recorded, and every moment of it is a power cut, with various parts of what
 * was not certain to be on the disk. In each state the image must open without
 * damage, hold what was flushed, and hold nothing that was never written there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record.h"

#define BLOCK_SECTORS	4096U
#define SECTORS		(5ULL * BLOCK_SECTORS + 9)
#define STATES		250	/* verified of a record, about */
#define CHOICES		(CUT_ALL_BUT_ONE + 1)

/* Mostly a block or two; or a part of one. */
static void trim(struct guest *guest)
{
	uint64_t spot = guest_random(guest, 5) * BLOCK_SECTORS;
	uint32_t n = (1 + (uint32_t)guest_random(guest, 2)) * BLOCK_SECTORS;

	if (!guest_random(guest, 3)) {
		spot += 1500 - spot % 1500;
		n = 1000;
	}
	if (spot + n > SECTORS)
		n = (uint32_t)(SECTORS - spot);
	guest_submit(guest, GUEST_TRIM, spot, n);
}

/* Few places, so that they are written again and again. */
static void work(struct guest *guest, unsigned int rounds)
{
	for (unsigned int i = 0; i < rounds; i++) {
		uint64_t spot = guest_random(guest, 14) * 1500;
		uint32_t n = 1 + (uint32_t)guest_random(guest, IMAGE_SECTORS_MAX);

		if (spot + n > SECTORS)
			spot = SECTORS - n;
		guest_submit(guest, GUEST_WRITE, spot, n);
		if (!guest_random(guest, 5))
			trim(guest);
		if (!guest_random(guest, 5))
			guest_submit(guest, GUEST_FLUSH, 0, 0);
		for (uint64_t turns = guest_random(guest, 3); turns; turns--)
			guest_turn(guest);
	}
	guest_drain(guest);
}

/* Blocks are released, and used again at once. */
static void release_and_reuse(struct guest *guest, unsigned int rounds)
{
	for (unsigned int i = 0; i < rounds; i++) {
		uint64_t block = guest_random(guest, 5) * BLOCK_SECTORS;

		guest_submit(guest, GUEST_TRIM, block, BLOCK_SECTORS);
		if (guest_random(guest, 2))
			guest_drain(guest);
		guest_submit(guest, GUEST_WRITE, block + 1500, 8);
		guest_drain(guest);
	}
}

static void check_sector(struct guest_io *io, const struct record *record, uint32_t time,
			 const uint32_t *initial, uint64_t i)
{
	uint64_t sector = io->req.sector + i;
	uint32_t stamp = sector_stamp(io->data + i * SECTOR_SIZE, sector);

	if (stamp == NO_STAMP)
		fail_msg("cut at %u: sector %llu is garbage", time, (unsigned long long)sector);
	if (!record_allows(record, time, sector, initial[sector], stamp))
		fail_msg("cut at %u: sector %llu reads as write %u, which it may not", time,
			 (unsigned long long)sector, stamp);
}

struct verifier {
	struct guest_watch watch;
	const struct record *record;
	const uint32_t *initial;
	uint32_t time;
};

static void verify_submit(struct guest_watch *watch, struct guest_io *io)
{
	(void)watch;
	(void)io;
}

static void verify_done(struct guest_watch *watch, struct guest_io *io, int err)
{
	struct verifier *v = container_of(watch, struct verifier, watch);

	assert_int_equal(err, 0);
	if (io->op != GUEST_READ)
		return;
	for (uint64_t i = 0; i < io->req.nr_sectors; i++) {
		check_sector(io, v->record, v->time, v->initial, i);
		/* For the guest's own check: it has no opinion. */
		io->expect[i] = sector_stamp(io->data + i * SECTOR_SIZE, io->req.sector + i);
	}
}

static void verify_state(struct guest *reader, const struct record *record, uint32_t time,
			 const uint32_t *initial)
{
	struct verifier verifier = {
		.watch = { verify_submit, verify_done },
		.record = record, .initial = initial, .time = time,
	};

	check_image("state", true);
	guest_open_path(reader, "vhd", "state", IMAGE_RDONLY);
	reader->watch = &verifier.watch;
	for (uint64_t spot = 0; spot < SECTORS; spot += 750) {
		uint64_t left = SECTORS - spot;
		uint32_t n = left < IMAGE_SECTORS_MAX ? (uint32_t)left : IMAGE_SECTORS_MAX;

		guest_submit(reader, GUEST_READ, spot, n);
	}
	guest_drop(reader);
	reader->watch = NULL;
}

/* A write to a sector that the record leaves alone, in a block that may be new. */
static void verify_goes_on(struct guest *guest, const uint32_t *initial)
{
	const uint64_t spot = 4 * BLOCK_SECTORS + 2000;

	guest_open_path(guest, "vhd", "state", 0);
	guest->stamps[spot] = initial[spot];
	guest->trimmed[spot] = true;
	guest_submit(guest, GUEST_READ, spot, 1);
	guest_drain(guest);
	guest_submit(guest, GUEST_WRITE, spot, 1);
	guest_drain(guest);
	guest_submit(guest, GUEST_READ, spot, 1);
	guest_close(guest);
	check_image("state", false);
}

/* A state is verified as it is, and some after they were written to. */
static void verify_cut(struct guest *random, struct guest *reader, const struct record *record,
		       uint32_t time, enum cut_choice choice, const uint32_t *initial)
{
	record_cut(record, time, choice, random, "state");
	verify_state(reader, record, time, initial);
	if (guest_random(random, 4))
		return;
	verify_goes_on(reader, initial);
	verify_state(reader, record, time, initial);
}

static void verify_record(struct guest *random, const struct record *record,
			  const uint32_t *initial)
{
	struct guest *reader = guest_new(SECTORS, 0);
	uint64_t stride = 1 + 2ULL * record->now * CHOICES / STATES;

	for (uint32_t time = 0; time <= record->now; time += 1 + guest_random(random, stride))
		for (enum cut_choice choice = 0; choice < CHOICES; choice++)
			verify_cut(random, reader, record, time, choice, initial);
	guest_free(reader);
}

static void cut_power(struct guest *guest, const char *path,
		      void (*work)(struct guest *guest, unsigned int rounds), unsigned int rounds)
{
	uint32_t *initial = malloc(SECTORS * sizeof(*initial));
	struct record *record = record_begin(guest, path);

	memcpy(initial, guest->stamps, SECTORS * sizeof(*initial));
	guest_open_path(guest, "vhd", path, 0);
	work(guest, rounds);
	guest_drop(guest);
	guest->watch = NULL;
	guest->aio.hook = NULL;
	verify_record(guest, record, initial);
	record_free(record);
	free(initial);
}

static void test_dynamic(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	cut_power(guest, "0", work, 40);
	guest_free(guest);
}

static void fill(struct guest *guest, const char *path)
{
	guest_open_path(guest, "vhd", path, 0);
	guest->no_trims = true;
	guest_run(guest, 100, 100);
	guest_close(guest);
}

static void test_differencing(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	fill(guest, "0");
	make_child("1", "0");
	cut_power(guest, "1", work, 80);
	guest_free(guest);
}

/* All blocks are there when it begins: they are released and used again. */
static void test_dynamic_in_use(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	fill(guest, "0");
	cut_power(guest, "0", work, 60);
	guest_free(guest);
}

/* The same with a map of the full blocks, as XenServer's images have. */
static void test_dynamic_with_batmap(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	add_batmap("0");
	fill(guest, "0");
	set_batmap("0");
	cut_power(guest, "0", work, 60);
	guest_free(guest);
}

/* Sectors that were never written, in blocks that are there: junk, not to be seen. */
static void clear_bits(struct guest *guest, const char *path)
{
	uint8_t bits[SECTOR_SIZE], junk[SECTOR_SIZE];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct vhd_error error;
	struct vhd *vhd;

	assert_int_equal(vhd_open(&vhd, path, 0, &error), 0);
	memset(junk, 0xa5, sizeof(junk));
	for (uint32_t block = 0; block < vhd->bat_entries; block++) {
		if (!vhd_block_allocated(vhd, block))
			continue;
		memset(bits, 0xff, sizeof(bits));
		for (uint32_t i = block * 3; i < BLOCK_SECTORS; i += 10) {
			vhd_bitmap_clear(bits, i, 1);
			assert_int_equal(pwrite(fd, junk, sizeof(junk),
						(off_t)(vhd_data_offset(vhd, block) +
							i * SECTOR_SIZE)), sizeof(junk));
			if (block * BLOCK_SECTORS + i < SECTORS)
				guest->stamps[block * BLOCK_SECTORS + i] = 0;
		}
		assert_int_equal(pwrite(fd, bits, sizeof(bits),
					(off_t)vhd_bitmap_offset(vhd, block)), sizeof(bits));
	}
	vhd_close(vhd);
	close(fd);
}

static void test_dynamic_with_clear_bits(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	fill(guest, "0");
	clear_bits(guest, "0");
	cut_power(guest, "0", release_and_reuse, 5);
	guest_free(guest);
}

/* Some blocks are there when it begins. */
static void test_differencing_in_use(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	fill(guest, "0");
	make_child("1", "0");
	guest_open_path(guest, "vhd", "1", 0);
	guest_run_in(guest, 30, 100, 0, 3 * BLOCK_SECTORS);
	guest_close(guest);
	cut_power(guest, "1", work, 80);
	guest_free(guest);
}

static void put_junk_before_footer(const char *path)
{
	size_t bytes = 3 << 20;
	uint8_t footer[SECTOR_SIZE], *junk = malloc(bytes);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	memset(junk, 0xa5, bytes);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pread(fd, footer, sizeof(footer), st.st_size - SECTOR_SIZE),
			 sizeof(footer));
	assert_int_equal(pwrite(fd, junk, bytes, st.st_size - SECTOR_SIZE), bytes);
	assert_int_equal(pwrite(fd, footer, sizeof(footer), st.st_size - SECTOR_SIZE + bytes),
			 sizeof(footer));
	close(fd);
	free(junk);
}

/* What an earlier power cut has left before the footer is not to be seen. */
static void test_dynamic_after_a_cut(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	put_junk_before_footer("0");
	cut_power(guest, "0", work, 40);
	guest_free(guest);
}

/* QEMU's blocks are where they fall: a new one's bitmap is over the old footer. */
static void test_made_by_qemu(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	if (system("qemu-img create -q -f vpc -o force_size=on 0 10490368 >/dev/null 2>&1")) {
		guest_free(guest);
		skip();
	}
	cut_power(guest, "0", work, 40);
	guest_free(guest);
}

/* Operations that fail, and then the power. */
struct breaker {
	struct aio_hook hook;
	struct record *record;
	unsigned int seen;
	unsigned int period;
};

static int break_begin(struct aio_hook *hook, struct aio_op *op)
{
	struct breaker *breaker = container_of(hook, struct breaker, hook);
	int err = breaker->record->hook.begin(&breaker->record->hook, op);

	if (op->kind == AIO_WRITE && ++breaker->seen % breaker->period == 0)
		err = -ENOSPC;
	return err;
}

static void break_end(struct aio_hook *hook, struct aio_op *op, int err)
{
	struct breaker *breaker = container_of(hook, struct breaker, hook);

	breaker->record->hook.end(&breaker->record->hook, op, err);
}

static void run_breaking(const char *path, struct guest *guest, unsigned int period)
{
	uint32_t *initial = malloc(SECTORS * sizeof(*initial));
	struct breaker breaker = {
		.hook = { break_begin, break_end },
		.record = record_begin(guest, path),
		.period = period,
	};

	memcpy(initial, guest->stamps, SECTORS * sizeof(*initial));
	guest->aio.hook = &breaker.hook;
	guest->faulty = true;
	guest_open_path(guest, "vhd", path, 0);
	work(guest, 40);
	guest_drop(guest);
	guest->watch = NULL;
	guest->aio.hook = NULL;
	assert_true(guest->failed > 0);
	verify_record(guest, breaker.record, initial);
	record_free(breaker.record);
	free(initial);
}

static void test_failures_and_cuts(void **state)
{
	(void)state;
	for (unsigned int period = 3; period < 8; period += 2) {
		struct guest *guest = guest_new(SECTORS, test_seed());

		make_dynamic("0", SECTORS);
		run_breaking("0", guest, period);
		guest->faulty = false;
		guest_free(guest);

		guest = guest_new(SECTORS, test_seed());
		unlink("0");
		make_dynamic("0", SECTORS);
		fill(guest, "0");
		make_child("1", "0");
		run_breaking("1", guest, period);
		guest_free(guest);
		unlink("0");
		unlink("1");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_dynamic),
		unit(test_dynamic_in_use),
		unit(test_dynamic_with_batmap),
		unit(test_dynamic_with_clear_bits),
		unit(test_differencing),
		unit(test_differencing_in_use),
		unit(test_dynamic_after_a_cut),
		unit(test_made_by_qemu),
		unit(test_failures_and_cuts),
		layout(test_dynamic),
		layout(test_dynamic_in_use),
		layout(test_dynamic_with_batmap),
		layout(test_dynamic_with_clear_bits),
		layout(test_differencing),
		layout(test_differencing_in_use),
		layout(test_dynamic_after_a_cut),
		layout(test_made_by_qemu),
		layout(test_failures_and_cuts),
	};

	/* What is durable is ours to say: no need to wait for a disk. */
	if (!access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 0);
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
