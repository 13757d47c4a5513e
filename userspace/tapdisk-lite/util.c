// SPDX-License-Identifier: GPL-2.0-only
#include "util.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int deny(struct vhd_error *error, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return -err;
}

int iov_slice(const struct iovec *iov, int iovcnt, size_t offset, size_t bytes,
	      struct iovec *out)
{
	int n = 0;

	for (int i = 0; i < iovcnt && bytes; i++) {
		size_t len = iov[i].iov_len;

		if (offset >= len) {
			offset -= len;
			continue;
		}

		len -= offset;
		if (len > bytes)
			len = bytes;
		out[n].iov_base = (char *)iov[i].iov_base + offset;
		out[n++].iov_len = len;
		offset = 0;
		bytes -= len;
	}
	return n;
}

void iov_zero(const struct iovec *iov, int iovcnt, size_t offset, size_t bytes)
{
	for (int i = 0; i < iovcnt && bytes; i++) {
		size_t len = iov[i].iov_len;

		if (offset >= len) {
			offset -= len;
			continue;
		}

		len -= offset;
		if (len > bytes)
			len = bytes;
		memset((char *)iov[i].iov_base + offset, 0, len);
		offset = 0;
		bytes -= len;
	}
}
