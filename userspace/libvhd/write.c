// SPDX-License-Identifier: GPL-2.0-only
/* Writing footers and header of an open image. */
#include <stdlib.h>
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
