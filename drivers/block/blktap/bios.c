// SPDX-License-Identifier: GPL-2.0-only
/*
 * A part of a request as bios on a block device: clones of the request's own,
 * with another device and sector, as dm-linear has it.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>

#include "blktap.h"
#include "compat.h"

/**
 * tap_bio_serves - can bios serve what lies in a file?
 * @tap: the tap
 * @file: the file
 *
 * Not where the device can't do the disk's blocks: that goes through its page
 * cache, and then all of it has to. So this never changes while a disk exists.
 */
bool tap_bio_serves(struct blktap *tap, struct tap_file *file)
{
	return file->bdev && bdev_logical_block_size(file->bdev) <=
			     queue_logical_block_size(tap->disk->queue);
}

/* Context: any, also interrupts. */
static void part_bio_end(struct bio *bio)
{
	struct tap_cmd *cmd = bio->bi_private;

	if (bio->bi_status)
		WRITE_ONCE(cmd->ret, blk_status_to_errno(bio->bi_status));
	bio_put(bio);
	tap_part_put(cmd);
}

static struct bio *bio_clone_part(struct tap_cmd *cmd, struct tap_file *file,
				  struct bio *from, unsigned int skip,
				  unsigned int len)
{
	struct tap_direct *direct = rq_tap(blk_mq_rq_from_pdu(cmd))->direct;
	gfp_t gfp = cmd->nowait ? GFP_NOWAIT | __GFP_NOWARN : GFP_NOIO;
	struct bio *bio = bio_alloc_clone(file->bdev, from, gfp, &direct->bios);

	if (!bio)
		return NULL;
	/* Flushes and FUA of the disk come as requests of their own. */
	bio->bi_opf &= ~(REQ_NOWAIT | REQ_PREFLUSH | REQ_FUA);
	if (cmd->nowait)
		bio->bi_opf |= REQ_NOWAIT;
	if (skip)
		bio_advance(bio, skip);
	bio->bi_iter.bi_size = len;
	bio->bi_private = cmd;
	bio->bi_end_io = part_bio_end;
	return bio;
}

/* Submits a part. Return: false: there was no memory for all of it. */
static bool part_submit_all(struct tap_cmd *cmd, struct tap_file *file)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	u64 sector = blk_rq_pos(rq) + (cmd->pos >> SECTOR_SHIFT) +
		     cmd->ext.delta;
	unsigned int skip = cmd->pos, left = cmd->part;
	struct bio *from, *bio;

	__rq_for_each_bio(from, rq) {
		unsigned int size = from->bi_iter.bi_size, len;

		if (skip >= size) {
			skip -= size;
			continue;
		}
		len = min(size - skip, left);
		if (!len)
			break;
		bio = bio_clone_part(cmd, file, from, skip, len);
		if (!bio)
			return false;
		bio->bi_iter.bi_sector = sector;
		sector += len >> SECTOR_SHIFT;
		left -= len;
		skip = 0;
		atomic_inc(&cmd->refs);
		submit_bio_noacct(bio);
	}
	return true;
}

/*
 * What the device's queue may let wait in spite of REQ_NOWAIT: writeback, for
 * the sake of its own throttling.
 */
static bool may_wait(struct request *rq)
{
	const blk_opf_t direct = REQ_SYNC | REQ_IDLE;

	return rq_writes(rq) && (rq->cmd_flags & direct) != direct;
}

/**
 * tap_bio_begin - begin a part's I/O on its block device
 * @cmd: the request; its part lies in @file
 * @file: the file, a block device
 *
 * A filesystem's locks, its transactions or memory reclaim are no hindrance: the
 * request is only handed on. But it must not wait for a tag of the device, which
 * the submitter's own plug may have.
 *
 * Return: false: nothing was begun; it has to be punted.
 */
bool tap_bio_begin(struct tap_cmd *cmd, struct tap_file *file)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);

	if (cmd->nowait && (!bdev_nowait(file->bdev) || may_wait(rq) ||
			    !tap_stack_left()))
		return false;
	cmd->ret = cmd->part;
	atomic_set(&cmd->refs, 1);
	if (!part_submit_all(cmd, file))
		WRITE_ONCE(cmd->ret, -EAGAIN);
	tap_part_put(cmd);
	return true;
}
