// SPDX-License-Identifier: GPL-2.0-only
#include "loop.h"

#include <errno.h>
#include <unistd.h>

int loop_init(struct loop *loop)
{
	loop->stopped = false;
	loop->nr_events = 0;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return loop->epoll_fd < 0 ? -errno : 0;
}

void loop_exit(struct loop *loop)
{
	close(loop->epoll_fd);
}

static int add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) ? -errno : 0;
}

int loop_add(struct loop *loop, struct loop_source *source)
{
	return add(loop, source, EPOLLIN);
}

int loop_add_edge(struct loop *loop, struct loop_source *source)
{
	return add(loop, source, EPOLLIN | EPOLLET);
}

void loop_del(struct loop *loop, struct loop_source *source)
{
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	for (int i = 0; i < loop->nr_events; i++)
		if (loop->events[i].data.ptr == source)
			loop->events[i].data.ptr = NULL;
}

int loop_turn(struct loop *loop, int timeout_ms)
{
	int n = epoll_wait(loop->epoll_fd, loop->events, LOOP_BATCH, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;

	loop->nr_events = n;
	for (int i = 0; i < n; i++) {
		struct loop_source *source = loop->events[i].data.ptr;

		if (source)
			source->ready(source, loop->events[i].events);
	}
	loop->nr_events = 0;
	return 0;
}
