/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's part of layout mode, played: an image in front of an image. What
 * the guest reads and writes goes to the files of the image behind, where that
 * has granted it; its maps are arrays, so that they are plainly right.
 *
 * As the kernel it forgets extents now and then, has answers that are too old by
 * then dropped, and sends a commit twice.
 */
#ifndef TAPDISK_TEST_KERNEL_H
#define TAPDISK_TEST_KERNEL_H

#include "guest.h"

struct kernel;

/* Put it in front of guest->image, which goes when this is closed. */
void kernel_begin(struct guest *guest);

/* The image, or what is behind it, has I/O of its own in flight. */
bool kernel_busy(const struct image *image);

/* LAYOUTGETs so far. */
unsigned int kernel_upcalls(const struct guest *guest);

/* Never forget anything. */
void kernel_remembers(struct guest *guest);

/*
 * Hold an answer against the rules of struct blktap_extent and those of RFC
 * 5663: it serves the sector that was asked for, and lies in the disk.
 */
void check_answer(const struct image *image, const struct image_request *req);

#endif
