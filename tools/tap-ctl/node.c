// SPDX-License-Identifier: GPL-2.0-only
#include "node.h"

#include <ctype.h>
#include <errno.h>
#include <linux/blktap.h>
#include <stdbool.h>
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

/* Its line in /proc/devices; 0: there is none. */
static int find_major(FILE *devices)
{
	bool block = false;
	char line[128], name[64];
	int major;

	while (fgets(line, sizeof(line), devices)) {
		if (isalpha((unsigned char)*line))
			block = !strncmp(line, "Block", 5);
		else if (block && sscanf(line, "%d %63s", &major, name) == 2 &&
			 !strcmp(name, BLKTAP_DISK_NAME))
			return major;
	}
	return 0;
}

int node_major(void)
{
	FILE *devices = fopen("/proc/devices", "re");
	int major;

	if (!devices) {
		report("/proc/devices: %s", strerror(errno));
		return -errno;
	}
	major = find_major(devices);
	fclose(devices);
	if (major)
		return major;
	report("blktap: the kernel module is not loaded: modprobe blktap");
	return -ENODEV;
}

/* Of a disk that is there, and no tap's. The majors of a module that has gone are stale. */
static bool is_of_another(dev_t dev, unsigned int tap_major)
{
	char path[48];

	if (major(dev) == tap_major)
		return false;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(dev), minor(dev));
	return !access(path, F_OK);
}

int node_make(const char *path, dev_t dev)
{
	struct stat st;

	if (!lstat(path, &st)) {
		if (!S_ISBLK(st.st_mode) || is_of_another(st.st_rdev, major(dev))) {
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
	int tap_major = node_major();
	struct stat st;

	if (tap_major < 0 || lstat(path, &st) || !S_ISBLK(st.st_mode) ||
	    minor(st.st_rdev) != (unsigned int)minor || is_of_another(st.st_rdev, tap_major))
		return 0;
	if (unlink(path)) {
		report("removing the node %s: %s", path, strerror(errno));
		return 0;
	}
	return st.st_rdev;
}
