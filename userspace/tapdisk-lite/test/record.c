// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "record.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPS_MAX		20000U
#define PIECE		4096U
#define IMAGE_BYTES	(64U << 20)	/* of any state of the file */

static int op_begin(struct aio_hook *hook, struct aio_op *op)
{
	struct record *record = container_of(hook, struct record, hook);
	struct record_op *rec = &record->ops[record->nr_ops];
	uint8_t *to;

	if (op->kind == AIO_READ)
		return 0;
	assert_true(record->nr_ops < OPS_MAX);
	record->nr_ops++;
	*rec = (struct record_op){
		.kind = op->kind, .offset = op->offset, .bytes = op->bytes,
		.begin = record->now++, .end = NEVER, .op = op,
	};
	if (op->kind != AIO_WRITE)
		return 0;

	rec->data = malloc(op->bytes);
	assert_non_null(rec->data);
	to = rec->data;
	for (int i = 0; i < op->iovcnt; i++) {
		memcpy(to, op->iov[i].iov_base, op->iov[i].iov_len);
		to += op->iov[i].iov_len;
	}
	return 0;
}

static void op_end(struct aio_hook *hook, struct aio_op *op, int err)
{
	struct record *record = container_of(hook, struct record, hook);

	if (op->kind == AIO_READ)
		return;
	for (unsigned int i = record->nr_ops; i-- > 0;) {
		struct record_op *rec = &record->ops[i];

		if (rec->op != op || rec->end != NEVER)
			continue;
		rec->end = record->now++;
		rec->err = err;
		rec->op = NULL;
		return;
	}
	fail_msg("an operation has ended that had not begun");
}

static void guest_began(struct guest_watch *watch, struct guest_io *io)
{
	struct record *record = container_of(watch, struct record, watch);

	if (io->op == GUEST_READ)
		return;
	assert_true(record->nr_guest_ops < OPS_MAX);
	record->guest_ops[record->nr_guest_ops++] = (struct record_guest_op){
		.op = io->op, .sector = io->req.sector,
		.sectors = (uint32_t)io->req.nr_sectors, .stamp = io->stamp,
		.begin = record->now++, .end = NEVER, .io = io,
	};
}

static void guest_done(struct guest_watch *watch, struct guest_io *io, int err)
{
	struct record *record = container_of(watch, struct record, watch);

	if (io->op == GUEST_READ)
		return;
	for (unsigned int i = record->nr_guest_ops; i-- > 0;) {
		struct record_guest_op *rec = &record->guest_ops[i];

		if (rec->io != io || rec->end != NEVER)
			continue;
		rec->end = record->now++;
		rec->err = err;
		return;
	}
	fail_msg("a request has ended that had not begun");
}

struct record *record_begin(struct guest *guest, const char *path)
{
	struct record *record = calloc(1, sizeof(*record));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	record->before_bytes = (uint64_t)st.st_size;
	record->before = malloc(record->before_bytes);
	assert_int_equal(read(fd, record->before, record->before_bytes), st.st_size);
	close(fd);

	record->ops = calloc(OPS_MAX, sizeof(*record->ops));
	record->guest_ops = calloc(OPS_MAX, sizeof(*record->guest_ops));
	assert_true(record->ops && record->guest_ops);
	record->hook = (struct aio_hook){ op_begin, op_end };
	record->watch = (struct guest_watch){ guest_began, guest_done };
	guest->aio.hook = &record->hook;
	guest->watch = &record->watch;
	return record;
}

void record_free(struct record *record)
{
	for (unsigned int i = 0; i < record->nr_ops; i++)
		free(record->ops[i].data);
	free(record->ops);
	free(record->guest_ops);
	free(record->before);
	free(record);
}

/* When the last fdatasync began that had ended well by time; 0: none. */
static uint32_t synced_until(const struct record *record, uint32_t time)
{
	uint32_t until = 0;

	for (unsigned int i = 0; i < record->nr_ops; i++) {
		const struct record_op *op = &record->ops[i];

		if (op->kind == AIO_SYNC && op->end < time && !op->err && op->begin > until)
			until = op->begin;
	}
	return until;
}

struct cut {
	uint8_t *bytes;		/* the file's; IMAGE_BYTES of memory */
	uint64_t size;
};

static void cut_range(struct cut *cut, const struct record_op *op, uint64_t offset, uint64_t bytes)
{
	if (op->kind == AIO_PUNCH) {
		if (offset >= cut->size)
			return;
		if (bytes > cut->size - offset)
			bytes = cut->size - offset;
	}
	assert_true(offset + bytes <= IMAGE_BYTES);
	if (op->kind == AIO_WRITE)
		memcpy(cut->bytes + offset, op->data + (offset - op->offset), bytes);
	else
		memset(cut->bytes + offset, 0, bytes);
	if (offset + bytes > cut->size)
		cut->size = offset + bytes;
}

static void cut_truncate(struct cut *cut, uint64_t size)
{
	if (size < cut->size)
		memset(cut->bytes + size, 0, cut->size - size);
	cut->size = size;
}

static void cut_apply(struct cut *cut, const struct record_op *op)
{
	if (op->kind == AIO_TRUNCATE)
		cut_truncate(cut, op->offset);
	else if (op->kind != AIO_SYNC)
		cut_range(cut, op, op->offset, op->bytes);
}

static void cut_apply_some(struct cut *cut, const struct record_op *op, struct guest *random)
{
	if (op->kind == AIO_TRUNCATE && guest_random(random, 2))
		cut_truncate(cut, op->offset);
	if (op->kind == AIO_TRUNCATE || op->kind == AIO_SYNC)
		return;
	for (uint64_t i = 0; i < op->bytes; i += SECTOR_SIZE)
		if (guest_random(random, 2))
			cut_range(cut, op, op->offset + i, SECTOR_SIZE);
}

static bool uncertain(const struct record_op *op, uint32_t time, uint32_t synced)
{
	return op->kind != AIO_SYNC && op->begin < time && (op->err || op->end > synced);
}

static unsigned int count_uncertain(const struct record *record, uint32_t time, uint32_t synced)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < record->nr_ops; i++)
		n += uncertain(&record->ops[i], time, synced);
	return n;
}

static void cut_write(const struct cut *cut, const char *path)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	static const uint8_t zeroes[PIECE];

	assert_int_equal(ftruncate(fd, (off_t)cut->size), 0);
	for (uint64_t at = 0; at < cut->size; at += PIECE) {
		uint64_t n = cut->size - at < PIECE ? cut->size - at : PIECE;

		if (memcmp(cut->bytes + at, zeroes, n))
			assert_int_equal(pwrite(fd, cut->bytes + at, n, (off_t)at), n);
	}
	close(fd);
}

void record_cut(const struct record *record, uint32_t time, enum cut_choice choice,
		struct guest *random, const char *path)
{
	uint32_t synced = synced_until(record, time);
	unsigned int n = count_uncertain(record, time, synced), seen = 0;
	unsigned int chosen = n ? (unsigned int)guest_random(random, n) : 0;
	struct cut cut = { .bytes = calloc(1, IMAGE_BYTES), .size = record->before_bytes };

	assert_non_null(cut.bytes);
	memcpy(cut.bytes, record->before, record->before_bytes);
	for (unsigned int i = 0; i < record->nr_ops; i++) {
		const struct record_op *op = &record->ops[i];
		bool is_chosen;

		if (op->begin >= time)
			break;
		if (!uncertain(op, time, synced)) {
			cut_apply(&cut, op);
			continue;
		}
		is_chosen = seen++ == chosen;
		if (choice == CUT_RANDOM)
			cut_apply_some(&cut, op, random);
		else if (choice == CUT_ALL || (choice == CUT_ONE && is_chosen) ||
			 (choice == CUT_ALL_BUT_ONE && !is_chosen))
			cut_apply(&cut, op);
	}
	cut_write(&cut, path);
	free(cut.bytes);
}

static bool covers(const struct record_guest_op *op, uint64_t sector)
{
	return (op->op == GUEST_WRITE || op->op == GUEST_TRIM) && sector >= op->sector && sector < op->sector + op->sectors;
}

/* When the last flush began that had been answered well by time; 0: none. */
static uint32_t flushed_until(const struct record *record, uint32_t time)
{
	uint32_t until = 0;

	for (unsigned int i = 0; i < record->nr_guest_ops; i++) {
		const struct record_guest_op *op = &record->guest_ops[i];

		if (op->op == GUEST_FLUSH && op->end < time && !op->err && op->begin > until)
			until = op->begin;
	}
	return until;
}

bool record_allows(const struct record *record, uint32_t time, uint64_t sector,
		   uint32_t initial, uint32_t stamp)
{
	uint32_t flushed = flushed_until(record, time);
	bool allowed = stamp == initial;

	/* Writes to the same sector never overlap: the array is their order. */
	for (unsigned int i = 0; i < record->nr_guest_ops; i++) {
		const struct record_guest_op *op = &record->guest_ops[i];

		if (op->begin >= time)
			break;
		if (!covers(op, sector))
			continue;
		if (op->op == GUEST_TRIM)
			allowed |= !stamp;
		else if (op->end < flushed && !op->err)
			allowed = op->stamp == stamp;
		else
			allowed |= op->stamp == stamp;
	}
	return allowed;
}
