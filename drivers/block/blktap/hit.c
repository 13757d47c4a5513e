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
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/task_stack.h>

#include "blktap.h"
#include "compat.h"
#include "trace.h"

#define INLINE_STACK	8192	/* bytes that a filesystem's direct I/O may take */

static void hit_work(struct work_struct *work);

static void hit_end(struct blktap *tap, struct request *rq, blk_status_t status,
		    struct io_comp_batch *batch)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (cmd->pinned)
		tap_direct_unpin(tap, cmd);
	trace_blktap_end(tap, rq, status);
	if (status || !blk_mq_add_to_batch(rq, batch, 0, blk_mq_end_request_batch))
		blk_mq_end_request(rq, status);
}

/**
 * tap_hit_end - a request is done
 * @tap: the tap
 * @rq: the request; perhaps pinned, on no list
 * @status: its end
 *
 * Context: any.
 */
void tap_hit_end(struct blktap *tap, struct request *rq, blk_status_t status)
{
	hit_end(tap, rq, status, NULL);
}

/**
 * tap_hit_fail - a request has failed: it ends, or is tried again later
 * @tap: the tap
 * @rq: the request; perhaps pinned, on no list
 * @status: its end
 *
 * Context: process.
 */
void tap_hit_fail(struct blktap *tap, struct request *rq, blk_status_t status)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (cmd->pinned)
		tap_direct_unpin(tap, cmd);
	cmd->failed = false;
	if (!tap_recover_retry(tap, rq, status))
		tap_hit_end(tap, rq, status);
}

/* Go on in a context of our own: what was looked up is looked up again. */
void tap_hit_punt(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	trace_blktap_punt(tap, rq);
	if (cmd->pinned && !cmd->landed)
		tap_direct_unpin(tap, cmd);
	this_cpu_inc(tap->direct->count->punts);
	queue_work(rq_wq(tap, rq), &cmd->work);
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
	/* The next part has the whole time to wait for the tapdisk. */
	cmd->clock.since = 0;
	return cmd->pos == blk_rq_bytes(blk_mq_rq_from_pdu(cmd));
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
		/* Another part may have made it so since this one began. */
		if (cmd->bios || !(cmd->iocb.ki_flags & IOCB_DIRECT))
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

/**
 * tap_part_end - the I/O of a part has ended, and what began it has returned
 * @cmd: the request
 * @batch: where what is done may be collected, or NULL
 *
 * Context: any, also interrupts.
 */
void tap_part_end(struct tap_cmd *cmd, struct io_comp_batch *batch)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	struct blktap *tap = rq_tap(rq);
	struct tap_file *file = &tap->direct->files[cmd->ext.file];

	if (!cmd->bios)
		tap_file_ended(cmd);
	if (cmd->ret > 0)
		cmd->ret = tap_fault_backend() ?: cmd->ret;
	if (cmd->ret >= 0)
		part_round(cmd);
	if (cmd->ret > 0)
		tap_count_part(tap, rq, cmd->ret);

	if (part_again(cmd, file)) {
		tap_hit_punt(tap, rq);
	} else if (cmd->ret <= 0) {
		cmd->failed = true;
		cmd->status = cmd->ret ? errno_to_blk_status(cmd->ret) :
					 BLK_STS_IOERR;
		queue_work(rq_wq(tap, rq), &cmd->work);
	} else if (rq_writes(rq) &&
		   cmd->ext.state == BLKTAP_EXT_INVALID_DATA) {
		cmd->landed = true;
		queue_work(tap->direct->wq, &cmd->work);
	} else if (part_done(cmd, cmd->ret)) {
		hit_end(tap, rq, BLK_STS_OK, batch);
	} else {
		tap_hit_punt(tap, rq);
	}
}

/**
 * tap_part_put - drop one of the references that keep a part's I/O from ending
 * @cmd: the request
 *
 * Context: any, also interrupts.
 */
void tap_part_put(struct tap_cmd *cmd)
{
	if (atomic_dec_and_test(&cmd->refs))
		tap_part_end(cmd, NULL);
}

/* There is stack enough to begin I/O on a filesystem or a device. */
bool tap_stack_left(void)
{
	unsigned long here = (unsigned long)__builtin_frame_address(0);

	return here - (unsigned long)end_of_stack(current) >= INLINE_STACK;
}

/* Begins the I/O of a part. Return: false: it has to be punted. */
static bool part_begin(struct blktap *tap, struct request *rq, bool nowait,
		       struct io_comp_batch *batch)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct tap_file *file = &tap->direct->files[cmd->ext.file];

	cmd->nowait = nowait;
	cmd->bios = tap_bio_serves(tap, file);
	trace_blktap_hit(tap, rq, cmd);
	if (cmd->bios)
		return tap_bio_begin(cmd, file);
	return tap_file_begin(cmd, file, batch);
}

/* Context: in an RCU read section. */
static bool same_blkcg(struct request *rq)
{
#ifdef CONFIG_BLK_CGROUP
	struct cgroup_subsys_state *css = rq->bio ? bio_blkcg_css(rq->bio) : NULL;

	return !css || css == task_css(current, io_cgrp_id);
#else
	return true;
#endif
}

/*
 * Looks up where the next part lies, and pins the layout for it. Return: the
 * layout is open; @found: what is needed is in the maps.
 */
static bool part_find(struct blktap *tap, struct request *rq, bool *found)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct tap_direct *direct = tap->direct;
	u64 sector = blk_rq_pos(rq) + (cmd->pos >> SECTOR_SHIFT);
	unsigned int left = blk_rq_bytes(rq) - cmd->pos;

	rcu_read_lock();
	if (!cmd->pinned)
		cmd->pinned = percpu_ref_tryget_live_rcu(&direct->users);
	*found = cmd->pinned && tap_layout_find_rcu(&direct->layout, sector,
						    rq_writes(rq), &cmd->ext);
	cmd->same_blkcg = same_blkcg(rq);
	rcu_read_unlock();
	if (*found)
		cmd->part = min_t(u64, left >> SECTOR_SHIFT,
				  cmd->ext.last - sector + 1) << SECTOR_SHIFT;
	return cmd->pinned;
}

/* Too much is dirty for more: it waits for a commit of what there is. */
static void hit_commit_first(struct blktap *tap, struct tap_cmd *cmd)
{
	tap_direct_unpin(tap, cmd);
	cmd->crowded = true;
	/* It does not wait for the tapdisk, but for a sync, and that has its own. */
	cmd->clock.since = 0;
	queue_work(tap->direct->wait_wq, &cmd->work);
}

static void hit_miss(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	cmd->iomode = rq_writes(rq) ? BLKTAP_IOMODE_WRITE : BLKTAP_IOMODE_READ;
	tap_direct_unpin(tap, cmd);
	tap_ring_requeue(tap, rq, BLKTAP_OP_LAYOUTGET);
}

/* Serves a request as far as it goes in this context. */
static void hit_run(struct blktap *tap, struct request *rq, bool nowait,
		    struct io_comp_batch *batch)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	bool found;

	for (;;) {
		if (!part_find(tap, rq, &found)) {
			if (!tap_direct_pin(tap, cmd))
				return;
			continue;
		}
		if (blk_rq_pos(rq) + blk_rq_sectors(rq) >
		    get_capacity(tap->disk)) {
			tap_hit_end(tap, rq, BLK_STS_IOERR);
			return;
		}
		if (!found) {
			hit_miss(tap, rq);
			return;
		}
		if (cmd->ext.state == BLKTAP_EXT_INVALID_DATA &&
		    tap_layout_crowded(&tap->direct->layout)) {
			hit_commit_first(tap, cmd);
			return;
		}
		if (cmd->ext.state != BLKTAP_EXT_NONE_DATA) {
			if (!part_begin(tap, rq, nowait, batch))
				tap_hit_punt(tap, rq);
			return;
		}
		zero_part(rq, cmd->pos, cmd->part);
		tap_count_part(tap, rq, cmd->part);
		if (part_done(cmd, cmd->part)) {
			hit_end(tap, rq, BLK_STS_OK, batch);
			return;
		}
	}
}

/* The tapdisk wants the data of a request. What has none is not supported. */
void tap_hit_by_ring(struct blktap *tap, struct request *rq)
{
	switch (req_op(rq)) {
	case REQ_OP_READ:
		tap_ring_requeue(tap, rq, BLKTAP_OP_READ);
		break;
	case REQ_OP_WRITE:
		tap_ring_requeue(tap, rq, BLKTAP_OP_WRITE);
		break;
	default:
		tap_hit_end(tap, rq, BLK_STS_NOTSUPP);
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

/* Commits, to make room in the maps. Return: the request goes on. */
static bool hit_relieve(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	int err = tap_direct_sync(tap);

	cmd->crowded = false;
	tap_layout_count(&tap->direct->layout);
	if (err)
		tap_hit_fail(tap, rq, errno_to_blk_status(err));
	return !err;
}

/*
 * What a pause has given up is not durable: for the flushes that saw it come, which may
 * have been meant for other writes, and for the first one after it.
 */
static int flush_files(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;
	unsigned int before = READ_ONCE(direct->lost), lost;
	bool paused = READ_ONCE(direct->closed_op);
	int err = tap_direct_sync(tap);

	lost = READ_ONCE(direct->lost);
	if (err || READ_ONCE(direct->told) == lost)
		return err;
	if (before == lost && !paused)
		WRITE_ONCE(direct->told, lost);
	return -EIO;
}

/* FLUSH: the files, and where data went over the ring the tapdisk too. */
static void hit_flush(struct blktap *tap, struct request *rq)
{
	struct tap_direct *direct = tap->direct;
	int err = flush_files(tap);

	if (!err && direct->flush && READ_ONCE(direct->ring_used))
		tap_ring_requeue(tap, rq, BLKTAP_OP_FLUSH);
	else if (err)
		tap_hit_fail(tap, rq, errno_to_blk_status(err));
	else
		tap_hit_end(tap, rq, BLK_STS_OK);
}

static void hit_do(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (cmd->failed) {
		tap_hit_fail(tap, rq, cmd->status);
		return;
	}
	switch (req_op(rq)) {
	case REQ_OP_FLUSH:
		hit_flush(tap, rq);
		break;
	case REQ_OP_DISCARD:
		tap_discard(tap, rq);
		break;
	case REQ_OP_WRITE_ZEROES:
		tap_zeroes(tap, rq);
		break;
	default:
		if (cmd->landed && hit_landed(tap, cmd))
			tap_hit_end(tap, rq, BLK_STS_OK);
		else if (!cmd->crowded || hit_relieve(tap, rq))
			hit_run(tap, rq, false, NULL);
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

/* What a request's pdu has for all of its uses. */
void tap_hit_init(struct tap_cmd *cmd)
{
	INIT_LIST_HEAD(&cmd->node);
	INIT_WORK(&cmd->work, hit_work);
}

/* Return: BLK_STS_OK; BLK_STS_IOERR: the tap is dead. */
static blk_status_t hit_queue(struct blktap *tap, struct request *rq,
			      struct io_comp_batch *batch)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	cmd->pinned = false;
	cmd->landed = false;
	cmd->crowded = false;
	cmd->failed = false;
	cmd->pos = 0;
	cmd->bvec = NULL;
	cmd->trim = TRIM_NONE;
	cmd->status = BLK_STS_OK;
	if (tap_ring_failed(&tap->ring))
		return BLK_STS_IOERR;
	if (req_op(rq) == REQ_OP_READ || req_op(rq) == REQ_OP_WRITE)
		hit_run(tap, rq, true, batch);
	else
		queue_work(rq_wq(tap, rq), &cmd->work);
	return BLK_STS_OK;
}

/*
 * What the submitter's task had under way in the block layer: inner requests in
 * the plug that is being flushed would corrupt its count, and an inner bio on its
 * list would wait till the outer one is done.
 */
struct submitter {
	struct blk_plug *plug;
	struct bio_list *bios;
};

static struct submitter submitter_put_aside(void)
{
	struct submitter s = { current->plug, current->bio_list };

	compat_plug_forget_time();
	current->plug = NULL;
	current->bio_list = NULL;
	return s;
}

static void submitter_take_back(struct submitter s)
{
	current->plug = s.plug;
	current->bio_list = s.bios;
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
	struct submitter submitter = submitter_put_aside();
	blk_status_t status = hit_queue(tap, rq, NULL);

	submitter_take_back(submitter);
	return status;
}

/**
 * tap_hit_queue_list - take a batch of block requests
 * @tap: the tap
 * @list: the requests, not started; empty afterwards
 *
 * What is done when all have begun ends as a batch. The image's own device does
 * not get them as one: in a plug a write could not be done when its call
 * returns, and the filesystem would end it in a work item.
 */
void tap_hit_queue_list(struct blktap *tap, COMPAT_RQ_LIST *list)
{
	struct submitter submitter = submitter_put_aside();
	DEFINE_IO_COMP_BATCH(batch);
	struct request *rq;

	while ((rq = rq_list_pop(list))) {
		blk_status_t status;

		tap_start_request(tap, rq);
		status = hit_queue(tap, rq, &batch);
		if (status)
			tap_hit_end(tap, rq, status);
	}
	if (batch.complete)
		batch.complete(&batch);
	submitter_take_back(submitter);
}
