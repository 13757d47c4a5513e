// SPDX-License-Identifier: GPL-2.0-only
/*
 * Registered tapdisks: processes that take orders through an open file of the
 * control node. An order lives on the stack of the one who waits for its
 * answer; it is on a list of the tapdisk's exactly while it is waited for.
 */
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "blktap.h"

static DEFINE_MUTEX(tapdisks_lock);
static LIST_HEAD(tapdisks);

/**
 * struct tapdisk_order - an order that is waited for
 * @node: in the tapdisk's queue, or in its sent list; empty when answered
 * @tap: the tap that it is about
 * @head: what the tapdisk reads
 * @name: and the name that follows, or NULL
 * @status: the answer
 * @text: its text, or NULL; the waiter's to free
 */
struct tapdisk_order {
	struct list_head node;
	struct blktap *tap;
	struct blktap_order head;
	const char *name;
	int status;
	char *text;
};

static void tapdisk_free(struct kref *ref)
{
	struct blktap_tapdisk *td = container_of(ref, struct blktap_tapdisk,
						 ref);

	mmdrop(td->mm);
	put_pid(td->pid);
	kfree(td);
}

void blktap_tapdisk_put(struct blktap_tapdisk *td)
{
	kref_put(&td->ref, tapdisk_free);
}

static struct blktap_tapdisk *tapdisk_lookup(struct pid *pid)
{
	struct blktap_tapdisk *td;

	lockdep_assert_held(&tapdisks_lock);
	list_for_each_entry(td, &tapdisks, node)
		if (td->pid == pid)
			return td;
	return NULL;
}

/**
 * blktap_tapdisk_register - make the calling process a tapdisk
 *
 * Return: the tapdisk, to be ended with blktap_tapdisk_close(); -EBUSY where
 * the process is one already.
 */
struct blktap_tapdisk *blktap_tapdisk_register(void)
{
	struct blktap_tapdisk *td = kzalloc(sizeof(*td), GFP_KERNEL);

	if (!td)
		return ERR_PTR(-ENOMEM);
	kref_init(&td->ref);
	spin_lock_init(&td->lock);
	INIT_LIST_HEAD(&td->queue);
	INIT_LIST_HEAD(&td->sent);
	init_waitqueue_head(&td->poll);
	td->pid = get_pid(task_tgid(current));
	td->mm = current->mm;
	mmgrab(td->mm);

	mutex_lock(&tapdisks_lock);
	if (tapdisk_lookup(td->pid)) {
		mutex_unlock(&tapdisks_lock);
		blktap_tapdisk_put(td);
		return ERR_PTR(-EBUSY);
	}
	list_add_tail(&td->node, &tapdisks);
	mutex_unlock(&tapdisks_lock);
	blktap_netlink_event(BLKTAP_EVENT_TAPDISK_ADDED, NULL, td->pid);
	return td;
}

/* Context: blktap_tapdisk.lock. */
static void order_answer(struct tapdisk_order *order, int status, char *text)
{
	list_del_init(&order->node);
	order->status = status;
	order->text = text;
	wake_up_all(&order->tap->wait);
}

static void orders_fail(struct list_head *list)
{
	struct tapdisk_order *order, *next;

	list_for_each_entry_safe(order, next, list, node)
		order_answer(order, -ESRCH, NULL);
}

/**
 * blktap_tapdisk_close - the tapdisk's file is closed: it takes no more orders
 * @td: the tapdisk
 */
void blktap_tapdisk_close(struct blktap_tapdisk *td)
{
	mutex_lock(&tapdisks_lock);
	list_del(&td->node);
	mutex_unlock(&tapdisks_lock);

	spin_lock(&td->lock);
	td->gone = true;
	orders_fail(&td->queue);
	orders_fail(&td->sent);
	spin_unlock(&td->lock);

	blktap_netlink_event(BLKTAP_EVENT_TAPDISK_GONE, NULL, td->pid);
	blktap_tapdisk_put(td);
}

/* Return: the tapdisk that is this process, with a reference, or NULL. */
struct blktap_tapdisk *blktap_tapdisk_find(struct pid *pid)
{
	struct blktap_tapdisk *td;

	mutex_lock(&tapdisks_lock);
	td = tapdisk_lookup(pid);
	if (td)
		kref_get(&td->ref);
	mutex_unlock(&tapdisks_lock);
	return td;
}

/* Return: the @n-th tapdisk, with a reference, or NULL: to walk them. */
struct blktap_tapdisk *blktap_tapdisk_nth(unsigned int n)
{
	struct blktap_tapdisk *td, *found = NULL;

	mutex_lock(&tapdisks_lock);
	list_for_each_entry(td, &tapdisks, node) {
		if (n--)
			continue;
		kref_get(&td->ref);
		found = td;
		break;
	}
	mutex_unlock(&tapdisks_lock);
	return found;
}

static bool order_post(struct blktap_tapdisk *td, struct tapdisk_order *order)
{
	static atomic64_t last_id;
	bool gone;

	order->head.id = atomic64_inc_return(&last_id);
	spin_lock(&td->lock);
	gone = td->gone;
	if (!gone)
		list_add_tail(&order->node, &td->queue);
	spin_unlock(&td->lock);
	if (!gone)
		wake_up_interruptible_poll(&td->poll, EPOLLIN | EPOLLRDNORM);
	return !gone;
}

/* Return: it was answered. Where it is answered the lock is held to the end. */
static bool order_withdraw(struct blktap_tapdisk *td,
			   struct tapdisk_order *order)
{
	bool answered;

	spin_lock(&td->lock);
	answered = list_empty(&order->node);
	list_del_init(&order->node);
	spin_unlock(&td->lock);
	return answered;
}

/**
 * blktap_tapdisk_order - order something of a tapdisk and wait for its answer
 * @td: the tapdisk
 * @tap: the tap that it is about
 * @op: BLKTAP_ORDER_*
 * @flags: BLKTAP_ORDER_F_*
 * @name: an image name, or NULL; used until this returns
 * @deadline: in jiffies
 * @text: set to the answer's text, if it has one; the caller frees it
 *
 * Context: sleeps, with no lock held. Return: the tapdisk's status, -ESRCH
 * where it has gone, -ETIMEDOUT, -ECANCELED.
 */
int blktap_tapdisk_order(struct blktap_tapdisk *td, struct blktap *tap,
			 u32 op, u32 flags, const char *name,
			 unsigned long deadline, char **text)
{
	struct tapdisk_order order = {
		.tap = tap,
		.head = {
			.op = op,
			.minor = tap->minor,
			.flags = flags,
			.name_len = name ? strlen(name) + 1 : 0,
		},
		.name = name,
	};
	int err;

	if (!order_post(td, &order))
		return -ESRCH;
	err = tap_wait(tap, deadline, list_empty_careful(&order.node));
	if (!order_withdraw(td, &order))
		return err;
	kfree(*text);
	*text = order.text;
	return order.status;
}

/* Return: bytes of the first queued order, now sent, copied to @buf; or 0. */
static size_t order_take(struct blktap_tapdisk *td, char *buf, u64 *id)
{
	struct tapdisk_order *order;
	size_t len = 0;

	spin_lock(&td->lock);
	order = list_first_entry_or_null(&td->queue, struct tapdisk_order,
					 node);
	if (order) {
		*id = order->head.id;
		len = sizeof(order->head) + order->head.name_len;
		memcpy(buf, &order->head, sizeof(order->head));
		memcpy(buf + sizeof(order->head), order->name,
		       order->head.name_len);
		list_move_tail(&order->node, &td->sent);
	}
	spin_unlock(&td->lock);
	return len;
}

static struct tapdisk_order *order_sent(struct blktap_tapdisk *td, u64 id)
{
	struct tapdisk_order *order;

	lockdep_assert_held(&td->lock);
	list_for_each_entry(order, &td->sent, node)
		if (order->head.id == id)
			return order;
	return NULL;
}

static void order_untake(struct blktap_tapdisk *td, u64 id)
{
	struct tapdisk_order *order;

	spin_lock(&td->lock);
	order = order_sent(td, id);
	if (order)
		list_move(&order->node, &td->queue);
	spin_unlock(&td->lock);
}

static bool orders_queued(struct blktap_tapdisk *td)
{
	bool queued;

	spin_lock(&td->lock);
	queued = !list_empty(&td->queue);
	spin_unlock(&td->lock);
	return queued;
}

/* read() of the channel: one order, whole. */
ssize_t blktap_tapdisk_read(struct blktap_tapdisk *td, struct file *file,
			    char __user *buf, size_t len)
{
	size_t taken;
	char *order;
	u64 id;
	int err;

	if (len < BLKTAP_ORDER_MAX)
		return -EINVAL;
	order = kmalloc(BLKTAP_ORDER_MAX, GFP_KERNEL);
	if (!order)
		return -ENOMEM;
	while (!(taken = order_take(td, order, &id))) {
		err = -EAGAIN;
		if (file->f_flags & O_NONBLOCK)
			goto out;
		err = wait_event_interruptible(td->poll, orders_queued(td));
		if (err)
			goto out;
	}
	err = taken;
	if (copy_to_user(buf, order, taken)) {
		order_untake(td, id);
		err = -EFAULT;
	}
out:
	kfree(order);
	return err;
}

static char *answer_text(const char __user *buf, size_t len)
{
	return len ? memdup_user_nul(buf, len) : NULL;
}

/* write() of the channel: one answer, whole. */
ssize_t blktap_tapdisk_write(struct blktap_tapdisk *td, const char __user *buf,
			     size_t len)
{
	struct blktap_answer answer;
	struct tapdisk_order *order;
	char *text;

	if (len < sizeof(answer))
		return -EINVAL;
	if (copy_from_user(&answer, buf, sizeof(answer)))
		return -EFAULT;
	if (answer.len >= BLKTAP_TEXT_MAX ||
	    len != sizeof(answer) + answer.len ||
	    answer.status > 0 || answer.status < -MAX_ERRNO)
		return -EINVAL;
	text = answer_text(buf + sizeof(answer), answer.len);
	if (IS_ERR(text))
		return PTR_ERR(text);

	spin_lock(&td->lock);
	order = order_sent(td, answer.id);
	if (order)
		order_answer(order, answer.status, text);
	spin_unlock(&td->lock);
	if (order)
		return len;
	kfree(text);
	return -ENOENT;
}

__poll_t blktap_tapdisk_poll(struct blktap_tapdisk *td, struct file *file,
			     struct poll_table_struct *wait)
{
	__poll_t mask = EPOLLOUT | EPOLLWRNORM;

	poll_wait(file, &td->poll, wait);
	if (orders_queued(td))
		mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}
