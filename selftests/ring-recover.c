// SPDX-License-Identifier: GPL-2.0-only
/*
 * A second tapdisk takes over the disk of one that was killed: what it has to say
 * for it to be let, and what it is given.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/blktap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/nl.h"
#include "lib/server.h"
#include "lib/state.h"

#define DISK_SECTORS	4096
#define WRITERS		16	/* more than have slots at once */
#define WRITE_BYTES	131072	/* three slots at least */
#define NOTE		"what I could not finish"
#define MOUNT		"/tmp/recover.mnt"

/* The first tapdisk, a process of its own, shared with the case. */
struct first {
	struct tap tap;
	unsigned long flags;
	bool keeps;		/* it has a file for the next one */
	bool holds;		/* it takes writes, and answers none */
	bool freed;		/* FREE_TAP came before it had a disk */
	_Atomic bool ready;
	_Atomic unsigned int writes;
};

static int first_hook(struct server *s, const struct b2_request *r)
{
	struct first *f = s->arg;

	if (r->op != B2_WRITE)
		return SERVE;
	f->writes++;
	return f->holds ? TAKEN : SERVE;
}

static int first_run(void *arg)
{
	struct first *f = arg;
	struct server s = { .hook = first_hook, .arg = f, .flags = f->flags };
	struct blktap_keep keep = { .fd = -1 };
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	if (f->freed) {
		CHECK_OK(tap_free(t.h.minor));
		/* And it is given up, or it would close what has no users. */
		CHECK(tap_close_force(t.h.minor) == 0);
	}
	s.tap = &t;
	s.sectors = DISK_SECTORS;
	server_start(&s);
	if (f->keeps) {
		keep.fd = memfd_create("note", MFD_CLOEXEC);
		CHECK(write(keep.fd, NOTE, sizeof(NOTE)) == sizeof(NOTE));
		CHECK_OK(ioctl(t.fd, BLKTAP_IOCTL_KEEP, &keep));
	}
	f->tap = t;
	f->ready = true;
	pause();
	return 0;
}

static bool is_ready(void *first)
{
	return ((struct first *)first)->ready;
}

static bool has_all(void *first)
{
	return ((struct first *)first)->writes >= 8;
}

static bool is_orphan(void *minor)
{
	struct btnl nl;
	long state;

	btnl_open(&nl);
	state = btnl_get_u32(&nl, *(uint32_t *)minor, BLKTAP_A_STATE);
	btnl_close(&nl);
	return state >= 0 && (state & BLKTAP_STATE_ORPHANED);
}

static struct first *first_new(void)
{
	return shared_alloc(sizeof(struct first));
}

static pid_t first_start(struct first *f)
{
	pid_t pid = child_start(first_run, f);

	CHECK(wait_until(is_ready, f, 10));
	return pid;
}

static void first_kill(struct first *f, pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(wait_until(is_orphan, &f->tap.h.minor, 10));
}

/* The second one: attached, but not yet serving. */
static void second_map(struct tap *t, const struct first *f)
{
	*t = (struct tap) { .fd = -1 };
	tap_adopt(t, f->tap.h);
	tap_map(t);
}

static void second_serve(struct server *s, struct tap *t)
{
	s->tap = t;
	s->sectors = DISK_SECTORS;
	server_start(s);
}

struct writers {
	pid_t pid[WRITERS];
	struct disk_io io[WRITERS];
};

static void writers_start(struct writers *w, const struct first *f)
{
	for (int i = 0; i < WRITERS; i++) {
		w->io[i] = (struct disk_io) {
			.node = f->tap.disk_node, .flags = O_DIRECT, .write = true,
			.buf = shared_alloc(WRITE_BYTES), .len = WRITE_BYTES,
			.offset = (off_t)i * WRITE_BYTES,
		};
		memset(w->io[i].buf, 'a' + i, WRITE_BYTES);
		w->pid[i] = child_start(do_disk_io, &w->io[i]);
	}
}

static void writers_end(struct writers *w, const struct server *s)
{
	for (int i = 0; i < WRITERS; i++) {
		CHECK(child_wait(w->pid[i]) == 0, "writer %d", i);
		CHECK(!memcmp(s->data + i * WRITE_BYTES, w->io[i].buf, WRITE_BYTES),
		      "writer %d", i);
	}
}

static void the_next_one_is_asked_again(void)
{
	struct first *f = first_new();
	struct server s = { .shuffle = true };
	struct writers w;
	struct tap t;
	pid_t pid;

	f->holds = true;
	pid = first_start(f);
	writers_start(&w, f);
	CHECK(wait_until(has_all, f, 10));
	first_kill(f, pid);
	second_map(&t, f);
	nap_ms(50);
	CHECK(!t.ring->req_prod, "%u requests before it serves the disk", t.ring->req_prod);
	second_serve(&s, &t);
	writers_end(&w, &s);
	server_down(&s);
}

/* And the one after it, in the middle of what it does. */
static void one_dies_after_the_other(void)
{
	struct first *f[3];
	struct server s = { 0 };
	struct writers w;
	struct tap t;
	pid_t pid;

	f[0] = first_new();
	f[0]->holds = true;
	pid = first_start(f[0]);
	writers_start(&w, f[0]);
	CHECK(wait_until(has_all, f[0], 10));
	first_kill(f[0], pid);
	for (int i = 0; i < 3; i++) {
		/* It comes as far as to have mapped the ring. */
		pid = fork();
		if (!pid) {
			second_map(&t, f[0]);
			if (i == 1)
				tap_create(&t, DISK_SECTORS, 0);
			nap_ms(50);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		CHECK(wait_until(is_orphan, &f[0]->tap.h.minor, 10));
	}
	second_map(&t, f[0]);
	second_serve(&s, &t);
	writers_end(&w, &s);
	server_down(&s);
}

/* Neither of what it had, nor of what had no slot. */
static void its_time_is_not_held_against_the_next_one(void)
{
	struct first *f = first_new();
	struct server s = { 0 };
	struct writers w;
	struct tap t;
	pid_t pid;

	f->holds = true;
	pid = first_start(f);
	CHECK_OK(sysfs_write(f->tap.sysfs, "request_timeout", "4"));
	writers_start(&w, f);
	CHECK(wait_until(has_all, f, 10));
	nap_ms(6000);
	first_kill(f, pid);
	second_map(&t, f);
	nap_ms(1500);	/* somebody has looked at them meanwhile */
	second_serve(&s, &t);
	writers_end(&w, &s);
	server_down(&s);
}

/* A tapdisk that takes what there is, and dies of it. */
static void short_life(const struct first *f, unsigned int ms)
{
	struct tap t;
	pid_t pid = fork();

	if (!pid) {
		second_map(&t, f);
		CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
		nap_ms(ms);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	CHECK(wait_until(is_orphan, (void *)&f->tap.h.minor, 10));
	nap_ms(400);
}

/* @limit in seconds; @ms: how long the tapdisks live. */
static void what_they_die_of_ends(const char *limit, unsigned int ms, int max_lives)
{
	struct first *f = first_new();
	int result = 0, lives = 0;
	struct disk_io *io;
	struct server s = { 0 };
	struct tap t;
	pid_t pid, writer;

	f->holds = true;
	pid = first_start(f);
	io = shared_alloc(sizeof(*io));
	*io = (struct disk_io) {
		.node = f->tap.disk_node, .flags = O_DIRECT, .write = true,
		.buf = shared_alloc(WRITE_BYTES), .len = WRITE_BYTES,
	};
	CHECK_OK(sysfs_write(f->tap.sysfs, "request_timeout", limit));
	writer = child_start(do_disk_io, io);
	child_settle(writer);
	nap_ms(ms);
	first_kill(f, pid);
	while (!child_is_done(writer, &result) && lives++ < max_lives)
		short_life(f, ms);
	CHECK(result == EIO, "%d after %d lives", result, lives);
	CHECK(lives > 2, "after %d lives", lives);
	second_map(&t, f);
	second_serve(&s, &t);
	CHECK(in_child(do_disk_io, io) == 0);
	server_down(&s);
}

static void what_its_tapdisks_die_of_soon_ends_with_an_error(void)
{
	what_they_die_of_ends("4", 100, 60);
}

/* After it has waited for longer than the limit, which is no error where one serves. */
static void what_its_tapdisks_die_of_late_ends_with_an_error(void)
{
	what_they_die_of_ends("3", 5000, 12);
}

/* Others use the disk, and rely on what its forerunner has not ended. */
static void one_that_serves_nothing_can_take_nothing_away(void)
{
	struct blktap_keep keep = { .fd = -1 };
	struct first *f = first_new();
	struct server s = { 0 };
	struct tap t;
	pid_t pid;

	pid = first_start(f);
	first_kill(f, pid);
	second_map(&t, f);
	CHECK_ERRNO(ioctl(t.fd, B2_REMOVE), EBUSY);
	CHECK_OK(ioctl(t.fd, BLKTAP_IOCTL_KEEP, &keep));
	CHECK_OK(munmap(t.ring, B2_MAP_BYTES));
	t.ring = NULL;
	CHECK_ERRNO(ioctl(t.fd, BLKTAP_IOCTL_KEEP, &keep), EACCES);
	CHECK_ERRNO(ioctl(t.fd, B2_REMOVE), EACCES);
	tap_close(&t);
	CHECK(wait_until(is_orphan, &f->tap.h.minor, 10));
	second_map(&t, f);
	second_serve(&s, &t);
	server_down(&s);
}

static void it_must_be_the_same_disk(void)
{
	static const struct {
		uint64_t sectors;
		unsigned long flags;
	} wrong[] = {
		{ DISK_SECTORS - 8, B2_F_FLUSH | B2_F_TRIM },
		{ DISK_SECTORS, B2_F_FLUSH | B2_F_TRIM | B2_F_RDONLY },
		{ DISK_SECTORS, B2_F_TRIM },
		{ DISK_SECTORS, B2_F_FLUSH },
		{ DISK_SECTORS, 0 },
		{ 0, B2_F_FLUSH | B2_F_TRIM },
	};
	struct b2_params block = {
		.capacity = DISK_SECTORS, .sector_size = 4096,
		.flags = B2_F_FLUSH | B2_F_TRIM, .trim_block_size = 4096,
	};
	struct server s = { .flags = B2_F_FLUSH | B2_F_TRIM };
	struct first *f = first_new();
	struct tap t;
	pid_t pid;

	f->flags = B2_F_FLUSH | B2_F_TRIM;
	pid = first_start(f);
	first_kill(f, pid);
	second_map(&t, f);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_ERRNO(tap_create(&t, wrong[i].sectors, wrong[i].flags), EINVAL);
	CHECK_ERRNO(ioctl(t.fd, B2_CREATE, &block), EINVAL);
	second_serve(&s, &t);
	CHECK_ERRNO(tap_create(&t, DISK_SECTORS, s.flags), EEXIST);
	server_down(&s);
}

static void it_keeps_its_size_where_the_image_has_grown(void)
{
	struct b2_params grown = { .capacity = DISK_SECTORS + 8, .sector_size = 512 };
	struct first *f = first_new();
	struct tap t;
	pid_t pid;

	pid = first_start(f);
	first_kill(f, pid);
	second_map(&t, f);
	CHECK_OK(ioctl(t.fd, B2_CREATE, &grown));
	CHECK(grown.capacity == DISK_SECTORS, "the kernel says %llu sectors",
	      (unsigned long long)grown.capacity);
	tap_drop_disk(&t);
	tap_close(&t);
	CHECK_OK(tap_free(t.h.minor));
}

/* One that has not joined has no request to answer. */
static void an_answer_before_that_is_a_lie(void)
{
	struct blktap_keep keep = { .fd = memfd_create("note", MFD_CLOEXEC) };
	struct blktap_file file = { .fd = keep.fd };
	struct first *f = first_new();
	struct tap t;
	pid_t pid;

	pid = first_start(f);
	first_kill(f, pid);
	second_map(&t, f);
	t.ring->entry[0].rsp = (struct b2_response) { .id = 0, .op = B2_READ };
	__atomic_store_n(&t.ring->rsp_prod, 1, __ATOMIC_RELEASE);
	CHECK_ERRNO(ioctl(t.fd, B2_KICK), EIO);
	CHECK_ERRNO(tap_create(&t, DISK_SECTORS, 0), EIO);
	/* Nor does it leave anything: nobody would drop that. */
	CHECK_ERRNO(ioctl(t.fd, BLKTAP_IOCTL_KEEP, &keep), EIO);
	CHECK_ERRNO(ioctl(t.fd, BLKTAP_IOCTL_ADD_FILE, &file), EIO);
	CHECK(tap_close_force(t.h.minor) == 0);
	tap_close(&t);
	tap_free(t.h.minor);
	CHECK(wait_until(tap_is_gone, &t, 10));
}

static bool removes(void *tap)
{
	return !ioctl(((struct tap *)tap)->fd, B2_REMOVE);
}

/* FREE_TAP waits for the tapdisk's end, but not for one who has served a disk since. */
static void an_orphan_is_not_freed_behind_its_back(void)
{
	struct first *f = first_new();
	struct server s = { 0 };
	struct tap t;
	pid_t pid;

	f->freed = true;
	pid = first_start(f);
	first_kill(f, pid);
	nap_ms(100);
	second_map(&t, f);
	second_serve(&s, &t);
	/* Somebody may be looking for partitions. */
	CHECK(wait_until(removes, &t, 10), "the disk stays busy");
	server_stop(&s);
	tap_close(&t);
	nap_ms(100);
	CHECK(tap_exists(&t), "it was freed");
	CHECK_OK(tap_free(t.h.minor));
	CHECK(wait_until(tap_is_gone, &t, 10));
}

/* Out of a child, so that no process of the case has the disk open. */
static int make_file_on(void *tap)
{
	char text[320];

	snprintf(text, sizeof(text), "mkfs.ext4 -q %1$s && mkdir -p %2$s && mount %1$s %2$s && : >%2$s/note",
		 ((struct tap *)tap)->disk_node, MOUNT);
	return system(text) ? EIO : 0;
}

static int unmount(void *unused)
{
	(void)unused;
	return system("umount " MOUNT " && rmdir " MOUNT) ? EIO : 0;
}

/* It would hold the filesystem there, and so the disk, and so itself. */
static void no_file_is_kept_that_is_on_a_tap(void)
{
	struct blktap_keep keep = { .fd = -1 };
	struct server s = { 0 };
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	CHECK(in_child(make_file_on, &t) == 0);
	keep.fd = open(MOUNT "/note", O_RDONLY | O_CLOEXEC);
	CHECK_OK(keep.fd);
	CHECK_ERRNO(ioctl(t.fd, BLKTAP_IOCTL_KEEP, &keep), ELOOP);
	close(keep.fd);
	CHECK(in_child(unmount, NULL) == 0);
	server_down(&s);
}

static void a_file_is_kept_for_the_next_one(void)
{
	struct blktap_keep keep = { .fd = -1 };
	struct first *f = first_new();
	char note[sizeof(NOTE)] = "";
	struct server s = { 0 };
	int pipes[2];
	struct tap t;
	pid_t pid;

	f->keeps = true;
	pid = first_start(f);
	first_kill(f, pid);
	second_map(&t, f);
	CHECK_OK(ioctl(t.fd, BLKTAP_IOCTL_KEPT, &keep));
	CHECK(pread(keep.fd, note, sizeof(note), 0) == sizeof(note));
	CHECK(!strcmp(note, NOTE));
	CHECK(fcntl(keep.fd, F_GETFD) == FD_CLOEXEC);
	close(keep.fd);

	CHECK_OK(pipe2(pipes, O_CLOEXEC));
	keep.fd = pipes[0];
	CHECK_ERRNO(ioctl(t.fd, BLKTAP_IOCTL_KEEP, &keep), EINVAL);
	keep.fd = 9999;
	CHECK_ERRNO(ioctl(t.fd, BLKTAP_IOCTL_KEEP, &keep), EBADF);
	CHECK_OK(ioctl(t.fd, BLKTAP_IOCTL_KEPT, &keep));
	close(keep.fd);
	keep.fd = -1;
	CHECK_OK(ioctl(t.fd, BLKTAP_IOCTL_KEEP, &keep));
	CHECK_ERRNO(ioctl(t.fd, BLKTAP_IOCTL_KEPT, &keep), ENOENT);
	second_serve(&s, &t);
	server_down(&s);
}

/* Answers the first writes so, then serves. */
struct grudge {
	int16_t status;
	_Atomic int left;
};

static int grudging(struct server *s, const struct b2_request *r)
{
	struct grudge *g = s->arg;

	return r->op == B2_WRITE && g->left-- > 0 ? g->status : SERVE;
}

/* Return: how a write of three slots ends. */
static int write_grudged(int16_t status, int times, unsigned long flags)
{
	struct grudge g = { .status = status, .left = times };
	struct server s = { .hook = grudging, .arg = &g, .flags = flags };
	struct disk_io io = {
		.flags = O_DIRECT, .write = true, .buf = shared_alloc(WRITE_BYTES),
		.len = WRITE_BYTES,
	};
	struct tap t;
	int err;

	server_up(&s, &t, DISK_SECTORS);
	io.node = t.disk_node;
	memset(io.buf, 0x5a, io.len);
	err = in_child(do_disk_io, &io);
	CHECK(err || !memcmp(s.data, io.buf, io.len));
	server_down(&s);
	return err;
}

static void what_may_pass_is_tried_again(void)
{
	CHECK(write_grudged(-ENOSPC, 4, BLKTAP_DEVICE_ERRNO) == 0);
	CHECK(write_grudged(-EDQUOT, 2, BLKTAP_DEVICE_ERRNO) == 0);
	CHECK(write_grudged(-ETIMEDOUT, 4, BLKTAP_DEVICE_ERRNO) == 0);
}

static void space_is_waited_for_without_limit(void)
{
	struct grudge g = { .status = -ENOSPC, .left = 6 };
	struct server s = { .hook = grudging, .arg = &g, .flags = BLKTAP_DEVICE_ERRNO };
	struct disk_io io = {
		.flags = O_DIRECT, .write = true, .buf = shared_alloc(B2_PAGE), .len = B2_PAGE,
	};
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	/* Passed after the fourth try. */
	CHECK_OK(sysfs_write(t.sysfs, "request_timeout", "1"));
	io.node = t.disk_node;
	CHECK(in_child(do_disk_io, &io) == 0);
	CHECK(g.left <= 0);
	server_down(&s);
}

static void what_does_not_pass_in_time_is_passed_up(void)
{
	struct grudge g = { .status = -ENOSPC, .left = INT_MAX };
	struct server s = { .hook = grudging, .arg = &g, .flags = BLKTAP_DEVICE_ERRNO };
	struct disk_io io = {
		.flags = O_DIRECT, .write = true, .buf = shared_alloc(B2_PAGE), .len = B2_PAGE,
	};
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	CHECK_OK(sysfs_write(t.sysfs, "request_timeout", "1"));
	io.node = t.disk_node;
	g.status = -ETIMEDOUT;
	CHECK(in_child(do_disk_io, &io) == ETIMEDOUT);
	CHECK_OK(sysfs_write(t.sysfs, "on_timeout", "fail"));
	CHECK(in_child(do_disk_io, &io) == ETIMEDOUT);
	g.status = -ENOSPC;
	g.left = INT_MAX;
	CHECK(in_child(do_disk_io, &io) == ENOSPC);
	CHECK(INT_MAX - g.left > 2, "tried %d times", INT_MAX - g.left);
	server_down(&s);
}

/* Return: how often a write was tried before it failed. */
static int tries_within(int16_t status, const char *limit)
{
	struct grudge g = { .status = status, .left = INT_MAX };
	struct server s = { .hook = grudging, .arg = &g, .flags = BLKTAP_DEVICE_ERRNO };
	struct disk_io io = {
		.flags = O_DIRECT, .write = true, .buf = shared_alloc(B2_PAGE), .len = B2_PAGE,
	};
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	CHECK_OK(sysfs_write(t.sysfs, "on_timeout", "fail"));
	CHECK_OK(sysfs_write(t.sysfs, "request_timeout", limit));
	io.node = t.disk_node;
	CHECK(in_child(do_disk_io, &io) == -status);
	server_down(&s);
	return INT_MAX - g.left;
}

/*
 * The pauses are 0.1, 0.1, 0.2, 0.4, 0.8, 1.6 and 3.2 s, for space no more than 1 s, or
 * longer where the machine is slow. More tries than so many fit only where they are even.
 */
static void it_is_tried_again_at_growing_intervals(void)
{
	int tries;

	tries = tries_within(-ETIMEDOUT, "1");
	CHECK(tries > 1 && tries <= 5, "%d tries in 1 s", tries);
	tries = tries_within(-ETIMEDOUT, "4");
	CHECK(tries > 2 && tries <= 7, "%d tries in 4 s", tries);
	tries = tries_within(-ENOSPC, "4");
	CHECK(tries > 2 && tries <= 8, "%d tries for space in 4 s", tries);
}

static void any_other_error_is_passed_up(void)
{
	CHECK(write_grudged(-EIO, 1, BLKTAP_DEVICE_ERRNO) == EIO);
	CHECK(write_grudged(-EAGAIN, 1, BLKTAP_DEVICE_ERRNO) == EIO);
	CHECK(write_grudged(-4095, 1, BLKTAP_DEVICE_ERRNO) == EIO);
	CHECK(write_grudged(B2_ERROR, 1, 0) == EIO);
}

/* Holds the first write, and serves the rest. */
struct holder {
	struct b2_request held;
	_Atomic unsigned int writes;
};

static int holds_first(struct server *s, const struct b2_request *r)
{
	struct holder *h = s->arg;

	if (r->op != B2_WRITE)
		return SERVE;
	if (h->writes++)
		return SERVE;
	h->held = *r;
	return TAKEN;
}

static pid_t write_block(const struct tap *t, unsigned int block, uint8_t pattern)
{
	struct disk_io *io = shared_alloc(sizeof(*io));

	*io = (struct disk_io) {
		.node = t->disk_node, .flags = O_DIRECT, .write = true,
		.buf = shared_alloc(B2_PAGE), .len = B2_PAGE, .offset = (off_t)block * B2_PAGE,
	};
	memset(io->buf, pattern, B2_PAGE);
	return child_start(do_disk_io, io);
}

/* What has failed while the tapdisk had it may still be done: nothing newer goes first. */
static void a_late_write_comes_before_newer_ones(void)
{
	struct holder h = { 0 };
	struct server s = { .hook = holds_first, .arg = &h };
	struct tap t;
	int result;
	pid_t pid;

	server_up(&s, &t, DISK_SECTORS);
	CHECK_OK(sysfs_write(t.sysfs, "on_timeout", "fail"));
	CHECK_OK(sysfs_write(t.sysfs, "request_timeout", "1"));
	CHECK(child_wait(write_block(&t, 16, 'o')) == EIO);
	CHECK_OK(sysfs_write(t.sysfs, "request_timeout", "0"));

	pid = write_block(&t, 16, 'n');
	CHECK(child_wait(write_block(&t, 17, 'x')) == 0);
	child_settle(pid);
	CHECK(!child_is_done(pid, &result) && h.writes == 2, "%u writes", h.writes);
	server_copy(&s, &h.held);
	server_answer(&s, h.held.id, h.held.op, B2_OKAY);
	server_kick(&s);
	CHECK(child_wait(pid) == 0);
	CHECK(s.data[16 * B2_PAGE] == 'n');
	server_down(&s);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(the_next_one_is_asked_again),
	KTAP_CASE(one_dies_after_the_other),
	KTAP_CASE(its_time_is_not_held_against_the_next_one),
	KTAP_CASE(what_its_tapdisks_die_of_soon_ends_with_an_error),
	KTAP_CASE(what_its_tapdisks_die_of_late_ends_with_an_error),
	KTAP_CASE(one_that_serves_nothing_can_take_nothing_away),
	KTAP_CASE(it_must_be_the_same_disk),
	KTAP_CASE(it_keeps_its_size_where_the_image_has_grown),
	KTAP_CASE(an_answer_before_that_is_a_lie),
	KTAP_CASE(an_orphan_is_not_freed_behind_its_back),
	KTAP_CASE(no_file_is_kept_that_is_on_a_tap),
	KTAP_CASE(a_file_is_kept_for_the_next_one),
	KTAP_CASE(what_may_pass_is_tried_again),
	KTAP_CASE(space_is_waited_for_without_limit),
	KTAP_CASE(what_does_not_pass_in_time_is_passed_up),
	KTAP_CASE(it_is_tried_again_at_growing_intervals),
	KTAP_CASE(any_other_error_is_passed_up),
	KTAP_CASE(a_late_write_comes_before_newer_ones),
};

KTAP_MAIN(cases, &state_checks)
