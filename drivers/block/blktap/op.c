// SPDX-License-Identifier: GPL-2.0-only
/*
 * Operations: what is done when an admin asks for it (accept.c). The tap's states
 * change here, and where the ring comes, goes (attach.c) and fails (ring.c).
 *
 * An operation may sleep until its deadline. A tapdisk that has registered gets
 * orders, another one the ring's messages.
 */
#include <linux/slab.h>

#include "blktap.h"

#define OP_RETRY	(HZ / 10)	/* between CLOSEs of a disk that is busy */
#define OP_GRACE	HZ		/* for a tapdisk to agree to what is done anyway */

static long op_left(const struct blktap_op *op)
{
	return max_t(long, op->deadline - jiffies, 0);
}

#define op_wait(op, cond) ({						\
	struct blktap_op *_op = (op);					\
									\
	tap_wait(_op->tap, _op->deadline, cond);			\
})

/* Sets the text that goes with an error, unless the tapdisk has given one. */
static __printf(3, 4) int op_fail(struct blktap_op *op, int err,
				  const char *fmt, ...)
{
	va_list args;

	if (op->text)
		return err;
	va_start(args, fmt);
	op->text = kvasprintf(GFP_KERNEL, fmt, args);
	va_end(args);
	return err;
}

static void op_stage(struct blktap_op *op, u32 stage)
{
	struct blktap *tap = op->tap;

	mutex_lock(&tap->lock);
	tap->stage = stage;
	blktap_changed(tap);
	mutex_unlock(&tap->lock);
}

static struct blktap_tapdisk *op_tapdisk(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	struct blktap_tapdisk *td;

	mutex_lock(&tap->lock);
	td = tap->tapdisk;
	if (td)
		kref_get(&td->ref);
	mutex_unlock(&tap->lock);
	return td;
}

static const char *order_name(u32 order)
{
	static const char * const names[] = {
		[BLKTAP_ORDER_ATTACH]	= "attach",
		[BLKTAP_ORDER_DETACH]	= "detach",
		[BLKTAP_ORDER_OPEN]	= "open its image",
		[BLKTAP_ORDER_CLOSE]	= "close its image",
		[BLKTAP_ORDER_PAUSE]	= "pause",
		[BLKTAP_ORDER_RESUME]	= "resume",
		[BLKTAP_ORDER_STATS]	= "give its statistics",
	};

	return names[order];
}

static int op_order_to(struct blktap_op *op, struct blktap_tapdisk *td,
		       u32 order, const char *name)
{
	int err = blktap_tapdisk_order(td, op->tap, order, op->flags, name,
				       op->deadline, &op->text);

	if (err == -ESRCH)
		return op_fail(op, err, "tap %u: tapdisk %d has gone",
			       op->tap->minor, pid_nr(td->pid));
	if (err == -ETIMEDOUT)
		return op_fail(op, err, "tap %u: tapdisk %d did not %s in time",
			       op->tap->minor, pid_nr(td->pid),
			       order_name(order));
	if (err)
		return op_fail(op, err, "tap %u: tapdisk %d could not %s",
			       op->tap->minor, pid_nr(td->pid),
			       order_name(order));
	return 0;
}

static bool op_message_over(struct blktap *tap)
{
	return READ_ONCE(tap->msg_answered) || !tap_ring_live(&tap->ring);
}

/* Post a message and wait for its ioctl, PAUSE or RESUME. */
static int op_message(struct blktap_op *op, u8 msg)
{
	struct blktap *tap = op->tap;
	int err;

	mutex_lock(&tap->lock);
	tap->msg_answered = false;
	tap->msg_error = 0;
	mutex_unlock(&tap->lock);
	tap_ring_message(&tap->ring, msg);
	err = op_wait(op, op_message_over(tap));
	tap_ring_message(&tap->ring, BLKTAP_MSG_NONE);
	if (err)
		return op_fail(op, err, "tap %u: the tapdisk does not answer messages",
			       tap->minor);
	if (!READ_ONCE(tap->msg_answered))
		return op_fail(op, -EIO, "tap %u: the tapdisk has gone or failed",
			       tap->minor);
	return READ_ONCE(tap->msg_error);
}

/* An order to a registered tapdisk, else the message of the same meaning. */
static int op_ask(struct blktap_op *op, u32 order, u8 msg, const char *name)
{
	struct blktap_tapdisk *td = op_tapdisk(op);
	int err;

	if (!td)
		return op_message(op, msg);
	err = op_order_to(op, td, order, name);
	blktap_tapdisk_put(td);
	return err;
}

static int op_attach(struct blktap_op *op)
{
	struct blktap_tapdisk *td = op->tapdisk;
	struct blktap *tap = op->tap;
	int err = 0;

	/* One that has just gone may be on its way out. */
	flush_work(&tap->detach);
	/* It could not open the image, and tries again. */
	if (op->cmd == BLKTAP_CMD_RECOVER && READ_ONCE(tap->tapdisk) == td)
		return 0;
	if (tap_ring_mapped(&tap->ring))
		return op_fail(op, -EBUSY, "tap %u: a tapdisk is attached already",
			       tap->minor);
	tap_ring_invite(&tap->ring, td->mm);
	err = op_order_to(op, td, BLKTAP_ORDER_ATTACH, NULL);
	tap_ring_invite(&tap->ring, NULL);
	if (err)
		return err;

	mutex_lock(&tap->lock);
	if (tap_ring_mapped_by(&tap->ring, td->mm)) {
		kref_get(&td->ref);
		atomic_inc(&td->taps);
		tap->tapdisk = td;
		blktap_changed(tap);
	} else {
		err = -EPROTO;
	}
	mutex_unlock(&tap->lock);
	return err ? op_fail(op, err, "tap %u: tapdisk %d has not mapped the ring",
			     tap->minor, pid_nr(td->pid)) : 0;
}

static int op_detach(struct blktap_op *op)
{
	struct blktap_tapdisk *td;
	struct blktap *tap = op->tap;
	int err = 0;

	if (!tap_ring_mapped(&tap->ring))
		return op_fail(op, -ENOTCONN, "tap %u: no tapdisk is attached",
			       tap->minor);
	if (READ_ONCE(tap->disk) && tap_ring_joined(&tap->ring))
		return op_fail(op, -EBUSY, "tap %u: its image is open: close it first",
			       tap->minor);
	td = op_tapdisk(op);
	if (td) {
		err = op_order_to(op, td, BLKTAP_ORDER_DETACH, NULL);
		blktap_tapdisk_put(td);
	} else {
		tap_ring_message(&tap->ring, BLKTAP_MSG_CLOSE);
	}
	if (err && tap_ring_mapped(&tap->ring))
		return err;
	err = op_wait(op, !tap_ring_mapped(&tap->ring));
	if (err && !td)
		tap_ring_message(&tap->ring, BLKTAP_MSG_NONE);
	return err ? op_fail(op, err, "tap %u: the tapdisk keeps its ring mapped",
			     tap->minor) : 0;
}

static int op_open_begin(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	mutex_lock(&tap->lock);
	if (tap->disk)
		err = op_fail(op, -EBUSY, "tap %u: an image is open: close it first",
			      tap->minor);
	else if (!tap_ring_live(&tap->ring))
		err = op_fail(op, -ENOTCONN, "tap %u: no tapdisk is attached",
			      tap->minor);
	else
		err = blktap_set_name(tap, op->name);
	mutex_unlock(&tap->lock);
	return err;
}

static int op_open(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	struct blktap_tapdisk *td;
	int err;

	err = op_open_begin(op);
	if (err)
		return err;
	td = op_tapdisk(op);
	if (td) {
		err = op_order_to(op, td, BLKTAP_ORDER_OPEN, op->name);
		blktap_tapdisk_put(td);
	} else {
		err = op_fail(op, -EOPNOTSUPP, "tap %u: its tapdisk takes no orders",
			      tap->minor);
	}
	mutex_lock(&tap->lock);
	if (!err && !tap->disk)
		err = op_fail(op, -EPROTO, "tap %u: the tapdisk has created no disk",
			      tap->minor);
	if (err)
		blktap_set_name(tap, NULL);
	/* It has told of its image, but one that did not answer may have it still. */
	if (td && err && !tap->disk && err != -ETIMEDOUT && err != -ECANCELED)
		blktap_image_forget(tap);
	mutex_unlock(&tap->lock);
	return err;
}

/*
 * What the kernel has written and not committed, or what the last tapdisk had in
 * memory of what it has written, and has left to the next one.
 */
static bool orphan_is_dirty(struct blktap *tap)
{
	lockdep_assert_held(&tap->lock);
	if (tap->kept && tap_ring_dirty(&tap->ring))
		return true;
	return tap->direct && !tap->direct->failed &&
	       tap_layout_is_dirty(&tap->direct->layout);
}

/*
 * A disk that no tapdisk serves, and that nobody has open. What only a tapdisk can
 * commit would be lost: that takes FORCE. A partition scan that waits for a
 * tapdisk is not worth waiting for. Return: -EBUSY: try again.
 */
static int op_close_orphan(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	bool dirty;
	int err;

	mutex_lock(&tap->lock);
	dirty = orphan_is_dirty(tap);
	err = dirty && !tap->dead ? -ENOTCONN : blktap_disk_remove(tap, false);
	mutex_unlock(&tap->lock);
	if (err == -ENOTCONN)
		return op_fail(op, err,
			       "tap %u: only a tapdisk can commit what was written: recover it first, or close it by force",
			       tap->minor);
	if (err == -EBUSY && work_busy(&tap->scan))
		tap_ring_kill(tap);
	return err;
}

/* One try to close a disk that nobody has open. Return: -EBUSY: try again. */
static int op_close_once(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	struct blktap_tapdisk *td;
	int err;

	if (!tap_ring_joined(&tap->ring))
		return op_close_orphan(op);
	td = op_tapdisk(op);
	if (td) {
		err = op_order_to(op, td, BLKTAP_ORDER_CLOSE, NULL);
		if (!err && READ_ONCE(tap->disk))
			err = op_fail(op, -EPROTO,
				      "tap %u: tapdisk %d has not removed the disk",
				      tap->minor, pid_nr(td->pid));
		blktap_tapdisk_put(td);
		return err;
	}
	tap_ring_message(&tap->ring, BLKTAP_MSG_CLOSE);
	err = op_wait(op, !READ_ONCE(tap->disk) || !tap_ring_joined(&tap->ring));
	if (err)
		tap_ring_message(&tap->ring, BLKTAP_MSG_NONE);
	if (err)
		return op_fail(op, err, "tap %u: the tapdisk does not answer messages",
			       tap->minor);
	return READ_ONCE(tap->disk) ? -EBUSY : 0;
}

/* What was written and never flushed: a close is no reason to lose it. */
static int op_sync(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	if (READ_ONCE(tap->paused) || !tap_ring_joined(&tap->ring) ||
	    !tap_direct_use(tap, true))
		return 0;
	err = tap_direct_sync_or_give_up(tap, op->deadline);
	tap_direct_use(tap, false);
	return err ? op_fail(op, err, "tap %u: writing back its layout failed",
			     tap->minor) : 0;
}

static int op_await_guests(struct blktap_op *op)
{
	int err = op_wait(op, !blktap_has_vbd(op->tap));

	return err ? op_fail(op, err, "tap %u: a guest still has its disk",
			     op->tap->minor) : 0;
}

static bool op_disk_claimed(struct blktap_op *op)
{
	bool claimed;

	mutex_lock(&op->tap->lock);
	claimed = blktap_disk_claimed(op->tap);
	mutex_unlock(&op->tap->lock);
	return claimed;
}

/*
 * Waits for the last opener, since blkback lets go of a disk a moment after its
 * guest; but not for one who has it for himself.
 */
static int op_close_disk(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	while (READ_ONCE(tap->disk)) {
		if (op_disk_claimed(op))
			return op_fail(op, -EBUSY,
				       "tap %u: the disk is in use: unmount it first",
				       tap->minor);
		err = op_await_guests(op);
		if (err)
			return err;
		err = op_wait(op, !atomic_read(&tap->openers));
		if (err)
			return op_fail(op, err, "tap %u: the disk is still open",
				       tap->minor);
		err = op_sync(op) ?: op_close_once(op);
		if (err != -EBUSY)
			return err;
		if (!op_left(op) || READ_ONCE(tap->cancel))
			return op_fail(op, -ETIMEDOUT,
				       "tap %u: the disk is still busy",
				       tap->minor);
		kfree(op->text);
		op->text = NULL;
		schedule_timeout_uninterruptible(OP_RETRY);
	}
	return 0;
}

/*
 * Takes the disk away under its users: their I/O fails. The tapdisk closes the
 * image if it can; one that hangs does that when it is detached.
 */
static int op_close_force(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	struct blktap_tapdisk *td;
	int err;

	tap_ring_kill(tap);
	flush_work(&tap->detach);
	err = blktap_disk_kill(tap, op->deadline);
	if (err)
		return op_fail(op, err,
			       "tap %u: a file beneath does not end its I/O: close it again when it does",
			       tap->minor);
	mutex_lock(&tap->lock);
	err = blktap_disk_remove(tap, true);
	mutex_unlock(&tap->lock);
	td = op_tapdisk(op);
	if (!err && td)
		blktap_tapdisk_order(td, tap, BLKTAP_ORDER_CLOSE, op->flags, NULL,
				     jiffies + OP_GRACE, &op->text);
	if (td)
		blktap_tapdisk_put(td);
	return err;
}

static int op_close(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	if (!READ_ONCE(tap->disk))
		return 0;
	if (op->flags & BLKTAP_ORDER_F_FORCE) {
		err = op_close_force(op);
	} else {
		op_stage(op, BLKTAP_STATE_SHUTDOWN_REQUESTED);
		err = op_close_disk(op);
	}
	mutex_lock(&tap->lock);
	if (!tap->disk)
		blktap_set_name(tap, NULL);
	mutex_unlock(&tap->lock);
	return err;
}

static int op_pause_drain(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	op_stage(op, BLKTAP_STATE_QUIESCE_REQUESTED);
	err = op_wait(op, !READ_ONCE(tap->ring.nr_recalls));
	if (err)
		return op_fail(op, err,
			       "tap %u: the tapdisk did not end its recall in time",
			       tap->minor);
	err = tap_direct_close(tap, op->deadline, true);
	if (err)
		return op_fail(op, err, "tap %u: its layout can't be recalled",
			       tap->minor);
	tap_ring_hold(tap, true);
	err = op_wait(op, tap_ring_drained(&tap->ring));
	if (err)
		return op_fail(op, err,
			       "tap %u: the tapdisk did not end its requests in time",
			       tap->minor);
	tap_direct_forget(tap);
	op_stage(op, BLKTAP_STATE_QUIESCED | BLKTAP_STATE_PAUSE_REQUESTED);
	return op_ask(op, BLKTAP_ORDER_PAUSE, BLKTAP_MSG_PAUSE, NULL);
}

/* Requests are taken again. */
static void op_reopen(struct blktap *tap)
{
	tap_ring_hold(tap, false);
	tap_direct_open(tap);
}

static int op_pause(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	if (READ_ONCE(tap->paused))
		return 0;
	if (!READ_ONCE(tap->disk) || !tap_ring_joined(&tap->ring))
		return op_fail(op, -ENOTCONN, "tap %u: no image is open",
			       tap->minor);
	tap_direct_use(tap, true);
	err = op_pause_drain(op);
	if (!err)
		tap_direct_forget_files(tap);
	mutex_lock(&tap->lock);
	if (!err && (!tap->disk || !tap_ring_joined(&tap->ring)))
		err = op_fail(op, -EIO, "tap %u: the tapdisk has gone or failed",
			      tap->minor);
	tap->paused = !err;
	if (!err)
		tap_ring_flushed(&tap->ring);
	mutex_unlock(&tap->lock);
	if (err)
		op_reopen(tap);
	tap_direct_use(tap, false);
	return err;
}

/* What the disk is opened with again. Context: blktap.lock. */
static void op_add_flags(struct blktap_op *op)
{
	struct blktap *tap = op->tap;

	lockdep_assert_held(&tap->lock);
	if (tap->rdonly)
		op->flags |= BLKTAP_ORDER_F_RDONLY;
	if (!tap->direct)
		op->flags |= BLKTAP_ORDER_F_RING;
}

/*
 * The name is set first: a tapdisk that gets messages asks for it (REOPEN).
 * @old then is the former name, to be put back or freed by op_resume_end().
 */
static int op_resume_begin(struct blktap_op *op, bool *renamed, char **old)
{
	struct blktap *tap = op->tap;
	int err = 0;

	*renamed = false;
	mutex_lock(&tap->lock);
	if (!tap->paused) {
		err = op_fail(op, -EINVAL, "tap %u: it is not paused",
			      tap->minor);
	} else if (!tap_ring_live(&tap->ring)) {
		err = op_fail(op, -ENOTCONN, "tap %u: its tapdisk has gone: recover it first",
			      tap->minor);
	} else if (op->name) {
		*old = tap->name;
		tap->name = NULL;
		*renamed = true;
		err = blktap_set_name(tap, op->name);
	} else if (tap->name) {
		op->name = kstrdup(tap->name, GFP_KERNEL);
		err = op->name ? 0 : -ENOMEM;
	}
	op_add_flags(op);
	if (!err)
		blktap_image_forget(tap);
	mutex_unlock(&tap->lock);
	return err;
}

static void op_resume_end(struct blktap_op *op, bool renamed, char *old,
			  int err)
{
	struct blktap *tap = op->tap;
	bool go_on;

	mutex_lock(&tap->lock);
	if (renamed) {
		if (err && tap->paused)
			swap(tap->name, old);
		kfree(old);
	}
	go_on = !err && tap->disk;
	if (tap->paused) {
		tap->paused = err;
		tap->resume_failed = err;
	}
	mutex_unlock(&tap->lock);
	if (go_on)
		op_reopen(tap);
}

/* One that has come while the tap was paused has yet to join it. */
static int op_ask_resume(struct blktap_op *op)
{
	if (tap_ring_joined(&op->tap->ring))
		return op_ask(op, BLKTAP_ORDER_RESUME, BLKTAP_MSG_RESUME,
			      op->name);
	op->flags |= BLKTAP_ORDER_F_JOIN;
	return op_ask(op, BLKTAP_ORDER_OPEN, BLKTAP_MSG_RESUME, op->name);
}

static int op_resume(struct blktap_op *op)
{
	bool renamed;
	char *old;
	int err;

	err = op_resume_begin(op, &renamed, &old);
	if (err && !renamed)
		return err;
	tap_direct_use(op->tap, true);
	if (!err)
		err = op_ask_resume(op);
	if (!err && !tap_ring_joined(&op->tap->ring))
		err = op_fail(op, -EPROTO, "tap %u: the tapdisk does not serve the disk",
			      op->tap->minor);
	op_resume_end(op, renamed, old, err);
	tap_direct_use(op->tap, false);
	return err;
}

static int op_stats(struct blktap_op *op)
{
	struct blktap_tapdisk *td = op_tapdisk(op);
	int err;

	if (!td)
		return op_fail(op, -ENOTCONN, "tap %u: no tapdisk is attached that takes orders",
			       op->tap->minor);
	err = op_order_to(op, td, BLKTAP_ORDER_STATS, NULL);
	blktap_tapdisk_put(td);
	return err;
}

static int op_free(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	op_stage(op, BLKTAP_STATE_SHUTDOWN_REQUESTED);
	flush_work(&tap->detach);
	err = op_close_disk(op) ?: op_await_guests(op);
	if (!err && tap_ring_mapped(&tap->ring))
		err = op_detach(op);
	if (err)
		return err;
	mutex_lock(&tap->lock);
	if (!blktap_vbds_close(tap)) {
		err = op_fail(op, -EBUSY, "tap %u: a guest has just taken it",
			      tap->minor);
	} else if (!tap->disk && tap_ring_remove(&tap->ring)) {
		tap->removed = true;
	} else {
		blktap_vbds_open(tap);
		err = op_fail(op, -EBUSY, "tap %u: a tapdisk has just attached",
			      tap->minor);
	}
	mutex_unlock(&tap->lock);
	if (!err)
		blktap_remove(tap);
	return err;
}

/* Everything is committed, and asked for anew when it is needed again. */
static int op_recall(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	if (READ_ONCE(tap->paused))
		return 0;
	if (!tap_direct_use(tap, true))
		return op_fail(op, -ENOTCONN,
			       "tap %u: it has no disk in layout mode",
			       tap->minor);
	err = tap_direct_close(tap, op->deadline, false);
	if (!err) {
		tap_direct_forget(tap);
		tap_direct_open(tap);
	}
	tap_direct_use(tap, false);
	return err ? op_fail(op, err, "tap %u: its layout can't be recalled",
			     tap->minor) : 0;
}

/* Return: 0, with op->name and the flags that the disk has. */
static int op_recover_begin(struct blktap_op *op, bool *paused)
{
	struct blktap *tap = op->tap;
	int err = 0;

	mutex_lock(&tap->lock);
	*paused = tap->paused;
	op_add_flags(op);
	if (!tap->disk)
		err = op_fail(op, -ENOTCONN, "tap %u: it has no disk: there is nothing to recover",
			      tap->minor);
	else if (tap->dead)
		err = op_fail(op, -EIO, "tap %u: it has failed and can't be recovered: free it",
			      tap->minor);
	else if (tap_ring_joined(&tap->ring))
		err = op_fail(op, -EBUSY, "tap %u: a tapdisk serves it",
			      tap->minor);
	else if (!tap->name)
		err = op_fail(op, -ENOENT,
			      "tap %u: its image is not known: write it to the tap's name in sysfs",
			      tap->minor);
	else
		op->name = kstrdup(tap->name, GFP_KERNEL);
	mutex_unlock(&tap->lock);
	return err ?: op->name ? 0 : -ENOMEM;
}

static int op_recover_open(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	op->flags |= BLKTAP_ORDER_F_JOIN | BLKTAP_ORDER_F_HEIR;
	err = op_order_to(op, op->tapdisk, BLKTAP_ORDER_OPEN, op->name);
	if (!err && !tap_ring_joined(&tap->ring))
		err = op_fail(op, -EPROTO, "tap %u: tapdisk %d does not serve the disk",
			      tap->minor, pid_nr(op->tapdisk->pid));
	return err;
}

/* Attaches a tapdisk to an orphan, and has it open the image again. */
static int op_recover(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	char *text = NULL;
	bool paused;
	int err;

	err = op_recover_begin(op, &paused);
	if (err)
		return err;
	op_stage(op, BLKTAP_STATE_RECOVERING);
	err = op_attach(op);
	if (!err && !paused)
		err = op_recover_open(op);
	else if (err != -ETIMEDOUT)
		return err;
	if (!err || tap_ring_joined(&tap->ring))
		return err;
	/* Also one that was late to attach. */
	blktap_tapdisk_order(op->tapdisk, tap, BLKTAP_ORDER_DETACH, 0, NULL,
			     jiffies + OP_GRACE, &text);
	kfree(text);
	return err;
}

static int op_do(struct blktap_op *op)
{
	switch (op->cmd) {
	case BLKTAP_CMD_RECOVER:
		return op_recover(op);
	case BLKTAP_CMD_ATTACH:
		return op_attach(op);
	case BLKTAP_CMD_DETACH:
		return op_detach(op);
	case BLKTAP_CMD_OPEN:
		return op_open(op);
	case BLKTAP_CMD_CLOSE:
		return op_close(op);
	case BLKTAP_CMD_PAUSE:
		return op_pause(op);
	case BLKTAP_CMD_RESUME:
		return op_resume(op);
	case BLKTAP_CMD_STATS:
		return op_stats(op);
	case BLKTAP_CMD_FREE:
		return op_free(op);
	case BLKTAP_CMD_RECALL:
		return op_recall(op);
	}
	return -EOPNOTSUPP;
}

/* Context: the operation's work item. Return: 0 or a negative errno. */
int blktap_op_do(struct blktap_op *op)
{
	int err = op_do(op);

	if (err != -ECANCELED)
		return err;
	kfree(op->text);
	op->text = NULL;
	return op_fail(op, err, "tap %u: a forced close, or a recovery, has ended this",
		       op->tap->minor);
}
