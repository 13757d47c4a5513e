// SPDX-License-Identifier: GPL-2.0-only
/* Larger disks. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

static void set_size(struct vhd *v, uint64_t size)
{
	v->size = size;
	v->footer.current_size = size;
	v->footer.geometry = vhd_geometry(size / VHD_SECTOR);
}

/*
 * The footer moves out of the way of the data. Between the two it is at both
 * places, the old one being a sector of the new data.
 */
static int grow_fixed(struct vhd *v, uint64_t size, struct vhd_error *err)
{
	vhd_autofree void *zeroes = vhd_alloc(VHD_SECTOR);
	uint64_t from = v->footer_offset;
	int r;

	if (!zeroes)
		return vhd_fail_nomem(err, v->path);
	if (v->block_device)
		return vhd_fail(err, -EINVAL,
				"%s: a fixed image has all of its block device; make a larger one",
				v->path);
	if (fallocate(v->fd, FALLOC_FL_KEEP_SIZE, from, size + VHD_SECTOR - from) &&
	    errno != EOPNOTSUPP && errno != ENODEV)
		return vhd_fail(err, -errno, "%s: allocating %ju bytes failed: %s; free some space",
				v->path, (uintmax_t)(size - v->size), strerror(errno));
	set_size(v, size);
	v->footer_offset = size;
	r = vhd_write_footer(v, err);
	if (!r)
		r = vhd_sync(v, err);
	if (!r)
		r = vhd_write(v, zeroes, VHD_SECTOR, from, "zeroes", err);
	return r ? r : vhd_sync(v, err);
}

/*
 * A new BAT, behind all there is. What says where it is, and how large, is in the
 * first sector of the header. There is no batmap any more: that goes with the BAT.
 */
static int move_bat(struct vhd *v, uint32_t entries, struct vhd_error *err)
{
	uint64_t bytes = vhd_bat_bytes(entries), offset = v->next_free;
	vhd_autofree uint8_t *disk = vhd_alloc(bytes + VHD_SECTOR);
	uint32_t *bat = vhd_alloc(bytes);
	int r;

	if (!disk || !bat) {
		free(bat);
		return vhd_fail_nomem(err, v->path);
	}
	memset(bat, 0xff, bytes);
	memcpy(bat, v->bat, v->bat_entries * sizeof(*bat));
	free(v->bat);
	v->bat = bat;
	v->bat_entries = entries;
	for (uint32_t i = 0; i < entries; i += VHD_SECTOR / sizeof(*bat))
		vhd_bat_sector_encode(v, i, disk + (uint64_t)i * sizeof(*bat));
	/* With a sector that does not look like a batmap. */
	r = vhd_append(v, disk, bytes + VHD_SECTOR, "the BAT", err);
	if (!r)
		r = vhd_cover(v, err);
	if (r)
		return r;
	v->header.max_bat_size = entries;
	v->header.table_offset = offset;
	v->batmap_offset = 0;
	if (vhd_by_tap(&v->footer) && v->footer.creator_version > VHD_TAP_VERSION)
		v->footer.creator_version = VHD_TAP_VERSION;
	r = vhd_write_header(v, err);
	return r ? r : vhd_sync(v, err);
}

static int grow(struct vhd *v, uint64_t size, struct vhd_error *err)
{
	uint64_t entries = (size + v->block_size - 1) / v->block_size;
	int r = 0;

	if (entries > v->bat_entries)
		r = move_bat(v, (uint32_t)entries, err);
	if (r)
		return r;
	set_size(v, size);
	return vhd_write_footers(v, err);
}

int vhd_resize(const char *path, uint64_t size, struct vhd_error *err)
{
	struct vhd *v;
	int r;

	r = vhd_check_size(path, size, err);
	if (!r)
		r = vhd_open(&v, path, VHD_OPEN_RDWR, err);
	if (r)
		return r;
	size = vhd_round_up(size, VHD_SECTOR);
	if (size < v->size)
		r = vhd_fail(err, -EINVAL, "%s: has %ju bytes: a disk can't be made smaller",
			     path, (uintmax_t)v->size);
	else if (size > v->size)
		r = v->type == VHD_TYPE_FIXED ? grow_fixed(v, size, err) : grow(v, size, err);
	vhd_close(v);
	return r;
}
