/* SPDX-License-Identifier: GPL-2.0-only */
/* Nodes of block devices: they are ours to make, and to remove. */
#ifndef TAPCTL_NODE_H
#define TAPCTL_NODE_H

#include <stddef.h>
#include <sys/types.h>

#define NODE_PATH_MAX	64	/* bytes of a node's usual path, its NUL included */

/** node_path() - the usual path of a tap's block device */
void node_path(int minor, char path[NODE_PATH_MAX]);

/** node_major() - the major of taps' disks, or a negative errno, reported */
int node_major(void);

/**
 * node_make() - make a block device's node, in place of a stale one
 * @path: where
 * @dev: of what
 *
 * Returns 0 or a negative errno, reported; -EEXIST: something other than a
 * stale node or a tap's is there.
 */
int node_make(const char *path, dev_t dev);

/**
 * node_remove() - remove a tap's node
 * @path: where
 * @minor: the tap; a node of another one, or of any other disk, is left alone
 *
 * Returns what the node was of, for node_make() to put it back; 0: there was none.
 */
dev_t node_remove(const char *path, int minor);

#endif
