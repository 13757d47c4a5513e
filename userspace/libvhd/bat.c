// SPDX-License-Identifier: GPL-2.0-only
/*
 * The block allocation table, checked against everything else in the file: who
 * has opened an image may follow any entry of its BAT without looking.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

#define NO_BLOCK	UINT32_MAX

struct range {
	const char *what;
	uint64_t start;
	uint64_t end;
};

struct layout {
	struct range range[6];
	int nr;
};

/* XenServer's: after the BAT, a map of the blocks whose bitmap is all ones. */
struct batmap_header {
	char cookie[8];
	uint64_t offset;
	uint32_t sectors;
	uint32_t version;
	uint32_t checksum;
	uint8_t marker;
};

static const struct range *overlap(const struct layout *l, uint64_t start,
				   uint64_t end)
{
	for (int i = 0; i < l->nr; i++)
		if (start < l->range[i].end && end > l->range[i].start)
			return &l->range[i];
	return NULL;
}

static void add_range(struct layout *l, const char *what, uint64_t start,
		      uint64_t len)
{
	l->range[l->nr++] = (struct range){ what, start, start + len };
}

static int lay_out(struct vhd *v, struct layout *l, uint64_t limit,
		   struct vhd_error *err)
{
	uint64_t bat_bytes = vhd_bat_bytes(v->bat_entries);
	const struct range *other;

	if (v->header.table_offset > limit ||
	    limit - v->header.table_offset < bat_bytes)
		return vhd_fail(err, -EINVAL,
				"%s: image is truncated: it ends within its BAT; restore it from a copy",
				v->path);
	add_range(l, "the footer's copy", 0, VHD_SECTOR);
	add_range(l, "the header", v->footer.data_offset, sizeof(v->header));
	other = overlap(l, v->header.table_offset,
			v->header.table_offset + bat_bytes);
	if (other)
		return vhd_fail(err, -EINVAL,
				"%s: the VHD header is damaged: its BAT overlaps %s; restore it from a copy",
				v->path, other->what);
	add_range(l, "the BAT", v->header.table_offset, bat_bytes);
	return 0;
}

/* A batmap is only a hint: one that makes no sense is not there. */
static int find_batmap(struct vhd *v, struct layout *l, uint64_t limit,
		       struct vhd_error *err)
{
	uint64_t at = v->header.table_offset + vhd_bat_bytes(v->bat_entries);
	struct batmap_header h;
	uint64_t bytes;
	int r;

	if (!vhd_by_tap(&v->footer) || v->footer.creator_version < VHD_VERSION_1_0 ||
	    limit - at < VHD_SECTOR)
		return 0;
	r = vhd_read_bytes(v, &h, sizeof(h), at, "the batmap's header", err);
	if (r)
		return r;
	h.offset = be64toh(h.offset);
	bytes = (uint64_t)be32toh(h.sectors) * VHD_SECTOR;
	if (memcmp(h.cookie, "tdbatmap", sizeof(h.cookie)) ||
	    h.offset % VHD_SECTOR || h.offset > limit ||
	    limit - h.offset < bytes || bytes * 8 < v->bat_entries ||
	    bytes > VHD_BAT_MAX || overlap(l, h.offset, h.offset + bytes))
		return 0;
	v->batmap_offset = h.offset;
	v->batmap_bytes = bytes;
	add_range(l, "the batmap's header", at, VHD_SECTOR);
	add_range(l, "the batmap", h.offset, bytes);
	return 0;
}

static int read_bat(struct vhd *v, struct vhd_error *err)
{
	uint64_t bytes = vhd_bat_bytes(v->bat_entries);
	uint32_t padded = bytes / sizeof(*v->bat);
	int r;

	v->bat = vhd_alloc(bytes);
	if (!v->bat)
		return vhd_fail_nomem(err, v->path);
	r = vhd_read(v, v->bat, bytes, v->header.table_offset, "the BAT", err);
	if (r)
		return r;
	for (uint32_t i = 0; i < padded; i++)
		v->bat[i] = i < v->bat_entries ? be32toh(v->bat[i]) : VHD_BAT_UNUSED;
	return 0;
}

/*
 * A tapdisk of the old kind overwrites the end footer, and the last block's
 * data ends with what was written so far. Such sectors only, whose bits are
 * not set, may be missing at the end of the file.
 */
static int check_tail(const struct vhd *v, uint32_t blk, uint64_t limit,
		      struct vhd_error *err)
{
	vhd_autofree uint8_t *bitmap = NULL;
	uint64_t data = vhd_data_offset(v, blk);
	uint32_t have = limit > data ? (limit - data) / VHD_SECTOR : 0;
	int r;

	if (!v->end_footer_lost || v->block_device)
		goto fail;
	bitmap = vhd_alloc(v->bitmap_bytes);
	if (!bitmap)
		return vhd_fail_nomem(err, v->path);
	r = vhd_read(v, bitmap, v->bitmap_bytes, vhd_bitmap_offset(v, blk),
		     "the last block's bitmap", err);
	if (r)
		return r;
	for (uint32_t i = have; i < v->block_sectors; i++)
		if (vhd_bitmap_test(bitmap, i))
			goto fail;
	return 0;

fail:
	return vhd_fail(err, -EINVAL,
			"%s: image is truncated or damaged: block %u goes to byte %ju, the image to %ju; restore it from a copy",
			v->path, blk, (uintmax_t)data + v->block_size,
			(uintmax_t)limit);
}

static int fail_overlap(const struct vhd *v, uint32_t a, uint32_t b,
			struct vhd_error *err)
{
	return vhd_fail(err, -EINVAL,
			"%s: the BAT is damaged: blocks %u and %u overlap; restore the image from a copy",
			v->path, a, b);
}

/*
 * Blocks don't overlap. In a table with a slot for each block's span of the
 * file at most one block can start in a slot, and only the next slot's block
 * can be reached from it. Sorted by the way; the last one is returned in @last.
 */
static int check_blocks(const struct vhd *v, uint64_t limit, uint32_t *last,
			struct vhd_error *err)
{
	uint64_t span = vhd_block_span(v) / VHD_SECTOR;
	uint64_t slots = (limit / VHD_SECTOR < VHD_BAT_UNUSED ?
			  limit / VHD_SECTOR : VHD_BAT_UNUSED) / span + 1;
	vhd_autofree uint32_t *slot = malloc(slots * sizeof(*slot));
	uint32_t before = NO_BLOCK;

	if (!slot)
		return vhd_fail_nomem(err, v->path);
	memset(slot, 0xff, slots * sizeof(*slot));
	for (uint32_t i = 0; i < v->bat_entries; i++) {
		uint64_t n = v->bat[i] / span;

		if (!vhd_block_allocated(v, i))
			continue;
		if (n >= slots || vhd_data_offset(v, i) > limit)
			return check_tail(v, i, limit, err);
		if (slot[n] != NO_BLOCK)
			return fail_overlap(v, slot[n], i, err);
		slot[n] = i;
	}
	for (uint64_t n = 0; n < slots; n++) {
		if (slot[n] == NO_BLOCK)
			continue;
		if (before != NO_BLOCK && v->bat[before] + span > v->bat[slot[n]])
			return fail_overlap(v, before, slot[n], err);
		before = slot[n];
	}
	*last = before;
	return 0;
}

static int check_metadata(const struct vhd *v, const struct layout *l,
			  struct vhd_error *err)
{
	for (uint32_t i = 0; i < v->bat_entries; i++) {
		const struct range *other;

		if (!vhd_block_allocated(v, i))
			continue;
		other = overlap(l, vhd_bitmap_offset(v, i),
				vhd_data_offset(v, i) + v->block_size);
		if (other)
			return vhd_fail(err, -EINVAL,
					"%s: the BAT is damaged: block %u overlaps %s; restore the image from a copy",
					v->path, i, other->what);
	}
	return 0;
}

static uint64_t metadata_end(const struct vhd *v, const struct layout *l)
{
	uint64_t end = 0;

	for (int i = 0; i < l->nr; i++)
		if (l->range[i].end > end)
			end = l->range[i].end;
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *loc = &v->header.locator[i];

		if (vhd_locator_usable(v, loc) &&
		    loc->data_offset + loc->data_length > end)
			end = loc->data_offset + loc->data_length;
	}
	return vhd_round_up(end, VHD_SECTOR);
}

/*
 * Where the blocks must end. Without a lock the image may grow meanwhile, its
 * footer before its BAT: look again after the BAT has been read.
 */
static int blocks_limit(struct vhd *v, unsigned int flags, uint64_t *limit,
			struct vhd_error *err)
{
	uint64_t size = v->file_size;
	int r;

	if (flags & VHD_OPEN_NOLOCK) {
		r = vhd_file_size(v, err);
		if (r)
			return r;
		if (v->file_size > size)
			v->footer_offset = vhd_round_down(v->file_size - 1, VHD_SECTOR);
	}
	*limit = v->end_footer_lost && !v->block_device ? v->file_size :
							  v->footer_offset;
	return 0;
}

int vhd_load_bat(struct vhd *v, unsigned int flags, struct vhd_error *err)
{
	struct layout layout = { .nr = 0 };
	uint32_t last = NO_BLOCK;
	uint64_t limit;
	int r;

	r = blocks_limit(v, 0, &limit, err);
	if (!r)
		r = lay_out(v, &layout, limit, err);
	if (!r)
		r = find_batmap(v, &layout, limit, err);
	if (!r)
		r = read_bat(v, err);
	if (!r)
		r = blocks_limit(v, flags, &limit, err);
	if (!r)
		r = check_blocks(v, limit, &last, err);
	if (!r)
		r = check_metadata(v, &layout, err);
	if (r)
		return r;
	v->next_free = metadata_end(v, &layout);
	if (last == NO_BLOCK)
		return 0;
	if (vhd_data_offset(v, last) + v->block_size > limit) {
		r = check_tail(v, last, limit, err);
		if (r)
			return r;
	}
	if (vhd_data_offset(v, last) + v->block_size > v->next_free)
		v->next_free = vhd_data_offset(v, last) + v->block_size;
	return 0;
}

int vhd_read_batmap(const struct vhd *v, uint8_t **map, struct vhd_error *err)
{
	int r;

	*map = NULL;
	if (!v->batmap_offset)
		return 0;
	*map = vhd_alloc(v->batmap_bytes);
	if (!*map)
		return vhd_fail_nomem(err, v->path);
	r = vhd_read(v, *map, v->batmap_bytes, v->batmap_offset, "the batmap", err);
	if (r) {
		free(*map);
		*map = NULL;
	}
	return r;
}

/* Does anything but blocks lie behind @start? */
static bool metadata_behind(const struct vhd *v, uint64_t start)
{
	if (v->batmap_offset >= start)
		return true;
	for (int i = 0; i < VHD_LOCATORS; i++)
		if (v->header.locator[i].code != VHD_PLATFORM_NONE &&
		    v->header.locator[i].data_offset >= start)
			return true;
	return false;
}

static int compare_entries(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t find_between(const struct vhd *v, uint32_t before, uint32_t after,
			     uint32_t *entry, uint32_t max)
{
	uint64_t from = (uint64_t)before * VHD_SECTOR + vhd_block_span(v);
	uint64_t end = (uint64_t)after * VHD_SECTOR, offset;
	uint32_t n = 0;

	while (n < max && !vhd_place_block(v, from, &offset) &&
	       offset + vhd_block_span(v) <= end) {
		entry[n++] = offset / VHD_SECTOR;
		from = offset + vhd_block_span(v);
	}
	return n;
}

int vhd_find_places(const struct vhd *v, uint32_t *entry, uint32_t max, uint32_t *nr)
{
	vhd_autofree uint32_t *used = malloc(v->bat_entries * sizeof(*used));
	uint32_t n = 0;

	*nr = 0;
	if (!used)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->bat_entries; i++)
		if (vhd_block_allocated(v, i))
			used[n++] = v->bat[i];
	qsort(used, n, sizeof(*used), compare_entries);
	if (!n || metadata_behind(v, (uint64_t)used[0] * VHD_SECTOR))
		return 0;
	for (uint32_t i = 1; i < n; i++)
		*nr += find_between(v, used[i - 1], used[i], entry + *nr, max - *nr);
	return 0;
}
