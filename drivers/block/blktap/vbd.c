// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guests' disks and the taps that they are tied to. A tap that a vbd is tied to
 * keeps its disk and itself: closing and freeing wait. One that was made for a
 * vbd is freed when it has neither vbds nor openers any more.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "blktap.h"

#define CLEAR_RETRY	(10 * HZ)	/* after a free that failed */

/*
 * Protects the list, the cookies, and all of a vbd that is blktap's. Held for short, since
 * backends come here from a thread that all their devices share; no other lock of
 * the driver is taken under it.
 */
static DEFINE_MUTEX(vbds_lock);
static LIST_HEAD(vbds);
static u32 last_cookie;

/* What is allocated under it does not wait for I/O either: that may be a tap's. */
static unsigned int lock_vbds(void)
{
	mutex_lock(&vbds_lock);
	return memalloc_noio_save();
}

static void unlock_vbds(unsigned int noio)
{
	memalloc_noio_restore(noio);
	mutex_unlock(&vbds_lock);
}

/* Whether a vbd is tied to the tap. */
bool blktap_has_vbd(struct blktap *tap)
{
	return atomic_read(&tap->nr_vbds) > 0;
}

/**
 * blktap_vbds_close - let no vbd be tied any more
 * @tap: the tap, about to be removed
 *
 * Return: false where one is.
 */
bool blktap_vbds_close(struct blktap *tap)
{
	return atomic_cmpxchg(&tap->nr_vbds, 0, INT_MIN) == 0;
}

/* The opposite, for a tap that stays. */
void blktap_vbds_open(struct blktap *tap)
{
	atomic_set(&tap->nr_vbds, 0);
}

static bool nobody_left(struct blktap *tap)
{
	return !blktap_has_vbd(tap) &&
	       !(READ_ONCE(tap->disk) && atomic_read(&tap->openers));
}

/**
 * blktap_vbd_clear - free a tap that was made for a vbd, if it is time
 * @tap: the tap
 * @failed: it was tried, and could not be done
 *
 * Context: any that may not sleep too.
 */
void blktap_vbd_clear(struct blktap *tap, bool failed)
{
	bool queued;

	if (!READ_ONCE(tap->autoclear) || READ_ONCE(tap->removed) ||
	    !nobody_left(tap))
		return;
	/* The work has a reference, and one that waits for a retry has one already. */
	get_device(&tap->dev);
	if (failed)
		queued = queue_delayed_work(blktap_op_wq, &tap->clear,
					    CLEAR_RETRY);
	else
		queued = !mod_delayed_work(blktap_op_wq, &tap->clear, 0);
	if (!queued)
		blktap_put(tap);
}

/* Where the tap has another operation, the end of that one comes back here. */
static void clear_work(struct work_struct *work)
{
	struct blktap *tap = container_of(to_delayed_work(work), struct blktap,
					  clear);
	struct blktap_op *op;

	op = blktap_op_alloc(tap, BLKTAP_CMD_FREE, BLKTAP_TIMEOUT);
	if (op) {
		blktap_op_start(op);
		blktap_op_put(op);
	} else {
		blktap_vbd_clear(tap, true);
	}
	blktap_put(tap);
}

void blktap_vbds_init(struct blktap *tap)
{
	INIT_DELAYED_WORK(&tap->clear, clear_work);
}

/* Links both ways: who looks at one finds the other. */
static void link_vbd(struct blktap_vbd *vbd)
{
	struct kobject *tap = &vbd->tap->dev.kobj;

	if (sysfs_create_link(&vbd->dev->kobj, tap, "tap") ||
	    sysfs_create_link(tap, &vbd->dev->kobj, dev_name(vbd->dev)))
		dev_warn(vbd->dev, "no links in sysfs to tap %u and back\n",
			 vbd->tap->minor);
}

static void unlink_vbd(struct blktap_vbd *vbd)
{
	sysfs_remove_link(&vbd->tap->dev.kobj, dev_name(vbd->dev));
	sysfs_remove_link(&vbd->dev->kobj, "tap");
}

static int tie(struct blktap_vbd *vbd, struct blktap *tap)
{
	lockdep_assert_held(&vbds_lock);
	if (!atomic_inc_unless_negative(&tap->nr_vbds))
		return -ENODEV;
	get_device(&tap->dev);
	vbd->tap = tap;
	link_vbd(vbd);
	blktap_netlink_vbd_event(BLKTAP_EVENT_VBD_ADDED, vbd);
	return 0;
}

static void untie(struct blktap_vbd *vbd)
{
	struct blktap *tap = vbd->tap;

	lockdep_assert_held(&vbds_lock);
	if (!tap)
		return;
	blktap_netlink_vbd_event(BLKTAP_EVENT_VBD_REMOVED, vbd);
	unlink_vbd(vbd);
	vbd->tap = NULL;
	atomic_dec(&tap->nr_vbds);
	/* Pairs with the last opener's atomic_dec_and_test(): one of both sees it. */
	smp_mb__after_atomic();
	wake_up_all(&tap->wait);
	blktap_vbd_clear(tap, false);
	blktap_put(tap);
}

/**
 * blktap_vbd_add - a guest's disk has come
 * @vbd: the disk
 *
 * One that asks for a tap is told to who listens; its answer may come before this
 * returns. Context: may sleep. Return: 0, or -ENODEV where it has gone again.
 */
int blktap_vbd_add(struct blktap_vbd *vbd)
{
	int err = -ENODEV;
	unsigned int noio;

	noio = lock_vbds();
	if (!vbd->gone) {
		list_add_tail(&vbd->node, &vbds);
		last_cookie = (last_cookie + 1) ?: 1;
		vbd->cookie = last_cookie;
		if (vbd->image)
			blktap_netlink_vbd_event(BLKTAP_EVENT_VBD_WANTED, vbd);
		err = 0;
	}
	unlock_vbds(noio);
	return err;
}
EXPORT_SYMBOL_GPL(blktap_vbd_add);

/**
 * blktap_vbd_tie - a backend is to use a block device for a guest's disk
 * @vbd: the disk, added
 * @disk: the block device
 *
 * Context: may sleep. Return: 0, also where it is tied already; -ENXIO where the
 * device is no tap's; -ENODEV where either is going.
 */
int blktap_vbd_tie(struct blktap_vbd *vbd, dev_t disk)
{
	struct blktap *tap;
	unsigned int noio;
	int err = 0;

	if (MAJOR(disk) != blktap_disk_major)
		return -ENXIO;
	tap = blktap_get(MINOR(disk));
	if (!tap)
		return -ENODEV;
	noio = lock_vbds();
	/* One that was made for it, but comes too late, is given up. */
	if (vbd->tap != tap && !vbd->answered)
		untie(vbd);
	if (vbd->gone)
		err = -ENODEV;
	else if (!vbd->tap)
		err = tie(vbd, tap);
	/* Whoever has made this one: another is not asked for any more. */
	if (!err)
		vbd->answered = true;
	unlock_vbds(noio);
	blktap_put(tap);
	return err;
}
EXPORT_SYMBOL_GPL(blktap_vbd_tie);

/**
 * blktap_vbd_del - a guest's disk has gone
 * @vbd: the disk, added or not
 *
 * Waits for nobody. No answer comes after it has returned.
 */
void blktap_vbd_del(struct blktap_vbd *vbd)
{
	unsigned int noio;

	noio = lock_vbds();
	vbd->gone = true;
	if (vbd->tap)
		untie(vbd);
	else if (!list_empty(&vbd->node) && vbd->image)
		blktap_netlink_vbd_event(BLKTAP_EVENT_VBD_REMOVED, vbd);
	list_del_init(&vbd->node);
	unlock_vbds(noio);
}
EXPORT_SYMBOL_GPL(blktap_vbd_del);

/* One that waits for an answer. */
static struct blktap_vbd *find_asking(const struct blktap_vbd_id *id)
{
	struct blktap_vbd *vbd;

	lockdep_assert_held(&vbds_lock);
	list_for_each_entry(vbd, &vbds, node)
		if (vbd->domid == id->domid && vbd->devid == id->devid &&
		    (!id->cookie || vbd->cookie == id->cookie) &&
		    vbd->image && !vbd->answered)
			return vbd;
	return NULL;
}

/**
 * blktap_vbd_made - a tap was made for a guest's disk
 * @id: the disk
 * @tap: the tap, new; it goes with the vbd from now on
 *
 * Takes the place of one that was made before, which nobody has finished.
 * Return: 0, or -ENOENT where no such vbd asks for a tap.
 */
int blktap_vbd_made(const struct blktap_vbd_id *id, struct blktap *tap)
{
	struct blktap_vbd *vbd;
	int err = -ENOENT;
	unsigned int noio;

	noio = lock_vbds();
	vbd = find_asking(id);
	if (vbd) {
		untie(vbd);
		WRITE_ONCE(tap->autoclear, true);
		err = tie(vbd, tap);
	}
	unlock_vbds(noio);
	return err;
}

/**
 * blktap_vbd_answer - say how the making of a tap has ended
 * @id: the disk
 * @err: 0, or a negative errno: its tap, if there is one, is given up
 * @text: why, or NULL
 *
 * Return: 0; -ENOENT where no such vbd asks for a tap; -ENODEV where its tap has
 * no disk.
 */
int blktap_vbd_answer(const struct blktap_vbd_id *id, int err,
		      const char *text)
{
	struct blktap_vbd *vbd;
	unsigned int noio;
	dev_t disk = 0;
	int ret = 0;

	noio = lock_vbds();
	vbd = find_asking(id);
	if (!vbd)
		ret = -ENOENT;
	else if (err)
		untie(vbd);
	else if (!vbd->tap || !READ_ONCE(vbd->tap->disk))
		ret = -ENODEV;
	else
		disk = MKDEV(blktap_disk_major, vbd->tap->minor);
	if (!ret) {
		vbd->answered = true;
		vbd->answer(vbd, disk, err, text);
	}
	unlock_vbds(noio);
	return ret;
}

/**
 * blktap_vbd_each - call a function for vbds, until it says stop
 * @tap: those tied to this tap, or NULL: all
 * @from: how many to leave out
 * @fn: returns an error to stop; may not call back here
 * @arg: for @fn
 *
 * Return: how many @fn was called for with success.
 */
unsigned int blktap_vbd_each(struct blktap *tap, unsigned int from,
			     int (*fn)(struct blktap_vbd *vbd, void *arg),
			     void *arg)
{
	unsigned int index = 0, done = 0, noio;
	struct blktap_vbd *vbd;

	noio = lock_vbds();
	list_for_each_entry(vbd, &vbds, node) {
		if (tap && vbd->tap != tap)
			continue;
		if (index++ < from)
			continue;
		if (fn(vbd, arg))
			break;
		done++;
	}
	unlock_vbds(noio);
	return done;
}
