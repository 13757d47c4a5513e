/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A blktap2 tapdisk that serves a disk from its memory, out of a thread. Like
 * the 3.55 one it waits with select(), never writes req_event and gives up at
 * a request that it did not ask for; unlike it, it checks every request
 * against the interface and fails the case at the first that is wrong.
 */
#ifndef SELFTESTS_LIB_SERVER_H
#define SELFTESTS_LIB_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "tap.h"

/* What a hook decides about a request. */
#define SERVE	1	/* the server serves and answers it */
#define TAKEN	2	/* the hook, or someone later, answers it */
/* else one of B2_OKAY, B2_ERROR, B2_NOTSUPP: answered so, data untouched */

struct server {
	/* set before server_start(), constant after */
	struct tap *tap;
	uint64_t sectors;		/* capacity */
	unsigned long flags;		/* of CREATE_DEVICE */
	bool shuffle;			/* answer a batch in random order */
	bool level;			/* advance req_event: poll is level-triggered */
	bool deaf;			/* never read the message byte */
	int (*hook)(struct server *s, const struct b2_request *r);
	void *arg;			/* the hook's */
	const char *resume_name;	/* expected from REOPEN */
	int resume_status;		/* said by RESUME */
	uint64_t resume_sectors;	/* SET_PARAMS at resume, if not 0 */

	/* the disk, and what the last REOPEN said */
	uint8_t *data;
	char reopened[B2_NAME];

	/* counters for the case to read */
	_Atomic unsigned long wakeups, empty_wakeups, batches, requests;
	_Atomic unsigned long ops[4], messages[4], trimmed_sectors;
	_Atomic unsigned int max_segments, max_batch;

	/* the server's own */
	pthread_t thread;
	int stop_fd;
	_Atomic bool in_flight[B2_RING_SIZE];
	uint32_t req_cons;
	pthread_mutex_t answer_lock;	/* rsp_prod and the entry it is about to cover */
};

/* Allocates the disk, calls CREATE_DEVICE, then serves in a new thread. */
void server_start(struct server *s);

/* tap_alloc(), tap_map() and server_start(), for a disk of @sectors. */
void server_up(struct server *s, struct tap *t, uint64_t sectors);

/* Stops the thread and leaves the ring as it is. */
void server_stop(struct server *s);

/* REMOVE_DEVICE (waiting for the last opener), stop, close, FREE_TAP, all checked. */
void server_down(struct server *s);

/* Put one response into the ring; from any thread. */
void server_answer(struct server *s, uint64_t id, uint8_t op, int16_t status);
void server_kick(struct server *s);

/* Copy between the disk and the pages of a request. */
void server_copy(struct server *s, const struct b2_request *r);

/* Sectors that a READ or WRITE is about. */
unsigned int request_sectors(const struct b2_request *r);

#endif
