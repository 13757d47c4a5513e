/* SPDX-License-Identifier: GPL-2.0-only */
/* Raw messages of the netlink family "blktap", and a tapdisk's end of the channel. */
#ifndef SELFTESTS_LIB_NL_H
#define SELFTESTS_LIB_NL_H

#include <linux/blktap.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "tap.h"

#define NL_TEXT 512

struct btnl {
	struct nl_sock *sk;
	int family;
	uint32_t seq;			/* of the last message sent */
	int early;			/* its DONE, if that came before the acknowledgement */
	char text[NL_TEXT];		/* of the last refusal, or DONE */
	unsigned char last[65536]	/* what the attributes of btnl_receive() point into */
		__attribute__((aligned(8)));
};

void btnl_open(struct btnl *nl);
void btnl_close(struct btnl *nl);

/* Events come too, from now on. */
void btnl_join(struct btnl *nl);

/* Events of one kind and of one tap that come within @seconds, till there are @most. */
int btnl_count_events(struct btnl *nl, unsigned int event, uint32_t minor, double seconds,
		      int most);

/* A command without attributes; add them with nla_put_*(). */
struct nl_msg *btnl_new(struct btnl *nl, int cmd);

/* Send, free the message, wait for the acknowledgement: 0 or an errno. */
int btnl_send_for_ack(struct btnl *nl, struct nl_msg *msg);

/* A command about a minor (and a time limit, if not 0): its acknowledgement. */
int btnl_order(struct btnl *nl, int cmd, uint32_t minor, uint32_t timeout);

/* The DONE of command @seq: its error, or -1 when there is none in that time. */
int btnl_wait_done(struct btnl *nl, uint32_t seq, double seconds);

/* btbtnl_order() and, if accepted, btbtnl_wait_done(). */
int btnl_do(struct btnl *nl, int cmd, uint32_t minor, uint32_t timeout);

/* Call @fn with every message of a dump; returns how many, or -errno. */
int btnl_dump(struct btnl *nl, struct nl_msg *msg,
	    void (*fn)(struct nlattr **attrs, void *arg), void *arg);

/* One message within @seconds, parsed; returns its command, or -1. */
int btnl_receive(struct btnl *nl, double seconds, struct nlattr **attrs);

/* ALLOC: the minor. */
uint32_t btnl_alloc(struct btnl *nl);

/* GET of one attribute of a tap; -1 when it is absent. */
long btnl_get_u32(struct btnl *nl, uint32_t minor, int attr);

/* CLOSE by force of a tap, whatever its tapdisk does: an errno. With a time limit. */
int tap_close_force(uint32_t minor);
int tap_close_force_in(uint32_t minor, uint32_t timeout);

/* The channel: registered, then orders and answers. */
struct order {
	struct blktap_order o;
	char name[BLKTAP_NAME_MAX];
};

int channel_open(void);

/* Whether an order is there to be read within @seconds. */
bool channel_wait(int fd, double seconds);

/* An order within @seconds; false: none. */
bool channel_read(int fd, struct order *order, double seconds);
void channel_expect(int fd, struct order *order, unsigned int op, unsigned int minor);

/* write(2)'s result. */
ssize_t channel_write(int fd, uint64_t id, int status, const char *text);
void channel_answer(int fd, uint64_t id, int status, const char *text);

#endif
