/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TAPCTL_MESSAGE_H
#define TAPCTL_MESSAGE_H

#include <netlink/msg.h>

#include "client.h"

/**
 * message_read() - take a netlink message apart
 * @msg: filled in; message_free() it
 * @nlh: the message, of our family
 *
 * Returns 0, -EBADMSG or -ENOMEM, reported.
 */
int message_read(struct message *msg, struct nlmsghdr *nlh);

/**
 * message_write() - put a request's attributes into a message
 * @msg: netlink message with its headers in place
 * @rq: the request
 *
 * Returns 0 or -ENOMEM.
 */
int message_write(struct nl_msg *msg, const struct request *rq);

#endif
