// SPDX-License-Identifier: GPL-2.0-only
/* Which files the process may open at all, where the administrator has said so: Landlock. */
#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/blktap.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <syslog.h>
#include <unistd.h>

/* All that the first version of Landlock knows, so that what is not allowed is refused. */
#define HANDLED	((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define READ	LANDLOCK_ACCESS_FS_READ_FILE
#define USE	(READ | LANDLOCK_ACCESS_FS_WRITE_FILE)

static int add_rule(int ruleset, int fd, uint64_t access)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = access, .parent_fd = fd };

	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ?
	       -errno : 0;
}

/*
 * What is beneath @path, or that file, may be opened with @access. A negative errno.
 * Which it is Landlock tells: stat() might ask a server that is away.
 */
static int allow(int ruleset, const char *path, uint64_t access)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = add_rule(ruleset, fd, access | LANDLOCK_ACCESS_FS_READ_DIR);
	if (err == -EINVAL)
		err = add_rule(ruleset, fd, access);
	close(fd);
	return err;
}

/* The ring's nodes, and what queues of disks can do. */
static int allow_own(int ruleset, struct vhd_error *error)
{
	char nodes[] = BLKTAP_RING_NODE;
	int err;

	*strrchr(nodes, '/') = '\0';
	err = allow(ruleset, nodes, USE);
	if (err)
		return deny(error, -err, "%s: %s", nodes, strerror(-err));
	err = allow(ruleset, "/sys", READ);
	return err && err != -ENOENT ? deny(error, -err, "/sys: %s", strerror(-err)) : 0;
}

/* A folder that is not there, or can't be had, keeps no other image from being served. */
static int allow_line(int ruleset, char *line, struct vhd_error *error)
{
	int err;

	line[strcspn(line, "\n")] = '\0';
	if (!*line || *line == '#')
		return 0;
	if (*line != '/')
		return deny(error, EINVAL, "%s: %s: not an absolute path", IMAGES_FILE, line);
	err = allow(ruleset, line, USE);
	if (err == -ENOMEM)
		return deny(error, ENOMEM, "%s: %s: %s", IMAGES_FILE, line, strerror(ENOMEM));
	if (err)
		syslog(LOG_WARNING, "%s: %s: %s: nothing in it can be opened", IMAGES_FILE, line,
		       strerror(-err));
	return 0;
}

static int allow_images(int ruleset, FILE *images, struct vhd_error *error)
{
	char *line = NULL;
	size_t size = 0;
	int err = 0;

	while (!err && getline(&line, &size, images) >= 0)
		err = allow_line(ruleset, line, error);
	if (!err && ferror(images))
		err = deny(error, EIO, "%s: can't be read", IMAGES_FILE);
	free(line);
	return err;
}

static int restrict_to(FILE *images, struct vhd_error *error)
{
	struct landlock_ruleset_attr attr = { .handled_access_fs = HANDLED };
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	int err;

	if (ruleset < 0)
		return deny(error, errno, "%s wants Landlock, which this kernel does not have (%m): add landlock to its parameter lsm=, or remove the file",
			    IMAGES_FILE);
	err = allow_own(ruleset, error);
	if (!err)
		err = allow_images(ruleset, images, error);
	if (!err && syscall(SYS_landlock_restrict_self, ruleset, 0))
		err = deny(error, errno, "Landlock: %m");
	close(ruleset);
	return err;
}

int confine_paths(struct vhd_error *error)
{
	FILE *images = fopen(IMAGES_FILE, "re");
	int err;

	if (!images)
		return errno == ENOENT ? 0 : deny(error, errno, "%s: %m", IMAGES_FILE);
	err = restrict_to(images, error);
	fclose(images);
	return err;
}
