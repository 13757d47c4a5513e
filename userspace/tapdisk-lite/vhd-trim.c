// SPDX-License-Identifier: GPL-2.0-only
/*
 * Trim. Of a dynamic disk whole blocks are released; of what is a part of a block
 * or must go on hiding a parent's data the space is given back, and the metadata
 * stays. A trimmed sector reads as zeroes or as before.
 */
#include <errno.h>

#include "vhd-image.h"

static uint64_t round_up(uint64_t x, uint64_t to)
{
	return (x + to - 1) / to * to;
}

/* Whole pages: what shares one with them may be on its way there. */
int vhd_punch(struct vhd_image *image, uint64_t offset, uint64_t bytes)
{
	uint64_t first = round_up(offset, VHD_ALIGN);
	uint64_t end = (offset + bytes) / VHD_ALIGN * VHD_ALIGN;
	int err;

	if (image->no_punch || first >= end)
		return 0;
	err = aio_punch(image->image.aio, image->chain->fd, first, end - first);
	if (err != -EOPNOTSUPP)
		return err;
	image->no_punch = true;
	return 0;
}

uint32_t vhd_trim_blocks(const struct vhd_request *req)
{
	uint32_t block_sectors = req->image->chain->block_sectors;
	uint64_t end = req->end;

	if (req->pos % block_sectors)
		return 0;
	if (end == req->image->image.capacity)
		end = round_up(end, block_sectors);
	return (uint32_t)((end - req->pos) / block_sectors);
}

static bool has_parts_in(const struct vhd_request *req, uint64_t first, uint64_t end)
{
	return req->pending && req->nr_parts && req->req->sector < end &&
	       req->req->sector + req->req->nr_sectors > first;
}

bool vhd_releasable(struct vhd_image *image, uint32_t block)
{
	uint64_t first = (uint64_t)block * image->chain->block_sectors;

	if (!vhd_block_allocated(image->chain, block))
		return true;
	for (unsigned int i = 0; i < IMAGE_SLOTS; i++)
		if (has_parts_in(&image->requests[i], first,
				 first + image->chain->block_sectors))
			return false;
	return vhd_bitmap_unused(image, block);
}

/* Sectors that are in the block's bitmap; bits may be NULL: all are. */
static int punch_sectors(struct vhd_request *req, const uint8_t *bits, uint32_t n)
{
	struct vhd_image *image = req->image;
	uint32_t block_sectors = image->chain->block_sectors;
	uint32_t first = (uint32_t)(req->pos % block_sectors);
	uint64_t data = vhd_data_offset(image->chain, (uint32_t)(req->pos / block_sectors));
	uint32_t end = first + n, run;
	int err = 0;

	for (; first < end && !err; first += run) {
		run = bits ? vhd_bitmap_run(bits, first, end - first) : n;
		if (!bits || vhd_bitmap_test(bits, first))
			err = vhd_punch(image, data + (uint64_t)first * VHD_SECTOR,
					(uint64_t)run * VHD_SECTOR);
	}
	return err;
}

/* Past the blocks that are not there. */
static void skip_blocks(struct vhd_request *req, uint32_t block)
{
	const struct vhd *vhd = req->image->chain;

	while (++block < vhd->bat_entries && !vhd_block_allocated(vhd, block))
		;
	vhd_request_advance(req, (uint32_t)((uint64_t)block * vhd->block_sectors - req->pos));
}

static int trim_step(struct vhd_request *req)
{
	struct vhd_image *image = req->image;
	struct vhd *vhd = image->chain;
	uint32_t block = (uint32_t)(req->pos / vhd->block_sectors);
	uint32_t n = vhd->block_sectors - (uint32_t)(req->pos % vhd->block_sectors);
	struct vhd_bitmap *bitmap = NULL;

	if (!vhd_block_allocated(vhd, block)) {
		skip_blocks(req, block);
		return 0;
	}
	if (vhd->type == VHD_TYPE_DYNAMIC && vhd_trim_blocks(req) &&
	    vhd_release_room(image) && vhd_releasable(image, block)) {
		vhd_release_request(req);
		return VHD_WAITS;
	}

	if (n > req->end - req->pos)
		n = (uint32_t)(req->end - req->pos);
	if (vhd->type == VHD_TYPE_DIFFERENCING &&
	    vhd_bitmap_get(&image->layers[0], block, req, &bitmap) == VHD_WAITS)
		return VHD_WAITS;
	req->err = punch_sectors(req, bitmap ? bitmap->bits : NULL, n);
	vhd_request_advance(req, n);
	return 0;
}

void vhd_request_trim(struct vhd_image *image, struct image_request *image_req)
{
	vhd_request_run(vhd_request_init(image, image_req, trim_step));
}
