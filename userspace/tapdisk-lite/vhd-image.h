/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VHD engine, inside. What makes it crash-safe:
 *
 * - A BAT entry goes to disk after an fdatasync of the block's bitmap and data.
 * - A bitmap's bit goes to disk after an fdatasync of the sector's data, and stays.
 * - A place in the file is given to a block again after an fdatasync of the BAT
 *   that the block which was there is no longer in.
 *
 * So whatever part of what came after the last fdatasync is lost, metadata
 * points at what is there. Everything here runs in the main loop: the state
 * between two callbacks is always consistent.
 *
 * In layout mode the kernel writes the data, does the fdatasync before a commit
 * and the one after it; an open image is written to in one mode only.
 */
#ifndef TAPDISK_VHD_IMAGE_H
#define TAPDISK_VHD_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "image.h"

/* Of a step of a request: it has been queued and will be run again, or failed. */
#define VHD_WAITS	1

/* Of a lookup: it would take a bitmap that is not in the cache. */
#define VHD_UNKNOWN	2

/* In place of an index into the cache. */
#define VHD_BITMAP_NONE	0xffff	/* not in the cache */
#define VHD_BITMAP_FULL	0xfffe	/* all ones, on disk too: needs no place there */

#define VHD_ALLOC_BATCH	32	/* blocks allocated with one fdatasync */

struct vhd_image;
struct vhd_request;
TAILQ_HEAD(vhd_requests, vhd_request);

/**
 * struct vhd_layer - one image of the chain
 * @vhd: the format library's view; its BAT only ever says what is on disk, or,
 *	of a block that is being released, that it is not there
 * @stats: the same layer in struct image
 * @sectors: of its disk
 * @bitmap_of: for each block, an index into the cache, or VHD_BITMAP_*; NULL in
 *	a flat image
 */
struct vhd_layer {
	struct vhd *vhd;
	struct image_layer *stats;
	uint64_t sectors;
	uint16_t *bitmap_of;
};

/**
 * struct vhd_bitmap - a sector bitmap in the cache
 * @link: in the cache's idle list if none of the flags is set and it is not
 *	pinned; in a cycle's syncing list; else in the dirty list if dirty; else in
 *	none
 * @image: whose cache it is in
 * @layer: whose it is; NULL: of none
 * @block: which it is
 * @loading: being read; @waiters wait for it
 * @dirty: @bits has bits that are not on disk
 * @syncing: @disk is on its way there; a commit's @waiters wait for that
 * @pins: writes in flight that will set bits
 * @bits: what requests go by
 * @disk: what is written: of @bits, those whose data was durable when the cycle
 *	took them; or @bits and those of a commit
 * @op: for reading to @bits, or writing @disk
 * @iov: for @op
 * @commit: whose bits @disk has
 * @waiters: requests
 */
struct vhd_bitmap {
	TAILQ_ENTRY(vhd_bitmap) link;
	struct vhd_image *image;
	struct vhd_layer *layer;
	uint32_t block;
	bool loading;
	bool dirty;
	bool syncing;
	unsigned int pins;
	uint8_t *bits;
	uint8_t *disk;
	struct aio_op op;
	struct iovec iov;
	struct vhd_request *commit;
	struct vhd_requests waiters;
};

TAILQ_HEAD(vhd_bitmaps, vhd_bitmap);

#define VHD_CACHE_MAX	2048U	/* bitmaps */

/**
 * struct vhd_cache - the bitmaps of all layers
 * @bitmaps: the array
 * @keep: the memfd that they are in, mapped; owned
 * @keep_bytes: of it
 * @memory: of their bits, in @keep
 * @idle: may be reused, the longest unused one first
 * @dirty: to be written by the next cycle
 * @starved: requests for which no bitmap was idle
 */
struct vhd_cache {
	struct vhd_bitmap *bitmaps;
	struct vhd_keep *keep;
	size_t keep_bytes;
	uint8_t *memory;
	struct vhd_bitmaps idle;
	struct vhd_bitmaps dirty;
	struct vhd_requests starved;
};

/**
 * struct vhd_flush - cycles that make what was written durable
 * @running: a cycle is; image.busy says the same
 * @waiting: flushes for the next cycle: this one began before they came
 * @current: flushes that this cycle answers
 * @syncing: bitmaps that this cycle writes
 * @pending: of them, those in flight
 * @err: the first error of this cycle
 * @lost: an fdatasync has failed: what it covered may be lost, so nothing is
 *	said to be durable any more until the image is opened anew
 * @op: fdatasync
 */
struct vhd_flush {
	bool running;
	struct vhd_requests waiting;
	struct vhd_requests current;
	struct vhd_bitmaps syncing;
	unsigned int pending;
	int err;
	int lost;
	struct aio_op op;
};

struct vhd_placed {
	struct vhd_image *image;
	uint32_t block;
	uint32_t entry;		/* for the BAT */
	struct aio_op op;
	struct iovec iov;
};

/**
 * struct vhd_alloc - allocation of blocks, one batch at a time
 * @running: a batch is on its way
 * @bat_unwritten: the batch is durable but for the BAT, which could not be
 *	written. On disk it may be there or not: so the same is written again
 * @waiters: writes to blocks without a place
 * @placed: the batch
 * @nr: of it
 * @wanted: of @nr, those that are waited for
 * @reused: of @nr, those whose place is not at the end of the file
 * @pending: I/O in flight
 * @err: the first error
 * @end: of the last block placed there
 * @footer_from: where the footer was before this batch
 * @footer_moved: or tried to
 * @op: footer, fdatasync
 * @iov: of the footer
 * @footer: one sector
 * @bat: a sector for each of @placed
 * @bitmap: what a new block begins with
 * @next: block that would continue what was written last
 * @ahead: blocks to allocate if it does
 */
struct vhd_alloc {
	bool running;
	bool bat_unwritten;
	struct vhd_requests waiters;
	struct vhd_placed placed[VHD_ALLOC_BATCH];
	unsigned int nr;
	unsigned int wanted;
	unsigned int reused;
	unsigned int pending;
	int err;
	uint64_t end;
	uint64_t footer_from;
	bool footer_moved;
	struct aio_op op;
	struct iovec iov;
	uint8_t *footer;
	uint8_t *bat;
	uint8_t *bitmap;
	uint32_t next;
	unsigned int ahead;
};

/**
 * struct vhd_places - where blocks were, as the BAT has it, first in first out
 * @entry: a ring buffer of @size
 * @size: as many as the BAT has entries
 * @head: the first one
 * @free: from there, those that a new block may use; then
 * @syncing: those of which an fdatasync makes durable that they are released; then
 * @written: those whose release is in the BAT; then
 * @writing: those whose is on its way there
 */
struct vhd_places {
	uint32_t *entry;
	uint32_t size;
	uint32_t head;
	uint32_t free;
	uint32_t syncing;
	uint32_t written;
	uint32_t writing;
};

/**
 * struct vhd_release - blocks that are given back, one batch at a time
 * @running: a batch is on its way; never while blocks are allocated
 * @req: the trim whose batch it is
 * @waiters: trims that wait for their turn
 * @first: block
 * @nr: blocks that may be released, as far as they are there
 * @op: batmap and its fdatasync, BAT
 * @iov: for @op
 * @buffer: sectors of the batmap, then of the BAT
 * @batmap: what is on disk; NULL: there is none
 * @batmap_from: where in it @buffer belongs, bytes
 * @places: what was released
 * @cycle: @sync is on its way; image.busy says the same
 * @sync: fdatasync
 */
struct vhd_release {
	bool running;
	struct vhd_request *req;
	struct vhd_requests waiters;
	uint32_t first;
	uint32_t nr;
	struct aio_op op;
	struct iovec iov;
	uint8_t *buffer;
	uint8_t *batmap;
	uint32_t batmap_from;
	struct vhd_places places;
	bool cycle;
	struct aio_op sync;
};

/* A run of sectors that is in one place of one file. */
struct vhd_part {
	struct aio_op op;
	struct vhd_request *req;
	struct vhd_layer *layer;
	uint64_t offset;		/* bytes of the request's data before it */
	uint32_t sectors;
	struct vhd_bitmap *bitmap;	/* pinned; NULL: no bits to set */
	uint32_t first_bit;
};

/**
 * struct vhd_request - a request on its way through the chain
 * @link: in one list of waiters, or in none
 * @image: whose it is
 * @req: as the tap knows it
 * @step: go on from @pos: 0, or VHD_WAITS
 * @write: a write, or a layout_get for writing
 * @pos: first sector that is not dealt with yet
 * @end: past the last sector
 * @must: sectors from here on are looked up only where that takes no I/O
 * @layer: where to go on looking for @pos
 * @run: sectors from @pos on that are in none of the layers above; 0: not known
 * @nr_invalid: INVALID_DATA extents of the answer (layout_get)
 * @range: of @req's, the one with @pos (layout_commit)
 * @pending: parts in flight, and 1 until all are
 * @err: the first error
 * @nr_parts: in use of @parts
 * @nr_iov: in use of @iov
 *
 * A part is at least a sector, and every part but the last of an iovec of @req
 * adds one iovec: the arrays hold the worst case.
 */
struct vhd_request {
	TAILQ_ENTRY(vhd_request) link;
	struct vhd_image *image;
	struct image_request *req;
	int (*step)(struct vhd_request *req);
	bool write;
	uint64_t pos;
	uint64_t end;
	uint64_t must;
	unsigned int layer;
	uint32_t run;
	unsigned int nr_invalid;
	unsigned int range;
	unsigned int pending;
	int err;
	unsigned int nr_parts;
	unsigned int nr_iov;
	struct vhd_part parts[IMAGE_SECTORS_MAX];
	struct iovec iov[IMAGE_SECTORS_MAX + IMAGE_IOV_MAX];
};

/**
 * struct vhd_image
 * @chain: the format library's view of the top layer
 * @layers: top first; the top is the one written to
 * @no_punch: its file can't give back space
 */
struct vhd_image {
	struct image image;
	struct vhd *chain;
	struct vhd_layer *layers;
	bool no_punch;
	struct vhd_cache cache;
	struct vhd_flush flush;
	struct vhd_alloc alloc;
	struct vhd_release release;
	struct vhd_request requests[IMAGE_SLOTS];
};

/* vhd-request.c */

/* Start a read or write. */
void vhd_request_read(struct vhd_image *image, struct image_request *req);
void vhd_request_write(struct vhd_image *image, struct image_request *req);

/* The request of req's slot, for its sectors, to be run step by step. */
struct vhd_request *vhd_request_init(struct vhd_image *image, struct image_request *req,
				     int (*step)(struct vhd_request *req));

/* A request in no list any more: go on, until it waits or all is under way. */
void vhd_request_run(struct vhd_request *req);

/* The sectors from pos on have been dealt with. */
void vhd_request_advance(struct vhd_request *req, uint32_t sectors);

/* One of what is pending has ended, err being 0 or -errno. */
void vhd_request_put(struct vhd_request *req, int err);

/* Go on with all of a list, which may be filled again meanwhile, or end them. */
void vhd_requests_run(struct vhd_requests *list);
void vhd_requests_fail(struct vhd_requests *list, int err);

/* vhd-lookup.c */

/**
 * struct vhd_place - where some sectors are
 * @layer: in which layer; NULL: in none, they are zeroes
 * @sectors: how many
 * @offset: of the first, in bytes, in the layer's file
 */
struct vhd_place {
	struct vhd_layer *layer;
	uint32_t sectors;
	uint64_t offset;
};

/*
 * Find the sectors from req->pos on, which is before req->end. 0, VHD_WAITS
 * with req in a list, or VHD_UNKNOWN from req->must on.
 */
int vhd_lookup(struct vhd_request *req, struct vhd_place *place);

/* vhd-layout.c: what lies where */
void vhd_layout_get(struct vhd_image *image, struct image_request *req);

/* vhd-commit.c: the bits of ranges that hold data now */
void vhd_layout_commit(struct vhd_image *image, struct image_request *req);

/* vhd-bitmap.c */

/* 0 or -ENOMEM. The layers are set up. */
int vhd_cache_init(struct vhd_image *image);
void vhd_cache_exit(struct vhd_image *image);

/*
 * The bitmap of an allocated block, valid until the caller returns to the loop
 * unless it is pinned. NULL: all of its bits are set. Returns 0, or VHD_WAITS
 * with req in a list.
 */
int vhd_bitmap_get(struct vhd_layer *layer, uint32_t block, struct vhd_request *req,
		   struct vhd_bitmap **bitmap);

/*
 * Begin to read all bitmaps, of the layers from first on, that looking up the
 * sector may take and that are not in the cache: at most budget, which is
 * counted down. False: there is no more of it, or no room.
 */
bool vhd_bitmaps_prefetch(struct vhd_image *image, unsigned int first, uint64_t sector,
			  unsigned int *budget);

/* The top layer's block was allocated just now, its bitmap is all zeroes. */
void vhd_bitmap_new(struct vhd_image *image, uint32_t block);

/* Keep a bitmap in the cache for bits that a write will set when it is done. */
void vhd_bitmap_pin(struct vhd_bitmap *bitmap);
void vhd_bitmap_unpin(struct vhd_bitmap *bitmap);

/* The data of these sectors has been written; the bitmap is pinned. */
void vhd_bitmap_mark(struct vhd_bitmap *bitmap, uint32_t first, uint32_t count);

/* Nothing but the cache itself has an interest in the bitmap, if it is there. */
bool vhd_bitmap_unused(const struct vhd_image *image, uint32_t block);

/* The top layer's block, whose bitmap is unused, is none any more. */
void vhd_bitmap_forget(struct vhd_image *image, uint32_t block);

/* Flags or pins have been taken away: back to the idle list, if that was all. */
void vhd_bitmap_settle(struct vhd_bitmap *bitmap);

/* vhd-keep.c */

/* Memory for nr bitmaps, each with stride bytes. 0 or -errno. */
int vhd_keep_init(struct vhd_image *image, uint32_t nr, uint32_t stride);
void vhd_keep_exit(struct vhd_image *image);

/* A bitmap's bits are there; they are about not to be. */
void vhd_keep_set(struct vhd_image *image, const struct vhd_bitmap *bitmap);
void vhd_keep_clear(struct vhd_image *image, const struct vhd_bitmap *bitmap);

/* See struct image_driver. */
int vhd_keep_restore(struct image *image, int fd, struct vhd_error *error);

/* vhd-flush.c */

void vhd_flush_init(struct vhd_image *image);

/* Answer req when all that was written before is durable. */
void vhd_flush_request(struct vhd_image *image, struct image_request *req);

/* Clean dirty bitmaps, without a request for it. */
void vhd_flush_start(struct vhd_image *image);

/* An fdatasync of the top layer has failed. */
void vhd_flush_lost(struct vhd_image *image, int err);

/* vhd-alloc.c */

/* 0 or -ENOMEM. */
int vhd_alloc_init(struct vhd_image *image);
void vhd_alloc_exit(struct vhd_image *image);

/* Let a write wait until the block at its position is allocated. */
void vhd_alloc_request(struct vhd_request *req);

/* No blocks are released any more: begin what waits for that. */
void vhd_alloc_go_on(struct vhd_image *image);

/* vhd-trim.c */

/* A range of the disk is not used any more. */
void vhd_request_trim(struct vhd_image *image, struct image_request *req);

/* How many blocks from its position on a trim covers wholly. */
uint32_t vhd_trim_blocks(const struct vhd_request *req);

/* No request and no bitmap relies on the block's place. */
bool vhd_releasable(struct vhd_image *image, uint32_t block);

/* Give back what of the top layer's file can be. 0, also if nothing, or -errno. */
int vhd_punch(struct vhd_image *image, uint64_t offset, uint64_t bytes);

/* vhd-release.c */

/* 0, or -errno with error filled in. */
int vhd_release_init(struct vhd_image *image, struct vhd_error *error);
void vhd_release_exit(struct vhd_image *image);

/* Let a trim wait until the releasable block at its position is released. */
void vhd_release_request(struct vhd_request *req);

/* There is room to remember the place of one more. */
bool vhd_release_room(const struct vhd_image *image);

/* No blocks are allocated any more: begin what waits for that. */
void vhd_release_go_on(struct vhd_image *image);

/* The n-th place that a new block may use; VHD_BAT_UNUSED: there are not so many. */
uint32_t vhd_place_peek(struct vhd_image *image, unsigned int n);

/* The first n have blocks now. */
void vhd_places_used(struct vhd_image *image, unsigned int n);

#endif
