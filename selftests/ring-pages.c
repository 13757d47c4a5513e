// SPDX-License-Identifier: GPL-2.0-only
/* The ring's pages used as buffers of direct I/O, and what becomes of pinned ones. */
#include <fcntl.h>
#include <libaio.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/nl.h"
#include "lib/server.h"
#include "lib/state.h"

#define DISK_SECTORS	8192
#define DISK_BYTES	(DISK_SECTORS * 512)
#define OLD_BYTE	0xaa
#define NEW_BYTE	0xbb

/* An image file on $SCRATCH that the server moves data to and from by AIO. */
struct image {
	int fd;
	io_context_t ctx;
	struct iocb cb[B2_RING_SIZE];
	struct iovec iov[B2_RING_SIZE][B2_SEGMENTS];
	struct b2_request req[B2_RING_SIZE];
	struct server *server;
	pthread_t reaper;
	_Atomic bool stop;
	bool lose;			/* submit writes, and never answer them */
	_Atomic unsigned int submitted;
};

static void image_open(struct image *im, struct server *s)
{
	const char *dir = getenv("SCRATCH");
	char path[256];

	if (!dir)
		ktap_skip("SCRATCH names no directory");
	snprintf(path, sizeof(path), "%s/ring-pages.img", dir);
	im->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
	CHECK_OK(im->fd);
	unlink(path);
	CHECK_OK(ftruncate(im->fd, DISK_BYTES));
	CHECK(!io_setup(B2_RING_SIZE, &im->ctx));
	im->server = s;
}

/* The server's hook: straight from the pages of the slot to the file. */
static int submit(struct server *s, const struct b2_request *r)
{
	struct image *im = s->arg;
	struct iovec *iov = im->iov[r->id];
	struct iocb *cb = &im->cb[r->id];

	for (int i = 0; i < r->nr_segments; i++) {
		iov[i].iov_base = (char *)tap_page(s->tap, r->id, i) + r->seg[i].first * 512;
		iov[i].iov_len = (r->seg[i].last - r->seg[i].first + 1) * 512;
	}
	im->req[r->id] = *r;
	if (r->op == B2_READ)
		io_prep_preadv(cb, im->fd, iov, r->nr_segments, r->sector * 512);
	else
		io_prep_pwritev(cb, im->fd, iov, r->nr_segments, r->sector * 512);
	cb->data = &im->req[r->id];
	CHECK(io_submit(im->ctx, 1, &cb) == 1);
	im->submitted++;
	return TAKEN;
}

static void *reap(void *arg)
{
	struct image *im = arg;
	struct timespec tick = { .tv_nsec = 20000000 };
	struct io_event ev[B2_RING_SIZE];

	while (!im->stop) {
		int n = io_getevents(im->ctx, 1, B2_RING_SIZE, ev, &tick);

		for (int i = 0; i < n; i++) {
			const struct b2_request *r = ev[i].data;

			if (im->lose && r->op == B2_WRITE)
				continue;
			CHECK(ev[i].res == request_sectors(r) * 512, "%ld",
			      (long)ev[i].res);
			server_answer(im->server, r->id, r->op, B2_OKAY);
		}
		if (n > 0)
			server_kick(im->server);
	}
	return NULL;
}

struct pass {
	const char *node;
	uint8_t *buf;
};

static int write_and_read_all(void *arg)
{
	struct pass *p = arg;
	int fd = open(p->node, O_RDWR | O_DIRECT);

	CHECK_OK(fd);
	for (int at = 0; at < DISK_BYTES; at += 262144) {
		memset(p->buf, at >> 18, 262144);
		CHECK(pwrite(fd, p->buf, 262144, at) == 262144, "%s", strerror(errno));
	}
	for (int at = 0; at < DISK_BYTES; at += 262144) {
		CHECK(pread(fd, p->buf, 262144, at) == 262144, "%s", strerror(errno));
		for (int i = 0; i < 262144; i++)
			CHECK(p->buf[i] == (uint8_t)(at >> 18), "byte %d is %#x", at + i,
			      p->buf[i]);
	}
	return 0;
}

static void aio_from_the_pages_of_the_ring(void)
{
	struct image *im = calloc(1, sizeof(*im));
	struct server s = { .hook = submit, .arg = im };
	struct pass p = { .buf = shared_alloc(262144) };
	struct tap t;

	image_open(im, &s);
	CHECK(!pthread_create(&im->reaper, NULL, reap, im));
	server_up(&s, &t, DISK_SECTORS);
	p.node = t.disk_node;
	CHECK(in_child(write_and_read_all, &p) == 0);
	server_down(&s);
	im->stop = true;
	pthread_join(im->reaper, NULL);
}

static bool has_submitted(void *image)
{
	return ((struct image *)image)->submitted >= 8;
}

/* -1 and an errno where the ring can't be mapped. */
static int open_and_map(struct tap *t)
{
	int fd = open(t->ring_node, O_RDWR | O_CLOEXEC), err;
	void *map;

	CHECK_OK(fd);
	map = mmap(NULL, B2_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	err = errno;
	close(fd);
	errno = err;
	return map == MAP_FAILED ? -1 : 0;
}

/* What the 3.55 tapdisk does when it is told to go: munmap and close at once. */
static void closed_with_aio_in_flight(void)
{
	for (int round = 0; round < 5; round++) {
		struct image *im = calloc(1, sizeof(*im));
		struct server s = { .hook = submit, .arg = im };
		struct disk_io io = {
			.flags = O_DIRECT, .write = true, .buf = shared_alloc(524288),
			.len = 524288,
		};
		struct tap t;
		int result;
		pid_t pid;

		im->lose = true;
		image_open(im, &s);
		CHECK(!pthread_create(&im->reaper, NULL, reap, im));
		server_up(&s, &t, DISK_SECTORS);
		io.node = t.disk_node;
		pid = child_start(do_disk_io, &io);
		CHECK(wait_until(has_submitted, im, 5));
		im->stop = true;
		pthread_join(im->reaper, NULL);
		server_stop(&s);
		tap_close(&t);
		/* We go on, so this is no tapdisk that has gone: nobody may take over. */
		CHECK_ERRNO(open_and_map(&t), EBUSY);
		CHECK(!child_is_done(pid, &result));
		CHECK(tap_close_force(t.h.minor) == 0);
		CHECK(child_wait(pid) == EIO);
		tap_free(t.h.minor);
		CHECK(wait_until(tap_is_gone, &t, 10));
		CHECK(!io_destroy(im->ctx));
		close(im->fd);
	}
}

/* Answer writes, but keep the pages of the first one pinned in a pipe. */
struct pin {
	int pipe[2];
	_Atomic bool pinned;
};

static int pin_pages(struct server *s, const struct b2_request *r)
{
	struct pin *p = s->arg;
	struct iovec iov = { tap_page(s->tap, r->id, 0), B2_PAGE };

	if (r->op == B2_WRITE && !p->pinned) {
		CHECK(vmsplice(p->pipe[1], &iov, 1, 0) == B2_PAGE, "%s", strerror(errno));
		p->pinned = true;
	}
	return SERVE;
}

static void write_disk(struct tap *t, uint8_t byte)
{
	struct disk_io io = {
		.node = t->disk_node, .flags = O_DIRECT, .write = true,
		.buf = shared_alloc(1 << 20), .len = 1 << 20,
	};

	memset(io.buf, byte, io.len);
	CHECK(in_child(do_disk_io, &io) == 0);
	munmap(io.buf, io.len);
}

/* A page that direct I/O may still write to must not carry another tap's data. */
static void a_pinned_page_never_reaches_another_tap(void)
{
	struct pin pin = { .pinned = false };
	struct server s = { .hook = pin_pages, .arg = &pin };
	uint8_t page[B2_PAGE];
	struct tap t;

	CHECK_OK(pipe(pin.pipe));
	server_up(&s, &t, DISK_SECTORS);
	write_disk(&t, OLD_BYTE);
	CHECK(pin.pinned);
	server_down(&s);

	for (int i = 0; i < 4; i++) {
		s = (struct server) { 0 };
		server_up(&s, &t, DISK_SECTORS);
		write_disk(&t, NEW_BYTE);
		server_down(&s);
	}
	CHECK(read(pin.pipe[0], page, sizeof(page)) == sizeof(page));
	for (int i = 0; i < B2_PAGE; i++)
		CHECK(page[i] == OLD_BYTE, "byte %d is %#x", i, page[i]);
}

/* What a tapdisk sees in pages of slots is its own disk's data, or zeroes. */
static int look_at_page(struct server *s, const struct b2_request *r)
{
	const uint8_t *page;

	if (r->op != B2_READ)
		return SERVE;
	for (int i = 0; i < r->nr_segments; i++) {
		page = tap_page(s->tap, r->id, i);
		for (int j = 0; j < B2_PAGE; j++)
			CHECK(page[j] != OLD_BYTE, "another tap's data");
	}
	return SERVE;
}

static void pages_come_without_another_taps_data(void)
{
	struct server s = { 0 };
	struct disk_io io = {
		.flags = O_DIRECT, .buf = shared_alloc(1 << 20), .len = 1 << 20,
	};
	struct tap t;

	for (int i = 0; i < 3; i++) {
		s = (struct server) { 0 };
		server_up(&s, &t, DISK_SECTORS);
		write_disk(&t, OLD_BYTE);
		server_down(&s);

		s = (struct server) { .hook = look_at_page };
		server_up(&s, &t, DISK_SECTORS);
		io.node = t.disk_node;
		CHECK(in_child(do_disk_io, &io) == 0);
		server_down(&s);
	}
}

static const struct ktap_case cases[] = {
	KTAP_CASE(aio_from_the_pages_of_the_ring),
	KTAP_CASE(closed_with_aio_in_flight),
	KTAP_CASE(a_pinned_page_never_reaches_another_tap),
	KTAP_CASE(pages_come_without_another_taps_data),
};

KTAP_MAIN(cases, &state_checks)
