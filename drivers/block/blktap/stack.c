// SPDX-License-Identifier: GPL-2.0-only
/*
 * Taps on taps: a tap whose file is another tap's disk, or lies on a filesystem
 * on it, stands on that tap.
 *
 * In a circle of them I/O would go round till all have no tag left, and nothing
 * could end it. Levels see to it that there is none: a tap's level is higher than
 * those of all taps that it stands on, and is not raised while a tap stands on it.
 */
#include <linux/blkdev.h>

#include "blktap.h"

#define LEVEL_MAX	8

static DEFINE_SPINLOCK(levels_lock);	/* level and uppers of all taps */

static struct blktap *tap_under(struct file *file)
{
	struct inode *inode = file_inode(file);
	struct block_device *bdev = S_ISBLK(inode->i_mode) ?
		I_BDEV(file->f_mapping->host) : inode->i_sb->s_bdev;

	return bdev ? blktap_disk_tap(bdev->bd_disk) : NULL;
}

/* Does a file lie on a tap? */
bool tap_stack_is_on(struct file *file)
{
	return tap_under(file);
}

/* On that one's own disk? */
bool tap_stack_is_own(struct blktap *tap, struct file *file)
{
	return tap_under(file) == tap;
}

/**
 * tap_stack_push - a tap is to stand on a file
 * @tap: the tap
 * @file: the file
 *
 * Return: the tap that it stands on then, which @file keeps, for
 * tap_stack_pop(); NULL where it is none; -ELOOP: it would stand on itself, or
 * too high.
 */
struct blktap *tap_stack_push(struct blktap *tap, struct file *file)
{
	struct blktap *below = tap_under(file);

	if (!below)
		return NULL;
	spin_lock(&levels_lock);
	if (below == tap || below->level == LEVEL_MAX ||
	    (tap->uppers && tap->level <= below->level)) {
		below = ERR_PTR(-ELOOP);
	} else {
		tap->level = max(tap->level, below->level + 1);
		below->uppers++;
	}
	spin_unlock(&levels_lock);
	return below;
}

/**
 * tap_stack_pop - a file is given up
 * @below: the tap that was stood on
 */
void tap_stack_pop(struct blktap *below)
{
	spin_lock(&levels_lock);
	below->uppers--;
	spin_unlock(&levels_lock);
}

/* A tap has no files any more. */
void tap_stack_reset(struct blktap *tap)
{
	spin_lock(&levels_lock);
	tap->level = 0;
	spin_unlock(&levels_lock);
}
