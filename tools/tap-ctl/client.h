/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's generic netlink family, and nothing of libnl: requests go in as
 * struct request, what the kernel says comes out as struct message.
 */
#ifndef TAPCTL_CLIENT_H
#define TAPCTL_CLIENT_H

#include <linux/blktap.h>
#include <stdbool.h>
#include <stdint.h>

#define DEFAULT_TIMEOUT	120	/* seconds that the kernel allows, where we don't say */

struct client;

/**
 * struct vbd_ids - a guest's disk
 * @domid: the guest
 * @devid: which of its disks
 * @cookie: which of those that have had these numbers; 0: is not sent
 */
struct vbd_ids {
	uint32_t domid;
	uint32_t devid;
	uint32_t cookie;
};

#define VBDS_MAX	16	/* as many as the kernel shows of a tap's */

/**
 * struct request - a command to the kernel; a field that is 0 is not sent
 * @cmd: BLKTAP_CMD_*
 * @minor: the tap; -1 is not sent, 0 is
 * @pid: the tapdisk
 * @name: type:/path
 * @rdonly: for BLKTAP_A_RDONLY
 * @ring: for BLKTAP_A_RING_MODE
 * @force: for BLKTAP_A_FORCE
 * @timeout: seconds
 * @pool: a pool
 * @pages: its quota
 * @request_timeout: seconds, 0 for none; NULL: not sent
 * @on_timeout: BLKTAP_ON_TIMEOUT_*; NULL: not sent
 * @may_be_busy: that it fails with -EBUSY is not reported; this is for us
 * @vbd: a guest's disk: always sent where given
 * @error: a positive errno
 * @text: why
 */
struct request {
	uint8_t cmd;
	int minor;
	uint32_t pid;
	const char *name;
	bool rdonly;
	bool ring;
	bool force;
	uint32_t timeout;
	const char *pool;
	uint32_t pages;
	const uint32_t *request_timeout;
	const uint32_t *on_timeout;
	bool may_be_busy;
	const struct vbd_ids *vbd;
	uint32_t error;
	const char *text;
};

/**
 * struct message - what the kernel says: a tap, a tapdisk, a pool or an event
 * @cmd: BLKTAP_CMD_*
 * @has: bit n: attribute n is there; a field whose attribute is not is 0
 * @counters: by BLKTAP_C_*
 * @vbd: DOMID, DEVID and COOKIE
 * @vbds: guests' disks that are on a tap
 * @nr_vbds: how many of them
 *
 * The other fields are the attributes of their names.
 */
struct message {
	uint8_t cmd;
	uint32_t has;
	uint32_t minor;
	uint32_t pid;
	uint32_t state;
	uint32_t error;
	uint32_t event;
	uint32_t disk_major;
	uint32_t sector_size;
	uint32_t openers;
	uint32_t nr_taps;
	uint32_t pool_pages;
	uint32_t pool_free;
	uint32_t request_timeout;
	uint32_t on_timeout;
	uint64_t capacity;
	uint64_t counters[BLKTAP_C_MAX + 1];
	struct vbd_ids vbd;
	struct vbd_ids vbds[VBDS_MAX];
	unsigned int nr_vbds;
	char *name;
	char *text;
	char *disk;
	char *pool;
};

static inline bool message_has(const struct message *msg, enum blktap_attr attr)
{
	return msg->has & (1U << attr);
}

/** message_free() - free the strings of a message that was moved, see message_fn */
void message_free(struct message *msg);

/**
 * message_fn - takes a message
 * @msg: its strings are freed after the call, but for those that the function
 *	has taken and set to NULL in @msg
 * @arg: the function's own
 *
 * Returns 0, or a negative errno, which ends the call.
 */
typedef int message_fn(struct message *msg, void *arg);

/**
 * client_open() - connect to the family
 * @client: the connection; client_close() it
 *
 * Returns 0 or a negative errno, reported; -ENODEV: the module is not loaded.
 */
int client_open(struct client **client);

/** client_close() - end the connection; orders under way go on */
void client_close(struct client *client);

/**
 * client_on_interrupt() - have something done while we wait
 * @client: the connection
 * @fd: once it is readable @fn is called, once, and waiting goes on; -1: none
 * @fn: what is to be done
 * @arg: for @fn
 */
void client_on_interrupt(struct client *client, int fd, void (*fn)(void *arg), void *arg);

/**
 * client_get() - ask for one thing: GET, ALLOC, POOL_GET, POOL_SET, VBD_SET
 * @client: the connection
 * @rq: the request
 * @fn: takes the answer, if the command has one; may be NULL
 * @arg: for @fn
 *
 * Returns 0 or a negative errno, reported.
 */
int client_get(struct client *client, const struct request *rq, message_fn *fn, void *arg);

/**
 * client_dump() - ask for all of a kind: GET, TAPDISK_GET, POOL_GET, VBD_GET
 * @client: the connection
 * @cmd: BLKTAP_CMD_*
 * @fn: takes each
 * @arg: for @fn
 *
 * Returns 0 or a negative errno, reported; -EAGAIN, not reported, when they
 * changed meanwhile: drop what @fn has got, and ask again.
 */
int client_dump(struct client *client, uint8_t cmd, message_fn *fn, void *arg);

/**
 * client_order() - have something done, and wait until it is
 * @client: the connection
 * @rq: the request: of a command that ends with DONE
 * @text: what DONE said, to be freed; may be NULL
 *
 * Returns 0 or a negative errno, reported: the kernel's or the tapdisk's.
 */
int client_order(struct client *client, const struct request *rq, char **text);

/**
 * client_join() - have the kernel tell us of events
 * @client: the connection, of no other use from now on
 *
 * Returns 0 or a negative errno, reported.
 */
int client_join(struct client *client);

/** client_fd() - readable when there is an event to be taken */
int client_fd(struct client *client);

/**
 * client_events() - take the events that are there, one at least: it waits for it
 * @client: the connection, joined
 * @fn: takes each
 * @arg: for @fn
 *
 * Returns 0; -ENOBUFS, not reported: some were lost; or a negative errno, reported
 * or @fn's.
 */
int client_events(struct client *client, message_fn *fn, void *arg);

/**
 * client_listen() - print or otherwise take the events, for ever
 * @client: the connection, of no other use from now on
 * @fn: takes each
 * @arg: for @fn
 *
 * Returns a negative errno, reported or @fn's.
 */
int client_listen(struct client *client, message_fn *fn, void *arg);

#endif
