// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring: block requests become ring requests, responses end them.
 *
 * A block request is cut into parts of at most a slot's pages. It waits in
 * order while parts of it have no slot; tap_ring_pump() hands out slots, from
 * the submitter's context and, as they come back, from the tapdisk's. What the
 * tapdisk can write is read once, into locals, and believed only as far as it
 * fits what the kernel knows of its slots; else the ring fails.
 */
#include <linux/mm.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>

#include "blktap.h"
#include "trace.h"

static bool op_has_data(u8 op)
{
	return op == BLKTAP_OP_READ || op == BLKTAP_OP_WRITE;
}

/* Gives back a slot that carried a part. Context: tap_ring.lock. */
void tap_ring_done(struct blktap *tap, struct tap_slot *slot)
{
	struct tap_ring *ring = &tap->ring;

	lockdep_assert_held(&ring->lock);
	tap_slot_put(ring, slot);
	ring->busy--;
	if ((ring->held && !ring->busy) || (!ring->live && !ring->owned))
		wake_up_all(&tap->wait);
}

static void slot_begin(struct tap_ring *ring, struct tap_slot *slot,
		       struct request *rq, u8 op)
{
	ring->busy++;
	slot->rq = rq;
	slot->op = op;
	slot->len = 0;
}

/* Takes a slot for a LAYOUTCOMMIT; also while the ring is held. */
static struct tap_slot *take_commit(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_slot *slot;

	if (!ring->commit || ring->commit->posted)
		return NULL;
	slot = tap_slot_pick(tap, 0);
	if (!slot)
		return NULL;
	slot_begin(ring, slot, NULL, BLKTAP_OP_LAYOUTCOMMIT);
	slot->commit = ring->commit;
	ring->commit->posted = true;
	tap->direct->commits++;
	return slot;
}

/*
 * In layout mode a tapdisk may keep misses waiting until the end of a recall,
 * which may take a commit: for these two there always is a slot.
 */
#define SLOTS_KEPT	2

/* Takes a slot for the end of a recall. */
static struct tap_slot *take_recalled(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_recall *recall;
	struct tap_slot *slot;

	if (ring->held || hweight_long(ring->free) < 2)
		return NULL;
	recall = tap_recall_take(tap);
	if (!recall)
		return NULL;
	slot = tap_slot_pick(tap, 0);
	slot_begin(ring, slot, NULL, BLKTAP_OP_RECALLED);
	slot->recall = recall;
	return slot;
}

/*
 * Takes a slot for the next part of a request. The last part takes over the
 * reference that the waiting had.
 */
static struct tap_slot *take_part(struct blktap *tap, struct tap_cmd *cmd)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	struct tap_ring *ring = &tap->ring;
	struct tap_slot *slot;
	unsigned int left;

	left = op_has_data(cmd->op) ? blk_rq_bytes(rq) - cmd->done : 0;
	slot = tap_slot_pick(tap, min_t(unsigned int, BLKTAP_SEGMENT_MAX,
					DIV_ROUND_UP(left, PAGE_SIZE)));
	if (!slot)
		return NULL;
	slot_begin(ring, slot, rq, cmd->op);
	slot->data = cmd->next;
	slot->sector = blk_rq_pos(rq) + (cmd->done >> SECTOR_SHIFT);
	slot->len = min_t(unsigned int, left, slot->nr_pages << PAGE_SHIFT);
	if (slot->len == left) {
		list_del_init(&cmd->node);
		ring->nr_waiting--;
	} else {
		atomic_inc(&cmd->parts);
		cmd->done += slot->len;
		tap_cursor_skip(&cmd->next, slot->len);
	}
	return slot;
}

/* Takes a slot for a request that misses, or lets it wait behind another. */
static struct tap_slot *take_miss(struct blktap *tap, struct tap_cmd *cmd,
				  bool *joined)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_slot *slot = NULL;

	list_del_init(&cmd->node);
	*joined = tap_upcall_join(tap, cmd);
	if (!*joined)
		slot = tap_slot_pick(tap, 0);
	if (slot) {
		slot_begin(ring, slot, NULL, BLKTAP_OP_LAYOUTGET);
		tap_upcall_prepare(tap, slot, cmd);
	}
	if (*joined || slot)
		ring->nr_waiting--;
	else
		list_add(&cmd->node, &ring->waiting);
	return slot;
}

/* Return: the first request that waits for a slot, and for nothing else. */
static struct tap_cmd *first_waiting(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_cmd *cmd;

	list_for_each_entry(cmd, &ring->waiting, node)
		if (!tap_upcall_held(tap, cmd) && !tap_recover_held(ring, cmd))
			return cmd;
	return NULL;
}

/* Takes a slot for the first request that waits. */
static struct tap_slot *ring_take(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_slot *slot;
	struct tap_cmd *cmd;
	bool joined;

	lockdep_assert_held(&ring->lock);
	if (!ring->joined)
		return NULL;
	slot = take_commit(tap) ?: take_recalled(tap);
	if (slot)
		return slot;
	if (tap->direct && hweight_long(ring->free) <= SLOTS_KEPT) {
		ring->count.ring_full += !list_empty(&ring->waiting);
		return NULL;
	}
	do {
		joined = false;
		cmd = first_waiting(tap);
		if (!cmd || ring->held)
			return NULL;
		slot = cmd->op == BLKTAP_OP_LAYOUTGET ?
		       take_miss(tap, cmd, &joined) : take_part(tap, cmd);
	} while (joined);
	if (!slot)
		ring->count.ring_full++;
	return slot;
}

/* In layout mode the whole blocks of a discard, else all of it. */
static void fill_trim(struct blktap *tap, struct tap_slot *slot,
		      struct blktap_ring_request *req)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(slot->rq);

	if (cmd->trim == TRIM_POSTED) {
		req->tr.sector_number = tap->direct->layout.hold_first;
		req->tr.nr_sectors = tap->direct->layout.hold_last -
				     tap->direct->layout.hold_first + 1;
	} else {
		req->tr.sector_number = slot->sector;
		req->tr.nr_sectors = blk_rq_sectors(slot->rq);
	}
}

static void fill_request(struct blktap *tap, struct blktap_ring_request *req,
			 struct tap_slot *slot)
{
	unsigned int sectors = slot->len >> SECTOR_SHIFT;
	unsigned int i;

	memset(req, 0, sizeof(*req));
	req->operation = slot->op;
	req->id = slot - tap->ring.slots;
	if (slot->op >= BLKTAP_OP_LAYOUTGET) {
		tap_upcall_fill(tap, slot, req);
		return;
	}
	if (slot->op == BLKTAP_OP_TRIM) {
		fill_trim(tap, slot, req);
		return;
	}
	req->rw.sector_number = op_has_data(slot->op) ? slot->sector : 0;
	req->nr_segments = DIV_ROUND_UP(sectors, PAGE_SECTORS);
	for (i = 0; i < req->nr_segments; i++) {
		unsigned int n = min_t(unsigned int, sectors, PAGE_SECTORS);

		req->rw.seg[i].last_sect = n - 1;
		sectors -= n;
	}
}

static void count_posted(struct tap_counters *count, const struct tap_slot *slot)
{
	count->reqs[slot->op]++;
	if (op_has_data(slot->op)) {
		count->sectors[slot->op] += slot->len >> SECTOR_SHIFT;
		count->copied += slot->len;
	}
}

/**
 * tap_ended_take - take from a slot what it was for, to end it without the lock
 * @tap: the tap, its ring locked
 * @slot: the slot, owned by the kernel or about to be
 * @ended: filled in
 */
void tap_ended_take(struct blktap *tap, struct tap_slot *slot,
		    struct tap_ended *ended)
{
	struct tap_ring *ring = &tap->ring;

	lockdep_assert_held(&ring->lock);
	ended->rq = slot->rq;
	ended->commit = NULL;
	INIT_LIST_HEAD(&ended->parked);
	if (slot->op == BLKTAP_OP_LAYOUTGET) {
		list_splice_init(&slot->parked, &ended->parked);
	} else if (slot->op == BLKTAP_OP_LAYOUTCOMMIT && slot->commit) {
		ended->commit = slot->commit;
		slot->commit = NULL;
		ring->commit = NULL;
	} else if (slot->op == BLKTAP_OP_RECALLED) {
		tap_recall_told(slot->recall);
	} else if (slot->op == BLKTAP_OP_TRIM && slot->late && tap->direct) {
		tap_trim_late(tap);
	}
}

void tap_ended_end(struct blktap *tap, struct tap_ended *ended,
		   blk_status_t status)
{
	if (ended->rq)
		tap_cmd_put(ended->rq, status);
	if (!list_empty(&ended->parked))
		tap_upcall_end(tap, &ended->parked, status);
	if (ended->commit) {
		ended->commit->err = blk_status_to_errno(status);
		complete(&ended->commit->done);
	}
}

/* Hands a filled slot to the tapdisk, or takes it back if there is none now. */
static void ring_post(struct blktap *tap, struct tap_slot *slot)
{
	struct tap_ring *ring = &tap->ring;
	struct blktap_ring_request req;

	fill_request(tap, &req, slot);
	spin_lock(&ring->lock);
	if (!ring->joined) {
		spin_unlock(&ring->lock);
		tap_recover_post(tap, slot);
		return;
	}
	slot->state = SLOT_POSTED;
	slot->writes = ring->writes;
	ring->owned--;
	count_posted(&ring->count, slot);
	if (slot->op == BLKTAP_OP_LAYOUTGET && tap_fault(TAP_FAULT_UPCALL)) {
		spin_unlock(&ring->lock);
		return;
	}
	memcpy(&ring->shared->ring[ring->req_prod % BLKTAP_RING_SIZE].req, &req,
	       sizeof(req));
	trace_blktap_post(tap, &req, slot->sector);
	/* The tapdisk sees the request before it sees that there is one. */
	smp_store_release(&ring->shared->req_prod, ++ring->req_prod);
	spin_unlock(&ring->lock);
}

/**
 * tap_ring_pump - hand slots to the requests that wait, as far as they go
 * @tap: the tap
 *
 * The caller kicks. Context: process context, never waits.
 */
void tap_ring_pump(struct blktap *tap)
{
	struct tap_slot *slot;

	for (;;) {
		spin_lock(&tap->ring.lock);
		slot = ring_take(tap);
		spin_unlock(&tap->ring.lock);
		if (!slot)
			return;
		if (slot->op == BLKTAP_OP_WRITE)
			tap_slot_copy(slot, true);
		ring_post(tap, slot);
	}
}

/**
 * tap_ring_kick - wake the tapdisk if requests were posted since the last time
 * @ring: the ring
 */
void tap_ring_kick(struct tap_ring *ring)
{
	bool wake = false;

	spin_lock(&ring->lock);
	if (ring->shared && ring->req_prod != ring->kicked) {
		u32 event;

		/* Pairs with the tapdisk's, from req_event to req_prod. */
		smp_mb();
		event = READ_ONCE(ring->shared->req_event);
		wake = !ring->event_idx || (u32)(ring->req_prod - event) <
					   (u32)(ring->req_prod - ring->kicked);
		ring->kicked = ring->req_prod;
		ring->count.kicks += wake;
	}
	spin_unlock(&ring->lock);
	if (wake)
		wake_up_interruptible_poll(&ring->poll, EPOLLIN | EPOLLRDNORM);
}

/* Context: tap_ring.lock. Puts a request back where it was among those that wait. */
static void ring_insert(struct tap_ring *ring, struct tap_cmd *cmd)
{
	struct tap_cmd *at;

	list_for_each_entry(at, &ring->waiting, node)
		if (at->seq > cmd->seq)
			break;
	list_add_tail(&cmd->node, &at->node);
}

static void cmd_begin(struct tap_cmd *cmd, struct request *rq, u8 op)
{
	cmd->op = op;
	cmd->status = BLK_STS_OK;
	if (!rq_tap(rq)->direct)
		cmd->trim = TRIM_NONE;
	cmd->again = false;
	if (!cmd->clock.since)
		tap_clock_start(&cmd->clock);
	cmd->done = 0;
	cmd->next.bio = rq->bio;
	if (rq->bio)
		cmd->next.iter = rq->bio->bi_iter;
	atomic_set(&cmd->parts, 1);
}

static bool ring_enqueue(struct blktap *tap, struct request *rq, u8 op)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct tap_ring *ring = &tap->ring;
	bool taken;

	cmd_begin(cmd, rq, op);
	spin_lock(&ring->lock);
	taken = !ring->failed;
	if (taken) {
		cmd->seq = ++ring->seq;
		list_add_tail(&cmd->node, &ring->waiting);
		ring->nr_waiting++;
		if (op == BLKTAP_OP_LAYOUTGET)
			tap->direct->misses++;
		else if (tap->direct && op_has_data(op))
			tap->direct->ring_used = true;
		tap_recover_watch(tap);
	}
	spin_unlock(&ring->lock);
	return taken;
}

/**
 * tap_ring_queue - take a block request
 * @tap: the tap
 * @rq: the request, started
 * @op: what the tapdisk is asked: BLKTAP_OP_*
 * @kick: it is the last of its batch
 *
 * Return: BLK_STS_OK: it will be ended by tap_cmd_put(); BLK_STS_IOERR: the
 * tap is dead.
 */
blk_status_t tap_ring_queue(struct blktap *tap, struct request *rq, u8 op,
			    bool kick)
{
	bool taken = ring_enqueue(tap, rq, op);

	if (taken)
		tap_ring_pump(tap);
	if (kick)
		tap_ring_kick(&tap->ring);
	return taken ? BLK_STS_OK : BLK_STS_IOERR;
}

/**
 * tap_ring_requeue - a request of layout mode needs the tapdisk
 * @tap: the tap
 * @rq: the request; ended with an error where the tap is dead
 * @op: LAYOUTGET: punted when it is answered; else ended by tap_cmd_put()
 */
void tap_ring_requeue(struct blktap *tap, struct request *rq, u8 op)
{
	if (tap_ring_queue(tap, rq, op, true))
		blk_mq_end_request(rq, BLK_STS_IOERR);
}

/**
 * tap_ring_again - take a request anew, as it was taken first
 * @tap: the tap
 * @rq: the request; on no list, no part of it under way; ended with an error
 *	where the tap is dead
 */
void tap_ring_again(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct tap_ring *ring = &tap->ring;
	bool taken;

	cmd_begin(cmd, rq, cmd->op);
	spin_lock(&ring->lock);
	taken = !ring->failed;
	if (taken) {
		ring_insert(ring, cmd);
		ring->nr_waiting++;
		tap_recover_watch_again(tap, &cmd->clock);
	}
	spin_unlock(&ring->lock);
	if (!taken) {
		tap_cmd_put(rq, BLK_STS_IOERR);
		return;
	}
	tap_ring_pump(tap);
	tap_ring_kick(ring);
}

/**
 * tap_ring_commit - post a LAYOUTCOMMIT and wait for its end
 * @tap: the tap
 * @commit: ranges and nr are set; one at a time
 *
 * A tapdisk that is gone is waited for as any request waits. Return: 0, or the
 * tapdisk's error; -EIO when the ring fails, or after the request timeout.
 */
int tap_ring_commit(struct blktap *tap, struct tap_commit *commit)
{
	struct tap_ring *ring = &tap->ring;
	bool taken;

	init_completion(&commit->done);
	commit->posted = false;
	tap_clock_start(&commit->clock);
	commit->err = 0;
	spin_lock(&ring->lock);
	taken = !ring->failed;
	if (taken) {
		ring->commit = commit;
		tap_recover_watch(tap);
	}
	spin_unlock(&ring->lock);
	if (!taken)
		return -EIO;
	tap_ring_pump(tap);
	tap_ring_kick(ring);
	wait_for_completion_state(&commit->done, TASK_IDLE);
	return commit->err;
}

/* One response, as it was when it was looked at, and what it ends. */
struct ring_response {
	struct tap_slot *slot;
	u32 nr_extents;
	blk_status_t status;
	struct tap_ended ended;
};

/* What is no use to tell apart is an error: it is the tapdisk that says it. */
static blk_status_t parse_errno(int err)
{
	switch (err) {
	case -ENOSPC:
	case -EDQUOT:
		return BLK_STS_NOSPC;
	case -ETIMEDOUT:
		return BLK_STS_TIMEOUT;
	}
	return BLK_STS_IOERR;
}

static bool parse_status(s16 status, bool errnos, blk_status_t *result)
{
	if (errnos && status < BLKTAP_RSP_EOPNOTSUPP && status >= -MAX_ERRNO) {
		*result = parse_errno(status);
		return true;
	}
	switch (status) {
	case BLKTAP_RSP_OKAY:
		*result = BLK_STS_OK;
		return true;
	case BLKTAP_RSP_ERROR:
		*result = BLK_STS_IOERR;
		return true;
	case BLKTAP_RSP_EOPNOTSUPP:
		*result = BLK_STS_NOTSUPP;
		return true;
	}
	return false;
}

/* Return: NULL, or what is wrong with the response. Context: tap_ring.lock. */
static const char *take_response(struct tap_ring *ring,
				 struct ring_response *done)
{
	struct blktap_ring_response *rsp =
		&ring->shared->ring[ring->rsp_cons % BLKTAP_RING_SIZE].rsp;
	u64 id = READ_ONCE(rsp->id);
	u8 op = READ_ONCE(rsp->operation);
	s16 status = READ_ONCE(rsp->status);
	struct tap_slot *slot;

	if (id >= BLKTAP_RING_SIZE)
		return "sent a response with an id that is no slot's";
	slot = &ring->slots[array_index_nospec(id, BLKTAP_RING_SIZE)];
	if (slot->state != SLOT_POSTED)
		return "sent a response to a slot that has no request";
	if (op != slot->op)
		return "sent a response with another operation than the request";
	if (!parse_status(status, ring->errnos, &done->status))
		return "sent a response with an unknown status";

	ring->rsp_cons++;
	ring->count.errors += done->status != BLK_STS_OK;
	slot->state = SLOT_DRAINING;
	ring->owned++;
	done->slot = slot;
	done->nr_extents = READ_ONCE(rsp->nr_extents);
	return NULL;
}

/* Return: responses taken. Sets @why where the tapdisk broke the rules. */
static unsigned int take_responses(struct tap_ring *ring,
				   struct ring_response *done, const char **why)
{
	unsigned int nr = 0;
	u32 prod;

	lockdep_assert_held(&ring->lock);
	/* Pairs with the tapdisk's barrier between a response and rsp_prod. */
	prod = smp_load_acquire(&ring->shared->rsp_prod);
	if (prod - ring->rsp_cons > ring->req_prod - ring->rsp_cons) {
		*why = "produced more responses than it had requests";
		return 0;
	}
	while (ring->rsp_cons != prod) {
		*why = take_response(ring, &done[nr]);
		if (*why)
			break;
		nr++;
	}
	return nr;
}

/* What an answer brings: data, or extents. Return: NULL, or what is wrong. */
static const char *take_answer(struct blktap *tap, struct ring_response *rsp)
{
	if (rsp->slot->op == BLKTAP_OP_LAYOUTGET &&
	    rsp->status == BLK_STS_NOTSUPP && READ_ONCE(tap->direct->layout.nr))
		return "wants the data of a disk for which it has granted extents";
	if (rsp->status)
		return NULL;
	if (rsp->slot->op == BLKTAP_OP_LAYOUTGET)
		return tap_upcall_granted(tap, rsp->slot, rsp->nr_extents);
	if (rsp->slot->op == BLKTAP_OP_READ && rsp->slot->rq)
		tap_slot_copy(rsp->slot, false);
	return NULL;
}

/* A TRIM that comes to nothing loses nothing. Context: tap_ring.lock. */
static void note_written(struct tap_ring *ring, const struct tap_slot *slot)
{
	if (slot->op == BLKTAP_OP_WRITE)
		ring->writes++;
	else if (slot->op == BLKTAP_OP_FLUSH)
		ring->flushed = max(ring->flushed, slot->writes);
}

static const char *end_responses(struct blktap *tap, struct ring_response *done,
				 unsigned int nr, const char *why)
{
	struct tap_ring *ring = &tap->ring;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		const char *wrong = take_answer(tap, &done[i]);

		trace_blktap_response(tap, done[i].slot - ring->slots,
				      done[i].slot->op, done[i].status);
		if (!wrong)
			continue;
		done[i].status = BLK_STS_IOERR;
		why = why ?: wrong;
	}
	spin_lock(&ring->lock);
	for (i = 0; i < nr; i++) {
		if (!done[i].status)
			note_written(ring, done[i].slot);
		tap_ended_take(tap, done[i].slot, &done[i].ended);
		tap_ring_done(tap, done[i].slot);
	}
	spin_unlock(&ring->lock);
	for (i = 0; i < nr; i++)
		tap_ended_end(tap, &done[i].ended, done[i].status);
	return why;
}

/**
 * tap_ring_respond - consume the responses (RESPOND)
 * @tap: the tap; its ring is mapped by the caller
 *
 * Return: 0, or -EIO: the ring has failed, now or before.
 */
int tap_ring_respond(struct blktap *tap)
{
	struct ring_response done[BLKTAP_RING_SIZE];
	struct tap_ring *ring = &tap->ring;
	const char *why = NULL;
	unsigned int nr;

	spin_lock(&ring->lock);
	if (!ring->live) {
		spin_unlock(&ring->lock);
		return -EIO;
	}
	nr = take_responses(ring, done, &why);
	spin_unlock(&ring->lock);

	why = end_responses(tap, done, nr, why);
	if (why) {
		tap_ring_fail(tap, why);
		return -EIO;
	}
	tap_ring_pump(tap);
	tap_ring_kick(ring);
	return 0;
}

/* Return: false: it had failed before. */
static bool ring_set_failed(struct tap_ring *ring, pid_t *pid)
{
	bool first;

	spin_lock(&ring->lock);
	first = !ring->failed;
	ring->failed = true;
	ring->live = false;
	ring->joined = false;
	*pid = ring->pid ? pid_nr(ring->pid) : 0;
	spin_unlock(&ring->lock);
	return first;
}

/* All I/O, now and later, ends with an error. */
static void ring_failed(struct blktap *tap)
{
	tap_recover_abort(tap);
	mutex_lock(&tap->lock);
	if (tap->disk || tap_ring_mapped(&tap->ring)) {
		tap->dead = true;
		blktap_changed(tap);
	} else {
		tap_ring_leave(tap);
	}
	mutex_unlock(&tap->lock);
}

/**
 * tap_ring_fail - the tapdisk broke the rules: let it serve nothing more
 * @tap: the tap
 * @why: what it did, to follow "tapdisk N"
 *
 * For good, since what it has granted may be as false. Said once: a ring fails
 * once. Context: may sleep; takes blktap.lock.
 */
void tap_ring_fail(struct blktap *tap, const char *why)
{
	pid_t pid;

	if (!ring_set_failed(&tap->ring, &pid))
		return;
	pr_err("tap %u: tapdisk %d %s: the tap has failed; free it\n",
	       tap->minor, pid, why);
	ring_failed(tap);
}

/**
 * tap_ring_kill - end a tap's I/O, since its disk is to go in any case
 * @tap: the tap
 *
 * Context: may sleep; takes blktap.lock.
 */
void tap_ring_kill(struct blktap *tap)
{
	pid_t pid;

	if (ring_set_failed(&tap->ring, &pid))
		ring_failed(tap);
}

/*
 * In layout mode what was to go over the ring is looked up anew: the image that
 * is open now may be one that the kernel can serve. No part of it is posted.
 */
static void ring_look_again(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_cmd *cmd;

	lockdep_assert_held(&ring->lock);
	if (!tap->direct || ring->busy)
		return;
	list_for_each_entry(cmd, &ring->waiting, node) {
		if (!op_has_data(cmd->op))
			continue;
		cmd->iomode = cmd->op == BLKTAP_OP_READ ? BLKTAP_IOMODE_READ :
							  BLKTAP_IOMODE_WRITE;
		cmd->op = BLKTAP_OP_LAYOUTGET;
	}
}

/**
 * tap_ring_hold - stop or go on posting requests
 * @tap: the tap
 * @hold: stop: new requests wait, tap_ring_drained() says when the old are done
 */
void tap_ring_hold(struct blktap *tap, bool hold)
{
	spin_lock(&tap->ring.lock);
	tap->ring.held = hold;
	if (!hold) {
		ring_look_again(tap);
		tap_recover_restart(&tap->ring, ULONG_MAX);
	}
	spin_unlock(&tap->ring.lock);
	if (hold)
		return;
	tap_ring_pump(tap);
	tap_ring_kick(&tap->ring);
}

/**
 * tap_ring_join - the tapdisk serves the disk from now on: post what waits
 * @tap: the tap, locked; mapped by the caller
 * @errnos: it answers with errnos
 */
void tap_ring_join(struct blktap *tap, bool errnos)
{
	struct tap_ring *ring = &tap->ring;

	lockdep_assert_held(&tap->lock);
	spin_lock(&ring->lock);
	ring->errnos = errnos;
	ring->joined = ring->live;
	ring->joined_at = jiffies;
	tap_recover_restart(ring, 0);
	if (!ring->held)
		ring_look_again(tap);
	spin_unlock(&ring->lock);
	tap_ring_pump(tap);
	tap_ring_kick(ring);
}

/* There is no disk to serve any more, and no request. */
void tap_ring_leave(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;

	lockdep_assert_held(&tap->lock);
	spin_lock(&ring->lock);
	ring->joined = false;
	ring->held = false;
	ring->stalled = false;
	ring->no_space = false;
	if (!ring->shared) {
		ring->failed = false;
		tap->dead = false;
	}
	spin_unlock(&ring->lock);
}

/* No request is with the tapdisk. */
bool tap_ring_drained(struct tap_ring *ring)
{
	bool drained;

	spin_lock(&ring->lock);
	drained = !ring->busy;
	spin_unlock(&ring->lock);
	return drained;
}

/* The tapdisk has closed its image, and flushed it before. */
void tap_ring_flushed(struct tap_ring *ring)
{
	spin_lock(&ring->lock);
	ring->flushed = ring->writes;
	spin_unlock(&ring->lock);
}

/* What the tapdisk has written was not flushed since. */
bool tap_ring_dirty(struct tap_ring *ring)
{
	bool dirty;

	spin_lock(&ring->lock);
	dirty = ring->writes != ring->flushed;
	spin_unlock(&ring->lock);
	return dirty;
}

/* And none waits, nor a commit. */
bool tap_ring_idle(struct tap_ring *ring)
{
	bool idle;

	spin_lock(&ring->lock);
	idle = !ring->busy && !ring->nr_waiting && !ring->nr_retry &&
	       !ring->commit;
	spin_unlock(&ring->lock);
	return idle;
}

/* Mapped, and neither failed nor going. */
bool tap_ring_live(struct tap_ring *ring)
{
	return READ_ONCE(ring->live);
}

/* And the tapdisk serves the disk. */
bool tap_ring_joined(struct tap_ring *ring)
{
	return READ_ONCE(ring->joined);
}

/* Requests are refused. */
bool tap_ring_failed(struct tap_ring *ring)
{
	return READ_ONCE(ring->failed);
}
