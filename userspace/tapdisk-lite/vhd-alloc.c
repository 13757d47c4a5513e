// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocation of blocks, in batches. The steps of a batch:
 *
 *   footer   at its new place, the end of the file, which grows by that;
 *   fill     data that may hold something old is made zero, bitmaps are written;
 *   sync     all of that is durable now;
 *   bat      the sectors of the BAT; from here on requests see the blocks.
 *
 * The BAT itself is durable after the next fdatasync, like the data that is
 * going to be written to the blocks. Before the last step an error is undone by
 * giving the file its old end back; after that the places belong to the blocks.
 *
 * The footer's copy at offset 0 never changes: it is what there is if we are
 * interrupted between the file's growth and the footer's arrival.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "vhd-image.h"

#define BAT_SECTOR_ENTRIES (VHD_SECTOR / sizeof(uint32_t))

static void batch_start(struct vhd_image *image);

int vhd_alloc_init(struct vhd_image *image)
{
	struct vhd_alloc *alloc = &image->alloc;
	struct vhd *vhd = image->chain;
	size_t bytes = (1 + VHD_ALLOC_BATCH) * VHD_SECTOR + vhd->bitmap_bytes;

	TAILQ_INIT(&alloc->waiters);
	alloc->next = VHD_BAT_UNUSED;
	if (vhd_is_flat(vhd))
		return 0;

	alloc->footer = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
	if (!alloc->footer)
		return -ENOMEM;
	alloc->bat = alloc->footer + VHD_SECTOR;
	alloc->bitmap = alloc->bat + VHD_ALLOC_BATCH * VHD_SECTOR;
	vhd_footer_encode(&vhd->footer, alloc->footer);
	memset(alloc->bitmap, vhd->type == VHD_TYPE_DYNAMIC ? 0xff : 0, vhd->bitmap_bytes);
	for (unsigned int i = 0; i < VHD_ALLOC_BATCH; i++)
		alloc->placed[i].image = image;
	return 0;
}

void vhd_alloc_exit(struct vhd_image *image)
{
	free(image->alloc.footer);
}

/* Without the blocks that nobody asked for yet there may be room enough. */
static void batch_fail(struct vhd_image *image, int err)
{
	struct vhd_alloc *alloc = &image->alloc;

	if (err == -ENOSPC && alloc->nr > alloc->wanted && !alloc->bat_unwritten) {
		alloc->next = VHD_BAT_UNUSED;
		batch_start(image);
		return;
	}

	syslog(LOG_ERR, "%s: allocating %u block(s): %s", image->chain->path, alloc->nr,
	       strerror(-err));
	alloc->running = false;
	vhd_requests_fail(&alloc->waiters, err);
	vhd_release_go_on(image);
}

static void batch_succeed(struct vhd_image *image)
{
	struct vhd_alloc *alloc = &image->alloc;
	struct vhd_layer *layer = &image->layers[0];

	for (unsigned int i = 0; i < alloc->nr; i++) {
		struct vhd_placed *placed = &alloc->placed[i];

		layer->vhd->bat[placed->block] = placed->entry;
		if (layer->vhd->type == VHD_TYPE_DYNAMIC)
			layer->bitmap_of[placed->block] = VHD_BITMAP_FULL;
		else
			vhd_bitmap_new(image, placed->block);
	}
	alloc->bat_unwritten = false;
	alloc->running = false;
	/* By turns: those who wait may need another block. */
	vhd_release_go_on(image);
	vhd_requests_run(&alloc->waiters);
}

static void bat_written(struct aio_op *op, int err)
{
	struct vhd_placed *placed = container_of(op, struct vhd_placed, op);
	struct vhd_image *image = placed->image;
	struct vhd_alloc *alloc = &image->alloc;

	if (err && !alloc->err)
		alloc->err = err;
	if (--alloc->pending)
		return;
	if (alloc->err)
		batch_fail(image, alloc->err);
	else
		batch_succeed(image);
}

/* The sector of the BAT with the batch's entries, which nobody else may see yet. */
static void bat_encode(struct vhd_image *image, uint32_t block, uint8_t *sector)
{
	struct vhd_alloc *alloc = &image->alloc;
	struct vhd *vhd = image->chain;

	for (unsigned int i = 0; i < alloc->nr; i++)
		vhd->bat[alloc->placed[i].block] = alloc->placed[i].entry;
	vhd_bat_sector_encode(vhd, block, sector);
	for (unsigned int i = 0; i < alloc->nr; i++)
		vhd->bat[alloc->placed[i].block] = VHD_BAT_UNUSED;
}

static bool bat_sector_has_earlier(const struct vhd_alloc *alloc, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (alloc->placed[i].block / BAT_SECTOR_ENTRIES ==
		    alloc->placed[n].block / BAT_SECTOR_ENTRIES)
			return true;
	return false;
}

static void step_bat(struct vhd_image *image)
{
	struct vhd_alloc *alloc = &image->alloc;
	struct vhd *vhd = image->chain;

	vhd->next_free = alloc->end;
	vhd_places_used(image, alloc->reused);
	alloc->reused = 0;
	alloc->bat_unwritten = true;
	alloc->err = 0;
	for (unsigned int i = 0; i < alloc->nr; i++) {
		struct vhd_placed *placed = &alloc->placed[i];

		if (bat_sector_has_earlier(alloc, i))
			continue;
		placed->iov.iov_base = alloc->bat + i * VHD_SECTOR;
		placed->iov.iov_len = VHD_SECTOR;
		placed->op.done = bat_written;
		bat_encode(image, placed->block, placed->iov.iov_base);
		alloc->pending++;
		aio_write(image->image.aio, &placed->op, vhd->fd, &placed->iov, 1,
			  vhd_bat_sector_offset(vhd, placed->block));
	}
}

static void footer_put_back(struct aio_op *op, int err)
{
	struct vhd_image *image = container_of(op, struct vhd_image, alloc.op);
	struct vhd_alloc *alloc = &image->alloc;
	struct vhd *vhd = image->chain;

	if (!err)
		err = aio_truncate(image->image.aio, vhd->fd, alloc->footer_from + VHD_SECTOR);
	if (!err)
		vhd->footer_offset = alloc->footer_from;
	else
		syslog(LOG_ERR, "%s: putting the footer back: %s: there is its copy",
		       vhd->path, strerror(-err));
	batch_fail(image, alloc->err);
}

static void undo(struct vhd_image *image, int err)
{
	struct vhd_alloc *alloc = &image->alloc;

	alloc->err = err;
	if (!alloc->footer_moved) {
		batch_fail(image, err);
		return;
	}
	alloc->op.done = footer_put_back;
	aio_write(image->image.aio, &alloc->op, image->chain->fd, &alloc->iov, 1,
		  alloc->footer_from);
}

static void sync_done(struct aio_op *op, int err)
{
	struct vhd_image *image = container_of(op, struct vhd_image, alloc.op);

	if (!err) {
		step_bat(image);
		return;
	}
	vhd_flush_lost(image, err);
	undo(image, err);
}

static void bitmap_written(struct aio_op *op, int err)
{
	struct vhd_placed *placed = container_of(op, struct vhd_placed, op);
	struct vhd_image *image = placed->image;
	struct vhd_alloc *alloc = &image->alloc;

	if (err && !alloc->err)
		alloc->err = err;
	if (--alloc->pending)
		return;
	if (alloc->err) {
		undo(image, alloc->err);
		return;
	}
	alloc->op.done = sync_done;
	aio_sync(image->image.aio, &alloc->op, image->chain->fd);
}

/*
 * Data of a dynamic disk's new block reads as zeroes: what lies before the old
 * end of the file, or anywhere on a device, may not yet. A differencing disk's
 * is not read before it is written.
 */
static int zero_stale(struct vhd_image *image)
{
	struct vhd_alloc *alloc = &image->alloc;
	struct vhd *vhd = image->chain;
	uint64_t stale_end = alloc->footer_from + VHD_SECTOR;
	int err = 0;

	if (vhd->type != VHD_TYPE_DYNAMIC)
		return 0;
	for (unsigned int i = 0; i < alloc->nr && !err; i++) {
		uint64_t offset = (uint64_t)alloc->placed[i].entry * VHD_SECTOR;
		uint64_t data = offset + vhd->bitmap_bytes;
		uint64_t end = offset + vhd_block_span(vhd);

		if (end > stale_end)
			end = stale_end;
		if (data < end)
			err = aio_zero(image->image.aio, vhd->fd, data, end - data);
	}
	return err;
}

static void step_fill(struct vhd_image *image)
{
	struct vhd_alloc *alloc = &image->alloc;
	int err = zero_stale(image);

	if (err) {
		undo(image, err);
		return;
	}

	for (unsigned int i = 0; i < alloc->nr; i++) {
		struct vhd_placed *placed = &alloc->placed[i];

		placed->iov.iov_base = alloc->bitmap;
		placed->iov.iov_len = image->chain->bitmap_bytes;
		placed->op.done = bitmap_written;
		alloc->pending++;
		aio_write(image->image.aio, &placed->op, image->chain->fd, &placed->iov, 1,
			  (uint64_t)placed->entry * VHD_SECTOR);
	}
}

static void footer_written(struct aio_op *op, int err)
{
	struct vhd_image *image = container_of(op, struct vhd_image, alloc.op);

	if (err) {
		undo(image, err);
		return;
	}
	image->chain->footer_offset = image->alloc.end;
	step_fill(image);
}

static void step_footer(struct vhd_image *image)
{
	struct vhd_alloc *alloc = &image->alloc;
	struct vhd *vhd = image->chain;

	alloc->err = 0;
	alloc->footer_from = vhd->footer_offset;
	alloc->footer_moved = !vhd->block_device && alloc->end > vhd->footer_offset;
	if (!alloc->footer_moved) {
		step_fill(image);
		return;
	}

	alloc->iov.iov_base = alloc->footer;
	alloc->iov.iov_len = VHD_SECTOR;
	alloc->op.done = footer_written;
	aio_write(image->image.aio, &alloc->op, vhd->fd, &alloc->iov, 1, alloc->end);
}

static bool in_batch(const struct vhd_alloc *alloc, uint32_t block)
{
	for (unsigned int i = 0; i < alloc->nr; i++)
		if (alloc->placed[i].block == block)
			return true;
	return false;
}

/* In the order of the disk, so that it is the file's too. */
static void batch_add(struct vhd_alloc *alloc, uint32_t block)
{
	unsigned int i = alloc->nr++;

	for (; i && alloc->placed[i - 1].block > block; i--)
		alloc->placed[i].block = alloc->placed[i - 1].block;
	alloc->placed[i].block = block;
}

/* The blocks that are waited for, and some after them if the writes go that way. */
static void gather(struct vhd_image *image)
{
	struct vhd_alloc *alloc = &image->alloc;
	struct vhd *vhd = image->chain;
	struct vhd_request *req;
	bool sequential;
	uint32_t block;

	alloc->nr = 0;
	TAILQ_FOREACH(req, &alloc->waiters, link) {
		block = (uint32_t)(req->pos / vhd->block_sectors);
		if (alloc->nr < VHD_ALLOC_BATCH && !in_batch(alloc, block))
			batch_add(alloc, block);
	}

	alloc->wanted = alloc->nr;
	sequential = alloc->placed[0].block == alloc->next;
	alloc->ahead = sequential && !vhd->block_device ? alloc->ahead * 2 : 1;
	if (alloc->ahead > VHD_ALLOC_BATCH)
		alloc->ahead = VHD_ALLOC_BATCH;
	block = alloc->placed[alloc->nr - 1].block + 1;
	while (alloc->nr < alloc->ahead && (uint64_t)block * vhd->block_sectors <
	       image->image.capacity && !vhd_block_allocated(vhd, block))
		alloc->placed[alloc->nr++].block = block++;
	alloc->next = block;
}

/* Places for as many of the batch as there is room for; where blocks were first. */
static int place(struct vhd_image *image)
{
	struct vhd_alloc *alloc = &image->alloc;
	struct vhd *vhd = image->chain;
	uint64_t offset;
	unsigned int i;
	int err = 0;

	alloc->end = vhd->next_free;
	alloc->reused = 0;
	for (i = 0; i < alloc->nr; i++) {
		alloc->placed[i].entry = vhd_place_peek(image, i);
		if (alloc->placed[i].entry != VHD_BAT_UNUSED) {
			alloc->reused++;
			continue;
		}
		err = vhd_place_block(vhd, alloc->end, &offset);
		if (err)
			break;
		alloc->placed[i].entry = (uint32_t)(offset / VHD_SECTOR);
		alloc->end = offset + vhd_block_span(vhd);
	}
	if (!i)
		return err;
	alloc->nr = i;
	return 0;
}

static void batch_start(struct vhd_image *image)
{
	struct vhd_alloc *alloc = &image->alloc;
	int err;

	alloc->running = true;
	if (alloc->bat_unwritten) {
		step_bat(image);
		return;
	}

	gather(image);
	err = place(image);
	if (err)
		batch_fail(image, err);
	else
		step_footer(image);
}

void vhd_alloc_request(struct vhd_request *req)
{
	struct vhd_alloc *alloc = &req->image->alloc;

	TAILQ_INSERT_TAIL(&alloc->waiters, req, link);
	vhd_alloc_go_on(req->image);
}

void vhd_alloc_go_on(struct vhd_image *image)
{
	if (!image->alloc.running && !image->release.running &&
	    !TAILQ_EMPTY(&image->alloc.waiters))
		batch_start(image);
}
