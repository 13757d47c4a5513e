/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a tap serves: an image, by the callbacks of its format's driver.
 *
 * Sectors are 512 bytes. An image's owner has at most IMAGE_SLOTS requests in
 * flight, each with a slot number of its own: a driver allocates what requests
 * need when it opens the image, and nothing afterwards.
 */
#ifndef TAPDISK_IMAGE_H
#define TAPDISK_IMAGE_H

#include <linux/blktap.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "aio.h"
#include "util.h"

#define IMAGE_SLOTS		33	/* a ring's requests, and a flush of our own */
#define IMAGE_IOV_MAX		11
#define IMAGE_SECTORS_MAX	88	/* of a READ or WRITE: eleven pages */

/* image_open() flags */
#define IMAGE_RDONLY		0x1U
#define IMAGE_HEIR(minor)	VHD_OPEN_HEIR(minor)

/**
 * struct image_request - one request to an image
 * @slot: below IMAGE_SLOTS; no other request in flight has it
 * @sector: first sector; not for a flush
 * @nr_sectors: inside the image; as long as @iov for reads and writes
 * @iov: the data, in whole sectors from memory aligned to them
 * @iovcnt: iovecs in use
 * @write: of a layout_get: extents to write to are asked for
 * @extents: room for BLKTAP_EXTENTS_MAX: a layout_get's answer, a layout_commit's
 *	ranges
 * @nr_extents: in use
 * @done: called once, perhaps before the driver's callback has returned; err
 *	is 0 or a negative errno
 *
 * Belongs to the driver from the callback until done().
 */
struct image_request {
	unsigned int slot;
	uint64_t sector;
	uint64_t nr_sectors;
	struct iovec iov[IMAGE_IOV_MAX];
	int iovcnt;
	bool write;
	struct blktap_extent *extents;
	unsigned int nr_extents;
	void (*done)(struct image_request *req, int err);
};

/* One file of an image: the image itself, or what is beneath it in a chain. */
struct image_layer {
	const char *name;		/* its path */
	int fd;				/* the driver's */
	uint32_t file;			/* what extents call it: set by the image's owner */
	const struct image_driver *driver;
	uint64_t read_hits;		/* sectors */
	uint64_t write_hits;
	uint64_t read_fails;
	uint64_t write_fails;
	time_t logged;			/* last time a failure was */
};

/**
 * struct image - an open image; embedded in its driver's own
 * @driver: whose it is
 * @aio: what does its I/O
 * @name: as it was opened, without historical prefixes; owned by image.c
 * @rdonly: writes are refused
 * @capacity: sectors
 * @sector_size: bytes: requests are in multiples of this
 * @physical_size: bytes: requests had better be
 * @block_size: bytes in which it allocates, or 0
 * @trim: the trim callback works on this image
 * @trim_zeroes: what was trimmed reads as zeroes
 * @layout: its data can be granted
 * @busy: I/Os of the driver's own that are in flight: not to be closed yet
 * @keep_fd: a memfd with what must not be lost with this process; -1: nothing is
 * @layers: top first; owned by the driver
 * @nr_layers: at least 1
 */
struct image {
	const struct image_driver *driver;
	struct aio *aio;
	char *name;
	bool rdonly;
	uint64_t capacity;
	uint32_t sector_size;
	uint32_t physical_size;
	uint32_t block_size;
	bool trim;
	bool trim_zeroes;
	bool layout;
	unsigned int busy;
	int keep_fd;
	struct image_layer *layers;
	unsigned int nr_layers;
};

/**
 * struct image_driver - a format
 * @name: what comes before the colon of an image's name
 * @type: the number that blktap2's statistics know it by
 * @open: open path; fills in what of struct image the driver knows, and error
 *	on failure. Returns 0 or -errno. May wait for the disk
 * @close: undo open; no request is in flight, the image is not busy, and what
 *	is to be durable has been flushed
 * @restore: fd is the keep_fd of a process that has ended: see that nothing is lost;
 *	no request has come. Perhaps it is another image's: then nothing is to be done.
 *	Returns 0 or -errno, with error filled in. May wait for the disk; may be unset
 * @read: queue a read; all of these may be called with other requests in
 *	flight, and none may wait or allocate memory
 * @write: queue a write; never called on a read-only image
 * @flush: make all writes durable that were done when this was called
 * @trim: the range's contents don't matter any more; unset: not supported
 * @layout_get: grant extents that cover at least the first sector, and more
 *	where that is cheap, in the order that struct blktap_extent asks for;
 *	unset with @layout_commit: not supported
 * @layout_commit: data has landed, durably, in these ranges that were granted
 *	as INVALID_DATA: write to the metadata that it has; durable when the
 *	owner says so
 *
 * Data goes either through read and write or through grants: once layout_get
 * has been called only layout_get, layout_commit, trim and flush are.
 */
struct image_driver {
	const char *name;
	int type;
	int (*open)(struct image **image, struct aio *aio, const char *path,
		    unsigned int flags, struct vhd_error *error);
	void (*close)(struct image *image);
	int (*restore)(struct image *image, int fd, struct vhd_error *error);
	void (*read)(struct image *image, struct image_request *req);
	void (*write)(struct image *image, struct image_request *req);
	void (*flush)(struct image *image, struct image_request *req);
	void (*trim)(struct image *image, struct image_request *req);
	void (*layout_get)(struct image *image, struct image_request *req);
	void (*layout_commit)(struct image *image, struct image_request *req);
};

extern const struct image_driver image_driver_aio;
extern const struct image_driver image_driver_vhd;

/*
 * Open "type:/path", historical "tap:" and "tapdisk:" in front allowed.
 * 0, or -errno with error filled in.
 */
int image_open(struct image **image, struct aio *aio, const char *name, unsigned int flags,
	       struct vhd_error *error);

/* No request is in flight, and the image is not busy. NULL is fine. */
void image_close(struct image *image);

/* How libvhd is to open, and lock, what image_open() has these flags for: VHD_OPEN_*. */
unsigned int image_vhd_flags(unsigned int flags);

/* The file or device can give back space (aio_punch()). */
bool image_file_trims(int fd);

/* Count I/O on a layer, and log its failures (at most one a second). */
void image_count_read(struct image_layer *layer, uint64_t sectors, int err);
void image_count_write(struct image_layer *layer, uint64_t sectors, int err);

#endif
