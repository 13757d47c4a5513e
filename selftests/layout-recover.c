// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tapdisk of layout mode that was killed: what goes on without one, what the next
 * one is asked, and what it has to bring with it. And files that fail for a while.
 */
#include <fcntl.h>
#include <linux/blktap.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/granter.h"
#include "lib/nl.h"
#include "lib/server.h"
#include "lib/state.h"

#define AT		(GRANTER_CHUNK + 128)	/* a sector that nobody else wants */
#define RELEASE		(BLKTAP_DEVICE_TRIM | BLKTAP_DEVICE_BLOCK | BLKTAP_DEVICE_RELEASE)
#define FILE_BYTES	((off_t)GRANTER_SECTORS * B2_SECTOR)

/* The first tapdisk, a process of its own, shared with the case. */
struct first {
	struct granter g;
	char path[128];		/* of the image */
	uint32_t state;		/* of what it grants: the chunk that is asked for */
	_Atomic bool silent;	/* it answers nothing */
	_Atomic bool ready;
};

/* A TRIM is never answered. */
static void grant_chunk(struct granter *g, const struct blktap_ring_request *r)
{
	uint64_t chunk = r->lg.sector_number / GRANTER_CHUNK * GRANTER_CHUNK;
	struct first *f = g->arg;
	struct blktap_extent e = {
		.sector = chunk, .nr_sectors = GRANTER_CHUNK, .offset = chunk * B2_SECTOR,
		.state = f->state,
	};

	if (r->operation == BLKTAP_OP_TRIM || f->silent)
		return;
	CHECK(r->operation == BLKTAP_OP_LAYOUTGET);
	CHECK_OK(granter_grant(g, r, &e, 1));
}

static int image_open(struct first *f)
{
	int fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	CHECK(fd >= 0, "%s: %s", f->path, strerror(errno));
	CHECK_OK(ftruncate(fd, FILE_BYTES));
	return fd;
}

static int first_run(void *arg)
{
	struct first *f = arg;

	f->g.serve = grant_chunk;
	f->g.arg = f;
	granter_up(&f->g, image_open(f));
	granter_start(&f->g);
	f->ready = true;
	pause();
	return 0;
}

static bool is_ready(void *first)
{
	return ((struct first *)first)->ready;
}

static long state_of(const struct granter *g)
{
	struct btnl nl;
	long state;

	btnl_open(&nl);
	state = btnl_get_u32(&nl, g->tap.h.minor, BLKTAP_A_STATE);
	btnl_close(&nl);
	CHECK(state >= 0, "the tap has no state");
	return state;
}

static bool is_orphan(void *first)
{
	return state_of(&((struct first *)first)->g) & BLKTAP_STATE_ORPHANED;
}

static pid_t first_start_of(struct first **first, uint64_t sectors, uint32_t state,
			    unsigned long flags)
{
	struct first *f = shared_alloc(sizeof(*f));
	pid_t pid;

	f->state = state;
	f->g.sectors = sectors;
	f->g.flags = flags;
	snprintf(f->path, sizeof(f->path), "%s/recover.%d", getenv("SCRATCH") ?: "/tmp",
		 getpid());
	pid = child_start(first_run, f);
	CHECK(wait_until(is_ready, f, 10));
	*first = f;
	return pid;
}

static pid_t first_start(struct first **first, uint32_t state, unsigned long flags)
{
	return first_start_of(first, GRANTER_SECTORS, state, flags);
}

static void first_kill(struct first *f, pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(wait_until(is_orphan, f, 10));
}

/* The second one: attached, with the image, but not yet serving. Return: the image. */
static int second_map(struct granter *g, struct first *f)
{
	int fd = image_open(f);

	CHECK_OK(unlink(f->path));
	granter_adopt(g, f->g.tap.h);
	CHECK(granter_add(g, fd, BLKTAP_FILE_WRITE) == 0, "the file has another index now");
	return fd;
}

static int io_of(struct first *f, bool write, uint64_t sector, uint8_t pattern)
{
	struct disk_io *io = granter_io(&f->g, write, sector, 8, pattern);
	int err = in_child(do_disk_io, io);

	CHECK(err || write || filled_with(io->buf, io->len, pattern));
	return err;
}

static void hits_go_on_and_misses_wait(void)
{
	struct granter g = { 0 };
	struct first *f;
	pid_t pid, miss;
	int fd, result;

	pid = first_start(&f, BLKTAP_EXT_READ_WRITE_DATA, 0);
	CHECK(io_of(f, true, AT, 0x11) == 0);
	first_kill(f, pid);
	CHECK(io_of(f, false, AT, 0x11) == 0);
	CHECK(io_of(f, true, AT + 8, 0x22) == 0);
	miss = child_start(do_disk_io, granter_io(&f->g, true, AT + GRANTER_CHUNK, 8, 0x33));
	fd = second_map(&g, f);
	child_settle(miss);
	CHECK(!child_is_done(miss, &result), "it did not wait");
	granter_create(&g);
	CHECK(granter_until(&g, miss) == 0);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 0x11);
	scratch_expect(fd, (off_t)(AT + 8) * B2_SECTOR, 4096, 0x22);
	scratch_expect(fd, (off_t)(AT + GRANTER_CHUNK) * B2_SECTOR, 4096, 0x33);
	granter_down(&g);
}

#define TAGS_MAX	256
#define HITS		8

static unsigned int number_of(const struct tap *t, const char *file, unsigned int *second)
{
	unsigned int n = 0;
	char dir[64], buf[64];

	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", t->h.disk_major, t->h.minor);
	CHECK(sysfs_read(dir, file, buf, sizeof(buf)), "%s", file);
	CHECK(sscanf(buf, "%u %u", &n, second) > 0, "%s: %s", file, buf);
	return n;
}

struct in_flight {
	const struct tap *tap;
	unsigned int wanted;
};

static bool are_in_flight(void *arg)
{
	struct in_flight *f = arg;
	unsigned int writes = 0;

	return number_of(f->tap, "inflight", &writes) + writes >= f->wanted;
}

struct ending {
	pid_t pid;
	int result;
};

static bool has_ended(void *ending)
{
	struct ending *e = ending;

	return child_is_done(e->pid, &e->result);
}

static void hit_ends(struct first *f, bool write, unsigned int i)
{
	struct disk_io *io = granter_io(&f->g, write, AT + 8 * i, 8, write ? i : 0xee);
	struct ending e = { .pid = child_start(do_disk_io, io) };

	CHECK(wait_until(has_ended, &e, 10), "hit %u waits", i);
	CHECK(!e.result && filled_with(io->buf, io->len, i), "hit %u: %s", i, strerror(e.result));
}

/* Of one queue, where there are more: each has its own tags. */
static void stay_on_this_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	CHECK_OK(sched_setaffinity(0, sizeof(set), &set));
}

/* More misses than there are slots, each of a chunk of its own: all tags but one. */
static void hits_go_on_with_one_tag(bool dead)
{
	struct granter g = { .sectors = (TAGS_MAX + 4) * GRANTER_CHUNK };
	pid_t pid, miss[TAGS_MAX];
	struct in_flight busy;
	unsigned int none;
	struct first *f;

	stay_on_this_cpu();
	pid = first_start_of(&f, g.sectors, BLKTAP_EXT_READ_WRITE_DATA, 0);
	CHECK_OK(sysfs_write(f->g.tap.sysfs, "request_timeout", "0"));
	CHECK(io_of(f, true, AT, 0x11) == 0);
	busy = (struct in_flight) {
		.tap = &f->g.tap, .wanted = number_of(&f->g.tap, "queue/nr_requests", &none) - 1,
	};
	CHECK(busy.wanted > BLKTAP_RING_SIZE && busy.wanted < TAGS_MAX, "%u", busy.wanted);
	f->silent = true;
	if (dead)
		first_kill(f, pid);
	for (unsigned int i = 0; i < busy.wanted; i++)
		miss[i] = child_start(do_disk_io, granter_io(&f->g, false, (2 + i) * GRANTER_CHUNK,
							     8, 0));
	CHECK(wait_until(are_in_flight, &busy, 20), "not all misses are under way");
	for (unsigned int i = 0; i < HITS; i++) {
		hit_ends(f, true, i);
		hit_ends(f, false, i);
	}
	CHECK(are_in_flight(&busy), "misses have ended");
	if (!dead)
		first_kill(f, pid);
	second_map(&g, f);
	granter_create(&g);
	for (unsigned int i = 0; i < busy.wanted; i++)
		CHECK(granter_until(&g, miss[i]) == 0, "miss %u", i);
	granter_down(&g);
}

static void a_hit_does_not_wait_while_a_tag_is_left(void)
{
	hits_go_on_with_one_tag(false);
}

static void nor_where_the_tapdisk_is_dead(void)
{
	hits_go_on_with_one_tag(true);
}

/* Of what has landed by the first one's grant, also when that one had gone. */
static void the_next_one_commits_what_has_landed(void)
{
	struct blktap_ring_request r;
	struct granter g = { 0 };
	struct blktap_extent *e;
	struct disk_io *io;
	struct first *f;
	pid_t pid, sync;

	pid = first_start(&f, BLKTAP_EXT_INVALID_DATA, 0);
	CHECK(io_of(f, true, AT, 0x11) == 0);
	first_kill(f, pid);
	CHECK(io_of(f, true, AT + 8, 0x22) == 0);
	io = granter_io(&f->g, true, AT + 16, 8, 0x33);
	io->sync = true;
	sync = child_start(do_disk_io, io);
	second_map(&g, f);
	granter_create(&g);
	granter_next(&g, &r, BLKTAP_OP_LAYOUTCOMMIT);
	e = g.pages[r.id];
	CHECK(r.lc.nr_ranges == 1 && e->sector == AT && e->nr_sectors == 24,
	      "%u ranges, %llu + %llu", r.lc.nr_ranges, e->sector, e->nr_sectors);
	CHECK_OK(granter_answer(&g, &r, BLKTAP_RSP_OKAY, 0));
	CHECK(child_wait(sync) == 0);
	granter_down(&g);
}

/* What has landed is committed by the next sync, when the tapdisk has time again. */
static void a_commit_that_takes_too_long_fails(void)
{
	const uint64_t chunk = AT / GRANTER_CHUNK * GRANTER_CHUNK;
	const struct blktap_extent e =
		EXTENT(chunk, GRANTER_CHUNK, chunk * B2_SECTOR, 0, INVALID_DATA);
	struct blktap_ring_request get, late, commit;
	struct granter g = { 0 };
	struct disk_io *io;
	pid_t sync;

	granter_up(&g, scratch_file(FILE_BYTES));
	CHECK_OK(sysfs_write(g.tap.sysfs, "on_timeout", "fail"));
	io = granter_io(&g, true, AT, 8, 0x11);
	io->sync = true;
	sync = child_start(do_disk_io, io);
	granter_next(&g, &get, BLKTAP_OP_LAYOUTGET);
	CHECK_OK(granter_grant(&g, &get, &e, 1));
	granter_next(&g, &late, BLKTAP_OP_LAYOUTCOMMIT);
	CHECK_OK(sysfs_write(g.tap.sysfs, "request_timeout", "1"));
	CHECK(child_wait(sync) == EIO);
	CHECK_OK(sysfs_write(g.tap.sysfs, "request_timeout", "0"));
	CHECK_OK(granter_answer(&g, &late, BLKTAP_RSP_OKAY, 0));

	sync = child_start(do_disk_io, io);
	granter_next(&g, &commit, BLKTAP_OP_LAYOUTCOMMIT);
	CHECK(commit.lc.nr_ranges == 1, "%u ranges", commit.lc.nr_ranges);
	CHECK_OK(granter_answer(&g, &commit, BLKTAP_RSP_OKAY, 0));
	CHECK(child_wait(sync) == 0);
	granter_down(&g);
}

/* It has not been done, or it has: now nobody is left to do it. */
static void a_failed_trim_s_blocks_are_held_till_its_tapdisk_goes(void)
{
	struct granter g = { .flags = RELEASE };
	struct first *f;
	pid_t pid, held;
	int result;

	pid = first_start(&f, BLKTAP_EXT_READ_WRITE_DATA, RELEASE);
	CHECK_OK(sysfs_write(f->g.tap.sysfs, "on_timeout", "fail"));
	CHECK_OK(sysfs_write(f->g.tap.sysfs, "request_timeout", "1"));
	CHECK(child_wait(granter_discard(&f->g, GRANTER_CHUNK, GRANTER_CHUNK)) == EIO);
	CHECK_OK(sysfs_write(f->g.tap.sysfs, "request_timeout", "0"));
	held = child_start(do_disk_io, granter_io(&f->g, true, AT, 8, 0x33));
	child_settle(held);
	CHECK(!child_is_done(held, &result), "a write went where the block was");
	first_kill(f, pid);
	second_map(&g, f);
	granter_create(&g);
	CHECK(granter_until(&g, held) == 0);
	granter_down(&g);
}

/* The disk will ask for extents, whatever the next one says that it speaks. */
static void the_next_one_needs_the_layout_pages(void)
{
	struct granter g = { 0 };
	struct first *f;
	struct tap old;
	pid_t pid;

	pid = first_start(&f, BLKTAP_EXT_READ_WRITE_DATA, 0);
	first_kill(f, pid);
	old = (struct tap) { .fd = -1 };
	tap_adopt(&old, f->g.tap.h);
	tap_map(&old);
	CHECK_ERRNO(tap_create(&old, GRANTER_SECTORS, 0), EINVAL);
	CHECK_ERRNO(tap_create(&old, GRANTER_SECTORS, BLKTAP_DEVICE_LAYOUT), EINVAL);
	g.pages = granter_map_layout(&old);
	CHECK(g.pages != MAP_FAILED);
	g.tap = old;
	g.sectors = GRANTER_SECTORS;
	CHECK(granter_add(&g, image_open(f), BLKTAP_FILE_WRITE) == 0);
	CHECK_OK(unlink(f->path));
	granter_create(&g);
	granter_start(&g);
	CHECK(io_of(f, true, AT, 0x11) == 0);
	granter_stop(&g);
	granter_down(&g);
}

/* --- a file that fails for a while --------------------------------------------------- */

/* The network is down: a disk below says so. */
struct below {
	struct server server;
	struct tap tap;
	_Atomic int left;	/* failures to come */
};

static int fails_first(struct server *s, const struct b2_request *r)
{
	struct below *b = s->arg;

	return r->op == B2_WRITE && b->left-- > 0 ? -ETIMEDOUT : SERVE;
}

static void a_file_s_timeout_is_tried_again(void)
{
	struct below b = { 0 };
	struct granter g = { 0 };
	struct disk_io *io;
	int fd;

	b.server = (struct server) {
		.hook = fails_first, .arg = &b, .level = true,
		.flags = B2_F_FLUSH | BLKTAP_DEVICE_ERRNO,
	};
	server_up(&b.server, &b.tap, GRANTER_SECTORS);
	/* It does not try again itself. */
	CHECK_OK(sysfs_write(b.tap.sysfs, "request_timeout", "1"));
	b.left = 6;
	fd = open(b.tap.disk_node, O_RDWR | O_CLOEXEC);
	CHECK_OK(fd);
	granter_up(&g, fd);
	io = granter_io(&g, true, AT, 8, 0x44);
	CHECK(granter_until(&g, child_start(do_disk_io, io)) == 0);
	CHECK(b.left < 0, "%d failures are still to come", b.left);
	CHECK(filled_with(b.server.data + AT * B2_SECTOR, 4096, 0x44));
	granter_down(&g);
	close(fd);
	server_down(&b.server);
}

/* --- a file that hangs --------------------------------------------------------------- */

/* What the disk below is asked first of @op is not answered. */
struct hanging {
	struct server server;
	struct tap tap;
	uint8_t op;
	struct b2_request held;
	_Atomic bool has;
};

static int hangs(struct server *s, const struct b2_request *r)
{
	struct hanging *h = s->arg;

	if (r->op != h->op || h->has)
		return SERVE;
	h->held = *r;
	h->has = true;
	return TAKEN;
}

static bool hangs_now(void *hanging)
{
	return ((struct hanging *)hanging)->has;
}

static void hang_ends(struct hanging *h)
{
	if (h->op != B2_FLUSH)
		server_copy(&h->server, &h->held);
	server_answer(&h->server, h->held.id, h->held.op, B2_OKAY);
	server_kick(&h->server);
}

/* Return: the disk below, open. */
static int hanging_up(struct hanging *h, uint8_t op)
{
	int fd;

	h->op = op;
	h->server = (struct server) {
		.hook = hangs, .arg = h, .level = true, .flags = B2_F_FLUSH,
	};
	server_up(&h->server, &h->tap, GRANTER_SECTORS);
	fd = open(h->tap.disk_node, O_RDWR | O_CLOEXEC);
	CHECK_OK(fd);
	return fd;
}

static int force_close(void *granter)
{
	return tap_close_force(((struct granter *)granter)->tap.h.minor);
}

/* It says so in time, keeps nobody from the tap, and ends when the file does. */
static void closes_though_a_file_hangs(struct hanging *h, struct granter *g, int fd)
{
	char number[16];
	pid_t closer;
	int result;

	CHECK(tap_close_force_in(g->tap.h.minor, 1) == ETIMEDOUT);
	closer = child_start(force_close, g);
	child_settle(closer);
	CHECK(state_of(g) & BLKTAP_STATE_DEAD);
	CHECK(sysfs_read(g->tap.sysfs, "task", number, sizeof(number)));
	CHECK(!child_is_done(closer, &result), "it did not wait: %d", result);
	hang_ends(h);
	CHECK(child_wait(closer) == 0);
	granter_clear(g);
	close(fd);
}

static void a_forced_close_bears_with_a_hanging_write(void)
{
	struct hanging h = { 0 };
	struct granter g = { 0 };
	int fd = hanging_up(&h, B2_WRITE);
	pid_t writer;

	granter_up(&g, fd);
	granter_start(&g);
	writer = child_start(do_disk_io, granter_io(&g, true, AT, 8, 0x55));
	CHECK(wait_until(hangs_now, &h, 10), "no write comes below");
	granter_stop(&g);
	closes_though_a_file_hangs(&h, &g, fd);
	CHECK(child_wait(writer) == 0);
	CHECK(filled_with(h.server.data + AT * B2_SECTOR, 4096, 0x55));
	server_down(&h.server);
}

/* That no request waits for, but an admin who has recalled the layout. */
static void a_forced_close_bears_with_a_hanging_sync(void)
{
	struct hanging h = { 0 };
	struct granter g = { 0 };
	int fd = hanging_up(&h, B2_FLUSH);
	pid_t recall;

	granter_up(&g, fd);
	granter_start(&g);
	CHECK(in_child(do_disk_io, granter_io(&g, true, AT, 8, 0x55)) == 0);
	recall = granter_sysfs(&g, "recall");
	CHECK(wait_until(hangs_now, &h, 10), "no flush comes below");
	granter_stop(&g);
	closes_though_a_file_hangs(&h, &g, fd);
	CHECK(child_wait(recall) == ECANCELED);
	server_down(&h.server);
}

static int flush(void *node)
{
	int fd = open(node, O_RDWR);

	return fd < 0 || fdatasync(fd) ? errno : 0;
}

/* What was paused waits for a flush that came meanwhile: that can't be called off. */
static void a_forced_close_bears_with_a_pause_that_hangs(void)
{
	struct hanging h = { 0 };
	struct granter g = { 0 };
	int fd = hanging_up(&h, B2_FLUSH);
	pid_t pause, flusher;

	h.has = true;	/* not yet */
	granter_up(&g, fd);
	granter_start(&g);
	CHECK(in_child(do_disk_io, granter_io(&g, true, AT, 8, 0x55)) == 0);
	granter_stop(&g);
	pause = granter_sysfs(&g, "pause");
	granter_message(&g, BLKTAP_MSG_PAUSE);
	h.has = false;
	flusher = child_start(flush, g.tap.disk_node);
	CHECK(wait_until(hangs_now, &h, 10), "no flush comes below");
	CHECK_OK(ioctl(g.tap.fd, BLKTAP_IOCTL_PAUSE));
	child_settle(pause);
	closes_though_a_file_hangs(&h, &g, fd);
	child_wait(pause);
	child_wait(flusher);
	server_down(&h.server);
}

struct add {
	struct granter *g;
	int fd;
	int index;
	int error;
	_Atomic bool done;
};

static void *add_file(void *arg)
{
	struct add *a = arg;

	a->index = granter_add(a->g, a->fd, BLKTAP_FILE_WRITE);
	a->error = a->index < 0 ? errno : 0;
	a->done = true;
	return NULL;
}

/* As a lease keeps others from opening a file, so does a server that is away. */
static void a_file_that_is_slow_to_open_keeps_nobody_from_the_tap(void)
{
	struct granter g = { 0 };
	struct add a = { .g = &g, .fd = scratch_file(FILE_BYTES) };
	pthread_t thread;

	granter_map(&g);
	signal(SIGIO, SIG_IGN);
	CHECK_OK(fcntl(a.fd, F_SETLEASE, F_WRLCK));
	CHECK(!pthread_create(&thread, NULL, add_file, &a));
	nap_ms(300);
	state_of(&g);
	CHECK(!a.done, "the file could be opened at once: %s", strerror(a.error));
	CHECK_OK(fcntl(a.fd, F_SETLEASE, F_UNLCK));
	CHECK(!pthread_join(thread, NULL) && !a.index, "%s", strerror(a.error));
	granter_create(&g);
	granter_down(&g);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(hits_go_on_and_misses_wait),
	KTAP_CASE(a_hit_does_not_wait_while_a_tag_is_left),
	KTAP_CASE(nor_where_the_tapdisk_is_dead),
	KTAP_CASE(the_next_one_commits_what_has_landed),
	KTAP_CASE(a_commit_that_takes_too_long_fails),
	KTAP_CASE(a_failed_trim_s_blocks_are_held_till_its_tapdisk_goes),
	KTAP_CASE(the_next_one_needs_the_layout_pages),
	KTAP_CASE(a_file_s_timeout_is_tried_again),
	KTAP_CASE(a_forced_close_bears_with_a_hanging_write),
	KTAP_CASE(a_forced_close_bears_with_a_hanging_sync),
	KTAP_CASE(a_forced_close_bears_with_a_pause_that_hangs),
	KTAP_CASE(a_file_that_is_slow_to_open_keeps_nobody_from_the_tap),
};

KTAP_MAIN(cases, &state_checks)
