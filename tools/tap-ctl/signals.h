/* SPDX-License-Identifier: GPL-2.0-only */
/* Signals that wait until nothing half-made would be left behind. */
#ifndef TAPCTL_SIGNALS_H
#define TAPCTL_SIGNALS_H

#include <signal.h>

/**
 * struct signals - those that wait
 * @fd: readable once there is one that asks us to end; close-on-exec
 * @before: what was blocked before
 */
struct signals {
	int fd;
	sigset_t before;
};

/**
 * signals_hold() - have what would end us wait
 *
 * That is SIGINT, SIGTERM and SIGHUP, and SIGPIPE, by which a report that nobody reads
 * would end us. Returns 0 or a negative errno, reported.
 */
int signals_hold(struct signals *signals);

/** signals_let() - what has waited ends us now */
void signals_let(struct signals *signals);

#endif
