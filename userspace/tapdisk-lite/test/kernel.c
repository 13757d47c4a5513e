// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_SECTORS	4096U
#define FILE_INDEX(i)	(7 + 3 * (i))	/* of layer i */
#define FORGETS_ONE_IN	60
#define SMALL_DISK	(1U << 20)	/* sectors: of a larger one nothing is forgotten */
#define DIRTY		4		/* beside BLKTAP_EXT_*: was INVALID_DATA, holds data */
#define ABSENT		5

struct kernel_io {
	TAILQ_ENTRY(kernel_io) link;	/* parked behind another, or waiting to flush */
	struct kernel *kernel;
	struct image_request *req;	/* the guest's */
	bool write;
	bool trim;			/* when what is dirty has been committed */
	uint64_t done;			/* sectors of it */
	uint64_t seq;
	bool getting;
	TAILQ_HEAD(, kernel_io) parked;
	struct image_request get;	/* also a flush's commit */
	struct blktap_extent extents[BLKTAP_EXTENTS_MAX];
	uint8_t state;			/* of the part in flight, as all that follows */
	uint64_t sectors;
	struct aio_op op;
	struct iovec iov[IMAGE_IOV_MAX];
};

struct place {
	uint8_t state;
	unsigned int layer;
	uint64_t offset;
	uint64_t sectors;
};

/**
 * struct kernel
 * @image: what the guest has
 * @inner: what is behind it
 * @seq: changes when extents are forgotten
 * @rw: by sector: READ_WRITE_DATA, INVALID_DATA, DIRTY or ABSENT
 * @rw_at: its sector in the leaf
 * @ro: by sector: READ_DATA, NONE_DATA or ABSENT
 * @ro_layer: which layer
 * @ro_at: its sector there
 * @flushes: the first is under way
 * @scanned: dirty ranges before here have been committed
 * @again: the commit that is sent a second time
 */
struct kernel {
	struct image image;
	struct image *inner;
	struct guest *guest;
	uint64_t seq;
	bool remembers;
	unsigned int upcalls;
	uint8_t *rw;
	uint32_t *rw_at;
	uint8_t *ro;
	uint8_t *ro_layer;
	uint32_t *ro_at;
	TAILQ_HEAD(, kernel_io) flushes;
	uint64_t scanned;
	struct image_request again;
	struct blktap_extent again_extents[BLKTAP_EXTENTS_MAX];
	unsigned int commits;		/* in flight */
	int commit_err;
	struct kernel_io ios[GUEST_SLOTS];
};

static void io_run(struct kernel_io *io);
static void flush_begin(struct kernel_io *io);

static struct kernel *kernel_of(const struct guest *guest)
{
	return container_of(guest->image, struct kernel, image);
}

static void forget_all(struct kernel *kernel)
{
	kernel->seq++;
	for (uint64_t i = 0; i < kernel->image.capacity; i++)
		if (kernel->rw[i] != DIRTY)
			kernel->rw[i] = ABSENT;
	memset(kernel->ro, ABSENT, kernel->image.capacity);
}

static bool serves(const struct blktap_extent *ext, const struct image_request *req)
{
	if (req->sector < ext->sector || req->sector - ext->sector >= ext->nr_sectors)
		return false;
	if (!req->write)
		return ext->state != BLKTAP_EXT_INVALID_DATA;
	return ext->state == BLKTAP_EXT_READ_WRITE_DATA || ext->state == BLKTAP_EXT_INVALID_DATA;
}

static unsigned int layer_of(const struct image *image, const struct blktap_extent *ext)
{
	unsigned int i = 0;

	while (i < image->nr_layers && image->layers[i].file != ext->file)
		i++;
	return i;
}

static void check_extent(const struct image *image, const struct blktap_extent *ext)
{
	unsigned int layer = layer_of(image, ext);

	assert_true(ext->nr_sectors > 0);
	assert_true(ext->sector < image->capacity);
	assert_true(ext->nr_sectors <= image->capacity - ext->sector);
	assert_true(ext->state <= BLKTAP_EXT_NONE_DATA);
	if (ext->state == BLKTAP_EXT_NONE_DATA)
		return;
	assert_true(ext->offset % SECTOR_SIZE == 0);
	assert_true(layer < image->nr_layers);
	if (ext->state != BLKTAP_EXT_READ_DATA)
		assert_true(layer == 0 && !image->rdonly);
}

static bool is_beneath(const struct blktap_extent *ext)
{
	return ext->state == BLKTAP_EXT_READ_DATA || ext->state == BLKTAP_EXT_NONE_DATA;
}

/* Each sector of an INVALID_DATA extent has something beneath it. */
static void check_beneath(const struct image_request *req, const struct blktap_extent *invalid)
{
	uint64_t at = invalid->sector, end = at + invalid->nr_sectors;

	for (unsigned int i = 0; i < req->nr_extents && at < end; i++) {
		const struct blktap_extent *ext = &req->extents[i];

		if (is_beneath(ext) && ext->sector <= at && ext->sector + ext->nr_sectors > at)
			at = ext->sector + ext->nr_sectors;
	}
	assert_true(at >= end);
}

void check_answer(const struct image *image, const struct image_request *req)
{
	bool served = false;

	assert_in_range(req->nr_extents, 1, BLKTAP_EXTENTS_MAX);
	for (unsigned int i = 0; i < req->nr_extents; i++) {
		const struct blktap_extent *ext = &req->extents[i];
		const struct blktap_extent *prev = i ? ext - 1 : NULL;
		bool invalid = ext->state == BLKTAP_EXT_INVALID_DATA;
		bool was = prev && prev->state == BLKTAP_EXT_INVALID_DATA;

		check_extent(image, ext);
		assert_false(was && !invalid);
		if (prev && was == invalid)
			assert_true(prev->sector + prev->nr_sectors <= ext->sector);
		if (invalid) {
			assert_true(req->write);
			check_beneath(req, ext);
		}
		served |= serves(ext, req);
	}
	assert_true(served);
}

/* What is written to is never put back to what it was; the rest is replaced. */
static void map_sector(struct kernel *kernel, const struct blktap_extent *ext, uint64_t i)
{
	uint64_t sector = ext->sector + i;
	uint32_t at = (uint32_t)(ext->offset / SECTOR_SIZE + i);

	if (is_beneath(ext)) {
		kernel->ro[sector] = (uint8_t)ext->state;
		kernel->ro_layer[sector] = (uint8_t)layer_of(kernel->inner, ext);
		kernel->ro_at[sector] = at;
	} else if (kernel->rw[sector] == ABSENT) {
		kernel->rw[sector] = (uint8_t)ext->state;
		kernel->rw_at[sector] = at;
	}
}

static void map_answer(struct kernel *kernel, const struct image_request *req)
{
	for (unsigned int i = 0; i < req->nr_extents; i++)
		for (uint64_t n = 0; n < req->extents[i].nr_sectors; n++)
			map_sector(kernel, &req->extents[i], n);
}

/* One sector's. False: a miss. */
static bool find_one(const struct kernel *kernel, uint64_t sector, bool write, struct place *place)
{
	uint8_t rw = kernel->rw[sector];

	place->sectors = 1;
	if (rw != ABSENT && (write || rw != BLKTAP_EXT_INVALID_DATA)) {
		place->state = rw;
		place->layer = 0;
		place->offset = (uint64_t)kernel->rw_at[sector] * SECTOR_SIZE;
		return true;
	}
	place->state = kernel->ro[sector];
	place->layer = kernel->ro_layer[sector];
	place->offset = (uint64_t)kernel->ro_at[sector] * SECTOR_SIZE;
	return !write && place->state != ABSENT;
}

/* As many sectors as lie together, at most max. */
static bool find(const struct kernel *kernel, uint64_t sector, uint64_t max, bool write,
		 struct place *place)
{
	struct place next;

	if (!find_one(kernel, sector, write, place))
		return false;
	while (place->sectors < max &&
	       find_one(kernel, sector + place->sectors, write, &next) &&
	       next.state == place->state &&
	       (place->state == BLKTAP_EXT_NONE_DATA ||
		(next.layer == place->layer &&
		 next.offset == place->offset + place->sectors * SECTOR_SIZE)))
		place->sectors++;
	return true;
}

/* Data has landed: also where the extent was forgotten meanwhile. */
static void mark_dirty(struct kernel *kernel, uint64_t sector, uint64_t sectors, uint64_t offset)
{
	for (uint64_t i = 0; i < sectors; i++) {
		uint8_t *rw = &kernel->rw[sector + i];

		if (*rw != ABSENT && *rw != BLKTAP_EXT_INVALID_DATA)
			continue;
		*rw = DIRTY;
		kernel->rw_at[sector + i] = (uint32_t)(offset / SECTOR_SIZE + i);
	}
}

static void part_done(struct aio_op *op, int err)
{
	struct kernel_io *io = container_of(op, struct kernel_io, op);

	if (err) {
		io->req->done(io->req, err);
		return;
	}
	if (io->write && io->state == BLKTAP_EXT_INVALID_DATA)
		mark_dirty(io->kernel, io->req->sector + io->done, io->sectors, op->offset);
	io->done += io->sectors;
	io_run(io);
}

static void part_begin(struct kernel_io *io, const struct place *place)
{
	struct kernel *kernel = io->kernel;
	int fd = kernel->inner->layers[place->layer].fd;
	int n = iov_slice(io->req->iov, io->req->iovcnt, io->done * SECTOR_SIZE,
			  place->sectors * SECTOR_SIZE, io->iov);

	io->state = place->state;
	io->sectors = place->sectors;
	io->op.done = part_done;
	if (io->write)
		aio_write(kernel->image.aio, &io->op, fd, io->iov, n, place->offset);
	else
		aio_read(kernel->image.aio, &io->op, fd, io->iov, n, place->offset);
}

static void get_done(struct image_request *get, int err)
{
	struct kernel_io *io = container_of(get, struct kernel_io, get), *next;
	struct kernel *kernel = io->kernel;

	if (!err) {
		check_answer(kernel->inner, get);
		if (!kernel->remembers && !guest_random(kernel->guest, FORGETS_ONE_IN))
			forget_all(kernel);
		if (io->seq == kernel->seq)
			map_answer(kernel, get);
	}
	io->getting = false;
	while ((next = TAILQ_FIRST(&io->parked))) {
		TAILQ_REMOVE(&io->parked, next, link);
		if (err)
			next->req->done(next->req, err);
		else
			io_run(next);
	}
	if (err)
		io->req->done(io->req, err);
	else
		io_run(io);
}

static bool join(struct kernel_io *io, uint64_t sector)
{
	for (unsigned int i = 0; i < GUEST_SLOTS; i++) {
		struct kernel_io *other = &io->kernel->ios[i];

		if (other->getting && other->get.write == io->write &&
		    other->get.sector / CHUNK_SECTORS == sector / CHUNK_SECTORS) {
			TAILQ_INSERT_TAIL(&other->parked, io, link);
			return true;
		}
	}
	return false;
}

static void miss(struct kernel_io *io, uint64_t sector)
{
	struct kernel *kernel = io->kernel;
	uint64_t left = kernel->image.capacity - sector;

	if (join(io, sector))
		return;
	io->get.sector = sector;
	io->get.nr_sectors = CHUNK_SECTORS - sector % CHUNK_SECTORS;
	if (io->get.nr_sectors > left)
		io->get.nr_sectors = left;
	io->get.write = io->write;
	io->get.done = get_done;
	io->seq = kernel->seq;
	io->getting = true;
	kernel->upcalls++;
	kernel->inner->driver->layout_get(kernel->inner, &io->get);
}

static void io_run(struct kernel_io *io)
{
	struct image_request *req = io->req;
	struct place place;

	while (io->done < req->nr_sectors) {
		uint64_t sector = req->sector + io->done;

		if (!find(io->kernel, sector, req->nr_sectors - io->done, io->write, &place)) {
			miss(io, sector);
			return;
		}
		if (place.state != BLKTAP_EXT_NONE_DATA) {
			part_begin(io, &place);
			return;
		}
		iov_zero(req->iov, req->iovcnt, io->done * SECTOR_SIZE,
			 place.sectors * SECTOR_SIZE);
		io->done += place.sectors;
	}
	req->done(req, 0);
}

static void io_start(struct image *image, struct image_request *req, bool write)
{
	struct kernel *kernel = container_of(image, struct kernel, image);
	struct kernel_io *io = &kernel->ios[req->slot];

	io->req = req;
	io->write = write;
	io->done = 0;
	io_run(io);
}

static void kernel_read(struct image *image, struct image_request *req)
{
	io_start(image, req, false);
}

static void kernel_write(struct image *image, struct image_request *req)
{
	io_start(image, req, true);
}

/* The next dirty ranges, as many as there is room for. */
static void take_dirty(struct kernel *kernel, struct image_request *commit)
{
	uint64_t i = kernel->scanned;

	commit->nr_extents = 0;
	while (i < kernel->image.capacity && commit->nr_extents < BLKTAP_EXTENTS_MAX) {
		struct blktap_extent *range = &commit->extents[commit->nr_extents];

		if (kernel->rw[i] != DIRTY) {
			i++;
			continue;
		}
		range->sector = i;
		while (i < kernel->image.capacity && kernel->rw[i] == DIRTY)
			i++;
		range->nr_sectors = i - range->sector;
		commit->nr_extents++;
	}
	kernel->scanned = i;
}

static void recall(struct kernel *kernel, uint64_t sector, uint64_t sectors)
{
	kernel->seq++;
	memset(kernel->rw + sector, ABSENT, sectors);
	memset(kernel->ro + sector, ABSENT, sectors);
}

/* What was granted meanwhile may be from before the trim. */
static void trim_done(struct image_request *trim, int err)
{
	struct kernel_io *io = container_of(trim, struct kernel_io, get);

	recall(io->kernel, trim->sector, trim->nr_sectors);
	io->req->done(io->req, err);
}

/* Nothing of the range is dirty, and nothing is in flight there. */
static void trim_begin(struct kernel_io *io)
{
	struct kernel *kernel = io->kernel;

	recall(kernel, io->req->sector, io->req->nr_sectors);
	io->get.sector = io->req->sector;
	io->get.nr_sectors = io->req->nr_sectors;
	io->get.done = trim_done;
	kernel->inner->driver->trim(kernel->inner, &io->get);
}

static void flush_end(struct kernel_io *io, int err)
{
	struct kernel *kernel = io->kernel;

	TAILQ_REMOVE(&kernel->flushes, io, link);
	if (io->trim && !err)
		trim_begin(io);
	else
		io->req->done(io->req, err);
	if (!TAILQ_EMPTY(&kernel->flushes))
		flush_begin(TAILQ_FIRST(&kernel->flushes));
}

static void sync_leaf(struct kernel_io *io, void (*done)(struct aio_op *, int))
{
	io->op.done = done;
	aio_sync(io->kernel->image.aio, &io->op, io->kernel->inner->layers[0].fd);
}

static void last_synced(struct aio_op *op, int err)
{
	flush_end(container_of(op, struct kernel_io, op), err);
}

static void data_synced(struct aio_op *op, int err);

static void commit_answered(struct kernel_io *io, int err)
{
	struct kernel *kernel = io->kernel;

	if (err && !kernel->commit_err)
		kernel->commit_err = err;
	if (--kernel->commits)
		return;
	if (kernel->commit_err) {
		flush_end(io, kernel->commit_err);
		return;
	}
	for (unsigned int i = 0; i < io->get.nr_extents; i++)
		memset(&kernel->rw[io->extents[i].sector], BLKTAP_EXT_READ_WRITE_DATA,
		       io->extents[i].nr_sectors);
	take_dirty(kernel, &io->get);
	sync_leaf(io, io->get.nr_extents ? data_synced : last_synced);
}

static void commit_done(struct image_request *commit, int err)
{
	commit_answered(container_of(commit, struct kernel_io, get), err);
}

static void again_done(struct image_request *again, int err)
{
	struct kernel *kernel = container_of(again, struct kernel, again);

	commit_answered(TAILQ_FIRST(&kernel->flushes), err);
}

static void data_synced(struct aio_op *op, int err)
{
	struct kernel_io *io = container_of(op, struct kernel_io, op);
	struct kernel *kernel = io->kernel;
	bool twice = !guest_random(kernel->guest, 4);

	if (err || !io->get.nr_extents) {
		flush_end(io, err);
		return;
	}
	kernel->commit_err = 0;
	kernel->commits = 1 + twice;
	memcpy(kernel->again_extents, io->extents, sizeof(io->extents));
	kernel->again.nr_extents = io->get.nr_extents;
	io->get.done = commit_done;
	kernel->inner->driver->layout_commit(kernel->inner, &io->get);
	if (twice)
		kernel->inner->driver->layout_commit(kernel->inner, &kernel->again);
}

static void flush_begin(struct kernel_io *io)
{
	struct kernel *kernel = io->kernel;

	kernel->scanned = 0;
	take_dirty(kernel, &io->get);
	sync_leaf(io, data_synced);
}

static void flush_start(struct image *image, struct image_request *req, bool trim)
{
	struct kernel *kernel = container_of(image, struct kernel, image);
	struct kernel_io *io = &kernel->ios[req->slot];

	io->req = req;
	io->trim = trim;
	if (kernel->inner->rdonly) {
		req->done(req, 0);
		return;
	}
	TAILQ_INSERT_TAIL(&kernel->flushes, io, link);
	if (TAILQ_FIRST(&kernel->flushes) == io)
		flush_begin(io);
}

static void kernel_flush(struct image *image, struct image_request *req)
{
	flush_start(image, req, false);
}

static void kernel_trim(struct image *image, struct image_request *req)
{
	flush_start(image, req, true);
}

static void kernel_close(struct image *image)
{
	struct kernel *kernel = container_of(image, struct kernel, image);

	while (kernel->inner->busy) {
		aio_submit(image->aio);
		if (kernel->inner->busy)
			assert_int_equal(loop_turn(image->aio->loop, 10000), 0);
		aio_submit(image->aio);
	}
	image_close(kernel->inner);
	free(kernel->rw);
	free(kernel->rw_at);
	free(kernel->ro);
	free(kernel->ro_layer);
	free(kernel->ro_at);
	free(kernel);
}

static const struct image_driver kernel_driver = {
	.name = "kernel",
	.close = kernel_close,
	.read = kernel_read,
	.write = kernel_write,
	.flush = kernel_flush,
	.trim = kernel_trim,
};

static void maps_init(struct kernel *kernel)
{
	uint64_t sectors = kernel->image.capacity;

	kernel->rw = malloc(sectors);
	kernel->rw_at = calloc(sectors, sizeof(*kernel->rw_at));
	kernel->ro = malloc(sectors);
	kernel->ro_layer = calloc(sectors, 1);
	kernel->ro_at = calloc(sectors, sizeof(*kernel->ro_at));
	assert_true(kernel->rw && kernel->rw_at && kernel->ro && kernel->ro_layer &&
		    kernel->ro_at);
	memset(kernel->rw, ABSENT, sectors);
	memset(kernel->ro, ABSENT, sectors);
}

void kernel_begin(struct guest *guest)
{
	struct kernel *kernel = calloc(1, sizeof(*kernel));
	struct image *inner = guest->image;

	assert_non_null(kernel);
	assert_true(inner->nr_layers < UINT8_MAX);
	for (unsigned int i = 0; i < inner->nr_layers; i++)
		inner->layers[i].file = FILE_INDEX(i);
	kernel->inner = inner;
	kernel->guest = guest;
	kernel->remembers = inner->capacity > SMALL_DISK;
	kernel->image = *inner;
	kernel->image.driver = &kernel_driver;
	kernel->image.name = strdup(inner->name);
	kernel->image.busy = 0;
	maps_init(kernel);
	TAILQ_INIT(&kernel->flushes);
	for (unsigned int i = 0; i < GUEST_SLOTS; i++) {
		struct kernel_io *io = &kernel->ios[i];

		io->kernel = kernel;
		io->get.slot = i;
		io->get.extents = io->extents;
		TAILQ_INIT(&io->parked);
	}
	kernel->again.slot = GUEST_SLOTS;
	kernel->again.extents = kernel->again_extents;
	kernel->again.done = again_done;
	guest->image = &kernel->image;
}

bool kernel_busy(const struct image *image)
{
	if (image->driver != &kernel_driver)
		return image->busy;
	return container_of(image, struct kernel, image)->inner->busy;
}

unsigned int kernel_upcalls(const struct guest *guest)
{
	return kernel_of(guest)->upcalls;
}

void kernel_remembers(struct guest *guest)
{
	kernel_of(guest)->remembers = true;
}
