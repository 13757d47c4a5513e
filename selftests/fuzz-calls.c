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
	static const unsigned int cmds[] = {
		BLKTAP_IOCTL_REGISTER, BLKTAP_IOCTL_ADD_FILE, BLKTAP_IOCTL_CREATE_DEVICE,
		BLKTAP_IOCTL_CREATE_DEVICE_V1, BLKTAP_IOCTL_RESPOND,
	};

	switch (fuzz_below(f, 4)) {
	case 0:
		return cmds[fuzz_below(f, sizeof(cmds) / sizeof(cmds[0]))];
	case 1:
		return fuzz_value(f);
	default:
		return 200 + fuzz_below(f, 10);
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

/* A good form of the structs, with one field that is not. */
static void nearly_right(struct fuzz *f, int fd)
{
	struct blktap_params p = {
		.capacity = FUZZ_SECTORS, .sector_size = 512, .flags = fuzz_below(f, 64),
		.phys_block_size = 4096, .trim_block_size = 4096,
	};
	uint64_t *word = (uint64_t *)&p;

	if (!fuzz_once_in(f, 3))
		word[fuzz_below(f, sizeof(p) / 8)] = fuzz_value(f);
	ioctl(fd, BLKTAP_IOCTL_CREATE_DEVICE, &p);
}

static void ioctl_round(struct fuzz *f)
{
	char *page = mmap(NULL, B2_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	int ring = open(f->tap.ring_node, O_RDWR | O_CLOEXEC), control = control_open();

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
		else if (fuzz_once_in(f, 8))
			nearly_right(f, ring);
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

/* What the order asks for, sometimes. */
static void obey(struct fuzz *f, const struct blktap_order *o, int *ring)
{
	struct blktap_params p = {
		.capacity = FUZZ_SECTORS, .sector_size = 512, .flags = fuzz_below(f, 2) * 4,
	};

	switch (o->op) {
	case BLKTAP_ORDER_ATTACH:
		*ring = open(f->tap.ring_node, O_RDWR | O_CLOEXEC);
		mmap(NULL, B2_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, *ring, 0);
		close(*ring);
		break;
	case BLKTAP_ORDER_OPEN:
		*ring = open(f->tap.ring_node, O_RDWR | O_CLOEXEC);
		ioctl(*ring, BLKTAP_IOCTL_CREATE_DEVICE, &p);
		break;
	case BLKTAP_ORDER_CLOSE:
		ioctl(*ring, BLKTAP_IOCTL_REMOVE_DEVICE);
		break;
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

static void channel_step(struct fuzz *f, int fd, int *ring)
{
	static char buf[BLKTAP_ORDER_MAX + 100];
	struct blktap_order *o = (void *)buf;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t size = fuzz_once_in(f, 8) ? fuzz_below(f, sizeof(buf)) : sizeof(buf);

	if (fuzz_once_in(f, 16))
		(void)!write(fd, buf, fuzz_below(f, 40));
	if (fuzz_once_in(f, 64))
		(void)!read(fd, (void *)(8UL + fuzz_below(f, 64)), sizeof(buf));
	if (poll(&p, 1, 5) < 1 || read(fd, buf, size) < (ssize_t)sizeof(*o))
		return;
	if (!fuzz_once_in(f, 4))
		obey(f, o, ring);
	if (!fuzz_once_in(f, 8))
		random_answer(f, fd, o->id);
}

/* A tapdisk, in the fuzzer's own process, beside an admin in another one. */
static void channel_round(struct fuzz *f)
{
	struct blktap_register reg = { .version = fuzz_value(f), .flags = fuzz_once_in(f, 4) };
	int fd = open(CONTROL_NODE, O_RDWR | O_CLOEXEC | O_NONBLOCK), ring = -1;
	pid_t tapdisk = getpid(), admin = fork();
	struct btnl nl;

	CHECK_OK(fd);
	CHECK_OK(admin);
	if (!admin) {
		struct fuzz own = *f;

		own.state++;
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
	ioctl(fd, BLKTAP_IOCTL_REGISTER, &reg);
	reg.version = 1;
	reg.flags = 0;
	ioctl(fd, BLKTAP_IOCTL_REGISTER, &reg);
	while (waitpid(admin, NULL, WNOHANG) != admin)
		channel_step(f, fd, &ring);
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
