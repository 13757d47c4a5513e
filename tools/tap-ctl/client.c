// SPDX-License-Identifier: GPL-2.0-only
/*
 * Talking to the kernel.
 *
 * A command is answered by its acknowledgment (or error, with an extended
 * acknowledgment's text), and where a tapdisk has to do it by a DONE message
 * too. Both carry the command's sequence number; DONE may overtake the
 * acknowledgment, and that of an order given up on earlier may still arrive.
 */
#include "client.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "message.h"
#include "report.h"

#define ACK_TIMEOUT	30	/* seconds: for what the kernel does at once */
#define DONE_SLACK	15	/* seconds on top of the kernel's own time limit */
#define RECEIVE_BUFFER	(1024 * 1024)
#define SEND_BUFFER	(32 * 1024)

struct client {
	struct nl_sock *sock;
	int family;
	int interrupt;
	void (*interrupted)(void *arg);
	void *interrupted_arg;
};

/**
 * struct call - a command that waits for its answers
 * @rq: the command
 * @seq: its sequence number
 * @fn: takes its answer
 * @arg: for @fn
 * @acked: it was acknowledged, or the dump is complete
 * @done: DONE has come
 * @reported: the admin knows of @error
 * @error: 0 or a negative errno
 * @why: the kernel's words for it, or NULL; owned
 * @text: DONE's text, or NULL; owned
 */
struct call {
	const struct request *rq;
	uint32_t seq;
	message_fn *fn;
	void *arg;
	bool acked;
	bool done;
	bool reported;
	int error;
	char *why;
	char *text;
};

static const char *const command_names[BLKTAP_CMD_MAX + 1] = {
	[BLKTAP_CMD_GET] = "find",
	[BLKTAP_CMD_ALLOC] = "allocate",
	[BLKTAP_CMD_FREE] = "free",
	[BLKTAP_CMD_TAPDISK_GET] = "list tapdisks",
	[BLKTAP_CMD_ATTACH] = "attach",
	[BLKTAP_CMD_DETACH] = "detach",
	[BLKTAP_CMD_OPEN] = "open",
	[BLKTAP_CMD_CLOSE] = "close",
	[BLKTAP_CMD_PAUSE] = "pause",
	[BLKTAP_CMD_RESUME] = "unpause",
	[BLKTAP_CMD_STATS] = "stats",
	[BLKTAP_CMD_POOL_GET] = "get pool",
	[BLKTAP_CMD_POOL_SET] = "set pool",
	[BLKTAP_CMD_RECOVER] = "recover",
	[BLKTAP_CMD_SET] = "set",
	[BLKTAP_CMD_VBD_GET] = "list guests' disks",
	[BLKTAP_CMD_VBD_SET] = "answer for a guest's disk",
};

/* --- what comes in --- */

/* From the kernel, and to this call; an event is to whom it may concern. */
static bool is_for(const struct call *call, struct nl_msg *nlmsg)
{
	return nlmsg_get_src(nlmsg)->nl_pid == 0 &&
	       (call->rq->cmd == BLKTAP_CMD_EVENT || nlmsg_hdr(nlmsg)->nlmsg_seq == call->seq);
}

static int on_message(struct nl_msg *nlmsg, void *arg)
{
	struct call *call = arg;
	struct message msg;

	if (!is_for(call, nlmsg))
		return NL_SKIP;
	call->error = message_read(&msg, nlmsg_hdr(nlmsg));
	if (call->error) {
		call->reported = true;
		return NL_STOP;
	}
	if (msg.cmd == BLKTAP_CMD_DONE) {
		call->done = true;
		call->error = -(int)msg.error;
		free(call->text);
		call->text = msg.text;
		msg.text = NULL;
	} else if (call->fn) {
		call->error = call->fn(&msg, call->arg);
		call->reported = true;
	}
	message_free(&msg);
	return call->error ? NL_STOP : NL_OK;
}

static int on_ack(struct nl_msg *nlmsg, void *arg)
{
	struct call *call = arg;

	if (is_for(call, nlmsg))
		call->acked = true;
	return NL_OK;
}

/* A dump's end carries an errno. */
static int on_finish(struct nl_msg *nlmsg, void *arg)
{
	struct nlmsghdr *nlh = nlmsg_hdr(nlmsg);
	struct call *call = arg;

	if (!is_for(call, nlmsg))
		return NL_SKIP;
	call->acked = true;
	if (nlmsg_datalen(nlh) >= (int)sizeof(int) && *(int *)nlmsg_data(nlh) < 0)
		call->error = *(int *)nlmsg_data(nlh);
	return NL_OK;
}

/* The text of an extended acknowledgment; NULL: it has none. */
static char *extack_text(const struct nlmsgerr *err)
{
	const struct nlmsghdr *nlh = (const void *)((const char *)err - NLMSG_HDRLEN);
	const struct nlattr *a;
	int offset = sizeof(*err), rem;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED))
		offset += NLMSG_ALIGN(err->msg.nlmsg_len) - NLMSG_HDRLEN;
	rem = (int)nlh->nlmsg_len - NLMSG_HDRLEN - offset;
	nla_for_each_attr(a, (struct nlattr *)((const char *)err + offset), rem, rem)
		if (nla_type(a) == NLMSGERR_ATTR_MSG)
			return nla_strdup(a);
	return NULL;
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
	const struct nlmsghdr *nlh = (const void *)((const char *)err - NLMSG_HDRLEN);
	struct call *call = arg;

	if (from->nl_pid != 0 || nlh->nlmsg_seq != call->seq)
		return NL_SKIP;
	call->error = err->error;
	call->why = extack_text(err);
	return NL_STOP;
}

static int ignore_sequence(struct nl_msg *nlmsg, void *arg)
{
	(void)nlmsg;
	(void)arg;
	return NL_OK;
}

/* --- a call --- */

static const char *cause_of(const struct call *call)
{
	if (call->why)
		return call->why;
	if (call->error == -EPERM)
		return "not permitted: it takes CAP_SYS_ADMIN (run as root)";
	return strerror(-call->error);
}

static void report_call(const struct call *call)
{
	const struct request *rq = call->rq;
	char tap[32] = "", tapdisk[32] = "";

	/* DONE's text names tap and image, and what was tried. */
	if (call->text && *call->text) {
		report("%s", call->text);
		return;
	}
	if (rq->minor >= 0)
		snprintf(tap, sizeof(tap), " tap %d", rq->minor);
	if (rq->pid)
		snprintf(tapdisk, sizeof(tapdisk), ", tapdisk %u", rq->pid);
	report("%s%s%s%s%s: %s", command_names[rq->cmd], rq->pool ? " " : "", rq->pool ?: "", tap,
	       tapdisk, cause_of(call));
}

static int call_end(struct call *call)
{
	if (call->error && !call->reported &&
	    !(call->rq->may_be_busy && call->error == -EBUSY))
		report_call(call);
	free(call->why);
	free(call->text);
	return call->error;
}

static int call_send(struct client *client, struct call *call, int flags)
{
	struct nl_msg *msg = nlmsg_alloc_size(SEND_BUFFER);
	int err = -NLE_NOMEM;

	if (msg && genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, client->family, 0, flags,
			       call->rq->cmd, BLKTAP_GENL_VERSION) &&
	    !message_write(msg, call->rq)) {
		err = nl_send_auto(client->sock, msg);
		call->seq = nlmsg_hdr(msg)->nlmsg_seq;
	}
	nlmsg_free(msg);
	if (err >= 0)
		return 0;
	report("sending to the kernel: %s", nl_geterror(err));
	call->reported = true;
	return -EIO;
}

/* Milliseconds to @end, of CLOCK_MONOTONIC, for poll(). */
static int time_left(const struct timespec *end)
{
	struct timespec now;
	long long ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (end->tv_sec - now.tv_sec) * 1000LL + (end->tv_nsec - now.tv_nsec) / 1000000;
	return ms > 0 ? ms : 0;
}

static void interrupt(struct client *client)
{
	client->interrupt = -1;
	client->interrupted(client->interrupted_arg);
}

/* Wait for a message; @end NULL: for ever. */
static int wait_readable(struct client *client, const struct timespec *end)
{
	struct pollfd fds[2] = {
		{ .fd = nl_socket_get_fd(client->sock), .events = POLLIN },
		{ .events = POLLIN },
	};
	int n;

	do {
		fds[1].fd = client->interrupt;
		n = poll(fds, 2, end ? time_left(end) : -1);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ETIMEDOUT;
		if (n > 0 && fds[1].revents)
			interrupt(client);
	} while (n < 0 || !fds[0].revents);
	return 0;
}

static struct nl_cb *call_callbacks(struct call *call)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_CUSTOM);

	if (!cb)
		return NULL;
	nl_cb_set(cb, NL_CB_SEQ_CHECK, NL_CB_CUSTOM, ignore_sequence, NULL);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, call);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, call);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_finish, call);
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, call);
	return cb;
}

static int call_receive(struct client *client, struct call *call, struct nl_cb *cb, bool done)
{
	unsigned int seconds = done ? (call->rq->timeout ?: DEFAULT_TIMEOUT) + DONE_SLACK :
				      ACK_TIMEOUT;
	struct timespec end;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	while (!call->error && !(call->acked && (call->done || !done))) {
		err = wait_readable(client, &end);
		if (err)
			return err;
		err = nl_recvmsgs(client->sock, cb);
		if (err == -NLE_DUMP_INTR) {
			call->reported = true;
			return -EAGAIN;
		}
		if (err < 0 && !call->error) {
			report("receiving from the kernel: %s", nl_geterror(err));
			call->reported = true;
			return -EIO;
		}
	}
	return call->error;
}

static int call_run(struct client *client, struct call *call, int flags, bool done)
{
	struct nl_cb *cb = call_callbacks(call);

	call->error = cb ? call_send(client, call, flags) : -ENOMEM;
	if (!call->error)
		call->error = call_receive(client, call, cb, done);
	nl_cb_put(cb);
	return call->error;
}

/* --- the interface --- */

int client_get(struct client *client, const struct request *rq, message_fn *fn, void *arg)
{
	struct call call = { .rq = rq, .fn = fn, .arg = arg };

	call_run(client, &call, NLM_F_ACK, false);
	return call_end(&call);
}

int client_dump(struct client *client, uint8_t cmd, message_fn *fn, void *arg)
{
	struct request rq = { .cmd = cmd, .minor = -1 };
	struct call call = { .rq = &rq, .fn = fn, .arg = arg };

	call_run(client, &call, NLM_F_DUMP, false);
	return call_end(&call);
}

int client_order(struct client *client, const struct request *rq, char **text)
{
	struct call call = { .rq = rq };

	call_run(client, &call, NLM_F_ACK, true);
	if (text && !call.error) {
		*text = call.text;
		call.text = NULL;
	}
	return call_end(&call);
}

static int connect_family(struct client *client)
{
	int on = 1, fd, err;

	err = genl_connect(client->sock);
	if (err) {
		report("generic netlink: %s", nl_geterror(err));
		return -EIO;
	}
	nl_socket_set_buffer_size(client->sock, RECEIVE_BUFFER, 0);
	fd = nl_socket_get_fd(client->sock);
	/* Without these errors have no text: nothing else depends on them. */
	setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	client->family = genl_ctrl_resolve(client->sock, BLKTAP_GENL_NAME);
	if (client->family >= 0)
		return 0;
	if (client->family == -NLE_OBJ_NOTFOUND) {
		report("blktap: the kernel module is not loaded: modprobe blktap");
		return -ENODEV;
	}
	report("generic netlink family %s: %s", BLKTAP_GENL_NAME, nl_geterror(client->family));
	return -EIO;
}

int client_open(struct client **client)
{
	struct client *c = calloc(1, sizeof(*c));
	int err;

	if (c)
		c->sock = nl_socket_alloc();
	if (!c || !c->sock) {
		free(c);
		report("generic netlink: out of memory");
		return -ENOMEM;
	}
	c->interrupt = -1;
	err = connect_family(c);
	if (err) {
		client_close(c);
		return err;
	}
	*client = c;
	return 0;
}

void client_close(struct client *client)
{
	nl_socket_free(client->sock);
	free(client);
}

void client_on_interrupt(struct client *client, int fd, void (*fn)(void *arg), void *arg)
{
	client->interrupt = fd;
	client->interrupted = fn;
	client->interrupted_arg = arg;
}

int client_join(struct client *client)
{
	int group = genl_ctrl_resolve_grp(client->sock, BLKTAP_GENL_NAME, BLKTAP_GENL_MCGRP);
	int err = group < 0 ? group : nl_socket_add_membership(client->sock, group);

	if (!err)
		return 0;
	report("joining the kernel's events: %s", nl_geterror(err));
	return -EIO;
}

int client_fd(struct client *client)
{
	return nl_socket_get_fd(client->sock);
}

int client_events(struct client *client, message_fn *fn, void *arg)
{
	struct request rq = { .cmd = BLKTAP_CMD_EVENT, .minor = -1 };
	struct call call = { .rq = &rq, .fn = fn, .arg = arg };
	struct nl_cb *cb = call_callbacks(&call);
	int err;

	if (!cb) {
		report("events: out of memory");
		return -ENOMEM;
	}
	errno = 0;
	err = nl_recvmsgs(client->sock, cb);
	if (err < 0 && errno == ENOBUFS)
		call.error = -ENOBUFS;
	else if (err < 0 && !call.error) {
		report("receiving from the kernel: %s", nl_geterror(err));
		call.error = -EIO;
	}
	nl_cb_put(cb);
	return call.error;
}

int client_listen(struct client *client, message_fn *fn, void *arg)
{
	int err = client_join(client);

	while (!err) {
		err = client_events(client, fn, arg);
		if (err == -ENOBUFS) {
			report("events were lost: tap-ctl list shows what is there");
			err = 0;
		}
	}
	return err;
}
