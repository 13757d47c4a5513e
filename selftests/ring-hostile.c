// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tapdisk that misbehaves: its own tap fails with one clear line in the
 * kernel's log and EIO for its users; or dies: its users wait, and can be told to
 * give up. Another tap goes on undisturbed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/nl.h"
#include "lib/server.h"
#include "lib/state.h"

#define DISK_SECTORS 2048

/* The tap that misbehaves, and one beside it. */
struct pair {
	struct server bad, good;
	struct tap bad_tap, good_tap;
	struct disk_io bad_io, good_io;
};

static void io_make(struct disk_io *io, struct tap *t)
{
	*io = (struct disk_io) {
		.node = t->disk_node, .flags = O_DIRECT, .write = true,
		.buf = shared_alloc(16384), .len = 16384,
	};
}

static void pair_up(struct pair *p)
{
	server_up(&p->good, &p->good_tap, DISK_SECTORS);
	io_make(&p->good_io, &p->good_tap);
	server_up(&p->bad, &p->bad_tap, DISK_SECTORS);
	io_make(&p->bad_io, &p->bad_tap);
	CHECK(in_child(do_disk_io, &p->bad_io) == 0);
	nap_ms(100 * ktap_scale());
	server_stop(&p->bad);
	kernel_log_mark();
}

/* Start I/O on the bad tap, and have its request, which nobody serves any more. */
static pid_t start_bad_io(struct pair *p, struct b2_request *r)
{
	struct b2_ring *ring = p->bad_tap.ring;
	pid_t pid = child_start(do_disk_io, &p->bad_io);

	while (__atomic_load_n(&ring->req_prod, __ATOMIC_ACQUIRE) == p->bad.req_cons)
		nap_ms(1);
	*r = ring->entry[p->bad.req_cons % B2_RING_SIZE].req;
	return pid;
}

static void expect_good_one_works(struct pair *p)
{
	memset(p->good_io.buf, rand(), p->good_io.len);
	CHECK(in_child(do_disk_io, &p->good_io) == 0);
	CHECK(!memcmp(p->good.data, p->good_io.buf, p->good_io.len));
}

static void free_bad_one(struct pair *p)
{
	tap_close(&p->bad_tap);
	tap_free(p->bad_tap.h.minor);
	CHECK(wait_until(tap_is_gone, &p->bad_tap, 10), "the failed tap can't be freed");
	CHECK(wait_until(disk_is_gone, &p->bad_tap, 10));
}

/* The bad one has misbehaved with @io under way. */
static void expect_failed(struct pair *p, pid_t io, const char *what)
{
	int err = child_wait(io), lines;

	CHECK(err == EIO, "%s: I/O gives %s", what, strerrorname_np(err) ?: "0");
	err = in_child(do_disk_io, &p->bad_io);
	CHECK(err == EIO || err == ENXIO || err == ENODEV, "%s: later I/O gives %s", what,
	      strerrorname_np(err) ?: "0");
	lines = kernel_log_wait("blktap", 2);
	CHECK(lines == 1, "%s: %d lines in the kernel's log", what, lines);
	expect_good_one_works(p);
	free_bad_one(p);
	expect_good_one_works(p);
}

static void pair_down(struct pair *p)
{
	server_down(&p->good);
}

/* --- wrong responses --------------------------------------------------------- */

struct wrong {
	const char *what;
	void (*answer)(struct server *s, const struct b2_request *r);
};

static void unknown_id(struct server *s, const struct b2_request *r)
{
	server_answer(s, 99, r->op, B2_OKAY);
}

static void id_just_outside(struct server *s, const struct b2_request *r)
{
	server_answer(s, B2_RING_SIZE, r->op, B2_OKAY);
}

static void huge_id(struct server *s, const struct b2_request *r)
{
	server_answer(s, -1ULL, r->op, B2_OKAY);
}

static void id_with_high_bits(struct server *s, const struct b2_request *r)
{
	server_answer(s, r->id | 1ULL << 32, r->op, B2_OKAY);
}

static void id_of_a_free_slot(struct server *s, const struct b2_request *r)
{
	server_answer(s, (r->id + 16) % B2_RING_SIZE, r->op, B2_OKAY);
}

static void wrong_operation(struct server *s, const struct b2_request *r)
{
	server_answer(s, r->id, r->op ^ 1, B2_OKAY);
}

static void unknown_operation(struct server *s, const struct b2_request *r)
{
	server_answer(s, r->id, 200, B2_OKAY);
}

static void positive_status(struct server *s, const struct b2_request *r)
{
	server_answer(s, r->id, r->op, 7);
}

static void negative_status(struct server *s, const struct b2_request *r)
{
	server_answer(s, r->id, r->op, -3);
}

static void most_negative_status(struct server *s, const struct b2_request *r)
{
	server_answer(s, r->id, r->op, -32768);
}

static void index_one_too_far(struct server *s, const struct b2_request *r)
{
	server_answer(s, r->id, r->op, B2_OKAY);
	s->tap->ring->rsp_prod += B2_RING_SIZE;
}

static void index_far_away(struct server *s, const struct b2_request *r)
{
	(void)r;
	s->tap->ring->rsp_prod += 0x40000000;
}

static void index_backwards(struct server *s, const struct b2_request *r)
{
	(void)r;
	s->tap->ring->rsp_prod -= 1;
}

static void index_ahead_of_requests(struct server *s, const struct b2_request *r)
{
	(void)r;
	s->tap->ring->rsp_prod = s->tap->ring->req_prod + 1;
}

static const struct wrong wrongs[] = {
	{ "unknown id", unknown_id },
	{ "id 32", id_just_outside },
	{ "id 2^64 - 1", huge_id },
	{ "id with high bits", id_with_high_bits },
	{ "id of a free slot", id_of_a_free_slot },
	{ "wrong operation", wrong_operation },
	{ "unknown operation", unknown_operation },
	{ "status 7", positive_status },
	{ "status -3", negative_status },
	{ "status -32768", most_negative_status },
	{ "rsp_prod more than a ring ahead", index_one_too_far },
	{ "rsp_prod far away", index_far_away },
	{ "rsp_prod backwards", index_backwards },
	{ "rsp_prod ahead of req_prod", index_ahead_of_requests },
};

static void wrong_answers_fail_the_tap(void)
{
	for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
		struct pair p = { 0 };
		struct b2_request r;
		pid_t io;

		pair_up(&p);
		io = start_bad_io(&p, &r);
		wrongs[i].answer(&p.bad, &r);
		ioctl(p.bad_tap.fd, B2_KICK);
		expect_failed(&p, io, wrongs[i].what);
		pair_down(&p);
	}
}

/* The first answer is good: what it is about may succeed. */
static void a_second_answer_fails_the_tap(void)
{
	struct pair p = { 0 };
	struct b2_request r;
	int err, lines;
	pid_t io;

	pair_up(&p);
	io = start_bad_io(&p, &r);
	server_answer(&p.bad, r.id, r.op, B2_OKAY);
	server_answer(&p.bad, r.id, r.op, B2_OKAY);
	ioctl(p.bad_tap.fd, B2_KICK);
	err = child_wait(io);
	CHECK(!err || err == EIO, "%s", strerror(err));
	err = in_child(do_disk_io, &p.bad_io);
	CHECK(err == EIO || err == ENXIO || err == ENODEV, "%s", strerror(err));
	lines = kernel_log_wait("blktap", 2);
	CHECK(lines == 1, "%d lines in the kernel's log", lines);
	free_bad_one(&p);
	expect_good_one_works(&p);
	pair_down(&p);
}

static void a_failed_tap_frees_without_its_tapdisk(void)
{
	struct pair p = { 0 };
	struct b2_request r;
	pid_t io;

	pair_up(&p);
	io = start_bad_io(&p, &r);
	unknown_id(&p.bad, &r);
	ioctl(p.bad_tap.fd, B2_KICK);
	CHECK(child_wait(io) == EIO);
	/* The ring is still mapped; it says CLOSE to whoever holds it. */
	tap_free(p.bad_tap.h.minor);
	expect_good_one_works(&p);
	free_bad_one(&p);
	pair_down(&p);
}

/* --- the shared page under the kernel's hands ------------------------------- */

struct hammer {
	struct tap *tap;
	uint32_t req_cons;		/* of the server that came before */
	size_t from, to;		/* bytes of the page */
	_Atomic bool stop;
};

static void *hammer_run(void *arg)
{
	struct hammer *h = arg;
	volatile uint8_t *page = (void *)h->tap->ring;
	unsigned int seed = 1;

	while (!h->stop)
		page[h->from + rand_r(&seed) % (h->to - h->from)] = rand_r(&seed);
	return NULL;
}

struct storm {
	const char *node;
	int rounds;
};

static int storm_run(void *arg)
{
	struct storm *st = arg;
	char *buf = shared_alloc(65536);
	int fd = open(st->node, O_RDWR | O_DIRECT);

	if (fd < 0)
		return 0;
	for (int i = 0; i < st->rounds; i++) {
		off_t at = rand() % 14 * 65536;

		/* Garbage and errors are this tap's own fault. */
		if (i % 2)
			(void)!pwrite(fd, buf, 65536, at);
		else
			(void)!pread(fd, buf, 65536, at);
	}
	return 0;
}

/* A server that takes what it finds without any check, as the page is full of garbage. */
static void *careless_server(void *arg)
{
	struct hammer *h = arg;
	struct b2_ring *ring = h->tap->ring;
	uint32_t cons = h->req_cons;

	while (!h->stop) {
		uint32_t prod = ring->req_prod;

		for (int i = 0; cons != prod && i < B2_RING_SIZE; i++, cons++) {
			union b2_entry *e = &ring->entry[cons % B2_RING_SIZE];

			e->rsp = (struct b2_response) { .id = e->req.id, .op = e->req.op };
			ring->rsp_prod++;
		}
		ioctl(h->tap->fd, B2_KICK);
		sched_yield();
	}
	return NULL;
}

static void hammer_bytes(size_t from, size_t to)
{
	struct hammer h = { .from = from, .to = to };
	struct storm st = { .rounds = 2000 / ktap_scale() + 50 };
	pthread_t hammer, server;
	struct pair p = { 0 };
	int result;
	pid_t io;

	pair_up(&p);
	h.tap = &p.bad_tap;
	h.req_cons = p.bad.req_cons;
	st.node = p.bad_tap.disk_node;
	CHECK(!pthread_create(&server, NULL, careless_server, &h));
	io = child_start(storm_run, &st);
	nap_ms(20);
	CHECK(!pthread_create(&hammer, NULL, hammer_run, &h));
	for (int i = 0; i < 300 && !child_is_done(io, &result); i++) {
		expect_good_one_works(&p);
		nap_ms(5);
	}
	h.stop = true;
	pthread_join(hammer, NULL);
	pthread_join(server, NULL);
	/* A request that got lost in the garbage waits, where nothing has failed the tap. */
	tap_close(&p.bad_tap);
	CHECK(tap_close_force(p.bad_tap.h.minor) == 0);
	free_bad_one(&p);
	expect_good_one_works(&p);
	pair_down(&p);
}

static void entries_rewritten_while_the_kernel_reads(void)
{
	hammer_bytes(64, 64 + B2_RING_SIZE * sizeof(union b2_entry));
}

static void the_whole_page_rewritten_while_the_kernel_reads(void)
{
	hammer_bytes(0, B2_PAGE);
}

static void producer_index_rewritten_while_the_kernel_reads(void)
{
	hammer_bytes(8, 12);
}

/* --- a tapdisk that goes ------------------------------------------------------ */

static void unmapped_in_the_middle_of_io(void)
{
	struct pair p = { 0 };
	struct b2_request r;
	int result;
	pid_t io;

	pair_up(&p);
	io = start_bad_io(&p, &r);
	CHECK_OK(munmap(p.bad_tap.ring, B2_MAP_BYTES));
	p.bad_tap.ring = NULL;
	nap_ms(50);
	CHECK(!child_is_done(io, &result), "it did not wait for another tapdisk");
	CHECK(tap_close_force(p.bad_tap.h.minor) == 0);
	CHECK(child_wait(io) == EIO);
	ioctl(p.bad_tap.fd, B2_KICK);
	expect_good_one_works(&p);
	free_bad_one(&p);
	pair_down(&p);
}

/* The file goes first; the mapping keeps it. */
static void closed_in_the_middle_of_io(void)
{
	struct pair p = { 0 };
	struct b2_request r;
	int result;
	pid_t io;

	pair_up(&p);
	io = start_bad_io(&p, &r);
	CHECK_OK(close(p.bad_tap.fd));
	p.bad_tap.fd = -1;
	nap_ms(50);
	CHECK(!child_is_done(io, &result));
	expect_good_one_works(&p);
	CHECK(tap_close_force(p.bad_tap.h.minor) == 0);
	CHECK(child_wait(io) == EIO);
	free_bad_one(&p);
	pair_down(&p);
}

/* A tapdisk as a process, told apart by what its end is. */
struct doomed {
	struct tap tap;
	_Atomic bool ready, got_write;
	void (*end)(void);
};

static int doomed_hook(struct server *s, const struct b2_request *r)
{
	struct doomed *d = s->arg;

	if (r->op != B2_WRITE)
		return SERVE;
	d->got_write = true;
	if (d->end)
		d->end();
	return TAKEN;
}

static int doomed_run(void *arg)
{
	struct doomed *d = arg;
	struct server s = { .hook = doomed_hook, .arg = d };
	struct tap t;

	server_up(&s, &t, DISK_SECTORS);
	d->tap = t;
	d->ready = true;
	pause();
	return 0;
}

static bool is_set(void *flag)
{
	return *(_Atomic bool *)flag;
}

static void dies_with_io_in_flight(void (*end)(void))
{
	struct doomed *d = shared_alloc(sizeof(*d));
	struct disk_io io;
	pid_t pid, writers[4];

	d->end = end;
	kernel_log_mark();
	pid = child_start(doomed_run, d);
	CHECK(wait_until(is_set, &d->ready, 5));
	io_make(&io, &d->tap);
	for (int i = 0; i < 4; i++)
		writers[i] = child_start(do_disk_io, &io);
	CHECK(wait_until(is_set, &d->got_write, 5));
	if (!end)
		kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	nap_ms(50);
	CHECK(tap_close_force(d->tap.h.minor) == 0);
	for (int i = 0; i < 4; i++) {
		int err = child_wait(writers[i]);

		CHECK(err == EIO || err == ENXIO || err == ENODEV, "%s", strerror(err));
	}
	tap_free(d->tap.h.minor);
	CHECK(wait_until(tap_is_gone, &d->tap, 10));
	CHECK(wait_until(disk_is_gone, &d->tap, 10));
}

static void killed_with_io_in_flight(void)
{
	for (int i = 0; i < 5; i++)
		dies_with_io_in_flight(NULL);
}

static void end_by_exit(void)
{
	_exit(0);
}

static void end_by_kill(void)
{
	raise(SIGKILL);
}

static void exits_with_io_in_flight(void)
{
	dies_with_io_in_flight(end_by_exit);
	dies_with_io_in_flight(end_by_kill);
}

static int opens_and_waits(void *arg)
{
	int fd = open(arg, O_RDONLY);

	if (fd < 0)
		return errno;
	nap_ms(500 * ktap_scale());
	return 0;
}

static void killed_with_the_disk_open(void)
{
	struct doomed *d = shared_alloc(sizeof(*d));
	pid_t pid, opener;

	pid = child_start(doomed_run, d);
	CHECK(wait_until(is_set, &d->ready, 5));
	opener = child_start(opens_and_waits, d->tap.disk_node);
	child_settle(opener);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	tap_free(d->tap.h.minor);
	CHECK(child_wait(opener) == 0);
	tap_free(d->tap.h.minor);
	CHECK(wait_until(tap_is_gone, &d->tap, 10));
	CHECK(wait_until(disk_is_gone, &d->tap, 10));
}

static const struct ktap_case cases[] = {
	KTAP_CASE(wrong_answers_fail_the_tap),
	KTAP_CASE(a_second_answer_fails_the_tap),
	KTAP_CASE(a_failed_tap_frees_without_its_tapdisk),
	KTAP_CASE(entries_rewritten_while_the_kernel_reads),
	KTAP_CASE(the_whole_page_rewritten_while_the_kernel_reads),
	KTAP_CASE(producer_index_rewritten_while_the_kernel_reads),
	KTAP_CASE(unmapped_in_the_middle_of_io),
	KTAP_CASE(closed_in_the_middle_of_io),
	KTAP_CASE(killed_with_io_in_flight),
	KTAP_CASE(exits_with_io_in_flight),
	KTAP_CASE(killed_with_the_disk_open),
};

KTAP_MAIN(cases, &state_checks)
