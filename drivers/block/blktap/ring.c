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
static void ring_done(struct blktap *tap, struct tap_slot *slot)
{
	struct tap_ring *ring = &tap->ring;

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

/* Return: the first request that waits for a slot, and not for a TRIM's end. */
static struct tap_cmd *first_waiting(struct blktap *tap)
{
	struct tap_cmd *cmd;

	list_for_each_entry(cmd, &tap->ring.waiting, node)
		if (!tap_upcall_held(tap, cmd))
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
	if (!ring->live)
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

/* What waited for a slot's answer, so that it can end without the ring's lock. */
struct ring_ended {
	struct request *rq;
	struct list_head parked;
	struct tap_commit *commit;
};

/* Context: tap_ring.lock. Takes from a slot what it was for. */
static void slot_take_ended(struct tap_ring *ring, struct tap_slot *slot,
			    struct ring_ended *ended)
{
	ended->rq = slot->rq;
	ended->commit = NULL;
	INIT_LIST_HEAD(&ended->parked);
	if (slot->op == BLKTAP_OP_LAYOUTGET) {
		list_splice_init(&slot->parked, &ended->parked);
	} else if (slot->op == BLKTAP_OP_LAYOUTCOMMIT) {
		ended->commit = ring->commit;
		ring->commit = NULL;
	} else if (slot->op == BLKTAP_OP_RECALLED) {
		tap_recall_told(slot->recall);
	}
}

static void end_ended(struct blktap *tap, struct ring_ended *ended,
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

/* Hands a filled slot to the tapdisk, or ends its part if there is none now. */
static void ring_post(struct blktap *tap, struct tap_slot *slot)
{
	struct tap_ring *ring = &tap->ring;
	struct blktap_ring_request req;
	struct ring_ended ended;

	fill_request(tap, &req, slot);
	spin_lock(&ring->lock);
	if (!ring->live) {
		slot_take_ended(ring, slot, &ended);
		ring_done(tap, slot);
		spin_unlock(&ring->lock);
		end_ended(tap, &ended, BLK_STS_IOERR);
		return;
	}
	memcpy(&ring->shared->ring[ring->req_prod % BLKTAP_RING_SIZE].req, &req,
	       sizeof(req));
	trace_blktap_post(tap, &req, slot->sector);
	slot->state = SLOT_POSTED;
	ring->owned--;
	count_posted(&ring->count, slot);
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

static bool ring_enqueue(struct blktap *tap, struct request *rq, u8 op)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct tap_ring *ring = &tap->ring;
	bool live;

	cmd->op = op;
	cmd->status = BLK_STS_OK;
	if (!tap->direct)
		cmd->trim = TRIM_NONE;
	cmd->done = 0;
	cmd->next.bio = rq->bio;
	if (rq->bio)
		cmd->next.iter = rq->bio->bi_iter;
	atomic_set(&cmd->parts, 1);

	spin_lock(&ring->lock);
	live = ring->live;
	if (live) {
		list_add_tail(&cmd->node, &ring->waiting);
		ring->nr_waiting++;
		if (op == BLKTAP_OP_LAYOUTGET)
			tap->direct->misses++;
		else if (tap->direct && op_has_data(op))
			tap->direct->ring_used = true;
	}
	spin_unlock(&ring->lock);
	return live;
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
	bool live = ring_enqueue(tap, rq, op);

	if (live)
		tap_ring_pump(tap);
	if (kick)
		tap_ring_kick(&tap->ring);
	return live ? BLK_STS_OK : BLK_STS_IOERR;
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
 * tap_ring_commit - post a LAYOUTCOMMIT and wait for its end
 * @tap: the tap
 * @commit: ranges and nr are set; one at a time
 *
 * Return: 0, or the tapdisk's error; -EIO also when the ring fails or goes.
 */
int tap_ring_commit(struct blktap *tap, struct tap_commit *commit)
{
	struct tap_ring *ring = &tap->ring;
	bool live;

	init_completion(&commit->done);
	commit->posted = false;
	commit->err = 0;
	spin_lock(&ring->lock);
	live = ring->live;
	if (live)
		ring->commit = commit;
	spin_unlock(&ring->lock);
	if (!live)
		return -EIO;
	tap_ring_pump(tap);
	tap_ring_kick(ring);
	wait_for_completion(&commit->done);
	return commit->err;
}

/* One response, as it was when it was looked at, and what it ends. */
struct ring_response {
	struct tap_slot *slot;
	u32 nr_extents;
	blk_status_t status;
	struct ring_ended ended;
};

static bool parse_status(s16 status, blk_status_t *result)
{
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
	if (!parse_status(status, &done->status))
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
	if (rsp->slot->op == BLKTAP_OP_READ)
		tap_slot_copy(rsp->slot, false);
	return NULL;
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
		slot_take_ended(ring, done[i].slot, &done[i].ended);
		ring_done(tap, done[i].slot);
	}
	spin_unlock(&ring->lock);
	for (i = 0; i < nr; i++)
		end_ended(tap, &done[i].ended, done[i].status);
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

/*
 * Ends all that waits or is with the tapdisk. What the kernel is copying ends
 * by itself: ring_post() and tap_ring_respond() see to it.
 */
static void ring_abort(struct blktap *tap)
{
	struct ring_ended posted[BLKTAP_RING_SIZE];
	struct tap_ring *ring = &tap->ring;
	struct tap_commit *commit = NULL;
	struct tap_cmd *cmd, *next;
	unsigned int nr = 0, i;
	LIST_HEAD(waiting);

	spin_lock(&ring->lock);
	ring->live = false;
	for (i = 0; i < BLKTAP_RING_SIZE; i++) {
		struct tap_slot *slot = &ring->slots[i];

		if (slot->state != SLOT_POSTED)
			continue;
		slot_take_ended(ring, slot, &posted[nr++]);
		ring->owned++;
		ring_done(tap, slot);
	}
	if (ring->commit && !ring->commit->posted)
		swap(commit, ring->commit);
	list_splice_init(&ring->waiting, &waiting);
	ring->nr_waiting = 0;
	spin_unlock(&ring->lock);

	for (i = 0; i < nr; i++)
		end_ended(tap, &posted[i], BLK_STS_IOERR);
	if (commit) {
		commit->err = -EIO;
		complete(&commit->done);
	}
	list_for_each_entry_safe(cmd, next, &waiting, node) {
		list_del_init(&cmd->node);
		tap_cmd_put(blk_mq_rq_from_pdu(cmd), BLK_STS_IOERR);
	}
	tap_direct_abort(tap);
}

/**
 * tap_ring_fail - the tapdisk broke the rules: let it serve nothing more
 * @tap: the tap
 * @why: what it did, to follow "tapdisk N"
 *
 * All I/O, now and later, ends with an error. Said once: a ring fails once.
 * Context: may sleep; takes blktap.lock.
 */
void tap_ring_fail(struct blktap *tap, const char *why)
{
	struct tap_ring *ring = &tap->ring;
	bool was_live;
	pid_t pid;

	spin_lock(&ring->lock);
	was_live = ring->live;
	ring->live = false;
	pid = pid_nr(ring->pid);
	spin_unlock(&ring->lock);
	if (!was_live)
		return;
	pr_err("tap %u: tapdisk %d %s: the tap has failed; free it\n",
	       tap->minor, pid, why);
	ring_abort(tap);
	mutex_lock(&tap->lock);
	if (tap_ring_mapped(ring)) {
		tap->dead = true;
		blktap_changed(tap);
	}
	mutex_unlock(&tap->lock);
}

static void shared_init(struct blktap_ring *shared)
{
	shared->req_event = 1;
	shared->rsp_event = 1;
}

/**
 * tap_ring_start - the ring is being mapped
 * @tap: the tap
 * @vma: the mapping; its vm_private_data is set, its opens and closes count
 *
 * Context: under mmap_lock. Return: 0, -EBUSY where it is mapped, -ENODEV
 * where the tap is going or dead.
 */
int tap_ring_start(struct blktap *tap, struct vm_area_struct *vma)
{
	struct tap_ring *ring = &tap->ring;
	struct blktap_ring *shared;
	int err = 0;

	BUILD_BUG_ON(sizeof(struct blktap_ring) > PAGE_SIZE);
	shared = (void *)get_zeroed_page(GFP_KERNEL);
	if (!shared)
		return -ENOMEM;
	shared_init(shared);

	spin_lock(&ring->lock);
	if (ring->gone) {
		err = -ENODEV;
	} else if (ring->shared) {
		err = -EBUSY;
	} else {
		ring->shared = shared;
		ring->mm = vma->vm_mm;
		ring->pid = get_pid(task_tgid(current));
		ring->mapping = vma->vm_file->f_mapping;
		ring->vmas = 1;
		vma->vm_private_data = (void *)(++ring->generation);
		ring->live = true;
		ring->held = false;
		ring->event_idx = false;
		ring->msg_pending = false;
		ring->closed_pending = false;
		ring->req_prod = 0;
		ring->rsp_cons = 0;
		ring->kicked = 0;
		ring->reported = 0;
	}
	spin_unlock(&ring->lock);
	if (err)
		free_page((unsigned long)shared);
	return err;
}

/**
 * tap_ring_map_layout - the layout pages are being mapped
 * @tap: the tap
 * @vma: the mapping; its vm_private_data is set
 *
 * The pages are there until the ring is unmapped. Context: under mmap_lock.
 */
int tap_ring_map_layout(struct blktap *tap, struct vm_area_struct *vma)
{
	struct page *pages[BLKTAP_RING_SIZE] = {};
	struct tap_ring *ring = &tap->ring;
	int err = 0, i;

	BUILD_BUG_ON(BLKTAP_EXTENTS_MAX * sizeof(struct blktap_extent) > PAGE_SIZE);
	for (i = 0; i < BLKTAP_RING_SIZE; i++) {
		pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!pages[i])
			err = -ENOMEM;
	}
	spin_lock(&ring->lock);
	if (!err && (!ring->shared || ring->mm != vma->vm_mm))
		err = -EACCES;
	if (!err && ring->layout[0])
		err = -EBUSY;
	if (!err) {
		memcpy(ring->layout, pages, sizeof(pages));
		vma->vm_private_data = (void *)ring->generation;
	}
	spin_unlock(&ring->lock);
	for (i = 0; err && i < BLKTAP_RING_SIZE; i++)
		if (pages[i])
			put_page(pages[i]);
	return err;
}

/**
 * tap_ring_stop - the last mapping is gone
 * @tap: the tap
 *
 * Context: under mmap_lock; the rest is done by detach_work().
 */
void tap_ring_stop(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;

	spin_lock(&ring->lock);
	ring->live = false;
	spin_unlock(&ring->lock);
	queue_work(blktap_wq, &tap->detach);
}

static void tap_detached(struct blktap *tap)
{
	lockdep_assert_held(&tap->lock);
	tap->dead = tap->disk;
	tap->paused = false;
	tap->resume_failed = false;
	tap->tapdisk = NULL;
	if (!tap->disk)
		blktap_set_name(tap, NULL);
}

/* FREE_TAP was told that the tap goes when the tapdisk lets go of it. */
static void free_if_wanted(struct blktap *tap)
{
	struct blktap_op *op;

	if (!READ_ONCE(tap->free_wanted))
		return;
	op = blktap_op_alloc(tap, BLKTAP_CMD_FREE, BLKTAP_TIMEOUT);
	if (!op)
		return;
	blktap_op_start(op);
	blktap_op_put(op);
}

/* Queued once for each mapping's end, and a mapping waits for the last one's. */
static void detach_work(struct work_struct *work)
{
	struct blktap *tap = container_of(work, struct blktap, detach);
	unsigned int noio = memalloc_noio_save();
	struct tap_ring *ring = &tap->ring;
	struct page *layout[BLKTAP_RING_SIZE];
	struct blktap_tapdisk *td;
	struct blktap_ring *shared;
	struct pid *pid;
	int i;

	ring_abort(tap);
	wait_event(tap->wait, !READ_ONCE(ring->owned));
	mutex_lock(&tap->lock);
	tap_slot_release_all(tap);
	td = tap->tapdisk;
	tap_detached(tap);
	if (!tap->disk)
		tap_direct_free(tap);

	spin_lock(&ring->lock);
	memcpy(layout, ring->layout, sizeof(layout));
	memset(ring->layout, 0, sizeof(layout));
	shared = ring->shared;
	pid = ring->pid;
	ring->shared = NULL;
	ring->pid = NULL;
	ring->mm = NULL;
	ring->mapping = NULL;
	ring->gone |= tap->dead;
	spin_unlock(&ring->lock);

	if (tap->dead)
		pr_err("tap %u: tapdisk %d has gone and left its disk: free it\n",
		       tap->minor, pid_nr(pid));
	blktap_changed(tap);
	mutex_unlock(&tap->lock);

	for (i = 0; layout[0] && i < BLKTAP_RING_SIZE; i++)
		put_page(layout[i]);
	put_page(virt_to_page(shared));
	put_pid(pid);
	if (td) {
		atomic_dec(&td->taps);
		blktap_tapdisk_put(td);
	}
	free_if_wanted(tap);
	memalloc_noio_restore(noio);
}

void tap_ring_init(struct tap_ring *ring)
{
	struct blktap *tap = container_of(ring, struct blktap, ring);

	spin_lock_init(&ring->lock);
	init_waitqueue_head(&ring->poll);
	INIT_LIST_HEAD(&ring->waiting);
	INIT_LIST_HEAD(&ring->recalled);
	INIT_WORK(&tap->detach, detach_work);
	ring->free = GENMASK(BLKTAP_RING_SIZE - 1, 0);
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
	if (!hold)
		ring_look_again(tap);
	spin_unlock(&tap->ring.lock);
	if (hold)
		return;
	tap_ring_pump(tap);
	tap_ring_kick(&tap->ring);
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

/* And none waits. */
bool tap_ring_idle(struct tap_ring *ring)
{
	bool idle;

	spin_lock(&ring->lock);
	idle = !ring->busy && !ring->nr_waiting;
	spin_unlock(&ring->lock);
	return idle;
}

/* Requests are accepted: mapped, and neither failed nor going. */
bool tap_ring_live(struct tap_ring *ring)
{
	return READ_ONCE(ring->live);
}

/* Somebody has the ring, or had it a moment ago. */
bool tap_ring_mapped(struct tap_ring *ring)
{
	return READ_ONCE(ring->shared);
}

bool tap_ring_mapped_by(struct tap_ring *ring, struct mm_struct *mm)
{
	bool mine;

	spin_lock(&ring->lock);
	mine = ring->shared && ring->vmas && ring->mm == mm;
	spin_unlock(&ring->lock);
	return mine;
}

/* Return: who has the ring, with a reference, or NULL. */
struct pid *tap_ring_pid(struct tap_ring *ring)
{
	struct pid *pid;

	spin_lock(&ring->lock);
	pid = get_pid(ring->pid);
	spin_unlock(&ring->lock);
	return pid;
}

/* Refuse mappings from now on. Return: false where there is one. */
bool tap_ring_remove(struct tap_ring *ring)
{
	bool unmapped;

	spin_lock(&ring->lock);
	unmapped = !ring->shared;
	ring->gone |= unmapped;
	spin_unlock(&ring->lock);
	return unmapped;
}

/*
 * Post or withdraw BLKTAP_MSG_* to a tapdisk that has not registered. One that
 * it has not taken yet is not reported again.
 */
void tap_ring_message(struct tap_ring *ring, u8 msg)
{
	spin_lock(&ring->lock);
	if (ring->shared && READ_ONCE(ring->shared->msg) != msg) {
		WRITE_ONCE(ring->shared->msg, msg);
		ring->msg_pending = msg != BLKTAP_MSG_NONE;
	}
	spin_unlock(&ring->lock);
	if (msg != BLKTAP_MSG_NONE)
		wake_up_interruptible_poll(&ring->poll,
					   EPOLLIN | EPOLLRDNORM);
}

/* The disk's last opener has gone: tell poll(). */
void tap_ring_closed(struct tap_ring *ring)
{
	spin_lock(&ring->lock);
	ring->closed_pending = true;
	spin_unlock(&ring->lock);
	wake_up_interruptible_poll(&ring->poll, EPOLLIN | EPOLLRDNORM);
}
