// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random calls: ioctls of both nodes, netlink messages, a registered tapdisk's
 * reads and answers, while disks are made and used.
 *
 * kernels: uml kdbg
 * timeout: 300 + FUZZ_SECONDS
 */
#include <fcntl.h>
#include <linux/blktap.h>
#include <netlink/attr.h>
#include <netlink/genl/genl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fuzz.h"
#include "lib/granter.h"
#include "lib/nl.h"

/* --- ioctls ------------------------------------------------------------------------ */

static unsigned int random_cmd(struct fuzz *f)
{
	switch (fuzz_below(f, 8)) {
	case 0:
		return fuzz_value(f);
	case 1:
		return 200 + fuzz_below(f, 10);
	default:
		return fuzz_ioctl_cmd(f);
	}
}

/* Memory, half of it, at its end, read-only; the kernel's; none; a number. */
static uint64_t random_arg(struct fuzz *f, char *page)
{
	fuzz_fill(f, page, 512);
	if (fuzz_once_in(f, 2))
		memset(page + 8 * fuzz_below(f, 8), 0, 256);
	switch (fuzz_below(f, 8)) {
	case 0:
		return fuzz_value(f);
	case 1:
		return (uint64_t)page + B2_PAGE - fuzz_below(f, 64);
	case 2:
		return 0xffff888000000000 + fuzz_below(f, 4096);
	default:
		return (uint64_t)page;
	}
}

static void ioctl_round(struct fuzz *f)
{
	char *page = mmap(NULL, B2_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	int ring = open(f->tap.ring_node, O_RDWR | O_CLOEXEC), control = control_open();
	int file = scratch_file((off_t)FUZZ_SECTORS * B2_SECTOR);

	CHECK_OK(ring);
	if (!fuzz_once_in(f, 8))
		mmap(NULL, B2_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ring, 0);
	if (!fuzz_once_in(f, 2))
		granter_map_layout(&(struct tap) { .fd = ring });
	for (int i = 0; i < 300; i++) {
		int fd = fuzz_once_in(f, 3) ? control : ring;
		unsigned int cmd = random_cmd(f);

		/* Not to free other taps, nor to fill the memory with taps. */
		if (fd == control && cmd == BLKTAP_IOCTL_FREE_TAP)
			ioctl(fd, cmd, fuzz_once_in(f, 8) ? f->tap.h.minor : fuzz_value(f) | 1 << 20);
		else if (fd == control && cmd == BLKTAP_IOCTL_ALLOC_TAP)
			ioctl(fd, cmd, (void *)(fuzz_value(f) << 48));
		else if (fuzz_once_in(f, 2))
			fuzz_ioctl(f, fd, cmd, file);
		else
			ioctl(fd, cmd, random_arg(f, page));
	}
}

static void ioctls_with_any_argument(void)
{
	fuzz_rounds(__func__, ioctl_round, 1);
}

/* --- netlink ------------------------------------------------------------------------ */

static void random_attr(struct fuzz *f, struct nl_msg *msg)
{
	char data[300];
	unsigned int type = fuzz_once_in(f, 16) ? fuzz_value(f) & 0xffff :
						  fuzz_below(f, BLKTAP_A_MAX + 3);

	fuzz_fill(f, data, sizeof(data));
	switch (fuzz_below(f, 5)) {
	case 0:
		nla_put(msg, type, fuzz_below(f, sizeof(data)), data);
		break;
	case 1:
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = 'a' + (data[i] & 15);
		data[fuzz_below(f, sizeof(data))] = 0;
		nla_put(msg, type, fuzz_below(f, sizeof(data)), data);
		break;
	case 2:
		nla_put_u64(msg, type, fuzz_value(f));
		break;
	case 3:
		nla_put_flag(msg, type);
		break;
	default:
		nla_put_u32(msg, type, fuzz_value(f));
	}
}

static void likely_attrs(struct fuzz *f, struct nl_msg *msg, pid_t tapdisk)
{
	if (!fuzz_once_in(f, 8))
		nla_put_u32(msg, BLKTAP_A_MINOR, f->tap.h.minor);
	if (fuzz_once_in(f, 2))
		nla_put_u32(msg, BLKTAP_A_PID, fuzz_once_in(f, 8) ? (int)fuzz_value(f) : tapdisk);
	if (fuzz_once_in(f, 2))
		nla_put_string(msg, BLKTAP_A_NAME, fuzz_once_in(f, 2) ? "aio:/a" : "vhd:/b");
	if (fuzz_once_in(f, 4))
		nla_put_flag(msg, BLKTAP_A_FORCE);
	if (fuzz_once_in(f, 8))
		nla_put_u32(msg, BLKTAP_A_REQUEST_TIMEOUT, fuzz_below(f, 4));
	if (fuzz_once_in(f, 8))
		nla_put_u32(msg, BLKTAP_A_ON_TIMEOUT, fuzz_below(f, 3));
	if (fuzz_once_in(f, 16))
		nla_put_string(msg, BLKTAP_A_POOL, "fuzz");
}

/* An operation that waits would keep the tap: give it a second. */
static void send_random(struct fuzz *f, struct nl_sock *sk, int family, pid_t tapdisk)
{
	static const uint16_t flags[] = { 0, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP | NLM_F_ACK };
	int cmd = fuzz_below(f, BLKTAP_CMD_MAX + 2);
	struct nl_msg *msg = nlmsg_alloc_size(16384);

	genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, flags[fuzz_below(f, 4)], cmd,
		    fuzz_once_in(f, 16) ? fuzz_value(f) : BLKTAP_GENL_VERSION);
	likely_attrs(f, msg, tapdisk);
	for (unsigned int n = fuzz_below(f, 3); n; n--)
		random_attr(f, msg);
	nla_put_u32(msg, BLKTAP_A_TIMEOUT, 1);
	if (fuzz_once_in(f, 16)) {
		struct nlmsghdr *h = nlmsg_hdr(msg);

		fuzz_scratch(f, (char *)h + NLMSG_HDRLEN, h->nlmsg_len - NLMSG_HDRLEN - 8);
	}
	nl_complete_msg(sk, msg);
	nl_send(sk, msg);
	nlmsg_free(msg);
}

static void drain(struct nl_sock *sk)
{
	char buf[8192];

	while (recv(nl_socket_get_fd(sk), buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

/* --- the channel ---------------------------------------------------------------------- */

struct channel {
	int fd;
	int ring;		/* or -1 */
	void *map;		/* of the ring, or NULL */
};

static void attach(struct fuzz *f, struct channel *ch)
{
	void *map;

	ch->ring = ch->ring < 0 ? open(f->tap.ring_node, O_RDWR | O_CLOEXEC) : ch->ring;
	map = mmap(NULL, B2_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ch->ring, 0);
	if (map != MAP_FAILED)
		ch->map = map;
}

static void detach(struct channel *ch)
{
	if (ch->map)
		munmap(ch->map, B2_MAP_BYTES);
	ch->map = NULL;
	close(ch->ring);
	ch->ring = -1;
}

/* What the order asks for, more or less. The compiler sees to it that none is forgotten. */
static void obey(struct fuzz *f, const struct blktap_order *o, struct channel *ch)
{
	struct blktap_params p = {
		.capacity = FUZZ_SECTORS, .sector_size = 512, .flags = fuzz_below(f, 2) * 4,
	};
	struct blktap_params_v1 v1 = { .capacity = FUZZ_SECTORS, .sector_size = 512 };

	switch ((enum blktap_order_op)o->op) {
	case BLKTAP_ORDER_ATTACH:
		attach(f, ch);
		break;
	case BLKTAP_ORDER_DETACH:
		detach(ch);
		break;
	case BLKTAP_ORDER_OPEN:
		ioctl(ch->ring, BLKTAP_IOCTL_CREATE_DEVICE, &p);
		break;
	case BLKTAP_ORDER_CLOSE:
		ioctl(ch->ring, BLKTAP_IOCTL_REMOVE_DEVICE);
		break;
	case BLKTAP_ORDER_PAUSE:
		ioctl(ch->ring, BLKTAP_IOCTL_PAUSE);
		break;
	case BLKTAP_ORDER_RESUME:
		v1.capacity <<= fuzz_below(f, 2);
		ioctl(ch->ring, BLKTAP_IOCTL_SET_PARAMS, &v1);
		break;
	case BLKTAP_ORDER_STATS:
		break;		/* all is in the answer */
	}
}

static void random_answer(struct fuzz *f, int fd, uint64_t id)
{
	size_t len = fuzz_once_in(f, 2) ? fuzz_below(f, 200) : fuzz_below(f, 40000);
	struct blktap_answer *a = calloc(1, sizeof(*a) + len + 1);

	fuzz_fill(f, a + 1, len < 300 ? len : 300);
	a->id = fuzz_once_in(f, 8) ? fuzz_value(f) : id;
	a->status = fuzz_once_in(f, 3) ? (int)fuzz_value(f) : 0;
	a->len = fuzz_once_in(f, 8) ? fuzz_value(f) : len;
	(void)!write(fd, a, fuzz_once_in(f, 8) ? fuzz_below(f, sizeof(*a) + len + 1) :
						 sizeof(*a) + len);
	free(a);
}

static void channel_step(struct fuzz *f, struct channel *ch)
{
	static char buf[BLKTAP_ORDER_MAX + 100];
	struct blktap_order *o = (void *)buf;
	struct pollfd p = { .fd = ch->fd, .events = POLLIN };
	size_t size = fuzz_once_in(f, 8) ? fuzz_below(f, sizeof(buf)) : sizeof(buf);

	if (fuzz_once_in(f, 16))
		(void)!write(ch->fd, buf, fuzz_below(f, 40));
	if (fuzz_once_in(f, 64))
		(void)!read(ch->fd, (void *)(8UL + fuzz_below(f, 64)), sizeof(buf));
	if (poll(&p, 1, 5) < 1 || read(ch->fd, buf, size) < (ssize_t)sizeof(*o))
		return;
	if (!fuzz_once_in(f, 4))
		obey(f, o, ch);
	if (fuzz_once_in(f, 8))
		fuzz_ioctl(f, ch->ring, fuzz_ioctl_cmd(f), ch->fd);
	if (!fuzz_once_in(f, 8))
		random_answer(f, ch->fd, o->id);
}

/* A tapdisk, in the fuzzer's own process, beside an admin in another one. */
static void channel_round(struct fuzz *f)
{
	struct blktap_register reg = { .version = fuzz_value(f), .flags = fuzz_once_in(f, 4) };
	struct channel ch = { .ring = -1 };
	struct fuzz own = { .state = fuzz_u64(f), .tap = f->tap };
	pid_t tapdisk = getpid(), admin;
	struct btnl nl;

	ch.fd = open(CONTROL_NODE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	CHECK_OK(ch.fd);
	admin = fork();
	CHECK_OK(admin);
	if (!admin) {
		btnl_open(&nl);
		for (int i = 0; i < 150; i++) {
			send_random(&own, nl.sk, nl.family, tapdisk);
			if (fuzz_once_in(&own, 4))
				nap_ms(1);
			if (!fuzz_once_in(&own, 8))
				drain(nl.sk);
		}
		_exit(0);
	}
	ioctl(ch.fd, BLKTAP_IOCTL_REGISTER, &reg);
	reg.version = 1;
	reg.flags = 0;
	ioctl(ch.fd, BLKTAP_IOCTL_REGISTER, &reg);
	while (waitpid(admin, NULL, WNOHANG) != admin)
		channel_step(f, &ch);
}

static void netlink_and_the_channel(void)
{
	fuzz_rounds(__func__, channel_round, 1);
}

/* The same messages from one who may do nothing. */
static void unprivileged_round(struct fuzz *f)
{
	struct btnl nl;

	CHECK_OK(setresgid(65534, 65534, 65534));
	CHECK_OK(setresuid(65534, 65534, 65534));
	btnl_open(&nl);
	for (int i = 0; i < 400; i++) {
		send_random(f, nl.sk, nl.family, getppid());
		drain(nl.sk);
	}
	CHECK(tap_exists(&f->tap), "somebody without privileges freed the tap");
}

static void netlink_without_privileges(void)
{
	fuzz_rounds(__func__, unprivileged_round, 0);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(ioctls_with_any_argument),
	KTAP_CASE(netlink_and_the_channel),
	KTAP_CASE(netlink_without_privileges),
};

int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
