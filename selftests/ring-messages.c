// SPDX-License-Identifier: GPL-2.0-only
/* The message byte: pause, resume, close of a tapdisk that has not registered. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/nl.h"
#include "lib/server.h"
#include "lib/state.h"

#define DISK_SECTORS 2048

struct knob {
	const struct tap *t;
	const char *file;
	const char *value;
};

static int write_knob(void *arg)
{
	struct knob *k = arg;

	return sysfs_write(k->t->sysfs, k->file, k->value) ? errno : 0;
}

static int use_knob(const struct tap *t, const char *file)
{
	struct knob k = { t, file, "1" };

	return in_child(write_knob, &k);
}

static void io_make(struct disk_io *io, struct tap *t, bool write)
{
	*io = (struct disk_io) {
		.node = t->disk_node, .flags = O_DIRECT, .write = write,
		.buf = shared_alloc(4096), .len = 4096,
	};
}

static void expect_waits(pid_t pid, unsigned int ms)
{
	int result;

	child_settle(pid);
	nap_ms(ms * ktap_scale());
	CHECK(!child_is_done(pid, &result), "I/O went through (%d)", result);
}

static void pause_holds_io_and_resume_lets_it_go(void)
{
	struct server s = { 0 };
	struct disk_io io;
	struct tap t;
	pid_t pid;

	server_up(&s, &t, DISK_SECTORS);
	io_make(&io, &t, true);
	memset(io.buf, 0x77, io.len);
	CHECK(use_knob(&t, "pause") == 0);
	CHECK(s.messages[B2_MSG_PAUSE] == 1);
	pid = child_start(do_disk_io, &io);
	expect_waits(pid, 300);
	CHECK(!s.ops[B2_WRITE]);
	CHECK(use_knob(&t, "resume") == 0);
	CHECK(s.messages[B2_MSG_RESUME] == 1);
	CHECK(child_wait(pid) == 0);
	CHECK(!memcmp(s.data, io.buf, io.len));
	server_down(&s);
}

/* Holds the first write until it is told to answer it. */
struct held {
	_Atomic long id;	/* -1: none */
};

static int hold_write(struct server *s, const struct b2_request *r)
{
	struct held *h = s->arg;

	if (r->op != B2_WRITE || h->id != -1)
		return SERVE;
	server_copy(s, r);
	h->id = r->id;
	return TAKEN;
}

static bool is_held(void *held)
{
	return ((struct held *)held)->id != -1;
}

static void pause_waits_for_what_is_in_flight(void)
{
	struct held held = { -1 };
	struct server s = { .hook = hold_write, .arg = &held };
	struct knob k = { .file = "pause", .value = "1" };
	struct disk_io io;
	pid_t writer, pauser;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	io_make(&io, &t, true);
	writer = child_start(do_disk_io, &io);
	CHECK(wait_until(is_held, &held, 5));
	k.t = &t;
	pauser = child_start(write_knob, &k);
	expect_waits(pauser, 200);
	CHECK(!s.messages[B2_MSG_PAUSE], "PAUSE came with a request in flight");
	server_answer(&s, held.id, B2_WRITE, B2_OKAY);
	server_kick(&s);
	CHECK(child_wait(writer) == 0);
	CHECK(child_wait(pauser) == 0);
	CHECK(s.messages[B2_MSG_PAUSE] == 1);
	CHECK(use_knob(&t, "resume") == 0);
	server_down(&s);
}

static void reopen_gives_the_name(void)
{
	struct server s = { 0 };
	struct tap t;
	char name[64];

	server_up(&s, &t, DISK_SECTORS);
	CHECK_OK(sysfs_write(t.sysfs, "name", "vhd:/some/where.vhd\n"));
	CHECK(sysfs_read(t.sysfs, "name", name, sizeof(name)));
	CHECK(!strcmp(name, "vhd:/some/where.vhd"), "%s", name);
	CHECK(use_knob(&t, "pause") == 0);
	CHECK_OK(sysfs_write(t.sysfs, "name", "vhd:/a/child.vhd"));
	CHECK(use_knob(&t, "resume") == 0);
	CHECK(!strcmp(s.reopened, "vhd:/a/child.vhd"), "%s", s.reopened);
	server_down(&s);
}

static void set_params_while_paused_resizes(void)
{
	struct server s = { .resume_sectors = 2 * DISK_SECTORS };
	struct disk_io io;
	char dir[64], size[32];
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	s.tap = &t;
	s.sectors = 2 * DISK_SECTORS;	/* of memory */
	server_start(&s);
	while (ioctl(t.fd, B2_REMOVE))
		nap_ms(5);
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	CHECK(use_knob(&t, "pause") == 0);
	CHECK(use_knob(&t, "resume") == 0);
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", t.h.disk_major, t.h.minor);
	CHECK(sysfs_read(dir, "size", size, sizeof(size)));
	CHECK(atoi(size) == 2 * DISK_SECTORS, "%s", size);
	io_make(&io, &t, true);
	io.offset = (2 * DISK_SECTORS - 8) * 512;
	memset(io.buf, 0x42, io.len);
	CHECK(in_child(do_disk_io, &io) == 0);
	CHECK(!memcmp(s.data + io.offset, io.buf, io.len));
	server_down(&s);
}

static void a_failed_resume_stays_paused(void)
{
	struct server s = { .resume_status = ENOENT };
	struct disk_io io;
	struct tap t;
	pid_t pid;

	server_up(&s, &t, DISK_SECTORS);
	io_make(&io, &t, false);
	CHECK(use_knob(&t, "pause") == 0);
	CHECK(use_knob(&t, "resume") == ENOENT);
	pid = child_start(do_disk_io, &io);
	expect_waits(pid, 200);
	s.resume_status = 0;
	CHECK(use_knob(&t, "resume") == 0);
	CHECK(child_wait(pid) == 0);
	CHECK(s.messages[B2_MSG_RESUME] == 2);
	server_down(&s);
}

/* I/O that waits behind a pause that never ends can at least be killed by force. */
static void held_io_outlives_the_tapdisk(void)
{
	struct server s = { .resume_status = EIO };
	struct disk_io io;
	struct tap t;
	pid_t pid;

	server_up(&s, &t, DISK_SECTORS);
	io_make(&io, &t, false);
	/* An open waits for the scan for partitions; let the next one wait for its I/O only. */
	CHECK(in_child(do_disk_io, &io) == 0);
	CHECK(use_knob(&t, "pause") == 0);
	pid = child_start(do_disk_io, &io);
	expect_waits(pid, 100);
	server_stop(&s);
	tap_close(&t);
	expect_waits(pid, 100);
	CHECK(tap_close_force(t.h.minor) == 0);
	CHECK(child_wait(pid) == EIO);
	CHECK_OK(tap_free(t.h.minor));
	CHECK(wait_until(tap_is_gone, &t, 5));
}

static void pausing_twice_and_resuming_twice(void)
{
	struct server s = { 0 };
	struct disk_io io;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	io_make(&io, &t, true);
	for (int i = 0; i < 20; i++) {
		CHECK(use_knob(&t, "pause") == 0);
		CHECK(use_knob(&t, "resume") == 0);
	}
	CHECK(use_knob(&t, "pause") == 0);
	use_knob(&t, "pause");
	CHECK(use_knob(&t, "resume") == 0);
	use_knob(&t, "resume");
	CHECK(in_child(do_disk_io, &io) == 0);
	server_down(&s);
}

/* The 3.55 tapdisk never looks at the byte: a pause times out, and I/O goes on. */
static void pause_of_a_deaf_tapdisk_times_out(void)
{
	struct server s = { .deaf = true };
	struct disk_io io;
	struct btnl nl;
	struct tap t;
	int err;

	server_up(&s, &t, DISK_SECTORS);
	btnl_open(&nl);
	io_make(&io, &t, true);
	err = btnl_do(&nl, BLKTAP_CMD_PAUSE, t.h.minor, 1);
	CHECK(err == ETIMEDOUT, "%s: %s", strerror(err), nl.text);
	CHECK(in_child(do_disk_io, &io) == 0);
	CHECK(btnl_get_u32(&nl, t.h.minor, BLKTAP_A_STATE) == 0, "state %#lx",
	      btnl_get_u32(&nl, t.h.minor, BLKTAP_A_STATE));
	CHECK(!s.empty_wakeups || s.empty_wakeups <= 3, "%lu wake-ups for nothing",
	      s.empty_wakeups);
	btnl_close(&nl);
	server_down(&s);
}

static bool got_close(void *server)
{
	return ((struct server *)server)->messages[B2_MSG_CLOSE];
}

static void remove_posts_close_and_waits_until_gone(void)
{
	struct server s = { 0 };
	struct knob k = { .file = "remove", .value = "1" };
	struct tap t;
	pid_t pid;

	server_up(&s, &t, DISK_SECTORS);
	k.t = &t;
	pid = child_start(write_knob, &k);
	CHECK(wait_until(got_close, &s, 5));
	expect_waits(pid, 200);
	tap_drop_disk(&t);
	tap_close(&t);
	CHECK(child_wait(pid) == 0);
	CHECK(tap_is_gone(&t));
}

static void remove_of_an_idle_tap(void)
{
	struct tap t;

	tap_alloc(&t);
	tap_close(&t);
	CHECK(use_knob(&t, "remove") == 0);
	CHECK(tap_is_gone(&t));
}

/* Runs, and does nothing of what it should. */
static int loop_for_ever(void *arg)
{
	struct tap *shared = arg, t;
	struct b2_ring *ring;

	tap_alloc(&t);
	tap_map(&t);
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	ring = t.ring;
	t.ring = NULL;
	*shared = t;
	for (;;)
		__atomic_store_n(&shared->ring, ring, __ATOMIC_RELEASE);
}

static bool has_begun(void *tap)
{
	return __atomic_load_n(&((struct tap *)tap)->ring, __ATOMIC_ACQUIRE);
}

static void a_tapdisk_that_loops_holds_up_nobody(void)
{
	struct tap *t = shared_alloc(sizeof(*t));
	struct knob k = { .t = t, .file = "remove", .value = "1" };
	pid_t tapdisk = child_start(loop_for_ever, t), io_pid, remove;
	struct disk_io io;
	struct btnl nl;
	int err;

	CHECK(wait_until(has_begun, t, 10));
	io_make(&io, t, true);
	io_pid = child_start(do_disk_io, &io);
	expect_waits(io_pid, 200);
	btnl_open(&nl);
	CHECK(btnl_do(&nl, BLKTAP_CMD_CLOSE, t->h.minor, 1) == ETIMEDOUT);
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, t->h.minor, 1) == ETIMEDOUT);
	remove = child_start(write_knob, &k);
	expect_waits(remove, 200);
	CHECK(tap_close_force(t->h.minor) == 0);
	/* Its open may have waited for the partition scan, which came first. */
	err = child_wait(io_pid);
	CHECK(err == EIO || err == ENXIO || err == ENODEV, "error %d", err);
	CHECK(child_wait(remove) == ECANCELED);
	CHECK(btnl_do(&nl, BLKTAP_CMD_FREE, t->h.minor, 1) == ETIMEDOUT);
	btnl_close(&nl);
	CHECK_OK(tap_free(t->h.minor));
	kill(tapdisk, SIGKILL);
	waitpid(tapdisk, NULL, 0);
	CHECK(wait_until(tap_is_gone, t, 10));
}

static void task_is_the_pid_of_the_tapdisk(void)
{
	struct server s = { 0 };
	struct tap t;
	char task[32];

	server_up(&s, &t, DISK_SECTORS);
	CHECK(sysfs_read(t.sysfs, "task", task, sizeof(task)));
	CHECK(atoi(task) == getpid(), "%s is not %d", task, getpid());
	server_down(&s);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(pause_holds_io_and_resume_lets_it_go),
	KTAP_CASE(pause_waits_for_what_is_in_flight),
	KTAP_CASE(reopen_gives_the_name),
	KTAP_CASE(set_params_while_paused_resizes),
	KTAP_CASE(a_failed_resume_stays_paused),
	KTAP_CASE(held_io_outlives_the_tapdisk),
	KTAP_CASE(pausing_twice_and_resuming_twice),
	KTAP_CASE(pause_of_a_deaf_tapdisk_times_out),
	KTAP_CASE(remove_posts_close_and_waits_until_gone),
	KTAP_CASE(remove_of_an_idle_tap),
	KTAP_CASE(a_tapdisk_that_loops_holds_up_nobody),
	KTAP_CASE(task_is_the_pid_of_the_tapdisk),
};

KTAP_MAIN(cases, &state_checks)
