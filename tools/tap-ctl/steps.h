/* SPDX-License-Identifier: GPL-2.0-only */
/* Steps of create and destroy that are commands of their own too. */
#ifndef TAPCTL_STEPS_H
#define TAPCTL_STEPS_H

#include <limits.h>

#include "client.h"

/**
 * step_allocate() - have a tap, and a node for its disk to come
 * @client: the connection
 * @node: the node's path; NULL: the usual one
 * @path: the node's path in any case
 *
 * Returns the minor, or a negative errno, reported: nothing is left then.
 */
int step_allocate(struct client *client, const char *node, char path[PATH_MAX]);

/**
 * step_allocate_for() - have a tap for a guest's disk, without a node
 * @client: the connection
 * @vbd: the disk
 *
 * Returns the minor, or a negative errno, reported.
 */
int step_allocate_for(struct client *client, const struct vbd_ids *vbd);

/**
 * step_image() - look at an image's name, for a tap that must be there
 * @client: the connection
 * @minor: the tap
 * @image: as typed, see image_name()
 * @name: to be freed
 *
 * Returns 0 or a negative errno, reported.
 */
int step_image(struct client *client, int minor, const char *image, char **name);

/**
 * step_detach() - detach a tap, and see its tapdisk off if that was its last
 * @client: the connection
 * @minor: the tap
 * @pid: the tapdisk that it must be attached to; 0: any
 * @timeout: seconds
 *
 * Returns 0 or a negative errno, reported.
 */
int step_detach(struct client *client, int minor, uint32_t pid, uint32_t timeout);

/**
 * step_free() - free a tap, and remove the nodes of its disk
 * @client: the connection
 * @minor: the tap
 * @node: a further node of it, or NULL
 * @timeout: seconds
 *
 * Returns 0 or a negative errno, reported: the nodes are as before then.
 */
int step_free(struct client *client, int minor, const char *node, uint32_t timeout);

#endif
