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
 * orphan_protect() - have memory that does not have to come from an orphan's disk
 *
 * For who brings tapdisks back: what the host has written to that disk waits for them.
 * Children, and what they execute, do not wait for such I/O either.
 */
void orphan_protect(void);

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
 * @watch: what tapdisk_watch() has returned for it; -1: it is gone, which is fine
 * @pid: the process, for what is reported
 *
 * Returns 0 or a negative errno, reported; -EBUSY: it waits for its image's storage.
 */
int orphan_kill(int watch, pid_t pid);

/**
 * struct heir - the tapdisk that takes orphans over
 * @pid: it, or 0: none yet
 * @served: taps that it has taken
 * @interrupt: once this descriptor is readable no other one is started; -1: none
 */
struct heir {
	pid_t pid;
	unsigned int served;
	int interrupt;
};

/**
 * orphan_adopt() - have a tap served that is an orphan
 * @client: the connection
 * @minor: the tap
 * @heir: who is to; started where there is none. One that has failed gets no other tap:
 *	if it has none at all it is ended
 * @timeout: seconds to start and to take over; 0: the usual
 *
 * Another one may be quicker, which is fine. Waits a moment for the files of the last
 * tapdisk to be closed. Returns 0 or a negative errno, reported.
 */
int orphan_adopt(struct client *client, int minor, struct heir *heir, uint32_t timeout);

/** orphan_heir_end() - no further tap is for this one: without any it ends */
void orphan_heir_end(struct heir *heir);

#endif
