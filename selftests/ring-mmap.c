// SPDX-License-Identifier: GPL-2.0-only
/* The mapping: its rules, who may use the ring through it, when it ends. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/server.h"
#include "lib/state.h"

#define DISK_SECTORS 2048

static void *map_bytes(struct tap *t, size_t bytes, int prot, int flags, off_t offset)
{
	return mmap(NULL, bytes, prot, flags, t->fd, offset);
}

static void tap_done(struct tap *t)
{
	tap_close(t);
	CHECK_OK(tap_free(t->h.minor));
	CHECK(wait_until(tap_is_gone, t, 5));
}

/* Write a pattern through the disk, and look whether it came to the server. */
static void expect_io_works(struct server *s, uint8_t pattern)
{
	struct disk_io io = {
		.node = s->tap->disk_node, .flags = O_DIRECT, .write = true,
		.buf = shared_alloc(65536), .len = 65536, .offset = 4096,
	};

	memset(io.buf, pattern, io.len);
	CHECK(in_child(do_disk_io, &io) == 0);
	CHECK(!memcmp(s->data + io.offset, io.buf, io.len));
	munmap(io.buf, io.len);
}

static void only_the_whole_ring_can_be_mapped(void)
{
	const int prot = PROT_READ | PROT_WRITE;
	struct tap t;

	tap_alloc(&t);
	CHECK_ERRNO(map_bytes(&t, B2_PAGE, prot, MAP_SHARED, 0), EINVAL);
	CHECK_ERRNO(map_bytes(&t, B2_MAP_BYTES - B2_PAGE, prot, MAP_SHARED, 0), EINVAL);
	CHECK_ERRNO(map_bytes(&t, B2_MAP_BYTES + B2_PAGE, prot, MAP_SHARED, 0), EINVAL);
	CHECK_ERRNO(map_bytes(&t, B2_MAP_BYTES, prot, MAP_SHARED, B2_PAGE), EINVAL);
	CHECK_ERRNO(map_bytes(&t, B2_MAP_BYTES, prot, MAP_PRIVATE, 0), EINVAL);
	tap_map(&t);
	tap_done(&t);
}

static void a_second_mapping_is_busy(void)
{
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	CHECK_ERRNO(tap_mmap(&t), EBUSY);
	CHECK_OK(munmap(t.ring, B2_MAP_BYTES));
	t.ring = NULL;
	/* The first is gone: either a new start, or the end of this open file's use. */
	t.ring = tap_mmap(&t);
	if (t.ring == MAP_FAILED)
		t.ring = NULL;
	tap_done(&t);
}

static int map_from_another_process(void *arg)
{
	struct tap *t = arg, mine = *t;

	mine.fd = open(t->ring_node, O_RDWR);
	if (mine.fd < 0)
		return errno;
	return tap_mmap(&mine) == MAP_FAILED ? errno : 0;
}

static void another_process_can_not_map_it_too(void)
{
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	CHECK(in_child(map_from_another_process, &t) == EBUSY);
	tap_done(&t);
}

/* Root, as a tapdisk that has confined itself is. Returns 0 or an errno. */
static int map_without_capability(void *arg)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = { 0 };

	caps[CAP_TO_INDEX(CAP_DAC_OVERRIDE)].permitted = CAP_TO_MASK(CAP_DAC_OVERRIDE);
	caps[CAP_TO_INDEX(CAP_DAC_OVERRIDE)].effective = CAP_TO_MASK(CAP_DAC_OVERRIDE);
	if (syscall(SYS_capset, &head, caps))
		return errno;
	return map_from_another_process(arg);
}

/* That one which is told to may is what every tapdisk shows, which has no capability. */
static void only_an_admin_maps_a_ring_without_being_told_to(void)
{
	struct tap t;

	tap_alloc(&t);
	CHECK(in_child(map_without_capability, &t) == EPERM);
	CHECK(in_child(map_from_another_process, &t) == 0);
	tap_done(&t);
}

static void a_part_can_not_be_unmapped(void)
{
	struct tap t;
	char *ring;

	tap_alloc(&t);
	tap_map(&t);
	ring = (char *)t.ring;
	CHECK_ERRNO(munmap(ring, B2_PAGE), EINVAL);
	CHECK_ERRNO(munmap(ring + B2_PAGE, B2_PAGE), EINVAL);
	CHECK_ERRNO(munmap(ring + B2_MAP_BYTES - B2_PAGE, B2_PAGE), EINVAL);
	CHECK_ERRNO(mprotect(ring + B2_PAGE, B2_PAGE, PROT_READ), EINVAL);
	CHECK_ERRNO(mremap(ring, B2_MAP_BYTES, B2_PAGE, 0), EINVAL);
	CHECK(MAP_FAILED == mmap(ring + B2_PAGE, B2_PAGE, PROT_READ,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	CHECK(t.ring->req_prod == 0);
	tap_done(&t);
}

static void it_can_not_grow(void)
{
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	CHECK(MAP_FAILED == mremap(t.ring, B2_MAP_BYTES, B2_MAP_BYTES + B2_PAGE, MREMAP_MAYMOVE));
	CHECK(MAP_FAILED == mremap(t.ring, 0, B2_MAP_BYTES, MREMAP_MAYMOVE),
	      "a second mapping by mremap");
	tap_done(&t);
}

static void it_works_after_a_move(void)
{
	struct server s = { .sectors = DISK_SECTORS };
	void *to, *moved;
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	to = mmap(NULL, B2_MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(to != MAP_FAILED);
	moved = mremap(t.ring, B2_MAP_BYTES, B2_MAP_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (moved != MAP_FAILED)
		t.ring = moved;
	s.tap = &t;
	server_start(&s);
	expect_io_works(&s, 0x11);
	server_down(&s);
}

static void it_works_after_a_move_under_io(void)
{
	struct server s = { 0 };
	struct tap t;
	void *to, *moved;

	server_up(&s, &t, DISK_SECTORS);
	expect_io_works(&s, 0x21);
	server_stop(&s);
	to = mmap(NULL, B2_MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	moved = mremap(t.ring, B2_MAP_BYTES, B2_MAP_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	CHECK(moved == to || moved == MAP_FAILED);
	if (moved == to) {
		/* The pages of slots that were used must have moved along. */
		t.ring = moved;
		CHECK(*(volatile uint8_t *)tap_page(&t, 0, 0) != 0x22);
	}
	tap_drop_disk(&t);
	tap_done(&t);
}

static sigjmp_buf on_segv;

static void handle_segv(int sig)
{
	siglongjmp(on_segv, sig);
}

/* Which signal does reading at @p give? 0: none */
static int signal_of_read(const volatile uint8_t *p)
{
	struct sigaction sa = { .sa_handler = handle_segv };
	int sig;

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	sig = sigsetjmp(on_segv, 1);
	if (!sig)
		(void)*p;
	return sig;
}

static void a_child_has_no_mapping(void)
{
	struct tap t;
	pid_t pid;
	int status;

	tap_alloc(&t);
	tap_map(&t);
	pid = fork();
	if (pid == 0)
		_exit(signal_of_read((uint8_t *)t.ring));
	CHECK_OK(waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == SIGSEGV, "status %#x", status);
	tap_done(&t);
}

static void a_slot_without_request_is_a_bus_error(void)
{
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	CHECK(signal_of_read((uint8_t *)t.ring) == 0);
	CHECK(signal_of_read(tap_page(&t, 0, 0)) == SIGBUS);
	CHECK(signal_of_read(tap_page(&t, B2_RING_SIZE - 1, B2_SEGMENTS - 1)) == SIGBUS);
	tap_done(&t);
}

/* MADV_DOFORK takes VM_DONTCOPY away; the ring must outlive either process's copy. */
static void a_child_by_madv_dofork_does_no_harm(void)
{
	struct server s = { 0 };
	struct tap t;
	int go[2];
	pid_t pid;
	char c;

	server_up(&s, &t, DISK_SECTORS);
	expect_io_works(&s, 0x31);
	if (madvise(t.ring, B2_MAP_BYTES, MADV_DOFORK))
		ktap_say("MADV_DOFORK: %s", strerror(errno));
	CHECK_OK(pipe(go));
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		signal_of_read((uint8_t *)t.ring);
		(void)!read(go[0], &c, 1);
		signal_of_read((uint8_t *)t.ring);
		signal_of_read(tap_page(&t, 0, 0));
		_exit(0);
	}
	expect_io_works(&s, 0x32);
	CHECK(wait_until(disk_exists, &t, 1));
	server_stop(&s);
	tap_drop_disk(&t);
	tap_close(&t);
	close(go[0]);
	close(go[1]);
	CHECK_OK(waitpid(pid, NULL, 0));
	tap_free(t.h.minor);
	CHECK(wait_until(tap_is_gone, &t, 5));
}

static int ioctl_errno(int fd, unsigned long nr, void *arg)
{
	return ioctl(fd, nr, arg) ? errno : 0;
}

static void expect_ring_ioctls_fail(int fd)
{
	struct b2_params_old old = { .capacity = 8, .sector_size = 512 };
	struct b2_params p = { .capacity = 8, .sector_size = 512 };
	char name[B2_NAME];

	CHECK(ioctl_errno(fd, B2_KICK, NULL));
	CHECK(ioctl_errno(fd, B2_CREATE_OLD, &old));
	CHECK(ioctl_errno(fd, B2_SET_PARAMS, &old));
	CHECK(ioctl_errno(fd, B2_PAUSE, NULL));
	CHECK(ioctl_errno(fd, B2_REOPEN, name));
	CHECK(ioctl_errno(fd, B2_RESUME, NULL));
	CHECK(ioctl_errno(fd, B2_REMOVE, NULL));
	CHECK(ioctl_errno(fd, B2_CREATE, &p));
}

static void ioctls_need_the_mapping(void)
{
	struct tap t;

	tap_alloc(&t);
	expect_ring_ioctls_fail(t.fd);
	tap_map(&t);
	CHECK_OK(munmap(t.ring, B2_MAP_BYTES));
	t.ring = NULL;
	expect_ring_ioctls_fail(t.fd);
	CHECK(disk_is_gone(&t));
	tap_done(&t);
}

static void ioctls_of_another_process_are_refused(void)
{
	struct tap t;
	pid_t pid;
	int status;

	tap_alloc(&t);
	tap_map(&t);
	pid = fork();
	if (pid == 0) {
		expect_ring_ioctls_fail(t.fd);
		_exit(0);
	}
	CHECK_OK(waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
	CHECK(disk_is_gone(&t));
	tap_done(&t);
}

static void poll_before_mmap_returns(void)
{
	struct pollfd p = { .events = POLLIN | POLLOUT | POLLPRI };
	struct tap t;

	tap_alloc(&t);
	p.fd = t.fd;
	CHECK(poll(&p, 1, 50) >= 0);
	CHECK(!(p.revents & POLLIN), "revents %#x", p.revents);
	tap_done(&t);
}

static void an_idle_ring_is_not_readable(void)
{
	struct pollfd p = { .events = POLLIN };
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	p.fd = t.fd;
	CHECK(poll(&p, 1, 50) == 0, "revents %#x", p.revents);
	CHECK_OK(ioctl(t.fd, B2_KICK));
	tap_done(&t);
}

/* Through mappings that may only read, nothing can be written. */
static void protection_of_the_whole_may_change(void)
{
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	if (mprotect(t.ring, B2_MAP_BYTES, PROT_READ) == 0) {
		CHECK(signal_of_read((uint8_t *)t.ring) == 0);
		CHECK_OK(mprotect(t.ring, B2_MAP_BYTES, PROT_READ | PROT_WRITE));
	}
	t.ring->req_event = 1;
	tap_done(&t);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(only_the_whole_ring_can_be_mapped),
	KTAP_CASE(a_second_mapping_is_busy),
	KTAP_CASE(another_process_can_not_map_it_too),
	KTAP_CASE(only_an_admin_maps_a_ring_without_being_told_to),
	KTAP_CASE(a_part_can_not_be_unmapped),
	KTAP_CASE(it_can_not_grow),
	KTAP_CASE(it_works_after_a_move),
	KTAP_CASE(it_works_after_a_move_under_io),
	KTAP_CASE(a_child_has_no_mapping),
	KTAP_CASE(a_slot_without_request_is_a_bus_error),
	KTAP_CASE(a_child_by_madv_dofork_does_no_harm),
	KTAP_CASE(ioctls_need_the_mapping),
	KTAP_CASE(ioctls_of_another_process_are_refused),
	KTAP_CASE(poll_before_mmap_returns),
	KTAP_CASE(an_idle_ring_is_not_readable),
	KTAP_CASE(protection_of_the_whole_may_change),
};

KTAP_MAIN(cases, &state_checks)
