// SPDX-License-Identifier: GPL-2.0-only
/* What LAYOUTGET answers and LAYOUTCOMMIT does, one by one; and how often. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"

#define BLOCK		4096U
#define SECTORS		(9ULL * BLOCK + 5)	/* ten blocks, the last one in part */

struct call {
	struct image_request req;
	struct blktap_extent extents[BLKTAP_EXTENTS_MAX];
	bool done;
	int err;
};

static void call_done(struct image_request *req, int err)
{
	struct call *call = container_of(req, struct call, req);

	call->done = true;
	call->err = err;
}

static void call_init(struct call *call, unsigned int slot)
{
	call->req = (struct image_request){
		.slot = slot, .extents = call->extents, .done = call_done,
	};
	call->done = false;
}

static int call_wait(struct guest *guest, struct call *call)
{
	while (!call->done) {
		aio_submit(&guest->aio);
		if (!call->done)
			assert_int_equal(loop_turn(&guest->loop, 10000), 0);
	}
	return call->err;
}

static void get_begin(struct guest *guest, struct call *call, uint64_t sector, bool write)
{
	call->req.sector = sector;
	call->req.nr_sectors = 1;
	call->req.write = write;
	guest->image->driver->layout_get(guest->image, &call->req);
}

static int get(struct guest *guest, struct call *call, uint64_t sector, bool write)
{
	int err;

	call_init(call, 0);
	get_begin(guest, call, sector, write);
	err = call_wait(guest, call);
	if (!err)
		check_answer(guest->image, &call->req);
	return err;
}

static void range(struct call *call, uint64_t sector, uint64_t sectors)
{
	struct blktap_extent *ext = &call->extents[call->req.nr_extents++];

	ext->sector = sector;
	ext->nr_sectors = sectors;
}

static int commit(struct guest *guest, struct call *call)
{
	call->done = false;
	guest->image->driver->layout_commit(guest->image, &call->req);
	return call_wait(guest, call);
}

static int commit_one(struct guest *guest, uint64_t sector, uint64_t sectors)
{
	struct call call;

	call_init(&call, 1);
	range(&call, sector, sectors);
	return commit(guest, &call);
}

static void number_files(struct image *image)
{
	for (unsigned int i = 0; i < image->nr_layers; i++)
		image->layers[i].file = 100 - i;
}

static struct guest *begin(const char *type, const char *path, unsigned int flags)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	guest_open_path(guest, type, path, flags);
	number_files(guest->image);
	return guest;
}

static void end(struct guest *guest)
{
	guest_close(guest);
	guest_free(guest);
}

static void expect(const struct call *call, unsigned int i, uint64_t sector, uint64_t sectors,
		   uint32_t state)
{
	assert_true(i < call->req.nr_extents);
	assert_int_equal(call->extents[i].state, state);
	assert_int_equal(call->extents[i].sector, sector);
	assert_int_equal(call->extents[i].nr_sectors, sectors);
}

static void expect_whole(const char *type, const char *path)
{
	struct guest *guest = begin(type, path, 0);
	struct call call;

	for (int write = 0; write < 2; write++) {
		assert_int_equal(get(guest, &call, 777, write), 0);
		assert_int_equal(call.req.nr_extents, 1);
		expect(&call, 0, 0, SECTORS, BLKTAP_EXT_READ_WRITE_DATA);
		assert_int_equal(call.extents[0].offset, 0);
	}
	assert_int_equal(commit_one(guest, 5, 5), 0);
	end(guest);

	guest = begin(type, path, IMAGE_RDONLY);
	assert_int_equal(get(guest, &call, SECTORS - 1, false), 0);
	assert_int_equal(call.req.nr_extents, 1);
	expect(&call, 0, 0, SECTORS, BLKTAP_EXT_READ_DATA);
	end(guest);
}

static void test_flat_images(void **state)
{
	int fd = open("raw", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(ftruncate(fd, SECTORS * SECTOR_SIZE), 0);
	close(fd);
	expect_whole("aio", "raw");
	make_fixed("fixed", SECTORS);
	expect_whole("vhd", "fixed");
}

/* Nothing, then a block, then those that follow: more and more at a time. */
static void test_dynamic(void **state)
{
	struct guest *guest;
	struct call call;

	(void)state;
	make_dynamic("0", SECTORS);
	guest = begin("vhd", "0", 0);
	assert_int_equal(get(guest, &call, BLOCK + 9, false), 0);
	assert_int_equal(call.req.nr_extents, 1);
	expect(&call, 0, BLOCK, SECTORS - BLOCK, BLKTAP_EXT_NONE_DATA);

	assert_int_equal(get(guest, &call, 9, true), 0);
	assert_int_equal(call.req.nr_extents, 1);
	expect(&call, 0, 0, BLOCK, BLKTAP_EXT_READ_WRITE_DATA);
	assert_int_equal(get(guest, &call, BLOCK, true), 0);
	assert_int_equal(call.req.nr_extents, 2);
	assert_int_equal(get(guest, &call, 3 * BLOCK, true), 0);
	assert_int_equal(call.req.nr_extents, 4);
	expect(&call, 3, 6 * BLOCK, BLOCK, BLKTAP_EXT_READ_WRITE_DATA);
	assert_int_equal(get(guest, &call, 7 * BLOCK + 1, true), 0);
	assert_int_equal(call.req.nr_extents, 3);
	expect(&call, 2, 9 * BLOCK, 5, BLKTAP_EXT_READ_WRITE_DATA);
	end(guest);

	/* All of it again, its bitmaps being read first. */
	for (unsigned int flags = 0; flags <= IMAGE_RDONLY; flags++) {
		guest = begin("vhd", "0", flags);
		assert_int_equal(get(guest, &call, 5, false), 0);
		assert_int_equal(call.req.nr_extents, 10);
		expect(&call, 9, 9 * BLOCK, 5,
		       flags ? BLKTAP_EXT_READ_DATA : BLKTAP_EXT_READ_WRITE_DATA);
		end(guest);
	}
	check_image("0", false);
}

static struct guest *begin_child(void)
{
	make_dynamic("0", SECTORS);
	make_child("1", "0");
	return begin("vhd", "1", 0);
}

static void test_child(void **state)
{
	struct call call, again;
	struct guest *guest;

	(void)state;
	guest = begin_child();
	assert_int_equal(get(guest, &call, 3 * BLOCK + 50, true), 0);
	assert_int_equal(call.req.nr_extents, 2);
	expect(&call, 0, 3 * BLOCK, BLOCK, BLKTAP_EXT_NONE_DATA);
	expect(&call, 1, 3 * BLOCK, BLOCK, BLKTAP_EXT_INVALID_DATA);

	assert_int_equal(commit_one(guest, 3 * BLOCK + 100, 8), 0);
	assert_int_equal(commit_one(guest, 3 * BLOCK + 100, 8), 0);
	assert_int_equal(get(guest, &call, 3 * BLOCK, true), 0);
	assert_int_equal(call.req.nr_extents, 5);
	expect(&call, 1, 3 * BLOCK + 100, 8, BLKTAP_EXT_READ_WRITE_DATA);
	expect(&call, 4, 3 * BLOCK + 108, BLOCK - 108, BLKTAP_EXT_INVALID_DATA);
	assert_int_equal(call.extents[4].offset, call.extents[1].offset + 8 * SECTOR_SIZE);

	assert_int_equal(get(guest, &again, 3 * BLOCK, true), 0);
	assert_memory_equal(call.extents, again.extents, 5 * sizeof(call.extents[0]));
	end(guest);

	guest = begin("vhd", "1", 0);
	assert_int_equal(get(guest, &again, 3 * BLOCK, true), 0);
	assert_memory_equal(call.extents, again.extents, 5 * sizeof(call.extents[0]));
	assert_int_equal(get(guest, &call, 3 * BLOCK, false), 0);
	assert_int_equal(call.req.nr_extents, 3);
	end(guest);
	check_image("1", false);
}

/* Sectors by turns: more extents than there is room for. */
static void test_fragments(void **state)
{
	struct guest *guest = begin_child();
	struct call call;

	(void)state;
	assert_int_equal(get(guest, &call, 0, true), 0);
	assert_int_equal(get(guest, &call, BLOCK, true), 0);
	for (unsigned int i = 0; i < 2 * BLOCK; i += 2) {
		if (i % (2 * BLKTAP_EXTENTS_MAX) == 0)
			call_init(&call, 1);
		range(&call, i, 1);
		if (call.req.nr_extents == BLKTAP_EXTENTS_MAX)
			assert_int_equal(commit(guest, &call), 0);
	}
	for (uint64_t i = 0; i < 2 * BLOCK; i += 1 + i % 7) {
		assert_int_equal(get(guest, &call, i, i % 3 == 0), 0);
		assert_true(call.req.nr_extents >= BLKTAP_EXTENTS_MAX - 1 || i > BLOCK);
	}
	end(guest);
	check_image("1", false);
}

/* One range over several blocks, and several in one, in any order. */
static void test_commit_of_many(void **state)
{
	struct guest *guest = begin_child();
	struct call call;

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(get(guest, &call, i * BLOCK, true), 0);
	call_init(&call, 1);
	range(&call, 2 * BLOCK + 5, 3);
	range(&call, 10, 3 * BLOCK - 1000);
	range(&call, 2 * BLOCK + 5, 1);
	range(&call, 0, 10);
	range(&call, 3 * BLOCK - 990, 990);
	assert_int_equal(commit(guest, &call), 0);
	assert_int_equal(get(guest, &call, 0, true), 0);
	for (unsigned int i = 0; i < 3; i++)
		expect(&call, i, i * BLOCK, BLOCK, BLKTAP_EXT_READ_WRITE_DATA);
	end(guest);
	check_image("1", false);
}

static void test_refusals(void **state)
{
	struct guest *guest = begin_child();
	struct call call;

	(void)state;
	call_init(&call, 1);
	assert_int_equal(commit(guest, &call), 0);
	assert_int_equal(commit_one(guest, 0, 1), -EINVAL);
	assert_int_equal(get(guest, &call, 0, true), 0);
	assert_int_equal(commit_one(guest, 0, 0), -EINVAL);
	assert_int_equal(commit_one(guest, 0, SECTORS + 1), -EINVAL);
	assert_int_equal(commit_one(guest, SECTORS, 1), -EINVAL);
	assert_int_equal(commit_one(guest, UINT64_MAX, 2), -EINVAL);
	assert_int_equal(commit_one(guest, BLOCK - 1, 2), -EINVAL);
	end(guest);

	guest = begin("vhd", "1", IMAGE_RDONLY);
	assert_int_equal(get(guest, &call, 0, true), -EROFS);
	assert_int_equal(commit_one(guest, 0, 1), -EROFS);
	assert_int_equal(get(guest, &call, 0, false), 0);
	for (unsigned int i = 0; i < call.req.nr_extents; i++)
		assert_in_set(call.extents[i].state,
			      ((uintmax_t[]){ BLKTAP_EXT_READ_DATA, BLKTAP_EXT_NONE_DATA }), 2);
	end(guest);
}

static int fail_writes(struct aio_hook *hook, struct aio_op *op)
{
	(void)hook;
	return op->kind == AIO_WRITE ? -EIO : 0;
}

static void ignore_end(struct aio_hook *hook, struct aio_op *op, int err)
{
	(void)hook;
	(void)op;
	(void)err;
}

/* What could not be written is not granted as if it had been. */
static void test_commit_fails(void **state)
{
	struct aio_hook hook = { fail_writes, ignore_end };
	struct guest *guest = begin_child();
	struct call call;

	(void)state;
	assert_int_equal(get(guest, &call, 0, true), 0);
	guest->aio.hook = &hook;
	assert_int_equal(commit_one(guest, 0, 8), -EIO);
	assert_int_equal(get(guest, &call, BLOCK, true), -EIO);
	guest->aio.hook = NULL;
	assert_int_equal(get(guest, &call, 0, true), 0);
	expect(&call, 1, 0, BLOCK, BLKTAP_EXT_INVALID_DATA);
	assert_int_equal(commit_one(guest, 0, 8), 0);
	assert_int_equal(get(guest, &call, 0, true), 0);
	expect(&call, 0, 0, 8, BLKTAP_EXT_READ_WRITE_DATA);
	end(guest);
	check_image("1", false);
}

/* As many at a time as there are slots, on the same few blocks. */
static void test_all_at_once(void **state)
{
	struct guest *guest = begin_child();
	struct call *calls = calloc(IMAGE_SLOTS, sizeof(*calls));

	(void)state;
	for (unsigned int round = 0; round < 50; round++) {
		for (unsigned int i = 0; i < IMAGE_SLOTS; i++) {
			call_init(&calls[i], i);
			get_begin(guest, &calls[i], guest_random(guest, SECTORS), i % 3);
		}
		for (unsigned int i = 0; i < IMAGE_SLOTS; i++) {
			assert_int_equal(call_wait(guest, &calls[i]), 0);
			check_answer(guest->image, &calls[i].req);
		}
		for (unsigned int i = 0; i < IMAGE_SLOTS; i++) {
			uint64_t sector = calls[i].req.sector;

			call_init(&calls[i], i);
			if (i % 3)
				range(&calls[i], sector, 1);
			guest->image->driver->layout_commit(guest->image, &calls[i].req);
		}
		for (unsigned int i = 0; i < IMAGE_SLOTS; i++)
			assert_int_equal(call_wait(guest, &calls[i]), 0);
	}
	end(guest);
	free(calls);
	check_image("1", false);
}

static void write_all(struct guest *guest, uint32_t step)
{
	for (uint64_t i = 0; i + step <= SECTORS; i += step)
		guest_submit(guest, GUEST_WRITE, i, step);
	guest_drain(guest);
}

/* A block is asked for once, as it is written; then there are no upcalls. */
static void test_upcalls(void **state)
{
	struct guest *guest;
	unsigned int n;

	(void)state;
	make_dynamic("0", SECTORS);
	guest = begin("vhd", "0", 0);
	kernel_begin(guest);
	kernel_remembers(guest);
	guest->no_trims = true;
	write_all(guest, 64);
	n = kernel_upcalls(guest);
	assert_in_range(n, 1, 10);
	guest_run(guest, 500, 50);
	assert_int_equal(kernel_upcalls(guest), n);
	end(guest);
}

/* Counts reads that begin before the first one ends. */
struct read_counter {
	struct aio_hook hook;
	unsigned int reads;
	bool ended;
};

static int count_begin(struct aio_hook *hook, struct aio_op *op)
{
	struct read_counter *counter = container_of(hook, struct read_counter, hook);

	counter->reads += op->kind == AIO_READ && !counter->ended;
	return 0;
}

static void count_end(struct aio_hook *hook, struct aio_op *op, int err)
{
	(void)op;
	(void)err;
	container_of(hook, struct read_counter, hook)->ended = true;
}

#define DEPTH	30

/* A miss on a deep chain takes one round trip: all bitmaps are read at once. */
static void test_deep_chain(void **state)
{
	struct read_counter counter = { .hook = { count_begin, count_end } };
	struct guest *guest = guest_new(SECTORS, test_seed());
	char name[PATH_MAX + 16], child[16], parent[16];
	struct call call;

	(void)state;
	for (unsigned int i = 0; i < DEPTH; i++) {
		snprintf(child, sizeof(child), "%u", i);
		snprintf(parent, sizeof(parent), "%u", i - 1);
		if (i)
			make_child(child, parent);
		else
			make_dynamic(child, SECTORS);
		snprintf(name, sizeof(name), "vhd:%s/%s", *(char **)state, child);
		guest_open(guest, name, 0);
		guest_submit(guest, GUEST_WRITE, 8 * i, 8);
		guest_close(guest);
	}

	for (int ring = 0; ring < 2; ring++) {
		guest_open(guest, name, 0);
		number_files(guest->image);
		counter.reads = 0;
		counter.ended = false;
		guest->aio.hook = &counter.hook;
		if (ring) {
			assert_true(guest_submit(guest, GUEST_READ, 0, 8));
			guest_drain(guest);
		} else {
			assert_int_equal(get(guest, &call, 0, false), 0);
			assert_int_equal(call.req.nr_extents, DEPTH + 2);
		}
		assert_int_equal(counter.reads, DEPTH);
		guest->aio.hook = NULL;
		guest_drop(guest);
	}
	guest_free(guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_flat_images),
		unit(test_dynamic),
		unit(test_child),
		unit(test_fragments),
		unit(test_commit_of_many),
		unit(test_refusals),
		unit(test_commit_fails),
		unit(test_all_at_once),
		unit(test_upcalls),
		unit(test_deep_chain),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
