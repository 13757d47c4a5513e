// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "nl.h"

#define NO_MESSAGE (-1)

void btnl_open(struct btnl *nl)
{
	int one = 1;

	memset(nl, 0, sizeof(*nl));
	nl->sk = nl_socket_alloc();
	CHECK(nl->sk);
	CHECK(!genl_connect(nl->sk));
	nl->family = genl_ctrl_resolve(nl->sk, BLKTAP_GENL_NAME);
	CHECK(nl->family >= 0, "family " BLKTAP_GENL_NAME ": %s", nl_geterror(nl->family));
	CHECK_OK(setsockopt(nl_socket_get_fd(nl->sk), SOL_NETLINK, NETLINK_EXT_ACK, &one,
			    sizeof(one)));
	nl_socket_disable_seq_check(nl->sk);
	nl_socket_disable_auto_ack(nl->sk);
	nl_socket_set_msg_buf_size(nl->sk, 65536);
}

void btnl_close(struct btnl *nl)
{
	nl_socket_free(nl->sk);
	nl->sk = NULL;
}

void btnl_join(struct btnl *nl)
{
	int group = genl_ctrl_resolve_grp(nl->sk, BLKTAP_GENL_NAME, BLKTAP_GENL_MCGRP);

	CHECK(group >= 0, "group " BLKTAP_GENL_MCGRP ": %s", nl_geterror(group));
	CHECK(!nl_socket_add_membership(nl->sk, group));
}

struct nl_msg *btnl_new(struct btnl *nl, int cmd)
{
	struct nl_msg *msg = nlmsg_alloc_size(65536);

	CHECK(msg);
	CHECK(genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, nl->family, 0, 0, cmd,
			  BLKTAP_GENL_VERSION));
	return msg;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* What is to be found in what is received. */
struct seek {
	bool (*take)(struct btnl *nl, struct nlmsghdr *h, void *arg);
	void *arg;
};

/* Receive until @take returns true; false: it did not within @seconds. */
static bool receive_until(struct btnl *nl, double seconds, struct seek seek)
{
	struct pollfd p = { .fd = nl_socket_get_fd(nl->sk), .events = POLLIN };
	double end = now() + seconds * ktap_scale();
	struct sockaddr_nl from;
	unsigned char *buf;
	struct nlmsghdr *h;
	bool found = false;
	int n;

	while (!found && now() < end) {
		if (poll(&p, 1, (end - now()) * 1000 + 1) != 1)
			return false;
		n = nl_recv(nl->sk, &from, &buf, NULL);
		CHECK(n > 0, "nl_recv: %s", nl_geterror(n));
		for (h = (void *)buf; nlmsg_ok(h, n); h = nlmsg_next(h, &n))
			found |= seek.take(nl, h, seek.arg);
		free(buf);
	}
	return found;
}

static void take_text(struct btnl *nl, struct nlmsghdr *h)
{
	struct nlmsgerr *e = nlmsg_data(h);
	int skip = sizeof(*e);
	struct nlattr *a;

	nl->text[0] = 0;
	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(h->nlmsg_flags & NLM_F_CAPPED))
		skip += e->msg.nlmsg_len - sizeof(e->msg);
	a = nlmsg_find_attr(h, skip, NLMSGERR_ATTR_MSG);
	if (a)
		snprintf(nl->text, sizeof(nl->text), "%s", nla_get_string(a));
}

struct done {
	uint32_t seq;
	int error;
};

static bool take_done(struct btnl *nl, struct nlmsghdr *h, void *arg)
{
	struct nlattr *a[BLKTAP_A_MAX + 1];
	struct done *d = arg;

	if (h->nlmsg_type != nl->family || h->nlmsg_seq != d->seq ||
	    genlmsg_hdr(h)->cmd != BLKTAP_CMD_DONE)
		return false;
	CHECK(!genlmsg_parse(h, 0, a, BLKTAP_A_MAX, NULL));
	CHECK(a[BLKTAP_A_ERROR] && a[BLKTAP_A_MINOR]);
	d->error = nla_get_u32(a[BLKTAP_A_ERROR]);
	snprintf(nl->text, sizeof(nl->text), "%s",
		 a[BLKTAP_A_TEXT] ? nla_get_string(a[BLKTAP_A_TEXT]) : "");
	return true;
}

static bool take_ack(struct btnl *nl, struct nlmsghdr *h, void *arg)
{
	struct done d = { .seq = nl->seq };
	struct nlmsgerr *e = nlmsg_data(h);

	if (take_done(nl, h, &d))
		nl->early = d.error;
	if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq != nl->seq)
		return false;
	*(int *)arg = -e->error;
	/* DONE may be earlier: then its text is the one. */
	if (nl->early == NO_MESSAGE)
		take_text(nl, h);
	return true;
}

static void send_msg(struct btnl *nl, struct nl_msg *msg, int flags)
{
	nlmsg_hdr(msg)->nlmsg_flags |= flags;
	nl_complete_msg(nl->sk, msg);
	nl->seq = nlmsg_hdr(msg)->nlmsg_seq;
	nl->early = NO_MESSAGE;
	CHECK(nl_send(nl->sk, msg) >= 0);
	nlmsg_free(msg);
}

int btnl_send_for_ack(struct btnl *nl, struct nl_msg *msg)
{
	int err = 0;

	send_msg(nl, msg, NLM_F_ACK);
	CHECK(receive_until(nl, 5, (struct seek) { take_ack, &err }), "no acknowledgement");
	return err;
}

int btnl_order(struct btnl *nl, int cmd, uint32_t minor, uint32_t timeout)
{
	struct nl_msg *msg = btnl_new(nl, cmd);

	nla_put_u32(msg, BLKTAP_A_MINOR, minor);
	if (timeout)
		nla_put_u32(msg, BLKTAP_A_TIMEOUT, timeout);
	return btnl_send_for_ack(nl, msg);
}

int btnl_wait_done(struct btnl *nl, uint32_t seq, double seconds)
{
	struct done d = { .seq = seq };

	if (seq == nl->seq && nl->early != NO_MESSAGE)
		return nl->early;
	return receive_until(nl, seconds, (struct seek) { take_done, &d }) ? d.error : NO_MESSAGE;
}

int btnl_do(struct btnl *nl, int cmd, uint32_t minor, uint32_t timeout)
{
	int err = btnl_order(nl, cmd, minor, timeout);

	return err ?: btnl_wait_done(nl, nl->seq, timeout + 10);
}

struct dump {
	void (*fn)(struct nlattr **attrs, void *arg);
	void *arg;
	int nr;
	int error;
};

static bool take_dumped(struct btnl *nl, struct nlmsghdr *h, void *arg)
{
	struct nlattr *a[BLKTAP_A_MAX + 1];
	struct dump *d = arg;

	if (h->nlmsg_seq != nl->seq)
		return false;
	if (h->nlmsg_type == NLMSG_DONE)
		return true;
	if (h->nlmsg_type == NLMSG_ERROR) {
		d->error = -((struct nlmsgerr *)nlmsg_data(h))->error;
		take_text(nl, h);
		return true;
	}
	CHECK(!genlmsg_parse(h, 0, a, BLKTAP_A_MAX, NULL));
	if (d->fn)
		d->fn(a, d->arg);
	d->nr++;
	return false;
}

int btnl_dump(struct btnl *nl, struct nl_msg *msg,
	    void (*fn)(struct nlattr **attrs, void *arg), void *arg)
{
	struct dump d = { .fn = fn, .arg = arg };

	send_msg(nl, msg, NLM_F_DUMP);
	CHECK(receive_until(nl, 10, (struct seek) { take_dumped, &d }), "the dump has no end");
	return d.error ? -d.error : d.nr;
}

struct one {
	struct nlattr **attrs;
	int cmd;
};

/* Attributes stay valid until the next receive. */
static bool take_one(struct btnl *nl, struct nlmsghdr *h, void *arg)
{
	struct nlmsghdr *copy = (void *)nl->last;
	struct one *o = arg;

	if (h->nlmsg_type != nl->family || o->cmd != NO_MESSAGE)
		return false;
	CHECK(h->nlmsg_len <= sizeof(nl->last));
	memcpy(copy, h, h->nlmsg_len);
	CHECK(!genlmsg_parse(copy, 0, o->attrs, BLKTAP_A_MAX, NULL));
	o->cmd = genlmsg_hdr(copy)->cmd;
	return true;
}

int btnl_receive(struct btnl *nl, double seconds, struct nlattr **attrs)
{
	struct one o = { attrs, NO_MESSAGE };

	receive_until(nl, seconds, (struct seek) { take_one, &o });
	return o.cmd;
}

struct wanted {
	unsigned int event;
	uint32_t minor;
	int nr;
	int most;
};

static bool take_event(struct btnl *nl, struct nlmsghdr *h, void *arg)
{
	struct nlattr *a[BLKTAP_A_MAX + 1];
	struct wanted *w = arg;

	if (h->nlmsg_type != nl->family || genlmsg_hdr(h)->cmd != BLKTAP_CMD_EVENT)
		return false;
	CHECK(!genlmsg_parse(h, 0, a, BLKTAP_A_MAX, NULL));
	w->nr += nla_get_u32(a[BLKTAP_A_EVENT]) == w->event && a[BLKTAP_A_MINOR] &&
		 nla_get_u32(a[BLKTAP_A_MINOR]) == w->minor;
	return w->nr >= w->most;
}

int btnl_count_events(struct btnl *nl, unsigned int event, uint32_t minor, double seconds,
		      int most)
{
	struct wanted w = { event, minor, 0, most };

	receive_until(nl, seconds, (struct seek) { take_event, &w });
	return w.nr;
}

uint32_t btnl_alloc(struct btnl *nl)
{
	struct nlattr *a[BLKTAP_A_MAX + 1];

	send_msg(nl, btnl_new(nl, BLKTAP_CMD_ALLOC), 0);
	CHECK(btnl_receive(nl, 5, a) == BLKTAP_CMD_GET, "no tap in answer to ALLOC");
	CHECK(a[BLKTAP_A_MINOR]);
	return nla_get_u32(a[BLKTAP_A_MINOR]);
}

long btnl_get_u32(struct btnl *nl, uint32_t minor, int attr)
{
	struct nlattr *a[BLKTAP_A_MAX + 1];
	struct nl_msg *msg = btnl_new(nl, BLKTAP_CMD_GET);

	nla_put_u32(msg, BLKTAP_A_MINOR, minor);
	send_msg(nl, msg, 0);
	CHECK(btnl_receive(nl, 5, a) == BLKTAP_CMD_GET, "no such tap: %u", minor);
	return a[attr] ? (long)nla_get_u32(a[attr]) : -1;
}

int channel_open(void)
{
	struct blktap_register reg = { .version = BLKTAP_CONTROL_VERSION };
	int fd = open(CONTROL_NODE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	CHECK_OK(fd);
	CHECK_OK(ioctl(fd, BLKTAP_IOCTL_REGISTER, &reg));
	CHECK(reg.version == BLKTAP_CONTROL_VERSION && !reg.flags);
	return fd;
}

int tap_close_force_in(uint32_t minor, uint32_t timeout)
{
	struct nl_msg *msg;
	struct btnl nl;
	int err;

	btnl_open(&nl);
	msg = btnl_new(&nl, BLKTAP_CMD_CLOSE);
	nla_put_u32(msg, BLKTAP_A_MINOR, minor);
	nla_put_flag(msg, BLKTAP_A_FORCE);
	nla_put_u32(msg, BLKTAP_A_TIMEOUT, timeout);
	err = btnl_send_for_ack(&nl, msg) ?: btnl_wait_done(&nl, nl.seq, timeout + 10);
	btnl_close(&nl);
	return err;
}

int tap_close_force(uint32_t minor)
{
	return tap_close_force_in(minor, 120);
}

bool channel_wait(int fd, double seconds)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, seconds * 1000 * ktap_scale()) == 1;
}

bool channel_read(int fd, struct order *order, double seconds)
{
	ssize_t n;

	if (!channel_wait(fd, seconds))
		return false;
	n = read(fd, order, sizeof(*order));
	CHECK(n >= (ssize_t)sizeof(order->o), "%zd: %s", n, strerror(errno));
	CHECK((size_t)n == sizeof(order->o) + order->o.name_len, "%zd bytes, name of %u", n,
	      order->o.name_len);
	CHECK(order->o.id);
	CHECK(!order->o.name_len || !order->name[order->o.name_len - 1], "no NUL");
	return true;
}

void channel_expect(int fd, struct order *order, unsigned int op, unsigned int minor)
{
	CHECK(channel_read(fd, order, 5), "no order %u", op);
	CHECK(order->o.op == op && order->o.minor == minor, "order %u of minor %u, not %u of %u",
	      order->o.op, order->o.minor, op, minor);
}

ssize_t channel_write(int fd, uint64_t id, int status, const char *text)
{
	struct blktap_answer *a = calloc(1, sizeof(*a) + strlen(text));
	ssize_t n;

	*a = (struct blktap_answer) { .id = id, .status = status, .len = strlen(text) };
	memcpy(a + 1, text, a->len);
	n = write(fd, a, sizeof(*a) + a->len);
	free(a);
	return n;
}

void channel_answer(int fd, uint64_t id, int status, const char *text)
{
	CHECK_OK(channel_write(fd, id, status, text));
}
