// SPDX-License-Identifier: GPL-2.0-only
/* CREATE_DEVICE in both forms, SET_PARAMS, REMOVE_DEVICE: what they take and refuse. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/server.h"
#include "lib/state.h"

#define DISK_SECTORS 2048

static void tap_up(struct tap *t)
{
	tap_alloc(t);
	tap_map(t);
}

static void tap_down(struct tap *t)
{
	tap_close(t);
	CHECK_OK(tap_free(t->h.minor));
	CHECK(wait_until(tap_is_gone, t, 5));
}

/* The disk's value in sysfs, below /sys/block/tdX; -1 where there is none. */
static long long disk_value(struct tap *t, const char *file)
{
	char dir[64], buf[64];

	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", t->h.disk_major, t->h.minor);
	return sysfs_read(dir, file, buf, sizeof(buf)) ? atoll(buf) : -1;
}

struct bad_params {
	const char *what;
	struct b2_params p;
};

#define GOOD .capacity = DISK_SECTORS, .sector_size = 512
#define PSZ(size, offset) \
	.flags = B2_F_PSZ, .phys_block_size = size, .phys_block_offset = offset
#define TRIM(size, offset) \
	.flags = B2_F_TRIM, .trim_block_size = size, .trim_block_offset = offset

static const struct bad_params bad_params[] = {
	{ "capacity 0", { .capacity = 0, .sector_size = 512 } },
	{ "capacity -1", { .capacity = -1ULL, .sector_size = 512 } },
	{ "capacity of 2^64 bytes", { .capacity = 1ULL << 55, .sector_size = 512 } },
	{ "capacity of 2^63 bytes", { .capacity = 1ULL << 54, .sector_size = 512 } },
	{ "sector size 0", { .capacity = 8, .sector_size = 0 } },
	{ "sector size 1", { .capacity = 8, .sector_size = 1 } },
	{ "sector size 256", { .capacity = 8, .sector_size = 256 } },
	{ "sector size 513", { .capacity = 8, .sector_size = 513 } },
	{ "sector size 1536", { .capacity = 8, .sector_size = 1536 } },
	{ "sector size 8192", { .capacity = 64, .sector_size = 8192 } },
	{ "sector size 2^31", { .capacity = 1 << 24, .sector_size = 1U << 31 } },
	{ "physical size 0", { GOOD, PSZ(0, 0) } },
	{ "physical size 256", { GOOD, PSZ(256, 0) } },
	{ "physical size below logical", { .capacity = 2048, .sector_size = 4096, PSZ(512, 0) } },
	{ "physical offset at its size", { GOOD, PSZ(4096, 4096) } },
	{ "physical offset beyond its size", { GOOD, PSZ(4096, 1U << 31) } },
	{ "trim offset at its size", { GOOD, TRIM(4096, 4096) } },
	{ "trim offset beyond its size", { GOOD, TRIM(4096, 0xfffffe00) } },
};

static void bad_parameters_are_einval(void)
{
	struct tap t;

	tap_up(&t);
	for (size_t i = 0; i < sizeof(bad_params) / sizeof(bad_params[0]); i++) {
		struct b2_params p = bad_params[i].p;

		p.padding = 0xabababab;
		errno = 0;
		CHECK(ioctl(t.fd, B2_CREATE, &p) == -1, "%s is taken", bad_params[i].what);
		CHECK(errno == EINVAL, "%s: %s", bad_params[i].what, strerror(errno));
		CHECK(disk_is_gone(&t), "%s left a disk", bad_params[i].what);
	}
	/* None of it is in the way of a good one. */
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	CHECK(wait_until(disk_exists, &t, 5));
	tap_drop_disk(&t);
	tap_down(&t);
}

static void bad_pointers_are_efault(void)
{
	char *page = mmap(NULL, 2 * B2_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct tap t;

	tap_up(&t);
	munmap(page + B2_PAGE, B2_PAGE);
	CHECK_ERRNO(ioctl(t.fd, B2_CREATE, NULL), EFAULT);
	CHECK_ERRNO(ioctl(t.fd, B2_CREATE, page + B2_PAGE), EFAULT);
	CHECK_ERRNO(ioctl(t.fd, B2_CREATE, page + B2_PAGE - 8), EFAULT);
	CHECK_ERRNO(ioctl(t.fd, B2_CREATE_OLD, page + B2_PAGE - 256), EFAULT);
	CHECK_FAILS(ioctl(t.fd, B2_SET_PARAMS, NULL));
	CHECK_FAILS(ioctl(t.fd, B2_REOPEN, NULL));
	CHECK(disk_is_gone(&t));
	tap_down(&t);
}

/* The oldest callers' struct ends behind the flags. */
static void fields_without_their_flag_are_not_read(void)
{
	char *page = mmap(NULL, 2 * B2_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const size_t shortest = __builtin_offsetof(struct b2_params, phys_block_size);
	struct b2_params *p = (void *)(page + B2_PAGE - shortest);
	struct tap t;

	tap_up(&t);
	munmap(page + B2_PAGE, B2_PAGE);
	p->capacity = DISK_SECTORS;
	p->sector_size = 512;
	p->padding = 4096;
	p->flags = B2_F_FLUSH;
	CHECK_OK(ioctl(t.fd, B2_CREATE, p));
	CHECK(p->flags == B2_F_FLUSH, "%#lx", p->flags);
	tap_drop_disk(&t);

	/* And garbage in them is not looked at. */
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	tap_drop_disk(&t);
	tap_down(&t);
}

static void understood_flags_are_written_back(void)
{
	struct b2_params p = {
		GOOD, .flags = ~0UL, .phys_block_size = 4096, .trim_block_size = 4096,
	};
	struct tap t;

	tap_up(&t);
	CHECK_OK(ioctl(t.fd, B2_CREATE, &p));
	CHECK(p.flags == 0x11f, "%#lx", p.flags);
	CHECK(p.capacity == DISK_SECTORS && p.sector_size == 512);
	tap_drop_disk(&t);
	tap_down(&t);
}

static void the_disk_is_as_described(void)
{
	struct b2_params p = {
		.capacity = 8192, .sector_size = 1024, .padding = 12345,
		.flags = B2_F_PSZ | B2_F_TRIM | B2_F_FLUSH,
		.phys_block_size = 8192, .phys_block_offset = 1024,
		.trim_block_size = 65536, .trim_block_offset = 1024,
	};
	char dir[64], cache[64];
	struct tap t;

	tap_up(&t);
	CHECK_OK(ioctl(t.fd, B2_CREATE, &p));
	CHECK(wait_until(disk_exists, &t, 5));
	CHECK(disk_value(&t, "size") == 8192, "%lld", disk_value(&t, "size"));
	CHECK(disk_value(&t, "ro") == 0);
	CHECK(disk_value(&t, "queue/logical_block_size") == 1024);
	CHECK(disk_value(&t, "queue/physical_block_size") == 8192);
	CHECK(disk_value(&t, "alignment_offset") == 1024);
	CHECK(disk_value(&t, "queue/discard_granularity") == 65536);
	CHECK(disk_value(&t, "discard_alignment") == 1024);
	CHECK(disk_value(&t, "queue/discard_max_bytes") > 0);
	CHECK(disk_value(&t, "queue/max_sectors_kb") >= 1024,
	      "requests of %lld KiB", disk_value(&t, "queue/max_sectors_kb"));
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", t.h.disk_major, t.h.minor);
	CHECK(sysfs_read(dir, "queue/write_cache", cache, sizeof(cache)));
	CHECK(!strcmp(cache, "write back"), "%s", cache);
	tap_drop_disk(&t);
	tap_down(&t);
}

static void without_flags_nothing_is_declared(void)
{
	char dir[64], cache[64];
	struct tap t;

	tap_up(&t);
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	CHECK(wait_until(disk_exists, &t, 5));
	CHECK(disk_value(&t, "queue/logical_block_size") == 512);
	CHECK(disk_value(&t, "queue/discard_max_bytes") == 0);
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", t.h.disk_major, t.h.minor);
	CHECK(sysfs_read(dir, "queue/write_cache", cache, sizeof(cache)));
	CHECK(!strcmp(cache, "write through"), "%s", cache);
	tap_drop_disk(&t);
	tap_down(&t);
}

/* tda, tdb ... : the first free tap is tda, whatever was there before. */
static void the_disk_has_a_td_name(void)
{
	char link[64], to[256];
	struct tap t;
	ssize_t n;

	tap_up(&t);
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	CHECK(wait_until(disk_exists, &t, 5));
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", t.h.disk_major, t.h.minor);
	n = readlink(link, to, sizeof(to) - 1);
	CHECK_OK(n);
	to[n] = 0;
	CHECK(t.h.minor >= 26 || (!strncmp(strrchr(to, '/'), "/td", 3) &&
				  strrchr(to, '/')[3] == (char)('a' + t.h.minor)),
	      "minor %u is %s", t.h.minor, to);
	tap_drop_disk(&t);
	tap_down(&t);
}

static void a_second_create_is_eexist(void)
{
	struct b2_params_old old = { .capacity = DISK_SECTORS, .sector_size = 512 };
	struct tap t;

	tap_up(&t);
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	CHECK_ERRNO(tap_create(&t, DISK_SECTORS, 0), EEXIST);
	CHECK_ERRNO(ioctl(t.fd, B2_CREATE_OLD, &old), EEXIST);
	tap_drop_disk(&t);
	/* After a remove it may be made anew, with another size. */
	CHECK_OK(tap_create(&t, 2 * DISK_SECTORS, 0));
	CHECK(wait_until(disk_exists, &t, 5));
	CHECK(disk_value(&t, "size") == 2 * DISK_SECTORS);
	tap_drop_disk(&t);
	tap_down(&t);
}

static void the_old_form_makes_a_disk(void)
{
	struct b2_params_old p = { "vhd:/old", 3 * 2048, 512 };
	struct tap t;
	char name[300];

	tap_up(&t);
	CHECK_OK(ioctl(t.fd, B2_CREATE_OLD, &p));
	CHECK(wait_until(disk_exists, &t, 5));
	CHECK(disk_value(&t, "size") == 3 * 2048);
	CHECK(disk_value(&t, "queue/logical_block_size") == 512);
	CHECK(sysfs_read(t.sysfs, "name", name, sizeof(name)));
	CHECK(!strcmp(name, "vhd:/old"), "%s", name);
	tap_drop_disk(&t);
	tap_down(&t);
}

static void the_old_form_is_validated(void)
{
	static const struct b2_params_old bad[] = {
		{ "x", 0, 512 }, { "x", -1ULL, 512 }, { "x", 8, 0 }, { "x", 8, 100 },
		{ "x", 8, 1UL << 32 }, { "x", 8, -1UL }, { "x", 8, (1UL << 32) + 512 },
	};
	struct b2_params_old endless = { .capacity = 2048, .sector_size = 512 };
	struct tap t;
	char name[4096];

	tap_up(&t);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct b2_params_old p = bad[i];

		CHECK_ERRNO(ioctl(t.fd, B2_CREATE_OLD, &p), EINVAL);
		CHECK(disk_is_gone(&t));
	}
	/* A name without its NUL: cut or refused, but not read past its end. */
	memset(endless.name, 'n', sizeof(endless.name));
	if (!ioctl(t.fd, B2_CREATE_OLD, &endless)) {
		CHECK(sysfs_read(t.sysfs, "name", name, sizeof(name)));
		CHECK(strlen(name) <= B2_NAME, "%zu", strlen(name));
		tap_drop_disk(&t);
	}
	tap_down(&t);
}

static void set_params_is_refused_unless_paused(void)
{
	struct b2_params_old p = { .capacity = 4096, .sector_size = 512 };
	struct tap t;

	tap_up(&t);
	CHECK_FAILS(ioctl(t.fd, B2_SET_PARAMS, &p));
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	CHECK_FAILS(ioctl(t.fd, B2_SET_PARAMS, &p));
	CHECK(wait_until(disk_exists, &t, 5));
	CHECK(disk_value(&t, "size") == DISK_SECTORS);
	tap_drop_disk(&t);
	tap_down(&t);
}

/* Nobody asked: the tapdisk must not be able to stop or start I/O by itself. */
static void unasked_answers_are_refused(void)
{
	struct tap t;

	tap_up(&t);
	CHECK_FAILS(ioctl(t.fd, B2_PAUSE));
	CHECK_FAILS(ioctl(t.fd, B2_RESUME, 0UL));
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	CHECK_FAILS(ioctl(t.fd, B2_PAUSE));
	CHECK_FAILS(ioctl(t.fd, B2_RESUME, 0UL));
	tap_drop_disk(&t);
	tap_down(&t);
}

static int hold_open(void *arg)
{
	struct tap *t = arg;
	int fd = open(t->disk_node, O_RDONLY);

	if (fd < 0)
		return errno;
	nap_ms(1000 * ktap_scale());
	return 0;
}

static void remove_is_busy_while_the_disk_is_open(void)
{
	struct server s = { 0 };
	struct tap t;
	pid_t pid;
	int result;

	server_up(&s, &t, DISK_SECTORS);
	pid = child_start(hold_open, &t);
	child_settle(pid);
	CHECK_ERRNO(ioctl(t.fd, B2_REMOVE), EBUSY);
	CHECK(!child_is_done(pid, &result), "the opener went too early for this test");
	CHECK(disk_exists(&t));
	CHECK(child_wait(pid) == 0);
	server_down(&s);
}

static void remove_without_a_disk_is_fine(void)
{
	struct tap t;

	tap_up(&t);
	CHECK_OK(ioctl(t.fd, B2_REMOVE));
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	tap_drop_disk(&t);
	CHECK_OK(ioctl(t.fd, B2_REMOVE));
	CHECK(disk_is_gone(&t));
	tap_down(&t);
}

/* Partitions are looked for by reading: nobody answers while the ioctl runs. */
static void create_does_not_wait_for_io(void)
{
	struct server s = { 0 };
	struct disk_io io = { .flags = O_DIRECT, .buf = shared_alloc(4096), .len = 4096 };
	struct tap t;

	for (int i = 0; i < 3; i++) {
		server_up(&s, &t, DISK_SECTORS);
		io.node = t.disk_node;
		CHECK(in_child(do_disk_io, &io) == 0);
		server_down(&s);
		s = (struct server) { 0 };
	}
}

static void partitions_show_up_after_create(void)
{
	struct server s = { 0 };
	char part[96];
	struct tap t;

	tap_up(&t);
	s.tap = &t;
	s.sectors = DISK_SECTORS;
	server_start(&s);
	/* One MBR entry of type 0x83, sectors 64 to 1087. */
	s.data[446 + 4] = 0x83;
	s.data[446 + 8] = 64;
	s.data[446 + 13] = 4;
	s.data[510] = 0x55;
	s.data[511] = 0xaa;
	/* The first scan may have been before: remove and create again, same server. */
	while (ioctl(t.fd, B2_REMOVE))
		nap_ms(5);
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	snprintf(part, sizeof(part), "/sys/dev/block/%u:%u/td%c1/size", t.h.disk_major,
		 t.h.minor, 'a' + t.h.minor);
	for (int i = 0; i < 500 * ktap_scale() && access(part, F_OK); i++)
		nap_ms(10);
	CHECK_OK(access(part, F_OK));
	server_down(&s);
}

static void closing_an_unused_ring_leaves_the_tap(void)
{
	struct tap t;

	tap_up(&t);
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	tap_drop_disk(&t);
	tap_close(&t);
	CHECK(tap_exists(&t));
	/* And it can be taken again, by whoever comes. */
	t.fd = open(t.ring_node, O_RDWR | O_CLOEXEC);
	CHECK_OK(t.fd);
	tap_map(&t);
	CHECK(t.ring->req_prod == 0 && t.ring->rsp_prod == 0);
	CHECK_OK(tap_create(&t, DISK_SECTORS, 0));
	tap_drop_disk(&t);
	tap_down(&t);
}

#ifdef __x86_64__
/* ioctl as an i386 program issues it. */
static long ioctl_of_i386(int fd, unsigned int nr, void *arg)
{
	long rc;

	asm volatile("int $0x80" : "=a"(rc)
		     : "a"(54), "b"((long)fd), "c"((long)nr), "d"(arg)
		     : "memory", "r8", "r9", "r10", "r11");
	return (int)rc;
}

static void callers_of_32_bits_are_refused(void)
{
	struct b2_params *p = mmap(NULL, B2_PAGE, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	struct tap t;

	CHECK(p != MAP_FAILED);
	tap_up(&t);
	*p = (struct b2_params) { GOOD };
	CHECK(ioctl_of_i386(t.fd, B2_CREATE, p) < 0);
	CHECK(ioctl_of_i386(t.fd, B2_CREATE_OLD, p) < 0);
	CHECK(disk_is_gone(&t));
	tap_down(&t);
}
#endif

static const struct ktap_case cases[] = {
	KTAP_CASE(bad_parameters_are_einval),
	KTAP_CASE(bad_pointers_are_efault),
	KTAP_CASE(fields_without_their_flag_are_not_read),
	KTAP_CASE(understood_flags_are_written_back),
	KTAP_CASE(the_disk_is_as_described),
	KTAP_CASE(without_flags_nothing_is_declared),
	KTAP_CASE(the_disk_has_a_td_name),
	KTAP_CASE(a_second_create_is_eexist),
	KTAP_CASE(the_old_form_makes_a_disk),
	KTAP_CASE(the_old_form_is_validated),
	KTAP_CASE(set_params_is_refused_unless_paused),
	KTAP_CASE(unasked_answers_are_refused),
	KTAP_CASE(remove_is_busy_while_the_disk_is_open),
	KTAP_CASE(remove_without_a_disk_is_fine),
	KTAP_CASE(create_does_not_wait_for_io),
	KTAP_CASE(partitions_show_up_after_create),
	KTAP_CASE(closing_an_unused_ring_leaves_the_tap),
#ifdef __x86_64__
	KTAP_CASE(callers_of_32_bits_are_refused),
#endif
};

KTAP_MAIN(cases, &state_checks)
