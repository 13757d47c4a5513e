/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TAPCTL_CREATE_H
#define TAPCTL_CREATE_H

#include "client.h"
#include "command.h"

/**
 * create_tap() - serve an image, whole or not at all
 * @args: the image, its mode, whether it is read-only, a tapdisk, the node
 * @vbd: the guest's disk that it is for, or NULL: for who has called us
 *
 * For a guest's disk there is no node and nothing is printed, and a tap that can't
 * be served is left for the kernel to free, with the answer that the disk gets.
 *
 * Returns 0 or a negative errno, reported.
 */
int create_tap(const struct args *args, const struct vbd_ids *vbd);

#endif
