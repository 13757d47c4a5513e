// SPDX-License-Identifier: GPL-2.0-only
#include "node.h"

#include <errno.h>
#include <linux/blktap.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "report.h"

void node_path(int minor, char path[NODE_PATH_MAX])
{
	snprintf(path, NODE_PATH_MAX, "%s%d", BLKTAP_DISK_NODE, minor);
}

int node_make(const char *path, dev_t dev)
{
	struct stat st;

	if (!lstat(path, &st)) {
		if (!S_ISBLK(st.st_mode)) {
			report("%s: in the way of the block device's node", path);
			return -EEXIST;
		}
		unlink(path);
	}
	if (mknod(path, S_IFBLK | 0600, dev)) {
		report("making the node %s: %s", path, strerror(errno));
		return -errno;
	}
	return 0;
}

dev_t node_remove(const char *path, int minor)
{
	struct stat st;

	if (lstat(path, &st) || !S_ISBLK(st.st_mode) || minor(st.st_rdev) != (unsigned int)minor)
		return 0;
	if (unlink(path)) {
		report("removing the node %s: %s", path, strerror(errno));
		return 0;
	}
	return st.st_rdev;
}
