// SPDX-License-Identifier: GPL-2.0-only
/* Opening one image: footers and header found, checked and, if lost, repaired. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

static const char no_cookie[] = "no footer";

bool vhd_by_tap(const struct vhd_footer *f)
{
	return !memcmp(f->creator_app, "tap", 3);
}

static bool footer_sum_matches(const struct vhd_footer *f, const uint8_t *disk)
{
	const size_t skip = offsetof(struct vhd_footer, checksum);
	uint32_t sum = vhd_checksum(disk, VHD_SECTOR, skip);

	/* Early tapdisks set the hidden byte without a new checksum. */
	if (f->hidden && vhd_by_tap(f) && f->creator_version <= VHD_TAP_VERSION &&
	    f->checksum == sum + f->hidden)
		return true;
	return f->checksum == sum;
}

/* Why @disk is not a footer, or NULL. */
static const char *footer_fault(struct vhd_footer *f, const uint8_t *disk)
{
	vhd_footer_decode(f, disk);
	if (memcmp(f->cookie, VHD_FOOTER_COOKIE, sizeof(f->cookie)))
		return no_cookie;
	if (!footer_sum_matches(f, disk))
		return "its checksum is wrong";
	if (f->version >> 16 != VHD_VERSION_1_0 >> 16)
		return "its format version is not 1";
	if (f->type < VHD_TYPE_FIXED || f->type > VHD_TYPE_DIFFERENCING)
		return "its disk type is unknown";
	if (f->current_size < VHD_SECTOR)
		return "its disk has no size";
	if (f->type != VHD_TYPE_FIXED &&
	    (f->data_offset < VHD_SECTOR || f->data_offset % VHD_SECTOR))
		return "its header offset is out of range";
	return NULL;
}

/* Read the last sector; a footer of 511 bytes (Virtual PC before 2004) too. */
static int read_end_footer(struct vhd *v, uint8_t *disk, struct vhd_error *err)
{
	uint64_t rest = v->file_size % VHD_SECTOR;

	v->footer_offset = vhd_round_down(v->file_size, VHD_SECTOR);
	if (rest == 0)
		v->footer_offset -= VHD_SECTOR;
	else if (rest != VHD_SECTOR - 1)
		return 0;
	if (pread(v->fd, disk, VHD_SECTOR, v->footer_offset) < 0)
		return vhd_fail(err, -errno, "%s: reading the footer at byte %ju failed: %s",
				v->path, (uintmax_t)v->footer_offset,
				strerror(errno));
	return 0;
}

static int fail_footer(const struct vhd *v, const char *end_fault,
		       const char *copy_fault, struct vhd_error *err)
{
	const char *fault = end_fault != no_cookie ? end_fault : copy_fault;

	if (fault == no_cookie)
		return vhd_fail(err, -EINVAL,
				"%s: not a VHD: no footer at its end, no copy at its start",
				v->path);
	return vhd_fail(err, -EINVAL,
			"%s: the VHD footer is damaged: %s; restore it from a copy",
			v->path, fault);
}

static int load_footer(struct vhd *v, struct vhd_error *err)
{
	vhd_autofree uint8_t *end = vhd_alloc(VHD_SECTOR);
	vhd_autofree uint8_t *copy = vhd_alloc(VHD_SECTOR);
	const char *end_fault, *copy_fault;
	struct vhd_footer copy_footer;
	int r;

	if (!end || !copy)
		return vhd_fail_nomem(err, v->path);
	if (v->file_size < VHD_SECTOR)
		return vhd_fail(err, -EINVAL, "%s: not a VHD: only %ju bytes long",
				v->path, (uintmax_t)v->file_size);
	r = read_end_footer(v, end, err);
	if (!r)
		r = vhd_read(v, copy, VHD_SECTOR, 0, "the footer's copy", err);
	if (r)
		return r;
	end_fault = footer_fault(&v->footer, end);
	copy_fault = footer_fault(&copy_footer, copy);
	/* A fixed disk has no copy: at 0 is the disk, perhaps with a VHD in it. */
	if (!copy_fault && copy_footer.type == VHD_TYPE_FIXED)
		copy_fault = no_cookie;
	if (end_fault && copy_fault)
		return fail_footer(v, end_fault, copy_fault, err);
	if (end_fault)
		v->footer = copy_footer;
	v->type = v->footer.type;
	v->end_footer_lost = end_fault;
	v->copy_footer_lost = v->type != VHD_TYPE_FIXED && !end_fault &&
			      (copy_fault || memcmp(end, copy, VHD_SECTOR - 1));
	if (v->footer.current_size > VHD_MAX_SIZE)
		return vhd_fail(err, -EFBIG,
				"%s: the disk has %ju bytes, more than a VHD's limit of 2040 GiB",
				v->path, (uintmax_t)v->footer.current_size);
	v->size = vhd_round_down(v->footer.current_size, VHD_SECTOR);
	return 0;
}

static const char *header_fault(const struct vhd_header *h, const uint8_t *disk,
				uint64_t size)
{
	uint32_t sum = vhd_checksum(disk, sizeof(*h),
				    offsetof(struct vhd_header, checksum));

	if (memcmp(h->cookie, VHD_HEADER_COOKIE, sizeof(h->cookie)))
		return "there is none where the footer points";
	if (h->checksum != sum)
		return "its checksum is wrong";
	if (h->version >> 16 != VHD_VERSION_1_0 >> 16)
		return "its version is not 1";
	if (h->block_size < VHD_BLOCK_SIZE_MIN || h->block_size > VHD_BLOCK_SIZE_MAX ||
	    h->block_size & (h->block_size - 1))
		return "its block size is not a power of two from 512 KiB to 256 MiB";
	if (h->table_offset < VHD_SECTOR || h->table_offset % VHD_SECTOR)
		return "its BAT offset is out of range";
	if (!h->max_bat_size || h->max_bat_size > VHD_BAT_MAX)
		return "its number of BAT entries is out of range";
	if ((uint64_t)h->max_bat_size * h->block_size < size)
		return "its BAT is too small for the disk";
	return NULL;
}

static int load_header(struct vhd *v, struct vhd_error *err)
{
	vhd_autofree uint8_t *disk = vhd_alloc(sizeof(v->header));
	const char *fault;
	int r;

	if (!disk)
		return vhd_fail_nomem(err, v->path);
	if (v->footer.data_offset > v->file_size - VHD_SECTOR ||
	    v->file_size - v->footer.data_offset < sizeof(v->header))
		return vhd_fail(err, -EINVAL,
				"%s: image is truncated: its header is past its end; restore it from a copy",
				v->path);
	r = vhd_read(v, disk, sizeof(v->header), v->footer.data_offset,
		     "the header", err);
	if (r)
		return r;
	vhd_header_decode(&v->header, disk);
	fault = header_fault(&v->header, disk, v->size);
	if (fault)
		return vhd_fail(err, -EINVAL,
				"%s: the VHD header is damaged: %s; restore it from a copy",
				v->path, fault);
	if (vhd_by_tap(&v->footer) &&
	    v->footer.creator_version == VHD_TAP_VERSION_BITSWAPPED)
		return vhd_fail(err, -ENOTSUP,
				"%s: made by an early tapdisk with the bits of its bitmaps swapped; convert it there",
				v->path);
	v->block_size = v->header.block_size;
	v->block_sectors = v->block_size / VHD_SECTOR;
	v->bitmap_bytes = vhd_bitmap_bytes(v->block_size);
	v->bat_entries = v->header.max_bat_size;
	return 0;
}

static int load(struct vhd *v, unsigned int flags, struct vhd_error *err)
{
	int r = load_footer(v, err);

	if (r)
		return r;
	if (v->type == VHD_TYPE_FIXED) {
		if (v->size <= v->footer_offset)
			return 0;
		return vhd_fail(err, -EINVAL,
				"%s: image is truncated: it has %ju bytes of a disk of %ju; restore it from a copy",
				v->path, (uintmax_t)v->footer_offset,
				(uintmax_t)v->size);
	}
	r = load_header(v, err);
	if (!r)
		r = vhd_load_bat(v, flags, err);
	if (!r && v->end_footer_lost && !v->block_device) {
		uint64_t last = vhd_round_up(v->file_size, VHD_SECTOR) - VHD_SECTOR;

		v->footer_offset = v->next_free > last ? v->next_free : last;
	}
	return r;
}

static struct vhd *new_vhd(void)
{
	struct vhd *v = calloc(1, sizeof(*v));

	if (v)
		v->fd = -1;
	return v;
}

int vhd_open(struct vhd **out, const char *path, unsigned int flags,
	     struct vhd_error *err)
{
	struct vhd *v = new_vhd();
	int r;

	if (!v)
		return vhd_fail_nomem(err, path);
	r = vhd_file_open(v, path, flags, err);
	if (!r)
		r = load(v, flags, err);
	if (!r && v->rdwr)
		r = vhd_repair_footers(v, err);
	if (r) {
		vhd_close(v);
		return r;
	}
	*out = v;
	return 0;
}

int vhd_open_raw(struct vhd **out, const char *path, unsigned int flags,
		 struct vhd_error *err)
{
	struct vhd *v = new_vhd();
	int r;

	if (!v)
		return vhd_fail_nomem(err, path);
	v->type = VHD_TYPE_RAW;
	r = vhd_file_open(v, path, flags, err);
	if (r) {
		vhd_close(v);
		return r;
	}
	v->size = vhd_round_up(v->file_size, VHD_SECTOR);
	*out = v;
	return 0;
}

void vhd_close(struct vhd *v)
{
	while (v) {
		struct vhd *parent = v->parent;

		if (v->fd >= 0)
			vhd_unlock_and_close(v->fd);
		free(v->path);
		free(v->bat);
		free(v);
		v = parent;
	}
}
