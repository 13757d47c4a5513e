/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TAPDISK_UTIL_H
#define TAPDISK_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "libvhd/vhd.h"

#define SECTOR_SHIFT	9
#define SECTOR_SIZE	512U

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/* Fill in error's text, one line; returns -err, err being an errno. */
int deny(struct vhd_error *error, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * The part of bytes [offset, offset + bytes) of what iov describes, as iovecs
 * in out; returns their number, at most that of iov.
 */
int iov_slice(const struct iovec *iov, int iovcnt, size_t offset, size_t bytes,
	      struct iovec *out);

/* Set bytes [offset, offset + bytes) of what iov describes to zero. */
void iov_zero(const struct iovec *iov, int iovcnt, size_t offset, size_t bytes);

#endif
