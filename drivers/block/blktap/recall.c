// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taking extents back while the disk is in use: for a tapdisk that recalls a
 * range, and for a TRIM.
 *
 * A range is withdrawn when no I/O uses an extent of it, nothing in it is dirty
 * and the maps do not have it. New I/O there misses then. While a TRIM is under
 * way these misses are held: no grant is asked for, or taken, that says where
 * the blocks are that the tapdisk is giving back.
 */
#include <linux/slab.h>

#include "blktap.h"

/**
 * direct_withdraw - take a range's extents back
 * @tap: the tap
 * @first: first sector
 * @last: last sector
 *
 * What is dirty is committed. Context: a work item; waits for I/O in files, and
 * for the tapdisk to commit. Return: 0; -EAGAIN while somebody else has closed
 * the layout: wait at the gate; else the error of a sync: the range may be
 * dirty still.
 */
static int direct_withdraw(struct blktap *tap, u64 first, u64 last)
{
	struct tap_layout *layout = &tap->direct->layout;
	bool dirty;
	int err;

	do {
		tap_layout_drop(layout, first, last);
		err = tap_direct_sync(tap);
		if (err)
			return err;
		if (!tap_gate_close(tap))
			return -EAGAIN;
		wait_event_idle(tap->wait, tap_gate_drained(tap));
		/* What landed up to now has been noted. */
		dirty = tap_layout_dirty_in(layout, first, last);
		tap_layout_drop(layout, first, last);
		tap_gate_open(tap);
	} while (dirty);
	return 0;
}

/* Return: the TRIM has its turn, and misses in its range are held. */
static bool trim_claim(struct blktap *tap, struct tap_cmd *cmd, u64 first,
		       u64 last)
{
	struct tap_ring *ring = &tap->ring;
	bool mine;

	spin_lock(&ring->lock);
	mine = !ring->trimming;
	ring->trimming = true;
	if (mine) {
		/* Its range is withdrawn before the tapdisk gets it. */
		cmd->clock.since = 0;
	} else {
		/* For what the tapdisk does for another one. */
		if (!cmd->clock.since)
			tap_clock_start(&cmd->clock);
		list_add_tail(&cmd->node, &ring->trims);
		tap_recover_watch(tap);
	}
	spin_unlock(&ring->lock);
	if (mine)
		tap_layout_hold(&tap->direct->layout, first, last);
	return mine;
}

/* Ends the hold, and gives the next TRIM its turn. */
static void trim_release(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_cmd *cmd, *next;

	tap_layout_unhold(&tap->direct->layout);
	spin_lock(&ring->lock);
	ring->trimming = false;
	/* One has ended: what waits behind it is not at a halt. */
	list_for_each_entry(cmd, &ring->trims, node)
		tap_clock_start(&cmd->clock);
	next = list_first_entry_or_null(&ring->trims, struct tap_cmd, node);
	if (next)
		list_del_init(&next->node);
	spin_unlock(&ring->lock);
	if (next)
		queue_work(tap->direct->wait_wq, &next->work);
	/* Those that were held. */
	tap_ring_pump(tap);
	tap_ring_kick(ring);
}

/**
 * tap_trim_begin - have the tapdisk give back whole blocks
 * @tap: the tap
 * @cmd: the discard, not pinned
 * @first: first sector
 * @last: last sector
 *
 * Context: a work item. Return: false: the request's work is done again, when
 * the tapdisk has answered or when it is its turn; true: nothing came of it.
 */
bool tap_trim_begin(struct blktap *tap, struct tap_cmd *cmd, u64 first,
		    u64 last)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	int err;

	if (!trim_claim(tap, cmd, first, last))
		return false;
	err = direct_withdraw(tap, first, last);
	if (!err) {
		cmd->trim = TRIM_POSTED;
		if (!tap_ring_queue(tap, rq, BLKTAP_OP_TRIM, true))
			return false;
		cmd->trim = TRIM_NONE;
		err = -EIO;
	}
	trim_release(tap);
	if (err != -EAGAIN || READ_ONCE(tap->direct->dead)) {
		cmd->status = BLK_STS_IOERR;
		return true;
	}
	if (tap_direct_pin(tap, cmd)) {
		tap_direct_unpin(tap, cmd);
		queue_work(tap->direct->wait_wq, &cmd->work);
	}
	return false;
}

/**
 * tap_trim_answered - the ring is done with a TRIM
 * @cmd: the discard; its status is set
 *
 * Context: any that may take spinlocks.
 */
void tap_trim_answered(struct tap_cmd *cmd)
{
	struct blktap *tap = rq_tap(blk_mq_rq_from_pdu(cmd));

	cmd->trim = TRIM_ANSWERED;
	queue_work(tap->direct->wait_wq, &cmd->work);
}

/* The blocks have been given back: what lies where has to be asked again. */
void tap_trim_end(struct blktap *tap, struct tap_cmd *cmd)
{
	cmd->trim = TRIM_DONE;
	if (cmd->status == BLK_STS_NOTSUPP) {
		tap->direct->release = false;
		cmd->status = BLK_STS_OK;
	}
	trim_release(tap);
}

/**
 * tap_trim_late - the tapdisk has, or will never have, done a TRIM too late
 * @tap: the tap, in layout mode
 *
 * The discard has ended; what its range was held for is over now. Context:
 * tap_ring.lock, before the slot is given back: that keeps the disk.
 */
void tap_trim_late(struct blktap *tap)
{
	lockdep_assert_held(&tap->ring.lock);
	queue_work(tap->direct->wait_wq, &tap->direct->release_trim);
}

void tap_trim_release(struct work_struct *work)
{
	struct tap_direct *direct = container_of(work, struct tap_direct,
						 release_trim);

	trim_release(direct->tap);
}

/* The tapdisk knows of its end, or never will. Context: tap_ring.lock. */
void tap_recall_told(struct tap_recall *recall)
{
	struct blktap *tap = recall->tap;

	lockdep_assert_held(&tap->ring.lock);
	tap->ring.nr_recalls--;
	wake_up_all(&tap->wait);
	kfree(recall);
}

static void recall_work(struct work_struct *work)
{
	struct tap_recall *recall = container_of(work, struct tap_recall, work);
	struct blktap *tap = recall->tap;

	do {
		if (tap_gate_wait(tap, recall))
			return;
		recall->error = direct_withdraw(tap, recall->first,
						recall->last);
	} while (recall->error == -EAGAIN && tap_ring_joined(&tap->ring));

	spin_lock(&tap->ring.lock);
	list_add_tail(&recall->node, &tap->ring.recalled);
	spin_unlock(&tap->ring.lock);
	tap_ring_pump(tap);
	tap_ring_kick(&tap->ring);
	tap_direct_job_done(tap);
}

static bool recall_count(struct tap_ring *ring)
{
	bool room;

	spin_lock(&ring->lock);
	room = ring->nr_recalls < BLKTAP_RING_SIZE;
	ring->nr_recalls += room;
	spin_unlock(&ring->lock);
	return room;
}

/* A pause waits for the recalls that there are, and for no more. */
static bool recall_may_start(struct blktap *tap)
{
	return !tap->paused && !(tap->op && tap->op->cmd == BLKTAP_CMD_PAUSE) &&
	       tap_ring_joined(&tap->ring);
}

/**
 * tap_recall_start - the tapdisk takes a range's extents back (RECALL)
 * @tap: the tap, locked
 * @arg: the range; the end is told by a RECALLED request in the ring
 *
 * Return: 0; -EINVAL, -ENOTCONN without a disk in layout mode, -EBUSY with too
 * many under way or in a pause, -ENOMEM.
 */
int tap_recall_start(struct blktap *tap, const struct blktap_recall *arg)
{
	struct tap_direct *direct = tap->direct;
	struct tap_recall *recall;

	lockdep_assert_held(&tap->lock);
	if (!tap->disk || !direct)
		return -ENOTCONN;
	if (!arg->nr_sectors || arg->sector > U64_MAX - arg->nr_sectors)
		return -EINVAL;
	recall = kzalloc(sizeof(*recall), GFP_KERNEL);
	if (!recall)
		return -ENOMEM;
	if (!recall_may_start(tap) || !recall_count(&tap->ring)) {
		kfree(recall);
		return -EBUSY;
	}
	INIT_WORK(&recall->work, recall_work);
	recall->tap = tap;
	recall->generation = tap->ring.generation;
	recall->cookie = arg->cookie;
	recall->first = arg->sector;
	recall->last = arg->sector + arg->nr_sectors - 1;
	tap_layout_drop(&direct->layout, recall->first, recall->last);
	atomic_inc(&direct->jobs);
	queue_work(direct->wait_wq, &recall->work);
	return 0;
}

/**
 * tap_recall_take - the next recall whose end is to be told
 * @tap: the tap, its ring locked
 *
 * Those of a tapdisk that has gone are nobody's. Return: the recall, for a slot to
 * own till tap_recall_told(), or NULL.
 */
struct tap_recall *tap_recall_take(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_recall *recall, *next;

	lockdep_assert_held(&ring->lock);
	list_for_each_entry_safe(recall, next, &ring->recalled, node) {
		list_del_init(&recall->node);
		if (recall->generation == ring->generation)
			return recall;
		tap_recall_told(recall);
	}
	return NULL;
}

/* The ring request that tells the end of a recall. */
void tap_recall_fill(const struct tap_recall *recall,
		     struct blktap_ring_request *req)
{
	req->rc.cookie = recall->cookie;
	req->rc.sector_number = recall->first;
	req->rc.nr_sectors = recall->last - recall->first + 1;
	req->rc.error = -recall->error;
}

/* Forgets what nobody was told of: no work is under way. */
void tap_recall_forget(struct blktap *tap)
{
	struct tap_recall *recall;

	spin_lock(&tap->ring.lock);
	while ((recall = tap_recall_take(tap)))
		tap_recall_told(recall);
	spin_unlock(&tap->ring.lock);
}
