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
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fuzz.h"
#include "lib/granter.h"
#include "lib/nl.h"

#define STEPS		200	/* of a round */
#define DEVICE_FLAGS	(BLKTAP_DEVICE_FLUSH | BLKTAP_DEVICE_TRIM | BLKTAP_DEVICE_BLOCK | \
			 BLKTAP_DEVICE_RELEASE | BLKTAP_DEVICE_TRIM_RZ | BLKTAP_DEVICE_ERRNO)
#define LAYOUT_BYTES	((size_t)BLKTAP_RING_SIZE * B2_PAGE)

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

static bool td_try_map(struct td *td, struct fuzz *f)
{
	*td = (struct td) { .f = f };
	td->fd = open(f->tap.ring_node, O_RDWR | O_CLOEXEC);
	CHECK_OK(td->fd);
	td->ring = mmap(NULL, B2_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, td->fd, 0);
	return td->ring != MAP_FAILED;
}

static void td_map(struct td *td, struct fuzz *f)
{
	CHECK(td_try_map(td, f), "%s", strerror(errno));
}

static int any_file(struct fuzz *f)
{
	return fuzz_once_in(f, 4) ? memfd_create("fuzz", MFD_CLOEXEC) :
				    scratch_file((off_t)fuzz_below(f, FUZZ_SECTORS) * B2_SECTOR);
}

/* The layout pages, and some files. */
static void td_map_layout(struct td *td)
{
	td->pages = granter_map_layout(&(struct tap) { .fd = td->fd });
	CHECK(td->pages != MAP_FAILED, "%s", strerror(errno));
	for (int n = 1 + fuzz_below(td->f, 3); n; n--) {
		struct blktap_file file = {
			.fd = any_file(td->f),
			.flags = td->nr_files && fuzz_once_in(td->f, 2) ? 0 : BLKTAP_FILE_WRITE,
		};

		CHECK_OK(ioctl(td->fd, BLKTAP_IOCTL_ADD_FILE, &file));
		close(file.fd);
		td->nr_files++;
	}
}

/* Return: what it is made of. */
static struct blktap_params td_create(struct td *td, unsigned long flags)
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
	return p;
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
	static const int16_t statuses[] = {
		BLKTAP_RSP_OKAY, BLKTAP_RSP_ERROR, BLKTAP_RSP_EOPNOTSUPP, -ENOSPC, -ETIMEDOUT,
		-EIO, -4095,
	};
	unsigned int i = fuzz_below(td->f, td->nr);
	struct blktap_ring_request r = td->todo[i];
	struct blktap_ring_response rsp = { .id = r.id, .operation = r.operation };

	td->todo[i] = td->todo[--td->nr];
	if (r.operation == BLKTAP_OP_LAYOUTGET && td->pages)
		rsp.nr_extents = random_grant(td, &r);
	if (!well) {
		rsp.status = statuses[fuzz_below(td->f, sizeof(statuses) / sizeof(statuses[0]))];
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
	int file = any_file(td->f);

	fuzz_ioctl(td->f, td->fd, fuzz_ioctl_cmd(td->f), file);
	close(file);
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
		fuzz_scratch(td->f, td->pages, LAYOUT_BYTES);
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
		munmap(td->pages, LAYOUT_BYTES);
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

static void layout_round(struct fuzz *f)
{
	struct td td;

	td_map(&td, f);
	td_map_layout(&td);
	td_create(&td, BLKTAP_DEVICE_LAYOUT);
	if (fuzz_once_in(f, 2))
		td_run(&td, td.ring, B2_PAGE);
	else
		td_run(&td, td.pages, LAYOUT_BYTES);
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
	else if (layout)
		m->td.pages = m->at[i];
	else
		m->td.ring = m->at[i];
}

static void unmap_one(struct maps *m, unsigned int i)
{
	if (fuzz_once_in(m->td.f, 3)) {
		munmap((char *)m->at[i] + fuzz_below(m->td.f, 8) * B2_PAGE, B2_PAGE);
		return;
	}
	munmap(m->at[i], m->len[i]);
	if ((void *)m->td.pages == m->at[i])
		m->td.pages = NULL;
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
	if ((void *)m->td.pages == m->at[i])
		m->td.pages = at;
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
	struct fuzz own = { .state = fuzz_u64(m->td.f), .tap = m->td.f->tap };
	pid_t pid = fork();

	CHECK_OK(pid);
	if (!pid) {
		m->td.f = &own;
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
	bool layout = fuzz_once_in(f, 2);
	struct blktap_params p = {
		.capacity = FUZZ_SECTORS, .sector_size = B2_SECTOR,
		.flags = layout ? BLKTAP_DEVICE_LAYOUT : 0,
	};
	struct blktap_params tried;
	struct maps m;

	memset(&m, 0, sizeof(m));
	td_map(&m.td, f);
	m.at[0] = m.td.ring;
	m.len[0] = B2_MAP_BYTES;
	if (layout) {
		td_map_layout(&m.td);
		m.at[1] = m.td.pages;
		m.len[1] = LAYOUT_BYTES;
	}
	for (int i = 0; i < 100; i++) {
		tried = p;
		if ((layout && !i) || fuzz_once_in(f, 8))
			ioctl(m.td.fd, BLKTAP_IOCTL_CREATE_DEVICE, &tried);
		maps_step(&m);
		fuzz_touch(serve_some, &m);
		ioctl(m.td.fd, BLKTAP_IOCTL_RESPOND);
	}
}

static void mappings_come_and_go(void)
{
	fuzz_rounds(__func__, maps_round, 2);
}

/* --- heirs ----------------------------------------------------------------------- */

#define HONEST_STEPS	2000	/* of the first tapdisk, at most: it waits for users */
#define IMAGE		"aio:/image"

/* Of an honest tapdisk that has gone; for the one whose turn it is. */
struct legacy {
	struct fuzz f;			/* its own random numbers */
	struct blktap_params params;	/* of the disk */
	bool layout;
	bool by_order;			/* it is told to serve the orphan */
	pid_t pid;			/* and has registered */
};

static void turn(struct legacy *l, struct fuzz *f)
{
	l->f.state = fuzz_u64(f);
	l->f.tap = f->tap;
	l->by_order = fuzz_once_in(f, 2);
}

/*
 * A part of what is asked for, so that there is more to ask; the lower half of the disk
 * is new, and has to be committed.
 */
static struct blktap_extent honest_extent(struct td *td, const struct blktap_ring_request *r)
{
	bool new = r->lg.sector_number < FUZZ_SECTORS / 2;
	struct blktap_extent e = {
		.sector = r->lg.sector_number, .nr_sectors = 8ULL << fuzz_below(td->f, 10),
		.offset = r->lg.sector_number * B2_SECTOR,
		.state = r->lg.iomode == BLKTAP_IOMODE_WRITE ?
			 (new ? BLKTAP_EXT_INVALID_DATA : BLKTAP_EXT_READ_WRITE_DATA) :
			 (new ? BLKTAP_EXT_NONE_DATA : BLKTAP_EXT_READ_DATA),
	};

	if (e.nr_sectors > r->lg.nr_sectors)
		e.nr_sectors = r->lg.nr_sectors;
	return e;
}

/* Return: it was a write's. */
static bool honest_answer(struct td *td)
{
	struct blktap_ring_request r = td->todo[--td->nr];
	struct blktap_ring_response rsp = { .id = r.id, .operation = r.operation };

	if (r.operation == BLKTAP_OP_LAYOUTGET) {
		td->pages[r.id % BLKTAP_RING_SIZE][0] = honest_extent(td, &r);
		rsp.nr_extents = 1;
	}
	td_put(td, rsp);
	return r.operation == BLKTAP_OP_WRITE ||
	       (r.operation == BLKTAP_OP_LAYOUTGET && r.lg.iomode == BLKTAP_IOMODE_WRITE);
}

static void leave_note(struct td *td)
{
	struct blktap_keep keep = { .fd = memfd_create("note", MFD_CLOEXEC) };

	CHECK(write(keep.fd, IMAGE, sizeof(IMAGE)) == sizeof(IMAGE));
	CHECK_OK(ioctl(td->fd, BLKTAP_IOCTL_KEEP, &keep));
	close(keep.fd);
}

/* Until some writes have been done. */
static void serve_well(struct td *td)
{
	struct pollfd p = { .fd = td->fd, .events = POLLIN };
	unsigned int writes = 1 + fuzz_below(td->f, 16);

	for (int n = 0; n < HONEST_STEPS && writes; n++) {
		td_take(td);
		if (!td->nr)
			poll(&p, 1, 1);
		else if (!fuzz_once_in(td->f, 4))
			writes -= honest_answer(td);
		CHECK_OK(ioctl(td->fd, BLKTAP_IOCTL_RESPOND));
	}
}

/* Dies with what it has not answered, and some time after its last answer. */
static int first_run(void *arg)
{
	struct legacy *l = arg;
	struct td td;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	td_map(&td, &l->f);
	if (l->layout)
		td_map_layout(&td);
	l->params = td_create(&td, l->layout ? BLKTAP_DEVICE_LAYOUT : 0);
	leave_note(&td);
	serve_well(&td);
	nap_ms(fuzz_below(&l->f, 20));
	return 0;
}

/* The note: read, cut short, written over, or gone; as others may have left it. */
static void tamper_with_note(struct td *td)
{
	struct blktap_keep keep = { .fd = -1 };
	char text[64];

	if (ioctl(td->fd, BLKTAP_IOCTL_KEPT, &keep))
		return;
	(void)!pread(keep.fd, text, sizeof(text), 0);
	if (fuzz_once_in(td->f, 2))
		(void)!ftruncate(keep.fd, fuzz_below(td->f, 2 * B2_PAGE));
	(void)!pwrite(keep.fd, text, sizeof(text), fuzz_below(td->f, B2_PAGE));
	close(keep.fd);
}

/* Other files, or as many as its forerunner had not, and what only a server may do. */
static void prepare(struct td *td, const struct legacy *l)
{
	if (l->layout && !fuzz_once_in(td->f, 8)) {
		td->pages = granter_map_layout(&(struct tap) { .fd = td->fd });
		td->pages = td->pages == MAP_FAILED ? NULL : td->pages;
	}
	for (unsigned int n = fuzz_below(td->f, 4); n; n--) {
		struct blktap_file file = {
			.fd = any_file(td->f), .flags = fuzz_below(td->f, 2) * BLKTAP_FILE_WRITE,
		};

		td->nr_files += !ioctl(td->fd, BLKTAP_IOCTL_ADD_FILE, &file);
		close(file.fd);
	}
	if (fuzz_once_in(td->f, 2))
		tamper_with_note(td);
	for (unsigned int n = fuzz_below(td->f, 3); n; n--)
		misplaced_ioctl(td);
	if (fuzz_once_in(td->f, 16))
		replay(td);
	if (fuzz_once_in(td->f, 4))
		ioctl(td->fd, BLKTAP_IOCTL_RESPOND);
}

/* Says that it has another disk, once or twice, then mostly the right one. */
static void join(struct td *td, const struct legacy *l)
{
	for (unsigned int n = fuzz_below(td->f, 3); n; n--) {
		union fuzz_arg wrong = { .params = l->params };

		wrong.words[fuzz_below(td->f, sizeof(l->params) / 8)] = fuzz_value(td->f);
		ioctl(td->fd, BLKTAP_IOCTL_CREATE_DEVICE, &wrong);
	}
	if (!fuzz_once_in(td->f, 8)) {
		struct blktap_params right = l->params;

		ioctl(td->fd, BLKTAP_IOCTL_CREATE_DEVICE, &right);
	}
}

static int recover(void *arg)
{
	struct legacy *l = arg;
	struct nl_msg *msg;
	struct btnl nl;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	btnl_open(&nl);
	msg = btnl_new(&nl, BLKTAP_CMD_RECOVER);
	nla_put_u32(msg, BLKTAP_A_MINOR, l->f.tap.h.minor);
	nla_put_u32(msg, BLKTAP_A_PID, l->pid);
	nla_put_u32(msg, BLKTAP_A_TIMEOUT, 2);
	if (!btnl_send_for_ack(&nl, msg))
		btnl_wait_done(&nl, nl.seq, 3);
	return 0;
}

/* Does what the order says, before or after it has said so, or not at all. */
static void obey(struct td *td, struct legacy *l, int channel, const struct blktap_order *o)
{
	bool first = fuzz_once_in(td->f, 8), never = fuzz_once_in(td->f, 16);
	int status = fuzz_once_in(td->f, 8) ? (int)fuzz_value(td->f) : 0;

	if (first)
		channel_write(channel, o->id, status, "");
	if (o->op == BLKTAP_ORDER_ATTACH && td_try_map(td, &l->f))
		prepare(td, l);
	else if (o->op == BLKTAP_ORDER_OPEN && o->flags & BLKTAP_ORDER_F_JOIN)
		join(td, l);
	if (!first && !never)
		channel_write(channel, o->id, status, "");
}

/* Return: it was told to map the ring. */
static bool serve_by_order(struct td *td, struct legacy *l)
{
	struct order o = { 0 };
	int channel = channel_open(), result;
	pid_t admin;

	l->pid = getpid();
	*td = (struct td) { .f = &l->f, .fd = -1, .ring = MAP_FAILED };
	admin = child_start(recover, l);
	while (o.o.op != BLKTAP_ORDER_OPEN && !child_is_done(admin, &result))
		if (channel_wait(channel, 0.001) && channel_read(channel, &o, 1))
			obey(td, l, channel, &o.o);
	return td->ring != MAP_FAILED;
}

/* It is an admin's. Return: false: the lies of one before it have failed the tap. */
static bool serve_by_hand(struct td *td, struct legacy *l)
{
	if (!td_try_map(td, &l->f))
		return false;
	prepare(td, l);
	join(td, l);
	return true;
}

static int heir_run(void *arg)
{
	struct legacy *l = arg;
	struct td td;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!(l->by_order ? serve_by_order(&td, l) : serve_by_hand(&td, l)))
		return 0;
	if (td.pages && fuzz_once_in(&l->f, 2))
		td_run(&td, td.pages, LAYOUT_BYTES);
	else
		td_run(&td, td.ring, B2_PAGE);
	return 0;
}

static bool is_orphan(const struct fuzz *f)
{
	char text[64];

	return sysfs_read(f->tap.sysfs, "orphan", text, sizeof(text)) &&
	       !strcmp(text, "rw " IMAGE);
}

/* One after the other: what the last one did is what the next one finds. */
static void heirs_round(struct fuzz *f)
{
	struct legacy *l = shared_alloc(sizeof(*l));

	CHECK_OK(sysfs_write(f->tap.sysfs, "name", IMAGE));
	l->layout = !fuzz_once_in(f, 4);
	turn(l, f);
	CHECK(in_child(first_run, l) == 0);
	CHECK(is_orphan(f), "an honest tapdisk left no orphan");
	for (unsigned int n = 1 + fuzz_below(f, 3); n; n--) {
		turn(l, f);
		CHECK(in_child(heir_run, l) == 0);
	}
}

static void an_orphan_s_heirs_lie(void)
{
	fuzz_rounds(__func__, heirs_round, FUZZ_IO);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(answers_and_the_shared_page),
	KTAP_CASE(grants_and_their_pages),
	KTAP_CASE(mappings_come_and_go),
	KTAP_CASE(an_orphan_s_heirs_lie),
};

int main(int argc, char **argv)
{
	return fuzz_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
