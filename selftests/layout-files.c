// SPDX-License-Identifier: GPL-2.0-only
/*
 * Files that a tapdisk registers: which ones the kernel takes, taps on taps, and
 * what becomes of it all when the tapdisk lets go in the middle.
 *
 * kernels: uml kdbg
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/granter.h"
#include "lib/nl.h"
#include "lib/server.h"
#include "lib/state.h"

#define AT		GRANTER_CHUNK
#define FILE_BYTES	((off_t)GRANTER_SECTORS * B2_SECTOR)

static const struct blktap_extent whole = EXTENT(0, GRANTER_SECTORS, 0, 0, READ_WRITE_DATA);
static const struct blktap_extent invalid = EXTENT(AT, GRANTER_CHUNK, AT * B2_SECTOR, 0,
						   INVALID_DATA);

/* --- ADD_FILE ---------------------------------------------------------------------- */

/* The same file, opened in another way. */
static int reopen(int fd, int flags)
{
	char path[64];
	int other;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, flags | O_CLOEXEC);
	CHECK_OK(other);
	return other;
}

static void access_modes_are_checked(void)
{
	int fd = scratch_file(FILE_BYTES);
	int ro = reopen(fd, O_RDONLY), wo = reopen(fd, O_WRONLY), path = reopen(fd, O_PATH);
	struct granter g = { 0 };

	granter_map(&g);
	CHECK_ERRNO(granter_add(&g, ro, BLKTAP_FILE_WRITE), EBADF);
	CHECK_ERRNO(granter_add(&g, wo, 0), EBADF);
	CHECK_ERRNO(granter_add(&g, wo, BLKTAP_FILE_WRITE), EBADF);
	CHECK_ERRNO(granter_add(&g, path, 0), EBADF);
	CHECK_ERRNO(granter_add(&g, -1, 0), EBADF);
	CHECK_ERRNO(granter_add(&g, 9999, 0), EBADF);
	CHECK(granter_add(&g, ro, 0) == 0);
	/* The same file is the same index, as long as what it may be used for is. */
	CHECK(granter_add(&g, fd, 0) == 0);
	CHECK(granter_add(&g, fd, BLKTAP_FILE_WRITE) == 1);
	CHECK(granter_add(&g, fd, BLKTAP_FILE_WRITE) == 1);
	granter_create(&g);
	granter_down(&g);
}

static void only_files_and_block_devices_are_taken(void)
{
	struct granter g = { 0 };
	int pipes[2], fds[6];

	CHECK_OK(pipe2(pipes, O_CLOEXEC));
	fds[0] = pipes[0];
	fds[1] = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds[2] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	fds[3] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	granter_map(&g);
	fds[4] = g.tap.fd;
	fds[5] = control_open();
	for (int i = 0; i < 6; i++) {
		CHECK_OK(fds[i]);
		CHECK_ERRNO(granter_add(&g, fds[i], 0), EINVAL);
	}
	granter_create(&g);
	granter_down(&g);
}

static void what_is_not_defined_is_refused(void)
{
	struct blktap_file f = { .fd = scratch_file(B2_SECTOR), .flags = 4 };
	struct granter g = { 0 };

	granter_map(&g);
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_ADD_FILE, &f), EINVAL);
	f.flags = 1U << 31;
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_ADD_FILE, &f), EINVAL);
	f.flags |= BLKTAP_FILE_NOTE;
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_ADD_FILE, &f), EINVAL);
	f.flags = 0;
	f.__pad = 1;
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_ADD_FILE, &f), EINVAL);
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_ADD_FILE, NULL), EFAULT);
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_ADD_FILE, -4096L), EFAULT);
	granter_create(&g);
	granter_down(&g);
}

static void note(struct granter *g, int fd, uint32_t flags)
{
	struct blktap_file f = { .fd = fd, .flags = BLKTAP_FILE_NOTE | flags };

	CHECK_OK(ioctl(g->tap.fd, BLKTAP_IOCTL_ADD_FILE, &f));
}

static bool is_removed(void *granter)
{
	return !ioctl(((struct granter *)granter)->tap.fd, B2_REMOVE);
}

/* Before there is a disk, once each, whatever is known of it twice; and no longer. */
static void noted_files_are_shown_while_there_is_a_disk(void)
{
	int a = scratch_file(B2_SECTOR), b = scratch_file(B2_SECTOR);
	struct blktap_file dir = { .fd = open("/", O_RDONLY), .flags = BLKTAP_FILE_NOTE };
	struct granter g = { 0 };
	char wanted[128], got[128];
	struct stat st[2];

	granter_map(&g);
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_ADD_FILE, &dir), EINVAL);
	dir.fd = -1;
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_ADD_FILE, &dir), EBADF);
	dir.fd = open("/proc/self/exe", O_RDONLY);
	dir.flags |= BLKTAP_FILE_WRITE;
	CHECK_ERRNO(ioctl(g.tap.fd, BLKTAP_IOCTL_ADD_FILE, &dir), EBADF);
	note(&g, a, BLKTAP_FILE_WRITE);
	note(&g, b, 0);
	note(&g, a, 0);
	granter_create(&g);
	CHECK_OK(fstat(a, &st[0]));
	CHECK_OK(fstat(b, &st[1]));
	snprintf(wanted, sizeof(wanted), "rw %u:%u %lu\nro %u:%u %lu", major(st[0].st_dev),
		 minor(st[0].st_dev), st[0].st_ino, major(st[1].st_dev), minor(st[1].st_dev),
		 st[1].st_ino);
	CHECK(sysfs_read(g.tap.sysfs, "files", got, sizeof(got)));
	CHECK(!strcmp(got, wanted), "got '%s', wanted '%s'", got, wanted);
	CHECK(sysfs_read(g.tap.sysfs, "orphan", got, sizeof(got)) && !*got, "'%s'", got);
	CHECK(wait_until(is_removed, &g, 10), "the disk stays busy");
	CHECK(sysfs_read(g.tap.sysfs, "files", got, sizeof(got)) && !*got, "'%s'", got);
	close(a);
	close(b);
	granter_clear(&g);
}

static void no_more_files_than_indices(void)
{
	struct granter g = { 0 };
	int fd;

	granter_map(&g);
	for (int i = 0; i < BLKTAP_FILES_MAX; i++) {
		fd = scratch_file(B2_SECTOR);
		CHECK(granter_add(&g, fd, 0) == i);
		close(fd);
	}
	fd = scratch_file(B2_SECTOR);
	CHECK_ERRNO(granter_add(&g, fd, 0), ENFILE);
	granter_create(&g);
	CHECK_ERRNO(granter_add(&g, fd, 0), ENFILE);
	granter_down(&g);
}

/* Nobody but who has mapped the ring registers files; nor for a disk of ring mode. */
static void files_are_for_layout_mode(void)
{
	int fd = scratch_file(B2_SECTOR);
	struct granter g = { 0 };
	struct server s = { 0 };
	struct tap t;

	tap_alloc(&g.tap);
	CHECK_ERRNO(granter_add(&g, fd, 0), EACCES);
	tap_close(&g.tap);
	CHECK_OK(tap_free(g.tap.h.minor));

	server_up(&s, &t, GRANTER_SECTORS);
	g.tap = t;
	CHECK_ERRNO(granter_add(&g, fd, 0), EBUSY);
	server_down(&s);
}

/* The kernel keeps the file itself: what becomes of the descriptor is of no matter. */
static void a_registered_file_outlives_its_descriptor(void)
{
	int fd = scratch_file(FILE_BYTES), own = reopen(fd, O_RDWR);
	struct granter g = { 0 };

	granter_up(&g, own);
	CHECK_OK(close(own));
	CHECK(granter_until(&g, child_start(do_disk_io, granter_io(&g, true, AT, 8, 0x21))) == 0);
	scratch_expect(fd, AT * B2_SECTOR, 8 * B2_SECTOR, 0x21);
	granter_down(&g);
}

/* --- taps on taps -------------------------------------------------------------------- */

static int run(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_tap_is_not_made_of_its_own_disk(void)
{
	struct granter g = { .sectors = 16 * GRANTER_CHUNK };
	char dir[] = "/tmp/blktap-test.XXXXXX", command[256];
	int fd = scratch_file((off_t)g.sectors * B2_SECTOR), own;

	CHECK(mkdtemp(dir));
	g.keep_scan = true;
	granter_up(&g, fd);
	granter_start(&g);
	own = open(g.tap.disk_node, O_RDWR | O_CLOEXEC);
	CHECK_OK(own);
	CHECK_ERRNO(granter_add(&g, own, 0), ELOOP);
	CHECK_ERRNO(granter_add(&g, own, BLKTAP_FILE_WRITE), ELOOP);
	close(own);

	/* Nor of a file on a filesystem on it. */
	snprintf(command, sizeof(command), "mke2fs -q -t ext4 %s", g.tap.disk_node);
	CHECK(run(command) == 0);
	CHECK_OK(mount(g.tap.disk_node, dir, "ext4", 0, NULL));
	own = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	CHECK(own >= 0 || errno == EOPNOTSUPP);
	if (own < 0) {
		snprintf(command, sizeof(command), "%s/file", dir);
		own = open(command, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	}
	CHECK_OK(own);
	CHECK_ERRNO(granter_add(&g, own, BLKTAP_FILE_WRITE), ELOOP);
	close(own);
	CHECK_OK(umount(dir));
	rmdir(dir);
	granter_stop(&g);
	granter_down(&g);
}

/* Three taps of layout mode, one on the other, and one of ring mode at the bottom. */
static void taps_stand_on_taps(void)
{
	enum { LEVELS = 3 };
	struct granter g[LEVELS] = { 0 };
	struct server bottom = { 0 };
	int fd[LEVELS];
	struct disk_io *io;
	struct tap t;

	server_up(&bottom, &t, GRANTER_SECTORS);
	for (int i = 0; i < LEVELS; i++) {
		fd[i] = open(i ? g[i - 1].tap.disk_node : t.disk_node, O_RDWR | O_CLOEXEC);
		CHECK_OK(fd[i]);
		g[i].keep_scan = true;
		granter_up(&g[i], fd[i]);
		granter_start(&g[i]);
	}
	io = granter_io(&g[LEVELS - 1], true, AT, 64, 0x99);
	CHECK(in_child(do_disk_io, io) == 0);
	CHECK(filled_with(bottom.data + AT * B2_SECTOR, io->len, 0x99));
	memset(bottom.data + AT * B2_SECTOR, 0x42, io->len);
	io->write = false;
	CHECK(in_child(do_disk_io, io) == 0);
	CHECK(filled_with(io->buf, io->len, 0x42));
	for (int i = LEVELS - 1; i >= 0; i--) {
		granter_stop(&g[i]);
		granter_down(&g[i]);
		close(fd[i]);
	}
	server_down(&bottom);
}

static void serve_zeroes(struct granter *g, const struct blktap_ring_request *r)
{
	struct blktap_extent e = EXTENT(0, g->sectors, 0, 0, NONE_DATA);

	CHECK_OK(granter_grant(g, r, &e, 1));
}

/* A tap on the disk @below, or on nothing; returns its own disk. */
static int stack_one(struct granter *g, int below)
{
	int fd;

	g->serve = serve_zeroes;
	granter_up(g, below);
	granter_start(g);
	fd = open(g->tap.disk_node, O_RDWR | O_CLOEXEC);
	CHECK_OK(fd);
	return fd;
}

static void unstack_one(struct granter *g, int fd)
{
	close(fd);
	granter_stop(g);
	granter_down(g);
}

/* I/O would go round in it till all tags are in use, and never end. */
static void taps_in_a_circle_are_refused(void)
{
	struct granter g[3] = { 0 };
	int fd[3];

	for (int i = 0; i < 3; i++)
		fd[i] = stack_one(&g[i], i ? fd[i - 1] : -1);
	for (int upper = 0; upper < 3; upper++)
		for (int lower = 0; lower < 3; lower++) {
			if (lower < upper)
				CHECK_OK(granter_add(&g[upper], fd[lower], 0));
			else
				CHECK_ERRNO(granter_add(&g[upper], fd[lower], 0), ELOOP);
		}
	for (int i = 2; i >= 0; i--)
		unstack_one(&g[i], fd[i]);
}

static void towers_of_taps_have_an_end(void)
{
	enum { LEVELS = 9 };
	struct granter g[LEVELS + 1] = { 0 };
	int fd[LEVELS];

	for (int i = 0; i < LEVELS; i++)
		fd[i] = stack_one(&g[i], i ? fd[i - 1] : -1);
	granter_map(&g[LEVELS]);
	CHECK_ERRNO(granter_add(&g[LEVELS], fd[LEVELS - 1], 0), ELOOP);
	CHECK_OK(granter_add(&g[LEVELS], fd[LEVELS - 2], 0));
	granter_clear(&g[LEVELS]);
	for (int i = LEVELS - 1; i >= 0; i--)
		unstack_one(&g[i], fd[i]);
}

/* --- what is left when the tapdisk goes ------------------------------------------------- */

/*
 * A tapdisk in a process of its own comes to some stage, and goes there: whatever
 * waits must end, and nothing may be left. Its children outlive it.
 */
struct waiter {
	_Atomic bool done;
	int result;
};

struct ending {
	struct granter g;
	char below[64];			/* the file's node; empty: a new file */
	bool unmap;			/* goes by unmapping, not by being killed */
	void (*come)(struct ending *e);
	_Atomic bool go, there;
	_Atomic unsigned int nr;
	struct waiter waiter[4];
};

static void fork_waiter(struct ending *e, int (*fn)(void *arg), void *arg)
{
	struct waiter *w = &e->waiter[e->nr++];
	pid_t pid = fork();

	CHECK_OK(pid);
	if (pid)
		return;
	close_range(3, ~0U, 0);
	w->result = fn(arg);
	w->done = true;
	_exit(0);
}

static void fork_io(struct ending *e, bool write, bool sync)
{
	struct disk_io *io = granter_io(&e->g, write, AT, 8, 0x13);

	io->sync = sync;
	fork_waiter(e, do_disk_io, io);
}

static int pause_tap(void *dir)
{
	return sysfs_write(dir, "pause", "1") ? errno : 0;
}

static void bring_up(struct ending *e)
{
	int fd = e->below[0] ? open(e->below, O_RDWR | O_CLOEXEC) : scratch_file(FILE_BYTES);

	CHECK_OK(fd);
	granter_up(&e->g, fd);
	close(fd);
}

static bool has_ended(void *waiter)
{
	return ((struct waiter *)waiter)->done;
}

static bool is_held(void *arg)
{
	struct ending *e = arg;
	char buf[4096];

	granter_scan(&e->g);
	return sysfs_read(e->g.tap.sysfs, "debug", buf, sizeof(buf)) && strstr(buf, " held");
}

static void with_the_ring_alone(struct ending *e)
{
	tap_alloc(&e->g.tap);
	tap_map(&e->g.tap);
}

static void with_both_mappings(struct ending *e)
{
	granter_map(&e->g);
}

static void with_a_file(struct ending *e)
{
	granter_map(&e->g);
	CHECK(granter_add(&e->g, scratch_file(FILE_BYTES), BLKTAP_FILE_WRITE) == 0);
}

static void with_a_disk(struct ending *e)
{
	bring_up(e);
}

static void with_an_upcall(struct ending *e)
{
	struct blktap_ring_request r;

	bring_up(e);
	fork_io(e, false, false);
	granter_next(&e->g, &r, BLKTAP_OP_LAYOUTGET);
}

static void grant(struct ending *e, const struct blktap_extent *extent)
{
	struct blktap_ring_request r;

	granter_next(&e->g, &r, BLKTAP_OP_LAYOUTGET);
	CHECK_OK(granter_grant(&e->g, &r, extent, 1));
}

static void with_extents(struct ending *e)
{
	bring_up(e);
	fork_io(e, true, false);
	grant(e, &whole);
	CHECK(wait_until(has_ended, &e->waiter[0], 10));
}

static void with_dirty_ranges(struct ending *e)
{
	bring_up(e);
	fork_io(e, true, false);
	grant(e, &invalid);
	CHECK(wait_until(has_ended, &e->waiter[0], 10));
}

static void with_a_commit(struct ending *e)
{
	struct blktap_ring_request r;

	bring_up(e);
	fork_io(e, true, true);
	grant(e, &invalid);
	granter_next(&e->g, &r, BLKTAP_OP_LAYOUTCOMMIT);
}

static void with_an_upcall_in_a_pause(struct ending *e)
{
	with_an_upcall(e);
	fork_waiter(e, pause_tap, e->g.tap.sysfs);
	CHECK(wait_until(is_held, e, 10));
}

static void with_a_commit_in_a_pause(struct ending *e)
{
	struct blktap_ring_request r;

	with_dirty_ranges(e);
	fork_waiter(e, pause_tap, e->g.tap.sysfs);
	granter_next(&e->g, &r, BLKTAP_OP_LAYOUTCOMMIT);
}

static void with_a_message(struct ending *e)
{
	with_extents(e);
	fork_waiter(e, pause_tap, e->g.tap.sysfs);
	granter_message(&e->g, BLKTAP_MSG_PAUSE);
	fork_io(e, false, false);
}

static void when_paused(struct ending *e)
{
	with_a_message(e);
	CHECK_OK(ioctl(e->g.tap.fd, BLKTAP_IOCTL_PAUSE));
	CHECK(wait_until(has_ended, &e->waiter[1], 10));
}

static int tapdisk_run(void *arg)
{
	struct ending *e = arg;

	while (!e->go)
		nap_ms(1);
	e->come(e);
	if (e->unmap)
		granter_leave(&e->g);
	e->there = true;
	pause();
	return 0;
}

static bool is_set(void *flag)
{
	return *(_Atomic bool *)flag;
}

/*
 * Before this process maps any ring: User-Mode Linux leaves a child what its
 * parent had mapped, where the child has nothing.
 */
static pid_t ending_fork(struct ending *e)
{
	CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, 1));
	return child_start(tapdisk_run, e);
}

/* The tapdisk goes from its stage; with @unmap it lives on without its tap. */
static void ending_begin(struct ending *e, pid_t pid)
{
	e->go = true;
	CHECK(wait_until(is_set, &e->there, 20), "the tapdisk does not come so far");
	if (!e->unmap)
		kill(pid, SIGKILL);
}

/* An operation that is under way ends first: -EBUSY. */
static bool free_it(void *arg)
{
	struct ending *e = arg;

	return !tap_free(e->g.tap.h.minor) || errno != EBUSY;
}

/* What waits would wait for another tapdisk: it is told not to. */
static void ending_end(struct ending *e, pid_t pid)
{
	CHECK(tap_close_force(e->g.tap.h.minor) == 0);
	CHECK(wait_until(free_it, e, 10), "the tap stays busy");
	for (unsigned int i = 0; i < e->nr; i++)
		CHECK(wait_until(has_ended, &e->waiter[i], 10), "waiter %u waits still", i);
	CHECK(wait_until(tap_is_gone, &e->g.tap, 10), "the tap can't be freed");
	CHECK(wait_until(disk_is_gone, &e->g.tap, 10), "its disk is still there");
	kill(pid, SIGKILL);
	while (wait(NULL) > 0)
		;
}

static void (*const stages[])(struct ending *e) = {
	with_the_ring_alone, with_both_mappings, with_a_file, with_a_disk, with_an_upcall,
	with_extents, with_dirty_ranges, with_a_commit, with_an_upcall_in_a_pause,
	with_a_commit_in_a_pause, with_a_message, when_paused,
};

static void goes_at_every_stage(bool unmap)
{
	for (size_t i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
		struct ending *e = shared_alloc(sizeof(*e));
		pid_t pid;

		e->come = stages[i];
		e->unmap = unmap;
		ktap_say("stage %zu", i);
		pid = ending_fork(e);
		ending_begin(e, pid);
		ending_end(e, pid);
	}
}

static void killed_at_every_stage(void)
{
	goes_at_every_stage(false);
}

static void unmaps_at_every_stage(void)
{
	goes_at_every_stage(true);
}

/* Hits that the file beneath has not ended yet go on without the tapdisk. */
static int hold_writes(struct server *s, const struct b2_request *r)
{
	struct b2_request *held = s->arg;

	if (r->op != B2_WRITE)
		return SERVE;
	*held = *r;
	return TAKEN;
}

static bool holds_one(void *held)
{
	return __atomic_load_n(&((struct b2_request *)held)->nr_segments, __ATOMIC_ACQUIRE);
}

static void with_a_hit(struct ending *e)
{
	bring_up(e);
	fork_io(e, true, false);
	grant(e, &invalid);
}

static void gone_with_hits_in_flight(void)
{
	for (int unmap = 0; unmap < 2; unmap++) {
		struct b2_request held = { 0 };
		struct server below = { .hook = hold_writes, .arg = &held };
		struct ending *e = shared_alloc(sizeof(*e));
		struct tap t;
		pid_t pid;

		e->come = with_a_hit;
		e->unmap = unmap;
		pid = ending_fork(e);
		server_up(&below, &t, GRANTER_SECTORS);
		snprintf(e->below, sizeof(e->below), "%s", t.disk_node);
		ending_begin(e, pid);
		CHECK(wait_until(holds_one, &held, 10));
		nap_ms(20);
		CHECK(!e->waiter[0].done);
		server_copy(&below, &held);
		server_answer(&below, held.id, held.op, B2_OKAY);
		server_kick(&below);
		ending_end(e, pid);
		CHECK(filled_with(below.data + AT * B2_SECTOR, 8 * B2_SECTOR, 0x13));
		server_down(&below);
	}
}

/* The pages of the layout mapping belong to it, though they serve no ring any more. */
static void the_layout_mapping_outlives_the_ring(void)
{
	struct granter g = { 0 };
	struct tap t;

	granter_up(&g, -1);
	memset(g.pages, 0xff, BLKTAP_RING_SIZE * sizeof(g.pages[0]));
	t = g.tap;
	tap_close(&g.tap);
	tap_free(t.h.minor);
	CHECK(wait_until(tap_is_gone, &t, 10));
	CHECK(filled_with(g.pages, BLKTAP_RING_SIZE * sizeof(g.pages[0]), 0xff));
	memset(g.pages, 0, BLKTAP_RING_SIZE * sizeof(g.pages[0]));
	CHECK_OK(munmap(g.pages, BLKTAP_RING_SIZE * sizeof(g.pages[0])));
}

static void the_layout_mapping_is_whole_and_single(void)
{
	const int prot = PROT_READ | PROT_WRITE;
	const off_t at = (off_t)BLKTAP_LAYOUT_PGOFF * B2_PAGE;
	const size_t len = (size_t)BLKTAP_RING_SIZE * B2_PAGE;
	struct granter g = { 0 };

	/* Not before the ring is mapped, and by who has it. */
	tap_alloc(&g.tap);
	CHECK_ERRNO(granter_map_layout(&g.tap), EACCES);
	tap_close(&g.tap);
	CHECK_OK(tap_free(g.tap.h.minor));

	granter_map(&g);
	CHECK_ERRNO(granter_map_layout(&g.tap), EBUSY);
	CHECK_ERRNO(mmap(NULL, len - B2_PAGE, prot, MAP_SHARED, g.tap.fd, at), EINVAL);
	CHECK_ERRNO(mmap(NULL, len, prot, MAP_PRIVATE, g.tap.fd, at), EINVAL);
	CHECK_ERRNO(mmap(NULL, len, prot, MAP_SHARED, g.tap.fd, at + B2_PAGE), EINVAL);
	CHECK_FAILS(munmap(g.pages, B2_PAGE));
	CHECK_FAILS(mprotect(g.pages, B2_PAGE, PROT_READ));
	granter_create(&g);
	granter_down(&g);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(access_modes_are_checked),
	KTAP_CASE(only_files_and_block_devices_are_taken),
	KTAP_CASE(what_is_not_defined_is_refused),
	KTAP_CASE(noted_files_are_shown_while_there_is_a_disk),
	KTAP_CASE(no_more_files_than_indices),
	KTAP_CASE(files_are_for_layout_mode),
	KTAP_CASE(a_registered_file_outlives_its_descriptor),
	KTAP_CASE(a_tap_is_not_made_of_its_own_disk),
	KTAP_CASE(taps_stand_on_taps),
	KTAP_CASE(taps_in_a_circle_are_refused),
	KTAP_CASE(towers_of_taps_have_an_end),
	KTAP_CASE(killed_at_every_stage),
	KTAP_CASE(unmaps_at_every_stage),
	KTAP_CASE(gone_with_hits_in_flight),
	KTAP_CASE(the_layout_mapping_is_whole_and_single),
	KTAP_CASE(the_layout_mapping_outlives_the_ring),
};

KTAP_MAIN(cases, &state_checks)
