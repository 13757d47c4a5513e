// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tap's life: minors, the class device that embodies it, its name and state.
 *
 * A tap is allocated, attached when a tapdisk has mapped its ring, live when
 * that tapdisk has created the disk, paused and resumed, orphaned when the ring
 * goes under a disk, until another tapdisk has joined, and dead when the ring
 * fails. What the outside sees of this is blktap_state().
 */
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "blktap.h"
#include "compat.h"

DEFINE_XARRAY_ALLOC(blktap_taps);
int blktap_verbosity;

static char *blktap_devnode(DEVNODE_CONST struct device *dev, umode_t *mode)
{
	if (mode)
		*mode = 0600;
	return kasprintf(GFP_KERNEL, "xen/blktap-2/%s", dev_name(dev));
}

static void blktap_release(struct device *dev)
{
	struct blktap *tap = container_of(dev, struct blktap, dev);

	kfree(tap->name);
	put_pid(tap->ring.pid);
	if (tap->ring.left)
		mmdrop(tap->ring.left);
	kfree(tap);
	module_put(THIS_MODULE);
}

static struct class blktap_class = {
	.name		= "blktap2",
	.devnode	= blktap_devnode,
	.class_groups	= blktap_class_groups,
	.dev_groups	= blktap_tap_groups,
	.dev_release	= blktap_release,
};

static void blktap_init(struct blktap *tap)
{
	mutex_init(&tap->lock);
	init_waitqueue_head(&tap->wait);
	INIT_LIST_HEAD(&tap->pool_node);
	INIT_LIST_HEAD(&tap->image);
	blktap_vbds_init(tap);
	tap_ring_init(&tap->ring);
	device_initialize(&tap->dev);
	tap->dev.class = &blktap_class;
}

/**
 * blktap_alloc - make a tap
 * @minor: the minor it is to have, or -1 for the first free one
 *
 * Context: may sleep. Return: the tap with a reference for the caller, besides
 * the one that blktap_remove() drops; -EEXIST where @minor is taken.
 */
struct blktap *blktap_alloc(int minor)
{
	struct xa_limit limit = XA_LIMIT(minor < 0 ? 0 : minor,
					 minor < 0 ? BLKTAP_MINORS - 1 : minor);
	struct blktap *tap;
	int err;

	if (minor >= (int)BLKTAP_MINORS)
		return ERR_PTR(-EINVAL);
	if (!try_module_get(THIS_MODULE))
		return ERR_PTR(-ENODEV);
	tap = kzalloc(sizeof(*tap), GFP_KERNEL);
	if (!tap) {
		module_put(THIS_MODULE);
		return ERR_PTR(-ENOMEM);
	}
	blktap_init(tap);

	err = xa_alloc(&blktap_taps, &tap->minor, XA_ZERO_ENTRY, limit,
		       GFP_KERNEL);
	if (err) {
		err = err == -EBUSY ? -EEXIST : err;
		goto out_put;
	}
	tap->dev.devt = MKDEV(MAJOR(blktap_ring_dev), tap->minor);
	err = dev_set_name(&tap->dev, "blktap%u", tap->minor);
	if (err)
		goto out_minor;
	err = blktap_pool_move(tap, NULL);
	if (err)
		goto out_minor;
	get_device(&tap->dev);
	tap->removed = true;
	err = device_add(&tap->dev);
	if (err)
		goto out_ref;

	xa_store(&blktap_taps, tap->minor, tap, GFP_KERNEL);
	mutex_lock(&tap->lock);
	tap->removed = false;
	mutex_unlock(&tap->lock);
	blktap_netlink_event(BLKTAP_EVENT_TAP_ADDED, tap, NULL);
	return tap;

out_ref:
	put_device(&tap->dev);
	blktap_pool_leave(tap);
out_minor:
	xa_erase(&blktap_taps, tap->minor);
out_put:
	put_device(&tap->dev);
	return ERR_PTR(err);
}

/**
 * blktap_get - look up a tap
 * @minor: its minor
 *
 * Return: the tap with a reference for the caller, or NULL.
 */
struct blktap *blktap_get(unsigned int minor)
{
	struct blktap *tap;

	xa_lock(&blktap_taps);
	tap = xa_load(&blktap_taps, minor);
	if (tap)
		get_device(&tap->dev);
	xa_unlock(&blktap_taps);
	return tap;
}

/**
 * blktap_find - the first tap from a minor on
 * @minor: where to begin; set to the minor of the tap found
 *
 * Return: the tap with a reference for the caller, or NULL.
 */
struct blktap *blktap_find(unsigned long *minor)
{
	struct blktap *tap;

	xa_lock(&blktap_taps);
	tap = xa_find(&blktap_taps, minor, BLKTAP_MINORS - 1, XA_PRESENT);
	if (tap)
		get_device(&tap->dev);
	xa_unlock(&blktap_taps);
	return tap;
}

void blktap_put(struct blktap *tap)
{
	put_device(&tap->dev);
}

/**
 * blktap_remove - take a tap out of the world
 * @tap: the tap; the caller has set removed, under its lock, when there was
 *	neither a mapping nor a disk, so that there can be no more
 *
 * The minor stays taken until the device has gone. The tap itself goes with its
 * last reference. Context: may sleep; not from a sysfs attribute of the tap.
 */
void blktap_remove(struct blktap *tap)
{
	xa_store(&blktap_taps, tap->minor, XA_ZERO_ENTRY, GFP_KERNEL);
	blktap_netlink_event(BLKTAP_EVENT_TAP_REMOVED, tap, NULL);
	device_del(&tap->dev);
	mutex_lock(&tap->lock);
	blktap_pool_leave(tap);
	mutex_unlock(&tap->lock);
	xa_erase(&blktap_taps, tap->minor);
	put_device(&tap->dev);
}

/**
 * blktap_set_name - set or clear the image name
 * @tap: the tap, locked
 * @name: type:/path, copied; NULL or empty: none
 */
int blktap_set_name(struct blktap *tap, const char *name)
{
	char *copy = NULL;

	lockdep_assert_held(&tap->lock);
	if (name && *name) {
		/* A recovery may wait for this lock. */
		copy = kstrdup(name, GFP_NOIO);
		if (!copy)
			return -ENOMEM;
	}
	kfree(tap->name);
	tap->name = copy;
	return 0;
}

/**
 * blktap_orphaned - has a tap a disk that no tapdisk serves, or could resume?
 * @tap: the tap, locked
 */
bool blktap_orphaned(struct blktap *tap)
{
	lockdep_assert_held(&tap->lock);
	return tap->disk && !tap->dead && !tap_ring_joined(&tap->ring) &&
	       !(tap->paused && tap_ring_live(&tap->ring));
}

/**
 * blktap_state - BLKTAP_STATE_* bits of a tap
 * @tap: the tap, locked
 */
u32 blktap_state(struct blktap *tap)
{
	u32 state = tap->stage;

	lockdep_assert_held(&tap->lock);
	if (tap->dead)
		return state | BLKTAP_STATE_DEAD;
	if (READ_ONCE(tap->ring.stalled))
		state |= BLKTAP_STATE_STALLED;
	if (READ_ONCE(tap->ring.no_space))
		state |= BLKTAP_STATE_NO_SPACE;
	if (blktap_orphaned(tap))
		state |= BLKTAP_STATE_ORPHANED;
	if (tap->paused)
		state |= BLKTAP_STATE_CLOSED | BLKTAP_STATE_QUIESCED |
			 BLKTAP_STATE_PAUSED;
	else if (!tap->disk && tap_ring_mapped(&tap->ring))
		state |= BLKTAP_STATE_CLOSED;
	if (tap->resume_failed)
		state |= BLKTAP_STATE_RESUME_FAILED;
	return state;
}

/**
 * blktap_changed - tell who waits, and who listens, that a tap has changed
 * @tap: the tap, locked
 */
void blktap_changed(struct blktap *tap)
{
	lockdep_assert_held(&tap->lock);
	wake_up_all(&tap->wait);
	if (!tap->removed)
		blktap_netlink_event(BLKTAP_EVENT_TAP_STATE, tap, NULL);
}

int blktap_class_init(void)
{
	return class_register(&blktap_class);
}

void blktap_class_exit(void)
{
	class_unregister(&blktap_class);
}
