// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which files a tap's image consists of. The tapdisk has them locked; when it has
 * died, this says what is to be taken for locked still.
 */
#include <linux/file.h>
#include <linux/kdev_t.h>
#include <linux/slab.h>
#include <linux/stat.h>

#include "blktap.h"

#define IMAGE_FILES_MAX	512
#define IMAGE_LINE	40	/* bytes of the longest line of blktap_image_show() */

/**
 * struct image_file - one of them
 * @node: in blktap.image
 * @dev: the device that it is on, or, for a block device, is
 * @ino: its number there, as stat(2) has it; of a block device 0
 * @bdev: it is a block device
 * @write: it may be written to
 */
struct image_file {
	struct list_head node;
	dev_t dev;
	u64 ino;
	bool bdev;
	bool write;
};

/* Asks no server: what is asked for does not change. */
static int file_identify(struct file *file, struct image_file *id)
{
	struct kstat stat;
	int err;

	if (id->write && !(file->f_mode & FMODE_WRITE))
		return -EBADF;
	err = vfs_getattr(&file->f_path, &stat, STATX_TYPE | STATX_INO,
			  AT_STATX_DONT_SYNC);
	if (err)
		return err;
	id->bdev = S_ISBLK(stat.mode);
	id->dev = id->bdev ? stat.rdev : stat.dev;
	id->ino = id->bdev ? 0 : stat.ino;
	return id->bdev || S_ISREG(stat.mode) ? 0 : -EINVAL;
}

/**
 * blktap_image_identify - what a file of an image is
 * @fd: of the caller
 * @write: it may be written to
 *
 * Context: sleeps; takes no lock. Return: for blktap_image_add(), or kfree(); or
 * -EBADF, also for one that @write is not true of; -EINVAL for what is neither a
 * file nor a block device; -ENOMEM.
 */
struct image_file *blktap_image_identify(int fd, bool write)
{
	struct file *file = fget(fd);
	struct image_file *id;
	int err;

	if (!file)
		return ERR_PTR(-EBADF);
	id = kzalloc(sizeof(*id), GFP_KERNEL);
	if (id)
		id->write = write;
	err = id ? file_identify(file, id) : -ENOMEM;
	fput(file);
	if (err) {
		kfree(id);
		return ERR_PTR(err);
	}
	return id;
}

/**
 * blktap_image_add - the tap's image has a file
 * @tap: the tap, locked
 * @id: which; owned by this from now on
 *
 * Return: 0, also where that is known, or -ENFILE.
 */
int blktap_image_add(struct blktap *tap, struct image_file *id)
{
	struct image_file *known;
	unsigned int nr = 0;

	lockdep_assert_held(&tap->lock);
	list_for_each_entry(known, &tap->image, node) {
		nr++;
		if (known->dev != id->dev || known->ino != id->ino ||
		    known->bdev != id->bdev)
			continue;
		known->write |= id->write;
		kfree(id);
		return 0;
	}
	if (nr >= IMAGE_FILES_MAX) {
		kfree(id);
		return -ENFILE;
	}
	list_add_tail(&id->node, &tap->image);
	return 0;
}

/* It has none, or another image. */
void blktap_image_forget(struct blktap *tap)
{
	struct image_file *id, *next;

	lockdep_assert_held(&tap->lock);
	list_for_each_entry_safe(id, next, &tap->image, node) {
		list_del(&id->node);
		kfree(id);
	}
}

/**
 * blktap_image_show - a line for each file
 * @tap: the tap, locked
 * @buf: a page of sysfs's
 *
 * "rw 8:1 1234": may be written, device and inode number; "ro 8:16": a block device.
 * A last line "..." says that there are more. Return: bytes.
 */
ssize_t blktap_image_show(struct blktap *tap, char *buf)
{
	struct image_file *id;
	ssize_t len = 0;

	lockdep_assert_held(&tap->lock);
	list_for_each_entry(id, &tap->image, node) {
		if (len > PAGE_SIZE - 2 * IMAGE_LINE)
			return len + sysfs_emit_at(buf, len, "...\n");
		len += sysfs_emit_at(buf, len, "%s %u:%u",
				     id->write ? "rw" : "ro", MAJOR(id->dev),
				     MINOR(id->dev));
		if (!id->bdev)
			len += sysfs_emit_at(buf, len, " %llu", id->ino);
		len += sysfs_emit_at(buf, len, "\n");
	}
	return len;
}
