// SPDX-License-Identifier: GPL-2.0-only
/* Netlink dumps and events, while taps come and go and requesters disappear. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/state.h"
#include "lib/tapdisk.h"

/* The next event; returns its kind, with its minor, pid and state where it has them. */
static int next_event(struct btnl *nl, long *minor, long *pid, long *state)
{
	struct nlattr *a[BLKTAP_A_MAX + 1];
	int cmd = btnl_receive(nl, 5, a);

	if (cmd < 0)
		return -1;
	CHECK(cmd == BLKTAP_CMD_EVENT, "command %d", cmd);
	CHECK(a[BLKTAP_A_EVENT]);
	*minor = a[BLKTAP_A_MINOR] ? (long)nla_get_u32(a[BLKTAP_A_MINOR]) : -1;
	*pid = a[BLKTAP_A_PID] ? (long)nla_get_u32(a[BLKTAP_A_PID]) : -1;
	*state = a[BLKTAP_A_STATE] ? (long)nla_get_u32(a[BLKTAP_A_STATE]) : -1;
	return nla_get_u32(a[BLKTAP_A_EVENT]);
}

/* Events of other kinds may come in between; a state only counts if it is the wanted one. */
static void expect_event(struct btnl *nl, int want, long minor, long pid, long state)
{
	long got_minor, got_pid, got_state;
	int event;

	do {
		event = next_event(nl, &got_minor, &got_pid, &got_state);
		CHECK(event >= 0, "event %d (minor %ld, pid %ld, state %#lx) is missing", want,
		      minor, pid, state);
	} while (event != want || (state >= 0 && got_state != state));
	CHECK(minor < 0 || got_minor == minor, "minor %ld, not %ld", got_minor, minor);
	CHECK(pid < 0 || got_pid == pid, "pid %ld, not %ld", got_pid, pid);
}

static void every_stage_of_a_life_is_an_event(void)
{
	struct tapdisk td = { 0 };
	struct btnl ev;
	long minor;

	btnl_open(&ev);
	btnl_join(&ev);
	tapdisk_start(&td);
	expect_event(&ev, BLKTAP_EVENT_TAPDISK_ADDED, -1, getpid(), -1);
	tapdisk_attach(&td);
	minor = td.tap.h.minor;
	expect_event(&ev, BLKTAP_EVENT_TAP_ADDED, minor, -1, -1);
	expect_event(&ev, BLKTAP_EVENT_TAP_STATE, minor, -1, BLKTAP_STATE_CLOSED);
	tapdisk_open(&td, "aio:/image");
	expect_event(&ev, BLKTAP_EVENT_TAP_STATE, minor, -1, 0);
	expect_event(&ev, BLKTAP_EVENT_DONE, minor, -1, -1);
	CHECK(tapdisk_do(&td, BLKTAP_CMD_PAUSE, BLKTAP_ORDER_PAUSE, 0, "") == 0);
	expect_event(&ev, BLKTAP_EVENT_TAP_STATE, minor, -1, 0x2a);
	CHECK(tapdisk_do(&td, BLKTAP_CMD_RESUME, BLKTAP_ORDER_RESUME, 0, "") == 0);
	expect_event(&ev, BLKTAP_EVENT_TAP_STATE, minor, -1, 0);
	tapdisk_close(&td);
	expect_event(&ev, BLKTAP_EVENT_TAP_STATE, minor, -1, BLKTAP_STATE_CLOSED);
	tapdisk_detach(&td);
	tapdisk_free(&td);
	expect_event(&ev, BLKTAP_EVENT_TAP_REMOVED, minor, -1, -1);
	close(td.channel);
	expect_event(&ev, BLKTAP_EVENT_TAPDISK_GONE, -1, getpid(), -1);
}

static int churn(void *arg)
{
	_Atomic bool *stop = arg;

	while (!*stop) {
		struct b2_handle h[8];
		int ctl = control_open();

		for (int i = 0; i < 8; i++)
			CHECK_OK(ioctl(ctl, B2_ALLOC_TAP, &h[i]));
		for (int i = 0; i < 8; i++)
			CHECK_OK(ioctl(ctl, B2_FREE_TAP, (unsigned long)h[i].minor));
		close(ctl);
	}
	return 0;
}

struct seen {
	long last;
	bool kept;
	uint32_t keep;
};

static void see_tap(struct nlattr **a, void *arg)
{
	struct seen *s = arg;

	CHECK(a[BLKTAP_A_MINOR] && a[BLKTAP_A_STATE]);
	CHECK((long)nla_get_u32(a[BLKTAP_A_MINOR]) > s->last, "minors are not in order");
	s->last = nla_get_u32(a[BLKTAP_A_MINOR]);
	s->kept |= s->last == s->keep;
}

static void dumps_while_taps_come_and_go(void)
{
	_Atomic bool *stop = shared_alloc(4096);
	struct btnl nl;
	uint32_t keep;
	pid_t pid[2];

	btnl_open(&nl);
	for (int i = 0; i < 2; i++)
		pid[i] = child_start(churn, stop);
	nap_ms(20);
	keep = btnl_alloc(&nl);
	for (int i = 0; i < 400 / ktap_scale() + 20; i++) {
		struct seen s = { .last = -1, .keep = keep };
		int n = btnl_dump(&nl, btnl_new(&nl, BLKTAP_CMD_GET), see_tap, &s);

		CHECK(n >= 1, "%d", n);
		CHECK(s.kept, "a tap that was there all the time is not in the dump");
	}
	*stop = true;
	for (int i = 0; i < 2; i++)
		CHECK(child_wait(pid[i]) == 0);
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, keep, 0) == 0, "%s", nl.text);
	CHECK(btnl_dump(&nl, btnl_new(&nl, BLKTAP_CMD_GET), NULL, NULL) == 0);
}

/* A dump larger than one message, read slowly, ended early. */
static void large_dumps_and_unread_ones(void)
{
	struct { int ctl; struct b2_handle h[200]; } t;
	struct btnl nl, unread;
	int n;

	t.ctl = control_open();
	for (int i = 0; i < 200; i++)
		CHECK_OK(ioctl(t.ctl, B2_ALLOC_TAP, &t.h[i]));
	btnl_open(&nl);
	n = btnl_dump(&nl, btnl_new(&nl, BLKTAP_CMD_GET), NULL, NULL);
	CHECK(n == 200, "%d", n);
	btnl_open(&unread);
	struct nl_msg *msg = btnl_new(&unread, BLKTAP_CMD_GET);

	nlmsg_hdr(msg)->nlmsg_flags |= NLM_F_DUMP | NLM_F_REQUEST;
	nl_complete_msg(unread.sk, msg);
	CHECK(nl_send(unread.sk, msg) > 0);
	nlmsg_free(msg);
	btnl_close(&unread);
	for (int i = 0; i < 200; i++)
		CHECK_OK(ioctl(t.ctl, B2_FREE_TAP, (unsigned long)t.h[i].minor));
	close(t.ctl);
}

static void a_requester_may_go_before_the_end(void)
{
	struct tapdisk td = { 0 };
	struct order o;

	tapdisk_start(&td);
	tapdisk_attach(&td);
	tapdisk_open(&td, "aio:/image");
	for (int i = 0; i < 10; i++) {
		struct btnl gone;

		btnl_open(&gone);
		CHECK(btnl_order(&gone, BLKTAP_CMD_STATS, td.tap.h.minor, 0) == 0, "%s",
		      gone.text);
		if (i % 2)
			btnl_close(&gone);
		channel_expect(td.channel, &o, BLKTAP_ORDER_STATS, td.tap.h.minor);
		channel_answer(td.channel, o.o.id, 0, "{}");
		if (i % 2 == 0)
			btnl_close(&gone);
	}
	CHECK(tapdisk_do(&td, BLKTAP_CMD_STATS, BLKTAP_ORDER_STATS, 0, "{}") == 0);
	tapdisk_end(&td);
}

/* DONE goes to whoever asked, and carries its sequence number. */
static void done_goes_to_its_sender_only(void)
{
	struct tapdisk td = { 0 };
	struct pollfd p = { .events = POLLIN };
	struct btnl other;

	tapdisk_start(&td);
	tapdisk_attach(&td);
	btnl_open(&other);
	for (int i = 0; i < 3; i++)
		CHECK(tapdisk_do(&td, BLKTAP_CMD_STATS, BLKTAP_ORDER_STATS, 0, "{}") == 0);
	p.fd = nl_socket_get_fd(other.sk);
	CHECK(poll(&p, 1, 100) == 0, "someone else's message");
	tapdisk_detach(&td);
	tapdisk_free(&td);
	close(td.channel);
}

/* A reader of events that never reads loses them, and holds up nobody. */
static void a_lazy_listener_holds_up_nobody(void)
{
	struct btnl ev, nl;
	int small = 2048;

	btnl_open(&ev);
	btnl_join(&ev);
	setsockopt(nl_socket_get_fd(ev.sk), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	btnl_open(&nl);
	for (int i = 0; i < 200; i++) {
		uint32_t minor = btnl_alloc(&nl);

		CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, minor, 0) == 0, "%s", nl.text);
	}
	btnl_close(&ev);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(every_stage_of_a_life_is_an_event),
	KTAP_CASE(dumps_while_taps_come_and_go),
	KTAP_CASE(large_dumps_and_unread_ones),
	KTAP_CASE(a_requester_may_go_before_the_end),
	KTAP_CASE(done_goes_to_its_sender_only),
	KTAP_CASE(a_lazy_listener_holds_up_nobody),
};

KTAP_MAIN(cases, &state_checks)
