// SPDX-License-Identifier: GPL-2.0-only
/* The channel of a registered tapdisk: registration, orders, answers, its end. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/state.h"
#include "lib/tapdisk.h"

static int control_rw(void)
{
	int fd = open(CONTROL_NODE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	CHECK_OK(fd);
	return fd;
}

static void registration_is_one_a_file_and_a_process(void)
{
	struct blktap_register reg = { .version = 1 };
	int fd = control_rw(), second = control_rw();

	CHECK_OK(ioctl(fd, BLKTAP_IOCTL_REGISTER, &reg));
	CHECK_ERRNO(ioctl(fd, BLKTAP_IOCTL_REGISTER, &reg), EBUSY);
	CHECK_ERRNO(ioctl(second, BLKTAP_IOCTL_REGISTER, &reg), EBUSY);
	close(fd);
	reg = (struct blktap_register) { .version = 1 };
	CHECK_OK(ioctl(second, BLKTAP_IOCTL_REGISTER, &reg));
	close(second);
}

static void registration_is_negotiated_and_checked(void)
{
	struct blktap_register reg = { .version = 77 };
	int fd = control_rw();

	CHECK_ERRNO(ioctl(fd, BLKTAP_IOCTL_REGISTER, NULL), EFAULT);
	reg.flags = 1;
	CHECK_ERRNO(ioctl(fd, BLKTAP_IOCTL_REGISTER, &reg), EINVAL);
	reg.flags = 0;
	reg.version = 0;
	CHECK_ERRNO(ioctl(fd, BLKTAP_IOCTL_REGISTER, &reg), EINVAL);
	reg.version = 77;
	CHECK_OK(ioctl(fd, BLKTAP_IOCTL_REGISTER, &reg));
	CHECK(reg.version == BLKTAP_CONTROL_VERSION, "%u", reg.version);
	close(fd);
}

/* Old tap-ctl opens the node too, for its ioctls: that must not make it a tapdisk. */
static void without_registration_it_is_no_channel(void)
{
	struct pollfd p = { .events = POLLIN };
	struct b2_handle h;
	char buf[BLKTAP_ORDER_MAX];
	int fd = control_rw();

	CHECK_FAILS(read(fd, buf, sizeof(buf)));
	CHECK_FAILS(write(fd, buf, 16));
	p.fd = fd;
	poll(&p, 1, 20);
	CHECK(!(p.revents & POLLIN));
	CHECK_OK(ioctl(fd, B2_ALLOC_TAP, &h));
	CHECK_OK(ioctl(fd, B2_FREE_TAP, (unsigned long)h.minor));
	close(fd);
}

static void reads_take_one_whole_order(void)
{
	char buf[BLKTAP_ORDER_MAX];
	struct tapdisk td = { 0 };
	struct order o;

	tapdisk_start(&td);
	CHECK_ERRNO(read(td.channel, buf, sizeof(buf)), EAGAIN);
	tapdisk_attach(&td);
	CHECK(!tapdisk_order(&td, BLKTAP_CMD_STATS, NULL, 0));
	CHECK(channel_wait(td.channel, 5));
	CHECK_ERRNO(read(td.channel, buf, BLKTAP_ORDER_MAX - 1), EINVAL);
	CHECK_ERRNO(read(td.channel, buf, 0), EINVAL);
	channel_expect(td.channel, &o, BLKTAP_ORDER_STATS, td.tap.h.minor);
	CHECK_ERRNO(read(td.channel, buf, sizeof(buf)), EAGAIN);
	channel_answer(td.channel, o.o.id, 0, "{}");
	CHECK(btnl_wait_done(&td.nl, td.nl.seq, 5) == 0);
	CHECK(!strcmp(td.nl.text, "{}"), "%s", td.nl.text);
	tapdisk_detach(&td);
	tapdisk_free(&td);
	close(td.channel);
}

/* An order must survive a reader whose buffer is bad. */
static void a_bad_buffer_loses_no_order(void)
{
	void *hole = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct tapdisk td = { 0 };
	struct order o;

	tapdisk_start(&td);
	tapdisk_attach(&td);
	CHECK(!tapdisk_order(&td, BLKTAP_CMD_STATS, NULL, 0));
	CHECK(channel_wait(td.channel, 5));
	CHECK_ERRNO(read(td.channel, hole, 8192), EFAULT);
	channel_expect(td.channel, &o, BLKTAP_ORDER_STATS, td.tap.h.minor);
	channel_answer(td.channel, o.o.id, 0, "{}");
	CHECK(btnl_wait_done(&td.nl, td.nl.seq, 5) == 0);
	tapdisk_detach(&td);
	tapdisk_free(&td);
	close(td.channel);
}

static void wrong_answers_are_refused(void)
{
	void *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct { struct blktap_answer a; char text[BLKTAP_TEXT_MAX + 16]; } big = { 0 };
	struct tapdisk td = { 0 };
	struct order o;

	tapdisk_start(&td);
	tapdisk_attach(&td);
	CHECK_ERRNO(channel_write(td.channel, 12345, 0, ""), ENOENT);
	CHECK_ERRNO(channel_write(td.channel, 0, 0, ""), ENOENT);
	CHECK(!tapdisk_order(&td, BLKTAP_CMD_STATS, NULL, 0));
	channel_expect(td.channel, &o, BLKTAP_ORDER_STATS, td.tap.h.minor);

	memset(big.text, 'x', sizeof(big.text));
	big.a.id = o.o.id;
	CHECK_ERRNO(write(td.channel, &big, sizeof(big.a) - 1), EINVAL);
	CHECK_ERRNO(write(td.channel, &big, sizeof(big.a) + 1), EINVAL);
	big.a.len = BLKTAP_TEXT_MAX;
	CHECK_ERRNO(write(td.channel, &big, sizeof(big.a) + big.a.len), EINVAL);
	big.a.len = 0xffffffff;
	CHECK_ERRNO(write(td.channel, &big, sizeof(big.a) + 10), EINVAL);
	big.a.len = 0;
	big.a.status = 5;
	CHECK_ERRNO(write(td.channel, &big, sizeof(big.a)), EINVAL);
	big.a.status = -100000;
	CHECK_ERRNO(write(td.channel, &big, sizeof(big.a)), EINVAL);
	CHECK_ERRNO(write(td.channel, hole, sizeof(big.a)), EFAULT);

	/* None of them has answered it. */
	channel_answer(td.channel, o.o.id, -ENOSPC, "no space for that");
	CHECK(btnl_wait_done(&td.nl, td.nl.seq, 5) == ENOSPC);
	CHECK(!strcmp(td.nl.text, "no space for that"), "%s", td.nl.text);
	CHECK_ERRNO(channel_write(td.channel, o.o.id, 0, ""), ENOENT);
	tapdisk_detach(&td);
	tapdisk_free(&td);
	close(td.channel);
}

static void the_longest_text_arrives(void)
{
	char *text = malloc(BLKTAP_TEXT_MAX);
	struct tapdisk td = { 0 };

	memset(text, 'y', BLKTAP_TEXT_MAX - 1);
	text[BLKTAP_TEXT_MAX - 1] = 0;
	tapdisk_start(&td);
	tapdisk_attach(&td);
	CHECK(tapdisk_do(&td, BLKTAP_CMD_STATS, BLKTAP_ORDER_STATS, 0, text) == 0);
	CHECK(strlen(td.nl.text) == NL_TEXT - 1 && td.nl.text[NL_TEXT - 2] == 'y');
	tapdisk_detach(&td);
	tapdisk_free(&td);
	close(td.channel);
}

static void a_whole_life_by_orders(void)
{
	struct disk_io io = { .flags = O_DIRECT, .write = true, .len = 65536 };
	struct tapdisk td = { 0 };

	io.buf = shared_alloc(io.len);
	tapdisk_start(&td);
	tapdisk_attach(&td);
	CHECK(btnl_get_u32(&td.nl, td.tap.h.minor, BLKTAP_A_STATE) == BLKTAP_STATE_CLOSED);
	CHECK(btnl_get_u32(&td.nl, td.tap.h.minor, BLKTAP_A_PID) == getpid());
	for (int i = 0; i < 2; i++) {
		tapdisk_open(&td, "aio:/some/image");
		CHECK(btnl_get_u32(&td.nl, td.tap.h.minor, BLKTAP_A_STATE) == 0);
		io.node = td.tap.disk_node;
		memset(io.buf, 0x61 + i, io.len);
		CHECK(in_child(do_disk_io, &io) == 0);
		CHECK(!memcmp(td.server.data, io.buf, io.len));
		CHECK(tapdisk_do(&td, BLKTAP_CMD_PAUSE, BLKTAP_ORDER_PAUSE, 0, "") == 0);
		CHECK(btnl_get_u32(&td.nl, td.tap.h.minor, BLKTAP_A_STATE) == 0x2a, "%#lx",
		      btnl_get_u32(&td.nl, td.tap.h.minor, BLKTAP_A_STATE));
		CHECK(tapdisk_do(&td, BLKTAP_CMD_RESUME, BLKTAP_ORDER_RESUME, 0, "") == 0);
		CHECK(btnl_get_u32(&td.nl, td.tap.h.minor, BLKTAP_A_STATE) == 0);
		CHECK(in_child(do_disk_io, &io) == 0);
		tapdisk_close(&td);
		CHECK(disk_is_gone(&td.tap));
		CHECK(btnl_get_u32(&td.nl, td.tap.h.minor, BLKTAP_A_STATE) ==
		      BLKTAP_STATE_CLOSED);
	}
	tapdisk_detach(&td);
	tapdisk_free(&td);
	close(td.channel);
}

/* A tapdisk that says "open" and made no disk, or refuses: no disk, state closed. */
static void a_refused_open_leaves_it_closed(void)
{
	struct tapdisk td = { 0 };
	struct order o;

	tapdisk_start(&td);
	tapdisk_attach(&td);
	CHECK(!tapdisk_order(&td, BLKTAP_CMD_OPEN, "vhd:/none", 0));
	channel_expect(td.channel, &o, BLKTAP_ORDER_OPEN, td.tap.h.minor);
	channel_answer(td.channel, o.o.id, -ENOENT, "/none: open: No such file or directory");
	CHECK(btnl_wait_done(&td.nl, td.nl.seq, 5) == ENOENT);
	CHECK(strstr(td.nl.text, "/none"), "%s", td.nl.text);
	CHECK(btnl_get_u32(&td.nl, td.tap.h.minor, BLKTAP_A_STATE) == BLKTAP_STATE_CLOSED);
	CHECK(disk_is_gone(&td.tap));

	/* CREATE_DEVICE done and then a failure: the disk must not stay. */
	CHECK(!tapdisk_order(&td, BLKTAP_CMD_OPEN, "vhd:/none", 0));
	channel_expect(td.channel, &o, BLKTAP_ORDER_OPEN, td.tap.h.minor);
	CHECK_OK(tap_create(&td.tap, TAPDISK_SECTORS, 0));
	tap_drop_disk(&td.tap);
	channel_answer(td.channel, o.o.id, -EIO, "changed my mind");
	CHECK(btnl_wait_done(&td.nl, td.nl.seq, 5) == EIO);
	CHECK(disk_is_gone(&td.tap));
	tapdisk_detach(&td);
	tapdisk_free(&td);
	close(td.channel);
}

static double seconds_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* What it told of its image is no image of the next one. */
static void a_refused_open_leaves_no_files(void)
{
	struct blktap_file note = { .flags = BLKTAP_FILE_NOTE };
	struct tapdisk td = { 0 };
	struct order o;
	char files[64];

	note.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	tapdisk_start(&td);
	tapdisk_attach(&td);
	CHECK(!tapdisk_order(&td, BLKTAP_CMD_OPEN, "aio:/a", 0));
	channel_expect(td.channel, &o, BLKTAP_ORDER_OPEN, td.tap.h.minor);
	CHECK_OK(ioctl(td.tap.fd, BLKTAP_IOCTL_ADD_FILE, &note));
	CHECK(sysfs_read(td.tap.sysfs, "files", files, sizeof(files)) && *files);
	channel_answer(td.channel, o.o.id, -EIO, "");
	CHECK(btnl_wait_done(&td.nl, td.nl.seq, 5) == EIO);
	tapdisk_open(&td, "aio:/b");
	CHECK(sysfs_read(td.tap.sysfs, "files", files, sizeof(files)) && !*files, "%s", files);
	close(note.fd);
	tapdisk_end(&td);
}

static void a_silent_tapdisk_times_out(void)
{
	struct disk_io io = { .flags = O_DIRECT, .len = 4096, .buf = shared_alloc(4096) };
	struct tapdisk td = { 0 };
	struct order o;
	double began;
	int err;

	tapdisk_start(&td);
	tapdisk_attach(&td);
	tapdisk_open(&td, "aio:/image");
	io.node = td.tap.disk_node;

	began = seconds_now();
	CHECK(!tapdisk_order(&td, BLKTAP_CMD_PAUSE, NULL, 1));
	channel_expect(td.channel, &o, BLKTAP_ORDER_PAUSE, td.tap.h.minor);
	err = btnl_wait_done(&td.nl, td.nl.seq, 10);
	CHECK(err == ETIMEDOUT, "%s", strerror(err));
	CHECK(td.nl.text[0], "no text");
	CHECK(seconds_now() - began >= 0.9 && seconds_now() - began < 2 + ktap_scale(), "%.1f s",
	      seconds_now() - began);
	CHECK_ERRNO(channel_write(td.channel, o.o.id, 0, ""), ENOENT);
	CHECK(btnl_get_u32(&td.nl, td.tap.h.minor, BLKTAP_A_STATE) == 0);
	CHECK(in_child(do_disk_io, &io) == 0);

	/* An order that it has not even read. */
	CHECK(!tapdisk_order(&td, BLKTAP_CMD_STATS, NULL, 1));
	err = btnl_wait_done(&td.nl, td.nl.seq, 10);
	CHECK(err == ETIMEDOUT, "%s", strerror(err));
	CHECK(!channel_read(td.channel, &o, 0.1), "an order that nobody waits for");
	tapdisk_end(&td);
}

static int registers_and_waits(void *arg)
{
	_Atomic bool *ready = arg;

	channel_open();
	*ready = true;
	pause();
	return 0;
}

static bool is_set(void *flag)
{
	return *(_Atomic bool *)flag;
}

/* Dies with an order that it has or has not read. */
static void the_death_of_a_tapdisk_ends_its_orders(void)
{
	_Atomic bool *ready = shared_alloc(4096);
	struct btnl nl;
	struct nl_msg *msg;
	uint32_t minor;
	pid_t pid;
	int err;

	btnl_open(&nl);
	minor = btnl_alloc(&nl);
	pid = child_start(registers_and_waits, ready);
	CHECK(wait_until(is_set, ready, 5));
	msg = btnl_new(&nl, BLKTAP_CMD_ATTACH);
	nla_put_u32(msg, BLKTAP_A_MINOR, minor);
	nla_put_u32(msg, BLKTAP_A_PID, pid);
	CHECK(!btnl_send_for_ack(&nl, msg), "%s", nl.text);
	nap_ms(50);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	err = btnl_wait_done(&nl, nl.seq, 5);
	CHECK(err > 0 && err != ETIMEDOUT, "%d", err);
	CHECK(nl.text[0], "no text");
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, minor, 5) == 0, "%s", nl.text);
	btnl_close(&nl);
}

static int serves_then_dies(void *arg)
{
	struct tapdisk *td = arg;
	struct order o;

	td->channel = channel_open();
	btnl_open(&td->nl);
	td->server.messages[0] = 1;	/* ready */
	while (channel_read(td->channel, &o, 30)) {
		if (o.o.op == BLKTAP_ORDER_ATTACH)
			tapdisk_map(td, o.o.minor);
		if (o.o.op == BLKTAP_ORDER_OPEN) {
			td->server = (struct server) {
				.tap = &td->tap, .sectors = TAPDISK_SECTORS, .level = true,
			};
			server_start(&td->server);
		}
		channel_answer(td->channel, o.o.id, 0, "");
	}
	return 0;
}

static bool is_ready(void *td)
{
	return ((struct tapdisk *)td)->server.messages[0];
}

static int order_to(struct btnl *nl, int cmd, uint32_t minor, pid_t pid, const char *name)
{
	struct nl_msg *msg = btnl_new(nl, cmd);
	int err;

	nla_put_u32(msg, BLKTAP_A_MINOR, minor);
	nla_put_u32(msg, BLKTAP_A_PID, pid);
	if (name)
		nla_put_string(msg, BLKTAP_A_NAME, name);
	err = btnl_send_for_ack(nl, msg);
	return err ?: btnl_wait_done(nl, nl->seq, 10);
}

/* What an admin sees of a tap whose tapdisk was killed, and how it is cleared. */
static void a_killed_tapdisk_leaves_an_orphan(void)
{
	struct tapdisk *td = shared_alloc(sizeof(*td));
	struct disk_io io = { .flags = O_DIRECT, .len = 4096, .buf = shared_alloc(4096) };
	struct btnl nl;
	pid_t pid, reader;
	uint32_t minor;
	long state;
	int result;

	btnl_open(&nl);
	minor = btnl_alloc(&nl);
	pid = child_start(serves_then_dies, td);
	CHECK(wait_until(is_ready, td, 5));
	CHECK(order_to(&nl, BLKTAP_CMD_ATTACH, minor, pid, NULL) == 0, "%s", nl.text);
	CHECK(order_to(&nl, BLKTAP_CMD_OPEN, minor, pid, "aio:/x") == 0, "%s", nl.text);
	io.node = td->tap.disk_node;
	CHECK(in_child(do_disk_io, &io) == 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	reader = child_start(do_disk_io, &io);
	child_settle(reader);
	state = btnl_get_u32(&nl, minor, BLKTAP_A_STATE);
	CHECK(state == BLKTAP_STATE_ORPHANED, "state %#lx", state);
	CHECK(!child_is_done(reader, &result));
	CHECK(btnl_get_u32(&nl, minor, BLKTAP_A_PID) == -1, "a dead tapdisk's pid is shown");
	CHECK(btnl_do(&nl, BLKTAP_CMD_PAUSE, minor, 5) == ENOTCONN, "%s", nl.text);
	CHECK(tap_close_force(minor) == 0);
	CHECK(child_wait(reader) == EIO);
	CHECK(btnl_do(&nl, BLKTAP_CMD_RECOVER, minor, 5), "it has no disk");
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, minor, 5) == 0, "%s", nl.text);
	btnl_close(&nl);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(registration_is_one_a_file_and_a_process),
	KTAP_CASE(registration_is_negotiated_and_checked),
	KTAP_CASE(without_registration_it_is_no_channel),
	KTAP_CASE(reads_take_one_whole_order),
	KTAP_CASE(a_bad_buffer_loses_no_order),
	KTAP_CASE(wrong_answers_are_refused),
	KTAP_CASE(the_longest_text_arrives),
	KTAP_CASE(a_whole_life_by_orders),
	KTAP_CASE(a_refused_open_leaves_it_closed),
	KTAP_CASE(a_refused_open_leaves_no_files),
	KTAP_CASE(a_silent_tapdisk_times_out),
	KTAP_CASE(the_death_of_a_tapdisk_ends_its_orders),
	KTAP_CASE(a_killed_tapdisk_leaves_an_orphan),
};

KTAP_MAIN(cases, &state_checks)
