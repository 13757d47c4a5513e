// SPDX-License-Identifier: GPL-2.0-only
/*
 * A slot's pages: where they come from, how data gets in and out of them, and
 * how they are taken back.
 *
 * A slot gets zeroed pages when it first needs them, within its pool's quota;
 * slot 0 has its pages before the disk exists, so a tap always can go on. They
 * stay, and stay mapped, until the disk goes or they are reclaimed, and then go
 * to the page allocator alone: a page that some O_DIRECT of the tapdisk still
 * has pinned never is another tap's.
 */
#include <linux/bitops.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "blktap.h"

#define SLOT_GFP	(__GFP_ZERO | __GFP_NOWARN)

static unsigned int slot_index(struct tap_ring *ring, struct tap_slot *slot)
{
	return slot - ring->slots;
}

static void slot_own(struct tap_ring *ring, struct tap_slot *slot, u8 state)
{
	lockdep_assert_held(&ring->lock);
	__clear_bit(slot_index(ring, slot), &ring->free);
	slot->state = state;
	ring->owned++;
}

/**
 * tap_slot_put - give a slot back that the kernel owns
 * @ring: its ring, locked
 * @slot: the slot; its part of the request is done, or was never posted
 */
void tap_slot_put(struct tap_ring *ring, struct tap_slot *slot)
{
	lockdep_assert_held(&ring->lock);
	slot->state = SLOT_FREE;
	slot->rq = NULL;
	ring->nr_late -= slot->late;
	slot->late = false;
	__set_bit(slot_index(ring, slot), &ring->free);
	ring->owned--;
}

/* Context: tap_ring.lock. Gives a slot up to @nr pages, as many as it can. */
static void slot_grow(struct blktap *tap, struct tap_slot *slot,
		      unsigned int nr)
{
	lockdep_assert_held(&tap->ring.lock);
	while (slot->nr_pages < nr) {
		struct page *page;

		if (!blktap_pool_charge(tap->pool)) {
			tap->ring.count.pool_empty++;
			blktap_pool_wanted(tap->pool);
			return;
		}
		page = alloc_page(GFP_NOWAIT | SLOT_GFP);
		if (!page) {
			blktap_pool_uncharge(tap->pool, 1);
			return;
		}
		slot->pages[slot->nr_pages++] = page;
	}
}

/**
 * tap_slot_pick - a free slot for a part of a request
 * @tap: the tap, its ring locked
 * @pages: how many pages the part would like; 0 for one without data
 *
 * Return: the slot, now SLOT_FILLING, with @pages pages or as many as could be
 * had, but at least one; NULL where there is none. The one who puts a slot back
 * looks for waiting requests again.
 */
struct tap_slot *tap_slot_pick(struct blktap *tap, unsigned int pages)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_slot *best = NULL;
	unsigned int i;

	lockdep_assert_held(&ring->lock);
	for_each_set_bit(i, &ring->free, BLKTAP_RING_SIZE) {
		struct tap_slot *slot = &ring->slots[i];

		if (!best || slot->nr_pages > best->nr_pages)
			best = slot;
		if (best->nr_pages >= pages)
			break;
	}
	if (!best)
		return NULL;
	slot_grow(tap, best, pages);
	if (pages && !best->nr_pages)
		return NULL;
	slot_own(ring, best, SLOT_FILLING);
	return best;
}

/**
 * tap_slot_reserve - give slot 0 the pages that make a tap independent
 * @tap: the tap, locked, mapped and without a disk
 *
 * The pool is charged in any case. Context: may sleep. Return: 0 or -ENOMEM.
 */
int tap_slot_reserve(struct blktap *tap)
{
	struct tap_slot *slot = &tap->ring.slots[0];
	struct page *pages[BLKTAP_SEGMENT_MAX];
	unsigned int i;

	lockdep_assert_held(&tap->lock);
	for (i = 0; i < BLKTAP_SEGMENT_MAX; i++) {
		pages[i] = alloc_page(GFP_KERNEL | SLOT_GFP);
		if (!pages[i])
			goto out_free;
	}
	blktap_pool_charge_reserve(tap->pool, BLKTAP_SEGMENT_MAX);
	spin_lock(&tap->ring.lock);
	memcpy(slot->pages, pages, sizeof(pages));
	slot->nr_pages = BLKTAP_SEGMENT_MAX;
	spin_unlock(&tap->ring.lock);
	return 0;

out_free:
	while (i--)
		put_page(pages[i]);
	return -ENOMEM;
}

static void unlock_pages(struct page **pages, unsigned int nr)
{
	while (nr--)
		unlock_page(pages[nr]);
}

/*
 * Takes a slot's pages away: @slot is SLOT_RECLAIM. The pages' locks keep
 * ring_vma_fault() from mapping one that it looked up before. In reclaim they
 * are only tried: a fault may have come here for memory while it held one.
 */
static unsigned int slot_empty(struct blktap *tap, struct tap_slot *slot,
			       bool wait)
{
	struct tap_ring *ring = &tap->ring;
	struct page *pages[BLKTAP_SEGMENT_MAX];
	unsigned int nr = slot->nr_pages, i;
	loff_t start;

	for (i = 0; i < nr; i++) {
		if (wait) {
			lock_page(slot->pages[i]);
		} else if (!trylock_page(slot->pages[i])) {
			unlock_pages(slot->pages, i);
			return 0;
		}
	}
	spin_lock(&ring->lock);
	memcpy(pages, slot->pages, sizeof(pages));
	memset(slot->pages, 0, sizeof(slot->pages));
	slot->nr_pages = 0;
	spin_unlock(&ring->lock);

	start = 1 + slot_index(ring, slot) * BLKTAP_SEGMENT_MAX;
	unmap_mapping_range(ring->mapping, start << PAGE_SHIFT,
			    BLKTAP_SEGMENT_MAX << PAGE_SHIFT, 1);
	unlock_pages(pages, nr);
	for (i = 0; i < nr; i++)
		put_page(pages[i]);
	blktap_pool_uncharge(tap->pool, nr);
	return nr;
}

static bool slot_own_idle(struct tap_ring *ring, struct tap_slot *slot)
{
	bool idle;

	spin_lock(&ring->lock);
	idle = ring->shared && slot->state == SLOT_FREE && slot->nr_pages;
	if (idle)
		slot_own(ring, slot, SLOT_RECLAIM);
	spin_unlock(&ring->lock);
	return idle;
}

static void slot_disown(struct blktap *tap, struct tap_slot *slot)
{
	spin_lock(&tap->ring.lock);
	tap_slot_put(&tap->ring, slot);
	if (!tap->ring.owned)
		wake_up_all(&tap->wait);
	spin_unlock(&tap->ring.lock);
}

/**
 * tap_slot_release_all - take away the pages of all slots
 * @tap: the tap, locked; nothing can be queued, and no request is in the ring
 *
 * The pools' lock keeps reclaim away, so that every slot is free to be emptied.
 * Context: may sleep.
 */
void tap_slot_release_all(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	unsigned int i;

	lockdep_assert_held(&tap->lock);
	blktap_pool_lock();
	for (i = 0; i < BLKTAP_RING_SIZE; i++) {
		if (!slot_own_idle(ring, &ring->slots[i]))
			continue;
		slot_empty(tap, &ring->slots[i], true);
		slot_disown(tap, &ring->slots[i]);
	}
	blktap_pool_unlock();
}

/**
 * tap_slot_idle_pages - how many pages could be reclaimed from a tap now
 * @tap: the tap
 */
unsigned int tap_slot_idle_pages(struct blktap *tap)
{
	unsigned int i, nr = 0;

	spin_lock(&tap->ring.lock);
	for_each_set_bit(i, &tap->ring.free, BLKTAP_RING_SIZE)
		if (i)
			nr += tap->ring.slots[i].nr_pages;
	spin_unlock(&tap->ring.lock);
	return nr;
}

/**
 * tap_slot_reclaim - take pages from slots that carry nothing, but slot 0
 * @tap: the tap; a member of its pool, so that it can't change its pool
 * @want: how many pages
 *
 * Context: also memory reclaim; never waits for a page. Return: pages freed.
 */
unsigned int tap_slot_reclaim(struct blktap *tap, unsigned int want)
{
	struct tap_ring *ring = &tap->ring;
	unsigned int i, nr = 0;

	for (i = BLKTAP_RING_SIZE - 1; i && nr < want; i--) {
		if (!slot_own_idle(ring, &ring->slots[i]))
			continue;
		nr += slot_empty(tap, &ring->slots[i], false);
		slot_disown(tap, &ring->slots[i]);
	}
	return nr;
}

static void cursor_settle(struct tap_cursor *cursor)
{
	while (!cursor->iter.bi_size && cursor->bio->bi_next) {
		cursor->bio = cursor->bio->bi_next;
		cursor->iter = cursor->bio->bi_iter;
	}
}

/**
 * tap_cursor_skip - move on in a request's data
 * @cursor: where it is
 * @len: by how many bytes; not past the data's end
 */
void tap_cursor_skip(struct tap_cursor *cursor, unsigned int len)
{
	while (len) {
		unsigned int n;

		cursor_settle(cursor);
		n = min(len, cursor->iter.bi_size);
		bio_advance_iter(cursor->bio, &cursor->iter, n);
		len -= n;
	}
}

/**
 * tap_slot_copy - copy a slot's part of its request
 * @slot: the slot, owned by the kernel
 * @to_slot: from the request's pages to the slot's, else back
 */
void tap_slot_copy(struct tap_slot *slot, bool to_slot)
{
	struct tap_cursor from = slot->data;
	unsigned int done = 0;

	while (done < slot->len) {
		struct page *page = slot->pages[done >> PAGE_SHIFT];
		unsigned int at = offset_in_page(done);
		unsigned int n = min_t(unsigned int, slot->len - done,
				       PAGE_SIZE - at);
		struct bio_vec bv;

		cursor_settle(&from);
		bv = bio_iter_iovec(from.bio, from.iter);
		n = min(n, bv.bv_len);
		if (to_slot)
			memcpy_page(page, at, bv.bv_page, bv.bv_offset, n);
		else
			memcpy_page(bv.bv_page, bv.bv_offset, page, at, n);
		flush_dcache_page(to_slot ? page : bv.bv_page);
		bio_advance_iter_single(from.bio, &from.iter, n);
		done += n;
	}
}
