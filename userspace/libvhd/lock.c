// SPDX-License-Identifier: GPL-2.0-only
/*
 * Locks on image files: a writer locks the whole file, a reader its first byte,
 * with open-file-description locks, so that two opens in one process exclude
 * each other too. The writer's lock also covers the bytes that QEMU locks.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

/* True if /proc/PID/fdinfo/FD says that this open file holds a lock on @ino. */
static bool holds_lock(const char *pid, const char *fd, ino_t ino)
{
	char path[600], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, fd);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!found && fgets(line, sizeof(line), f)) {
		uintmax_t n;

		found = sscanf(line, "lock: %*d: %*s %*s %*s %*d %*x:%*x:%ju", &n) == 1 &&
			n == ino;
	}
	fclose(f);
	return found;
}

static bool process_holds(const char *pid, const struct stat *st)
{
	char path[600];
	bool found = false;
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	if (!dir)
		return false;
	while (!found && (e = readdir(dir))) {
		struct stat s;

		found = holds_lock(pid, e->d_name, st->st_ino) &&
			!fstatat(dirfd(dir), e->d_name, &s, 0) &&
			s.st_dev == st->st_dev && s.st_ino == st->st_ino;
	}
	closedir(dir);
	return found;
}

/* The process that holds a lock on @fd's file, or 0 if that can't be seen. */
static long find_holder(int fd)
{
	struct stat st;
	struct dirent *e;
	long pid = 0;
	DIR *dir;

	if (fstat(fd, &st))
		return 0;
	dir = opendir("/proc");
	if (!dir)
		return 0;
	while (!pid && (e = readdir(dir)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
		    process_holds(e->d_name, &st))
			pid = atol(e->d_name);
	closedir(dir);
	return pid;
}

static int fail_in_use(int fd, const char *path, const struct flock *wanted,
		       struct vhd_error *err)
{
	struct flock lock = *wanted;
	char name[64] = "", file[64];
	FILE *f;
	long pid;

	/* The kernel knows no process for an open-file-description lock: -1. */
	if (fcntl(fd, F_OFD_GETLK, &lock) || lock.l_type == F_UNLCK)
		lock.l_pid = 0;
	pid = lock.l_pid > 0 ? lock.l_pid : find_holder(fd);
	if (!pid)
		return vhd_fail(err, -EBUSY,
				"%s: in use by another process; close it there first",
				path);
	snprintf(file, sizeof(file), "/proc/%ld/comm", pid);
	f = fopen(file, "re");
	if (f) {
		if (fgets(name, sizeof(name), f))
			name[strcspn(name, "\n")] = 0;
		fclose(f);
	}
	return vhd_fail(err, -EBUSY, "%s: in use by process %ld (%s); close it there first",
			path, pid, name[0] ? name : "?");
}

void vhd_unlock_and_close(int fd)
{
	struct flock none = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	fcntl(fd, F_OFD_SETLK, &none);
	close(fd);
}

int vhd_lock(int fd, const char *path, unsigned int flags, struct vhd_error *err)
{
	bool rdwr = flags & VHD_OPEN_RDWR;
	struct flock lock = {
		.l_type = rdwr ? F_WRLCK : F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = 0,
		.l_len = rdwr ? 0 : 1,
	};
	struct flock wanted = lock;
	int r;

	/* Before, too: the lock of one who may not have it would keep out the heir. */
	r = vhd_check_orphans(fd, path, flags, err);
	if (r)
		return r;
	if (!fcntl(fd, F_OFD_SETLK, &lock))
		return vhd_check_orphans(fd, path, flags, err);
	if (errno == EAGAIN || errno == EACCES)
		return fail_in_use(fd, path, &wanted, err);
	return vhd_fail(err, -errno, "%s: locking failed: %s; mount its filesystem with locks",
			path, strerror(errno));
}
