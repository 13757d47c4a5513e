// SPDX-License-Identifier: GPL-2.0-only
/* What the kernel is told over the ring of I/O that has failed. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../tap.h"
#include "guest.h"

#define SECTORS		(2ULL * 4096)
#define SLOT		3

/* I/O of one kind fails for a while. */
struct failing {
	struct aio_hook hook;
	enum aio_kind kind;
	int err;
};

static int failing_begin(struct aio_hook *hook, struct aio_op *op)
{
	struct failing *f = container_of(hook, struct failing, hook);

	return op->kind == f->kind ? f->err : 0;
}

static void failing_end(struct aio_hook *hook, struct aio_op *op, int err)
{
	(void)hook;
	(void)op;
	(void)err;
}

/* A tap whose ring is a file of its own. */
struct bench {
	struct guest *guest;
	struct tap tap;
	struct failing failing;
};

static struct bench *bench_new(const char *type, const char *path)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->guest = guest_new(SECTORS, 1);
	guest_open_path(b->guest, type, path, 0);
	b->failing.hook = (struct aio_hook){ .begin = failing_begin, .end = failing_end };
	b->guest->aio.hook = &b->failing.hook;
	b->tap.source.fd = memfd_create("ring", MFD_CLOEXEC);
	assert_true(b->tap.source.fd >= 0);
	assert_int_equal(ftruncate(b->tap.source.fd, (off_t)((BLKTAP_LAYOUT_PGOFF +
							      BLKTAP_RING_SIZE) * page)), 0);
	assert_int_equal(ring_map(&b->tap), 0);
	b->tap.image = b->guest->image;
	b->tap.errnos = true;
	return b;
}

static void bench_free(struct bench *b)
{
	ring_unmap(&b->tap);
	close(b->tap.source.fd);
	guest_drop(b->guest);
	guest_free(b->guest);
	free(b);
}

/* Return: the response's status. */
static int ask(struct bench *b, uint8_t operation)
{
	struct blktap_ring *ring = b->tap.ring;
	uint32_t at = ring->req_prod;

	ring->ring[at % BLKTAP_RING_SIZE].req = (struct blktap_ring_request){
		.id = SLOT, .operation = operation, .nr_segments = 1,
		.rw = { .sector_number = 8, .seg[0] = { .first_sect = 0, .last_sect = 7 } },
	};
	ring->req_prod = at + 1;
	assert_true(ring_take(&b->tap));
	while (b->tap.in_flight) {
		aio_submit(&b->guest->aio);
		if (b->tap.in_flight)
			assert_int_equal(loop_turn(&b->guest->loop, 10000), 0);
	}
	ring_publish(&b->tap);
	assert_int_equal(ring->rsp_prod, at + 1);
	assert_int_equal(ring->ring[at % BLKTAP_RING_SIZE].rsp.id, SLOT);
	return ring->ring[at % BLKTAP_RING_SIZE].rsp.status;
}

static int ask_failing(struct bench *b, uint8_t operation, enum aio_kind kind, int err)
{
	int status;

	b->failing.kind = kind;
	b->failing.err = err;
	status = ask(b, operation);
	b->failing.err = 0;
	return status;
}

static void errors_are_passed_on(struct bench *b)
{
	static const int errors[] = { -ENOSPC, -EDQUOT, -ETIMEDOUT, -EIO };

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		assert_int_equal(ask_failing(b, BLKTAP_OP_WRITE, AIO_WRITE, errors[i]), errors[i]);
		assert_int_equal(ask(b, BLKTAP_OP_WRITE), BLKTAP_RSP_OKAY);
		assert_int_equal(ask_failing(b, BLKTAP_OP_READ, AIO_READ, errors[i]), errors[i]);
		assert_int_equal(ask(b, BLKTAP_OP_READ), BLKTAP_RSP_OKAY);
	}
}

/* What the kernel tries again, and what it passes up, it must be able to tell. */
static void an_error_of_a_raw_image_is_the_status(void **state)
{
	struct bench *b;
	FILE *f = fopen("r.img", "w");

	(void)state;
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), (off_t)(SECTORS * SECTOR_SIZE)), 0);
	fclose(f);
	b = bench_new("aio", "r.img");
	errors_are_passed_on(b);
	bench_free(b);
}

/* The first write is that of a new block. */
static void an_error_of_a_vhd_is_the_status(void **state)
{
	struct bench *b;

	(void)state;
	make_dynamic("d.vhd", SECTORS);
	b = bench_new("vhd", "d.vhd");
	errors_are_passed_on(b);
	bench_free(b);
	check_image("d.vhd", true);
}

/* It takes no errno, and takes -1 and -2 for what they mean on the ring. */
static void a_kernel_of_old_is_told_of_an_error(void **state)
{
	struct bench *b;

	(void)state;
	make_dynamic("d.vhd", SECTORS);
	b = bench_new("vhd", "d.vhd");
	b->tap.errnos = false;
	assert_int_equal(ask_failing(b, BLKTAP_OP_WRITE, AIO_WRITE, -ETIMEDOUT),
			 BLKTAP_RSP_ERROR);
	b->tap.errnos = true;
	assert_int_equal(ask_failing(b, BLKTAP_OP_WRITE, AIO_WRITE, -ENOENT), BLKTAP_RSP_ERROR);
	assert_int_equal(ask(b, BLKTAP_OP_WRITE), BLKTAP_RSP_OKAY);
	bench_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(an_error_of_a_raw_image_is_the_status),
		unit(an_error_of_a_vhd_is_the_status),
		unit(a_kernel_of_old_is_told_of_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
