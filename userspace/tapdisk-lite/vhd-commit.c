// SPDX-License-Identifier: GPL-2.0-only
/*
 * LAYOUTCOMMIT: bits are set in memory when they have been written, so that
 * what is granted meanwhile is what the file says.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "vhd-image.h"

static void bitmap_written(struct aio_op *op, int err)
{
	struct vhd_bitmap *bitmap = container_of(op, struct vhd_bitmap, op);
	struct vhd_requests waiters = TAILQ_HEAD_INITIALIZER(waiters);
	struct vhd_request *req = bitmap->commit;
	struct vhd *vhd = bitmap->layer->vhd;

	if (err)
		syslog(LOG_ERR, "%s: writing the bitmap of block %u: %s", vhd->path,
		       bitmap->block, strerror(-err));
	else
		memcpy(bitmap->bits, bitmap->disk, vhd->bitmap_bytes);
	bitmap->syncing = false;
	TAILQ_CONCAT(&waiters, &bitmap->waiters, link);
	vhd_requests_run(&waiters);
	vhd_bitmap_unpin(bitmap);
	vhd_request_put(req, err);
}

static void bitmap_write(struct vhd_request *req, struct vhd_bitmap *bitmap)
{
	struct vhd *vhd = bitmap->layer->vhd;

	vhd_bitmap_pin(bitmap);
	bitmap->syncing = true;
	bitmap->commit = req;
	bitmap->iov.iov_base = bitmap->disk;
	bitmap->iov.iov_len = vhd->bitmap_bytes;
	bitmap->op.done = bitmap_written;
	req->pending++;
	aio_write(req->image->image.aio, &bitmap->op, vhd->fd, &bitmap->iov, 1,
		  vhd_bitmap_offset(vhd, bitmap->block));
}

static void range_begin(struct vhd_request *req)
{
	const struct blktap_extent *range = &req->req->extents[req->range];

	req->pos = range->sector;
	req->end = range->sector + range->nr_sectors;
}

/* The ranges from pos on that are in the block; bits may be NULL. */
static void take_ranges(struct vhd_request *req, uint32_t block, uint8_t *bits)
{
	uint32_t block_sectors = req->image->chain->block_sectors;

	do {
		uint32_t first = (uint32_t)(req->pos % block_sectors);
		uint64_t n = req->end - req->pos;

		if (n > block_sectors - first)
			n = block_sectors - first;
		if (bits)
			vhd_bitmap_set(bits, first, (uint32_t)n);
		req->pos += n;
		if (req->pos < req->end)
			return;
		if (++req->range == req->req->nr_extents)
			return;
		range_begin(req);
	} while (req->pos / block_sectors == block);
}

static int commit_step(struct vhd_request *req)
{
	struct vhd_image *image = req->image;
	struct vhd *vhd = image->chain;
	uint32_t block = (uint32_t)(req->pos / vhd->block_sectors);
	struct vhd_bitmap *bitmap;

	/* What was granted has a block. */
	req->err = vhd_block_allocated(vhd, block) ? image->flush.lost : -EINVAL;
	if (req->err)
		return 0;
	if (vhd_bitmap_get(&image->layers[0], block, req, &bitmap) == VHD_WAITS)
		return VHD_WAITS;
	if (!bitmap) {
		take_ranges(req, block, NULL);
		return 0;
	}
	if (bitmap->syncing) {
		TAILQ_INSERT_TAIL(&bitmap->waiters, req, link);
		return VHD_WAITS;
	}

	memcpy(bitmap->disk, bitmap->bits, vhd->bitmap_bytes);
	take_ranges(req, block, bitmap->disk);
	if (memcmp(bitmap->disk, bitmap->bits, vhd->bitmap_bytes))
		bitmap_write(req, bitmap);
	return 0;
}

static bool ranges_valid(const struct vhd_image *image, const struct image_request *req)
{
	uint64_t capacity = image->image.capacity;

	for (unsigned int i = 0; i < req->nr_extents; i++) {
		const struct blktap_extent *range = &req->extents[i];

		if (!range->nr_sectors || range->sector >= capacity ||
		    range->nr_sectors > capacity - range->sector)
			return false;
	}
	return true;
}

void vhd_layout_commit(struct vhd_image *image, struct image_request *image_req)
{
	struct vhd_request *req;

	if (image->image.rdonly || !ranges_valid(image, image_req)) {
		image_req->done(image_req, image->image.rdonly ? -EROFS : -EINVAL);
		return;
	}
	if (!image_req->nr_extents || vhd_is_flat(image->chain)) {
		image_req->done(image_req, 0);
		return;
	}
	req = vhd_request_init(image, image_req, commit_step);
	req->range = 0;
	range_begin(req);
	vhd_request_run(req);
}
