// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests that the kernel serves itself: a part of a request that lies in one
 * extent is one I/O on the extent's file, with the request's own pages.
 *
 * It is begun in the submitter's context where that can't hurt, else in a work
 * item. A request is at one place at a time: in this file's functions, in a
 * file's I/O, in its work, at the gate, or with the ring.
 */
#include <linux/blk-cgroup.h>
#include <linux/blkdev.h>
#include <linux/cgroup.h>
#include <linux/falloc.h>
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/uio.h>

#include "blktap.h"
#include "compat.h"

#define INLINE_STACK	8192	/* bytes that a filesystem's direct I/O may take */

static void hit_run(struct blktap *tap, struct request *rq, bool nowait);
static void hit_work(struct work_struct *work);

static struct blktap *rq_tap(struct request *rq)
{
	return rq->q->queuedata;
}

static bool rq_writes(struct request *rq)
{
	return req_op(rq) == REQ_OP_WRITE;
}

static void hit_end(struct blktap *tap, struct request *rq, blk_status_t status)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (cmd->pinned)
		tap_direct_unpin(tap, cmd);
	blk_mq_end_request(rq, status);
}

/* Go on in a context of our own: what was looked up is looked up again. */
void tap_hit_punt(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (cmd->pinned && !cmd->landed)
		tap_direct_unpin(tap, cmd);
	this_cpu_inc(tap->direct->count->punts);
	queue_work(tap->direct->wq, &cmd->work);
}

/* Zeroes the pages of a part. */
static void zero_part(struct request *rq, unsigned int pos, unsigned int len)
{
	struct req_iterator iter;
	struct bio_vec bv;

	rq_for_each_segment(bv, rq, iter) {
		unsigned int n;

		if (pos >= bv.bv_len) {
			pos -= bv.bv_len;
			continue;
		}
		n = min(bv.bv_len - pos, len);
		memzero_page(bv.bv_page, bv.bv_offset + pos, n);
		pos = 0;
		len -= n;
		if (!len)
			return;
	}
}

/* A part is done. Return: so is the request. */
static bool part_done(struct tap_cmd *cmd, unsigned int len)
{
	cmd->pos += len;
	return cmd->pos == blk_rq_bytes(blk_mq_rq_from_pdu(cmd));
}

static void part_written(struct tap_cmd *cmd)
{
	struct file *file = cmd->iocb.ki_filp;

	if (S_ISREG(file_inode(file)->i_mode))
		kiocb_end_write(&cmd->iocb);
}

/*
 * Is the part to be tried again in a context of our own? What direct I/O can't
 * do there either, for its alignment say, makes the file buffered for good.
 */
static bool part_again(struct tap_cmd *cmd, struct tap_file *file)
{
	switch (cmd->ret) {
	case -EAGAIN:
		return cmd->nowait;
	case -EOPNOTSUPP:
	case -ENOTBLK:
		if (cmd->nowait)
			return true;
		fallthrough;
	case -EINVAL:
		if (READ_ONCE(file->buffered))
			return false;
		WRITE_ONCE(file->buffered, true);
		return true;
	}
	return false;
}

/*
 * Parts are done in whole sectors. What a read would have got past the file's
 * end is zeroes; of a write that ended within a sector, that sector isn't done.
 */
static void part_round(struct tap_cmd *cmd)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	unsigned int whole = round_down(cmd->ret, SECTOR_SIZE);

	if (rq_writes(rq)) {
		cmd->ret = whole;
		return;
	}
	if (whole == cmd->ret && cmd->ret)
		return;
	whole = cmd->ret ? round_up(cmd->ret, SECTOR_SIZE) : cmd->part;
	zero_part(rq, cmd->pos + cmd->ret, whole - cmd->ret);
	cmd->ret = whole;
}

/* The I/O of a part has ended, and the call that began it has returned. */
static void part_end(struct tap_cmd *cmd)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	struct blktap *tap = rq_tap(rq);
	struct tap_file *file = &tap->direct->files[cmd->ext.file];

	if (cmd->bvec) {
		mempool_free(cmd->bvec, &tap->direct->bvecs);
		cmd->bvec = NULL;
	}
	if (rq_writes(rq))
		part_written(cmd);
	if (cmd->ret >= 0)
		part_round(cmd);

	if (part_again(cmd, file)) {
		tap_hit_punt(tap, rq);
	} else if (cmd->ret <= 0) {
		hit_end(tap, rq, cmd->ret ? errno_to_blk_status(cmd->ret) :
					    BLK_STS_IOERR);
	} else if (rq_writes(rq) &&
		   cmd->ext.state == BLKTAP_EXT_INVALID_DATA) {
		cmd->landed = true;
		queue_work(tap->direct->wq, &cmd->work);
	} else if (part_done(cmd, cmd->ret)) {
		hit_end(tap, rq, BLK_STS_OK);
	} else {
		tap_hit_punt(tap, rq);
	}
}

static void part_put(struct tap_cmd *cmd)
{
	if (atomic_dec_and_test(&cmd->refs))
		part_end(cmd);
}

/* Context: any, also interrupts. */
static void part_complete(struct kiocb *iocb, long ret)
{
	struct tap_cmd *cmd = container_of(iocb, struct tap_cmd, iocb);

	cmd->ret = ret;
	part_put(cmd);
}

static bool same_blkcg(struct request *rq)
{
#ifdef CONFIG_BLK_CGROUP
	struct cgroup_subsys_state *css;
	bool same;

	if (!rq->bio)
		return true;
	rcu_read_lock();
	css = bio_blkcg_css(rq->bio);
	same = !css || css == task_css(current, io_cgrp_id);
	rcu_read_unlock();
	return same;
#else
	return true;
#endif
}

static bool stack_left(void)
{
	unsigned long here = (unsigned long)__builtin_frame_address(0);

	return here - (unsigned long)end_of_stack(current) >= INLINE_STACK;
}

/*
 * The submitter's context is not ours: it may hold a filesystem's locks or be
 * in its transaction, be reclaiming memory, be near the end of its stack, or
 * be limited in the size of files. A holder, a mount say, is taken for one that
 * may hold locks.
 */
static bool may_inline(struct blktap *tap, struct request *rq,
		       struct tap_file *file)
{
	fmode_t need = FMODE_NOWAIT | FMODE_CAN_ODIRECT;

	return !READ_ONCE(file->buffered) &&
	       (file->file->f_mode & need) == need &&
	       !current->journal_info && !(current->flags & PF_MEMALLOC) &&
	       !READ_ONCE(tap->disk->part0->bd_holders) &&
	       (!rq_writes(rq) || rlimit(RLIMIT_FSIZE) == RLIM_INFINITY) &&
	       stack_left() && same_blkcg(rq);
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

static void part_iocb(struct tap_cmd *cmd, struct tap_file *file)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	u64 sector = blk_rq_pos(rq) + (cmd->pos >> SECTOR_SHIFT);
	struct kiocb *iocb = &cmd->iocb;

	memset(iocb, 0, sizeof(*iocb));
	iocb->ki_filp = file->file;
	iocb->ki_pos = (loff_t)(sector + cmd->ext.delta) << SECTOR_SHIFT;
	iocb->ki_ioprio = req_get_ioprio(rq);
	iocb->ki_complete = part_complete;
	if (!READ_ONCE(file->buffered))
		iocb->ki_flags = IOCB_DIRECT;
	if (cmd->nowait)
		iocb->ki_flags |= IOCB_NOWAIT;
}

static unsigned int bio_bvecs(struct bio *bio)
{
	struct bvec_iter it;
	unsigned int nr = 0;
	struct bio_vec bv;

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
		iov_iter_bvec(iter, dir,
			      __bvec_iter_bvec(bio->bi_io_vec, bio->bi_iter),
			      bio_bvecs(bio), bio->bi_iter.bi_size);
		iter->iov_offset = bio->bi_iter.bi_bvec_done;
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

/* Calls the file's iterator with nothing of the submitter's in its way. */
static ssize_t part_call(struct tap_cmd *cmd, struct iov_iter *iter, bool write)
{
	const struct file_operations *fops = cmd->iocb.ki_filp->f_op;
	struct bio_list *bios = current->bio_list;
	struct blk_plug *plug = current->plug;
	ssize_t ret;

	current->plug = NULL;
	current->bio_list = NULL;
	ret = write ? fops->write_iter(&cmd->iocb, iter) :
		      fops->read_iter(&cmd->iocb, iter);
	current->plug = plug;
	current->bio_list = bios;
	return ret;
}

/* Begins the I/O of a part. Return: false: it has to be punted. */
static bool part_begin(struct blktap *tap, struct request *rq, bool nowait)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct tap_file *file = &tap->direct->files[cmd->ext.file];
	struct iov_iter iter;
	ssize_t ret;

	if (nowait && !may_inline(tap, rq, file))
		return false;
	cmd->nowait = nowait;
	part_iocb(cmd, file);
	if (!part_iter(cmd, &iter))
		return false;
	if (rq_writes(rq) && !write_begin(cmd, file->file, nowait)) {
		if (cmd->bvec)
			mempool_free(cmd->bvec, &tap->direct->bvecs);
		cmd->bvec = NULL;
		return false;
	}
	this_cpu_inc(tap->direct->count->hits);
	this_cpu_add(tap->direct->count->zero_copied, cmd->part);
	atomic_set(&cmd->refs, 2);
	ret = part_call(cmd, &iter, rq_writes(rq));
	if (ret != -EIOCBQUEUED)
		part_complete(&cmd->iocb, ret);
	part_put(cmd);
	return true;
}

/* Looks up where the next part lies. Return: false: it misses. */
static bool part_find(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	u64 sector = blk_rq_pos(rq) + (cmd->pos >> SECTOR_SHIFT);
	unsigned int left = blk_rq_bytes(rq) - cmd->pos;

	if (!tap_layout_find(&tap->direct->layout, sector, rq_writes(rq),
			     &cmd->ext))
		return false;
	cmd->part = min_t(u64, left >> SECTOR_SHIFT,
			  cmd->ext.last - sector + 1) << SECTOR_SHIFT;
	return true;
}

/* Serves a request as far as it goes in this context. */
static void hit_run(struct blktap *tap, struct request *rq, bool nowait)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	for (;;) {
		if (!cmd->pinned && !tap_direct_pin(tap, cmd))
			return;
		if (blk_rq_pos(rq) + blk_rq_sectors(rq) >
		    get_capacity(tap->disk)) {
			hit_end(tap, rq, BLK_STS_IOERR);
			return;
		}
		if (!part_find(tap, rq)) {
			tap_direct_unpin(tap, cmd);
			tap_ring_requeue(tap, rq, BLKTAP_OP_LAYOUTGET);
			return;
		}
		if (cmd->ext.state != BLKTAP_EXT_NONE_DATA) {
			if (!part_begin(tap, rq, nowait))
				tap_hit_punt(tap, rq);
			return;
		}
		zero_part(rq, cmd->pos, cmd->part);
		if (part_done(cmd, cmd->part)) {
			hit_end(tap, rq, BLK_STS_OK);
			return;
		}
	}
}

/* A part has landed in INVALID_DATA. Return: the request is done. */
static bool hit_landed(struct blktap *tap, struct tap_cmd *cmd)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	u64 first = blk_rq_pos(rq) + (cmd->pos >> SECTOR_SHIFT);

	tap_layout_dirty(&tap->direct->layout, &cmd->ext, first,
			 first + (cmd->ret >> SECTOR_SHIFT) - 1);
	cmd->landed = false;
	return part_done(cmd, cmd->ret);
}

/* FLUSH: the files, and where data went over the ring the tapdisk too. */
static void hit_flush(struct blktap *tap, struct request *rq)
{
	int err = tap_direct_sync(tap);

	if (!err && READ_ONCE(tap->direct->ring_used))
		tap_ring_requeue(tap, rq, BLKTAP_OP_FLUSH);
	else
		hit_end(tap, rq, errno_to_blk_status(err));
}

/* DISCARD: a hole where the kernel may write; elsewhere it has no effect. */
static void hit_discard(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	u64 sector = blk_rq_pos(rq), end = sector + blk_rq_sectors(rq);
	struct tap_extent ext;

	if (!tap_direct_pin(tap, cmd))
		return;
	while (sector < end && tap_layout_find(&tap->direct->layout, sector,
					       true, &ext)) {
		struct tap_file *file = &tap->direct->files[ext.file];
		u64 last = min(ext.last, end - 1);

		if (ext.state == BLKTAP_EXT_READ_WRITE_DATA)
			vfs_fallocate(file->file,
				      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				      (sector + ext.delta) << SECTOR_SHIFT,
				      (last - sector + 1) << SECTOR_SHIFT);
		sector = last + 1;
	}
	hit_end(tap, rq, BLK_STS_OK);
}

static void hit_do(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	switch (req_op(rq)) {
	case REQ_OP_FLUSH:
		hit_flush(tap, rq);
		break;
	case REQ_OP_DISCARD:
		hit_discard(tap, rq);
		break;
	default:
		if (cmd->landed && hit_landed(tap, cmd))
			hit_end(tap, rq, BLK_STS_OK);
		else
			hit_run(tap, rq, false);
	}
}

/*
 * As loop's worker: the filesystem beneath must neither wait for our own I/O to
 * get memory nor throttle us as if we dirtied the pages.
 */
static void hit_work(struct work_struct *work)
{
	struct tap_cmd *cmd = container_of(work, struct tap_cmd, work);
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	unsigned int noio = memalloc_noio_save();
	unsigned int flags = current->flags & PF_LOCAL_THROTTLE;

	current->flags |= PF_LOCAL_THROTTLE;
#ifdef CONFIG_BLK_CGROUP
	if (rq->bio)
		kthread_associate_blkcg(bio_blkcg_css(rq->bio));
#endif
	hit_do(rq_tap(rq), rq);
#ifdef CONFIG_BLK_CGROUP
	kthread_associate_blkcg(NULL);
#endif
	if (!flags)
		current->flags &= ~PF_LOCAL_THROTTLE;
	memalloc_noio_restore(noio);
}

/**
 * tap_hit_queue - take a block request of a tap in layout mode
 * @tap: the tap
 * @rq: the request, started
 *
 * Return: BLK_STS_OK; BLK_STS_IOERR: the tap is dead.
 */
blk_status_t tap_hit_queue(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (!tap_ring_live(&tap->ring))
		return BLK_STS_IOERR;
	INIT_LIST_HEAD(&cmd->node);
	INIT_WORK(&cmd->work, hit_work);
	cmd->pinned = false;
	cmd->landed = false;
	cmd->pos = 0;
	cmd->bvec = NULL;
	if (req_op(rq) == REQ_OP_READ || req_op(rq) == REQ_OP_WRITE)
		hit_run(tap, rq, true);
	else
		queue_work(tap->direct->wq, &cmd->work);
	return BLK_STS_OK;
}
