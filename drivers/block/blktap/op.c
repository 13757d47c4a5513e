// SPDX-License-Identifier: GPL-2.0-only
/*
 * Operations: what an admin asks of a tap, from its acceptance to its end. The
 * tap's states change here, and where the ring goes (ring.c).
 *
 * An operation is a work item that may sleep until its deadline; who asked is
 * not kept waiting. A tap has one at a time, but for STATS. A tapdisk that has
 * registered gets orders, another one the ring's messages.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "blktap.h"

#define OP_RETRY	(HZ / 10)	/* between CLOSEs of a disk that is busy */

struct workqueue_struct *blktap_wq;
struct workqueue_struct *blktap_op_wq;

static DEFINE_MUTEX(ops_lock);
static LIST_HEAD(ops);

static long op_left(const struct blktap_op *op)
{
	return max_t(long, op->deadline - jiffies, 0);
}

/* Wait for @cond, looked at whenever the tap changes. */
#define op_wait(op, cond) ({						\
	struct blktap_op *_op = (op);					\
									\
	wait_event_idle_timeout(_op->tap->wait, cond, op_left(_op)) ?	\
		0 : -ETIMEDOUT;						\
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

	if (tap_ring_mapped(&tap->ring))
		return op_fail(op, -EBUSY, "tap %u: a tapdisk is attached already",
			       tap->minor);
	err = op_order_to(op, td, BLKTAP_ORDER_ATTACH, NULL);
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
	if (READ_ONCE(tap->disk))
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
	mutex_unlock(&tap->lock);
	return err;
}

/* One try to close a disk that nobody has open. Return: -EBUSY: try again. */
static int op_close_once(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	struct blktap_tapdisk *td;
	int err;

	if (!tap_ring_live(&tap->ring)) {
		mutex_lock(&tap->lock);
		err = blktap_disk_remove(tap, false);
		mutex_unlock(&tap->lock);
		return err;
	}
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
	err = op_wait(op, !READ_ONCE(tap->disk) || !tap_ring_live(&tap->ring));
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

	if (READ_ONCE(tap->paused) || !tap_ring_live(&tap->ring) ||
	    !tap_direct_use(tap, true))
		return 0;
	err = tap_direct_sync_or_give_up(tap, op->deadline);
	tap_direct_use(tap, false);
	return err ? op_fail(op, err, "tap %u: writing back its layout failed",
			     tap->minor) : 0;
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
		err = op_wait(op, !atomic_read(&tap->openers));
		if (err)
			return op_fail(op, err, "tap %u: the disk is still open",
				       tap->minor);
		err = op_sync(op) ?: op_close_once(op);
		if (err != -EBUSY)
			return err;
		if (!op_left(op))
			return op_fail(op, -ETIMEDOUT,
				       "tap %u: the disk is still busy",
				       tap->minor);
		kfree(op->text);
		op->text = NULL;
		schedule_timeout_uninterruptible(OP_RETRY);
	}
	return 0;
}

/* Takes the disk away under its users: their I/O fails. */
static int op_close_force(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	struct blktap_tapdisk *td;
	int err;

	tap_ring_fail(tap, "lost its disk by force");
	flush_work(&tap->detach);
	mutex_lock(&tap->lock);
	err = blktap_disk_remove(tap, true);
	mutex_unlock(&tap->lock);
	td = op_tapdisk(op);
	if (err || !td)
		return err;
	err = op_order_to(op, td, BLKTAP_ORDER_CLOSE, NULL);
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
	if (op_wait(op, !READ_ONCE(tap->ring.nr_recalls)))
		return op_fail(op, -ETIMEDOUT,
			       "tap %u: the tapdisk did not end its recall in time",
			       tap->minor);
	err = tap_direct_close(tap, op->deadline, true);
	if (err)
		return op_fail(op, err, "tap %u: its layout can't be recalled",
			       tap->minor);
	tap_ring_hold(tap, true);
	if (op_wait(op, tap_ring_drained(&tap->ring)))
		return op_fail(op, -ETIMEDOUT,
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
	if (!READ_ONCE(tap->disk) || !tap_ring_live(&tap->ring))
		return op_fail(op, -ENOTCONN, "tap %u: no image is open",
			       tap->minor);
	tap_direct_use(tap, true);
	err = op_pause_drain(op);
	if (!err)
		tap_direct_forget_files(tap);
	mutex_lock(&tap->lock);
	if (!err && (!tap->disk || !tap_ring_live(&tap->ring)))
		err = op_fail(op, -EIO, "tap %u: the tapdisk has gone or failed",
			      tap->minor);
	tap->paused = !err;
	mutex_unlock(&tap->lock);
	if (err)
		op_reopen(tap);
	tap_direct_use(tap, false);
	return err;
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
	} else if (op->name) {
		*old = tap->name;
		tap->name = NULL;
		*renamed = true;
		err = blktap_set_name(tap, op->name);
	} else if (tap->name) {
		op->name = kstrdup(tap->name, GFP_KERNEL);
		err = op->name ? 0 : -ENOMEM;
	}
	if (tap->rdonly)
		op->flags |= BLKTAP_ORDER_F_RDONLY;
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
		err = op_ask(op, BLKTAP_ORDER_RESUME, BLKTAP_MSG_RESUME,
			     op->name);
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

/*
 * A tapdisk that dies over the close leaves a dead disk, with nothing to write
 * back; detach_work() could not begin another FREE while this one is under way.
 */
static int op_free_disk(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	bool live = tap_ring_live(&tap->ring);
	int err = op_close_disk(op);

	if (!err || !live || tap_ring_live(&tap->ring))
		return err;
	kfree(op->text);
	op->text = NULL;
	flush_work(&tap->detach);
	return op_close_disk(op);
}

static int op_free(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	op_stage(op, BLKTAP_STATE_SHUTDOWN_REQUESTED);
	flush_work(&tap->detach);
	err = op_free_disk(op);
	if (!err && tap_ring_mapped(&tap->ring))
		err = op_detach(op);
	if (err)
		return err;
	mutex_lock(&tap->lock);
	if (!tap->disk && tap_ring_remove(&tap->ring))
		tap->removed = true;
	else
		err = op_fail(op, -EBUSY, "tap %u: a tapdisk has just attached",
			      tap->minor);
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

static int op_do(struct blktap_op *op)
{
	switch (op->cmd) {
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

/* Who asked gets DONE only if its socket, and so its port, is still there. */
static void op_tell(struct blktap_op *op)
{
	struct sk_buff *skb = blktap_netlink_done(op);

	mutex_lock(&ops_lock);
	list_del_init(&op->node);
	if (skb)
		blktap_netlink_send(skb, op->portid);
	mutex_unlock(&ops_lock);
}

/* While a ring is held nothing here may wait for memory that its disk has. */
static void op_work(struct work_struct *work)
{
	struct blktap_op *op = container_of(work, struct blktap_op, work);
	unsigned int noio = memalloc_noio_save();
	struct blktap *tap = op->tap;

	op->error = op_do(op);
	if (READ_ONCE(blktap_verbosity) > 0)
		pr_info("tap %u: command %u: %d %s\n", tap->minor, op->cmd,
			op->error, op->text ?: "");
	mutex_lock(&tap->lock);
	if (tap->op == op) {
		tap->op = NULL;
		tap->stage = 0;
		blktap_changed(tap);
	}
	mutex_unlock(&tap->lock);
	op_tell(op);
	complete_all(&op->done);
	blktap_op_put(op);
	memalloc_noio_restore(noio);
}

static void op_release(struct kref *ref)
{
	struct blktap_op *op = container_of(ref, struct blktap_op, ref);

	if (op->tapdisk)
		blktap_tapdisk_put(op->tapdisk);
	blktap_put(op->tap);
	kfree(op->name);
	kfree(op->text);
	kfree(op);
}

void blktap_op_put(struct blktap_op *op)
{
	kref_put(&op->ref, op_release);
}

/**
 * blktap_op_alloc - prepare an operation
 * @tap: the tap; referenced
 * @cmd: BLKTAP_CMD_*, one that ends in DONE
 * @timeout: in seconds, from now
 *
 * Return: the operation, to be put with blktap_op_put(), or NULL.
 */
struct blktap_op *blktap_op_alloc(struct blktap *tap, u32 cmd,
				  unsigned int timeout)
{
	struct blktap_op *op = kzalloc(sizeof(*op), GFP_KERNEL);

	if (!op)
		return NULL;
	INIT_WORK(&op->work, op_work);
	INIT_LIST_HEAD(&op->node);
	kref_init(&op->ref);
	init_completion(&op->done);
	get_device(&tap->dev);
	op->tap = tap;
	op->cmd = cmd;
	op->deadline = jiffies + timeout * HZ;
	return op;
}

/**
 * blktap_op_start - accept an operation
 * @op: the operation, all of it set
 *
 * Return: 0; -ENODEV where the tap is going, -EBUSY where it has one.
 */
int blktap_op_start(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err = 0;

	mutex_lock(&tap->lock);
	if (tap->removed)
		err = -ENODEV;
	else if (op->cmd != BLKTAP_CMD_STATS && tap->op)
		err = -EBUSY;
	else if (op->cmd != BLKTAP_CMD_STATS)
		tap->op = op;
	mutex_unlock(&tap->lock);
	if (err)
		return err;

	kref_get(&op->ref);
	mutex_lock(&ops_lock);
	list_add_tail(&op->node, &ops);
	mutex_unlock(&ops_lock);
	queue_work(blktap_op_wq, &op->work);
	return 0;
}

/**
 * blktap_op_run - do an operation and wait for its end
 * @tap: the tap
 * @cmd: BLKTAP_CMD_*, one without arguments
 *
 * Context: sleeps, with no lock held. Return: the operation's error, or
 * -EINTR when a signal came; the operation goes on then.
 */
int blktap_op_run(struct blktap *tap, u32 cmd)
{
	struct blktap_op *op = blktap_op_alloc(tap, cmd, BLKTAP_TIMEOUT);
	int err;

	if (!op)
		return -ENOMEM;
	err = blktap_op_start(op);
	if (!err)
		err = wait_for_completion_interruptible(&op->done) ?
		      -EINTR : op->error;
	blktap_op_put(op);
	return err;
}

/**
 * blktap_op_free - FREE_TAP: free an idle tap, ask for the end of another
 * @tap: the tap
 */
int blktap_op_free(struct blktap *tap)
{
	struct blktap_op *op;
	int err;

	flush_work(&tap->detach);
	if (!tap_ring_mapped(&tap->ring) && !READ_ONCE(tap->disk))
		return blktap_op_run(tap, BLKTAP_CMD_FREE);
	WRITE_ONCE(tap->free_wanted, true);
	if (!READ_ONCE(tap->tapdisk))
		tap_ring_message(&tap->ring, BLKTAP_MSG_CLOSE);
	op = blktap_op_alloc(tap, BLKTAP_CMD_FREE, BLKTAP_TIMEOUT);
	if (!op)
		return -ENOMEM;
	err = blktap_op_start(op);
	blktap_op_put(op);
	return err;
}

/**
 * blktap_op_requester_gone - nobody listens at a port any more
 * @portid: the netlink port; it may soon be another's
 */
void blktap_op_requester_gone(u32 portid)
{
	struct blktap_op *op;

	mutex_lock(&ops_lock);
	list_for_each_entry(op, &ops, node)
		if (op->portid == portid)
			op->portid = 0;
	mutex_unlock(&ops_lock);
}

int blktap_op_init(void)
{
	blktap_wq = alloc_workqueue("blktap", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!blktap_wq)
		return -ENOMEM;
	blktap_op_wq = alloc_workqueue("blktap-op", WQ_UNBOUND | WQ_MEM_RECLAIM,
				       WQ_MAX_ACTIVE);
	if (blktap_op_wq)
		return 0;
	destroy_workqueue(blktap_wq);
	return -ENOMEM;
}

void blktap_op_exit(void)
{
	destroy_workqueue(blktap_op_wq);
	destroy_workqueue(blktap_wq);
}
