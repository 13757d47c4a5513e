/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the process gives up when it has started: see SECURITY.md. It goes on
 * opening images as it is ordered to, so open() stays; all that it needs for
 * that is CAP_DAC_OVERRIDE.
 */
#ifndef TAPDISK_CONFINE_H
#define TAPDISK_CONFINE_H

#include "util.h"

/*
 * Drop capabilities and the ways to get others; allow only the system calls that
 * serving and opening images take. Others fail with EPERM, and are logged where
 * the kernel has auditing. A kernel without seccomp is a warning. 0, or -errno
 * with error filled in.
 */
int confine(struct vhd_error *error);

/* Folders and files, a line each, outside of which no image may be: see tapdisk(8). */
#define IMAGES_FILE "/etc/blktap/images"

/*
 * Where IMAGES_FILE is there: let nothing be opened but what it names, the ring's
 * nodes, and /sys for reading. The process has no new privileges. 0, or -errno with
 * error filled in, also where the kernel can't do that.
 */
int confine_paths(struct vhd_error *error);

#endif
