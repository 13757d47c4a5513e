// SPDX-License-Identifier: GPL-2.0-only
/*
 * Images of taps whose tapdisk has died. Its locks are gone with it, but the kernel goes
 * on reading and writing where it knows how, and the next tapdisk counts on finding the
 * image as it was: until then the kernel's word takes the place of the lock. It says which
 * files these are, so that nobody has to look for them where their storage may be away.
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
#define TEXT_MAX	65536	/* of an attribute: a page, where pages are largest */

/* Return: the length; 0 where there is nothing, or no such tap; or a negative errno. */
static ssize_t read_attribute(const char *tap, const char *name, char *text, size_t size)
{
	char path[300];
	ssize_t n, len = 0;
	int fd;

	snprintf(path, sizeof(path), TAPS "/%s/%s", tap, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	while ((n = read(fd, text + len, size - 1 - len)) > 0)
		len += n;
	if (n < 0 && errno != ENODEV)
		len = -errno;
	close(fd);
	text[len > 0 ? len : 0] = '\0';
	return len;
}

/* One line of "files": "rw 8:1 1234", or "ro 8:16" of a block device. */
static bool line_is_file(const char *line, const struct stat *file, bool *rdwr)
{
	unsigned int major, minor;
	char mode[3] = "";
	uintmax_t ino;
	int n;

	n = sscanf(line, "%2s %u:%u %ju", mode, &major, &minor, &ino);
	*rdwr = !strcmp(mode, "rw");
	if (S_ISBLK(file->st_mode))
		return n == 3 && file->st_rdev == makedev(major, minor);
	return n == 4 && file->st_dev == makedev(major, minor) && file->st_ino == ino;
}

/* As locks would: a writer excludes all others, readers exclude writers. */
static bool files_exclude(char *files, const struct stat *file, bool rdwr)
{
	bool its_rdwr, found = false;

	for (char *rest, *line = strtok_r(files, "\n", &rest); line && !found;
	     line = strtok_r(NULL, "\n", &rest))
		found = line_is_file(line, file, &its_rdwr) && (rdwr || its_rdwr);
	return found;
}

static int check_tap(const char *tap, const char *path, const struct stat *st, bool rdwr,
		     struct vhd_error *err)
{
	char text[TEXT_MAX + 1];
	ssize_t n;

	n = read_attribute(tap, "orphan", text, sizeof(text));
	if (n > 0)
		n = read_attribute(tap, "files", text, sizeof(text));
	if (n < 0)
		return vhd_fail(err, (int)n, TAPS "/%s: cannot be read: %s", tap,
				strerror((int)-n));
	if (!n || !files_exclude(text, st, rdwr))
		return 0;
	return vhd_fail(err, -EBUSY,
			"%s: in use by tap %s, whose tapdisk has died; recover or destroy the tap first",
			path, tap + strlen(TAP_PREFIX));
}

static int fail_taps(struct vhd_error *err)
{
	return vhd_fail(err, -errno, "%s: cannot be read: %s", TAPS, strerror(errno));
}

int vhd_check_orphans(int fd, const char *path, unsigned int flags, struct vhd_error *err)
{
	bool rdwr = flags & VHD_OPEN_RDWR;
	char own[32] = "";
	struct dirent *e;
	struct stat st;
	int r = 0;
	DIR *dir;

	if (fstat(fd, &st))
		return vhd_fail(err, -errno, "%s: stat failed: %s", path, strerror(errno));
	if (flags >> VHD_OPEN_HEIR_SHIFT)
		snprintf(own, sizeof(own), TAP_PREFIX "%u", (flags >> VHD_OPEN_HEIR_SHIFT) - 1);
	dir = opendir(TAPS);
	if (!dir && errno == ENOENT)
		return 0;
	if (!dir)
		return fail_taps(err);
	while (!r && (errno = 0, e = readdir(dir)))
		if (!strncmp(e->d_name, TAP_PREFIX, strlen(TAP_PREFIX)) &&
		    strcmp(e->d_name, own))
			r = check_tap(e->d_name, path, &st, rdwr, err);
	if (!r && errno)
		r = fail_taps(err);
	closedir(dir);
	return r;
}
