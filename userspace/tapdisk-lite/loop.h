/* SPDX-License-Identifier: GPL-2.0-only */
/* The event loop: epoll, one callback a descriptor. */
#ifndef TAPDISK_LOOP_H
#define TAPDISK_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_BATCH 32

/* Embedded in its owner, who keeps it alive while it is in a loop. */
struct loop_source {
	int fd;
	void (*ready)(struct loop_source *source, uint32_t events);
};

struct loop {
	int epoll_fd;
	bool stopped;
	int nr_events;
	struct epoll_event events[LOOP_BATCH];
};

/* 0 or -errno. */
int loop_init(struct loop *loop);
void loop_exit(struct loop *loop);

/* Report EPOLLIN of source->fd: as long as there is, or each time anew. 0 or -errno. */
int loop_add(struct loop *loop, struct loop_source *source);
int loop_add_edge(struct loop *loop, struct loop_source *source);

/* From any callback: source is not touched again, and may be freed. */
void loop_del(struct loop *loop, struct loop_source *source);

/*
 * Wait for events, at most timeout_ms (-1: for ever), and call their sources.
 * 0 or -errno; a signal or the end of the time is 0.
 */
int loop_turn(struct loop *loop, int timeout_ms);

#endif
