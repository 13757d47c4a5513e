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
#include <sys/sysmacros.h>
#include <unistd.h>
#include "internal.h"

#define TAPS		"/sys/class/blktap2"
#define TAP_PREFIX	"blktap"

/**
 * struct orphan - what a tap's attribute "orphan" says
 * @rdwr: the disk can be written to
 * @vhd: the image is a VHD, which may have parents
 * @path: of the image
 * @files: in layout mode, the files that it consists of; else empty
 */
struct orphan {
	bool rdwr;
	bool vhd;
	char path[PATH_MAX];
	char files[4096];
};

/* Return: the length; 0 where there is nothing, or no such tap; or a negative errno. */
static ssize_t read_attribute(const char *tap, const char *name, char *text, size_t size)
{
	char path[300];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), TAPS "/%s/%s", tap, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		n = errno == ENODEV ? 0 : -errno;
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

/* "rw vhd:/path", say, or nothing. 1: the tap is an orphan; 0: it is none. */
static int read_orphan(const char *tap, struct orphan *orphan)
{
	char line[PATH_MAX + 16], *image, *type;
	ssize_t n = read_attribute(tap, "orphan", line, sizeof(line));

	if (n <= 0)
		return (int)n;
	line[strcspn(line, "\n")] = '\0';
	image = strstr(line, ":/");
	if (!image || strlen(image + 1) >= sizeof(orphan->path))
		return 0;
	strcpy(orphan->path, image + 1);
	*image = '\0';
	orphan->rdwr = !strncmp(line, "rw ", 3);
	type = strrchr(line, ':');
	orphan->vhd = !strcmp(type ? type + 1 : line + 3, "vhd");
	n = read_attribute(tap, "files", orphan->files, sizeof(orphan->files));
	return n < 0 ? (int)n : 1;
}

/* One line of "files": "rw 8:1 1234", or "ro 8:16" of a block device. */
static bool line_is_file(const char *line, const struct stat *file, bool *rdwr)
{
	unsigned int major, minor;
	uintmax_t ino;
	char mode[3] = "";
	int n;

	n = sscanf(line, "%2s %u:%u %ju", mode, &major, &minor, &ino);
	*rdwr = !strcmp(mode, "rw");
	if (S_ISBLK(file->st_mode))
		return n == 3 && file->st_rdev == makedev(major, minor);
	return n == 4 && file->st_dev == makedev(major, minor) && file->st_ino == ino;
}

/* The kernel says what it has: nothing is looked for, where storage may be away. */
static bool files_exclude(char *files, const struct stat *file, bool rdwr)
{
	bool its_rdwr, found = false;

	for (char *rest, *line = strtok_r(files, "\n", &rest); line && !found;
	     line = strtok_r(NULL, "\n", &rest))
		found = line_is_file(line, file, &its_rdwr) && (rdwr || its_rdwr);
	return found;
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
static bool excludes(struct orphan *orphan, const struct stat *file, bool rdwr)
{
	if (orphan->files[0])
		return files_exclude(orphan->files, file, rdwr);
	if (is_file(orphan->path, file))
		return rdwr || orphan->rdwr;
	return rdwr && orphan->vhd && is_beneath(orphan->path, file);
}

static int fail_taps(struct vhd_error *err)
{
	return vhd_fail(err, -errno, "%s: cannot be read: %s", TAPS, strerror(errno));
}

static int check_tap(const char *tap, const char *path, const struct stat *st, bool rdwr,
		     struct vhd_error *err)
{
	struct orphan orphan;
	int r = read_orphan(tap, &orphan);

	if (r < 0)
		return vhd_fail(err, r, TAPS "/%s: cannot be read: %s", tap, strerror(-r));
	if (!r || !excludes(&orphan, st, rdwr))
		return 0;
	return vhd_fail(err, -EBUSY,
			"%s: in use by tap %s, whose tapdisk has died; recover or destroy the tap first",
			path, tap + strlen(TAP_PREFIX));
}

int vhd_check_orphans(int fd, const char *path, bool rdwr, struct vhd_error *err)
{
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
		if (!strncmp(e->d_name, TAP_PREFIX, strlen(TAP_PREFIX)))
			r = check_tap(e->d_name, path, &st, rdwr, err);
	if (!r && errno)
		r = fail_taps(err);
	closedir(dir);
	return r;
}
