/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A guest of the image under test: random requests through the driver's
 * callbacks and the real libaio loop, as many at a time as a ring holds, and a
 * model of what each sector must read as.
 *
 * With TEST_LAYOUT in the environment the callbacks are those of layout mode,
 * and kernel.c is between them and the guest.
 *
 * A sector's data is made from its number and a stamp that no two writes share,
 * so that every byte says which write it is from. Stamp 0 is zeroes.
 */
#ifndef TAPDISK_TEST_GUEST_H
#define TAPDISK_TEST_GUEST_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>

#include "../image.h"

#define GUEST_SLOTS	32
#define NO_STAMP	UINT32_MAX

struct guest;

enum guest_op { GUEST_READ, GUEST_WRITE, GUEST_FLUSH, GUEST_TRIM };

struct guest_io {
	struct guest *guest;
	bool busy;
	enum guest_op op;
	uint32_t stamp;
	uint32_t *expect;	/* READ: a stamp a sector, as it was submitted */
	uint8_t *data;
	struct image_request req;
};

/* Sees the guest's requests come and go. */
struct guest_watch {
	void (*submit)(struct guest_watch *watch, struct guest_io *io);
	void (*done)(struct guest_watch *watch, struct guest_io *io, int err);
};

/**
 * struct guest
 * @stamps: what each sector reads as
 * @others: or as: after a write that failed; NO_STAMP: nothing else
 * @trimmed: or as zeroes: it was trimmed since it was written
 * @writers: writes and trims in flight, a sector
 * @readers: reads in flight, a sector
 * @next_stamp: of the next write
 * @random: state of the generator
 * @faulty: requests may fail
 * @no_trims: random requests are none
 * @failed: requests that did
 * @layout: what can be granted is
 */
struct guest {
	struct loop loop;
	struct aio aio;
	struct image *image;
	uint64_t sectors;
	uint32_t *stamps;
	uint32_t *others;
	uint8_t *trimmed;
	uint8_t *writers;
	uint8_t *readers;
	uint32_t next_stamp;
	uint64_t random;
	bool faulty;
	bool no_trims;
	bool layout;
	unsigned int failed;
	unsigned int in_flight;
	struct guest_watch *watch;
	struct guest_io ios[GUEST_SLOTS];
};

/* A guest of a disk of this many sectors, all zero; nothing is open yet. */
struct guest *guest_new(uint64_t sectors, uint64_t seed);
void guest_free(struct guest *guest);

void guest_open(struct guest *guest, const char *name, unsigned int flags);
/* The same of TYPE:PATH, made absolute. */
void guest_open_path(struct guest *guest, const char *type, const char *path, unsigned int flags);
void guest_close(struct guest *guest);	/* drains, flushes */
void guest_drop(struct guest *guest);	/* drains, does not flush */

/* Below limit. */
uint64_t guest_random(struct guest *guest, uint64_t limit);

/*
 * False, and nothing is done, if it would race with one in flight, or is a trim
 * and the image has none.
 */
bool guest_submit(struct guest *guest, enum guest_op op, uint64_t sector, uint32_t sectors);
void guest_drain(struct guest *guest);
void guest_turn(struct guest *guest);

/* count random requests; a percentage of them writes, some flushes and trims. */
void guest_run(struct guest *guest, unsigned int count, unsigned int write_percent);

/* Random requests in [first, first + sectors). */
void guest_run_in(struct guest *guest, unsigned int count, unsigned int write_percent,
		  uint64_t first, uint64_t sectors);

/* Read all of the disk and compare it with the model. */
void guest_verify(struct guest *guest);

void sector_fill(uint8_t *data, uint64_t sector, uint32_t stamp);

/* The stamp of a sector's data; NO_STAMP: no write's, garbage. */
uint32_t sector_stamp(const uint8_t *data, uint64_t sector);

/* TEST_SEED from the environment, or one that changes; printed. */
uint64_t test_seed(void);

/* cmocka fixtures: a directory of its own to be in, emptied afterwards. */
int directory_enter(void **state);
int directory_leave(void **state);

/* The same, with TEST_LAYOUT. */
int layout_enter(void **state);
int layout_leave(void **state);

/* A test with these. */
#define unit(function) \
	cmocka_unit_test_setup_teardown(function, directory_enter, directory_leave)
#define layout(function) \
	{ "layout mode: " #function, function, layout_enter, layout_leave, NULL }

/* libvhd's, that can't fail. */
void make_dynamic(const char *path, uint64_t sectors);
void make_fixed(const char *path, uint64_t sectors);
void make_child(const char *path, const char *parent);

/* Give a new dynamic image a batmap, and set the bits of all blocks that it has. */
void add_batmap(const char *path);
void set_batmap(const char *path);

/* vhd_check() finds no damage, but for a lost end footer where that may be. */
void check_image(const char *path, bool footer_may_be_lost);

#endif
