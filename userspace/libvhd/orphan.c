// SPDX-License-Identifier: GPL-2.0-only
/*
 * Images of taps whose tapdisk has died. Its locks are gone with it, but the kernel goes
 * on reading and writing where it knows how, and the next tapdisk counts on finding the
 * image as it was: until then the kernel's word takes the place of the lock.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

#define TAPS		"/sys/class/blktap2"
#define TAP_PREFIX	"blktap"

/**
 * struct orphan - what a tap's attribute "orphan" says
 * @rdwr: the disk can be written to
 * @vhd: the image is a VHD, which may have parents
 * @path: of the image
 */
struct orphan {
	bool rdwr;
	bool vhd;
	char path[PATH_MAX];
};

/* "rw vhd:/path", say, or nothing. False: the tap is no orphan. */
static bool read_orphan(const char *tap, struct orphan *orphan)
{
	char path[300], line[PATH_MAX + 16], *image, *type;
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), TAPS "/%s/orphan", tap);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, line, sizeof(line) - 1);
		close(fd);
	}
	if (n <= 0)
		return false;
	line[n - (line[n - 1] == '\n')] = '\0';
	image = strstr(line, ":/");
	if (!image || strlen(image + 1) >= sizeof(orphan->path))
		return false;
	strcpy(orphan->path, image + 1);
	*image = '\0';
	orphan->rdwr = !strncmp(line, "rw ", 3);
	type = strrchr(line, ':');
	orphan->vhd = !strcmp(type ? type + 1 : line + 3, "vhd");
	return true;
}

static bool is_file(const char *path, const struct stat *file)
{
	struct stat st;

	if (stat(path, &st))
		return false;
	if (S_ISBLK(st.st_mode))
		return S_ISBLK(file->st_mode) && st.st_rdev == file->st_rdev;
	return st.st_dev == file->st_dev && st.st_ino == file->st_ino;
}

static bool is_beneath(const char *path, const struct stat *file)
{
	struct vhd *leaf, *v;

	if (vhd_open_chain(&leaf, path, VHD_OPEN_NOLOCK, NULL))
		return false;
	for (v = leaf->parent; v && !vhd_same_file(v, file); v = v->parent)
		;
	vhd_close(leaf);
	return v;
}

/* As locks would: a writer excludes all others, readers exclude writers. */
static bool excludes(const struct orphan *orphan, const struct stat *file, bool rdwr)
{
	if (is_file(orphan->path, file))
		return rdwr || orphan->rdwr;
	return rdwr && orphan->vhd && is_beneath(orphan->path, file);
}

static int fail_taps(struct vhd_error *err)
{
	return vhd_fail(err, -errno, "%s: cannot be read: %s", TAPS, strerror(errno));
}

int vhd_check_orphans(int fd, const char *path, bool rdwr, struct vhd_error *err)
{
	struct orphan orphan;
	struct dirent *e;
	struct stat st;
	int r = 0;
	DIR *dir;

	if (fstat(fd, &st))
		return vhd_fail(err, -errno, "%s: stat failed: %s", path, strerror(errno));
	dir = opendir(TAPS);
	if (!dir && errno == ENOENT)
		return 0;
	if (!dir)
		return fail_taps(err);
	while (!r && (errno = 0, e = readdir(dir)))
		if (!strncmp(e->d_name, TAP_PREFIX, strlen(TAP_PREFIX)) &&
		    read_orphan(e->d_name, &orphan) && excludes(&orphan, &st, rdwr))
			r = vhd_fail(err, -EBUSY,
				     "%s: in use by tap %s, whose tapdisk has died; recover or destroy the tap first",
				     path, e->d_name + strlen(TAP_PREFIX));
	if (!r && errno)
		r = fail_taps(err);
	closedir(dir);
	return r;
}
