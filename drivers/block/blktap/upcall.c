// SPDX-License-Identifier: GPL-2.0-only
/*
 * Upcalls of layout mode: what lies where (LAYOUTGET), and what holds data now
 * (LAYOUTCOMMIT). A request that misses waits behind the upcall for its chunk,
 * its own or an earlier one's, and is looked up again after the answer.
 */
#include <linux/mm.h>

#include "blktap.h"
#include "trace.h"

#define CHUNK_SECTORS	4096	/* a VHD's block, as most have it */

static u64 cmd_sector(struct tap_cmd *cmd)
{
	return blk_rq_pos(blk_mq_rq_from_pdu(cmd)) + (cmd->pos >> SECTOR_SHIFT);
}

/**
 * tap_upcall_held - must a request that misses wait for the end of a TRIM?
 * @tap: the tap
 * @cmd: the request, waiting in its ring
 */
bool tap_upcall_held(struct blktap *tap, struct tap_cmd *cmd)
{
	return cmd->op == BLKTAP_OP_LAYOUTGET &&
	       tap_layout_is_held(&tap->direct->layout, cmd_sector(cmd));
}

/**
 * tap_upcall_join - wait for the answer to an upcall that is under way
 * @tap: the tap, its ring locked
 * @cmd: a request that misses, on no list
 *
 * Return: false: there is none for its chunk.
 */
bool tap_upcall_join(struct blktap *tap, struct tap_cmd *cmd)
{
	u64 chunk = cmd_sector(cmd) / CHUNK_SECTORS;
	unsigned int i;

	lockdep_assert_held(&tap->ring.lock);
	for (i = 0; i < BLKTAP_RING_SIZE; i++) {
		struct tap_slot *slot = &tap->ring.slots[i];

		if (slot->op == BLKTAP_OP_LAYOUTGET &&
		    (slot->state == SLOT_FILLING || slot->state == SLOT_POSTED) &&
		    slot->sector / CHUNK_SECTORS == chunk &&
		    slot->iomode == cmd->iomode) {
			list_add_tail(&cmd->node, &slot->parked);
			return true;
		}
	}
	return false;
}

/* Makes a slot, its ring locked, the LAYOUTGET of a request that misses. */
void tap_upcall_prepare(struct blktap *tap, struct tap_slot *slot,
			struct tap_cmd *cmd)
{
	lockdep_assert_held(&tap->ring.lock);
	slot->sector = cmd_sector(cmd);
	slot->iomode = cmd->iomode;
	slot->seq = tap_layout_seq(&tap->direct->layout);
	slot->len = 0;
	INIT_LIST_HEAD(&slot->parked);
	list_add(&cmd->node, &slot->parked);
	tap->direct->upcalls++;
}

static struct blktap_extent *slot_extents(struct blktap *tap,
					  struct tap_slot *slot)
{
	return page_address(tap->ring.layout[slot - tap->ring.slots]);
}

/* The rest of the sector's chunk, but nothing that a TRIM has, on the disk. */
static u64 wanted(struct blktap *tap, u64 sector)
{
	u64 end = round_down(sector, CHUNK_SECTORS) + CHUNK_SECTORS;
	u64 held = READ_ONCE(tap->direct->layout.hold_first);

	end = min(end, get_capacity(tap->disk));
	if (tap_layout_is_held(&tap->direct->layout, held) && held > sector)
		end = min(end, held);
	/* A disk that has shrunk meanwhile: the tapdisk will refuse it. */
	return end > sector ? end - sector : 1;
}

/* The ring request of a slot of layout mode's own operations, which is SLOT_FILLING. */
void tap_upcall_fill(struct blktap *tap, struct tap_slot *slot,
		     struct blktap_ring_request *req)
{
	struct tap_commit *commit = &tap->direct->commit;

	if (slot->op == BLKTAP_OP_RECALLED) {
		tap_recall_fill(slot->recall, req);
		return;
	}
	if (slot->op == BLKTAP_OP_LAYOUTGET) {
		req->lg.sector_number = slot->sector;
		req->lg.nr_sectors = wanted(tap, slot->sector);
		req->lg.iomode = slot->iomode;
		return;
	}
	req->lc.nr_ranges = commit->nr;
	memcpy(slot_extents(tap, slot), commit->ranges,
	       commit->nr * sizeof(commit->ranges[0]));
}

static bool file_valid(struct tap_direct *direct, u32 file, u32 state)
{
	if (state == BLKTAP_EXT_NONE_DATA)
		return true;
	/* Pairs with file_add(). */
	if (file >= smp_load_acquire(&direct->nr_files))
		return false;
	return state == BLKTAP_EXT_READ_DATA || direct->files[file].write;
}

/* Bios go to a device as they are: it must be able to do them. */
static bool extent_aligned(struct blktap *tap, u32 index, u32 state, u64 bits)
{
	struct tap_file *file = &tap->direct->files[index];

	if (state == BLKTAP_EXT_NONE_DATA || !tap_bio_serves(tap, file))
		return true;
	return !(bits << SECTOR_SHIFT &
		 (bdev_logical_block_size(file->bdev) - 1));
}

/* Copies one extent out of shared memory, each field once, and checks it. */
static bool take_extent(struct blktap *tap, const struct blktap_extent *from,
			struct tap_extent *ext)
{
	u64 capacity = get_capacity(tap->disk);
	u64 sector = READ_ONCE(from->sector);
	u64 nr = READ_ONCE(from->nr_sectors);
	u64 offset = READ_ONCE(from->offset);
	u32 file = READ_ONCE(from->file);
	u32 state = READ_ONCE(from->state);

	if (!nr || sector >= capacity || nr > capacity - sector ||
	    state > BLKTAP_EXT_NONE_DATA)
		return false;
	if (!file_valid(tap->direct, file, state))
		return false;
	if (state == BLKTAP_EXT_NONE_DATA) {
		offset = sector << SECTOR_SHIFT;
		file = 0;
	}
	if (!extent_aligned(tap, file, state, sector | nr |
			    offset >> SECTOR_SHIFT))
		return false;
	if (offset & (SECTOR_SIZE - 1) || offset > MAX_LFS_FILESIZE ||
	    nr << SECTOR_SHIFT > MAX_LFS_FILESIZE - offset)
		return false;
	ext->first = sector;
	ext->last = sector + nr - 1;
	ext->delta = (s64)(offset >> SECTOR_SHIFT) - (s64)sector;
	if (ext->delta != sign_extend64(ext->delta, TAP_DELTA_BITS - 1))
		return false;
	ext->file = file;
	ext->state = state;
	return true;
}

static bool extent_serves(const struct tap_extent *ext, u64 sector, u32 iomode)
{
	if (sector < ext->first || sector > ext->last)
		return false;
	if (iomode == BLKTAP_IOMODE_READ)
		return ext->state != BLKTAP_EXT_INVALID_DATA;
	return ext->state == BLKTAP_EXT_READ_WRITE_DATA ||
	       ext->state == BLKTAP_EXT_INVALID_DATA;
}

/* Return: NULL, or what is wrong. */
static const char *take_extents(struct blktap *tap, struct tap_slot *slot,
				unsigned int nr)
{
	const struct blktap_extent *from = slot_extents(tap, slot);
	struct tap_extent *exts = tap->direct->scratch;
	bool serves = false, invalid = false, was;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (!take_extent(tap, &from[i], &exts[i]))
			return "granted an extent that is out of bounds";
		was = invalid;
		invalid = exts[i].state == BLKTAP_EXT_INVALID_DATA;
		if (was && !invalid)
			return "granted extents in a wrong order";
		if (i && was == invalid && exts[i].first <= exts[i - 1].last)
			return "granted extents that overlap";
		serves |= extent_serves(&exts[i], slot->sector, slot->iomode);
	}
	return serves ? NULL : "granted nothing for the sector that it was asked for";
}

/**
 * tap_upcall_granted - take the extents of an answer into the maps
 * @tap: the tap
 * @slot: the LAYOUTGET, SLOT_DRAINING
 * @nr_extents: as the tapdisk says
 *
 * A stale grant is dropped: who waits for it misses, and asks again. Context:
 * may sleep. Return: NULL, or what is wrong with the answer.
 */
const char *tap_upcall_granted(struct blktap *tap, struct tap_slot *slot,
			       u32 nr_extents)
{
	struct tap_direct *direct = tap->direct;
	const char *why;
	unsigned int i;
	int err;

	if (nr_extents > BLKTAP_EXTENTS_MAX)
		return "granted more extents than there is room for";
	if (tap_layout_shrink(&direct->layout))
		tap_direct_sync_soon(tap);
	mutex_lock(&direct->scratch_lock);
	why = take_extents(tap, slot, nr_extents);
	if (!why && !tap_fault(TAP_FAULT_GRANT)) {
		err = tap_layout_grant(&direct->layout, direct->scratch,
				       nr_extents, slot->seq);
		for (i = 0; trace_blktap_grant_enabled() && i < nr_extents; i++)
			trace_blktap_grant(tap, &direct->scratch[i], err);
	}
	mutex_unlock(&direct->scratch_lock);
	return why;
}

/**
 * tap_upcall_end - let those go on who have waited for a LAYOUTGET
 * @tap: the tap
 * @parked: their list, now the caller's own
 * @status: BLK_STS_OK: look up again; BLK_STS_NOTSUPP: go over the ring; else
 *	the error they end with, if it doesn't pass
 */
void tap_upcall_end(struct blktap *tap, struct list_head *parked,
		    blk_status_t status)
{
	struct tap_cmd *cmd, *next;

	list_for_each_entry_safe(cmd, next, parked, node) {
		struct request *rq = blk_mq_rq_from_pdu(cmd);

		list_del_init(&cmd->node);
		if (status == BLK_STS_OK)
			tap_hit_punt(tap, rq);
		else if (status == BLK_STS_NOTSUPP)
			tap_hit_by_ring(tap, rq);
		else if (!tap_recover_retry(tap, rq, status))
			blk_mq_end_request(rq, status);
	}
}
