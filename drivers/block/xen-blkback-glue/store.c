// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the glue reads and writes in a backend device's directory in xenstore. The
 * toolstack writes params and mode before there is a device. blkback reads
 * physical-device, once; hotplug-status and hotplug-error are for scripts.
 */
#include <linux/blktap.h>
#include <linux/kdev_t.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "glue.h"

/**
 * glue_store_read - read whether a device asks for a tap
 * @gv: the device; image and rdonly are set if so
 *
 * Return: 0, also where it does not; or a negative errno.
 */
int glue_store_read(struct glue_vbd *gv)
{
	const char *dir = gv->xdev->nodename;
	char *params, *mode;
	unsigned int len;

	params = xenbus_read(XBT_NIL, dir, "params", &len);
	if (IS_ERR(params))
		return XENBUS_EXIST_ERR(PTR_ERR(params)) ? 0 : PTR_ERR(params);
	if (strncmp(params, GLUE_PREFIX, strlen(GLUE_PREFIX)) ||
	    glue_store_disk(gv)) {
		kfree(params);
		return 0;
	}
	mode = xenbus_read(XBT_NIL, dir, "mode", NULL);
	if (IS_ERR(mode)) {
		kfree(params);
		return PTR_ERR(mode);
	}
	gv->vbd.rdonly = !strchr(mode, 'w');
	kfree(mode);
	gv->image = params;
	return len < BLKTAP_NAME_MAX ? 0 : -ENAMETOOLONG;
}

/* The block device that is written there for blkback to use; 0: none yet. */
dev_t glue_store_disk(struct glue_vbd *gv)
{
	unsigned int major, minor;

	if (xenbus_scanf(XBT_NIL, gv->xdev->nodename, GLUE_DEVICE, "%x:%x",
			 &major, &minor) != 2)
		return 0;
	if (major != MAJOR(MKDEV(major, minor)) || minor > MINORMASK)
		return 0;
	return MKDEV(major, minor);
}

/*
 * A directory that has been removed must not come back, so look for it in the
 * transaction that writes.
 */
static int write_both(struct glue_vbd *gv, const char *name, const char *value,
		      const char *status)
{
	const char *dir = gv->xdev->nodename;
	struct xenbus_transaction xbt;
	int err;

	do {
		err = xenbus_transaction_start(&xbt);
		if (err)
			return err;
		err = xenbus_exists(xbt, dir, "state") ? 0 : -ENOENT;
		if (!err)
			err = xenbus_write(xbt, dir, name, value);
		if (!err)
			err = xenbus_write(xbt, dir, "hotplug-status", status);
		if (err) {
			xenbus_transaction_end(xbt, 1);
			return err;
		}
		err = xenbus_transaction_end(xbt, 0);
	} while (err == -EAGAIN);
	return err;
}

/* The tap is there: blkback goes on from here. */
void glue_store_served(struct glue_vbd *gv)
{
	char value[24];
	int err;

	snprintf(value, sizeof(value), "%x:%x", MAJOR(gv->disk),
		 MINOR(gv->disk));
	err = write_both(gv, GLUE_DEVICE, value, "connected");
	if (err && err != -ENOENT)
		xenbus_dev_error(gv->xdev, err, "writing %s", GLUE_DEVICE);
}

/*
 * The state is left alone: the toolstack may still wait to see it, and removes
 * the device when its script tells it of the error.
 */
void glue_store_failed(struct glue_vbd *gv)
{
	const char *text = gv->text ?: "its tap could not be made";
	int err = write_both(gv, "hotplug-error", text, "error");

	if (err != -ENOENT)
		xenbus_dev_error(gv->xdev, gv->err, "%s", text);
}
