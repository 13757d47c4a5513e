// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cycles that make writes durable: fdatasync of data (and of BAT sectors that
 * were written), then the bitmaps with bits for that data, then fdatasync.
 * One cycle at a time; flushes that come meanwhile share the next one.
 *
 * A cycle takes a copy of each dirty bitmap when it begins: the bits of writes
 * that were done by then, which its first fdatasync makes durable. Bits that
 * are set later make the bitmap dirty again, for the next cycle.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "vhd-image.h"

static void cycle_start(struct vhd_image *image);

void vhd_flush_init(struct vhd_image *image)
{
	TAILQ_INIT(&image->flush.waiting);
	TAILQ_INIT(&image->flush.current);
	TAILQ_INIT(&image->flush.syncing);
}

void vhd_flush_lost(struct vhd_image *image, int err)
{
	if (image->flush.lost)
		return;
	/* Whatever the cause, it does not pass: the kernel is not to try again. */
	image->flush.lost = -EIO;
	syslog(LOG_CRIT, "%s: fdatasync: %s: writes may be lost: flushes fail until it is reopened",
	       image->chain->path, strerror(-err));
}

static bool cycle_wanted(const struct vhd_image *image)
{
	if (!TAILQ_EMPTY(&image->flush.waiting))
		return true;
	return !TAILQ_EMPTY(&image->cache.starved) && !TAILQ_EMPTY(&image->cache.dirty);
}

static void bitmap_synced(struct vhd_image *image, struct vhd_bitmap *bitmap, int err)
{
	bitmap->syncing = false;
	bitmap->dirty |= err != 0;
	if (bitmap->dirty)
		TAILQ_INSERT_TAIL(&image->cache.dirty, bitmap, link);
	else
		vhd_bitmap_settle(bitmap);
}

static void cycle_end(struct vhd_image *image, int err)
{
	struct vhd_requests answered = TAILQ_HEAD_INITIALIZER(answered);
	struct vhd_flush *flush = &image->flush;
	struct vhd_bitmap *bitmap;

	TAILQ_CONCAT(&answered, &flush->current, link);
	while ((bitmap = TAILQ_FIRST(&flush->syncing))) {
		TAILQ_REMOVE(&flush->syncing, bitmap, link);
		bitmap_synced(image, bitmap, err);
	}
	flush->running = false;
	image->image.busy--;

	/* No bitmap gets clean any more: nobody shall wait for that. */
	if (err)
		vhd_requests_fail(&image->cache.starved, err);
	vhd_requests_fail(&answered, err);
	if (!flush->running && cycle_wanted(image))
		cycle_start(image);
}

static void last_sync_done(struct aio_op *op, int err)
{
	struct vhd_image *image = container_of(op, struct vhd_image, flush.op);

	if (err)
		vhd_flush_lost(image, err);
	cycle_end(image, err);
}

static void bitmap_written(struct aio_op *op, int err)
{
	struct vhd_bitmap *bitmap = container_of(op, struct vhd_bitmap, op);
	struct vhd_image *image = bitmap->image;
	struct vhd_flush *flush = &image->flush;

	if (err) {
		syslog(LOG_ERR, "%s: writing the bitmap of block %u: %s", image->chain->path,
		       bitmap->block, strerror(-err));
		flush->err = err;
	}
	if (--flush->pending)
		return;
	if (flush->err) {
		cycle_end(image, flush->err);
		return;
	}
	flush->op.done = last_sync_done;
	aio_sync(image->image.aio, &flush->op, image->chain->fd);
}

static void data_sync_done(struct aio_op *op, int err)
{
	struct vhd_image *image = container_of(op, struct vhd_image, flush.op);
	struct vhd_flush *flush = &image->flush;
	struct vhd_bitmap *bitmap;

	if (err)
		vhd_flush_lost(image, err);
	if (flush->lost || TAILQ_EMPTY(&flush->syncing)) {
		cycle_end(image, flush->lost);
		return;
	}

	TAILQ_FOREACH(bitmap, &flush->syncing, link) {
		flush->pending++;
		bitmap->iov.iov_base = bitmap->disk;
		bitmap->iov.iov_len = image->chain->bitmap_bytes;
		bitmap->op.done = bitmap_written;
		aio_write(image->image.aio, &bitmap->op, image->chain->fd, &bitmap->iov, 1,
			  vhd_bitmap_offset(image->chain, bitmap->block));
	}
}

static void cycle_start(struct vhd_image *image)
{
	struct vhd_flush *flush = &image->flush;
	struct vhd_bitmap *bitmap;

	flush->running = true;
	image->image.busy++;
	flush->err = 0;
	TAILQ_CONCAT(&flush->current, &flush->waiting, link);
	TAILQ_CONCAT(&flush->syncing, &image->cache.dirty, link);
	TAILQ_FOREACH(bitmap, &flush->syncing, link) {
		bitmap->dirty = false;
		bitmap->syncing = true;
		memcpy(bitmap->disk, bitmap->bits, image->chain->bitmap_bytes);
	}

	flush->op.done = data_sync_done;
	aio_sync(image->image.aio, &flush->op, image->chain->fd);
}

void vhd_flush_start(struct vhd_image *image)
{
	if (!image->flush.running && cycle_wanted(image))
		cycle_start(image);
}

void vhd_flush_request(struct vhd_image *image, struct image_request *image_req)
{
	struct vhd_request *req = &image->requests[image_req->slot];

	req->req = image_req;
	req->image = image;
	req->pending = 1;
	req->nr_parts = 0;
	req->err = 0;
	TAILQ_INSERT_TAIL(&image->flush.waiting, req, link);
	vhd_flush_start(image);
}
