// SPDX-License-Identifier: GPL-2.0-only
/* I/O through the ring: data, sizes, order of answers, FLUSH, TRIM, errors. */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/server.h"
#include "lib/state.h"

#define DISK_SECTORS	16384	/* 8 MiB */
#define DISK_BYTES	((size_t)DISK_SECTORS * 512)
#define MIB		(1024 * 1024)

/* What the disk is to hold, shared with the process that writes it. */
struct plan {
	const char *node;
	int flags;
	uint8_t *model;
	uint8_t *buf;		/* 1 MiB and a page */
	size_t from, to;	/* the bytes that this process has for itself */
	int rounds;
	unsigned int seed;
};

static void plan_make(struct plan *p, struct tap *t, int flags)
{
	*p = (struct plan) {
		.node = t->disk_node, .flags = flags, .model = shared_alloc(DISK_BYTES),
		.buf = shared_alloc(MIB + 4096), .to = DISK_BYTES,
	};
}

static uint8_t pattern(size_t byte, unsigned int seed)
{
	return (byte >> 9) * 31 + byte * 7 + seed * 101;
}

static void fill(uint8_t *to, size_t from, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		to[i] = pattern(from + i, seed);
}

static void expect_same(const uint8_t *got, const uint8_t *want, size_t len, const char *what,
			size_t from)
{
	if (!memcmp(got, want, len))
		return;
	for (size_t i = 0; i < len; i++)
		CHECK(got[i] == want[i], "%s: byte %zu (%zu of %zu) is %#x, not %#x", what,
		      from + i, i, len, got[i], want[i]);
}

static void write_at(struct plan *p, int fd, size_t offset, size_t len, size_t skew)
{
	fill(p->buf + skew, offset, len, ++p->seed);
	memcpy(p->model + offset, p->buf + skew, len);
	CHECK(pwrite(fd, p->buf + skew, len, offset) == (ssize_t)len, "%zu at %zu: %s", len,
	      offset, strerror(errno));
}

static void read_at(struct plan *p, int fd, size_t offset, size_t len, size_t skew)
{
	memset(p->buf, 0xee, MIB + 4096);
	CHECK(pread(fd, p->buf + skew, len, offset) == (ssize_t)len, "%zu at %zu: %s", len,
	      offset, strerror(errno));
	expect_same(p->buf + skew, p->model + offset, len, "read", offset);
}

static const size_t sizes[] = {
	512, 1024, 3584, 4096, 4608, 45056, 45568, 65536, 90112, 131072, 360448, 524288,
	MIB - 512, MIB,
};

/* Every size at every kind of offset, from memory at every kind of offset. */
static int all_sizes(void *plan)
{
	static const size_t offsets[] = { 0, 512, 3584, 4096, 45056, 1048064 };
	static const size_t skews[] = { 0, 512, 2048 };
	struct plan *p = plan;
	int fd = open(p->node, O_RDWR | p->flags);

	CHECK_OK(fd);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t j = 0; j < sizeof(offsets) / sizeof(offsets[0]); j++) {
			size_t skew = skews[(i + j) % 3];

			write_at(p, fd, offsets[j], sizes[i], skew);
			read_at(p, fd, offsets[j], sizes[i], skews[j % 3]);
			read_at(p, fd, offsets[j] ^ 4096, sizes[i], 0);
		}
	}
	CHECK_OK(fsync(fd));
	return 0;
}

static void every_size_at_odd_offsets(int flags)
{
	struct server s = { .shuffle = true };
	struct plan p;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	plan_make(&p, &t, flags);
	CHECK(in_child(all_sizes, &p) == 0);
	expect_same(s.data, p.model, DISK_BYTES, "disk", 0);
	CHECK(s.max_segments <= B2_SEGMENTS && s.max_segments > 8, "%u", s.max_segments);
	server_down(&s);
}

static void every_size_direct(void)
{
	every_size_at_odd_offsets(O_DIRECT);
}

static void every_size_buffered(void)
{
	every_size_at_odd_offsets(0);
}

static int random_io(void *plan)
{
	struct plan *p = plan;
	int fd = open(p->node, O_RDWR | p->flags);

	CHECK_OK(fd);
	srand(p->from + 1);
	for (int i = 0; i < p->rounds; i++) {
		size_t len = ((rand() % 256) + 1) * 512;
		size_t offset = p->from + rand() % ((p->to - p->from - len) / 512) * 512;

		if (rand() % 2)
			write_at(p, fd, offset, len, rand() % 8 * 512);
		else
			read_at(p, fd, offset, len, rand() % 8 * 512);
	}
	return 0;
}

static void several_processes_at_once(void)
{
	struct server s = { .shuffle = true };
	struct plan p[8];
	pid_t pid[8];
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	plan_make(&p[0], &t, O_DIRECT);
	for (int i = 0; i < 8; i++) {
		p[i] = p[0];
		p[i].buf = shared_alloc(MIB + 4096);
		p[i].from = DISK_BYTES / 8 * i;
		p[i].to = p[i].from + DISK_BYTES / 8;
		p[i].rounds = 800 / ktap_scale() + 20;
		pid[i] = child_start(random_io, &p[i]);
	}
	for (int i = 0; i < 8; i++)
		CHECK(child_wait(pid[i]) == 0);
	expect_same(s.data, p[0].model, DISK_BYTES, "disk", 0);
	CHECK(s.max_batch <= B2_RING_SIZE);
	ktap_say("%lu requests in %lu batches, at most %u in one", s.requests, s.batches,
		 s.max_batch);
	server_down(&s);
}

/* Sectors scattered over memory: many segments of the block layer a page. */
static int scattered(void *plan)
{
	struct plan *p = plan;
	int fd = open(p->node, O_RDWR | O_DIRECT);
	struct iovec iov[128];

	CHECK_OK(fd);
	for (int i = 0; i < 128; i++) {
		iov[i].iov_base = p->buf + i * 4096 + (i % 8) * 512;
		iov[i].iov_len = 512;
		fill(iov[i].iov_base, i * 512, 512, 9);
		memcpy(p->model + i * 512, iov[i].iov_base, 512);
	}
	CHECK(pwritev(fd, iov, 128, 0) == 65536);
	for (int i = 0; i < 128; i++)
		memset(iov[i].iov_base, 0, 512);
	CHECK(preadv(fd, iov, 128, 0) == 65536);
	for (int i = 0; i < 128; i++)
		expect_same(iov[i].iov_base, p->model + i * 512, 512, "read", i * 512);
	return 0;
}

static void scattered_memory(void)
{
	struct server s = { 0 };
	struct plan p;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	plan_make(&p, &t, 0);
	CHECK(in_child(scattered, &p) == 0);
	expect_same(s.data, p.model, 65536, "disk", 0);
	server_down(&s);
}

/* A capacity that is no multiple of a page, and nothing behind it. */
static void the_last_odd_sector(void)
{
	struct server s = { 0 };
	struct disk_io io = {
		.flags = O_DIRECT, .buf = shared_alloc(4096), .len = 512, .offset = 2048 * 512,
	};
	struct tap t;

	server_up(&s, &t, 2049);
	io.node = t.disk_node;
	fill(s.data + io.offset, io.offset, 512, 3);
	CHECK(in_child(do_disk_io, &io) == 0);
	expect_same(io.buf, s.data + io.offset, 512, "direct", io.offset);
	memset(io.buf, 0, 512);
	io.flags = 0;
	CHECK(in_child(do_disk_io, &io) == 0);
	expect_same(io.buf, s.data + io.offset, 512, "buffered", io.offset);
	io.offset += 512;
	CHECK(in_child(do_disk_io, &io) == ENODATA, "read behind the end");
	server_down(&s);
}

static int sync_writes(void *plan)
{
	struct plan *p = plan;
	int fd = open(p->node, O_RDWR);

	CHECK_OK(fd);
	write_at(p, fd, 0, 4096, 0);
	CHECK_OK(fsync(fd));
	close(fd);
	fd = open(p->node, O_RDWR | O_DIRECT | O_DSYNC);
	CHECK_OK(fd);
	write_at(p, fd, 8192, 4096, 0);
	return 0;
}

static void flush_is_sent_when_declared(void)
{
	struct server s = { .flags = B2_F_FLUSH };
	struct plan p;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	plan_make(&p, &t, 0);
	CHECK(in_child(sync_writes, &p) == 0);
	CHECK(s.ops[B2_FLUSH] >= 2, "%lu", s.ops[B2_FLUSH]);
	expect_same(s.data, p.model, 16384, "disk", 0);
	server_down(&s);
}

/* The server fails the case at a FLUSH or TRIM that it has not declared. */
static void flush_is_not_sent_unless_declared(void)
{
	struct server s = { 0 };
	struct plan p;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	plan_make(&p, &t, 0);
	CHECK(in_child(sync_writes, &p) == 0);
	CHECK(!s.ops[B2_FLUSH]);
	server_down(&s);
}

struct discard {
	const char *node;
	unsigned long request;
	uint64_t range[2];
};

static int do_discard(void *discard)
{
	struct discard *d = discard;
	int fd = open(d->node, O_RDWR);

	if (fd < 0)
		return errno;
	return ioctl(fd, d->request, d->range) ? errno : 0;
}

static void trim_has_the_right_sectors(void)
{
	static const uint64_t ranges[][2] = {
		{ 0, 4096 }, { 8192, 4096 }, { MIB, 65536 }, { 2 * MIB + 4096, 3 * MIB },
		{ 0, DISK_BYTES },
	};
	struct server s = { .flags = B2_F_TRIM };
	struct discard d = { .request = BLKDISCARD };
	struct plan p;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	plan_make(&p, &t, 0);
	d.node = t.disk_node;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		memcpy(d.range, ranges[i], sizeof(d.range));
		fill(s.data, 0, DISK_BYTES, i);
		memcpy(p.model, s.data, DISK_BYTES);
		memset(p.model + d.range[0], 0, d.range[1]);
		s.trimmed_sectors = 0;
		CHECK(in_child(do_discard, &d) == 0);
		CHECK(s.trimmed_sectors == d.range[1] / 512, "%lu of %lu", s.trimmed_sectors,
		      d.range[1] / 512);
		expect_same(s.data, p.model, DISK_BYTES, "disk", 0);
	}
	server_down(&s);
}

static void trim_is_not_sent_unless_declared(void)
{
	struct server s = { .flags = B2_F_FLUSH };
	struct discard d = { .request = BLKDISCARD, .range = { 0, 65536 } };
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	d.node = t.disk_node;
	CHECK(in_child(do_discard, &d) == EOPNOTSUPP);
	CHECK(!s.ops[B2_TRIM]);
	server_down(&s);
}

static void zeroout_zeroes(unsigned long flags)
{
	struct server s = { .flags = flags };
	struct discard d = { .request = BLKZEROOUT, .range = { 4096, MIB + 512 } };
	struct plan p;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	plan_make(&p, &t, 0);
	d.node = t.disk_node;
	fill(s.data, 0, DISK_BYTES, 5);
	memcpy(p.model, s.data, DISK_BYTES);
	memset(p.model + d.range[0], 0, d.range[1]);
	CHECK(in_child(do_discard, &d) == 0);
	expect_same(s.data, p.model, DISK_BYTES, "disk", 0);
	server_down(&s);
}

static void zeroout_works_with_and_without_trim(void)
{
	zeroout_zeroes(0);
	zeroout_zeroes(B2_F_TRIM);
}

/* The hook's argument: answer so what touches sector 1024. */
static int answer_sector_1024(struct server *s, const struct b2_request *r)
{
	if (r->op > B2_WRITE || r->sector > 1024 || r->sector + request_sectors(r) <= 1024)
		return SERVE;
	return *(int *)s->arg;
}

static void expect_errno(struct server *s, struct disk_io *io, int status, int want)
{
	int got;

	*(int *)s->arg = status;
	got = in_child(do_disk_io, io);
	CHECK(got == want, "status %d on a %s of %zu gives %s, not %s", status,
	      io->write ? "write" : "read", io->len, strerrorname_np(got) ?: "0",
	      strerrorname_np(want) ?: "0");
}

static void answers_become_errnos(void)
{
	int status = 0;
	struct server s = { .hook = answer_sector_1024, .arg = &status };
	struct disk_io io = { .flags = O_DIRECT, .buf = shared_alloc(MIB) };
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	io.node = t.disk_node;
	for (int write = 0; write <= 1; write++) {
		io.write = write;
		io.offset = 1024 * 512;
		io.len = 4096;
		expect_errno(&s, &io, B2_ERROR, EIO);
		expect_errno(&s, &io, B2_NOTSUPP, EOPNOTSUPP);
		/* One part of many fails: so does the whole. */
		io.offset = 0;
		io.len = MIB;
		expect_errno(&s, &io, B2_ERROR, EIO);
		/* Elsewhere nothing has happened. */
		io.offset = 2048 * 512;
		expect_errno(&s, &io, B2_ERROR, 0);
		io.offset = 0;
		expect_errno(&s, &io, SERVE, 0);
	}
	server_down(&s);
}

static void a_read_only_disk_is_not_written(void)
{
	struct server s = { .flags = B2_F_RDONLY };
	struct disk_io io = { .flags = O_DIRECT, .buf = shared_alloc(4096), .len = 4096 };
	struct tap t;
	char dir[64], ro[8];
	int err;

	server_up(&s, &t, DISK_SECTORS);
	io.node = t.disk_node;
	CHECK(in_child(do_disk_io, &io) == 0);
	io.write = true;
	err = in_child(do_disk_io, &io);
	CHECK(err == EPERM || err == EACCES || err == EROFS, "%s", strerror(err));
	CHECK(!s.ops[B2_WRITE]);
	snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", t.h.disk_major, t.h.minor);
	CHECK(sysfs_read(dir, "ro", ro, sizeof(ro)) && !strcmp(ro, "1"));
	server_down(&s);
}

static int check_4k_segments(struct server *s, const struct b2_request *r)
{
	(void)s;
	CHECK(r->sector % 8 == 0 && request_sectors(r) % 8 == 0, "%lu + %u", r->sector,
	      request_sectors(r));
	return SERVE;
}

static void sectors_of_4096_bytes(void)
{
	struct b2_params p = { .capacity = DISK_SECTORS, .sector_size = 4096 };
	struct server s = { .hook = check_4k_segments };
	struct disk_io io = { .flags = O_DIRECT, .buf = shared_alloc(MIB), .len = 8192 };
	struct plan plan;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	while (ioctl(t.fd, B2_REMOVE))
		nap_ms(5);
	CHECK_OK(ioctl(t.fd, B2_CREATE, &p));
	CHECK(wait_until(disk_exists, &t, 5));
	plan_make(&plan, &t, 0);
	io.node = t.disk_node;
	io.write = true;
	fill(io.buf, 4096, 8192, 1);
	io.offset = 4096;
	CHECK(in_child(do_disk_io, &io) == 0);
	expect_same(s.data + 4096, io.buf, 8192, "disk", 4096);
	io.offset = 512;
	io.len = 512;
	CHECK(in_child(do_disk_io, &io) == EINVAL);
	server_down(&s);
}

static void level_triggered_client_works_too(void)
{
	struct server s = { .shuffle = true, .level = true };
	struct plan p;
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	plan_make(&p, &t, O_DIRECT);
	p.rounds = 1000 / ktap_scale() + 20;
	CHECK(in_child(random_io, &p) == 0);
	expect_same(s.data, p.model, DISK_BYTES, "disk", 0);
	server_down(&s);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(every_size_direct),
	KTAP_CASE(every_size_buffered),
	KTAP_CASE(several_processes_at_once),
	KTAP_CASE(scattered_memory),
	KTAP_CASE(the_last_odd_sector),
	KTAP_CASE(flush_is_sent_when_declared),
	KTAP_CASE(flush_is_not_sent_unless_declared),
	KTAP_CASE(trim_has_the_right_sectors),
	KTAP_CASE(trim_is_not_sent_unless_declared),
	KTAP_CASE(zeroout_works_with_and_without_trim),
	KTAP_CASE(answers_become_errnos),
	KTAP_CASE(a_read_only_disk_is_not_written),
	KTAP_CASE(sectors_of_4096_bytes),
	KTAP_CASE(level_triggered_client_works_too),
};

KTAP_MAIN(cases, &state_checks)
