// SPDX-License-Identifier: GPL-2.0-only
/* New images: fixed, dynamic, differencing. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "internal.h"

#define CREATOR_OS_WINDOWS	0x5769326bU	/* "Wi2k": the other one is Mac */
#define HEADER_OFFSET		VHD_SECTOR
#define TABLE_OFFSET		(HEADER_OFFSET + sizeof(struct vhd_header))
#define ZERO_CHUNK		0x100000	/* bytes */

int vhd_check_size(const char *path, uint64_t size, struct vhd_error *err)
{
	if (!size)
		return vhd_fail(err, -EINVAL, "%s: a disk needs a size", path);
	if (size > VHD_MAX_SIZE)
		return vhd_fail(err, -EFBIG,
				"%s: a disk of %ju bytes is more than a VHD's limit of 2040 GiB",
				path, (uintmax_t)size);
	return 0;
}

/*
 * As creator we say "tap": QEMU takes such an image's size from current_size,
 * not from the geometry, and XenServer takes it for one of its own. The version
 * is one of those in which XenServer looks whether there is a batmap.
 */
static void init_footer(struct vhd *v, enum vhd_type type, uint64_t size)
{
	struct vhd_footer *f = &v->footer;

	v->type = type;
	v->size = vhd_round_up(size, VHD_SECTOR);
	memcpy(f->cookie, VHD_FOOTER_COOKIE, sizeof(f->cookie));
	f->features = VHD_FEATURE_RESERVED;
	f->version = VHD_VERSION_1_0;
	f->data_offset = type == VHD_TYPE_FIXED ? VHD_NO_OFFSET : HEADER_OFFSET;
	f->timestamp = vhd_time(time(NULL));
	memcpy(f->creator_app, "tap", sizeof(f->creator_app));
	f->creator_version = VHD_TAP_VERSION;
	f->creator_os = CREATOR_OS_WINDOWS;
	f->original_size = v->size;
	f->current_size = v->size;
	f->geometry = vhd_geometry(v->size / VHD_SECTOR);
	f->type = type;
	uuid_generate(f->uuid);
}

static int init_header(struct vhd *v, struct vhd_error *err)
{
	struct vhd_header *h = &v->header;

	v->block_size = VHD_BLOCK_SIZE;
	v->block_sectors = v->block_size / VHD_SECTOR;
	v->bitmap_bytes = vhd_bitmap_bytes(v->block_size);
	v->bat_entries = (v->size + v->block_size - 1) / v->block_size;
	memcpy(h->cookie, VHD_HEADER_COOKIE, sizeof(h->cookie));
	h->data_offset = VHD_NO_OFFSET;
	h->table_offset = TABLE_OFFSET;
	h->version = VHD_VERSION_1_0;
	h->max_bat_size = v->bat_entries;
	h->block_size = v->block_size;
	v->next_free = TABLE_OFFSET + vhd_bat_bytes(v->bat_entries);
	v->bat = vhd_alloc(vhd_bat_bytes(v->bat_entries));
	if (!v->bat)
		return vhd_fail_nomem(err, v->path);
	memset(v->bat, 0xff, vhd_bat_bytes(v->bat_entries));
	return 0;
}

static int write_zeroes(struct vhd *v, struct vhd_error *err)
{
	vhd_autofree void *zeroes = vhd_alloc(ZERO_CHUNK);
	uint64_t at = 0;
	int r = 0;

	if (!zeroes)
		return vhd_fail_nomem(err, v->path);
	for (; at < v->size && !r; at += ZERO_CHUNK) {
		uint64_t left = v->size - at;

		r = vhd_write(v, zeroes, left < ZERO_CHUNK ? left : ZERO_CHUNK,
			      at, "zeroes", err);
	}
	return r;
}

static int allocate_fixed(struct vhd *v, struct vhd_error *err)
{
	int mode = v->block_device ? FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE : 0;

	if (!fallocate(v->fd, mode, 0, v->size))
		return 0;
	if (errno == EOPNOTSUPP || errno == ENODEV)
		return write_zeroes(v, err);
	return vhd_fail(err, -errno, "%s: allocating %ju bytes failed: %s%s", v->path,
			(uintmax_t)v->size, strerror(errno),
			errno == ENOSPC ? "; free some space" : "");
}

/*
 * On a block device there may still be the batmap of an old image behind the
 * BAT; who knows of batmaps would believe it. (Of a file this sector becomes the
 * footer's.)
 */
static int wipe_batmap(struct vhd *v, struct vhd_error *err)
{
	vhd_autofree void *zeroes = vhd_alloc(VHD_SECTOR);
	uint64_t at = v->header.table_offset + vhd_bat_bytes(v->bat_entries);

	if (at != v->next_free)
		return 0;
	if (!zeroes)
		return vhd_fail_nomem(err, v->path);
	return vhd_write(v, zeroes, VHD_SECTOR, at, "zeroes", err);
}

/* The footer at the end goes last: without it there is no image. */
static int write_image(struct vhd *v, struct vhd_error *err)
{
	int r;

	v->footer_offset = v->type == VHD_TYPE_FIXED ? v->size : v->next_free;
	if (v->block_device) {
		uint64_t last = vhd_round_down(v->file_size, VHD_SECTOR) - VHD_SECTOR;

		if (v->file_size < VHD_SECTOR || v->footer_offset > last)
			return vhd_fail(err, -ENOSPC,
					"%s: the block device is too small: it has %ju bytes, the image needs %ju",
					v->path, (uintmax_t)v->file_size,
					(uintmax_t)v->footer_offset + VHD_SECTOR);
		v->footer_offset = last;
	}
	if (v->type == VHD_TYPE_FIXED) {
		r = allocate_fixed(v, err);
	} else {
		r = vhd_write(v, v->bat, vhd_bat_bytes(v->bat_entries),
			      v->header.table_offset, "the BAT", err);
		if (!r)
			r = wipe_batmap(v, err);
		if (!r)
			r = vhd_write_header(v, err);
	}
	if (!r)
		r = vhd_sync(v, err);
	if (!r)
		r = vhd_write_footer(v, err);
	if (!r)
		r = vhd_sync(v, err);
	return r;
}

static int check_not_in_chain(const char *path, const struct vhd *parent,
			      struct vhd_error *err)
{
	struct stat st;

	if (stat(path, &st))
		return 0;
	for (; parent; parent = parent->parent)
		if (vhd_same_file(parent, &st))
			return vhd_fail(err, -EEXIST,
					"%s: is itself in the chain of the parent; choose another name",
					path);
	return 0;
}

static int create(const char *path, enum vhd_type type, uint64_t size,
		  const struct vhd *parent, struct vhd_error *err)
{
	struct vhd *v;
	int r;

	r = vhd_check_size(path, size, err);
	if (!r)
		r = check_not_in_chain(path, parent, err);
	if (r)
		return r;
	v = calloc(1, sizeof(*v));
	if (!v)
		return vhd_fail_nomem(err, path);
	v->fd = -1;
	r = vhd_file_create(v, path, err);
	if (r) {
		vhd_close(v);
		return r;
	}
	init_footer(v, type, size);
	if (type != VHD_TYPE_FIXED)
		r = init_header(v, err);
	if (!r && parent)
		r = vhd_init_parent(v, parent, err);
	if (!r)
		r = write_image(v, err);
	if (!r)
		r = vhd_file_publish(v, err);
	if (r)
		vhd_file_discard(v);
	vhd_close(v);
	return r;
}

int vhd_create(const char *path, enum vhd_type type, uint64_t size,
	       struct vhd_error *err)
{
	return create(path, type, size, NULL, err);
}

int vhd_snapshot(const char *path, const char *parent, bool parent_raw,
		 struct vhd_error *err)
{
	struct vhd *p;
	int r;

	if (parent_raw)
		r = vhd_open_raw(&p, parent, 0, err);
	else
		r = vhd_open_chain(&p, parent, 0, err);
	if (r)
		return r;
	r = vhd_sync(p, err);
	if (!r)
		r = create(path, VHD_TYPE_DIFFERENCING, p->size, p, err);
	vhd_close(p);
	return r;
}
