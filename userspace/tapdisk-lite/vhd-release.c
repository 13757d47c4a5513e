// SPDX-License-Identifier: GPL-2.0-only
/*
 * Blocks of a dynamic disk that are given back, many at a time:
 *
 *   batmap   where there is one: the blocks' bits are cleared, and that is
 *            durable, since a bit is only ever set for a block that is there;
 *   bat      the blocks are taken out; from here on requests don't see them;
 *   written  the trim is answered: the next flush makes it durable;
 *   sync     the BAT is durable, for several batches at once;
 *   punch    the places' space is given back, and they may be used again.
 *
 * So no place has two blocks, whatever of the BAT a power cut leaves: a block is
 * on the disk where it was, or nowhere.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "vhd-image.h"

#define BAT_SECTOR_ENTRIES	(VHD_SECTOR / sizeof(uint32_t))
#define BATCH_BAT_BYTES		(32 * VHD_SECTOR)
#define BATCH_BLOCKS		(BATCH_BAT_BYTES / sizeof(uint32_t))
#define BATMAP_SECTOR_BITS	(VHD_SECTOR * 8)
#define BATCH_BATMAP_BYTES	(2 * VHD_SECTOR)
#define PUNCHES_MAX		128	/* places, with one sync */

static_assert(BATCH_BLOCKS <= BATMAP_SECTOR_BITS, "two sectors of the batmap at most");

/* --- places ---------------------------------------------------------------- */

static uint32_t *place_at(struct vhd_places *places, uint64_t n)
{
	return &places->entry[(places->head + n) % places->size];
}

static uint32_t places_held(const struct vhd_places *places)
{
	return places->free + places->syncing + places->written + places->writing;
}

static uint32_t places_room(const struct vhd_places *places)
{
	return places->size - places_held(places);
}

uint32_t vhd_place_peek(struct vhd_image *image, unsigned int n)
{
	struct vhd_places *places = &image->release.places;

	return n < places->free ? *place_at(places, n) : VHD_BAT_UNUSED;
}

void vhd_places_used(struct vhd_image *image, unsigned int n)
{
	struct vhd_places *places = &image->release.places;

	places->head = (places->head + n) % places->size;
	places->free -= n;
}

/* --- sync and punch -------------------------------------------------------- */

static void cycle_start(struct vhd_image *image);

/* The bitmap's sector shares its page with what is before it: it stays. */
static void punch(struct vhd_image *image, uint32_t entry)
{
	struct vhd *vhd = image->chain;
	uint64_t data = (uint64_t)entry * VHD_SECTOR + vhd->bitmap_bytes;
	int err = vhd_punch(image, data, vhd->block_size);

	if (err)
		syslog(LOG_ERR, "%s: giving back %u bytes at %llu: %s", vhd->path,
		       vhd->block_size, (unsigned long long)data, strerror(-err));
}

static void cycle_synced(struct aio_op *op, int err)
{
	struct vhd_image *image = container_of(op, struct vhd_image, release.sync);
	struct vhd_places *places = &image->release.places;

	if (err)
		vhd_flush_lost(image, err);
	image->release.cycle = false;
	image->image.busy--;
	/* What can't be relied on to be durable is never used again. */
	if (image->flush.lost)
		return;

	for (uint32_t i = 0; i < places->syncing; i++)
		punch(image, *place_at(places, places->free + i));
	places->free += places->syncing;
	places->syncing = 0;
	cycle_start(image);
}

static void cycle_start(struct vhd_image *image)
{
	struct vhd_release *release = &image->release;
	struct vhd_places *places = &release->places;

	if (release->cycle || !places->written || image->flush.lost)
		return;
	places->syncing = places->written < PUNCHES_MAX ? places->written : PUNCHES_MAX;
	places->written -= places->syncing;
	release->cycle = true;
	image->image.busy++;
	release->sync.done = cycle_synced;
	aio_sync(image->image.aio, &release->sync, image->chain->fd);
}

/* --- a batch --------------------------------------------------------------- */

static void batch_end(struct vhd_image *image, int err)
{
	struct vhd_release *release = &image->release;
	struct vhd_request *req = release->req;

	if (err) {
		syslog(LOG_ERR, "%s: releasing blocks: %s", image->chain->path, strerror(-err));
		req->err = err;
	}
	release->running = false;
	cycle_start(image);
	vhd_alloc_go_on(image);
	vhd_request_run(req);
	vhd_release_go_on(image);
}

/* On error the blocks are on the disk or not: their places are not used again. */
static void bat_written(struct aio_op *op, int err)
{
	struct vhd_image *image = container_of(op, struct vhd_image, release.op);
	struct vhd_places *places = &image->release.places;

	if (!err)
		places->written += places->writing;
	places->writing = 0;
	batch_end(image, err);
}

static void take_block(struct vhd_image *image, uint32_t block)
{
	struct vhd_places *places = &image->release.places;
	struct vhd_layer *layer = &image->layers[0];

	*place_at(places, places_held(places)) = layer->vhd->bat[block];
	places->writing++;
	layer->vhd->bat[block] = VHD_BAT_UNUSED;
	vhd_bitmap_forget(image, block);
}

/* Requests have gone on while the batmap was written: look again. */
static void batch_bat(struct vhd_image *image)
{
	struct vhd_release *release = &image->release;
	uint32_t first = release->first, n;
	struct vhd *vhd = image->chain;
	uint8_t *to = release->buffer;

	for (n = 0; n < release->nr && vhd_releasable(image, first + n); n++)
		if (vhd_block_allocated(vhd, first + n))
			take_block(image, first + n);
	if (!release->places.writing) {
		batch_end(image, 0);
		return;
	}

	vhd_request_advance(release->req, n * vhd->block_sectors);
	for (uint32_t at = first - first % BAT_SECTOR_ENTRIES; at < first + n;
	     at += BAT_SECTOR_ENTRIES, to += VHD_SECTOR)
		vhd_bat_sector_encode(vhd, at, to);
	release->iov.iov_base = release->buffer;
	release->iov.iov_len = (size_t)(to - release->buffer);
	release->op.done = bat_written;
	aio_write(image->image.aio, &release->op, vhd->fd, &release->iov, 1,
		  vhd_bat_sector_offset(vhd, first));
}

static void batmap_synced(struct aio_op *op, int err)
{
	struct vhd_image *image = container_of(op, struct vhd_image, release.op);

	if (err) {
		vhd_flush_lost(image, err);
		batch_end(image, err);
		return;
	}
	memcpy(image->release.batmap + image->release.batmap_from, image->release.buffer,
	       image->release.iov.iov_len);
	batch_bat(image);
}

static void batmap_written(struct aio_op *op, int err)
{
	struct vhd_image *image = container_of(op, struct vhd_image, release.op);

	if (err) {
		batch_end(image, err);
		return;
	}
	op->done = batmap_synced;
	aio_sync(image->image.aio, op, image->chain->fd);
}

static bool in_batmap(const struct vhd_release *release)
{
	for (uint32_t i = 0; release->batmap && i < release->nr; i++)
		if (vhd_bitmap_test(release->batmap, release->first + i))
			return true;
	return false;
}

static void batch_batmap(struct vhd_image *image)
{
	struct vhd_release *release = &image->release;
	uint32_t from = release->first / BATMAP_SECTOR_BITS;
	uint32_t last = (release->first + release->nr - 1) / BATMAP_SECTOR_BITS;

	release->batmap_from = from * VHD_SECTOR;
	release->iov.iov_base = release->buffer;
	release->iov.iov_len = (last - from + 1) * VHD_SECTOR;
	memcpy(release->buffer, release->batmap + release->batmap_from, release->iov.iov_len);
	vhd_bitmap_clear(release->buffer, release->first - from * BATMAP_SECTOR_BITS, release->nr);
	release->op.done = batmap_written;
	aio_write(image->image.aio, &release->op, image->chain->fd, &release->iov, 1,
		  image->chain->batmap_offset + release->batmap_from);
}

/* As many blocks as have their BAT entries in the batch's sectors. */
static void batch_start(struct vhd_image *image, struct vhd_request *req)
{
	struct vhd_release *release = &image->release;
	uint32_t first = (uint32_t)(req->pos / image->chain->block_sectors);
	uint32_t nr = BATCH_BLOCKS - first % BAT_SECTOR_ENTRIES;
	uint32_t whole = vhd_trim_blocks(req);
	uint32_t room = places_room(&release->places);

	nr = nr < whole ? nr : whole;
	release->running = true;
	release->req = req;
	release->first = first;
	release->nr = nr < room ? nr : room;
	if (in_batmap(release))
		batch_batmap(image);
	else
		batch_bat(image);
}

bool vhd_release_room(const struct vhd_image *image)
{
	return places_room(&image->release.places) > 0;
}

void vhd_release_request(struct vhd_request *req)
{
	struct vhd_release *release = &req->image->release;

	if (release->running || req->image->alloc.running)
		TAILQ_INSERT_TAIL(&release->waiters, req, link);
	else
		batch_start(req->image, req);
}

int vhd_release_init(struct vhd_image *image, struct vhd_error *error)
{
	struct vhd_release *release = &image->release;
	struct vhd_places *places = &release->places;
	struct vhd *vhd = image->chain;
	int err;

	TAILQ_INIT(&release->waiters);
	if (vhd_is_flat(vhd) || image->image.rdonly)
		return 0;

	places->size = vhd->bat_entries;
	places->entry = malloc(sizeof(*places->entry) * places->size);
	release->buffer = aligned_alloc(4096, BATCH_BAT_BYTES);
	if (!places->entry || !release->buffer)
		return deny(error, ENOMEM, "%s: out of memory", vhd->path);
	err = vhd_find_places(vhd, places->entry, places->size, &places->free);
	if (err)
		return deny(error, -err, "%s: out of memory", vhd->path);
	return vhd_read_batmap(vhd, &release->batmap, error);
}

void vhd_release_exit(struct vhd_image *image)
{
	free(image->release.places.entry);
	free(image->release.buffer);
	free(image->release.batmap);
}

void vhd_release_go_on(struct vhd_image *image)
{
	struct vhd_release *release = &image->release;
	struct vhd_request *req;

	while (!release->running && !image->alloc.running &&
	       (req = TAILQ_FIRST(&release->waiters))) {
		TAILQ_REMOVE(&release->waiters, req, link);
		vhd_request_run(req);
	}
}
