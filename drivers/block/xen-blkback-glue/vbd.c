// SPDX-License-Identifier: GPL-2.0-only
/*
 * A backend device's life: bound, looked at, tied to a tap, unbound. Binding and
 * unbinding run in xenwatch, the thread that all of Xen's devices share: what has to
 * wait for xenstore is left to a work item.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "glue.h"

static struct workqueue_struct *glue_wq;

static DEFINE_MUTEX(glue_lock);	/* taken under no other lock of ours or blktap's */
static LIST_HEAD(glue_vbds);

static void glue_release(struct kref *ref)
{
	struct glue_vbd *gv = container_of(ref, struct glue_vbd, ref);

	put_device(&gv->xdev->dev);
	kfree(gv->image);
	kfree(gv->text);
	kfree(gv);
}

static void glue_put(struct glue_vbd *gv)
{
	kref_put(&gv->ref, glue_release);
}

static void glue_queue(struct glue_vbd *gv)
{
	kref_get(&gv->ref);
	if (!queue_work(glue_wq, &gv->work))
		glue_put(gv);
}

/*
 * The module stays as long as a guest's disk is on a tap, or asks for one. Fails
 * where the module, or the device, is going.
 */
static bool hold_module(struct glue_vbd *gv)
{
	bool ok;

	mutex_lock(&glue_lock);
	ok = !gv->gone && (gv->holds || try_module_get(THIS_MODULE));
	gv->holds |= ok;
	mutex_unlock(&glue_lock);
	return ok;
}

static void release_module(struct glue_vbd *gv)
{
	bool held;

	mutex_lock(&glue_lock);
	held = gv->holds;
	gv->holds = false;
	mutex_unlock(&glue_lock);
	if (held)
		module_put(THIS_MODULE);
}

/* blktap's word on the tap that was asked for; under blktap's lock. */
static void glue_answer(struct blktap_vbd *vbd, dev_t disk, int err,
			const char *text)
{
	struct glue_vbd *gv = container_of(vbd, struct glue_vbd, vbd);

	gv->disk = disk;
	gv->err = err;
	gv->text = text ? kstrdup(text, GFP_KERNEL) : NULL;
	/* after disk, err and text; the work reads it first */
	smp_store_release(&gv->answered, true);
	glue_queue(gv);
}

static void look(struct glue_vbd *gv)
{
	int err = glue_store_read(gv);

	if (err) {
		gv->err = err;
		gv->text = kasprintf(GFP_KERNEL, "reading its params: error %d",
				     -err);
		gv->told = true;
		glue_store_failed(gv);
	} else if (gv->image && hold_module(gv)) {
		gv->vbd.image = gv->image;
	}
	blktap_vbd_add(&gv->vbd);
}

static void tell(struct glue_vbd *gv)
{
	gv->told = true;
	if (gv->err)
		glue_store_failed(gv);
	else
		glue_store_served(gv);
}

/* Whoever has made it: a tap that blkback is to use is tied to the device. */
static void tie(struct glue_vbd *gv)
{
	dev_t disk = glue_store_disk(gv);
	int err;

	if (!disk || !hold_module(gv))
		return;
	err = blktap_vbd_tie(&gv->vbd, disk);
	if (err && !gv->image)
		release_module(gv);
	if (err && err != -ENXIO)
		dev_warn(&gv->xdev->dev, "tap %u can't be tied to it: %d\n",
			 MINOR(disk), err);
}

static void glue_work(struct work_struct *work)
{
	struct glue_vbd *gv = container_of(work, struct glue_vbd, work);

	if (!READ_ONCE(gv->gone) && !gv->looked) {
		gv->looked = true;
		look(gv);
	}
	/* before disk, err and text */
	if (!READ_ONCE(gv->gone) && smp_load_acquire(&gv->answered) && !gv->told)
		tell(gv);
	if (!READ_ONCE(gv->gone))
		tie(gv);
	glue_put(gv);
}

static struct glue_vbd *glue_find(struct xenbus_device *xdev)
{
	struct glue_vbd *gv;

	lockdep_assert_held(&glue_lock);
	list_for_each_entry(gv, &glue_vbds, node)
		if (gv->xdev == xdev)
			return gv;
	return NULL;
}

static struct glue_vbd *glue_alloc(struct xenbus_device *xdev)
{
	const char *devid = strrchr(xdev->nodename, '/');
	struct glue_vbd *gv;

	/* For xenwatch: I/O that it would wait for may be its own devices'. */
	gv = kzalloc(sizeof(*gv), GFP_NOIO);
	if (!gv)
		return NULL;
	if (!devid || kstrtou32(devid + 1, 10, &gv->vbd.devid)) {
		kfree(gv);
		return NULL;
	}
	kref_init(&gv->ref);
	INIT_WORK(&gv->work, glue_work);
	INIT_LIST_HEAD(&gv->vbd.node);
	get_device(&xdev->dev);
	gv->xdev = xdev;
	gv->vbd.domid = xdev->otherend_id;
	gv->vbd.dev = &xdev->dev;
	gv->vbd.answer = glue_answer;
	return gv;
}

/**
 * glue_bind - xen-blkback has taken a device
 * @xdev: the device, locked
 */
void glue_bind(struct xenbus_device *xdev)
{
	struct glue_vbd *gv = glue_alloc(xdev);

	if (!gv) {
		dev_warn(&xdev->dev, "no tap can be tied to it\n");
		return;
	}
	mutex_lock(&glue_lock);
	if (glue_find(xdev)) {
		glue_put(gv);
	} else {
		list_add_tail(&gv->node, &glue_vbds);
		glue_queue(gv);
	}
	mutex_unlock(&glue_lock);
}

/* The list's reference goes, and with it all that others know of the device. */
static void glue_drop(struct glue_vbd *gv)
{
	blktap_vbd_del(&gv->vbd);
	release_module(gv);
	glue_put(gv);
}

/**
 * glue_unbind - xen-blkback has let go of a device
 * @xdev: the device, locked; still in sysfs
 *
 * Waits neither for the work, which sees that the device has gone, nor for
 * blkback, which may still have the disk open.
 */
void glue_unbind(struct xenbus_device *xdev)
{
	struct glue_vbd *gv;

	mutex_lock(&glue_lock);
	gv = glue_find(xdev);
	if (gv) {
		WRITE_ONCE(gv->gone, true);
		list_del(&gv->node);
	}
	mutex_unlock(&glue_lock);
	if (gv)
		glue_drop(gv);
}

/**
 * glue_changed - something was written beneath the directories of the vbds
 * @path: where
 */
void glue_changed(const char *path)
{
	const char *name = strrchr(path, '/');
	struct glue_vbd *gv;

	/* Of most of it nothing need be known. */
	if (!name || strcmp(name + 1, GLUE_DEVICE))
		return;
	mutex_lock(&glue_lock);
	list_for_each_entry(gv, &glue_vbds, node)
		if (strlen(gv->xdev->nodename) == name - path &&
		    !strncmp(path, gv->xdev->nodename, name - path))
			glue_queue(gv);
	mutex_unlock(&glue_lock);
}

int glue_vbds_init(void)
{
	glue_wq = alloc_workqueue("xen-blkback-glue", WQ_UNBOUND, 0);
	return glue_wq ? 0 : -ENOMEM;
}

/* Nothing calls glue_bind() any more, and no vbd holds the module: none is tied. */
void glue_vbds_exit(void)
{
	struct glue_vbd *gv, *next;
	LIST_HEAD(rest);

	mutex_lock(&glue_lock);
	list_splice_init(&glue_vbds, &rest);
	list_for_each_entry(gv, &rest, node)
		WRITE_ONCE(gv->gone, true);
	mutex_unlock(&glue_lock);
	list_for_each_entry_safe(gv, next, &rest, node)
		glue_drop(gv);
	destroy_workqueue(glue_wq);
}
