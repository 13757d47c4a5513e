// SPDX-License-Identifier: GPL-2.0-only
/* Raw images: a file or a block device whose byte n is the disk's byte n. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"

struct raw_request {
	struct aio_op op;
	struct raw *raw;
	struct image_request *req;
};

struct raw {
	struct image image;
	struct image_layer layer;
	int fd;
	struct raw_request requests[IMAGE_SLOTS];
	char path[];
};

/* A first look at the type: opening a fifo or a tape is not without effect. */
static int check_type(const char *path, struct stat *st, struct vhd_error *error)
{
	if (stat(path, st))
		return deny(error, errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return deny(error, EINVAL, "%s: neither a file nor a block device", path);
	return 0;
}

static int open_flags(const struct stat *st, unsigned int flags)
{
	if (flags & IMAGE_RDONLY)
		return O_RDONLY | O_CLOEXEC;
	/* O_EXCL: not while a filesystem or a mapping is on the device. */
	return O_RDWR | O_CLOEXEC | (S_ISBLK(st->st_mode) ? O_EXCL : 0);
}

/* Direct I/O is of use if it takes units of sector_size. */
static bool direct_works(int fd, uint32_t sector_size)
{
	void *buffer = aligned_alloc(4096, 4096);
	bool works;

	works = buffer && pread(fd, buffer, sector_size, 0) == (ssize_t)sector_size;
	free(buffer);
	return works;
}

static int measure(struct raw *raw, const struct stat *st, struct vhd_error *error)
{
	struct image *image = &raw->image;
	uint64_t bytes = (uint64_t)st->st_size;
	unsigned int physical = 4096;
	int logical = SECTOR_SIZE;

	if (S_ISBLK(st->st_mode) &&
	    (ioctl(raw->fd, BLKGETSIZE64, &bytes) || ioctl(raw->fd, BLKSSZGET, &logical) ||
	     ioctl(raw->fd, BLKPBSZGET, &physical)))
		return deny(error, errno, "%s: size of the device: %s", raw->path, strerror(errno));

	image->sector_size = (uint32_t)logical;
	image->physical_size = physical;
	image->capacity = (bytes & -(uint64_t)image->sector_size) >> SECTOR_SHIFT;
	if (!image->capacity)
		return deny(error, EINVAL, "%s: too small for a disk: %llu bytes", raw->path,
			    (unsigned long long)bytes);
	return 0;
}

static int raw_open_fd(struct raw *raw, const struct stat *st, unsigned int flags,
		       struct vhd_error *error)
{
	int fd = open(raw->path, open_flags(st, flags) | O_DIRECT);

	if (fd < 0 && errno == EINVAL)
		fd = open(raw->path, open_flags(st, flags));
	if (fd < 0 && errno == EBUSY)
		return deny(error, EBUSY, "%s: the device is in use: unmount it first", raw->path);
	if (fd < 0)
		return deny(error, errno, "%s: %s", raw->path, strerror(errno));

	raw->fd = fd;
	raw->layer.fd = fd;
	return 0;
}

static int raw_prepare(struct raw *raw, struct stat *st, unsigned int flags,
		       struct vhd_error *error)
{
	int err;

	if (fstat(raw->fd, st))
		return deny(error, errno, "%s: %s", raw->path, strerror(errno));
	err = measure(raw, st, error);
	if (err)
		return err;
	err = vhd_lock(raw->fd, raw->path, image_vhd_flags(flags), error);
	if (err)
		return err;

	if (!direct_works(raw->fd, raw->image.sector_size) &&
	    fcntl(raw->fd, F_SETFL, fcntl(raw->fd, F_GETFL) & ~O_DIRECT))
		return deny(error, errno, "%s: leaving direct I/O: %s", raw->path, strerror(errno));
	raw->image.trim = !raw->image.rdonly && image_file_trims(raw->fd);
	raw->image.trim_zeroes = raw->image.trim && S_ISREG(st->st_mode);
	return 0;
}

static int raw_open(struct image **image, struct aio *aio, const char *path, unsigned int flags,
		    struct vhd_error *error)
{
	struct raw *raw;
	struct stat st;
	int err;

	err = check_type(path, &st, error);
	if (err)
		return err;

	raw = calloc(1, sizeof(*raw) + strlen(path) + 1);
	if (!raw)
		return deny(error, ENOMEM, "%s: out of memory", path);
	strcpy(raw->path, path);
	raw->image.aio = aio;
	raw->image.keep_fd = -1;
	raw->image.rdonly = flags & IMAGE_RDONLY;
	raw->image.layers = &raw->layer;
	raw->image.nr_layers = 1;
	raw->layer.name = raw->path;
	raw->layer.driver = &image_driver_aio;
	raw->image.layout = true;

	err = raw_open_fd(raw, &st, flags, error);
	if (!err) {
		err = raw_prepare(raw, &st, flags, error);
		if (err)
			vhd_unlock_and_close(raw->fd);
	}
	if (err) {
		free(raw);
		return err;
	}
	*image = &raw->image;
	return 0;
}

static void raw_close(struct image *image)
{
	struct raw *raw = container_of(image, struct raw, image);

	vhd_unlock_and_close(raw->fd);
	free(raw);
}

static struct raw_request *request_begin(struct image *image, struct image_request *req)
{
	struct raw *raw = container_of(image, struct raw, image);
	struct raw_request *rr = &raw->requests[req->slot];

	rr->raw = raw;
	rr->req = req;
	return rr;
}

static void read_done(struct aio_op *op, int err)
{
	struct raw_request *rr = container_of(op, struct raw_request, op);

	image_count_read(&rr->raw->layer, rr->req->nr_sectors, err);
	rr->req->done(rr->req, err);
}

static void raw_read(struct image *image, struct image_request *req)
{
	struct raw_request *rr = request_begin(image, req);

	rr->op.done = read_done;
	aio_read(image->aio, &rr->op, rr->raw->fd, req->iov, req->iovcnt,
		 req->sector << SECTOR_SHIFT);
}

static void write_done(struct aio_op *op, int err)
{
	struct raw_request *rr = container_of(op, struct raw_request, op);

	image_count_write(&rr->raw->layer, rr->req->nr_sectors, err);
	rr->req->done(rr->req, err);
}

static void raw_write(struct image *image, struct image_request *req)
{
	struct raw_request *rr = request_begin(image, req);

	rr->op.done = write_done;
	aio_write(image->aio, &rr->op, rr->raw->fd, req->iov, req->iovcnt,
		  req->sector << SECTOR_SHIFT);
}

static void flush_done(struct aio_op *op, int err)
{
	struct raw_request *rr = container_of(op, struct raw_request, op);

	if (err)
		image_count_write(&rr->raw->layer, 0, err);
	rr->req->done(rr->req, err);
}

static void raw_flush(struct image *image, struct image_request *req)
{
	struct raw_request *rr = request_begin(image, req);

	if (image->rdonly) {
		req->done(req, 0);
		return;
	}
	rr->op.done = flush_done;
	aio_sync(image->aio, &rr->op, rr->raw->fd);
}

static void raw_trim(struct image *image, struct image_request *req)
{
	struct raw *raw = container_of(image, struct raw, image);

	req->done(req, aio_punch(image->aio, raw->fd, req->sector << SECTOR_SHIFT,
				 req->nr_sectors << SECTOR_SHIFT));
}

/* All of the disk, once and for ever. */
static void raw_layout_get(struct image *image, struct image_request *req)
{
	req->extents[0] = (struct blktap_extent){
		.nr_sectors = image->capacity,
		.file = image->layers[0].file,
		.state = image->rdonly ? BLKTAP_EXT_READ_DATA : BLKTAP_EXT_READ_WRITE_DATA,
	};
	req->nr_extents = 1;
	req->done(req, 0);
}

/* Nothing is granted that would have to be committed. */
static void raw_layout_commit(struct image *image, struct image_request *req)
{
	(void)image;
	req->done(req, 0);
}

const struct image_driver image_driver_aio = {
	.name = "aio",
	.type = 0,
	.open = raw_open,
	.close = raw_close,
	.read = raw_read,
	.write = raw_write,
	.flush = raw_flush,
	.trim = raw_trim,
	.layout_get = raw_layout_get,
	.layout_commit = raw_layout_commit,
};
