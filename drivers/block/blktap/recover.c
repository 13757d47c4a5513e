// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests that the tapdisk has not done: because it has gone, because it takes
 * too long, or because there is no space, or no network, just now.
 *
 * What a tapdisk had when it went is asked of the next one, which is right since
 * every operation may be repeated. A data request is queued anew as a whole, when
 * the last of its parts has come back. What waits for longer than the request
 * timeout is reported, and ends with an error where nobody is there to do it, or
 * where the admin has chosen so. A part that a live tapdisk then still has keeps
 * its slot, and its pages, until it is answered; the answer means nothing, but
 * until it comes nothing is posted for sectors that it may still write.
 *
 * No work item here takes blktap.lock, so that the disk's removal, which holds it,
 * can wait for them.
 */
#include <linux/file.h>
#include <linux/sched/mm.h>

#include "blktap.h"

#define WATCH_PERIOD	HZ
#define BACKOFF_FIRST	(HZ / 10)
#define BACKOFF_MAX	(5 * HZ)	/* for a network filesystem */
#define BACKOFF_SPACE	HZ		/* for space */
#define LOST_MAX	3	/* tapdisks that had a request: then its clock goes on */

static const char * const op_names[] = {
	[BLKTAP_OP_READ]		= "READ",
	[BLKTAP_OP_WRITE]		= "WRITE",
	[BLKTAP_OP_FLUSH]		= "FLUSH",
	[BLKTAP_OP_TRIM]		= "TRIM",
	[BLKTAP_OP_LAYOUTGET]		= "LAYOUTGET",
	[BLKTAP_OP_LAYOUTCOMMIT]	= "LAYOUTCOMMIT",
};

static struct tap_cmd *rq_cmd(struct request *rq)
{
	return blk_mq_rq_to_pdu(rq);
}

/* --- the tapdisk has gone --- */

/* Something begins to wait for the tapdisk. */
void tap_clock_start(struct tap_clock *clock)
{
	clock->since = jiffies ?: 1;
	clock->lost = 0;
}

/* Its tapdisk went with it; once for all the slots of a request. */
static void clock_lost(struct tap_ring *ring, struct tap_clock *clock)
{
	if (clock->lost && clock->lives == ring->lives)
		return;
	clock->lives = ring->lives;
	clock->lost++;
}

/* Once, whatever has it: a request's slots share its clock. */
static void restart_one(struct tap_clock *clock, unsigned long now,
			unsigned long fresh)
{
	if (clock->since == now && fresh != ULONG_MAX)
		return;
	if (now - clock->since < fresh)
		clock->lost = 0;
	if (clock->lost < LOST_MAX)
		clock->since = now;
}

static void restart_list(struct list_head *cmds, unsigned long now,
			 unsigned long fresh)
{
	struct tap_cmd *cmd;

	list_for_each_entry(cmd, cmds, node)
		restart_one(&cmd->clock, now, fresh);
}

/**
 * tap_recover_restart - all that waits for a tapdisk begins to wait now
 * @ring: the tap's, locked
 * @fresh: for what has waited for less than this, in jiffies, nothing that was before
 *	counts; ULONG_MAX: for all, since it waited for an admin
 *
 * How long the last tapdisk took is not held against the next one, nor is the time
 * in which there was none. But what several had when they went may be what they die
 * of: that is not waited for without end.
 */
void tap_recover_restart(struct tap_ring *ring, unsigned long fresh)
{
	unsigned long now = jiffies ?: 1;
	unsigned int i;

	lockdep_assert_held(&ring->lock);
	restart_list(&ring->waiting, now, fresh);
	restart_list(&ring->trims, now, fresh);
	if (ring->commit)
		restart_one(&ring->commit->clock, now, fresh);
	for (i = 0; i < BLKTAP_RING_SIZE; i++) {
		struct tap_slot *slot = &ring->slots[i];

		if (slot->state == SLOT_FREE)
			continue;
		if (slot->op == BLKTAP_OP_LAYOUTGET)
			restart_list(&slot->parked, now, fresh);
		else if (slot->rq)
			restart_one(&rq_cmd(slot->rq)->clock, now, fresh);
	}
}

/* Context: tap_ring.lock. Takes from a slot what has to be asked again. */
static void lost_take(struct blktap *tap, struct tap_slot *slot,
		      struct tap_ended *lost)
{
	struct tap_ring *ring = &tap->ring;

	tap_ended_take(tap, slot, lost);
	if (lost->rq) {
		rq_cmd(lost->rq)->again = true;
		/* A part of it may wait, and be all that can be seen of it. */
		tap_recover_watch_again(tap, &rq_cmd(lost->rq)->clock);
	}
	if (!lost->commit)
		return;
	/* Still waited for: it only has no slot any more. */
	lost->commit->posted = false;
	ring->commit = lost->commit;
	lost->commit = NULL;
	tap_recover_watch_again(tap, &ring->commit->clock);
}

/* Context: tap_ring.lock. A tapdisk that has gone had what is in a slot. */
static void lost_count(struct tap_ring *ring, struct tap_slot *slot)
{
	struct tap_cmd *cmd;

	if (slot->op == BLKTAP_OP_LAYOUTGET) {
		list_for_each_entry(cmd, &slot->parked, node)
			clock_lost(ring, &cmd->clock);
	} else if (slot->op == BLKTAP_OP_LAYOUTCOMMIT) {
		if (slot->commit)
			clock_lost(ring, &slot->commit->clock);
	} else if (slot->rq) {
		clock_lost(ring, &rq_cmd(slot->rq)->clock);
	}
}

static void lost_again(struct blktap *tap, struct tap_ended *lost)
{
	struct tap_cmd *cmd, *next;

	if (lost->rq)
		tap_cmd_put(lost->rq, BLK_STS_OK);
	list_for_each_entry_safe(cmd, next, &lost->parked, node) {
		list_del_init(&cmd->node);
		tap_ring_again(tap, blk_mq_rq_from_pdu(cmd));
	}
}

/**
 * tap_recover_post - a slot was filled, and there is nobody to post it to
 * @tap: the tap
 * @slot: the slot, SLOT_FILLING; given back
 */
void tap_recover_post(struct blktap *tap, struct tap_slot *slot)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_ended lost;
	bool failed;

	spin_lock(&ring->lock);
	failed = ring->failed;
	if (failed)
		tap_ended_take(tap, slot, &lost);
	else
		lost_take(tap, slot, &lost);
	tap_ring_done(tap, slot);
	spin_unlock(&ring->lock);
	if (failed)
		tap_ended_end(tap, &lost, BLK_STS_IOERR);
	else
		lost_again(tap, &lost);
}

/**
 * tap_recover_lost - take back all that the tapdisk had, to be asked again
 * @tap: the tap; its ring is not live
 *
 * What the kernel is copying comes back by itself: ring_post() and
 * tap_ring_respond() see to it.
 */
void tap_recover_lost(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_ended lost[BLKTAP_RING_SIZE];
	unsigned int nr = 0, i;

	spin_lock(&ring->lock);
	for (i = 0; i < BLKTAP_RING_SIZE; i++) {
		struct tap_slot *slot = &ring->slots[i];

		if (slot->state != SLOT_POSTED)
			continue;
		lost_count(ring, slot);
		lost_take(tap, slot, &lost[nr++]);
		ring->owned++;
		tap_ring_done(tap, slot);
	}
	spin_unlock(&ring->lock);
	for (i = 0; i < nr; i++)
		lost_again(tap, &lost[i]);
}

static void end_all(struct list_head *cmds, bool ring)
{
	struct tap_cmd *cmd, *next;

	list_for_each_entry_safe(cmd, next, cmds, node) {
		struct request *rq = blk_mq_rq_from_pdu(cmd);

		list_del_init(&cmd->node);
		if (ring)
			tap_cmd_put(rq, BLK_STS_IOERR);
		else
			blk_mq_end_request(rq, BLK_STS_IOERR);
	}
}

/**
 * tap_recover_abort - the ring has failed: end all that waits or is with the tapdisk
 * @tap: the tap
 */
void tap_recover_abort(struct blktap *tap)
{
	struct tap_ended posted[BLKTAP_RING_SIZE];
	struct tap_ring *ring = &tap->ring;
	struct tap_commit *commit = NULL;
	unsigned int nr = 0, i;
	LIST_HEAD(waiting);
	LIST_HEAD(retry);

	spin_lock(&ring->lock);
	for (i = 0; i < BLKTAP_RING_SIZE; i++) {
		struct tap_slot *slot = &ring->slots[i];

		if (slot->state != SLOT_POSTED)
			continue;
		tap_ended_take(tap, slot, &posted[nr++]);
		ring->bereft = true;
		ring->owned++;
		tap_ring_done(tap, slot);
	}
	if (ring->commit && !ring->commit->posted)
		swap(commit, ring->commit);
	list_splice_init(&ring->waiting, &waiting);
	list_splice_init(&ring->retry, &retry);
	ring->nr_waiting = 0;
	ring->nr_retry = 0;
	spin_unlock(&ring->lock);

	for (i = 0; i < nr; i++)
		tap_ended_end(tap, &posted[i], BLK_STS_IOERR);
	if (commit) {
		commit->err = -EIO;
		complete(&commit->done);
	}
	end_all(&waiting, true);
	end_all(&retry, false);
	tap_direct_abort(tap);
}

/* --- it takes too long --- */

/**
 * struct watch - one look at what waits for the tapdisk
 * @limit: how long it may, in jiffies
 * @fail: what has waited for longer ends
 * @any: something waits
 * @age: of the oldest that has waited for longer, in jiffies; 0: none has
 * @op: what that is
 * @sector: and where
 * @waiting: tap_cmds that end, which had no slot
 * @parked: tap_cmds that end, which waited for another one's LAYOUTGET or TRIM
 * @rqs: the requests of which posted parts end
 * @nr: how many
 * @commit: the LAYOUTCOMMIT that ends, or NULL
 */
struct watch {
	unsigned long limit;
	bool fail;
	bool any;
	unsigned long age;
	u8 op;
	u64 sector;
	struct list_head waiting;
	struct list_head parked;
	struct request *rqs[BLKTAP_RING_SIZE];
	unsigned int nr;
	struct tap_commit *commit;
};

/* Return: it has to end. */
static bool watch_one(struct watch *w, const struct tap_clock *clock, u8 op,
		      u64 sector)
{
	unsigned long age = jiffies - clock->since;

	w->any = true;
	if (age < w->limit)
		return false;
	if (age > w->age) {
		w->age = age;
		w->op = op;
		w->sector = sector;
	}
	return w->fail;
}

static void watch_list(struct watch *w, struct list_head *cmds, u8 op,
		       struct list_head *late, unsigned int *nr)
{
	struct tap_cmd *cmd, *next;

	list_for_each_entry_safe(cmd, next, cmds, node) {
		struct request *rq = blk_mq_rq_from_pdu(cmd);

		if (!watch_one(w, &cmd->clock, op ?: cmd->op, blk_rq_pos(rq)))
			continue;
		list_move_tail(&cmd->node, late);
		if (nr)
			--*nr;
	}
}

/*
 * Its request ends, and the tapdisk still has it: it may be done at any time. In
 * layout mode a TRIM's range stays held, until tap_ended_take() finds the slot.
 */
static void slot_abandon(struct tap_ring *ring, struct tap_slot *slot)
{
	if (slot->op == BLKTAP_OP_TRIM) {
		slot->len = blk_rq_bytes(slot->rq);
		rq_cmd(slot->rq)->trim = TRIM_DONE;
	}
	slot->late = slot->op == BLKTAP_OP_WRITE || slot->op == BLKTAP_OP_TRIM;
	ring->nr_late += slot->late;
	slot->rq = NULL;
}

/**
 * tap_recover_held - must a request wait for a late write to the same sectors?
 * @ring: the tap's, locked
 * @cmd: the request, waiting
 *
 * Else what has failed could overwrite what comes after it.
 */
bool tap_recover_held(struct tap_ring *ring, struct tap_cmd *cmd)
{
	struct request *rq = blk_mq_rq_from_pdu(cmd);
	u64 end = blk_rq_pos(rq) + blk_rq_sectors(rq);
	unsigned int i;

	lockdep_assert_held(&ring->lock);
	for (i = 0; ring->nr_late && i < BLKTAP_RING_SIZE; i++) {
		const struct tap_slot *slot = &ring->slots[i];

		if (slot->late && slot->sector < end &&
		    blk_rq_pos(rq) < slot->sector + (slot->len >> SECTOR_SHIFT))
			return true;
	}
	return false;
}

static void watch_slot(struct watch *w, struct tap_ring *ring,
		       struct tap_slot *slot)
{
	struct tap_commit *commit = slot->commit;

	if (slot->op == BLKTAP_OP_LAYOUTGET) {
		watch_list(w, &slot->parked, slot->op, &w->parked, NULL);
	} else if (slot->op == BLKTAP_OP_LAYOUTCOMMIT) {
		if (!commit || !watch_one(w, &commit->clock, slot->op, 0))
			return;
		w->commit = commit;
		slot->commit = NULL;
		ring->commit = NULL;
	} else if (slot->rq && watch_one(w, &rq_cmd(slot->rq)->clock, slot->op,
					 slot->sector)) {
		w->rqs[w->nr++] = slot->rq;
		slot_abandon(ring, slot);
	}
}

static void watch_ring(struct watch *w, struct tap_ring *ring)
{
	unsigned int i;

	lockdep_assert_held(&ring->lock);
	w->limit = READ_ONCE(ring->timeout) * HZ;
	w->fail = !ring->joined || ring->on_timeout == BLKTAP_ON_TIMEOUT_FAIL;
	/* What the kernel is copying may be the tapdisk's a moment later. */
	w->any = ring->busy || ring->commit;
	for (i = 0; i < BLKTAP_RING_SIZE; i++)
		if (ring->slots[i].state == SLOT_POSTED)
			watch_slot(w, ring, &ring->slots[i]);
	watch_list(w, &ring->waiting, 0, &w->waiting, &ring->nr_waiting);
	watch_list(w, &ring->trims, BLKTAP_OP_TRIM, &w->parked, NULL);
	if (ring->commit && !ring->commit->posted &&
	    watch_one(w, &ring->commit->clock, BLKTAP_OP_LAYOUTCOMMIT, 0))
		swap(w->commit, ring->commit);
}

static void watch_end(struct watch *w)
{
	unsigned int i;

	for (i = 0; i < w->nr; i++)
		tap_cmd_put(w->rqs[i], BLK_STS_IOERR);
	end_all(&w->waiting, true);
	end_all(&w->parked, false);
	if (w->commit) {
		w->commit->err = -EIO;
		complete(&w->commit->done);
	}
}

/* Once for each time that a tap comes to a halt. */
static void watch_report(struct blktap *tap, struct watch *w, bool joined)
{
	char text[128];

	snprintf(text, sizeof(text), "%s of sector %llu has waited for %s for %lu s%s",
		 op_names[w->op], w->sector,
		 joined ? "the tapdisk" : "a tapdisk", w->age / HZ,
		 w->fail ? ": it fails" : "");
	pr_warn("tap %u: %s\n", tap->minor, text);
	blktap_netlink_notice(BLKTAP_EVENT_STALLED, tap, text);
}

static void watch_work(struct work_struct *work)
{
	struct blktap *tap = container_of(to_delayed_work(work), struct blktap,
					  watch);
	unsigned int noio = memalloc_noio_save();
	struct tap_ring *ring = &tap->ring;
	bool was, over, joined, held;
	struct watch w = {};

	INIT_LIST_HEAD(&w.waiting);
	INIT_LIST_HEAD(&w.parked);
	spin_lock(&ring->lock);
	held = ring->held;
	if (ring->timeout && !held)
		watch_ring(&w, ring);
	joined = ring->joined;
	was = ring->stalled;
	if (!held)
		ring->stalled = w.age;
	over = was && !ring->stalled && !ring->no_space;
	if (w.any || held)
		tap_recover_watch(tap);
	spin_unlock(&ring->lock);

	if (w.age && !was)
		watch_report(tap, &w, joined);
	watch_end(&w);
	if (over)
		blktap_netlink_notice(BLKTAP_EVENT_GOES_ON, tap, NULL);
	memalloc_noio_restore(noio);
}

/**
 * tap_recover_watch - something waits for the tapdisk: see that it isn't for ever
 * @tap: the tap, its ring locked, so that the disk stays while it looks
 */
void tap_recover_watch(struct blktap *tap)
{
	unsigned int timeout = tap->ring.timeout;

	lockdep_assert_held(&tap->ring.lock);
	if (timeout && !delayed_work_pending(&tap->watch))
		queue_delayed_work(blktap_wq, &tap->watch,
				   min_t(unsigned long, WATCH_PERIOD,
					 timeout * HZ / 4));
}

/**
 * tap_recover_watch_again - the same, for what a tapdisk has had already
 * @tap: the tap, its ring locked
 * @clock: its time
 *
 * Where several had it that is looked at now, while there is none: the next one may
 * be there before it is time.
 */
void tap_recover_watch_again(struct blktap *tap, const struct tap_clock *clock)
{
	struct tap_ring *ring = &tap->ring;

	lockdep_assert_held(&ring->lock);
	if (ring->timeout && !ring->joined && clock->lost >= LOST_MAX)
		mod_delayed_work(blktap_wq, &tap->watch, 0);
	else
		tap_recover_watch(tap);
}

/* 0: for ever. Takes blktap.lock. */
void tap_recover_set_timeout(struct blktap *tap, unsigned int seconds)
{
	struct tap_ring *ring = &tap->ring;

	mutex_lock(&tap->lock);
	spin_lock(&ring->lock);
	ring->timeout = seconds;
	if (tap->disk)
		tap_recover_watch(tap);
	spin_unlock(&ring->lock);
	mutex_unlock(&tap->lock);
}

/* --- it can't just now --- */

/* Space is waited for as long as it takes, unless what takes long is to fail. */
static bool retry_expired(struct tap_ring *ring, struct tap_cmd *cmd,
			  blk_status_t status)
{
	unsigned int timeout = READ_ONCE(ring->timeout);

	if (status == BLK_STS_NOSPC &&
	    READ_ONCE(ring->on_timeout) != BLKTAP_ON_TIMEOUT_FAIL)
		return false;
	return timeout && time_after_eq(jiffies, cmd->retried + timeout * HZ);
}

/* Context: tap_ring.lock. Return: the first one that waits for space. */
static bool retry_add(struct tap_ring *ring, struct tap_cmd *cmd,
		      blk_status_t status, bool first_try)
{
	bool first = status == BLK_STS_NOSPC && !ring->no_space;

	if (list_empty(&ring->retry) && first_try && !ring->no_space)
		ring->backoff = BACKOFF_FIRST;
	ring->no_space |= first;
	list_add_tail(&cmd->node, &ring->retry);
	ring->nr_retry++;
	return first;
}

/**
 * tap_recover_retry - a request has failed in a way that may pass
 * @tap: the tap
 * @rq: the request; on no list, no part of it under way, nothing pinned
 * @status: its error
 *
 * Context: process. Return: false: it has not, or has for too long: end it.
 */
bool tap_recover_retry(struct blktap *tap, struct request *rq,
		       blk_status_t status)
{
	struct tap_ring *ring = &tap->ring;
	struct tap_cmd *cmd = rq_cmd(rq);
	bool taken, first_try = !cmd->retried, first = false;

	if (status != BLK_STS_NOSPC && status != BLK_STS_TIMEOUT)
		return false;
	/* How long it took to fail at first is not held against it. */
	if (first_try)
		cmd->retried = jiffies ?: 1;
	if (retry_expired(ring, cmd, status))
		return false;
	cmd->status = status;
	spin_lock(&ring->lock);
	taken = !ring->failed;
	if (taken) {
		first = retry_add(ring, cmd, status, first_try);
		queue_delayed_work(blktap_wq, &tap->retry, ring->backoff);
	}
	spin_unlock(&ring->lock);
	if (first) {
		pr_warn("tap %u: no space: writes wait until there is\n",
			tap->minor);
		blktap_netlink_notice(BLKTAP_EVENT_NO_SPACE, tap,
				      "no space: writes wait until there is");
	}
	return taken;
}

static void retry_one(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = rq_cmd(rq);
	blk_status_t status = cmd->status;

	cmd->status = BLK_STS_OK;
	/* Each try has the whole time to wait for the tapdisk. */
	cmd->clock.since = 0;
	if (retry_expired(&tap->ring, cmd, status))
		blk_mq_end_request(rq, status);
	else if (tap->direct)
		tap_hit_punt(tap, rq);
	else
		tap_ring_again(tap, rq);
}

/*
 * Tries all again. When there is nothing to try, none has failed for as long as
 * that was ago, and the trouble is over.
 */
static void retry_work(struct work_struct *work)
{
	struct blktap *tap = container_of(to_delayed_work(work), struct blktap,
					  retry);
	unsigned int noio = memalloc_noio_save();
	struct tap_ring *ring = &tap->ring;
	struct tap_cmd *cmd, *next;
	bool over = false;
	LIST_HEAD(cmds);

	spin_lock(&ring->lock);
	list_splice_init(&ring->retry, &cmds);
	ring->nr_retry = 0;
	if (list_empty(&cmds)) {
		swap(over, ring->no_space);
		over &= !ring->stalled;
	} else {
		queue_delayed_work(blktap_wq, &tap->retry, ring->backoff);
	}
	ring->backoff = min_t(unsigned long, 2 * ring->backoff,
			      ring->no_space ? BACKOFF_SPACE : BACKOFF_MAX);
	spin_unlock(&ring->lock);

	list_for_each_entry_safe(cmd, next, &cmds, node) {
		list_del_init(&cmd->node);
		retry_one(tap, blk_mq_rq_from_pdu(cmd));
	}
	if (over)
		blktap_netlink_notice(BLKTAP_EVENT_GOES_ON, tap, NULL);
	memalloc_noio_restore(noio);
}

/* --- what the next tapdisk is to have --- */

static int kept_check(struct file *file)
{
	if (!S_ISREG(file_inode(file)->i_mode))
		return -EINVAL;
	return tap_stack_is_on(file) ? -ELOOP : 0;
}

/**
 * tap_recover_keep - keep a file for the next tapdisk, and no other any more
 * @tap: the tap, locked
 * @fd: of the caller; -1: none
 *
 * Only what can't hold the tap itself. Return: 0, -EBADF, -EINVAL; -ELOOP for a
 * file on a tap.
 */
int tap_recover_keep(struct blktap *tap, int fd)
{
	struct file *file = NULL;
	int err;

	lockdep_assert_held(&tap->lock);
	if (fd != -1) {
		file = fget(fd);
		if (!file)
			return -EBADF;
		err = kept_check(file);
		if (err) {
			fput(file);
			return err;
		}
	}
	swap(tap->kept, file);
	if (file)
		fput(file);
	return 0;
}

/* Return: a descriptor of what is kept; -ENOENT. Context: blktap.lock. */
int tap_recover_kept(struct blktap *tap)
{
	int fd;

	lockdep_assert_held(&tap->lock);
	if (!tap->kept)
		return -ENOENT;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd >= 0)
		fd_install(fd, get_file(tap->kept));
	return fd;
}

/* --- life --- */

void tap_recover_init(struct blktap *tap)
{
	INIT_LIST_HEAD(&tap->ring.retry);
	tap->ring.timeout = BLKTAP_REQUEST_TIMEOUT;
	tap->ring.backoff = BACKOFF_FIRST;
	INIT_DELAYED_WORK(&tap->watch, watch_work);
	INIT_DELAYED_WORK(&tap->retry, retry_work);
}

/* The disk has gone, and with it every request. Context: may sleep. */
void tap_recover_stop(struct blktap *tap)
{
	cancel_delayed_work_sync(&tap->watch);
	cancel_delayed_work_sync(&tap->retry);
}
