// SPDX-License-Identifier: GPL-2.0-only
/* Errors for people: one line, whatever is in an image's strings. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "internal.h"

int vhd_fail(struct vhd_error *err, int error, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return error;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	for (char *c = err->text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	return error;
}

int vhd_fail_nomem(struct vhd_error *err, const char *path)
{
	return vhd_fail(err, -ENOMEM, "%s: out of memory", path);
}

void vhd_free_pointer(void *pointer)
{
	free(*(void **)pointer);
}
