/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A record of all that was done to one image file, and of what its guest was
 * told when: to say what the file may look like after a power cut, and what the
 * guest may then expect of it.
 *
 * Time is a count of events. What is certainly on the disk at a time: what had
 * ended well before an fdatasync began which has ended by then. All else that
 * had begun, and what has failed, may be there or not, each sector for itself,
 * in any order but that of operations on the same sector.
 */
#ifndef TAPDISK_TEST_RECORD_H
#define TAPDISK_TEST_RECORD_H

#include "guest.h"

#define NEVER UINT32_MAX

struct record_op {
	enum aio_kind kind;
	uint64_t offset;
	uint64_t bytes;
	uint8_t *data;		/* of a write */
	uint32_t begin;
	uint32_t end;
	int err;
	const struct aio_op *op;
};

struct record_guest_op {
	enum guest_op op;
	uint64_t sector;
	uint32_t sectors;
	uint32_t stamp;
	uint32_t begin;
	uint32_t end;
	int err;
	const struct guest_io *io;
};

/**
 * struct record
 * @before: the file's contents when the record began
 * @now: how many events there were
 */
struct record {
	struct aio_hook hook;
	struct guest_watch watch;
	uint8_t *before;
	uint64_t before_bytes;
	struct record_op *ops;
	unsigned int nr_ops;
	struct record_guest_op *guest_ops;
	unsigned int nr_guest_ops;
	uint32_t now;
};

/* Record what guest does to the file at path from now on. */
struct record *record_begin(struct guest *guest, const char *path);
void record_free(struct record *record);

enum cut_choice {
	CUT_NOTHING,	/* of what is uncertain */
	CUT_ALL,
	CUT_RANDOM,	/* each sector by chance */
	CUT_ONE,	/* one operation of it */
	CUT_ALL_BUT_ONE,
};

/* Write to path what the file may be after a power cut at time. */
void record_cut(const struct record *record, uint32_t time, enum cut_choice choice,
		struct guest *random, const char *path);

/*
 * May a sector read as the write of this stamp after a power cut at time?
 * initial is the stamp it had when the record began.
 */
bool record_allows(const struct record *record, uint32_t time, uint64_t sector,
		   uint32_t initial, uint32_t stamp);

#endif
