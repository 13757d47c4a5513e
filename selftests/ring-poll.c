// SPDX-License-Identifier: GPL-2.0-only
/* poll(): one report a batch for a tapdisk of old, level-triggered for one with req_event. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/server.h"
#include "lib/state.h"

#define DISK_SECTORS	2048
#define READERS		8

static bool is_readable(struct tap *t, int ms)
{
	struct pollfd p = { .fd = t->fd, .events = POLLIN };
	int n = poll(&p, 1, ms * ktap_scale());

	CHECK_OK(n);
	CHECK(!(p.revents & ~(POLLIN | POLLRDNORM)), "revents %#x", p.revents);
	return n == 1;
}

static bool has_requests(void *tap)
{
	struct b2_ring *r = ((struct tap *)tap)->ring;

	return __atomic_load_n(&r->req_prod, __ATOMIC_ACQUIRE) != r->rsp_prod;
}

/* A disk without a server, its scan for partitions already answered. */
static void quiet_disk(struct server *s, struct tap *t)
{
	server_up(s, t, DISK_SECTORS);
	nap_ms(200 * ktap_scale());
	server_stop(s);
	CHECK(!has_requests(t));
	is_readable(t, 0);	/* what may have been left to report */
	CHECK(!is_readable(t, 0));
}

static void take_down(struct server *s, struct tap *t)
{
	tap_drop_disk(t);
	tap_close(t);
	CHECK_OK(tap_free(t->h.minor));
	CHECK(wait_until(tap_is_gone, t, 5));
	(void)s;
}

static pid_t start_read(struct tap *t, off_t offset)
{
	struct disk_io *io = shared_alloc(4096 * 2);

	*io = (struct disk_io) {
		.node = t->disk_node, .flags = O_DIRECT, .buf = (char *)io + 4096,
		.len = 4096, .offset = offset,
	};
	return child_start(do_disk_io, io);
}

static void old_style_batches_are_reported_once(void)
{
	struct server s = { 0 };
	pid_t a, b;
	struct tap t;

	quiet_disk(&s, &t);
	a = start_read(&t, 0);
	CHECK(is_readable(&t, 5000), "a new request is not reported");
	CHECK(!is_readable(&t, 100), "the same request is reported twice");
	b = start_read(&t, 65536);
	CHECK(is_readable(&t, 5000), "the next request is not reported");
	CHECK(!is_readable(&t, 100), "the same request is reported twice");
	CHECK(has_requests(&t));
	take_down(&s, &t);
	child_wait(a);
	child_wait(b);
}

static int take_read(struct server *s, const struct b2_request *r)
{
	(void)s;
	return r->op == B2_READ ? TAKEN : SERVE;
}

/* What burns a CPU in the shipped drivers: readable for as long as anything is in flight. */
static void old_style_does_not_spin(void)
{
	struct server s = { 0 };
	unsigned long wakeups;
	pid_t pid[READERS];
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	nap_ms(200 * ktap_scale());
	wakeups = s.wakeups;
	s.hook = take_read;
	for (int i = 0; i < READERS; i++)
		pid[i] = start_read(&t, i * 65536);
	for (int i = 0; i < READERS; i++)
		child_settle(pid[i]);
	nap_ms(1000);
	CHECK(s.requests >= READERS);
	wakeups = s.wakeups - wakeups;
	CHECK(wakeups >= 1 && wakeups <= READERS, "%lu wake-ups for %d requests", wakeups,
	      READERS);
	for (int i = 0; i < B2_RING_SIZE; i++)
		if (s.in_flight[i])
			server_answer(&s, i, B2_READ, B2_OKAY);
	server_kick(&s);
	for (int i = 0; i < READERS; i++)
		CHECK(child_wait(pid[i]) == 0);
	s.hook = NULL;
	server_down(&s);
}

static void level_triggered_until_req_event_moves(void)
{
	struct server s = { .level = true };
	struct epoll_event e = { .events = EPOLLIN };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct tap t;
	pid_t pid;

	quiet_disk(&s, &t);
	CHECK_OK(epoll_ctl(ep, EPOLL_CTL_ADD, t.fd, &e));
	t.ring->req_event = t.ring->req_prod + 1;
	CHECK(epoll_wait(ep, &e, 1, 0) == 0);
	pid = start_read(&t, 0);
	for (int i = 0; i < 3; i++)
		CHECK(epoll_wait(ep, &e, 1, 5000) == 1, "report %d is missing", i);
	CHECK(is_readable(&t, 0) && is_readable(&t, 0));
	t.ring->req_event = t.ring->req_prod + 1;
	CHECK(epoll_wait(ep, &e, 1, 100) == 0, "reported although all is consumed");
	CHECK(!is_readable(&t, 0));
	close(ep);
	take_down(&s, &t);
	child_wait(pid);
}

/* A request that comes just before req_event is set must not be lost. */
static void level_triggered_loses_no_wakeup(void)
{
	struct server s = { .level = true };
	struct disk_io io = {
		.flags = O_DIRECT, .buf = shared_alloc(4096), .len = 4096,
	};
	unsigned long closes = 200 / ktap_scale() + 20;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	io.node = t.disk_node;
	for (unsigned long i = 0; i < closes; i++)
		CHECK(in_child(do_disk_io, &io) == 0);
	/* That the last opener went is reported, too: once. */
	CHECK(s.empty_wakeups <= closes + 2, "%lu wake-ups for nothing", s.empty_wakeups);
	server_down(&s);
}

static void a_message_is_reported_once(void)
{
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	CHECK(!is_readable(&t, 0));
	CHECK_OK(tap_free(t.h.minor));
	CHECK(is_readable(&t, 5000));
	CHECK(t.ring->msg == B2_MSG_CLOSE);
	CHECK(!is_readable(&t, 100), "the same message is reported twice");
	tap_close(&t);
	CHECK(wait_until(tap_is_gone, &t, 5));
}

static const struct ktap_case cases[] = {
	KTAP_CASE(old_style_batches_are_reported_once),
	KTAP_CASE(old_style_does_not_spin),
	KTAP_CASE(level_triggered_until_req_event_moves),
	KTAP_CASE(level_triggered_loses_no_wakeup),
	KTAP_CASE(a_message_is_reported_once),
};

KTAP_MAIN(cases, &state_checks)
