// SPDX-License-Identifier: GPL-2.0-only
/*
 * The maps of layout mode: extents by sector, in two maple trees.
 *
 * An extent is linear, so all of it but its range fits an xa_value: there is no
 * memory but the trees' nodes, and neighbours that say the same are one entry.
 * Sectors are those of the disk; a range is inclusive at both ends.
 *
 * What keeps the maps true:
 * - a grant fills only what @rw does not have: what is written there is never
 *   put back to what it was when the grant was computed;
 * - so an entry of @rw may only be dropped together with a change of @seq;
 * - DIRTY is never dropped: only a commit ends it.
 */
#include <linux/slab.h>
#include <linux/xarray.h>

#include "layout.h"

/* Bits of an entry: state, file, delta (signed, in sectors). */
#define ENTRY_FILE_SHIFT	3
#define ENTRY_DELTA_SHIFT	11
#define ENTRY_DELTA_BITS	TAP_DELTA_BITS

/* Sectors of a chunk of the table, a VHD's block; chunks of one of its pages. */
#ifndef CHUNK_SHIFT
#define CHUNK_SHIFT		12
#endif
#define PAGE_CHUNKS		(PAGE_SIZE / sizeof(unsigned long))
/* A larger disk has no table: more than any VHD has. */
#define TABLE_PAGES		4096

/* Bounded by the maps' limit, and never more than a node or two at a time. */
#define LAYOUT_GFP	(GFP_NOIO | __GFP_NOFAIL)

static void *entry_pack(u8 state, u8 file, s64 delta)
{
	unsigned long bits = (unsigned long)delta & GENMASK(ENTRY_DELTA_BITS - 1, 0);

	return xa_mk_value(bits << ENTRY_DELTA_SHIFT |
			   (unsigned long)file << ENTRY_FILE_SHIFT | state);
}

static u8 entry_state(void *entry)
{
	return xa_to_value(entry) & GENMASK(ENTRY_FILE_SHIFT - 1, 0);
}

static void entry_unpack(void *entry, struct tap_extent *ext)
{
	unsigned long bits = xa_to_value(entry);

	ext->state = entry_state(entry);
	ext->file = bits >> ENTRY_FILE_SHIFT;
	ext->delta = sign_extend64(bits >> ENTRY_DELTA_SHIFT,
				   ENTRY_DELTA_BITS - 1);
}

/*
 * Gaps are of no use to us, but without MT_FLAGS_ALLOC_RANGE the destruction of
 * a tree whose root has 16 leaves frees a page that is somebody else's: nodes
 * keep their metadata where the last leaf's pointer is, and mt_clear_meta() takes
 * the one for the other.
 */
#define LAYOUT_TREE	(MT_FLAGS_USE_RCU | MT_FLAGS_ALLOC_RANGE)

void tap_layout_init(struct tap_layout *layout)
{
	mutex_init(&layout->lock);
	mt_init_flags(&layout->rw, LAYOUT_TREE);
	mt_init_flags(&layout->ro, LAYOUT_TREE);
	mt_init_flags(&layout->dirty, LAYOUT_TREE);
	layout->hold_first = 1;
	layout->hold_last = 0;
}

static void table_free(struct tap_layout *layout)
{
	while (layout->nr_pages)
		free_page((unsigned long)layout->table[--layout->nr_pages]);
	kvfree(layout->table);
	layout->table = NULL;
}

/**
 * tap_layout_size - make the maps quick for a disk
 * @layout: the maps, empty
 * @sectors: the disk's capacity
 *
 * Without memory for that they are slower, no more.
 */
void tap_layout_size(struct tap_layout *layout, u64 sectors)
{
	u64 nr = DIV_ROUND_UP_ULL(sectors, PAGE_CHUNKS << CHUNK_SHIFT);

	table_free(layout);
	if (nr > TABLE_PAGES)
		return;
	layout->table = kvcalloc(nr, sizeof(*layout->table), GFP_KERNEL);
	layout->nr_pages = layout->table ? nr : 0;
}

/* Return: where the table has a chunk's entry, or NULL. */
static unsigned long *table_at(struct tap_layout *layout, u64 chunk)
{
	unsigned long *page;

	if (chunk / PAGE_CHUNKS >= layout->nr_pages)
		return NULL;
	page = READ_ONCE(layout->table[chunk / PAGE_CHUNKS]);
	return page ? &page[chunk % PAGE_CHUNKS] : NULL;
}

/* A page for a chunk, if there is memory. */
static void table_grow(struct tap_layout *layout, u64 chunk)
{
	u64 page = chunk / PAGE_CHUNKS;

	if (page < layout->nr_pages && !layout->table[page])
		/* Zeroed before it is seen: table_at() depends on the address. */
		smp_store_release(&layout->table[page],
				  (void *)get_zeroed_page(GFP_NOWAIT |
							  __GFP_NOWARN));
}

/* Nobody may be looking anything up. */
void tap_layout_destroy(struct tap_layout *layout)
{
	table_free(layout);
	mtree_destroy(&layout->rw);
	mtree_destroy(&layout->ro);
	mtree_destroy(&layout->dirty);
	layout->nr = 0;
	layout->seq++;
}

/* Return: the entry at a sector, or NULL; its range, also if NULL. */
static void *entry_at_rcu(struct maple_tree *tree, u64 sector, u64 *first,
			  u64 *last)
{
	MA_STATE(mas, tree, sector, sector);
	void *entry = mas_walk(&mas);

	*first = mas.index;
	*last = mas.last;
	return entry;
}

static void *entry_at(struct maple_tree *tree, u64 sector, u64 *first,
		      u64 *last)
{
	void *entry;

	rcu_read_lock();
	entry = entry_at_rcu(tree, sector, first, last);
	rcu_read_unlock();
	return entry;
}

static bool entry_is(unsigned long entry, u8 state)
{
	return entry && entry_state((void *)entry) == state;
}

/* Return: @tree has nothing in a range. */
static bool map_lacks(struct maple_tree *tree, u64 first, u64 last)
{
	u64 at, end;

	return !entry_at(tree, first, &at, &end) && end >= last;
}

/*
 * What the table is to say of a chunk that lies in an entry of a tree: what @ro
 * has counts where @rw has nothing.
 */
static bool table_takes(struct tap_layout *layout, struct maple_tree *tree,
			u64 chunk, void *entry)
{
	u64 first = chunk << CHUNK_SHIFT;

	if (tree == &layout->rw)
		return entry_state(entry) == BLKTAP_EXT_READ_WRITE_DATA;
	return entry_state(entry) == BLKTAP_EXT_READ_DATA &&
	       map_lacks(&layout->rw, first,
			 first + (1ULL << CHUNK_SHIFT) - 1);
}

/*
 * @rw or @ro has an entry for a range, or nothing. What spans more than a page of
 * the table is not worth it: then the tree has few entries.
 */
static void table_store(struct tap_layout *layout, struct maple_tree *tree,
			u64 first, u64 last, void *entry)
{
	u64 chunk = first >> CHUNK_SHIFT, end = last >> CHUNK_SHIFT;
	bool good = entry && end - chunk < PAGE_CHUNKS;

	end = min(end + 1, (u64)layout->nr_pages * PAGE_CHUNKS);
	for (; chunk < end; chunk++) {
		bool whole = good && chunk << CHUNK_SHIFT >= first &&
			     ((chunk + 1) << CHUNK_SHIFT) - 1 <= last &&
			     table_takes(layout, tree, chunk, entry);
		unsigned long *at;

		if (whole)
			table_grow(layout, chunk);
		at = table_at(layout, chunk);
		if (!at)
			chunk |= PAGE_CHUNKS - 1;
		else if (whole)
			WRITE_ONCE(*at, (unsigned long)entry);
		else if (tree == &layout->rw ||
			 !entry_is(*at, BLKTAP_EXT_READ_WRITE_DATA))
			WRITE_ONCE(*at, 0);
	}
}

/* Clips what @ro has at a sector to a range. */
static bool find_beneath(struct tap_layout *layout, u64 sector, u64 first,
			 u64 last, struct tap_extent *ext)
{
	void *entry = entry_at_rcu(&layout->ro, sector, &ext->first,
				   &ext->last);

	if (!entry)
		return false;
	entry_unpack(entry, ext);
	ext->first = max(ext->first, first);
	ext->last = min(ext->last, last);
	return true;
}

/**
 * tap_layout_find_rcu - where a sector is to be read or written
 * @layout: the maps
 * @sector: the sector
 * @write: it is to be written
 * @ext: set to the extent that it lies in
 *
 * Context: any, in an RCU read section. Return: false: a miss.
 */
bool tap_layout_find_rcu(struct tap_layout *layout, u64 sector, bool write,
			 struct tap_extent *ext)
{
	unsigned long *chunk = table_at(layout, sector >> CHUNK_SHIFT);
	unsigned long quick = chunk ? READ_ONCE(*chunk) : 0;
	u64 first, last;
	void *entry;

	if (write ? entry_is(quick, BLKTAP_EXT_READ_WRITE_DATA) : quick) {
		entry_unpack((void *)quick, ext);
		ext->first = round_down(sector, 1ULL << CHUNK_SHIFT);
		ext->last = ext->first + (1ULL << CHUNK_SHIFT) - 1;
		return true;
	}
	entry = entry_at_rcu(&layout->rw, sector, &first, &last);
	if (!entry || (!write && entry_state(entry) == BLKTAP_EXT_INVALID_DATA))
		return !write && find_beneath(layout, sector, first, last, ext);
	entry_unpack(entry, ext);
	ext->first = first;
	ext->last = last;
	return true;
}

/* The same. Context: any. */
bool tap_layout_find(struct tap_layout *layout, u64 sector, bool write,
		     struct tap_extent *ext)
{
	bool found;

	rcu_read_lock();
	found = tap_layout_find_rcu(layout, sector, write, ext);
	rcu_read_unlock();
	return found;
}

static void map_store(struct tap_layout *layout, struct maple_tree *tree,
		      u64 first, u64 last, void *entry)
{
	u64 at, end;

	/* Equal neighbours become one. */
	if (entry && first && entry_at(tree, first - 1, &at, &end) == entry)
		first = at;
	if (entry && entry_at(tree, last + 1, &at, &end) == entry)
		last = end;
	/* At most: a split makes two more. tap_layout_shrink() counts anew. */
	layout->nr += 2;
	if (tree != &layout->dirty)
		table_store(layout, tree, first, last, entry);
	WARN_ON_ONCE(mtree_store_range(tree, first, last, entry, LAYOUT_GFP));
}

/* Stores where the tree has nothing. */
static void map_fill(struct tap_layout *layout, struct maple_tree *tree,
		     u64 first, u64 last, void *entry)
{
	while (first <= last) {
		u64 at, end;
		void *old = entry_at(tree, first, &at, &end);

		end = min(end, last);
		if (!old)
			map_store(layout, tree, first, end, entry);
		first = end + 1;
	}
}

static bool is_rw(u8 state)
{
	return state == BLKTAP_EXT_READ_WRITE_DATA ||
	       state == BLKTAP_EXT_INVALID_DATA;
}

static void map_put(struct tap_layout *layout, const struct tap_extent *ext,
		    u64 first, u64 last)
{
	void *entry = entry_pack(ext->state, ext->file, ext->delta);

	if (is_rw(ext->state))
		map_fill(layout, &layout->rw, first, last, entry);
	else
		map_store(layout, &layout->ro, first, last, entry);
}

/* Puts what of an extent is not held into the maps. */
static void map_grant(struct tap_layout *layout, const struct tap_extent *ext)
{
	u64 from = layout->hold_first, to = layout->hold_last;

	if (from > to || ext->last < from || ext->first > to) {
		map_put(layout, ext, ext->first, ext->last);
		return;
	}
	if (ext->first < from)
		map_put(layout, ext, ext->first, from - 1);
	if (ext->last > to)
		map_put(layout, ext, to + 1, ext->last);
}

/**
 * tap_layout_grant - put what a tapdisk has granted into the maps
 * @layout: the maps
 * @exts: the extents, validated
 * @nr: how many
 * @seq: tap_layout_seq() when the grant was asked for
 *
 * What lies in a held range is left out. Return: 0, or -ESTALE: extents were
 * dropped since; ask again.
 */
int tap_layout_grant(struct tap_layout *layout, const struct tap_extent *exts,
		     unsigned int nr, u64 seq)
{
	unsigned int i;
	int err = 0;

	mutex_lock(&layout->lock);
	if (seq != layout->seq)
		err = -ESTALE;
	for (i = 0; !err && i < nr; i++)
		map_grant(layout, &exts[i]);
	mutex_unlock(&layout->lock);
	return err;
}

/**
 * tap_layout_dirty - data has landed in an INVALID_DATA extent
 * @layout: the maps
 * @ext: the extent, as it was found; its user has kept the layout open
 * @first: first sector
 * @last: last sector
 *
 * Also where the extent has been dropped since: what landed must not be
 * forgotten. Context: may sleep.
 */
void tap_layout_dirty(struct tap_layout *layout, const struct tap_extent *ext,
		      u64 first, u64 last)
{
	void *entry = entry_pack(TAP_EXT_DIRTY, ext->file, ext->delta);

	mutex_lock(&layout->lock);
	while (first <= last) {
		u64 at, end;
		void *old = entry_at(&layout->rw, first, &at, &end);

		end = min(end, last);
		if (!old || entry_state(old) == BLKTAP_EXT_INVALID_DATA) {
			map_store(layout, &layout->rw, first, end, entry);
			map_store(layout, &layout->dirty, first, end,
				  xa_mk_value(1));
			layout->nr_dirty++;
		}
		first = end + 1;
	}
	mutex_unlock(&layout->lock);
}

/**
 * tap_layout_dirty_ranges - the next dirty ranges
 * @layout: the maps
 * @from: where to look from; set to behind the last range
 * @ranges: sector and nr_sectors are set
 * @max: how many there is room for
 *
 * Return: how many there were.
 */
unsigned int tap_layout_dirty_ranges(struct tap_layout *layout, u64 *from,
				     struct blktap_extent *ranges,
				     unsigned int max)
{
	MA_STATE(mas, &layout->dirty, *from, *from);
	unsigned int nr = 0;
	void *entry;

	mutex_lock(&layout->lock);
	rcu_read_lock();
	mas_for_each(&mas, entry, ULONG_MAX) {
		ranges[nr].sector = mas.index;
		ranges[nr].nr_sectors = mas.last - mas.index + 1;
		*from = mas.last + 1;
		if (++nr == max)
			break;
	}
	rcu_read_unlock();
	mutex_unlock(&layout->lock);
	return nr;
}

/* Turns what is DIRTY in a range of @rw into READ_WRITE_DATA. */
static void map_clean(struct tap_layout *layout, u64 first, u64 last)
{
	while (first <= last) {
		struct tap_extent ext;
		u64 at, end;
		void *old = entry_at(&layout->rw, first, &at, &end);

		end = min(end, last);
		if (old && entry_state(old) == TAP_EXT_DIRTY) {
			entry_unpack(old, &ext);
			map_store(layout, &layout->rw, first, end,
				  entry_pack(BLKTAP_EXT_READ_WRITE_DATA,
					     ext.file, ext.delta));
		}
		first = end + 1;
	}
}

/**
 * tap_layout_committed - the metadata says now that a range holds data
 * @layout: the maps
 * @first: first sector
 * @last: last sector
 */
void tap_layout_committed(struct tap_layout *layout, u64 first, u64 last)
{
	mutex_lock(&layout->lock);
	map_clean(layout, first, last);
	map_store(layout, &layout->dirty, first, last, NULL);
	WRITE_ONCE(layout->nr_dirty, layout->nr_dirty - min(layout->nr_dirty, 1UL));
	mutex_unlock(&layout->lock);
}

static void map_drop(struct tap_layout *layout, struct maple_tree *tree,
		     u64 first, u64 last)
{
	while (first <= last) {
		u64 at, end;
		void *old = entry_at(tree, first, &at, &end);

		end = min(end, last);
		if (old && entry_state(old) != TAP_EXT_DIRTY)
			map_store(layout, tree, first, end, NULL);
		if (end == U64_MAX)
			break;
		first = end + 1;
	}
}

/**
 * tap_layout_drop - forget the extents of a range, but dirty ones
 * @layout: the maps
 * @first: first sector
 * @last: last sector
 *
 * What is in flight in them goes on. Grants asked for before are stale. @ro goes
 * first: a lookup meanwhile must not find there what @rw has overruled.
 */
void tap_layout_drop(struct tap_layout *layout, u64 first, u64 last)
{
	mutex_lock(&layout->lock);
	WRITE_ONCE(layout->seq, layout->seq + 1);
	map_drop(layout, &layout->ro, first, last);
	map_drop(layout, &layout->rw, first, last);
	mutex_unlock(&layout->lock);
}

static void map_clear(struct tap_layout *layout, struct maple_tree *tree)
{
	u64 at = 0, first, end;

	do {
		if (entry_at(tree, at, &first, &end))
			map_store(layout, tree, first, end, NULL);
		at = end + 1;
	} while (at);
}

/**
 * tap_layout_forget - forget everything, what is dirty too
 * @layout: the maps; nobody looks anything up
 */
void tap_layout_forget(struct tap_layout *layout)
{
	mutex_lock(&layout->lock);
	WRITE_ONCE(layout->seq, layout->seq + 1);
	map_clear(layout, &layout->ro);
	map_clear(layout, &layout->rw);
	map_clear(layout, &layout->dirty);
	WRITE_ONCE(layout->nr_dirty, 0);
	WRITE_ONCE(layout->nr, 0);
	mutex_unlock(&layout->lock);
}

/**
 * tap_layout_next - the next extent that can be written to
 * @layout: the maps
 * @sector: where to look from
 * @last: where to stop
 * @ext: set to the extent, clipped to this range
 *
 * Return: false: there is none.
 */
bool tap_layout_next(struct tap_layout *layout, u64 sector, u64 last,
		     struct tap_extent *ext)
{
	MA_STATE(mas, &layout->rw, sector, sector);
	void *entry;

	rcu_read_lock();
	entry = mas_find(&mas, last);
	rcu_read_unlock();
	if (!entry)
		return false;
	entry_unpack(entry, ext);
	ext->first = max_t(u64, mas.index, sector);
	ext->last = min_t(u64, mas.last, last);
	return true;
}

static unsigned long map_count(struct maple_tree *tree)
{
	MA_STATE(mas, tree, 0, 0);
	unsigned long nr = 0;
	void *entry;

	rcu_read_lock();
	mas_for_each(&mas, entry, ULONG_MAX)
		nr++;
	rcu_read_unlock();
	return nr;
}

/**
 * tap_layout_count - count the entries anew
 * @layout: the maps
 *
 * Return: how many there are.
 */
unsigned long tap_layout_count(struct tap_layout *layout)
{
	unsigned long nr;

	mutex_lock(&layout->lock);
	WRITE_ONCE(layout->nr_dirty, map_count(&layout->dirty));
	nr = map_count(&layout->rw) + map_count(&layout->ro) +
	     layout->nr_dirty;
	WRITE_ONCE(layout->nr, nr);
	mutex_unlock(&layout->lock);
	return nr;
}

/**
 * tap_layout_shrink - forget what is clean if there is more than the limit
 * @layout: the maps
 *
 * To be called before a grant is taken, never after: who waits for it has to
 * find it. So nothing is forgotten where that would not help. Return: too much
 * is dirty.
 */
bool tap_layout_shrink(struct tap_layout *layout)
{
	if (READ_ONCE(layout->nr) <= READ_ONCE(layout->max) ||
	    tap_layout_count(layout) <= READ_ONCE(layout->max))
		return false;
	if (tap_layout_crowded(layout))
		return true;
	tap_layout_drop(layout, 0, U64_MAX);
	tap_layout_count(layout);
	return false;
}

/* What is dirty takes half of the limit, or more: commit it. Any context. */
bool tap_layout_crowded(struct tap_layout *layout)
{
	return READ_ONCE(layout->nr_dirty) > READ_ONCE(layout->max) / 4;
}

/* To be taken before a grant is asked for. Any context. */
u64 tap_layout_seq(struct tap_layout *layout)
{
	return READ_ONCE(layout->seq);
}

bool tap_layout_is_dirty(struct tap_layout *layout)
{
	return !mtree_empty(&layout->dirty);
}

bool tap_layout_dirty_in(struct tap_layout *layout, u64 first, u64 last)
{
	unsigned long at = first;

	return mt_find(&layout->dirty, &at, last);
}

/**
 * tap_layout_hold - take no grants in a range, until tap_layout_unhold()
 * @layout: the maps
 * @first: first sector
 * @last: last sector
 */
void tap_layout_hold(struct tap_layout *layout, u64 first, u64 last)
{
	mutex_lock(&layout->lock);
	WRITE_ONCE(layout->hold_first, first);
	WRITE_ONCE(layout->hold_last, last);
	WRITE_ONCE(layout->seq, layout->seq + 1);
	mutex_unlock(&layout->lock);
}

/* What was asked for before may be as things were before: it is stale. */
void tap_layout_unhold(struct tap_layout *layout)
{
	tap_layout_hold(layout, 1, 0);
}

/* A grant for a sector would not be taken now. Any context. */
bool tap_layout_is_held(struct tap_layout *layout, u64 sector)
{
	return sector >= READ_ONCE(layout->hold_first) &&
	       sector <= READ_ONCE(layout->hold_last);
}
