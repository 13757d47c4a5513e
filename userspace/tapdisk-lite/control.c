// SPDX-License-Identifier: GPL-2.0-only
/* The channel on which the kernel gives its orders. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <syslog.h>
#include <unistd.h>

#include "tap.h"

int control_answer(struct tapdisk *tapdisk, uint64_t id, int status, const char *text)
{
	struct blktap_answer *answer = &tapdisk->answer.head;
	size_t len = text ? strnlen(text, BLKTAP_TEXT_MAX - 1) : 0;
	int err = 0;

	answer->id = id;
	answer->status = status;
	answer->len = (uint32_t)len;
	memcpy(tapdisk->answer.text, text ? text : "", len);
	if (write(tapdisk->control.fd, answer, sizeof(*answer) + len) < 0)
		err = -errno;
	if (err == -ENOENT)
		syslog(LOG_NOTICE, "order %llu had timed out when it was done",
		       (unsigned long long)id);
	else if (err)
		syslog(LOG_ERR, "answering order %llu: %s", (unsigned long long)id,
		       strerror(-err));
	return err;
}

static void answer_stats(struct tap *tap, uint64_t id)
{
	char *json = tap_stats_json(tap);

	control_answer(tap->tapdisk, id, json ? 0 : -ENOMEM, json);
	free(json);
}

/* True: the answer comes later, or has been given. */
static bool order_of_tap(struct tap *tap, const struct blktap_order *order, const char *name,
			 int *err, struct vhd_error *error)
{
	switch (order->op) {
	case BLKTAP_ORDER_OPEN:
		*err = tap_open(tap, order, name, error);
		return false;
	case BLKTAP_ORDER_RESUME:
		*err = tap_resume(tap, order, name, error);
		return false;
	case BLKTAP_ORDER_CLOSE:
	case BLKTAP_ORDER_PAUSE:
	case BLKTAP_ORDER_DETACH:
		*err = tap_quiesce(tap, order, error);
		return !*err;
	case BLKTAP_ORDER_STATS:
		answer_stats(tap, order->id);
		return true;
	default:
		*err = deny(error, EOPNOTSUPP, "tapdisk does not know order %u", order->op);
		return false;
	}
}

static void take_order(struct tapdisk *tapdisk, const struct blktap_order *order, const char *name)
{
	struct tap *tap = tap_find(tapdisk, order->minor);
	struct vhd_error error = { "" };
	int err;

	syslog(LOG_DEBUG, "minor %u: order %u '%s' flags %#x", order->minor, order->op, name,
	       order->flags);
	if (order->op == BLKTAP_ORDER_ATTACH)
		err = tap ? deny(&error, EEXIST, "minor %u: attached already", order->minor)
			  : tap_attach(tapdisk, order->minor, &error);
	else if (!tap)
		err = deny(&error, ENODEV, "minor %u: not attached to this tapdisk", order->minor);
	else if (order_of_tap(tap, order, name, &err, &error))
		return;

	if (err)
		syslog(LOG_ERR, "%s", error.text);
	if (control_answer(tapdisk, order->id, err, err ? error.text : NULL) == -ENOENT && !err)
		tap_undo(tap_find(tapdisk, order->minor), order->op);
}

static void control_ready(struct loop_source *source, uint32_t events)
{
	struct tapdisk *tapdisk = container_of(source, struct tapdisk, control);
	struct {
		struct blktap_order order;
		char name[BLKTAP_NAME_MAX + 1];
	} buffer;
	ssize_t n;

	while ((n = read(source->fd, &buffer, BLKTAP_ORDER_MAX)) >= (ssize_t)sizeof(buffer.order)) {
		((char *)&buffer)[n] = '\0';
		take_order(tapdisk, &buffer.order, buffer.name);
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;

	syslog(LOG_CRIT, "reading orders (events %#x): %s", events,
	       n < 0 ? strerror(errno) : "end of file");
	loop_del(&tapdisk->loop, source);
}

static int control_register(struct tapdisk *tapdisk, struct vhd_error *error)
{
	struct blktap_register reg = { .version = BLKTAP_CONTROL_VERSION };
	int err;

	if (ioctl(tapdisk->control.fd, BLKTAP_IOCTL_REGISTER, &reg))
		return deny(error, errno, "%s: registering as a tapdisk: %s", BLKTAP_CONTROL_NODE,
			    errno == ENOTTY ? "the loaded blktap is an old one" : strerror(errno));

	tapdisk->control.ready = control_ready;
	err = loop_add(&tapdisk->loop, &tapdisk->control);
	return err ? deny(error, -err, "%s: %s", BLKTAP_CONTROL_NODE, strerror(-err)) : 0;
}

int control_init(struct tapdisk *tapdisk, struct vhd_error *error)
{
	int fd = open(BLKTAP_CONTROL_NODE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int err;

	if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		return deny(error, errno, "%s: the kernel module is not loaded: modprobe blktap",
			    BLKTAP_CONTROL_NODE);
	if (fd < 0)
		return deny(error, errno, "%s: %s", BLKTAP_CONTROL_NODE, strerror(errno));

	tapdisk->control.fd = fd;
	err = control_register(tapdisk, error);
	if (err)
		close(fd);
	return err;
}

void control_exit(struct tapdisk *tapdisk)
{
	loop_del(&tapdisk->loop, &tapdisk->control);
	close(tapdisk->control.fd);
}
