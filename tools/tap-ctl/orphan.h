/* SPDX-License-Identifier: GPL-2.0-only */
/* Taps whose tapdisk has gone, and what brings them back. */
#ifndef TAPCTL_ORPHAN_H
#define TAPCTL_ORPHAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client.h"

/** orphan_is() - true if a tap waits for a new tapdisk */
bool orphan_is(const struct message *tap);

/**
 * orphan_await() - get a tap, when no recovery of it is under way any more
 * @tap: cleared with message_free(), also after an error
 *
 * Its pid then is that of a tapdisk which does not serve it, if it is an orphan; before,
 * that of the next one, which has still to open the image. Returns 0 or a negative errno,
 * reported.
 */
int orphan_await(struct client *client, int minor, struct message *tap);

/**
 * orphan_kill() - kill a tapdisk for good, and wait for its end
 * @pid: the process; one that is gone is fine
 *
 * Returns 0 or a negative errno, reported; -EBUSY: it waits for its image's storage.
 */
int orphan_kill(pid_t pid);

/**
 * orphan_adopt() - have a tapdisk serve an orphan
 * @client: the connection
 * @minor: the tap
 * @pid: the tapdisk
 * @timeout: seconds; 0: the kernel's default
 * @adopted: set to whether it was this tapdisk: another may have been quicker
 *
 * Waits a moment for the files of the last tapdisk to be closed. Returns 0 or a
 * negative errno, reported.
 */
int orphan_adopt(struct client *client, int minor, pid_t pid, uint32_t timeout, bool *adopted);

/**
 * orphan_recover() - spawn a tapdisk, and have it serve an orphan
 * @client: the connection
 * @minor: the tap
 * @timeout: seconds; 0: the kernel's default
 *
 * Returns 0 or a negative errno, reported; no process is left then.
 */
int orphan_recover(struct client *client, int minor, uint32_t timeout);

#endif
