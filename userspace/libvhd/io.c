// SPDX-License-Identifier: GPL-2.0-only
/* Whole reads and writes of an image's metadata, buffered or direct. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

void *vhd_alloc(size_t len)
{
	size_t size = vhd_round_up(len, VHD_ALIGN);
	void *buf = aligned_alloc(VHD_ALIGN, size ? size : VHD_ALIGN);

	if (buf)
		memset(buf, 0, size);
	return buf;
}

int vhd_read(const struct vhd *v, void *buf, size_t len, uint64_t offset,
	     const char *what, struct vhd_error *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(v->fd, (char *)buf + done, len - done,
				  offset + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vhd_fail(err, -errno, "%s: reading %s at byte %ju failed: %s",
					v->path, what, (uintmax_t)offset,
					strerror(errno));
		if (n == 0)
			return vhd_fail(err, -EINVAL,
					"%s: image is truncated: it ends within %s; restore it from a copy",
					v->path, what);
		done += n;
	}
	return 0;
}

int vhd_read_bytes(const struct vhd *v, void *buf, size_t len, uint64_t offset,
		   const char *what, struct vhd_error *err)
{
	vhd_autofree uint8_t *sectors = NULL;
	uint64_t first = vhd_round_down(offset, VHD_SECTOR);
	uint64_t end = vhd_round_up(offset + len, VHD_SECTOR);
	int r;

	sectors = vhd_alloc(end - first);
	if (!sectors)
		return vhd_fail_nomem(err, v->path);
	r = vhd_read(v, sectors, end - first, first, what, err);
	if (r)
		return r;
	memcpy(buf, sectors + (offset - first), len);
	return 0;
}

int vhd_write(const struct vhd *v, const void *buf, size_t len, uint64_t offset,
	      const char *what, struct vhd_error *err)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(v->fd, (const char *)buf + done, len - done,
				   offset + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ENOSPC;
		if (n <= 0)
			return vhd_fail(err, -errno, "%s: writing %s at byte %ju failed: %s%s",
					v->path, what, (uintmax_t)offset,
					strerror(errno),
					errno == ENOSPC ? "; free some space" : "");
		done += n;
	}
	return 0;
}

int vhd_sync(const struct vhd *v, struct vhd_error *err)
{
	if (fsync(v->fd))
		return vhd_fail(err, -errno, "%s: fsync failed: %s; its contents may be lost",
				v->path, strerror(errno));
	return 0;
}
