/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The maps of a tap in layout mode: which sectors of the disk live where.
 * See Documentation/layout.rst.
 */
#ifndef _BLKTAP_LAYOUT_H
#define _BLKTAP_LAYOUT_H

#include <linux/blktap.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/types.h>

#define TAP_DELTA_BITS	52	/* of an extent's delta, with its sign */

/* In the maps, DIRTY stands beside the states that a tapdisk can grant. */
#define TAP_EXT_DIRTY	4	/* was INVALID_DATA, holds data, not committed */

/**
 * struct tap_extent - an extent as the maps have it, clipped to what is wanted
 * @first: first sector of the disk
 * @last: last sector, inclusive
 * @delta: sector in the file minus sector of the disk, in sectors
 * @file: index of the file; unused with NONE_DATA
 * @state: BLKTAP_EXT_* or TAP_EXT_DIRTY
 */
struct tap_extent {
	u64 first;
	u64 last;
	s64 delta;
	u8 file;
	u8 state;
};

/**
 * struct tap_layout - the maps
 * @lock: serialises changes; lookups take RCU only
 * @rw: READ_WRITE_DATA, INVALID_DATA and DIRTY extents
 * @ro: READ_DATA and NONE_DATA: what is read where @rw has nothing, or INVALID
 * @dirty: the ranges that are DIRTY in @rw, to find them
 * @table: for each chunk that lies in one READ_WRITE_DATA extent, or in one
 *	READ_DATA extent with nothing in @rw, that extent's entry, in pages; a
 *	shorter way than the trees for the lookup
 * @nr_pages: of @table; 0: there is none
 * @nr: entries, at most; counted anew when that is too many
 * @nr_dirty: entries of @dirty, at most; also counted anew
 * @max: how many may be kept
 * @seq: changes when extents are dropped: a grant asked for before is stale
 * @hold_first: of a range in which no grant is taken; greater than @hold_last
 *	where there is none
 * @hold_last: last sector of it
 */
struct tap_layout {
	struct mutex lock;	/* all of this */
	struct maple_tree rw;
	struct maple_tree ro;
	struct maple_tree dirty;
	unsigned long **table;
	unsigned long nr_pages;
	unsigned long nr;
	unsigned long nr_dirty;
	unsigned long max;
	u64 seq;
	u64 hold_first;
	u64 hold_last;
};

void tap_layout_init(struct tap_layout *layout);
void tap_layout_size(struct tap_layout *layout, u64 sectors);
void tap_layout_destroy(struct tap_layout *layout);
bool tap_layout_find_rcu(struct tap_layout *layout, u64 sector, bool write,
			 struct tap_extent *ext);
bool tap_layout_find(struct tap_layout *layout, u64 sector, bool write,
		     struct tap_extent *ext);
int tap_layout_grant(struct tap_layout *layout, const struct tap_extent *exts,
		     unsigned int nr, u64 seq);
void tap_layout_dirty(struct tap_layout *layout, const struct tap_extent *ext,
		      u64 first, u64 last);
unsigned int tap_layout_dirty_ranges(struct tap_layout *layout, u64 *from,
				     struct blktap_extent *ranges,
				     unsigned int max);
void tap_layout_committed(struct tap_layout *layout, u64 first, u64 last);
void tap_layout_drop(struct tap_layout *layout, u64 first, u64 last);
void tap_layout_forget(struct tap_layout *layout);
bool tap_layout_next(struct tap_layout *layout, u64 sector, u64 last,
		     struct tap_extent *ext);
unsigned long tap_layout_count(struct tap_layout *layout);
bool tap_layout_crowded(struct tap_layout *layout);
bool tap_layout_shrink(struct tap_layout *layout);
u64 tap_layout_seq(struct tap_layout *layout);
bool tap_layout_is_dirty(struct tap_layout *layout);
bool tap_layout_dirty_in(struct tap_layout *layout, u64 first, u64 last);
void tap_layout_hold(struct tap_layout *layout, u64 first, u64 last);
void tap_layout_unhold(struct tap_layout *layout);
bool tap_layout_is_held(struct tap_layout *layout, u64 sector);

#endif /* _BLKTAP_LAYOUT_H */
