// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writing footers and header of an open image. What is new and larger is put
 * behind all there is; when it and a footer behind it are durable, one sector says
 * where it is. So there is a whole image at every moment.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include "internal.h"

static int write_footer_at(struct vhd *v, uint64_t offset, struct vhd_error *err)
{
	vhd_autofree uint8_t *disk = vhd_alloc(VHD_SECTOR);

	if (!disk)
		return vhd_fail_nomem(err, v->path);
	vhd_footer_encode(&v->footer, disk);
	return vhd_write(v, disk, VHD_SECTOR, offset,
			 offset ? "the footer" : "the footer's copy", err);
}

int vhd_write_footer(struct vhd *v, struct vhd_error *err)
{
	int r = write_footer_at(v, v->footer_offset, err);

	if (!r && v->type != VHD_TYPE_FIXED)
		r = write_footer_at(v, 0, err);
	return r;
}

int vhd_write_header(struct vhd *v, struct vhd_error *err)
{
	vhd_autofree uint8_t *disk = vhd_alloc(sizeof(v->header));

	if (!disk)
		return vhd_fail_nomem(err, v->path);
	vhd_header_encode(&v->header, disk);
	return vhd_write(v, disk, sizeof(v->header), v->footer.data_offset,
			 "the header", err);
}

int vhd_write_footers(struct vhd *v, struct vhd_error *err)
{
	int r = write_footer_at(v, v->footer_offset, err);

	if (!r)
		r = vhd_sync(v, err);
	if (!r && v->type != VHD_TYPE_FIXED)
		r = write_footer_at(v, 0, err);
	return r ? r : vhd_sync(v, err);
}

int vhd_set_hidden(struct vhd *v, bool hidden, struct vhd_error *err)
{
	v->footer.hidden = hidden;
	return vhd_write_footers(v, err);
}

/* The copy at the start has stayed as it was: it is good even if this fails. */
static void put_back(struct vhd *v, uint64_t offset)
{
	struct vhd_error ignored;

	v->footer_offset = offset;
	if (write_footer_at(v, offset, &ignored) || v->block_device)
		return;
	if (!ftruncate(v->fd, (off_t)(offset + VHD_SECTOR)))
		vhd_sync(v, &ignored);
}

int vhd_append(struct vhd *v, const void *data, size_t bytes, const char *what,
	       struct vhd_error *err)
{
	bool whole = v->footer_offset;	/* else it is being made */
	int r;

	if (whole && v->block_device && v->next_free + bytes > v->footer_offset)
		r = vhd_fail(err, -ENOSPC, "%s: the block device has no room for %s",
			     v->path, what);
	else
		r = vhd_write(v, data, bytes, v->next_free, what, err);
	if (r && whole)
		put_back(v, v->footer_offset);
	if (!r)
		v->next_free += bytes;
	return r;
}

int vhd_cover(struct vhd *v, struct vhd_error *err)
{
	uint64_t offset = v->footer_offset;
	int r = vhd_sync(v, err);

	if (!r && !v->block_device && v->footer_offset < v->next_free) {
		v->footer_offset = v->next_free;
		r = write_footer_at(v, v->footer_offset, err);
		if (!r)
			r = vhd_sync(v, err);
	}
	if (r)
		put_back(v, offset);
	return r;
}

/* One at a time, so that there is a good one at every moment. */
int vhd_repair_footers(struct vhd *v, struct vhd_error *err)
{
	int r = 0;

	if (v->end_footer_lost)
		r = write_footer_at(v, v->footer_offset, err);
	else if (v->copy_footer_lost)
		r = write_footer_at(v, 0, err);
	else
		return 0;
	if (!r)
		r = vhd_sync(v, err);
	if (!r)
		r = vhd_file_size(v, err);
	if (r)
		return r;
	v->end_footer_lost = false;
	v->copy_footer_lost = false;
	return 0;
}
