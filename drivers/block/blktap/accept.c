// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of an operation: accepted, done, told of.
 *
 * It is a work item, and who asked is not kept waiting. A tap has one at a time, but
 * for STATS, and for those that have the one that they find under way give up.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "blktap.h"

struct workqueue_struct *blktap_wq;
struct workqueue_struct *blktap_op_wq;

static DEFINE_MUTEX(ops_lock);
static LIST_HEAD(ops);

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

static bool op_forces(struct blktap_op *op)
{
	return op->cmd == BLKTAP_CMD_CLOSE && op->flags & BLKTAP_ORDER_F_FORCE;
}

/*
 * A forced close waits for no operation that it finds under way; nor does a
 * recovery, for what that waits for may be the tapdisk which it brings. One that
 * brings a tapdisk itself is left alone.
 */
static bool op_preempts(struct blktap_op *op, struct blktap_op *other)
{
	if (op_forces(op))
		return !op_forces(other);
	return op->cmd == BLKTAP_CMD_RECOVER &&
	       other->cmd != BLKTAP_CMD_RECOVER && !op_forces(other) &&
	       other->cmd != BLKTAP_CMD_ATTACH && blktap_orphaned(op->tap) &&
	       !tap_ring_mapped(&op->tap->ring);
}

/* Return: @op is the tap's operation. */
static bool op_claim(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	bool claimed;

	mutex_lock(&tap->lock);
	if (!tap->op) {
		tap->op = op;
		tap->cancel = false;
	}
	claimed = tap->op == op;
	mutex_unlock(&tap->lock);
	return claimed;
}

/*
 * What it finds under way gives up by itself, once no I/O waits for a tapdisk; but
 * it may wait for a file.
 */
static int op_preempt(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	long left;

	if (op->cmd == BLKTAP_CMD_STATS || READ_ONCE(tap->op) == op)
		return 0;
	if (op_forces(op) && READ_ONCE(tap->disk))
		tap_ring_kill(tap);
	while (!op_claim(op)) {
		left = max_t(long, op->deadline - jiffies, 0);
		if (wait_event_idle_timeout(tap->wait, !READ_ONCE(tap->op),
					    left))
			continue;
		mutex_lock(&tap->lock);
		/* No other one is next while this says so. */
		tap->cancel = false;
		mutex_unlock(&tap->lock);
		op->text = kasprintf(GFP_KERNEL,
				     "tap %u: what is under way waits for a file: try again when that goes on",
				     tap->minor);
		return -ETIMEDOUT;
	}
	return 0;
}

/* While a ring is held nothing here may wait for memory that its disk has. */
static void op_work(struct work_struct *work)
{
	struct blktap_op *op = container_of(work, struct blktap_op, work);
	unsigned int noio = memalloc_noio_save();
	struct blktap *tap = op->tap;

	op->error = op_preempt(op) ?: blktap_op_do(op);
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
	blktap_vbd_clear(tap, op->cmd == BLKTAP_CMD_FREE);
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

static int op_accept(struct blktap_op *op)
{
	struct blktap *tap = op->tap;

	lockdep_assert_held(&tap->lock);
	if (tap->removed)
		return -ENODEV;
	if (op->cmd == BLKTAP_CMD_STATS)
		return 0;
	/* One that is being preempted, or that is about to begin, is the last. */
	if (tap->cancel)
		return -EBUSY;
	if (!tap->op) {
		tap->op = op;
		return 0;
	}
	if (!op_preempts(op, tap->op))
		return -EBUSY;
	tap->cancel = true;
	wake_up_all(&tap->wait);
	return 0;
}

/**
 * blktap_op_start - accept an operation
 * @op: the operation, all of it set
 *
 * Return: 0; -ENODEV where the tap is going, -EBUSY where it has one that can't be
 * preempted.
 */
int blktap_op_start(struct blktap_op *op)
{
	struct blktap *tap = op->tap;
	int err;

	mutex_lock(&tap->lock);
	err = op_accept(op);
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
