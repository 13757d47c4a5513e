// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ring protocol, as in Xen's ring.h: indices run free, the producer's is
 * published with release and read with acquire semantics.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "tap.h"

#define SECTORS_PER_PAGE 8

static size_t ring_bytes(void)
{
	return (size_t)BLKTAP_MMAP_PAGES * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t layout_bytes(void)
{
	return (size_t)BLKTAP_RING_SIZE * (size_t)sysconf(_SC_PAGESIZE);
}

static int16_t response_status(const struct tap *tap, int err)
{
	if (!err)
		return BLKTAP_RSP_OKAY;
	if (err == -EOPNOTSUPP)
		return BLKTAP_RSP_EOPNOTSUPP;
	/* -EPERM and -ENOENT are numbers that mean something else here. */
	return tap->errnos && err < BLKTAP_RSP_EOPNOTSUPP ? (int16_t)err : BLKTAP_RSP_ERROR;
}

static void respond(struct tap *tap, uint64_t id, uint8_t operation, int err,
		    unsigned int nr_extents)
{
	struct blktap_ring_response *rsp;

	rsp = &tap->ring->ring[tap->rsp_prod++ % BLKTAP_RING_SIZE].rsp;
	rsp->id = id;
	rsp->operation = operation;
	rsp->nr_extents = nr_extents;
	rsp->status = response_status(tap, err);
	tap->stats.responses++;
}

static void request_done(struct image_request *image_req, int err)
{
	struct tap_request *req = container_of(image_req, struct tap_request, image);
	struct tap *tap = req->tap;
	unsigned int nr = 0;

	req->busy = false;
	tap->in_flight--;
	if (req->operation == BLKTAP_OP_LAYOUTGET && !err) {
		nr = image_req->nr_extents;
		memcpy(tap->layout[image_req->slot], req->extents, nr * sizeof(req->extents[0]));
	}
	respond(tap, image_req->slot, req->operation, err, nr);
}

/*
 * Memory of segment j of a slot is page 1 + slot * BLKTAP_SEGMENT_MAX + j:
 * segments that meet at a page's end are one iovec.
 */
static bool map_segments(struct tap *tap, const struct blktap_ring_request *ring_req,
			 struct image_request *req)
{
	size_t page = tap->page_size;
	char *data = (char *)tap->ring + (1 + ring_req->id * BLKTAP_SEGMENT_MAX) * page;

	req->iovcnt = 0;
	req->nr_sectors = 0;
	if (!ring_req->nr_segments || ring_req->nr_segments > BLKTAP_SEGMENT_MAX)
		return false;

	for (unsigned int i = 0; i < ring_req->nr_segments; i++) {
		const struct blktap_segment *seg = &ring_req->rw.seg[i];
		struct iovec *last = req->iovcnt ? &req->iov[req->iovcnt - 1] : NULL;
		char *base = data + i * page + seg->first_sect * SECTOR_SIZE;
		unsigned int sectors;

		if (seg->first_sect > seg->last_sect || seg->last_sect >= SECTORS_PER_PAGE)
			return false;
		sectors = seg->last_sect - seg->first_sect + 1U;
		req->nr_sectors += sectors;

		if (last && (char *)last->iov_base + last->iov_len == base) {
			last->iov_len += sectors * SECTOR_SIZE;
			continue;
		}
		req->iov[req->iovcnt].iov_base = base;
		req->iov[req->iovcnt++].iov_len = sectors * SECTOR_SIZE;
	}
	return true;
}

static bool in_range(const struct image *image, const struct image_request *req)
{
	return req->sector <= image->capacity && req->nr_sectors <= image->capacity - req->sector;
}

static int start_transfer(struct tap *tap, const struct blktap_ring_request *ring_req,
			  struct image_request *req)
{
	struct image *image = tap->image;

	/* The engine does not know what the kernel has written. */
	if (tap->grants)
		return -EIO;
	req->sector = ring_req->rw.sector_number;
	if (!map_segments(tap, ring_req, req) || !in_range(image, req))
		return -EINVAL;
	if (ring_req->operation == BLKTAP_OP_READ) {
		tap->stats.read_sectors += req->nr_sectors;
		image->driver->read(image, req);
		return 0;
	}
	if (image->rdonly)
		return -EROFS;

	tap->stats.write_sectors += req->nr_sectors;
	image->driver->write(image, req);
	return 0;
}

static int start_trim(struct tap *tap, const struct blktap_ring_request *ring_req,
		      struct image_request *req)
{
	struct image *image = tap->image;

	req->sector = ring_req->tr.sector_number;
	req->nr_sectors = ring_req->tr.nr_sectors;
	if (!image->trim)
		return -EOPNOTSUPP;
	if (image->rdonly)
		return -EROFS;
	if (!in_range(image, req))
		return -EINVAL;

	image->driver->trim(image, req);
	return 0;
}

static int start_layoutget(struct tap *tap, const struct blktap_ring_request *ring_req,
			   struct image_request *req)
{
	struct image *image = tap->image;

	if (!tap->grants) {
		req->done(req, -EOPNOTSUPP);
		return 0;
	}
	req->sector = ring_req->lg.sector_number;
	req->nr_sectors = ring_req->lg.nr_sectors;
	if (!req->nr_sectors || !in_range(image, req))
		return -EINVAL;

	req->write = ring_req->lg.iomode == BLKTAP_IOMODE_WRITE;
	if (req->write && image->rdonly)
		return -EROFS;
	image->driver->layout_get(image, req);
	return 0;
}

static int start_layoutcommit(struct tap *tap, const struct blktap_ring_request *ring_req,
			      struct image_request *req)
{
	struct image *image = tap->image;
	struct tap_request *tap_req = container_of(req, struct tap_request, image);

	if (!tap->grants)
		return -EOPNOTSUPP;
	if (ring_req->lc.nr_ranges > BLKTAP_EXTENTS_MAX)
		return -EINVAL;

	req->nr_extents = ring_req->lc.nr_ranges;
	memcpy(tap_req->extents, tap->layout[req->slot],
	       req->nr_extents * sizeof(tap_req->extents[0]));
	image->driver->layout_commit(image, req);
	return 0;
}

/* Not 0: the request was not taken by the image. */
static int start(struct tap *tap, const struct blktap_ring_request *ring_req,
		 struct image_request *req)
{
	if (!tap->image)
		return -EIO;

	switch (ring_req->operation) {
	case BLKTAP_OP_READ:
	case BLKTAP_OP_WRITE:
		return start_transfer(tap, ring_req, req);
	case BLKTAP_OP_FLUSH:
		tap->image->driver->flush(tap->image, req);
		return 0;
	case BLKTAP_OP_TRIM:
		return start_trim(tap, ring_req, req);
	case BLKTAP_OP_LAYOUTGET:
		return start_layoutget(tap, ring_req, req);
	case BLKTAP_OP_LAYOUTCOMMIT:
		return start_layoutcommit(tap, ring_req, req);
	default:
		return -EOPNOTSUPP;
	}
}

static void take_request(struct tap *tap, const struct blktap_ring_request *ring_req)
{
	struct tap_request *req;
	int err;

	tap->stats.requests++;
	if (ring_req->id >= BLKTAP_RING_SIZE || tap->requests[ring_req->id].busy) {
		syslog(LOG_CRIT, "minor %u: the ring has a request with bad slot %llu",
		       tap->minor, (unsigned long long)ring_req->id);
		respond(tap, ring_req->id, ring_req->operation, -EINVAL, 0);
		return;
	}

	req = &tap->requests[ring_req->id];
	req->busy = true;
	req->operation = ring_req->operation;
	tap->in_flight++;
	err = start(tap, ring_req, &req->image);
	if (err) {
		syslog(LOG_ERR, "minor %u: request refused (operation %u): %s", tap->minor,
		       ring_req->operation, strerror(-err));
		request_done(&req->image, err);
	}
}

/*
 * The kernel looks at req_event after it has published req_prod, and we at
 * req_prod after req_event: a full barrier on both sides, so that one of us
 * sees the other's.
 */
static bool more_requests(struct tap *tap)
{
	__atomic_store_n(&tap->ring->req_event, tap->req_cons + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&tap->ring->req_prod, __ATOMIC_RELAXED) != tap->req_cons;
}

bool ring_take(struct tap *tap)
{
	struct blktap_ring *ring = tap->ring;

	if (__atomic_load_n(&ring->req_prod, __ATOMIC_RELAXED) == tap->req_cons)
		return false;
	do {
		uint32_t prod = __atomic_load_n(&ring->req_prod, __ATOMIC_ACQUIRE);

		while (tap->req_cons != prod) {
			struct blktap_ring_request copy;

			memcpy(&copy, &ring->ring[tap->req_cons++ % BLKTAP_RING_SIZE].req,
			       sizeof(copy));
			/* All that follows is about the copy. */
			__atomic_signal_fence(__ATOMIC_SEQ_CST);
			take_request(tap, &copy);
		}
	} while (more_requests(tap));
	return true;
}

static void ring_ready(struct loop_source *source, uint32_t events)
{
	struct tap *tap = container_of(source, struct tap, source);

	tap->stats.wakeups++;
	ring_take(tap);
	/* The kernel has given the tap up: no use in being told again and again. */
	if (events & (EPOLLHUP | EPOLLERR))
		loop_del(&tap->tapdisk->loop, source);
}

void ring_publish(struct tap *tap)
{
	/* Nobody but us writes rsp_prod. */
	if (tap->rsp_prod == tap->ring->rsp_prod)
		return;

	__atomic_store_n(&tap->ring->rsp_prod, tap->rsp_prod, __ATOMIC_RELEASE);
	tap->stats.kicks++;
	if (ioctl(tap->source.fd, BLKTAP_IOCTL_RESPOND))
		syslog(LOG_ERR, "minor %u: handing over responses: %m", tap->minor);
}

static void layout_map(struct tap *tap)
{
	off_t offset = BLKTAP_LAYOUT_PGOFF * sysconf(_SC_PAGESIZE);
	void *map = mmap(NULL, layout_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED,
			 tap->source.fd, offset);

	if (map != MAP_FAILED)
		tap->layout = map;
	else
		syslog(LOG_INFO, "minor %u: no layout mode: %m", tap->minor);
}

int ring_map(struct tap *tap)
{
	void *map = mmap(NULL, ring_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED,
			 tap->source.fd, 0);

	if (map == MAP_FAILED)
		return -errno;

	tap->ring = map;
	tap->page_size = (size_t)sysconf(_SC_PAGESIZE);
	tap->req_cons = tap->ring->rsp_prod;
	tap->rsp_prod = tap->ring->rsp_prod;
	tap->source.ready = ring_ready;
	for (unsigned int i = 0; i < BLKTAP_RING_SIZE; i++) {
		tap->requests[i].tap = tap;
		tap->requests[i].image.slot = i;
		tap->requests[i].image.done = request_done;
		tap->requests[i].image.extents = tap->requests[i].extents;
	}
	layout_map(tap);
	more_requests(tap);	/* sets req_event; requests come after OPEN */
	return 0;
}

void ring_unmap(struct tap *tap)
{
	if (tap->layout)
		munmap(tap->layout, layout_bytes());
	munmap(tap->ring, ring_bytes());
}
