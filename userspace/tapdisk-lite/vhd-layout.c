// SPDX-License-Identifier: GPL-2.0-only
/*
 * LAYOUTGET: extents from the block of the sector that is asked for onwards,
 * the first in the answer being those of that block. What follows is granted as
 * far as nothing has to be read or allocated for it, and the answer has room.
 */
#include <errno.h>
#include <string.h>

#include "vhd-image.h"

#define AHEAD_BLOCKS	32	/* whose bitmaps are read for one answer */
#define AHEAD_BITMAPS	128	/* of all layers, but for those of the first block */
#define ANSWER_BLOCKS	1024	/* looked at for one answer */

static bool leaf_has_block(const struct vhd_image *image, uint64_t sector)
{
	const struct vhd *vhd = image->chain;

	if (vhd_is_flat(vhd))
		return true;
	return vhd_block_allocated(vhd, (uint32_t)(sector / vhd->block_sectors));
}

static bool continues(const struct blktap_extent *prev, const struct blktap_extent *ext)
{
	if (prev->state != ext->state || prev->sector + prev->nr_sectors != ext->sector)
		return false;
	return ext->state == BLKTAP_EXT_NONE_DATA ||
	       (prev->file == ext->file &&
		prev->offset + (prev->nr_sectors << SECTOR_SHIFT) == ext->offset);
}

/* The answer is all others in order, then INVALID_DATA in order. False: no room. */
static bool answer_add(struct vhd_request *req, const struct blktap_extent *ext)
{
	bool invalid = ext->state == BLKTAP_EXT_INVALID_DATA;
	struct blktap_extent *extents = req->req->extents;
	unsigned int nr = req->req->nr_extents;
	unsigned int begin = invalid ? nr - req->nr_invalid : 0;
	unsigned int end = invalid ? nr : nr - req->nr_invalid;

	if (end > begin && continues(&extents[end - 1], ext)) {
		extents[end - 1].nr_sectors += ext->nr_sectors;
		return true;
	}
	if (nr == BLKTAP_EXTENTS_MAX)
		return false;

	memmove(&extents[end + 1], &extents[end], (nr - end) * sizeof(*extents));
	extents[end] = *ext;
	req->req->nr_extents++;
	req->nr_invalid += invalid;
	return true;
}

static uint32_t found_state(const struct vhd_image *image, const struct vhd_place *place)
{
	if (!place->layer)
		return BLKTAP_EXT_NONE_DATA;
	if (place->layer == &image->layers[0] && !image->image.rdonly)
		return BLKTAP_EXT_READ_WRITE_DATA;
	return BLKTAP_EXT_READ_DATA;
}

/* Where the sectors are read, and if asked for where they are written. */
static bool answer_place(struct vhd_request *req, const struct vhd_place *place)
{
	struct vhd_image *image = req->image;
	struct vhd *vhd = image->chain;
	struct blktap_extent ext = {
		.sector = req->pos,
		.nr_sectors = place->sectors,
		.offset = place->layer ? place->offset : 0,
		.file = place->layer ? place->layer->stats->file : 0,
		.state = found_state(image, place),
	};

	if (!answer_add(req, &ext))
		return false;
	if (!req->write || ext.state == BLKTAP_EXT_READ_WRITE_DATA ||
	    !leaf_has_block(image, req->pos))
		return true;

	ext.state = BLKTAP_EXT_INVALID_DATA;
	ext.file = image->layers[0].stats->file;
	ext.offset = vhd_data_offset(vhd, (uint32_t)(req->pos / vhd->block_sectors)) +
		     (req->pos % vhd->block_sectors << SECTOR_SHIFT);
	return answer_add(req, &ext);
}

/* Without the sector that was asked for begin anew, with it. */
static void answer_full(struct vhd_request *req)
{
	if (req->pos > req->req->sector) {
		req->end = req->pos;
		return;
	}
	req->req->nr_extents = 0;
	req->nr_invalid = 0;
	req->pos = req->req->sector;
	vhd_request_advance(req, 0);
}

static int layout_step(struct vhd_request *req)
{
	bool has_block = leaf_has_block(req->image, req->pos);
	struct vhd_place place;
	int ret;

	if (req->write && !has_block) {
		if (req->pos < req->must) {
			vhd_alloc_request(req);
			return VHD_WAITS;
		}
		req->end = req->pos;
		return 0;
	}
	ret = vhd_lookup(req, &place);
	if (ret == VHD_WAITS)
		return VHD_WAITS;

	if (ret == VHD_UNKNOWN)
		req->end = req->pos;
	else if (answer_place(req, &place))
		vhd_request_advance(req, place.sectors);
	else
		answer_full(req);
	return 0;
}

/* The blocks after the first one, whose bitmaps are read by the lookup. */
static void read_ahead(struct vhd_request *req)
{
	uint32_t block_sectors = req->image->chain->block_sectors;
	unsigned int budget = AHEAD_BITMAPS;
	uint64_t sector = req->pos;

	for (unsigned int i = 1; i < AHEAD_BLOCKS; i++) {
		sector += block_sectors;
		if (sector >= req->end || !vhd_bitmaps_prefetch(req->image, 0, sector, &budget))
			break;
	}
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void vhd_layout_get(struct vhd_image *image, struct image_request *image_req)
{
	struct vhd_request *req = vhd_request_init(image, image_req, layout_step);
	uint64_t block_sectors = image->chain->block_sectors;
	uint64_t capacity = image->image.capacity;

	if (image_req->write && image->image.rdonly) {
		image_req->done(image_req, -EROFS);
		return;
	}
	image_req->nr_extents = 0;
	req->nr_invalid = 0;
	req->write = image_req->write;
	if (vhd_is_flat(image->chain)) {
		req->pos = 0;
		req->end = capacity;
		req->must = capacity;
	} else {
		req->pos = image_req->sector - image_req->sector % block_sectors;
		req->end = min_u64(capacity, req->pos + ANSWER_BLOCKS * block_sectors);
		req->must = min_u64(capacity, req->pos + block_sectors);
		read_ahead(req);
	}
	vhd_request_run(req);
}
