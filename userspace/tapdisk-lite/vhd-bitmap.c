// SPDX-License-Identifier: GPL-2.0-only
/* The cache of sector bitmaps. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "vhd-image.h"

#define CACHE_BYTES	(4U << 20)

/*
 * More than requests can pin or load at once: a request spans two blocks at
 * most, the smallest block being larger than a request.
 */
#define CACHE_MIN	(4U * IMAGE_SLOTS)

static_assert(IMAGE_SECTORS_MAX * SECTOR_SIZE <= VHD_BLOCK_SIZE_MIN, "two blocks at most");

static uint32_t largest_bitmap(const struct vhd_image *image)
{
	uint32_t bytes = SECTOR_SIZE;

	for (unsigned int i = 0; i < image->image.nr_layers; i++) {
		const struct vhd *vhd = image->layers[i].vhd;

		if (!vhd_is_flat(vhd) && vhd->bitmap_bytes > bytes)
			bytes = vhd->bitmap_bytes;
	}
	return bytes;
}

int vhd_cache_init(struct vhd_image *image)
{
	struct vhd_cache *cache = &image->cache;
	size_t bytes = largest_bitmap(image);
	size_t nr = CACHE_BYTES / (2 * bytes);

	nr = nr > VHD_CACHE_MAX ? VHD_CACHE_MAX : nr;
	nr = nr < CACHE_MIN ? CACHE_MIN : nr;
	TAILQ_INIT(&cache->idle);
	TAILQ_INIT(&cache->dirty);
	TAILQ_INIT(&cache->starved);
	cache->bitmaps = calloc(nr, sizeof(*cache->bitmaps));
	if (!cache->bitmaps || vhd_keep_init(image, (uint32_t)nr, 2 * (uint32_t)bytes))
		return -ENOMEM;

	for (size_t i = 0; i < nr; i++) {
		struct vhd_bitmap *bitmap = &cache->bitmaps[i];

		bitmap->image = image;
		bitmap->bits = cache->memory + 2 * i * bytes;
		bitmap->disk = bitmap->bits + bytes;
		TAILQ_INIT(&bitmap->waiters);
		TAILQ_INSERT_TAIL(&cache->idle, bitmap, link);
	}
	return 0;
}

void vhd_cache_exit(struct vhd_image *image)
{
	free(image->cache.bitmaps);
	vhd_keep_exit(image);
}

static bool is_idle(const struct vhd_bitmap *bitmap)
{
	return !bitmap->loading && !bitmap->dirty && !bitmap->syncing && !bitmap->pins;
}

static bool is_full(const struct vhd_bitmap *bitmap)
{
	return vhd_bitmap_full(bitmap->bits, 0, bitmap->layer->vhd->block_sectors);
}

/* An idle bitmap is of no block any more; state is VHD_BITMAP_NONE or _FULL. */
static void forget(struct vhd_bitmap *bitmap, uint16_t state)
{
	vhd_keep_clear(bitmap->image, bitmap);
	bitmap->layer->bitmap_of[bitmap->block] = state;
	bitmap->layer = NULL;
}

static struct vhd_bitmap *take(struct vhd_cache *cache, struct vhd_layer *layer, uint32_t block)
{
	struct vhd_bitmap *bitmap = TAILQ_FIRST(&cache->idle);

	if (!bitmap)
		return NULL;
	TAILQ_REMOVE(&cache->idle, bitmap, link);
	if (bitmap->layer)
		forget(bitmap, VHD_BITMAP_NONE);

	bitmap->layer = layer;
	bitmap->block = block;
	layer->bitmap_of[block] = (uint16_t)(bitmap - cache->bitmaps);
	return bitmap;
}

static void starved_run(struct vhd_cache *cache)
{
	struct vhd_request *req;

	while (!TAILQ_EMPTY(&cache->idle) && (req = TAILQ_FIRST(&cache->starved))) {
		TAILQ_REMOVE(&cache->starved, req, link);
		vhd_request_run(req);
	}
}

void vhd_bitmap_settle(struct vhd_bitmap *bitmap)
{
	struct vhd_cache *cache = &bitmap->image->cache;

	if (!is_idle(bitmap))
		return;

	if (bitmap->layer && is_full(bitmap))
		forget(bitmap, VHD_BITMAP_FULL);
	if (bitmap->layer)
		TAILQ_INSERT_TAIL(&cache->idle, bitmap, link);
	else
		TAILQ_INSERT_HEAD(&cache->idle, bitmap, link);
	starved_run(cache);
}

static void load_done(struct aio_op *op, int err)
{
	struct vhd_bitmap *bitmap = container_of(op, struct vhd_bitmap, op);
	struct vhd_requests waiters = TAILQ_HEAD_INITIALIZER(waiters);

	TAILQ_CONCAT(&waiters, &bitmap->waiters, link);
	bitmap->loading = false;
	bitmap->image->image.busy--;
	/* Those who waited for it go before those who wait for its place. */
	bitmap->pins++;
	if (err) {
		syslog(LOG_ERR, "%s: reading the bitmap of block %u: %s",
		       bitmap->layer->vhd->path, bitmap->block, strerror(-err));
		forget(bitmap, VHD_BITMAP_NONE);
		vhd_requests_fail(&waiters, err);
	} else {
		vhd_keep_set(bitmap->image, bitmap);
		vhd_requests_run(&waiters);
	}
	vhd_bitmap_unpin(bitmap);
}

static void load(struct vhd_bitmap *bitmap)
{
	struct vhd *vhd = bitmap->layer->vhd;

	bitmap->loading = true;
	bitmap->image->image.busy++;
	bitmap->iov.iov_base = bitmap->bits;
	bitmap->iov.iov_len = vhd->bitmap_bytes;
	bitmap->op.done = load_done;
	aio_read(bitmap->image->image.aio, &bitmap->op, vhd->fd, &bitmap->iov, 1,
		 vhd_bitmap_offset(vhd, bitmap->block));
}

/* False: there is no room. */
static bool prefetch(struct vhd_image *image, struct vhd_layer *layer, uint32_t block)
{
	struct vhd_bitmap *bitmap = take(&image->cache, layer, block);

	if (!bitmap)
		return false;
	load(bitmap);
	return true;
}

bool vhd_bitmaps_prefetch(struct vhd_image *image, unsigned int first, uint64_t sector,
			  unsigned int *budget)
{
	for (unsigned int i = first; i < image->image.nr_layers; i++) {
		struct vhd_layer *layer = &image->layers[i];
		struct vhd *vhd = layer->vhd;
		uint32_t block;

		if (sector >= layer->sectors || vhd_is_flat(vhd))
			break;
		block = (uint32_t)(sector / vhd->block_sectors);
		if (!vhd_block_allocated(vhd, block))
			continue;
		if (layer->bitmap_of[block] == VHD_BITMAP_FULL)
			break;
		if (layer->bitmap_of[block] != VHD_BITMAP_NONE)
			continue;
		if (!*budget || !prefetch(image, layer, block))
			return false;
		--*budget;
	}
	return true;
}

int vhd_bitmap_get(struct vhd_layer *layer, uint32_t block, struct vhd_request *req,
		   struct vhd_bitmap **out)
{
	struct vhd_cache *cache = &req->image->cache;
	uint16_t index = layer->bitmap_of[block];
	struct vhd_bitmap *bitmap;

	*out = NULL;
	if (index == VHD_BITMAP_FULL)
		return 0;

	if (index == VHD_BITMAP_NONE) {
		bitmap = take(cache, layer, block);
		if (!bitmap) {
			TAILQ_INSERT_TAIL(&cache->starved, req, link);
			vhd_flush_start(req->image);
			return VHD_WAITS;
		}
		load(bitmap);
	} else {
		bitmap = &cache->bitmaps[index];
	}

	if (bitmap->loading) {
		TAILQ_INSERT_TAIL(&bitmap->waiters, req, link);
		return VHD_WAITS;
	}
	if (is_idle(bitmap)) {
		TAILQ_REMOVE(&cache->idle, bitmap, link);
		TAILQ_INSERT_TAIL(&cache->idle, bitmap, link);
	}
	*out = bitmap;
	return 0;
}

void vhd_bitmap_new(struct vhd_image *image, uint32_t block)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhd_bitmap *bitmap = take(&image->cache, layer, block);

	if (!bitmap)
		return;
	memset(bitmap->bits, 0, layer->vhd->bitmap_bytes);
	vhd_keep_set(image, bitmap);
	TAILQ_INSERT_TAIL(&image->cache.idle, bitmap, link);
}

bool vhd_bitmap_unused(const struct vhd_image *image, uint32_t block)
{
	uint16_t index = image->layers[0].bitmap_of[block];

	return index == VHD_BITMAP_FULL || index == VHD_BITMAP_NONE ||
	       is_idle(&image->cache.bitmaps[index]);
}

void vhd_bitmap_forget(struct vhd_image *image, uint32_t block)
{
	struct vhd_layer *layer = &image->layers[0];
	uint16_t index = layer->bitmap_of[block];
	struct vhd_bitmap *bitmap;

	if (index == VHD_BITMAP_FULL || index == VHD_BITMAP_NONE) {
		layer->bitmap_of[block] = VHD_BITMAP_NONE;
		return;
	}
	bitmap = &image->cache.bitmaps[index];
	forget(bitmap, VHD_BITMAP_NONE);
	TAILQ_REMOVE(&image->cache.idle, bitmap, link);
	TAILQ_INSERT_HEAD(&image->cache.idle, bitmap, link);
}

void vhd_bitmap_pin(struct vhd_bitmap *bitmap)
{
	if (is_idle(bitmap))
		TAILQ_REMOVE(&bitmap->image->cache.idle, bitmap, link);
	bitmap->pins++;
}

void vhd_bitmap_unpin(struct vhd_bitmap *bitmap)
{
	bitmap->pins--;
	vhd_bitmap_settle(bitmap);
}

void vhd_bitmap_mark(struct vhd_bitmap *bitmap, uint32_t first, uint32_t count)
{
	if (vhd_bitmap_full(bitmap->bits, first, count))
		return;

	vhd_bitmap_set(bitmap->bits, first, count);
	if (bitmap->dirty)
		return;
	bitmap->dirty = true;
	if (!bitmap->syncing)
		TAILQ_INSERT_TAIL(&bitmap->image->cache.dirty, bitmap, link);
}
