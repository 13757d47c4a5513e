// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tapdisk.h"

void tapdisk_start(struct tapdisk *td)
{
	td->channel = channel_open();
	btnl_open(&td->nl);
}

int tapdisk_order(struct tapdisk *td, int cmd, const char *name, uint32_t timeout)
{
	struct nl_msg *msg = btnl_new(&td->nl, cmd);

	nla_put_u32(msg, BLKTAP_A_MINOR, td->tap.h.minor);
	nla_put_u32(msg, BLKTAP_A_PID, getpid());
	if (name)
		nla_put_string(msg, BLKTAP_A_NAME, name);
	if (timeout)
		nla_put_u32(msg, BLKTAP_A_TIMEOUT, timeout);
	return btnl_send_for_ack(&td->nl, msg);
}

static void accepted(struct tapdisk *td, int err, const char *what)
{
	CHECK(!err, "%s: %s: %s", what, strerror(err), td->nl.text);
}

static void done(struct tapdisk *td, const char *what)
{
	int err = btnl_wait_done(&td->nl, td->nl.seq, 10);

	CHECK(err >= 0, "%s: no DONE", what);
	CHECK(!err, "%s: %s: %s", what, strerror(err), td->nl.text);
}

void tapdisk_map(struct tapdisk *td, uint32_t minor)
{
	struct b2_handle h = {
		.ring_major = btnl_get_u32(&td->nl, minor, BLKTAP_A_RING_MAJOR),
		.disk_major = btnl_get_u32(&td->nl, minor, BLKTAP_A_DISK_MAJOR),
		.minor = minor,
	};

	tap_adopt(&td->tap, h);
	tap_map(&td->tap);
}

void tapdisk_attach(struct tapdisk *td)
{
	struct order o;
	uint32_t seq;

	td->tap = (struct tap) { .h.minor = btnl_alloc(&td->nl), .fd = -1 };
	accepted(td, tapdisk_order(td, BLKTAP_CMD_ATTACH, NULL, 0), "ATTACH");
	seq = td->nl.seq;
	channel_expect(td->channel, &o, BLKTAP_ORDER_ATTACH, td->tap.h.minor);
	tapdisk_map(td, td->tap.h.minor);
	channel_answer(td->channel, o.o.id, 0, "");
	td->nl.seq = seq;
	done(td, "ATTACH");
}

void tapdisk_open(struct tapdisk *td, const char *name)
{
	struct order o;

	accepted(td, tapdisk_order(td, BLKTAP_CMD_OPEN, name, 0), "OPEN");
	channel_expect(td->channel, &o, BLKTAP_ORDER_OPEN, td->tap.h.minor);
	CHECK(!strcmp(o.name, name), "'%s'", o.name);
	td->server = (struct server) {
		.tap = &td->tap, .sectors = TAPDISK_SECTORS, .level = true,
	};
	server_start(&td->server);
	channel_answer(td->channel, o.o.id, 0, "");
	done(td, "OPEN");
}

int tapdisk_do(struct tapdisk *td, int cmd, unsigned int order, int status, const char *text)
{
	struct order o;

	accepted(td, tapdisk_order(td, cmd, NULL, 0), "command");
	channel_expect(td->channel, &o, order, td->tap.h.minor);
	channel_answer(td->channel, o.o.id, status, text);
	return btnl_wait_done(&td->nl, td->nl.seq, 10);
}

/* The kernel orders CLOSE again when the last opener of a busy disk goes. */
void tapdisk_close(struct tapdisk *td)
{
	struct order o;
	int rc;

	accepted(td, tapdisk_order(td, BLKTAP_CMD_CLOSE, NULL, 0), "CLOSE");
	do {
		channel_expect(td->channel, &o, BLKTAP_ORDER_CLOSE, td->tap.h.minor);
		rc = ioctl(td->tap.fd, B2_REMOVE) ? -errno : 0;
		CHECK(!rc || rc == -EBUSY, "REMOVE_DEVICE: %s", strerror(-rc));
		channel_answer(td->channel, o.o.id, rc, "");
	} while (rc);
	done(td, "CLOSE");
	CHECK(!td->server.messages[B2_MSG_PAUSE] && !td->server.messages[B2_MSG_RESUME] &&
	      !td->server.messages[B2_MSG_CLOSE], "a registered tapdisk got a message");
	server_stop(&td->server);
}

void tapdisk_detach(struct tapdisk *td)
{
	struct order o;

	accepted(td, tapdisk_order(td, BLKTAP_CMD_DETACH, NULL, 0), "DETACH");
	channel_expect(td->channel, &o, BLKTAP_ORDER_DETACH, td->tap.h.minor);
	tap_close(&td->tap);
	channel_answer(td->channel, o.o.id, 0, "");
	done(td, "DETACH");
}

void tapdisk_free(struct tapdisk *td)
{
	int err = btnl_do(&td->nl, BLKTAP_CMD_FREE, td->tap.h.minor, 0);

	CHECK(!err, "FREE: %s: %s", strerror(err), td->nl.text);
	CHECK(tap_is_gone(&td->tap));
}

void tapdisk_end(struct tapdisk *td)
{
	tapdisk_close(td);
	tapdisk_detach(td);
	tapdisk_free(td);
	btnl_close(&td->nl);
	close(td->channel);
}
