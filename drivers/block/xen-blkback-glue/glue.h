/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The glue between xen-blkback, which exports block devices to guests, and blktap,
 * which has some of them: what its files share.
 */
#ifndef _XEN_BLKBACK_GLUE_H
#define _XEN_BLKBACK_GLUE_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <xen/xenbus.h>

#include "../blktap/vbd.h"

#undef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

/**
 * struct glue_vbd - a backend device of xen-blkback's, from BOUND to UNBOUND
 * @ref: references: the list's, the queued work's
 * @node: in the list of all; this and the next two under its lock
 * @gone: it was unbound
 * @holds: has a reference on this module
 * @xdev: the device, referenced; its nodename is where it is in xenstore
 * @work: does whatever waits for xenstore; never in the thread of its watches
 * @looked: @work has read what the toolstack has written
 * @told: @work has written how the making of its tap has ended
 * @image: what it asks for, or NULL; owned
 * @vbd: the same for blktap
 * @answered: @disk, @err and @text are set, once, before this
 * @disk: the tap's disk
 * @err: or why there is none, a negative errno
 * @text: the same in words, or NULL; owned
 */
struct glue_vbd {
	struct kref ref;
	struct list_head node;
	bool gone;
	bool holds;
	struct xenbus_device *xdev;
	struct work_struct work;
	bool looked;
	bool told;
	char *image;
	struct blktap_vbd vbd;
	bool answered;
	dev_t disk;
	int err;
	char *text;
};

/* vbd.c: a device's life */
void glue_bind(struct xenbus_device *xdev);
void glue_unbind(struct xenbus_device *xdev);
void glue_changed(const char *path);
int glue_vbds_init(void);
void glue_vbds_exit(void);

/* store.c: a device's directory in xenstore */
#define GLUE_PREFIX	"tap:"		/* params that ask for a tap */
#define GLUE_DEVICE	"physical-device"	/* what blkback is to use */

int glue_store_read(struct glue_vbd *gv);
dev_t glue_store_disk(struct glue_vbd *gv);
void glue_store_served(struct glue_vbd *gv);
void glue_store_failed(struct glue_vbd *gv);

#endif /* _XEN_BLKBACK_GLUE_H */
