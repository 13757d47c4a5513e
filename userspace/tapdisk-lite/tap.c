// SPDX-License-Identifier: GPL-2.0-only
/* A tap's life: the orders that the kernel gives about it. */
#define _GNU_SOURCE
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <syslog.h>
#include <unistd.h>

struct tap *tap_find(struct tapdisk *tapdisk, uint32_t minor)
{
	struct tap *tap;

	LIST_FOREACH(tap, &tapdisk->taps, link)
		if (tap->minor == minor)
			return tap;
	return NULL;
}

static void flush_done(struct image_request *req, int err)
{
	struct tap *tap = container_of(req, struct tap, flush);

	tap->order.state = ORDER_END;
	tap->order.err = err;
}

int tap_attach(struct tapdisk *tapdisk, uint32_t minor, struct vhd_error *error)
{
	char path[sizeof(BLKTAP_RING_NODE) + 10];
	struct tap *tap;
	int err;

	snprintf(path, sizeof(path), BLKTAP_RING_NODE "%u", minor);
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return deny(error, ENOMEM, "minor %u: out of memory", minor);

	tap->tapdisk = tapdisk;
	tap->minor = minor;
	tap->flush.slot = BLKTAP_RING_SIZE;
	tap->flush.done = flush_done;
	tap->source.fd = open(path, O_RDWR | O_CLOEXEC);
	if (tap->source.fd < 0) {
		err = deny(error, errno, "%s: %s", path, strerror(errno));
		goto out_free;
	}
	err = ring_map(tap);
	if (err) {
		deny(error, -err, "%s: mapping the ring: %s", path, strerror(-err));
		goto out_close;
	}
	err = loop_add(&tapdisk->loop, &tap->source);
	if (err) {
		deny(error, -err, "%s: waiting for requests: %s", path, strerror(-err));
		goto out_unmap;
	}

	LIST_INSERT_HEAD(&tapdisk->taps, tap, link);
	tapdisk->loop.stopped = false;
	syslog(LOG_INFO, "minor %u: attached", minor);
	return 0;

out_unmap:
	ring_unmap(tap);
out_close:
	close(tap->source.fd);
out_free:
	free(tap);
	return err;
}

static void detach(struct tap *tap)
{
	struct tapdisk *tapdisk = tap->tapdisk;

	syslog(LOG_INFO, "minor %u: detached", tap->minor);
	loop_del(&tapdisk->loop, &tap->source);
	LIST_REMOVE(tap, link);
	ring_unmap(tap);
	close(tap->source.fd);
	free(tap);
	if (LIST_EMPTY(&tapdisk->taps))
		tapdisk->loop.stopped = true;
}

/* Only the top layer may be written. @index: filled in, but with _NOTE */
static int add_file(struct tap *tap, unsigned int layer, uint32_t flags, uint32_t *index)
{
	const struct image *image = tap->image;
	struct blktap_file file = {
		.fd = image->layers[layer].fd,
		.flags = flags | (layer || image->rdonly ? 0 : BLKTAP_FILE_WRITE),
	};

	if (ioctl(tap->source.fd, BLKTAP_IOCTL_ADD_FILE, &file))
		return -errno;
	*index = file.index;
	return 0;
}

/* Others are to keep off them also when we have died, and our locks with us. */
static void note_files(struct tap *tap)
{
	const struct image *image = tap->image;
	uint32_t none;
	int err = 0;

	for (unsigned int i = 0; i < image->nr_layers && !err; i++) {
		err = add_file(tap, i, BLKTAP_FILE_NOTE, &none);
		if (err)
			syslog(LOG_WARNING, "%s: not locked when its tapdisk dies: %s",
			       image->layers[i].name, strerror(-err));
	}
}

/* So that they can be granted; else the data goes over the ring. */
static void register_files(struct tap *tap)
{
	struct image *image = tap->image;
	int err = 0;

	tap->grants = false;
	if (!tap->layout_disk || !image->layout)
		return;

	for (unsigned int i = 0; i < image->nr_layers && !err; i++) {
		err = add_file(tap, i, 0, &image->layers[i].file);
		if (err)
			syslog(LOG_WARNING, "%s: registering it: %s: ring mode",
			       image->layers[i].name, strerror(-err));
	}
	tap->grants = !err;
}

static unsigned long device_flags(const struct tap *tap)
{
	const struct image *image = tap->image;
	unsigned long flags = BLKTAP_DEVICE_PSZ | BLKTAP_DEVICE_FLUSH | BLKTAP_DEVICE_ERRNO;

	if (image->rdonly)
		flags |= BLKTAP_DEVICE_RDONLY;
	/* A disk that has had it before keeps it; this image refuses, if it has to. */
	if (image->trim || tap->joined)
		flags |= BLKTAP_DEVICE_TRIM;
	if (image->trim_zeroes)
		flags |= BLKTAP_DEVICE_TRIM_RZ;
	if (tap->grants)
		flags |= BLKTAP_DEVICE_LAYOUT;
	if (tap->grants && image->block_size)
		flags |= BLKTAP_DEVICE_BLOCK;
	/* Of its blocks the image knows more than where the kernel may write. */
	if (tap->grants && image->block_size && image->trim)
		flags |= BLKTAP_DEVICE_RELEASE;
	return flags;
}

static int create_device(struct tap *tap, struct vhd_error *error)
{
	struct image *image = tap->image;
	struct blktap_params params = {
		.capacity = image->capacity,
		.sector_size = image->sector_size,
		.flags = device_flags(tap),
		.phys_block_size = image->physical_size,
		.trim_block_size = image->physical_size,
		.block_size = image->block_size,
	};

	if (ioctl(tap->source.fd, BLKTAP_IOCTL_CREATE_DEVICE, &params))
		return deny(error, errno, "minor %u: making %s its disk: %s%s", tap->minor,
			    image->name, strerror(errno), errno == EINVAL ?
			    ": it differs in size or kind from the disk that is there" : "");

	tap->errnos = params.flags & BLKTAP_DEVICE_ERRNO;
	tap->has_disk = true;
	/* One that has grown while nobody served it: the next resume makes the disk grow. */
	image->capacity = params.capacity;
	tap->disk_capacity = params.capacity;
	tap->layout_disk = params.flags & BLKTAP_DEVICE_LAYOUT;
	tap->grants = tap->layout_disk;
	return 0;
}

/*
 * What the last tapdisk could not flush any more, then what the next one is to
 * have if we can't either.
 */
static int keep_state(struct tap *tap, struct vhd_error *error)
{
	struct blktap_keep kept, keep = { .fd = tap->image->keep_fd };
	struct image *image = tap->image;
	int err = 0;

	if (image->driver->restore && !ioctl(tap->source.fd, BLKTAP_IOCTL_KEPT, &kept)) {
		err = image->driver->restore(image, kept.fd, error);
		close(kept.fd);
	} else if (image->driver->restore && errno != ENOENT && errno != ENOTTY) {
		/* It stays where it is, for one that can read it. */
		err = deny(error, errno, "%s: reading what the last tapdisk has left: %s",
			   image->name, strerror(errno));
	}
	if (!err && ioctl(tap->source.fd, BLKTAP_IOCTL_KEEP, &keep) && errno != ENOTTY)
		err = deny(error, errno, "%s: leaving its state to the kernel: %s", image->name,
			   strerror(errno));
	return err;
}

/* Flushed: there is nothing to keep, and the next image may be another one. */
static void keep_nothing(struct tap *tap)
{
	struct blktap_keep keep = { .fd = -1 };

	if (ioctl(tap->source.fd, BLKTAP_IOCTL_KEEP, &keep) && errno != ENOTTY)
		syslog(LOG_ERR, "minor %u: keeping nothing: %m", tap->minor);
}

static void close_image(struct tap *tap)
{
	image_close(tap->image);
	tap->image = NULL;
}

/* @flags: of image_open() */
static int open_image(struct tap *tap, const char *name, unsigned int flags,
		      struct vhd_error *error)
{
	int err;

	if (tap->image)
		return deny(error, EEXIST, "minor %u: %s is open already: close it first",
			    tap->minor, tap->image->name);
	err = image_open(&tap->image, &tap->tapdisk->aio, name, flags, error);
	if (err)
		return err;
	err = keep_state(tap, error);
	if (err) {
		close_image(tap);
		return err;
	}
	note_files(tap);
	register_files(tap);
	return 0;
}

static unsigned int order_flags(const struct blktap_order *order)
{
	return (order->flags & BLKTAP_ORDER_F_RDONLY ? IMAGE_RDONLY : 0) |
	       (order->flags & BLKTAP_ORDER_F_HEIR ? IMAGE_HEIR(order->minor) : 0);
}

int tap_open(struct tap *tap, const struct blktap_order *order, const char *name,
	     struct vhd_error *error)
{
	int err;

	if (tap->has_disk)
		return deny(error, EEXIST, "minor %u: has a disk already: close it first",
			    tap->minor);
	tap->joined = order->flags & BLKTAP_ORDER_F_JOIN;
	tap->layout_disk = tap->layout && !(order->flags & BLKTAP_ORDER_F_RING);
	err = open_image(tap, name, order_flags(order), error);
	if (err)
		return err;

	memset(&tap->stats, 0, sizeof(tap->stats));
	err = create_device(tap, error);
	if (err)
		close_image(tap);
	return err;
}

static int set_params(struct tap *tap, struct vhd_error *error)
{
	struct blktap_params_v1 params = {
		.capacity = tap->image->capacity,
		.sector_size = tap->image->sector_size,
	};

	if (tap->disk_capacity == params.capacity)
		return 0;
	snprintf(params.name, sizeof(params.name), "%s", tap->image->name);
	if (ioctl(tap->source.fd, BLKTAP_IOCTL_SET_PARAMS, &params))
		return deny(error, errno, "minor %u: new size, of %s: %s", tap->minor,
			    tap->image->name, strerror(errno));
	tap->disk_capacity = params.capacity;
	return 0;
}

int tap_resume(struct tap *tap, const struct blktap_order *order, const char *name,
	       struct vhd_error *error)
{
	int err;

	if (!tap->has_disk)
		return deny(error, EINVAL, "minor %u: has no disk to resume", tap->minor);
	if (tap->order.state != ORDER_NONE)
		return deny(error, EBUSY, "minor %u: is pausing still", tap->minor);
	/* By an OPEN that came too late: what is resumed is paused, and has none open. */
	close_image(tap);
	err = open_image(tap, name, order_flags(order), error);
	if (err)
		return err;

	err = set_params(tap, error);
	if (err)
		close_image(tap);
	return err;
}

int tap_quiesce(struct tap *tap, const struct blktap_order *order, struct vhd_error *error)
{
	if (tap->order.state != ORDER_NONE)
		return deny(error, EBUSY, "minor %u: still busy with an order before this one",
			    tap->minor);

	tap->order = (struct tap_order){
		.state = ORDER_DRAIN,
		.id = order->id,
		.op = order->op,
		.no_flush = order->flags & BLKTAP_ORDER_F_FORCE,
	};
	return 0;
}

void tap_undo(struct tap *tap, uint32_t op)
{
	switch (op) {
	case BLKTAP_ORDER_ATTACH:
		detach(tap);
		break;
	case BLKTAP_ORDER_OPEN:
		/* Others rely on that disk: it is served, though late. */
		if (tap->joined)
			break;
		if (ioctl(tap->source.fd, BLKTAP_IOCTL_REMOVE_DEVICE))
			break;
		tap->has_disk = false;
		close_image(tap);
		break;
	case BLKTAP_ORDER_RESUME:
		close_image(tap);
		break;
	}
}

/*
 * The kernel gave the pause up, and goes on with requests, after the image was
 * closed: open it again before any of them is looked at.
 */
static void pause_undo(struct tap *tap, const char *name, bool rdonly)
{
	struct vhd_error error;

	if (open_image(tap, name, rdonly ? IMAGE_RDONLY : 0, &error))
		syslog(LOG_CRIT, "minor %u: requests will fail: %s", tap->minor, error.text);
}

static void pause_end(struct tap *tap, int err, const char *text)
{
	uint64_t id = tap->order.id;
	char name[BLKTAP_NAME_MAX];
	bool was_open = tap->image;
	bool rdonly = was_open && tap->image->rdonly;

	snprintf(name, sizeof(name), "%s", was_open ? tap->image->name : "");
	if (!err) {
		keep_nothing(tap);
		close_image(tap);
	}
	if (control_answer(tap->tapdisk, id, err, text) == -ENOENT && !err && was_open)
		pause_undo(tap, name, rdonly);
}

static int order_verdict(const struct tap *tap, struct vhd_error *error)
{
	const struct tap_order *order = &tap->order;

	if (order->err)
		return deny(error, -order->err, "%s: flushing: %s", tap->image->name,
			    strerror(-order->err));
	if (order->op == BLKTAP_ORDER_PAUSE && tap->in_flight)
		return deny(error, EAGAIN, "minor %u: requests came while pausing", tap->minor);
	return 0;
}

static int remove_device(struct tap *tap, struct vhd_error *error)
{
	if (ioctl(tap->source.fd, BLKTAP_IOCTL_REMOVE_DEVICE))
		return deny(error, errno, "minor %u: removing the disk: %s", tap->minor,
			    strerror(errno));
	tap->has_disk = false;
	return 0;
}

static void order_answer(struct tap *tap, int err, const char *text)
{
	struct tapdisk *tapdisk = tap->tapdisk;
	struct tap_order order = tap->order;

	tap->order.state = ORDER_NONE;
	if (err)
		syslog(LOG_ERR, "%s", text);
	if (order.op == BLKTAP_ORDER_PAUSE) {
		pause_end(tap, err, text);
		return;
	}
	/* A disk that is still there is served as before. */
	if (!tap->has_disk) {
		close_image(tap);
		if (order.op == BLKTAP_ORDER_DETACH)
			detach(tap);
	}
	control_answer(tapdisk, order.id, err, text);
}

/*
 * All is in the image, and only now the disk is given up: until then the next tapdisk
 * could have taken over what this one has in memory. True if requests came meanwhile:
 * what they have left in memory is to be flushed, too.
 */
static bool order_end(struct tap *tap)
{
	struct vhd_error error = { "" };
	int err = order_verdict(tap, &error);

	if (!err && tap->order.op != BLKTAP_ORDER_PAUSE && tap->has_disk) {
		err = remove_device(tap, &error);
		if (!err && tap->order.seen != tap->stats.requests) {
			tap->order.state = ORDER_DRAIN;
			return true;
		}
	}
	order_answer(tap, err, error.text);
	return false;
}

bool tap_order_advance(struct tap *tap)
{
	struct image *image = tap->image;

	switch (tap->order.state) {
	case ORDER_DRAIN:
		if (tap->in_flight || (image && image->busy))
			return false;
		tap->order.seen = tap->stats.requests;
		if (!image || image->rdonly || tap->order.no_flush)
			return order_end(tap);
		tap->order.state = ORDER_FLUSH;
		image->driver->flush(image, &tap->flush);
		return true;
	case ORDER_END:
		return !image->busy && order_end(tap);
	default:
		return false;
	}
}
