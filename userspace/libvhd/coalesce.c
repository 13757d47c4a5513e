// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a differencing image has is written to its parent, in steps:
 *
 *   blocks   places for those that the parent lacks, behind its end; the footer
 *            moves there; their bitmaps;
 *   data     of all sectors; then a sync;
 *   bits     of the parent's blocks that were there; the BAT; then a sync.
 *
 * All of it is hidden by the image above until it is done, and may be done again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

#define PIECE	(1U << 20)	/* bytes of data at a time */

/**
 * struct merge
 * @child: where the data is
 * @parent: where it goes
 * @bits: of @child's block in hand
 * @parent_bits: of a block of @parent
 * @data: PIECE bytes
 * @old: @parent's BAT as it is on the disk
 * @err: for the user
 */
struct merge {
	struct vhd *child;
	struct vhd *parent;
	uint8_t *bits;
	uint8_t *parent_bits;
	uint8_t *data;
	uint32_t *old;
	struct vhd_error *err;
};

/* Calls @step for each run of sectors that the child has. */
static int each_run(struct merge *m,
		    int (*step)(struct merge *m, uint64_t sector, uint32_t count))
{
	struct vhd *v = m->child;
	uint64_t end = v->size / VHD_SECTOR;
	int r = 0;

	for (uint32_t blk = 0; blk < v->bat_entries && !r; blk++) {
		uint64_t first = (uint64_t)blk * v->block_sectors;
		uint32_t n = v->block_sectors, i = 0;

		if (!vhd_block_allocated(v, blk) || first >= end)
			continue;
		if (n > end - first)
			n = (uint32_t)(end - first);
		r = vhd_read(v, m->bits, v->bitmap_bytes, vhd_bitmap_offset(v, blk),
			     "a block's bitmap", m->err);
		while (i < n && !r) {
			uint32_t run = vhd_bitmap_run(m->bits, i, n - i);

			if (vhd_bitmap_test(m->bits, i))
				r = step(m, first + i, run);
			i += run;
		}
	}
	return r;
}

static int place(struct merge *m, uint32_t blk)
{
	struct vhd *v = m->parent;
	uint64_t offset;
	int r = vhd_place_block(v, v->next_free, &offset);

	if (r)
		return vhd_fail(m->err, r, "%s: no room for block %u: %s", v->path, blk,
				strerror(-r));
	v->bat[blk] = (uint32_t)(offset / VHD_SECTOR);
	v->next_free = offset + vhd_block_span(v);
	return 0;
}

static int place_run(struct merge *m, uint64_t sector, uint32_t count)
{
	struct vhd *v = m->parent;
	uint32_t last = (uint32_t)((sector + count - 1) / v->block_sectors);
	int r = 0;

	for (uint32_t blk = (uint32_t)(sector / v->block_sectors); blk <= last && !r; blk++)
		if (!vhd_block_allocated(v, blk))
			r = place(m, blk);
	return r;
}

static bool is_new(const struct merge *m, uint32_t blk)
{
	return vhd_block_allocated(m->parent, blk) && m->old[blk] == VHD_BAT_UNUSED;
}

/* Data of a new block is zeroes, whatever was behind the end. */
static int init_block(struct merge *m, uint32_t blk)
{
	struct vhd *v = m->parent;
	bool dynamic = v->type == VHD_TYPE_DYNAMIC;
	uint64_t data = vhd_data_offset(v, blk);
	int r = 0;

	memset(m->parent_bits, dynamic ? 0xff : 0, v->bitmap_bytes);
	if (dynamic && fallocate(v->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, data,
				 v->block_size)) {
		memset(m->data, 0, PIECE);
		for (uint32_t at = 0; at < v->block_size && !r; at += PIECE)
			r = vhd_write(v, m->data, PIECE < v->block_size ? PIECE : v->block_size,
				      data + at, "a new block", m->err);
	}
	return r ? r : vhd_write(v, m->parent_bits, v->bitmap_bytes,
				 vhd_bitmap_offset(v, blk), "a block's bitmap", m->err);
}

static int allocate(struct merge *m)
{
	struct vhd *v = m->parent;
	int r = each_run(m, place_run);

	if (!r && !v->block_device && v->footer_offset < v->next_free) {
		v->footer_offset = v->next_free;
		r = vhd_write_footer(v, m->err);
	}
	for (uint32_t blk = 0; blk < v->bat_entries && !r; blk++)
		if (is_new(m, blk))
			r = init_block(m, blk);
	return r;
}

static uint64_t where(const struct vhd *v, uint64_t sector)
{
	if (vhd_is_flat(v))
		return sector * VHD_SECTOR;
	return vhd_data_offset(v, (uint32_t)(sector / v->block_sectors)) +
	       sector % v->block_sectors * VHD_SECTOR;
}

/* As many sectors as lie together in both, at most a piece. */
static uint32_t together(const struct merge *m, uint64_t sector, uint32_t count)
{
	const struct vhd *v = m->parent;

	if (count > PIECE / VHD_SECTOR)
		count = PIECE / VHD_SECTOR;
	if (!vhd_is_flat(v) && count > v->block_sectors - sector % v->block_sectors)
		count = v->block_sectors - (uint32_t)(sector % v->block_sectors);
	return count;
}

static int copy_run(struct merge *m, uint64_t sector, uint32_t count)
{
	uint32_t n;
	int r = 0;

	for (; count && !r; sector += n, count -= n) {
		n = together(m, sector, count);
		r = vhd_read(m->child, m->data, n * VHD_SECTOR, where(m->child, sector),
			     "data", m->err);
		if (!r)
			r = vhd_write(m->parent, m->data, n * VHD_SECTOR,
				      where(m->parent, sector), "data", m->err);
	}
	return r;
}

static int mark_run(struct merge *m, uint64_t sector, uint32_t count)
{
	struct vhd *v = m->parent;
	uint32_t n;
	int r = 0;

	for (; count && !r; sector += n, count -= n) {
		uint64_t at = vhd_bitmap_offset(v, (uint32_t)(sector / v->block_sectors));
		uint32_t first = (uint32_t)(sector % v->block_sectors);

		n = count < v->block_sectors - first ? count : v->block_sectors - first;
		r = vhd_read(v, m->parent_bits, v->bitmap_bytes, at, "a block's bitmap", m->err);
		if (r || vhd_bitmap_full(m->parent_bits, first, n))
			continue;
		vhd_bitmap_set(m->parent_bits, first, n);
		r = vhd_write(v, m->parent_bits, v->bitmap_bytes, at, "a block's bitmap", m->err);
	}
	return r;
}

static int write_bat(struct merge *m)
{
	const uint32_t per_sector = VHD_SECTOR / sizeof(uint32_t);
	struct vhd *v = m->parent;
	uint8_t *sector = m->data;
	int r = 0;

	for (uint32_t blk = 0; blk < v->bat_entries && !r; blk++) {
		if (!is_new(m, blk))
			continue;
		vhd_bat_sector_encode(v, blk, sector);
		r = vhd_write(v, sector, VHD_SECTOR, vhd_bat_sector_offset(v, blk),
			      "the BAT", m->err);
		blk |= per_sector - 1;
	}
	return r;
}

static int merge(struct merge *m)
{
	struct vhd *v = m->parent;
	int r = 0;

	if (!vhd_is_flat(v))
		r = allocate(m);
	if (!r)
		r = each_run(m, copy_run);
	if (!r)
		r = vhd_sync(v, m->err);
	if (!r && !vhd_is_flat(v))
		r = each_run(m, mark_run);
	if (!r && !vhd_is_flat(v))
		r = write_bat(m);
	return r ? r : vhd_sync(v, m->err);
}

static int prepare(struct merge *m)
{
	struct vhd *v = m->parent;

	if (m->child->size > v->size)
		return vhd_fail(m->err, -EINVAL, "%s: is larger than its parent %s: resize that first",
				m->child->path, v->path);
	m->data = vhd_alloc(PIECE);
	m->bits = vhd_alloc(m->child->bitmap_bytes);
	if (!m->data || !m->bits)
		return vhd_fail_nomem(m->err, v->path);
	if (vhd_is_flat(v))
		return 0;
	m->parent_bits = vhd_alloc(v->bitmap_bytes);
	m->old = malloc(v->bat_entries * sizeof(*m->old));
	if (!m->parent_bits || !m->old)
		return vhd_fail_nomem(m->err, v->path);
	memcpy(m->old, v->bat, v->bat_entries * sizeof(*m->old));
	return 0;
}

/* Finds the parent, which must be the right one, and leaves it alone. */
static int find_parent(const char *path, char **parent, bool *raw, struct vhd_error *err)
{
	struct vhd *v;
	int r = vhd_open_chain(&v, path, 0, err);

	if (r)
		return r;
	if (v->type != VHD_TYPE_DIFFERENCING) {
		r = vhd_fail(err, -EINVAL, "%s: has no parent to write to", path);
	} else {
		*raw = vhd_parent_is_raw(v);
		*parent = strdup(v->parent->path);
		r = *parent ? 0 : vhd_fail_nomem(err, path);
	}
	vhd_close(v);
	return r;
}

int vhd_coalesce(const char *path, struct vhd_error *err)
{
	vhd_autofree char *parent = NULL;
	struct merge m = { .err = err };
	bool raw = false;
	int r = find_parent(path, &parent, &raw, err);

	if (!r)
		r = vhd_open(&m.child, path, 0, err);
	if (!r)
		r = raw ? vhd_open_raw(&m.parent, parent, VHD_OPEN_RDWR, err) :
			  vhd_open(&m.parent, parent, VHD_OPEN_RDWR, err);
	if (!r)
		r = prepare(&m);
	if (!r)
		r = merge(&m);
	free(m.data);
	free(m.bits);
	free(m.parent_bits);
	free(m.old);
	vhd_close(m.parent);
	vhd_close(m.child);
	return r;
}
