// SPDX-License-Identifier: GPL-2.0-only
/*
 * A part of a request as I/O on a file: an iterator over the request's own
 * pages, and a kiocb.
 */
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>

#include "blktap.h"
#include "compat.h"

/*
 * The submitter's context is not ours: it may hold a filesystem's locks or be
 * in its transaction, be reclaiming memory, be near the end of its stack, or
 * be limited in the size of files. A holder, a mount say, is taken for one that
 * may hold locks.
 */
static bool may_inline(struct blktap *tap, struct tap_cmd *cmd,
		       struct tap_file *file)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	fmode_t need = FMODE_NOWAIT | FMODE_CAN_ODIRECT;

	return !READ_ONCE(file->buffered) &&
	       (file->file->f_mode & need) == need &&
	       !current->journal_info && !(current->flags & PF_MEMALLOC) &&
	       !READ_ONCE(tap->disk->part0->bd_holders) &&
	       (!rq_writes(rq) || rlimit(RLIMIT_FSIZE) == RLIM_INFINITY) &&
	       tap_stack_left() && cmd->same_blkcg;
}

/* Return: false: the filesystem is frozen, and this must not wait. */
static bool write_begin(struct tap_cmd *cmd, struct file *file, bool nowait)
{
	struct inode *inode = file_inode(file);

	if (!S_ISREG(inode->i_mode))
		return true;
	if (nowait) {
		if (!sb_start_write_trylock(inode->i_sb))
			return false;
	} else {
		sb_start_write(inode->i_sb);
	}
	__sb_writers_release(inode->i_sb, SB_FREEZE_WRITE);
	return true;
}

static void bvec_free(struct tap_cmd *cmd)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);

	if (!cmd->bvec)
		return;
	mempool_free(cmd->bvec, &rq_tap(rq)->direct->bvecs);
	cmd->bvec = NULL;
}

/* The I/O that tap_file_begin() began has ended. Context: any. */
void tap_file_ended(struct tap_cmd *cmd)
{
	struct file *file = cmd->iocb.ki_filp;

	bvec_free(cmd);
	if (rq_writes(blk_mq_rq_from_pdu(cmd)) &&
	    S_ISREG(file_inode(file)->i_mode))
		kiocb_end_write(&cmd->iocb);
}

/* Context: any, also interrupts. */
static void part_complete(struct kiocb *iocb, long ret)
{
	struct tap_cmd *cmd = container_of(iocb, struct tap_cmd, iocb);

	cmd->ret = ret;
	tap_part_put(cmd);
}

static void part_iocb(struct tap_cmd *cmd, struct tap_file *file)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	u64 sector = blk_rq_pos(rq) + (cmd->pos >> SECTOR_SHIFT);
	unsigned int flags = READ_ONCE(file->buffered) ? 0 : IOCB_DIRECT;

	cmd->iocb = (struct kiocb) {
		.ki_filp = file->file,
		.ki_pos = (loff_t)(sector + cmd->ext.delta) << SECTOR_SHIFT,
		.ki_complete = part_complete,
		.ki_flags = cmd->nowait ? flags | IOCB_NOWAIT : flags,
		.ki_ioprio = req_get_ioprio(rq),
	};
}

static unsigned int bio_bvecs(struct bio *bio)
{
	struct bvec_iter it = bio->bi_iter;
	struct bio_vec bv = mp_bvec_iter_bvec(bio->bi_io_vec, it);
	unsigned int nr = 0;

	if (bv.bv_len == it.bi_size)
		return 1;
	bio_for_each_bvec(bv, bio, it)
		nr++;
	return nr;
}

/*
 * The bio that alone serves a part: the only one, or one that is too large to
 * be collected with others. @skip becomes where in it the part begins.
 */
static struct bio *part_bio(struct request *rq, unsigned int *skip)
{
	unsigned int at = *skip;
	struct bio *bio;

	if (rq->bio == rq->biotail)
		return rq->bio;
	__rq_for_each_bio(bio, rq) {
		if (at < bio->bi_iter.bi_size)
			break;
		at -= bio->bi_iter.bi_size;
	}
	if (bio_bvecs(bio) <= TAP_BVECS)
		return NULL;
	*skip = at;
	return bio;
}

/*
 * Collects the pages of whole bios from the part's on, as many as there is room
 * for. Return: where in the first of them the part begins, in bytes.
 */
static unsigned int part_collect(struct tap_cmd *cmd, struct iov_iter *iter,
				 unsigned int dir)
{
	unsigned int nr = 0, len = 0, at = 0, skip = 0;
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	struct bvec_iter it;
	struct bio_vec bv;
	struct bio *bio;

	__rq_for_each_bio(bio, rq) {
		unsigned int size = bio->bi_iter.bi_size;

		if (at + size > cmd->pos) {
			if (nr + bio_bvecs(bio) > TAP_BVECS)
				break;
			if (!len)
				skip = cmd->pos - at;
			bio_for_each_bvec(bv, bio, it)
				cmd->bvec[nr++] = bv;
			len += size;
		}
		at += size;
	}
	iov_iter_bvec(iter, dir, cmd->bvec, nr, len);
	cmd->part = min(cmd->part, len - skip);
	return skip;
}

/*
 * An iterator over the request's own pages, from its bio where there is but
 * one. Return: false where the array that several need can't be had at once.
 */
static bool part_iter(struct tap_cmd *cmd, struct iov_iter *iter)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	unsigned int dir = rq_writes(rq) ? ITER_SOURCE : ITER_DEST;
	unsigned int skip = cmd->pos;
	struct bio *bio = part_bio(rq, &skip);

	if (bio) {
		const struct bio_vec *first = __bvec_iter_bvec(bio->bi_io_vec,
							       bio->bi_iter);

		iov_iter_bvec(iter, dir, first, bio_bvecs(bio),
			      bio->bi_iter.bi_size);
		/* What of the first one is done: its name is not the same everywhere. */
		iter->iov_offset = mp_bvec_iter_offset(bio->bi_io_vec,
						       bio->bi_iter) -
				   first->bv_offset;
		cmd->part = min(cmd->part, bio->bi_iter.bi_size - skip);
	} else {
		cmd->bvec = mempool_alloc(&rq_tap(rq)->direct->bvecs,
					  cmd->nowait ?
					  GFP_NOWAIT | __GFP_NOWARN : GFP_NOIO);
		if (!cmd->bvec)
			return false;
		skip = part_collect(cmd, iter, dir);
	}
	if (skip)
		iov_iter_advance(iter, skip);
	iov_iter_truncate(iter, cmd->part);
	return true;
}

/**
 * tap_file_begin - begin a part's I/O on its file
 * @cmd: the request; its part lies in @file
 * @file: the file
 * @batch: where what is done at once may be collected, or NULL
 *
 * Return: false: nothing was begun; it has to be punted.
 */
bool tap_file_begin(struct tap_cmd *cmd, struct tap_file *file,
		    struct io_comp_batch *batch)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	struct blktap *tap = rq_tap(rq);
	bool write = rq_writes(rq);
	struct iov_iter iter;
	ssize_t ret;

	if (cmd->nowait && !may_inline(tap, cmd, file))
		return false;
	part_iocb(cmd, file);
	if (!part_iter(cmd, &iter))
		return false;
	if (write && !write_begin(cmd, file->file, cmd->nowait)) {
		bvec_free(cmd);
		return false;
	}
	atomic_set(&cmd->refs, 2);
	ret = write ? file->file->f_op->write_iter(&cmd->iocb, &iter) :
		      file->file->f_op->read_iter(&cmd->iocb, &iter);
	if (ret == -EIOCBQUEUED) {
		tap_part_put(cmd);
		return true;
	}
	cmd->ret = ret;
	tap_part_end(cmd, batch);
	return true;
}
