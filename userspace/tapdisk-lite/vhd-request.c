// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads and writes: cut into parts that are in one place of one file each. A
 * request that needs a bitmap or a block which is not there yet waits in a
 * list, and goes on from where it was.
 */
#include <errno.h>

#include "vhd-image.h"

void vhd_request_put(struct vhd_request *req, int err)
{
	if (err && !req->err)
		req->err = err;
	if (--req->pending == 0)
		req->req->done(req->req, req->err);
}

static void read_done(struct aio_op *op, int err)
{
	struct vhd_part *part = container_of(op, struct vhd_part, op);
	struct image_request *req = part->req->req;

	/* The one case in which the format lets data end before its block. */
	if (err == -ENODATA && part->layer->vhd->end_footer_lost) {
		iov_zero(req->iov, req->iovcnt, part->offset + op->moved, op->bytes - op->moved);
		err = 0;
	}
	image_count_read(part->layer->stats, part->sectors, err);
	vhd_request_put(part->req, err);
}

static void write_done(struct aio_op *op, int err)
{
	struct vhd_part *part = container_of(op, struct vhd_part, op);

	image_count_write(part->layer->stats, part->sectors, err);
	if (part->bitmap) {
		if (!err)
			vhd_bitmap_mark(part->bitmap, part->first_bit, part->sectors);
		vhd_bitmap_unpin(part->bitmap);
	}
	vhd_request_put(part->req, err);
}

/* Sectors [pos, pos + sectors) of the request are at byte offset of layer. */
static struct vhd_part *part_queue(struct vhd_request *req, struct vhd_layer *layer,
				   uint32_t sectors, uint64_t offset)
{
	struct aio *aio = req->image->image.aio;
	struct vhd_part *part = &req->parts[req->nr_parts++];
	struct iovec *iov = &req->iov[req->nr_iov];
	int iovcnt;

	part->req = req;
	part->layer = layer;
	part->offset = (req->pos - req->req->sector) << SECTOR_SHIFT;
	part->sectors = sectors;
	part->bitmap = NULL;
	iovcnt = iov_slice(req->req->iov, req->req->iovcnt, part->offset,
			   (size_t)sectors << SECTOR_SHIFT, iov);
	req->nr_iov += (unsigned int)iovcnt;
	req->pending++;

	part->op.done = req->write ? write_done : read_done;
	if (req->write)
		aio_write(aio, &part->op, layer->vhd->fd, iov, iovcnt, offset);
	else
		aio_read(aio, &part->op, layer->vhd->fd, iov, iovcnt, offset);
	return part;
}

void vhd_request_advance(struct vhd_request *req, uint32_t sectors)
{
	req->pos += sectors;
	req->layer = 0;
	req->run = 0;
}

static int read_step(struct vhd_request *req)
{
	struct vhd_place place;
	int ret = vhd_lookup(req, &place);

	if (ret)
		return ret;
	if (place.layer)
		part_queue(req, place.layer, place.sectors, place.offset);
	else
		iov_zero(req->req->iov, req->req->iovcnt,
			 (req->pos - req->req->sector) << SECTOR_SHIFT,
			 (size_t)place.sectors << SECTOR_SHIFT);
	vhd_request_advance(req, place.sectors);
	return 0;
}

static int write_step(struct vhd_request *req)
{
	struct vhd_layer *layer = &req->image->layers[0];
	uint32_t n = (uint32_t)(req->end - req->pos);
	struct vhd *vhd = layer->vhd;
	struct vhd_bitmap *bitmap;
	struct vhd_part *part;
	uint32_t block, first;

	if (vhd_is_flat(vhd)) {
		part_queue(req, layer, n, req->pos << SECTOR_SHIFT);
		vhd_request_advance(req, n);
		return 0;
	}

	block = (uint32_t)(req->pos / vhd->block_sectors);
	first = (uint32_t)(req->pos % vhd->block_sectors);
	if (n > vhd->block_sectors - first)
		n = vhd->block_sectors - first;
	if (!vhd_block_allocated(vhd, block)) {
		vhd_alloc_request(req);
		return VHD_WAITS;
	}

	if (vhd_bitmap_get(layer, block, req, &bitmap) == VHD_WAITS)
		return VHD_WAITS;
	part = part_queue(req, layer, n,
			  vhd_data_offset(vhd, block) + ((uint64_t)first << SECTOR_SHIFT));
	if (bitmap && !vhd_bitmap_full(bitmap->bits, first, n)) {
		vhd_bitmap_pin(bitmap);
		part->bitmap = bitmap;
		part->first_bit = first;
	}
	vhd_request_advance(req, n);
	return 0;
}

void vhd_request_run(struct vhd_request *req)
{
	while (req->pos < req->end && !req->err)
		if (req->step(req) == VHD_WAITS)
			return;
	vhd_request_put(req, 0);
}

void vhd_requests_run(struct vhd_requests *list)
{
	struct vhd_requests now = TAILQ_HEAD_INITIALIZER(now);
	struct vhd_request *req;

	TAILQ_CONCAT(&now, list, link);
	while ((req = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, req, link);
		vhd_request_run(req);
	}
}

void vhd_requests_fail(struct vhd_requests *list, int err)
{
	struct vhd_requests now = TAILQ_HEAD_INITIALIZER(now);
	struct vhd_request *req;

	TAILQ_CONCAT(&now, list, link);
	while ((req = TAILQ_FIRST(&now))) {
		TAILQ_REMOVE(&now, req, link);
		vhd_request_put(req, err);
	}
}

struct vhd_request *vhd_request_init(struct vhd_image *image, struct image_request *image_req,
				     int (*step)(struct vhd_request *req))
{
	struct vhd_request *req = &image->requests[image_req->slot];

	req->image = image;
	req->req = image_req;
	req->step = step;
	req->write = false;
	req->pos = image_req->sector;
	req->end = image_req->sector + image_req->nr_sectors;
	req->must = req->end;
	req->layer = 0;
	req->run = 0;
	req->pending = 1;
	req->err = 0;
	req->nr_parts = 0;
	req->nr_iov = 0;
	return req;
}

void vhd_request_read(struct vhd_image *image, struct image_request *image_req)
{
	vhd_request_run(vhd_request_init(image, image_req, read_step));
}

void vhd_request_write(struct vhd_image *image, struct image_request *image_req)
{
	struct vhd_request *req = vhd_request_init(image, image_req, write_step);

	req->write = true;
	vhd_request_run(req);
}
