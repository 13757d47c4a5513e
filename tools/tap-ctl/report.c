// SPDX-License-Identifier: GPL-2.0-only
#include "report.h"

#include <stdarg.h>
#include <stdio.h>

void report(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("tap-ctl: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}
