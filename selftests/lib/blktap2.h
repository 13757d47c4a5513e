/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The blktap2 interface as a tapdisk of the 3.55 kind was compiled with it.
 * Written down a second time, apart from the header that the module uses, so
 * that a change there which breaks old programs breaks these tests.
 */
#ifndef SELFTESTS_LIB_BLKTAP2_H
#define SELFTESTS_LIB_BLKTAP2_H

#include <stdint.h>

/* control node */
#define B2_ALLOC_TAP		200
#define B2_FREE_TAP		201

/* ring node */
#define B2_KICK			1
#define B2_CREATE_OLD		202
#define B2_SET_PARAMS		203
#define B2_PAUSE		204
#define B2_REOPEN		205
#define B2_RESUME		206
#define B2_REMOVE		207
#define B2_CREATE		208

#define B2_RING_SIZE		32
#define B2_SEGMENTS		11
#define B2_PAGES		(1 + B2_RING_SIZE * B2_SEGMENTS)
#define B2_PAGE			4096
#define B2_MAP_BYTES		((size_t)B2_PAGES * B2_PAGE)
#define B2_SECTOR		512
#define B2_PAGE_SECTORS		(B2_PAGE / B2_SECTOR)
#define B2_NAME			256

enum { B2_READ, B2_WRITE, B2_FLUSH, B2_TRIM };
enum { B2_OKAY = 0, B2_ERROR = -1, B2_NOTSUPP = -2 };
enum { B2_MSG_NONE, B2_MSG_PAUSE, B2_MSG_RESUME, B2_MSG_CLOSE };

#define B2_F_RDONLY	0x01
#define B2_F_PSZ	0x02
#define B2_F_FLUSH	0x04
#define B2_F_TRIM	0x08
#define B2_F_TRIM_RZ	0x10

struct b2_handle {
	uint32_t ring_major;
	uint32_t disk_major;
	uint32_t minor;
};

struct b2_params_old {
	char name[B2_NAME];
	uint64_t capacity;
	unsigned long sector_size;
};

struct b2_params {
	uint64_t capacity;
	uint32_t sector_size;
	uint32_t padding;
	unsigned long flags;
	uint32_t phys_block_size;
	uint32_t phys_block_offset;
	uint32_t trim_block_size;
	uint32_t trim_block_offset;
};

struct b2_segment {
	uint32_t pad;
	uint8_t first;
	uint8_t last;
	uint16_t pad2;
};

struct b2_request {
	uint8_t op;
	uint8_t nr_segments;
	uint16_t pad;
	uint32_t pad2;
	uint64_t id;
	uint64_t sector;
	union {
		struct b2_segment seg[B2_SEGMENTS];
		uint64_t trim_sectors;
	};
};

struct b2_response {
	uint64_t id;
	uint8_t op;
	uint8_t pad;
	int16_t status;
};

union b2_entry {
	struct b2_request req;
	struct b2_response rsp;
};

struct b2_ring {
	uint32_t req_prod;
	uint32_t req_event;
	uint32_t rsp_prod;
	uint32_t rsp_event;
	uint8_t msg;
	uint8_t pad[47];
	union b2_entry entry[B2_RING_SIZE];
};

_Static_assert(sizeof(struct b2_request) == 112, "request");
_Static_assert(sizeof(union b2_entry) == 112, "entry");
_Static_assert(__builtin_offsetof(struct b2_ring, msg) == 16, "message byte");
_Static_assert(__builtin_offsetof(struct b2_ring, entry) == 64, "entries");
_Static_assert(__builtin_offsetof(struct b2_params, padding) == 12, "padding");
_Static_assert(__builtin_offsetof(struct b2_params, flags) == 16, "flags");

#endif
