// SPDX-License-Identifier: GPL-2.0-only
/* Trim: what becomes of blocks, of the file's space, and of what is beneath. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"

#define BLOCK		4096U
#define BLOCKS		12U
#define SECTORS		((BLOCKS - 1ULL) * BLOCK + 9)
#define BLOCK_BYTES	(BLOCK * SECTOR_SIZE)

static void reopen(struct guest *guest, const char *path)
{
	guest_close(guest);
	check_image(path, false);
	guest_open_path(guest, "vhd", path, 0);
}

static void write_range(struct guest *guest, uint64_t sector, uint64_t sectors)
{
	while (sectors) {
		uint32_t n = sectors < IMAGE_SECTORS_MAX ? (uint32_t)sectors : IMAGE_SECTORS_MAX;

		assert_true(guest_submit(guest, GUEST_WRITE, sector, n));
		sector += n;
		sectors -= n;
	}
	guest_drain(guest);
}

/* From the last one on: then none are allocated ahead. */
static void write_blocks(struct guest *guest, unsigned int n)
{
	for (unsigned int i = n; i-- > 0;)
		write_range(guest, i * BLOCK, 1);
	write_range(guest, 0, (uint64_t)n * BLOCK);
}

static void trim(struct guest *guest, uint64_t sector, uint64_t sectors)
{
	assert_true(guest_submit(guest, GUEST_TRIM, sector, (uint32_t)sectors));
	guest_drain(guest);
}

/* From now on the model wants zeroes there. */
static void expect_zeroes(struct guest *guest, uint64_t sector, uint64_t sectors)
{
	memset(&guest->stamps[sector], 0, sectors * sizeof(*guest->stamps));
	memset(&guest->trimmed[sector], 0, sectors);
	guest_verify(guest);
}

static uint64_t space(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static uint64_t size(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

static unsigned int blocks(const char *path)
{
	struct vhd_error error;
	unsigned int n = 0;
	struct vhd *vhd;

	assert_int_equal(vhd_open(&vhd, path, VHD_OPEN_NOLOCK, &error), 0);
	for (uint32_t i = 0; i < vhd->bat_entries; i++)
		n += vhd_block_allocated(vhd, i);
	vhd_close(vhd);
	return n;
}

/* Whole blocks go, with their space; what is around them stays. */
static void test_whole_blocks(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	uint64_t before;

	(void)state;
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	write_range(guest, 0, SECTORS);
	before = space("0");
	assert_int_equal(blocks("0"), BLOCKS);

	trim(guest, 3 * BLOCK - 8, 5 * BLOCK + 16);
	assert_int_equal(blocks("0"), BLOCKS - 5);
	assert_true(space("0") <= before - 5 * BLOCK_BYTES);
	expect_zeroes(guest, 3 * BLOCK, 5 * BLOCK);
	trim(guest, 0, SECTORS);
	assert_int_equal(blocks("0"), 0);
	assert_true(space("0") < BLOCK_BYTES);
	expect_zeroes(guest, 0, SECTORS);
	reopen(guest, "0");
	guest_verify(guest);
	guest_close(guest);
	guest_free(guest);
}

/* The last block is whole where the disk ends. */
static void test_last_block(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	write_range(guest, SECTORS - 9, 9);
	trim(guest, SECTORS - 9, 8);
	assert_int_equal(blocks("0"), 1);
	trim(guest, SECTORS - 8, 8);
	assert_int_equal(blocks("0"), 1);
	trim(guest, SECTORS - 9, 9);
	assert_int_equal(blocks("0"), 0);
	guest_close(guest);
	guest_free(guest);
}

/* New blocks go where blocks were, in this session and the next; as zeroes. */
static void test_places_are_used_again(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	uint64_t bytes;

	(void)state;
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	write_blocks(guest, 9);
	bytes = size("0");
	for (unsigned int i = 0; i < 3; i++) {
		trim(guest, 2 * BLOCK, 5 * BLOCK);
		expect_zeroes(guest, 2 * BLOCK, 5 * BLOCK);
		if (i)
			reopen(guest, "0");
		for (uint64_t block = 2; block < 7; block++)
			write_range(guest, (i % 2 ? block : 8 - block) * BLOCK + 77, 9);
		guest_verify(guest);
		assert_int_equal(size("0"), bytes);
	}
	write_range(guest, 9 * BLOCK, 9);
	assert_true(size("0") > bytes);
	reopen(guest, "0");
	guest_verify(guest);
	guest_close(guest);
	guest_free(guest);
}

/* Space of whole pages; what shares a page with them is not touched. */
static void test_part_of_a_block(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	uint64_t before;

	(void)state;
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	write_blocks(guest, 2);
	before = space("0");
	trim(guest, 1003, 2001);
	assert_int_equal(blocks("0"), 2);
	assert_true(space("0") <= before - 1900 * SECTOR_SIZE);
	expect_zeroes(guest, 1008, 1992);
	reopen(guest, "0");
	guest_verify(guest);
	guest_close(guest);
	guest_free(guest);
}

/* What a child hides of its parent it hides still; what it does not have is kept. */
static void test_child(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	uint64_t before, parent;

	(void)state;
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	write_range(guest, 0, 3 * BLOCK);
	guest_close(guest);
	parent = space("0");
	make_child("1", "0");
	guest_open_path(guest, "vhd", "1", 0);
	write_range(guest, 2 * BLOCK, BLOCK);
	write_range(guest, BLOCK + 800, 1600);
	assert_true(guest_submit(guest, GUEST_FLUSH, 0, 0));
	guest_drain(guest);
	before = space("1");

	trim(guest, 0, 3 * BLOCK);
	assert_int_equal(blocks("1"), 2);
	assert_true(space("1") <= before - (1600 + BLOCK) * SECTOR_SIZE);
	memset(guest->trimmed, 0, SECTORS);
	memset(&guest->stamps[BLOCK + 800], 0, 1600 * sizeof(*guest->stamps));
	expect_zeroes(guest, 2 * BLOCK, BLOCK);
	reopen(guest, "1");
	guest_verify(guest);
	guest_close(guest);
	assert_int_equal(space("0"), parent);
	guest_free(guest);
}

/* No bit of the batmap is left set for a block that is not there. */
static void test_batmap(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	add_batmap("0");
	guest_open_path(guest, "vhd", "0", 0);
	write_blocks(guest, 8);
	guest_close(guest);
	set_batmap("0");
	guest_open_path(guest, "vhd", "0", 0);
	trim(guest, 2 * BLOCK, 3 * BLOCK);
	assert_int_equal(blocks("0"), 5);
	expect_zeroes(guest, 2 * BLOCK, 3 * BLOCK);
	reopen(guest, "0");
	guest_verify(guest);
	guest_close(guest);
	guest_free(guest);
}

/* A fixed image keeps the space that was reserved for it. */
static void test_not_offered(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_fixed("fixed", SECTORS);
	guest_open_path(guest, "vhd", "fixed", 0);
	assert_false(guest->image->trim);
	guest_close(guest);
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	assert_true(guest->image->trim);
	assert_false(guest->image->trim_zeroes);
	guest_close(guest);
	guest_free(guest);
}

/* A disk whose blocks are all there, holes in a large file. */
static void make_full(const char *path, uint32_t nr)
{
	uint8_t footer[SECTOR_SIZE], sector[SECTOR_SIZE];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct vhd_error error;
	struct vhd *vhd;
	uint64_t end;

	assert_int_equal(vhd_open(&vhd, path, 0, &error), 0);
	end = vhd->next_free;
	for (uint32_t i = 0; i < nr; i++) {
		uint64_t offset;

		assert_int_equal(vhd_place_block(vhd, end, &offset), 0);
		vhd->bat[i] = (uint32_t)(offset / SECTOR_SIZE);
		end = offset + vhd_block_span(vhd);
	}
	for (uint32_t i = 0; i < nr; i += SECTOR_SIZE / 4) {
		vhd_bat_sector_encode(vhd, i, sector);
		assert_int_equal(pwrite(fd, sector, SECTOR_SIZE,
					(off_t)vhd_bat_sector_offset(vhd, i)), SECTOR_SIZE);
	}
	vhd_footer_encode(&vhd->footer, footer);
	assert_int_equal(pwrite(fd, footer, SECTOR_SIZE, (off_t)end), SECTOR_SIZE);
	vhd_close(vhd);
	close(fd);
	check_image(path, false);
}

struct call {
	struct image_request req;
	struct blktap_extent extents[BLKTAP_EXTENTS_MAX];
	bool done;
};

static void call_done(struct image_request *req, int err)
{
	assert_int_equal(err, 0);
	container_of(req, struct call, req)->done = true;
}

static void call_init(struct call *call, unsigned int slot, uint64_t sector, uint64_t sectors)
{
	call->req = (struct image_request){
		.slot = slot, .sector = sector, .nr_sectors = sectors, .write = true,
		.extents = call->extents, .done = call_done,
	};
	call->done = false;
}

/* All at once, several batches; meanwhile blocks are asked for that have gone. */
static void test_many_blocks(void **state)
{
	const uint32_t nr = 20000;
	struct guest *guest = guest_new((uint64_t)nr * BLOCK, test_seed());
	struct call *trim_call = calloc(1, sizeof(*trim_call));
	struct call *get = calloc(1, sizeof(*get));
	unsigned int gets = 0;

	(void)state;
	make_dynamic("0", (uint64_t)nr * BLOCK);
	make_full("0", nr);
	guest_open_path(guest, "vhd", "0", 0);
	call_init(trim_call, 0, 0, (uint64_t)nr * BLOCK);
	guest->image->driver->trim(guest->image, &trim_call->req);
	get->done = true;
	while (!trim_call->done || !get->done || guest->image->busy) {
		if (get->done && !trim_call->done) {
			call_init(get, 1, gets++ * 100ULL * BLOCK, 1);
			guest->image->driver->layout_get(guest->image, &get->req);
		}
		aio_submit(&guest->aio);
		if (!trim_call->done || !get->done || guest->image->busy)
			assert_int_equal(loop_turn(&guest->loop, 10000), 0);
	}
	assert_true(gets > 3);
	guest_close(guest);
	guest_free(guest);
	check_image("0", false);
	assert_in_range(blocks("0"), 1, gets);
	free(trim_call);
	free(get);
}

/* A block that is being released is in no answer. */
static void test_no_grant_of_what_goes(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	struct call *get = calloc(1, sizeof(*get));

	(void)state;
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	write_blocks(guest, 6);
	assert_true(guest_submit(guest, GUEST_TRIM, 2 * BLOCK, 2 * BLOCK));
	call_init(get, 31, 0, 1);
	get->req.write = false;
	guest->image->driver->layout_get(guest->image, &get->req);
	guest_drain(guest);
	assert_true(get->done);
	assert_true(get->req.nr_extents >= 4);
	assert_int_equal(get->extents[2].state, BLKTAP_EXT_NONE_DATA);
	assert_int_equal(get->extents[2].sector, 2 * BLOCK);
	assert_int_equal(get->extents[2].nr_sectors, 2 * BLOCK);
	guest_close(guest);
	guest_free(guest);
	free(get);
}

static void trim_directly(struct guest *guest, uint64_t sector, uint64_t sectors)
{
	struct call *call = calloc(1, sizeof(*call));

	call_init(call, 31, sector, sectors);
	guest->image->driver->trim(guest->image, &call->req);
	while (!call->done) {
		aio_submit(&guest->aio);
		if (!call->done)
			assert_int_equal(loop_turn(&guest->loop, 10000), 0);
	}
	guest_drain(guest);
	free(call);
}

/* A place that a write is on its way to is not given away. */
static void test_write_in_flight(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	write_blocks(guest, 3);
	assert_true(guest_submit(guest, GUEST_WRITE, BLOCK + 8, 8));
	trim_directly(guest, BLOCK, BLOCK);
	assert_int_equal(blocks("0"), 3);
	trim_directly(guest, BLOCK, BLOCK);
	assert_int_equal(blocks("0"), 2);
	guest_close(guest);
	guest_free(guest);
}

/* Neither is one whose bitmap is to be written. */
static void test_dirty_bitmap(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	uint8_t bits[SECTOR_SIZE] = { 0 };
	struct vhd_error error;
	struct vhd *vhd;
	int fd;

	(void)state;
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	write_blocks(guest, 2);
	guest_close(guest);
	assert_int_equal(vhd_open(&vhd, "0", 0, &error), 0);
	fd = open("0", O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, bits, sizeof(bits), (off_t)vhd_bitmap_offset(vhd, 1)),
			 sizeof(bits));
	close(fd);
	vhd_close(vhd);

	guest_open_path(guest, "vhd", "0", 0);
	write_range(guest, BLOCK + 8, 8);
	trim(guest, 0, 2 * BLOCK);
	assert_int_equal(blocks("0"), 1);
	assert_true(guest_submit(guest, GUEST_FLUSH, 0, 0));
	guest_drain(guest);
	trim(guest, 0, 2 * BLOCK);
	assert_int_equal(blocks("0"), 0);
	expect_zeroes(guest, 0, 2 * BLOCK);
	guest_close(guest);
	check_image("0", false);
	guest_free(guest);
}

/* A sync that fails: the places are not used again. */
struct fail_sync {
	struct aio_hook hook;
	unsigned int punches;
};

static int fail_sync(struct aio_hook *hook, struct aio_op *op)
{
	struct fail_sync *f = container_of(hook, struct fail_sync, hook);

	f->punches += op->kind == AIO_PUNCH;
	return op->kind == AIO_SYNC ? -EIO : 0;
}

static void ignore_end(struct aio_hook *hook, struct aio_op *op, int err)
{
	(void)hook;
	(void)op;
	(void)err;
}

static void test_sync_fails(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	struct fail_sync f = { .hook = { fail_sync, ignore_end } };
	uint64_t bytes;

	(void)state;
	make_dynamic("0", SECTORS);
	guest_open_path(guest, "vhd", "0", 0);
	write_blocks(guest, 4);
	bytes = size("0");
	guest->aio.hook = &f.hook;
	guest->faulty = true;
	trim(guest, BLOCK, 2 * BLOCK);
	assert_int_equal(f.punches, 0);
	guest->aio.hook = NULL;
	write_range(guest, 8 * BLOCK, 8);
	assert_true(size("0") > bytes);
	guest_drop(guest);
	check_image("0", false);
	guest_free(guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_whole_blocks),
		unit(test_last_block),
		unit(test_places_are_used_again),
		unit(test_part_of_a_block),
		unit(test_child),
		unit(test_batmap),
		unit(test_not_offered),
		unit(test_many_blocks),
		unit(test_no_grant_of_what_goes),
		unit(test_write_in_flight),
		unit(test_dirty_bitmap),
		unit(test_sync_fails),
		layout(test_whole_blocks),
		layout(test_last_block),
		layout(test_places_are_used_again),
		layout(test_part_of_a_block),
		layout(test_child),
		layout(test_batmap),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
