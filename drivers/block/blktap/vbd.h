/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Virtual block devices: disks of guests, that a backend serves from taps. This is
 * what blktap offers to the module that knows the backend (xen-blkback-glue).
 */
#ifndef _BLKTAP_VBD_H
#define _BLKTAP_VBD_H

#include <linux/list.h>
#include <linux/types.h>

struct blktap;
struct device;

/**
 * struct blktap_vbd - a guest's disk
 * @domid: the guest
 * @devid: which of its disks
 * @dev: the backend's device; in sysfs until blktap_vbd_del()
 * @image: type:/path of the tap that it asks to be made, or NULL
 * @rdonly: that tap is to be read-only
 * @answer: called once for one that asks: a tap was made, whose disk is @disk, or
 *	could not be: @err is a negative errno, @text says why or is NULL. May not
 *	sleep for long nor call any of these functions.
 * @node: in the list of all; this and the rest is blktap's
 * @cookie: not 0, and another one than of any vbd that had its numbers before
 * @tap: the tap that it is tied to, referenced, or NULL
 * @answered: @answer was called, or need not be: it was given another tap
 * @gone: blktap_vbd_del() was called
 *
 * The glue sets all down to @answer, zeroes the rest, and keeps it all until
 * blktap_vbd_del() has returned.
 */
struct blktap_vbd {
	u32 domid;
	u32 devid;
	struct device *dev;
	const char *image;
	bool rdonly;
	void (*answer)(struct blktap_vbd *vbd, dev_t disk, int err,
		       const char *text);

	struct list_head node;
	u32 cookie;
	struct blktap *tap;
	bool answered;
	bool gone;
};

int blktap_vbd_add(struct blktap_vbd *vbd);
int blktap_vbd_tie(struct blktap_vbd *vbd, dev_t disk);
void blktap_vbd_del(struct blktap_vbd *vbd);

#endif /* _BLKTAP_VBD_H */
