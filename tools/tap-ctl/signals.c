// SPDX-License-Identifier: GPL-2.0-only
#include "signals.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "report.h"

int signals_hold(struct signals *signals)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGHUP);
	signals->fd = signalfd(-1, &ends, SFD_CLOEXEC);
	if (signals->fd < 0) {
		report("signalfd: %s", strerror(errno));
		return -errno;
	}
	sigaddset(&ends, SIGPIPE);
	sigprocmask(SIG_BLOCK, &ends, &signals->before);
	return 0;
}

void signals_let(struct signals *signals)
{
	close(signals->fd);
	/* Not read from there: a signal that came meanwhile ends us here. */
	sigprocmask(SIG_SETMASK, &signals->before, NULL);
}
