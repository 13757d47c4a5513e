// SPDX-License-Identifier: GPL-2.0-only
/* Where sectors are in a chain: in the first layer from the top that has them. */
#include "vhd-image.h"

/* Go on in the layer beneath. */
#define LOOKUP_BENEATH	3

static uint32_t min_sectors(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

/* In one layer; place->sectors shrinks to those that are alike there. */
static int look_in(struct vhd_request *req, struct vhd_layer *layer, struct vhd_place *place)
{
	unsigned int budget = req->image->image.nr_layers;
	struct vhd *vhd = layer->vhd;
	struct vhd_bitmap *bitmap;
	uint32_t block, first;

	/* A parent that ends before its child reads as zeroes from there on. */
	if (req->pos >= layer->sectors)
		return 0;
	place->sectors = min_sectors(place->sectors, layer->sectors - req->pos);
	if (vhd_is_flat(vhd)) {
		place->layer = layer;
		place->offset = req->pos << SECTOR_SHIFT;
		return 0;
	}

	block = (uint32_t)(req->pos / vhd->block_sectors);
	first = (uint32_t)(req->pos % vhd->block_sectors);
	place->sectors = min_sectors(place->sectors, vhd->block_sectors - first);
	if (!vhd_block_allocated(vhd, block))
		return LOOKUP_BENEATH;

	if (layer->bitmap_of[block] == VHD_BITMAP_NONE) {
		if (req->pos >= req->must)
			return VHD_UNKNOWN;
		/* Whether the bitmaps beneath are needed is known too late. */
		vhd_bitmaps_prefetch(req->image, req->layer, req->pos, &budget);
	}
	if (vhd_bitmap_get(layer, block, req, &bitmap) == VHD_WAITS)
		return VHD_WAITS;
	if (bitmap) {
		place->sectors = vhd_bitmap_run(bitmap->bits, first, place->sectors);
		if (!vhd_bitmap_test(bitmap->bits, first))
			return LOOKUP_BENEATH;
	}
	place->layer = layer;
	place->offset = vhd_data_offset(vhd, block) + ((uint64_t)first << SECTOR_SHIFT);
	return 0;
}

int vhd_lookup(struct vhd_request *req, struct vhd_place *place)
{
	int ret;

	place->layer = NULL;
	place->sectors = req->run ? req->run : min_sectors(req->end - req->pos, UINT32_MAX);
	while (req->layer < req->image->image.nr_layers) {
		ret = look_in(req, &req->image->layers[req->layer], place);
		if (ret != LOOKUP_BENEATH)
			return ret;
		req->layer++;
		req->run = place->sectors;
	}
	return 0;
}
