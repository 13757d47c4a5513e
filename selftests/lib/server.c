// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <unistd.h>

#include "server.h"

unsigned int request_sectors(const struct b2_request *r)
{
	unsigned int n = 0;

	for (int i = 0; i < r->nr_segments; i++)
		n += r->seg[i].last - r->seg[i].first + 1;
	return n;
}

static void check_segments(const struct server *s, const struct b2_request *r)
{
	CHECK(r->nr_segments >= 1 && r->nr_segments <= B2_SEGMENTS, "%u", r->nr_segments);
	for (int i = 0; i < r->nr_segments; i++) {
		const struct b2_segment *g = &r->seg[i];

		CHECK(g->first <= g->last, "%u to %u", g->first, g->last);
		CHECK(g->last < B2_PAGE_SECTORS, "%u", g->last);
		CHECK(!g->pad && !g->pad2);
	}
	CHECK(r->sector < s->sectors && request_sectors(r) <= s->sectors - r->sector,
	      "sector %lu + %u of %lu", r->sector, request_sectors(r), s->sectors);
}

static void check_request(const struct server *s, const struct b2_request *r)
{
	CHECK(r->id < B2_RING_SIZE, "id %lu", r->id);
	CHECK(!r->pad && !r->pad2);
	switch (r->op) {
	case B2_READ:
	case B2_WRITE:
		check_segments(s, r);
		break;
	case B2_FLUSH:
		CHECK(s->flags & B2_F_FLUSH, "FLUSH was not declared");
		CHECK(!r->nr_segments, "%u", r->nr_segments);
		break;
	case B2_TRIM:
		CHECK(s->flags & B2_F_TRIM, "TRIM was not declared");
		CHECK(!r->nr_segments, "%u", r->nr_segments);
		CHECK(r->trim_sectors, "empty TRIM");
		CHECK(r->sector < s->sectors && r->trim_sectors <= s->sectors - r->sector,
		      "TRIM of %lu + %lu", r->sector, r->trim_sectors);
		break;
	default:
		CHECK(false, "operation %u", r->op);
	}
}

void server_copy(struct server *s, const struct b2_request *r)
{
	uint8_t *disk = s->data + r->sector * B2_SECTOR;

	for (int i = 0; i < r->nr_segments; i++) {
		const struct b2_segment *g = &r->seg[i];
		uint8_t *page = tap_page(s->tap, r->id, i);
		size_t len = (g->last - g->first + 1) * B2_SECTOR;

		page += g->first * B2_SECTOR;
		if (r->op == B2_READ)
			memcpy(page, disk, len);
		else
			memcpy(disk, page, len);
		disk += len;
	}
}

void server_answer(struct server *s, uint64_t id, uint8_t op, int16_t status)
{
	struct b2_ring *ring = s->tap->ring;
	struct b2_response rsp = { .id = id, .op = op, .pad = 0xff, .status = status };

	if (id < B2_RING_SIZE)
		s->in_flight[id] = false;
	pthread_mutex_lock(&s->answer_lock);
	ring->entry[ring->rsp_prod % B2_RING_SIZE].rsp = rsp;
	__atomic_store_n(&ring->rsp_prod, ring->rsp_prod + 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&s->answer_lock);
}

void server_kick(struct server *s)
{
	CHECK_OK(ioctl(s->tap->fd, B2_KICK));
}

static int16_t serve(struct server *s, const struct b2_request *r)
{
	if (r->op == B2_TRIM) {
		memset(s->data + r->sector * B2_SECTOR, 0, r->trim_sectors * B2_SECTOR);
		s->trimmed_sectors += r->trim_sectors;
	} else if (r->op != B2_FLUSH) {
		server_copy(s, r);
	}
	return B2_OKAY;
}

struct batch {
	unsigned int nr;
	struct b2_response rsp[B2_RING_SIZE];
};

static void take_request(struct server *s, struct batch *b)
{
	struct b2_request r = s->tap->ring->entry[s->req_cons % B2_RING_SIZE].req;
	int16_t status;

	s->req_cons++;
	check_request(s, &r);
	CHECK(!s->in_flight[r.id], "slot %lu is in use already", r.id);
	s->in_flight[r.id] = true;
	s->requests++;
	s->ops[r.op]++;
	if (r.nr_segments > s->max_segments)
		s->max_segments = r.nr_segments;

	status = s->hook ? s->hook(s, &r) : SERVE;
	if (status == TAKEN)
		return;
	if (status == SERVE)
		status = serve(s, &r);
	b->rsp[b->nr++] = (struct b2_response) { .id = r.id, .op = r.op, .status = status };
}

static void answer_batch(struct server *s, struct batch *b)
{
	while (b->nr) {
		unsigned int i = s->shuffle ? (unsigned int)rand() % b->nr : 0;
		struct b2_response rsp = b->rsp[i];

		memmove(&b->rsp[i], &b->rsp[i + 1], (--b->nr - i) * sizeof(rsp));
		server_answer(s, rsp.id, rsp.op, rsp.status);
	}
	server_kick(s);
}

/* Returns the number of requests taken. */
static unsigned int serve_ring(struct server *s)
{
	struct b2_ring *ring = s->tap->ring;
	struct batch b = { 0 };
	uint32_t prod, from = s->req_cons;

	for (;;) {
		prod = __atomic_load_n(&ring->req_prod, __ATOMIC_ACQUIRE);
		CHECK(prod - s->req_cons <= B2_RING_SIZE, "req_prod %u, consumed %u",
		      prod, s->req_cons);
		while (s->req_cons != prod && b.nr < B2_RING_SIZE)
			take_request(s, &b);
		if (!s->level)
			break;
		__atomic_store_n(&ring->req_event, s->req_cons + 1, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&ring->req_prod, __ATOMIC_SEQ_CST) == s->req_cons)
			break;
	}
	if (b.nr)
		answer_batch(s, &b);
	return s->req_cons - from;
}

static void resume(struct server *s)
{
	struct b2_params_old p = { .sector_size = B2_SECTOR };

	CHECK_OK(ioctl(s->tap->fd, B2_REOPEN, s->reopened));
	if (s->resume_sectors) {
		s->sectors = s->resume_sectors;
		p.capacity = s->sectors;
		snprintf(p.name, sizeof(p.name), "%s", s->reopened);
		CHECK_OK(ioctl(s->tap->fd, B2_SET_PARAMS, &p));
	}
	CHECK_OK(ioctl(s->tap->fd, B2_RESUME, (unsigned long)s->resume_status));
}

/* Returns true if there was one. */
static bool take_message(struct server *s)
{
	uint8_t msg = s->tap->ring->msg;

	if (msg == B2_MSG_NONE || s->deaf)
		return false;
	s->tap->ring->msg = B2_MSG_NONE;
	CHECK(msg <= B2_MSG_CLOSE, "message %u", msg);
	s->messages[msg]++;
	if (msg == B2_MSG_PAUSE) {
		for (int i = 0; i < B2_RING_SIZE; i++)
			CHECK(!s->in_flight[i], "PAUSE with slot %d in flight", i);
		CHECK_OK(ioctl(s->tap->fd, B2_PAUSE));
	} else if (msg == B2_MSG_RESUME) {
		resume(s);
	}
	return true;
}

static void *server_run(void *arg)
{
	struct server *s = arg;
	int fd = s->tap->fd;

	for (;;) {
		int max = fd > s->stop_fd ? fd : s->stop_fd;
		unsigned int n;
		bool told;
		fd_set in;

		FD_ZERO(&in);
		FD_SET(fd, &in);
		FD_SET(s->stop_fd, &in);
		if (select(max + 1, &in, NULL, NULL, NULL) < 0) {
			CHECK(errno == EINTR);
			continue;
		}
		if (FD_ISSET(s->stop_fd, &in))
			return NULL;
		s->wakeups++;
		told = take_message(s);
		n = serve_ring(s);
		if (n) {
			s->batches++;
			if (n > s->max_batch)
				s->max_batch = n;
		} else if (!told) {
			s->empty_wakeups++;
		}
		if (s->messages[B2_MSG_CLOSE])
			return NULL;
	}
}

void server_start(struct server *s)
{
	s->data = mmap(NULL, s->sectors * B2_SECTOR, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(s->data != MAP_FAILED);
	s->stop_fd = eventfd(0, EFD_CLOEXEC);
	CHECK_OK(s->stop_fd);
	pthread_mutex_init(&s->answer_lock, NULL);
	s->req_cons = s->tap->ring->rsp_prod;
	if (s->level)
		s->tap->ring->req_event = s->req_cons + 1;
	CHECK_OK(tap_create(s->tap, s->sectors, s->flags));
	CHECK(!pthread_create(&s->thread, NULL, server_run, s));
	CHECK(wait_until(disk_exists, s->tap, 10), "no disk after CREATE_DEVICE");
}

void server_up(struct server *s, struct tap *t, uint64_t sectors)
{
	tap_alloc(t);
	tap_map(t);
	s->tap = t;
	s->sectors = sectors;
	server_start(s);
}

void server_stop(struct server *s)
{
	uint64_t one = 1;

	CHECK(write(s->stop_fd, &one, sizeof(one)) == sizeof(one));
	CHECK(!pthread_join(s->thread, NULL));
	close(s->stop_fd);
}

static bool remove_device(void *tap)
{
	int rc = ioctl(((struct tap *)tap)->fd, B2_REMOVE);

	CHECK(!rc || errno == EBUSY, "REMOVE_DEVICE: %s", strerror(errno));
	return !rc;
}

void server_down(struct server *s)
{
	CHECK(wait_until(remove_device, s->tap, 10), "the disk stays busy");
	server_stop(s);
	tap_close(s->tap);
	CHECK_OK(tap_free(s->tap->h.minor));
	CHECK(wait_until(tap_is_gone, s->tap, 10), "minor %u is still there", s->tap->h.minor);
	munmap(s->data, s->sectors * B2_SECTOR);
}
