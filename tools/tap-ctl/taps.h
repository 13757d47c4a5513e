/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TAPCTL_TAPS_H
#define TAPCTL_TAPS_H

#include <stddef.h>

#include "client.h"

/**
 * struct taps - what there is: taps by minor, then tapdisks that serve none
 * @nr: how many
 * @at: a tap has BLKTAP_A_MINOR, a tapdisk only BLKTAP_A_PID
 */
struct taps {
	size_t nr;
	struct message *at;
};

/**
 * taps_get() - ask the kernel for all of them
 * @client: the connection
 * @taps: filled in; taps_free() it
 *
 * Returns 0 or a negative errno, reported.
 */
int taps_get(struct client *client, struct taps *taps);

/**
 * taps_dump() - ask the kernel for all of a kind
 * @client: the connection
 * @cmd: see client_dump()
 * @taps: what was in it is freed, then it is filled in; taps_free() it
 *
 * Returns 0 or a negative errno, reported.
 */
int taps_dump(struct client *client, uint8_t cmd, struct taps *taps);

/** taps_served() - how many taps a tapdisk serves, or a negative errno, reported */
int taps_served(struct client *client, uint32_t pid);

/**
 * taps_add() - a message_fn: move a message into the struct taps at @arg
 */
int taps_add(struct message *msg, void *arg);

/**
 * taps_merge() - add the tapdisks without taps, and sort
 * @taps: the taps
 * @tapdisks: what TAPDISK_GET has dumped; loses what moves to @taps
 *
 * Returns 0 or -ENOMEM, reported.
 */
int taps_merge(struct taps *taps, struct taps *tapdisks);

void taps_free(struct taps *taps);

/**
 * tap_get() - ask for one tap
 * @client: the connection
 * @minor: the tap
 * @tap: filled in; message_free() it
 *
 * Returns 0 or a negative errno, reported.
 */
int tap_get(struct client *client, int minor, struct message *tap);

/** message_move() - a message_fn: move the message to the struct message at @arg */
int message_move(struct message *msg, void *arg);

#endif
