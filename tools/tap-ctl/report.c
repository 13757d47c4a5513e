// SPDX-License-Identifier: GPL-2.0-only
#include "report.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void report(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int say(const char *format, ...)
{
	sighandler_t before = signal(SIGPIPE, SIG_IGN);
	va_list ap;
	int err = 0;

	va_start(ap, format);
	if (vprintf(format, ap) < 0 || fflush(stdout))
		err = -errno;
	va_end(ap);
	signal(SIGPIPE, before);
	if (err)
		report("writing the output: %s", strerror(-err));
	return err;
}
