// SPDX-License-Identifier: GPL-2.0-only
/* The file or block device that an image is in. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "internal.h"

/*
 * A file's path without links. With @keep_name only the directory's: the name
 * that links to a block device (/dev/VG/LV) lasts, its node (/dev/dm-3) does not.
 */
char *vhd_canonical_path(const char *path, bool keep_name)
{
	vhd_autofree char *copy = NULL, *dir = NULL, *name = NULL;
	char *out;

	if (!keep_name)
		return realpath(path, NULL);
	copy = strdup(path);
	name = strdup(path);
	if (!copy || !name)
		return NULL;
	dir = realpath(dirname(copy), NULL);
	if (!dir || asprintf(&out, "%s/%s", strcmp(dir, "/") ? dir : "",
			     basename(name)) < 0)
		return NULL;
	return out;
}

int vhd_file_size(struct vhd *v, struct vhd_error *err)
{
	struct stat st;
	uint64_t size;

	if (fstat(v->fd, &st))
		goto fail;
	v->block_device = S_ISBLK(st.st_mode);
	v->dev = v->block_device ? st.st_rdev : st.st_dev;
	v->ino = v->block_device ? 0 : st.st_ino;
	size = st.st_size;
	if (v->block_device && ioctl(v->fd, BLKGETSIZE64, &size))
		goto fail;
	v->file_size = size;
	return 0;

fail:
	return vhd_fail(err, -errno, "%s: asking for its size failed: %s",
			v->path, strerror(errno));
}

bool vhd_same_file(const struct vhd *v, const struct stat *st)
{
	if (S_ISBLK(st->st_mode))
		return v->block_device && v->dev == st->st_rdev;
	return !v->block_device && v->dev == st->st_dev && v->ino == st->st_ino;
}

/* Keep O_DIRECT only where a sector can be read with it. */
static int probe_direct(struct vhd *v, struct vhd_error *err)
{
	vhd_autofree void *sector = vhd_alloc(VHD_SECTOR);
	int flags;

	if (!sector)
		return vhd_fail_nomem(err, v->path);
	if (pread(v->fd, sector, VHD_SECTOR, 0) >= 0 || errno != EINVAL)
		return 0;
	flags = fcntl(v->fd, F_GETFL);
	if (flags < 0 || fcntl(v->fd, F_SETFL, flags & ~O_DIRECT))
		return vhd_fail(err, -errno, "%s: leaving direct I/O failed: %s",
				v->path, strerror(errno));
	v->direct = false;
	return 0;
}

static int fail_open(const char *path, bool rdwr, bool block_device,
		     struct vhd_error *err)
{
	int error = errno;
	const char *what = strerror(error), *hint = "";

	if (error == EBUSY && block_device) {
		what = "in use by another process or mounted";
		hint = "; close it there first";
	} else if (error == EACCES || error == EPERM) {
		hint = "; change its permissions or become root";
	} else if (error == EROFS) {
		hint = "; open it read-only";
	}
	return vhd_fail(err, -error, "%s: cannot open for %s: %s%s", path,
			rdwr ? "writing" : "reading", what, hint);
}

static int open_file(struct vhd *v, const char *path, const struct stat *st)
{
	int flags = (v->rdwr ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY;

	if (v->rdwr && S_ISBLK(st->st_mode))
		flags |= O_EXCL;
	if (v->direct) {
		v->fd = open(path, flags | O_DIRECT);
		if (v->fd >= 0 || errno != EINVAL)
			return v->fd;
		v->direct = false;
	}
	v->fd = open(path, flags);
	return v->fd;
}

int vhd_file_open(struct vhd *v, const char *path, unsigned int flags,
		  struct vhd_error *err)
{
	struct stat st;
	int r;

	v->rdwr = flags & VHD_OPEN_RDWR;
	v->direct = flags & VHD_OPEN_DIRECT;
	if (stat(path, &st))
		return fail_open(path, v->rdwr, false, err);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return vhd_fail(err, -EINVAL,
				"%s: neither a file nor a block device: can't hold an image",
				path);
	if (open_file(v, path, &st) < 0)
		return fail_open(path, v->rdwr, S_ISBLK(st.st_mode), err);
	v->path = vhd_canonical_path(path, S_ISBLK(st.st_mode));
	if (!v->path)
		return vhd_fail(err, -errno, "%s: resolving its path failed: %s",
				path, strerror(errno));
	if (!(flags & VHD_OPEN_NOLOCK)) {
		r = vhd_lock(v->fd, v->path, flags, err);
		if (r)
			return r;
	}
	r = vhd_file_size(v, err);
	if (!r && v->direct)
		r = probe_direct(v, err);
	return r;
}

/*
 * Without a name until it is complete, where the filesystem can do that; else
 * with its name. O_EXCL: nothing that exists is ever touched.
 */
static int create_file(const char *path)
{
	vhd_autofree char *copy = strdup(path);
	int fd;

	if (!copy)
		return -1;
	fd = open(dirname(copy), O_RDWR | O_TMPFILE | O_CLOEXEC, 0644);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return fd;
	return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
}

static int fail_create(const char *path, struct vhd_error *err)
{
	if (errno == EEXIST)
		return vhd_fail(err, -EEXIST,
				"%s: exists already; remove it or choose another name",
				path);
	return vhd_fail(err, -errno, "%s: cannot create: %s", path, strerror(errno));
}

int vhd_file_create(struct vhd *v, const char *path, struct vhd_error *err)
{
	struct stat st;
	int r;

	if (!stat(path, &st) && S_ISBLK(st.st_mode))
		return vhd_file_open(v, path, VHD_OPEN_RDWR, err);
	v->rdwr = true;
	errno = EEXIST;
	if (lstat(path, &st))
		v->fd = create_file(path);
	if (v->fd < 0)
		return fail_create(path, err);
	v->path = vhd_canonical_path(path, true);
	if (!v->path)
		return fail_create(path, err);
	r = vhd_lock(v->fd, v->path, VHD_OPEN_RDWR, err);
	if (!r)
		r = vhd_file_size(v, err);
	if (r)
		vhd_file_discard(v);
	return r;
}

int vhd_file_publish(struct vhd *v, struct vhd_error *err)
{
	vhd_autofree char *copy = strdup(v->path);
	char link[64];
	struct stat st;
	int fd, r = 0;

	if (v->block_device)
		return 0;
	if (!copy)
		return vhd_fail_nomem(err, v->path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", v->fd);
	if (fstat(v->fd, &st) ||
	    (!st.st_nlink && linkat(AT_FDCWD, link, AT_FDCWD, v->path, AT_SYMLINK_FOLLOW)))
		return fail_create(v->path, err);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || (fsync(fd) && errno != EINVAL))
		r = vhd_fail(err, -errno, "%s: syncing its directory failed: %s",
			     v->path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return r;
}

void vhd_file_discard(struct vhd *v)
{
	struct stat st;

	if (!fstat(v->fd, &st) && S_ISREG(st.st_mode) && st.st_nlink)
		unlink(v->path);
}
