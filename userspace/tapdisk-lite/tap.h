/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TAPDISK_TAP_H
#define TAPDISK_TAP_H

#include <linux/blktap.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "aio.h"
#include "image.h"
#include "loop.h"

struct tap;

struct tap_request {
	struct tap *tap;
	bool busy;
	uint8_t operation;
	struct blktap_extent extents[BLKTAP_EXTENTS_MAX];	/* image's */
	struct image_request image;
};

enum tap_order_state {
	ORDER_NONE,
	ORDER_DRAIN,	/* requests are in flight */
	ORDER_FLUSH,	/* our own flush is */
	ORDER_END,	/* nothing is: give the disk up, close the image, and answer */
};

/* An order of the kernel that waits for I/O to end. */
struct tap_order {
	enum tap_order_state state;
	uint64_t id;
	uint32_t op;
	bool no_flush;
	uint64_t seen;	/* requests that had been taken when the flush began */
	int err;	/* of the flush */
};

struct tap_stats {
	uint64_t read_sectors;
	uint64_t write_sectors;
	uint64_t requests;
	uint64_t responses;
	uint64_t wakeups;
	uint64_t kicks;
};

/*
 * One tap: a ring that is mapped, and the image it is served from. Its
 * requests are numbered by ring slot; the last one is our own flush.
 */
struct tap {
	LIST_ENTRY(tap) link;
	struct loop_source source;	/* the ring node */
	struct tapdisk *tapdisk;
	uint32_t minor;
	struct blktap_ring *ring;
	size_t page_size;
	struct blktap_extent (*layout)[BLKTAP_EXTENTS_MAX];	/* of slots; NULL: old kernel */
	uint32_t req_cons;		/* requests taken, as the ring counts */
	uint32_t rsp_prod;		/* responses put, published or not */
	unsigned int in_flight;
	struct image *image;		/* NULL: closed, or paused */
	bool has_disk;			/* CREATE_DEVICE was done */
	bool joined;			/* for a disk that another tapdisk had made */
	bool layout_disk;		/* the disk is, or is to be, in layout mode */
	bool grants;			/* the image's files are registered */
	bool errnos;			/* the kernel takes errnos in responses */
	uint64_t disk_capacity;		/* as the kernel knows it */
	struct tap_order order;
	struct tap_request requests[BLKTAP_RING_SIZE];
	struct image_request flush;
	struct tap_stats stats;
};

struct tapdisk {
	struct loop loop;
	struct aio aio;
	struct loop_source control;
	struct loop_source signals;
	LIST_HEAD(, tap) taps;
	struct {
		struct blktap_answer head;
		char text[BLKTAP_TEXT_MAX];
	} answer;			/* what is being written */
};

/* Orders: tap.c. 0, or -errno with error filled in and nothing changed. */
int tap_attach(struct tapdisk *tapdisk, uint32_t minor, struct vhd_error *error);
int tap_open(struct tap *tap, const struct blktap_order *order, const char *name,
	     struct vhd_error *error);
int tap_resume(struct tap *tap, const struct blktap_order *order, const char *name,
	       struct vhd_error *error);

/* An ATTACH, OPEN or RESUME was done when the kernel had given it up. */
void tap_undo(struct tap *tap, uint32_t op);

/*
 * CLOSE, PAUSE and DETACH wait for requests in flight, and flush; then all but PAUSE
 * give the disk up, which stays and is served as before where one of that fails. When
 * this returns 0, tap_order_advance() will answer.
 */
int tap_quiesce(struct tap *tap, const struct blktap_order *order, struct vhd_error *error);

/*
 * Go on with the order that waits, if it can. True if it is to be asked again. The
 * tap is gone when this has ended a DETACH. Not from a completion.
 */
bool tap_order_advance(struct tap *tap);

struct tap *tap_find(struct tapdisk *tapdisk, uint32_t minor);

/* The ring: ring.c */

/* Map the ring of an open ring node, and the layout if it has one. 0 or -errno. */
int ring_map(struct tap *tap);
void ring_unmap(struct tap *tap);

/* Begin the requests that have come, without waiting to be told. False: none have. */
bool ring_take(struct tap *tap);

/* Publish the responses that were put since the last time, with one ioctl. */
void ring_publish(struct tap *tap);

/* control.c: open the control node and register. 0, or -errno with error filled in. */
int control_init(struct tapdisk *tapdisk, struct vhd_error *error);
void control_exit(struct tapdisk *tapdisk);

/*
 * Answer an order: status is 0 or -errno, text may be NULL. 0, or -errno:
 * -ENOENT if the order has timed out, and the kernel goes on without it.
 */
int control_answer(struct tapdisk *tapdisk, uint64_t id, int status, const char *text);

/* stats.c: a JSON object, to be freed; NULL: out of memory. */
char *tap_stats_json(const struct tap *tap);

#endif
