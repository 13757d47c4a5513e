/* SPDX-License-Identifier: GPL-2.0-only */
/* The tapdisk as a process. */
#ifndef TAPCTL_TAPDISK_H
#define TAPCTL_TAPDISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/**
 * tapdisk_spawn() - start a tapdisk, in a session of its own
 * @pid: the process, registered with the kernel by then; a child of ours
 * @interrupt: once this descriptor is readable it is given up; -1: none
 * @timeout: seconds that it may take; 0: 30
 *
 * The binary is $TAPDISK, else the one beside this program, else the installed
 * one. Returns 0 or a negative errno, reported; no process is left then.
 */
int tapdisk_spawn(pid_t *pid, int interrupt, uint32_t timeout);

/**
 * tapdisk_watch() - get hold of any tapdisk, to wait for its end
 *
 * Returns a descriptor for tapdisk_await() and close(), or -1: it is gone.
 */
int tapdisk_watch(pid_t pid);

/** tapdisk_await() - wait for the end of a tapdisk, 5 s at most; false: it goes on */
bool tapdisk_await(int watch);

/**
 * tapdisk_stop() - end a tapdisk that tapdisk_spawn() has started, and wait
 * @pid: the tapdisk
 * @sig: SIGTERM, which one that serves a tap ignores, or SIGKILL
 */
void tapdisk_stop(pid_t pid, int sig);

#endif
