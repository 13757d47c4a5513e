// SPDX-License-Identifier: GPL-2.0-only
/*
 * DISCARD and WRITE_ZEROES in layout mode, from a work item.
 *
 * What lies in an extent that may be written is punched or zeroed in its file.
 * Only the tapdisk can give back what the format has allocated: where it has
 * said that it can, the whole blocks of a discard go to it as a TRIM, after
 * their extents have been withdrawn.
 */
#include <linux/blkdev.h>
#include <linux/falloc.h>

#include "blktap.h"
#include "compat.h"

/* Sectors of a file's own, from those of the disk. */
struct file_range {
	struct tap_file *file;
	u64 sector;
	u64 nr;
};

static struct file_range range_of(struct blktap *tap,
				  const struct tap_extent *ext, u64 sector,
				  u64 nr)
{
	return (struct file_range) {
		.file = &tap->direct->files[ext->file],
		.sector = sector + ext->delta,
		.nr = nr,
	};
}

static int range_fallocate(const struct file_range *r, int mode)
{
	return vfs_fallocate(r->file->file, mode | FALLOC_FL_KEEP_SIZE,
			     r->sector << SECTOR_SHIFT, r->nr << SECTOR_SHIFT);
}

/* A device's own cache, which what is done to the device would pass by. */
static bool in_page_cache(struct blktap *tap, struct tap_file *file)
{
	return file->bdev && !tap_bio_serves(tap, file);
}

static void range_discard(struct blktap *tap, const struct file_range *r)
{
	if (in_page_cache(tap, r->file) || tap_fault_backend())
		return;
	if (!r->file->bdev)
		range_fallocate(r, FALLOC_FL_PUNCH_HOLE);
	else if (bdev_max_discard_sectors(r->file->bdev))
		blkdev_issue_discard(r->file->bdev, r->sector, r->nr, GFP_NOIO);
}

/* What neither way can do the submitter does by writing zeroes. */
static int range_zero(struct blktap *tap, const struct file_range *r,
		      bool unmap)
{
	int err = -EOPNOTSUPP;

	if (in_page_cache(tap, r->file))
		return err;
	if (r->file->bdev)
		return blkdev_issue_zeroout(r->file->bdev, r->sector, r->nr,
					    GFP_NOIO, unmap ? 0 :
					    BLKDEV_ZERO_NOUNMAP);
	if (unmap)
		err = range_fallocate(r, FALLOC_FL_PUNCH_HOLE);
	if (err)
		err = range_fallocate(r, FALLOC_FL_ZERO_RANGE);
	return err;
}

/* Punches what may be written of a range; for the rest a discard is nothing. */
static void discard_range(struct blktap *tap, u64 sector, u64 end)
{
	struct tap_extent ext;

	while (sector < end && tap_layout_next(&tap->direct->layout, sector,
					       end - 1, &ext)) {
		struct file_range r = range_of(tap, &ext, ext.first,
					       ext.last - ext.first + 1);

		if (ext.state == BLKTAP_EXT_READ_WRITE_DATA)
			range_discard(tap, &r);
		sector = ext.last + 1;
	}
}

/* The blocks that lie wholly in a request. Return: false: none, or no use. */
static bool whole_blocks(struct blktap *tap, struct request *rq, u64 *first,
			 u64 *end)
{
	u32 block = READ_ONCE(tap->direct->block);

	if (!block || !READ_ONCE(tap->direct->release))
		return false;
	*first = DIV_ROUND_UP_ULL(blk_rq_pos(rq), block) * block;
	*end = blk_rq_pos(rq) + blk_rq_sectors(rq);
	/* The disk's last block may be a part of one. */
	if (*end != get_capacity(tap->disk))
		*end = div_u64(*end, block) * block;
	return *first < *end;
}

/* What is left of a discard, when what the tapdisk can do is done. */
static void discard_rest(struct blktap *tap, struct request *rq)
{
	u64 first, end, to = blk_rq_pos(rq) + blk_rq_sectors(rq);
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (!tap_direct_pin(tap, cmd))
		return;
	if (whole_blocks(tap, rq, &first, &end)) {
		discard_range(tap, blk_rq_pos(rq), first);
		discard_range(tap, end, to);
	} else {
		discard_range(tap, blk_rq_pos(rq), to);
	}
	tap_hit_end(tap, rq, cmd->status);
}

/**
 * tap_discard - do a DISCARD, as far as it goes
 * @tap: the tap
 * @rq: the request
 *
 * Its effect is not promised: what is not known to the maps is left alone.
 * Context: a work item of the request's.
 */
void tap_discard(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	u64 first, end;

	if (cmd->trim == TRIM_ANSWERED)
		tap_trim_end(tap, cmd);
	else if (cmd->trim == TRIM_NONE &&
		 whole_blocks(tap, rq, &first, &end) &&
		 !tap_trim_begin(tap, cmd, first, end - 1))
		return;
	discard_rest(tap, rq);
}

/* The next part of a WRITE_ZEROES. Return: false: it misses. */
static bool zeroes_find(struct blktap *tap, struct tap_cmd *cmd, u64 sector)
{
	struct tap_layout *layout = &tap->direct->layout;

	if (tap_layout_find(layout, sector, true, &cmd->ext))
		return true;
	cmd->iomode = BLKTAP_IOMODE_READ;
	if (!tap_layout_find(layout, sector, false, &cmd->ext))
		return false;
	cmd->iomode = BLKTAP_IOMODE_WRITE;
	return cmd->ext.state == BLKTAP_EXT_NONE_DATA;
}

static int zeroes_part(struct blktap *tap, struct request *rq, u64 sector,
		       u64 nr)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct file_range r = range_of(tap, &cmd->ext, sector, nr);
	int err;

	if (cmd->ext.state == BLKTAP_EXT_NONE_DATA)
		return 0;
	err = tap_fault_backend() ?:
	      range_zero(tap, &r, !(rq->cmd_flags & REQ_NOUNMAP));
	if (!err && cmd->ext.state == BLKTAP_EXT_INVALID_DATA)
		tap_layout_dirty(&tap->direct->layout, &cmd->ext, sector,
				 sector + nr - 1);
	return err;
}

/**
 * tap_zeroes - do a WRITE_ZEROES, as far as it goes
 * @tap: the tap
 * @rq: the request
 *
 * Context: a work item of the request's.
 */
void tap_zeroes(struct blktap *tap, struct request *rq)
{
	u64 end = blk_rq_pos(rq) + blk_rq_sectors(rq);
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	int err = 0;

	if (!tap_direct_pin(tap, cmd))
		return;
	if (end > get_capacity(tap->disk))
		err = -EIO;
	while (!err) {
		u64 sector = blk_rq_pos(rq) + (cmd->pos >> SECTOR_SHIFT);
		u64 nr;

		if (sector == end)
			break;
		if (!zeroes_find(tap, cmd, sector)) {
			tap_direct_unpin(tap, cmd);
			tap_ring_requeue(tap, rq, BLKTAP_OP_LAYOUTGET);
			return;
		}
		nr = min(cmd->ext.last, end - 1) - sector + 1;
		err = zeroes_part(tap, rq, sector, nr);
		if (!err)
			cmd->pos += nr << SECTOR_SHIFT;
	}
	if (err)
		tap_hit_fail(tap, rq, errno_to_blk_status(err));
	else
		tap_hit_end(tap, rq, BLK_STS_OK);
}
