// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random tapdisks: what they answer, grant, write to shared memory and do to
 * their mappings while the disk is in use. The kernel must see to it that
 * nothing but their own tap suffers.
 *
 * kernels: uml kdbg
 * timeout: 300 + FUZZ_SECONDS
 */
#include <fcntl.h>
#include <linux/blktap.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fuzz.h"
#include "lib/granter.h"

#define STEPS		200	/* of a round */
#define DEVICE_FLAGS	(BLKTAP_DEVICE_FLUSH | BLKTAP_DEVICE_TRIM | BLKTAP_DEVICE_BLOCK | \
			 BLKTAP_DEVICE_RELEASE)

/* A tapdisk and what it has not answered. */
struct td {
	struct fuzz *f;
	struct blktap_ring *ring;
	struct blktap_extent (*pages)[BLKTAP_EXTENTS_MAX];
	int fd;
	int nr_files;
	uint32_t req_cons;
	unsigned int nr;
	struct blktap_ring_request todo[BLKTAP_RING_SIZE];
};

static void td_map(struct td *td, struct fuzz *f)
{
	*td = (struct td) { .f = f };
	td->fd = open(f->tap.ring_node, O_RDWR | O_CLOEXEC);
	CHECK_OK(td->fd);
	td->ring = mmap(NULL, B2_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, td->fd, 0);
	CHECK(td->ring != MAP_FAILED, "%s", strerror(errno));
}

static void td_create(struct td *td, unsigned long flags)
{
	struct blktap_params p = {
		.capacity = FUZZ_SECTORS,
		.sector_size = B2_SECTOR << (fuzz_once_in(td->f, 8) ? 3 : 0),
		.flags = flags | (fuzz_u64(td->f) & DEVICE_FLAGS),
		.trim_block_size = B2_PAGE,
		.block_size = 1U << (12 + fuzz_below(td->f, 10)),
	};

	/* Not all flags go with each other. */
	if (ioctl(td->fd, BLKTAP_IOCTL_CREATE_DEVICE, &p)) {
		p.flags = flags;
		CHECK_OK(ioctl(td->fd, BLKTAP_IOCTL_CREATE_DEVICE, &p));
	}
}

/* Takes what was posted, as far as it makes sense: the page may be full of rubbish. */
static void td_take(struct td *td)
{
	while (td->req_cons != td->ring->req_prod && td->nr < BLKTAP_RING_SIZE)
		td->todo[td->nr++] = td->ring->ring[td->req_cons++ % BLKTAP_RING_SIZE].req;
}

static void td_put(struct td *td, struct blktap_ring_response rsp)
{
	td->ring->ring[td->ring->rsp_prod % BLKTAP_RING_SIZE].rsp = rsp;
	__atomic_store_n(&td->ring->rsp_prod, td->ring->rsp_prod + 1, __ATOMIC_RELEASE);
}

static struct blktap_extent random_extent(struct td *td, const struct blktap_ring_request *r)
{
	struct fuzz *f = td->f;
	struct blktap_extent e = {
		.sector = r->lg.sector_number & -(1ULL << fuzz_below(f, 14)),
		.nr_sectors = 1ULL << fuzz_below(f, 14),
		.file = td->nr_files ? fuzz_below(f, td->nr_files) : 0,
		.state = fuzz_below(f, 4),
	};

	if (e.nr_sectors > FUZZ_SECTORS - e.sector)
		e.nr_sectors = FUZZ_SECTORS - e.sector;
	e.offset = fuzz_once_in(f, 4) ? (uint64_t)fuzz_below(f, FUZZ_SECTORS) * 512 :
					e.sector * 512;
	if (fuzz_once_in(f, 100))
		e.sector = fuzz_value(f);
	if (fuzz_once_in(f, 100))
		e.nr_sectors = fuzz_value(f);
	if (fuzz_once_in(f, 100))
		e.offset = fuzz_value(f);
	if (fuzz_once_in(f, 100))
		e.file = fuzz_value(f);
	if (fuzz_once_in(f, 100))
		e.state = fuzz_value(f);
	return e;
}

/* What mostly is right: an extent that serves the request, and sometimes more. */
static unsigned int random_grant(struct td *td, const struct blktap_ring_request *r)
{
	struct blktap_extent *e = td->pages[r->id % BLKTAP_RING_SIZE];
	struct fuzz *f = td->f;
	unsigned int nr = 1 + fuzz_once_in(f, 3);

	for (unsigned int i = 0; i < nr; i++)
		e[i] = random_extent(td, r);
	if (!fuzz_once_in(f, 16)) {
		e[0].state = r->lg.iomode ? fuzz_below(f, 2) * 2 : fuzz_below(f, 2);
		e[0].file = 0;
	}
	if (nr == 2 && !fuzz_once_in(f, 4)) {
		e[1].sector = e[0].sector + e[0].nr_sectors;
		nr = e[1].sector < FUZZ_SECTORS ? 2 : 1;
	}
	return fuzz_once_in(f, 100) ? fuzz_value(f) : nr;
}

static void answer(struct td *td, bool well)
{
	unsigned int i = fuzz_below(td->f, td->nr);
	struct blktap_ring_request r = td->todo[i];
	struct blktap_ring_response rsp = { .id = r.id, .operation = r.operation };

	td->todo[i] = td->todo[--td->nr];
	if (r.operation == BLKTAP_OP_LAYOUTGET && td->pages)
		rsp.nr_extents = random_grant(td, &r);
	if (!well) {
		rsp.status = fuzz_below(td->f, 3) - 2;
		if (fuzz_once_in(td->f, 8))
			fuzz_scratch(td->f, &rsp, sizeof(rsp));
	}
	td_put(td, rsp);
}

static void replay(struct td *td)
{
	td_put(td, td->ring->ring[fuzz_below(td->f, BLKTAP_RING_SIZE)].rsp);
}

/* Ioctls that a tapdisk has, at the wrong moment. */
static void misplaced_ioctl(struct td *td)
{
	static const unsigned int cmds[] = {
		BLKTAP_IOCTL_SET_PARAMS, BLKTAP_IOCTL_PAUSE, BLKTAP_IOCTL_REOPEN,
		BLKTAP_IOCTL_RESUME, BLKTAP_IOCTL_REMOVE_DEVICE, BLKTAP_IOCTL_CREATE_DEVICE,
		BLKTAP_IOCTL_ADD_FILE, BLKTAP_IOCTL_RESPOND, BLKTAP_IOCTL_RECALL,
	};
	uint64_t arg[64];

	for (size_t i = 0; i < 64; i++)
		arg[i] = fuzz_once_in(td->f, 4) ? fuzz_value(td->f) : 0;
	ioctl(td->fd, cmds[fuzz_below(td->f, sizeof(cmds) / sizeof(cmds[0]))], arg);
}

/* Takes back some of what it has granted. */
static void recall(struct td *td)
{
	struct blktap_recall r = {
		.cookie = fuzz_u64(td->f),
		.sector = fuzz_below(td->f, FUZZ_SECTORS),
		.nr_sectors = 1 + fuzz_below(td->f, FUZZ_SECTORS),
	};

	if (fuzz_once_in(td->f, 8))
		r.sector = fuzz_value(td->f);
	if (fuzz_once_in(td->f, 8))
		r.nr_sectors = fuzz_value(td->f);
	ioctl(td->fd, BLKTAP_IOCTL_RECALL, &r);
}

static void step(void *arg)
{
	struct td *td = arg;
	struct pollfd p = { .fd = td->fd, .events = POLLIN };
	unsigned int what = fuzz_below(td->f, 1000);

	td_take(td);
	if (!td->nr && what >= 20)
		poll(&p, 1, 1);
	else if (what < 4)
		td->ring->rsp_prod += fuzz_value(td->f);
	else if (what < 8)
		replay(td);
	else if (what < 12)
		fuzz_scratch(td->f, td->ring, sizeof(*td->ring));
	else if (what < 20)
		misplaced_ioctl(td);
	else if (what < 30 && td->pages)
		recall(td);
	else if (what < 40 && td->pages)
		fuzz_scratch(td->f, td->pages, sizeof(*td->pages) * BLKTAP_RING_SIZE);
	else if (what < 60)
		fuzz_scratch(td->f, (char *)td->ring + B2_PAGE, B2_MAP_BYTES - B2_PAGE);
	else if (td->nr)
		answer(td, what >= 100);
	if (fuzz_once_in(td->f, 3))
		ioctl(td->fd, BLKTAP_IOCTL_RESPOND);
}

struct rewriter {
	struct fuzz f;
	void *at;
	size_t size;
	_Atomic bool stop;
};

static void rewrite(void *arg)
{
	struct rewriter *w = arg;

	for (int n = 0; n < 100 && !w->stop; n++)
		fuzz_scratch(&w->f, w->at, w->size);
}

static void *rewriter_run(void *arg)
{
	struct rewriter *w = arg;

	while (!w->stop) {
		fuzz_touch(rewrite, w);
		sched_yield();
	}
	return NULL;
}

/* The end: by exit, or by letting go step by step. */
static void td_end(struct td *td)
{
	if (fuzz_once_in(td->f, 2))
		return;
	if (td->pages && fuzz_once_in(td->f, 2))
		munmap(td->pages, sizeof(*td->pages) * BLKTAP_RING_SIZE);
	if (fuzz_once_in(td->f, 2))
		close(td->fd);
	munmap(td->ring, B2_MAP_BYTES);
}

static void td_run(struct td *td, void *at, size_t size)
{
	struct rewriter w = { .f.state = fuzz_u64(td->f), .at = at, .size = size };
	bool rewrites = fuzz_once_in(td->f, 4);
	pthread_t thread;

	if (rewrites)
		CHECK(!pthread_create(&thread, NULL, rewriter_run, &w));
	for (int i = 0; i < STEPS; i++)
		fuzz_touch(step, td);
	w.stop = true;
	if (rewrites)
		pthread_join(thread, NULL);
	td_end(td);
}

static void ring_round(struct fuzz *f)
{
	struct td td;

	td_map(&td, f);
	td_create(&td, 0);
	td_run(&td, td.ring, B2_PAGE);
}

static void answers_and_the_shared_page(void)
{
	fuzz_rounds(__func__, ring_round, FUZZ_IO);
}

static int any_file(struct fuzz *f)
{
	return fuzz_once_in(f, 4) ? memfd_create("fuzz", MFD_CLOEXEC) :
				    scratch_file((off_t)fuzz_below(f, FUZZ_SECTORS) * B2_SECTOR);
}

static void layout_round(struct fuzz *f)
{
	struct td td;

	td_map(&td, f);
	td.pages = granter_map_layout(&(struct tap) { .fd = td.fd });
	CHECK(td.pages != MAP_FAILED, "%s", strerror(errno));
	for (int n = 1 + fuzz_below(f, 3); n; n--) {
		struct blktap_file file = {
			.fd = any_file(f),
			.flags = td.nr_files && fuzz_once_in(f, 2) ? 0 : BLKTAP_FILE_WRITE,
		};

		CHECK_OK(ioctl(td.fd, BLKTAP_IOCTL_ADD_FILE, &file));
		close(file.fd);
		td.nr_files++;
	}
	td_create(&td, BLKTAP_DEVICE_LAYOUT);
	if (fuzz_once_in(f, 2))
		td_run(&td, td.ring, B2_PAGE);
	else
		td_run(&td, td.pages, sizeof(*td.pages) * BLKTAP_RING_SIZE);
}

static void grants_and_their_pages(void)
{
	fuzz_rounds(__func__, layout_round, FUZZ_IO);
}

/* --- mappings -------------------------------------------------------------------- */

#define REGIONS	6

struct maps {
	struct td td;
	void *at[REGIONS];
	size_t len[REGIONS];
};

static void map_one(struct maps *m, unsigned int i)
{
	static const size_t lens[] = {
		B2_MAP_BYTES, (size_t)BLKTAP_RING_SIZE * B2_PAGE, B2_PAGE, 2 * B2_MAP_BYTES,
	};
	struct fuzz *f = m->td.f;
	bool layout = fuzz_once_in(f, 3);
	size_t len = fuzz_once_in(f, 6) ? lens[fuzz_below(f, 4)] : lens[layout];
	off_t at = fuzz_once_in(f, 8) ? (off_t)fuzz_below(f, 1024) * B2_PAGE :
					(off_t)layout * BLKTAP_LAYOUT_PGOFF * B2_PAGE;
	int prot = fuzz_once_in(f, 8) ? fuzz_below(f, 8) : PROT_READ | PROT_WRITE;
	int flags = fuzz_once_in(f, 8) ? MAP_PRIVATE : MAP_SHARED;

	if (fuzz_once_in(f, 8))
		flags |= MAP_POPULATE;
	m->at[i] = mmap(NULL, len, prot, flags, m->td.fd, at);
	m->len[i] = len;
	if (m->at[i] == MAP_FAILED)
		m->at[i] = NULL;
	else if (!layout)
		m->td.ring = m->at[i];
}

static void unmap_one(struct maps *m, unsigned int i)
{
	if (fuzz_once_in(m->td.f, 3)) {
		munmap((char *)m->at[i] + fuzz_below(m->td.f, 8) * B2_PAGE, B2_PAGE);
		return;
	}
	munmap(m->at[i], m->len[i]);
	m->at[i] = NULL;
}

static void remap_one(struct maps *m, unsigned int i)
{
	struct fuzz *f = m->td.f;
	size_t len = fuzz_once_in(f, 2) ? m->len[i] :
					  (size_t)(1 + fuzz_below(f, 400)) * B2_PAGE;
	void *to = mmap(NULL, 4 * B2_MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int flags = fuzz_once_in(f, 2) ? MREMAP_MAYMOVE | MREMAP_FIXED : MREMAP_MAYMOVE;
	void *at;

	if (fuzz_once_in(f, 4))
		flags |= MREMAP_DONTUNMAP | MREMAP_MAYMOVE;
	at = mremap(m->at[i], m->len[i], len, flags, to);
	if (at == MAP_FAILED)
		return;
	if (m->td.ring == m->at[i])
		m->td.ring = at;
	m->at[i] = at;
	m->len[i] = len;
}

static void touch_all(void *arg)
{
	struct maps *m = arg;

	for (int i = 0; i < REGIONS; i++)
		for (size_t at = 0; m->at[i] && at < m->len[i]; at += 16 * B2_PAGE)
			++((volatile char *)m->at[i])[at + 3000];
}

/* The child has what was let through to it, uses it and tries to take over. */
static void fork_one(struct maps *m)
{
	pid_t pid = fork();

	CHECK_OK(pid);
	if (!pid) {
		fuzz_touch(touch_all, m);
		for (int i = 0; i < 4; i++) {
			ioctl(m->td.fd, BLKTAP_IOCTL_RESPOND);
			map_one(m, fuzz_below(m->td.f, REGIONS));
		}
		fuzz_touch(touch_all, m);
		_exit(0);
	}
	if (!fuzz_once_in(m->td.f, 4))
		waitpid(pid, NULL, 0);
}

static void serve_some(void *arg)
{
	struct td *td = &((struct maps *)arg)->td;

	td_take(td);
	while (td->nr)
		answer(td, true);
}

static void maps_step(struct maps *m)
{
	static const int advice[] = {
		MADV_DOFORK, MADV_DONTFORK, MADV_DONTNEED, MADV_WILLNEED, MADV_REMOVE, MADV_COLD,
		MADV_PAGEOUT, MADV_FREE, MADV_DODUMP, MADV_MERGEABLE, MADV_POPULATE_WRITE,
	};
	struct fuzz *f = m->td.f;
	unsigned int i = fuzz_below(f, REGIONS);

	if (!m->at[i]) {
		map_one(m, i);
		return;
	}
	switch (fuzz_below(f, 24)) {
	case 0:
		unmap_one(m, i);
		break;
	case 1:
		remap_one(m, i);
		break;
	case 2:
		mprotect(m->at[i], fuzz_once_in(f, 2) ? B2_PAGE : m->len[i], fuzz_below(f, 8));
		break;
	case 3:
		fork_one(m);
		break;
	case 4:
		msync(m->at[i], m->len[i], MS_SYNC);
		break;
	case 5:
		fuzz_once_in(f, 2) ? mlock(m->at[i], m->len[i]) : munlock(m->at[i], m->len[i]);
		break;
	case 6:
		misplaced_ioctl(&m->td);
		break;
	case 7 ... 10:
		madvise(m->at[i], m->len[i], advice[fuzz_below(f, sizeof(advice) /
								   sizeof(advice[0]))]);
		break;
	default:
		fuzz_touch(touch_all, m);
	}
}

static void maps_round(struct fuzz *f)
{
	struct blktap_params p = { .capacity = FUZZ_SECTORS, .sector_size = B2_SECTOR };
	struct maps m;

	memset(&m, 0, sizeof(m));
	td_map(&m.td, f);
	m.at[0] = m.td.ring;
	m.len[0] = B2_MAP_BYTES;
	for (int i = 0; i < 100; i++) {
		if (fuzz_once_in(f, 8))
			ioctl(m.td.fd, BLKTAP_IOCTL_CREATE_DEVICE, &p);
		maps_step(&m);
		fuzz_touch(serve_some, &m);
		ioctl(m.td.fd, BLKTAP_IOCTL_RESPOND);
	}
}

static void mappings_come_and_go(void)
{
	fuzz_rounds(__func__, maps_round, 2);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(answers_and_the_shared_page),
	KTAP_CASE(grants_and_their_pages),
	KTAP_CASE(mappings_come_and_go),
};

int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
