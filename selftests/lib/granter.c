// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "granter.h"
#include "nl.h"

#define LAYOUT_BYTES ((size_t)BLKTAP_RING_SIZE * B2_PAGE)

static struct blktap_ring *shared(const struct granter *g)
{
	return (struct blktap_ring *)g->tap.ring;
}

void *granter_map_layout(struct tap *t)
{
	return mmap(NULL, LAYOUT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd,
		    (off_t)BLKTAP_LAYOUT_PGOFF * B2_PAGE);
}

static void map_pages(struct granter *g)
{
	g->sectors = g->sectors ?: GRANTER_SECTORS;
	g->req_cons = 0;
	tap_map(&g->tap);
	g->pages = granter_map_layout(&g->tap);
	CHECK(g->pages != MAP_FAILED, "%s", strerror(errno));
	shared(g)->req_event = 1;
}

void granter_map(struct granter *g)
{
	tap_alloc(&g->tap);
	map_pages(g);
}

void granter_adopt(struct granter *g, struct b2_handle h)
{
	g->tap = (struct tap) { .fd = -1 };
	tap_adopt(&g->tap, h);
	map_pages(g);
}

int granter_add(struct granter *g, int fd, unsigned int flags)
{
	struct blktap_file f = { .fd = fd, .flags = flags };

	return ioctl(g->tap.fd, BLKTAP_IOCTL_ADD_FILE, &f) ? -1 : (int)f.index;
}

void granter_up(struct granter *g, int fd)
{
	granter_map(g);
	if (fd >= 0)
		CHECK(granter_add(g, fd, BLKTAP_FILE_WRITE) == 0, "%s", strerror(errno));
	granter_create(g);
}

static bool remove_device(void *arg)
{
	struct granter *g = arg;
	struct blktap_ring_request r;

	CHECK(!granter_take(g, &r), "operation %u comes when all is done", r.operation);
	if (!ioctl(g->tap.fd, BLKTAP_IOCTL_REMOVE_DEVICE))
		return true;
	CHECK(errno == EBUSY, "REMOVE_DEVICE: %s", strerror(errno));
	return false;
}

void granter_leave(struct granter *g)
{
	if (g->pages)
		CHECK_OK(munmap(g->pages, LAYOUT_BYTES));
	g->pages = NULL;
	tap_close(&g->tap);
}

void granter_down(struct granter *g)
{
	CHECK(wait_until(remove_device, g, 10), "the disk stays busy");
	granter_leave(g);
	CHECK_OK(tap_free(g->tap.h.minor));
	CHECK(wait_until(tap_is_gone, &g->tap, 10), "minor %u is still there", g->tap.h.minor);
}

void granter_clear(struct granter *g)
{
	granter_leave(g);
	CHECK(tap_close_force(g->tap.h.minor) == 0);
	tap_free(g->tap.h.minor);
	CHECK(wait_until(tap_is_gone, &g->tap, 10), "the tap can't be freed");
	CHECK(wait_until(disk_is_gone, &g->tap, 10), "its disk is still there");
}

static bool of_the_scan(const struct granter *g, const struct blktap_ring_request *r)
{
	return r->operation == BLKTAP_OP_LAYOUTGET &&
	       (r->lg.sector_number < GRANTER_MARGIN ||
		r->lg.sector_number >= g->sectors - GRANTER_MARGIN);
}

/* Only what one page cache read may want. */
static void serve_scan(struct granter *g, const struct blktap_ring_request *r)
{
	struct blktap_extent e = EXTENT(r->lg.sector_number & ~7ULL, 8, 0, 0, NONE_DATA);

	if (e.nr_sectors > g->sectors - e.sector)
		e.nr_sectors = g->sectors - e.sector;
	granter_grant(g, r, &e, 1);
}

/* The request at the head; false: there is none. */
static bool peek(struct granter *g, struct blktap_ring_request *r)
{
	if (g->req_cons == __atomic_load_n(&shared(g)->req_prod, __ATOMIC_ACQUIRE))
		return false;
	*r = shared(g)->ring[g->req_cons % BLKTAP_RING_SIZE].req;
	CHECK(r->id < BLKTAP_RING_SIZE, "id %llu", r->id);
	return true;
}

static void consume(struct granter *g)
{
	g->req_cons++;
	__atomic_store_n(&shared(g)->req_event, g->req_cons + 1, __ATOMIC_SEQ_CST);
}

/* The next request; what is the scan's is served, unless the case wants it. */
static bool next(struct granter *g, struct blktap_ring_request *r)
{
	while (peek(g, r)) {
		if (g->keep_scan || !of_the_scan(g, r))
			return true;
		consume(g);
		serve_scan(g, r);
	}
	return false;
}

void granter_scan(struct granter *g)
{
	struct blktap_ring_request r;

	next(g, &r);
}

bool granter_take(struct granter *g, struct blktap_ring_request *r)
{
	if (!next(g, r))
		return false;
	consume(g);
	g->gets += r->operation == BLKTAP_OP_LAYOUTGET;
	g->commits += r->operation == BLKTAP_OP_LAYOUTCOMMIT;
	g->datas += r->operation < BLKTAP_OP_LAYOUTGET;
	return true;
}

/* BLKRRPART is refused before the disk's own scan has begun, then waits for its end. */
static int wait_for_scan(void *node)
{
	int fd = open(node, O_RDONLY | O_CLOEXEC), err;

	if (fd < 0)
		return errno;
	while ((err = ioctl(fd, BLKRRPART) ? errno : 0) == EINVAL)
		nap_ms(1);
	close(fd);
	return err;
}

/* A scan that is late would hold up who opens or closes the disk. */
static void serve_whole_scan(struct granter *g)
{
	pid_t child = child_start(wait_for_scan, g->tap.disk_node);
	int err;

	while (!child_is_done(child, &err)) {
		granter_scan(g);
		nap_ms(1);
	}
	CHECK(!err, "the partition scan: %s", strerror(err));
}

void granter_create(struct granter *g)
{
	bool is_new = disk_is_gone(&g->tap);
	struct blktap_params p = {
		.capacity = g->sectors,
		.sector_size = B2_SECTOR,
		.flags = g->flags | BLKTAP_DEVICE_LAYOUT,
		.trim_block_size = g->flags & BLKTAP_DEVICE_TRIM ? B2_PAGE : 0,
		.block_size = g->flags & BLKTAP_DEVICE_BLOCK ? GRANTER_CHUNK * B2_SECTOR : 0,
	};

	CHECK_OK(ioctl(g->tap.fd, BLKTAP_IOCTL_CREATE_DEVICE, &p));
	CHECK(p.flags & BLKTAP_DEVICE_LAYOUT, "flags %#lx", p.flags);
	if (is_new && !g->keep_scan)
		serve_whole_scan(g);
}

struct take {
	struct granter *g;
	struct blktap_ring_request *r;
};

static bool take_one(void *arg)
{
	struct take *t = arg;

	return granter_take(t->g, t->r);
}

void granter_next(struct granter *g, struct blktap_ring_request *r, unsigned int op)
{
	struct take t = { g, r };

	CHECK(wait_until(take_one, &t, 10), "no request, wanted operation %u", op);
	CHECK(r->operation == op, "operation %u, wanted %u", r->operation, op);
	CHECK(op != BLKTAP_OP_LAYOUTGET ||
	      (r->lg.nr_sectors && r->lg.nr_sectors <= GRANTER_CHUNK &&
	       r->lg.sector_number + r->lg.nr_sectors <= g->sectors &&
	       r->lg.iomode <= BLKTAP_IOMODE_WRITE),
	      "LAYOUTGET of %llu + %llu, iomode %u", r->lg.sector_number, r->lg.nr_sectors,
	      r->lg.iomode);
}

int granter_answer(struct granter *g, const struct blktap_ring_request *r, int status,
		   uint32_t nr_extents)
{
	struct blktap_ring *ring = shared(g);

	ring->ring[ring->rsp_prod % BLKTAP_RING_SIZE].rsp = (struct blktap_ring_response) {
		.id = r->id,
		.operation = r->operation,
		.status = status,
		.nr_extents = nr_extents,
	};
	__atomic_store_n(&ring->rsp_prod, ring->rsp_prod + 1, __ATOMIC_RELEASE);
	return ioctl(g->tap.fd, BLKTAP_IOCTL_RESPOND);
}

int granter_grant(struct granter *g, const struct blktap_ring_request *r,
		  const struct blktap_extent *extents, unsigned int nr)
{
	memcpy(g->pages[r->id], extents,
	       sizeof(*extents) * (nr < BLKTAP_EXTENTS_MAX ? nr : BLKTAP_EXTENTS_MAX));
	return granter_answer(g, r, BLKTAP_RSP_OKAY, nr);
}

void granter_all(struct granter *g, const struct blktap_ring_request *r)
{
	struct blktap_extent e = EXTENT(0, g->sectors, 0, 0, READ_WRITE_DATA);

	if (r->operation == BLKTAP_OP_LAYOUTGET)
		CHECK_OK(granter_grant(g, r, &e, 1));
	else
		CHECK_OK(granter_answer(g, r, BLKTAP_RSP_OKAY, 0));
}

static bool serve_one(struct granter *g)
{
	struct blktap_ring_request r;

	if (!granter_take(g, &r))
		return false;
	(g->serve ?: granter_all)(g, &r);
	return true;
}

static void *serve_all(void *arg)
{
	struct granter *g = arg;

	while (!g->stop)
		if (!serve_one(g))
			nap_ms(1);
	return NULL;
}

void granter_start(struct granter *g)
{
	g->stop = false;
	CHECK(!pthread_create(&g->thread, NULL, serve_all, g));
}

void granter_stop(struct granter *g)
{
	g->stop = true;
	CHECK(!pthread_join(g->thread, NULL));
}

int granter_until(struct granter *g, pid_t child)
{
	int result;

	while (!child_is_done(child, &result))
		if (!serve_one(g))
			nap_ms(1);
	return result;
}

struct message {
	struct granter *g;
	uint8_t msg;
};

static bool message_is_there(void *arg)
{
	struct message *m = arg;
	struct blktap_ring_request r;

	CHECK(!granter_take(m->g, &r), "operation %u before message %u", r.operation, m->msg);
	return shared(m->g)->msg == m->msg;
}

void granter_message(struct granter *g, uint8_t msg)
{
	struct message m = { g, msg };

	CHECK(wait_until(message_is_there, &m, 10), "no message %u", msg);
	shared(g)->msg = BLKTAP_MSG_NONE;
}

struct knob {
	char dir[64];
	char file[16];
};

static int write_knob(void *arg)
{
	struct knob *k = arg;

	return sysfs_write(k->dir, k->file, "1") ? errno : 0;
}

pid_t granter_sysfs(struct granter *g, const char *file)
{
	struct knob *k = shared_alloc(sizeof(*k));

	snprintf(k->dir, sizeof(k->dir), "%s", g->tap.sysfs);
	snprintf(k->file, sizeof(k->file), "%s", file);
	return child_start(write_knob, k);
}

void granter_paused(struct granter *g)
{
	granter_message(g, BLKTAP_MSG_PAUSE);
	CHECK_OK(ioctl(g->tap.fd, BLKTAP_IOCTL_PAUSE));
}

void granter_pause(struct granter *g)
{
	pid_t child = granter_sysfs(g, "pause");

	granter_paused(g);
	CHECK(child_wait(child) == 0);
}

void granter_resumed(struct granter *g)
{
	char name[BLKTAP_NAME_V2];

	CHECK_OK(ioctl(g->tap.fd, BLKTAP_IOCTL_REOPEN, name));
	CHECK_OK(ioctl(g->tap.fd, BLKTAP_IOCTL_RESUME, 0));
}

int scratch_file(off_t bytes)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/granted.XXXXXX", getenv("SCRATCH") ?: "/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	CHECK(fd >= 0, "%s: %s", path, strerror(errno));
	CHECK_OK(unlink(path));
	CHECK_OK(ftruncate(fd, bytes));
	return fd;
}

void scratch_fill(int fd, off_t at, size_t bytes, uint8_t pattern)
{
	char *buf = malloc(bytes);

	memset(buf, pattern, bytes);
	CHECK(pwrite(fd, buf, bytes, at) == (ssize_t)bytes, "%s", strerror(errno));
	CHECK_OK(fdatasync(fd));
	free(buf);
}

bool filled_with(const void *buf, size_t bytes, uint8_t pattern)
{
	const uint8_t *p = buf;

	for (size_t i = 0; i < bytes; i++) {
		if (p[i] == pattern)
			continue;
		ktap_say("byte %zu is %#x, wanted %#x", i, p[i], pattern);
		return false;
	}
	return true;
}

void scratch_expect(int fd, off_t at, size_t bytes, uint8_t pattern)
{
	uint8_t *buf = malloc(bytes);

	CHECK(pread(fd, buf, bytes, at) == (ssize_t)bytes, "%s", strerror(errno));
	CHECK(filled_with(buf, bytes, pattern), "at %ld of the file", at);
	free(buf);
}

struct disk_io *granter_io(struct granter *g, bool write, uint64_t sector, unsigned int sectors,
			   uint8_t pattern)
{
	struct disk_io *io = shared_alloc(sizeof(*io));

	*io = (struct disk_io) {
		.node = g->tap.disk_node,
		.flags = O_DIRECT,
		.write = write,
		.buf = shared_alloc((size_t)sectors * B2_SECTOR),
		.len = (size_t)sectors * B2_SECTOR,
		.offset = sector * B2_SECTOR,
	};
	memset(io->buf, pattern, io->len);
	return io;
}

struct discard {
	char node[64];
	uint64_t range[2];	/* bytes: start, length */
};

static int do_discard(void *arg)
{
	struct discard *d = arg;
	int fd = open(d->node, O_RDWR | O_CLOEXEC);
	int err = fd < 0 || ioctl(fd, BLKDISCARD, d->range) ? errno : 0;

	close(fd);
	return err;
}

pid_t granter_discard(struct granter *g, uint64_t sector, uint64_t nr)
{
	struct discard *d = shared_alloc(sizeof(*d));

	snprintf(d->node, sizeof(d->node), "%s", g->tap.disk_node);
	d->range[0] = sector * B2_SECTOR;
	d->range[1] = nr * B2_SECTOR;
	return child_start(do_discard, d);
}
