// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation of a tap's life fails in turn: it works afterwards, and nothing is
 * lost or left. And memory is short under I/O, which nobody notices.
 *
 * The kernel's checkers run out of memory, too, and then may switch themselves off: the
 * next test gets a fresh VM.
 *
 * kernels: uml kdbg
 * reports: deliberate
 */
#include <fcntl.h>
#include <linux/blktap.h>
#include <netlink/genl/genl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/granter.h"
#include "lib/state.h"
#include "lib/tapdisk.h"

#define AT		GRANTER_CHUNK	/* a sector that is not the scan's */
#define FILE_BYTES	((off_t)GRANTER_SECTORS * B2_SECTOR)

/* --- a tap's birth ---------------------------------------------------------------------- */

/* A tap by its ioctl alone. */
struct new_tap {
	int control;
	struct b2_handle h;
};

static int alloc_tap(void *new)
{
	struct new_tap *t = new;

	return ioctl(t->control, BLKTAP_IOCTL_ALLOC_TAP, &t->h) ? errno : 0;
}

static void free_new_tap(void *new, int err)
{
	if (!err)
		CHECK_OK(tap_free(((struct new_tap *)new)->h.minor));
}

static void allocations_of_alloc_tap(void)
{
	struct new_tap t = { .control = control_open() };

	all_allocations_may_fail();
	each_allocation("ALLOC_TAP", alloc_tap, free_new_tap, &t);
	free_new_tap(&t, 0);
	close(t.control);
}

static int map_ring(void *granter)
{
	struct granter *g = granter;

	g->tap.ring = tap_mmap(&g->tap);
	return g->tap.ring == MAP_FAILED ? errno : 0;
}

/* A descriptor's close waits for the end of the mapping that was. */
static void unmap_ring(void *granter, int err)
{
	struct granter *g = granter;

	if (!err)
		CHECK_OK(munmap(g->tap.ring, B2_MAP_BYTES));
	close(open(g->tap.ring_node, O_RDWR | O_CLOEXEC));
}

static int map_layout(void *granter)
{
	struct granter *g = granter;

	g->pages = granter_map_layout(&g->tap);
	return g->pages == MAP_FAILED ? errno : 0;
}

/* Its pages stay as long as the ring. */
static void unmap_layout(void *granter, int err)
{
	struct granter *g = granter;

	if (!err)
		CHECK_OK(munmap(g->pages, (size_t)BLKTAP_RING_SIZE * B2_PAGE));
	unmap_ring(g, 0);
	CHECK(map_ring(g) == 0);
}

static int add_image(void *granter)
{
	struct granter *g = granter;

	return granter_add(g, *(int *)g->arg, BLKTAP_FILE_WRITE) < 0 ? errno : 0;
}

static void leave(void *arg, int err)
{
	(void)arg;
	(void)err;
}

/* device_add() calls it EINVAL where a disk's name can't be allocated. */
static int create_disk(void *granter)
{
	struct granter *g = granter;
	struct blktap_params p = {
		.capacity = g->sectors, .sector_size = B2_SECTOR, .flags = BLKTAP_DEVICE_LAYOUT,
	};

	if (!ioctl(g->tap.fd, BLKTAP_IOCTL_CREATE_DEVICE, &p))
		return 0;
	return errno == EINVAL ? ENOMEM : errno;
}

static bool drop_disk(void *granter)
{
	struct granter *g = granter;

	granter_scan(g);
	return !ioctl(g->tap.fd, BLKTAP_IOCTL_REMOVE_DEVICE);
}

/* The images go with the disk. */
static void undo_create_disk(void *granter, int err)
{
	if (err)
		return;
	CHECK(wait_until(drop_disk, granter, 10), "the disk stays busy");
	CHECK(add_image(granter) == 0);
}

/* The disk that comes in the end works. */
static void allocations_of_a_disk(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct granter g = { .sectors = GRANTER_SECTORS, .arg = &fd };

	all_allocations_may_fail();
	tap_alloc(&g.tap);
	each_allocation("mmap of the ring", map_ring, unmap_ring, &g);
	each_allocation("mmap of the layout", map_layout, unmap_layout, &g);
	each_allocation("ADD_FILE", add_image, leave, &g);
	each_allocation("CREATE_DEVICE", create_disk, undo_create_disk, &g);
	CHECK(granter_until(&g, child_start(do_disk_io, granter_io(&g, true, AT, 8, 1))) == 0);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 1);
	granter_down(&g);
}

/* --- what a tapdisk keeps, and reads and writes ------------------------------------------ */

struct keeper {
	struct tap tap;
	struct blktap_keep keep;
};

static int keep_file(void *arg)
{
	struct keeper *k = arg;

	return ioctl(k->tap.fd, BLKTAP_IOCTL_KEEP, &k->keep) ? errno : 0;
}

static int kept_file(void *arg)
{
	struct keeper *k = arg;
	struct blktap_keep kept = { .fd = -1 };

	if (ioctl(k->tap.fd, BLKTAP_IOCTL_KEPT, &kept))
		return errno;
	close(kept.fd);
	return 0;
}

static void allocations_of_keep_and_kept(void)
{
	struct keeper k = { .keep = { .fd = scratch_file(4096) } };

	all_allocations_may_fail();
	tap_alloc(&k.tap);
	tap_map(&k.tap);
	each_allocation("KEEP", keep_file, leave, &k);
	each_allocation("KEPT", kept_file, leave, &k);
	tap_close(&k.tap);
	CHECK_OK(tap_free(k.tap.h.minor));
}

struct exchange {
	int channel;
	struct order order;
	bool done;
};

static int read_order(void *arg)
{
	struct exchange *x = arg;

	if (!x->done && read(x->channel, &x->order, sizeof(x->order)) < 0)
		return errno;
	x->done = true;
	return 0;
}

static int write_answer(void *arg)
{
	struct exchange *x = arg;

	if (!x->done && channel_write(x->channel, x->order.o.id, 0, "it is done") < 0)
		return errno;
	x->done = true;
	return 0;
}

/* An order that could not be read is there to be read again; and so with its answer. */
static void allocations_of_an_order_and_its_answer(void)
{
	struct tapdisk td = { 0 };
	struct exchange x;

	all_allocations_may_fail();
	tapdisk_start(&td);
	tapdisk_attach(&td);
	tapdisk_open(&td, "aio:/image");
	CHECK(!tapdisk_order(&td, BLKTAP_CMD_PAUSE, NULL, 0));
	x = (struct exchange) { .channel = td.channel };
	CHECK(channel_wait(x.channel, 10), "no order");
	each_allocation("an order", read_order, leave, &x);
	CHECK(x.order.o.op == BLKTAP_ORDER_PAUSE, "order %u", x.order.o.op);
	x.done = false;
	each_allocation("its answer", write_answer, leave, &x);
	CHECK(btnl_wait_done(&td.nl, td.nl.seq, 10) == 0);
	CHECK(tapdisk_do(&td, BLKTAP_CMD_RESUME, BLKTAP_ORDER_RESUME, 0, "") == 0);
	tapdisk_end(&td);
}

#define IMAGE		"aio:/image"
#define NO_IMAGE	"aio:/none"	/* the tapdisk can't open it */

/* --- an admin's commands ------------------------------------------------------------------ */

/* A tapdisk, a process of its own, that does what it is ordered; and who orders it. */
struct life {
	struct btnl nl;
	struct btnl listener;		/* so that events are made; nobody reads them */
	uint32_t minor;
	pid_t pid;			/* the tapdisk's */
	int cmd, back;			/* the command, and what undoes it; or: */
	void (*undo)(struct life *l);
	bool at_once;			/* its acknowledgement is its end */
	const char *image;		/* to OPEN */
	struct nl_msg *msg;		/* the next one, ready */
	_Atomic bool *ready;
};

static int do_order(struct tapdisk *td, const struct order *o)
{
	switch (o->o.op) {
	case BLKTAP_ORDER_ATTACH:
		tapdisk_map(td, o->o.minor);
		return 0;
	case BLKTAP_ORDER_DETACH:
		tap_close(&td->tap);
		return 0;
	case BLKTAP_ORDER_OPEN:
		if (!strcmp(o->name, NO_IMAGE))
			return -ENOENT;
		td->server = (struct server) {
			.tap = &td->tap, .sectors = TAPDISK_SECTORS, .level = true,
		};
		server_start(&td->server);
		return 0;
	case BLKTAP_ORDER_CLOSE:
		if (ioctl(td->tap.fd, B2_REMOVE))
			return -errno;
		server_stop(&td->server);
		return 0;
	}
	return 0;
}

static _Noreturn int tapdisk_run(void *ready)
{
	struct tapdisk td = { 0 };
	struct order o;

	tapdisk_start(&td);
	*(_Atomic bool *)ready = true;
	for (;;)
		if (channel_read(td.channel, &o, 60))
			channel_write(td.channel, o.o.id, do_order(&td, &o), "");
}

static bool is_ready(void *ready)
{
	return *(_Atomic bool *)ready;
}

static void tapdisk_begin(struct life *l)
{
	*l->ready = false;
	l->pid = child_start(tapdisk_run, (void *)l->ready);
	CHECK(wait_until(is_ready, (void *)l->ready, 10));
}

static void tapdisk_kill(struct life *l)
{
	kill(l->pid, SIGKILL);
	waitpid(l->pid, NULL, 0);
}

static struct nl_msg *command(struct life *l, int cmd)
{
	struct nl_msg *msg = btnl_new(&l->nl, cmd);

	if (cmd != BLKTAP_CMD_ALLOC)
		nla_put_u32(msg, BLKTAP_A_MINOR, l->minor);
	if (cmd == BLKTAP_CMD_SET)
		nla_put_u32(msg, BLKTAP_A_REQUEST_TIMEOUT, 60);
	if (cmd == BLKTAP_CMD_POOL_GET || cmd == BLKTAP_CMD_POOL_SET)
		nla_put_string(msg, BLKTAP_A_POOL, "default");
	if (cmd == BLKTAP_CMD_ATTACH || cmd == BLKTAP_CMD_RECOVER)
		nla_put_u32(msg, BLKTAP_A_PID, l->pid);
	if (cmd == BLKTAP_CMD_OPEN)
		nla_put_string(msg, BLKTAP_A_NAME, l->image);
	return msg;
}

static int run(struct life *l, int cmd)
{
	int err = btnl_send_for_ack(&l->nl, command(l, cmd));

	return err || (l->at_once && cmd == l->cmd) ? err :
	       btnl_wait_done(&l->nl, l->nl.seq, 20);
}

static void must(struct life *l, int cmd)
{
	int err = run(l, cmd);

	CHECK(!err, "command %d: %s: %s", cmd, strerror(err), l->nl.text);
}

static void life_watch(struct life *l)
{
	*l = (struct life) { .ready = shared_alloc(sizeof(*l->ready)), .image = IMAGE };
	all_allocations_may_fail();
	btnl_open(&l->nl);
	btnl_open(&l->listener);
	btnl_join(&l->listener);
}

static void life_begin(struct life *l)
{
	life_watch(l);
	tapdisk_begin(l);
	l->minor = btnl_alloc(&l->nl);
}

static bool orphaned(void *life)
{
	struct life *l = life;

	return btnl_get_u32(&l->nl, l->minor, BLKTAP_A_STATE) & BLKTAP_STATE_ORPHANED;
}

static void life_end(struct life *l)
{
	CHECK(btnl_dump(&l->nl, btnl_new(&l->nl, BLKTAP_CMD_GET), NULL, NULL) == 1,
	      "a tap is left, or none");
	must(l, BLKTAP_CMD_FREE);
	tapdisk_kill(l);
	btnl_close(&l->listener);
	btnl_close(&l->nl);
}

/* A worker's allocation fails: the command may, and then works when it is repeated. */
static int work(void *life)
{
	struct life *l = life;
	int err = run(l, l->cmd);

	CHECK(err >= 0, "command %d has no end", l->cmd);
	return err;
}

static void work_again(void *life, int err)
{
	struct life *l = life;

	if (err)
		must(l, l->cmd);
	if (l->back)
		must(l, l->back);
	if (l->undo)
		l->undo(l);
}

/* The sender's own allocation fails, in the module's part of its system call too. */
static void prepare(struct life *l)
{
	l->msg = command(l, l->cmd);
	nlmsg_hdr(l->msg)->nlmsg_flags |= NLM_F_ACK;
	nl_complete_msg(l->nl.sk, l->msg);
	l->nl.seq = nlmsg_hdr(l->msg)->nlmsg_seq;
	l->nl.early = -1;
}

static int send_it(void *life)
{
	struct life *l = life;
	struct nlmsghdr *h = nlmsg_hdr(l->msg);

	return send(nl_socket_get_fd(l->nl.sk), h, h->nlmsg_len, 0) < 0 ? errno : 0;
}

/* What a message says of the command @seq: true: it is its end. */
static bool is_end(struct life *l, struct nlmsghdr *h, int *err)
{
	struct nlattr *a[BLKTAP_A_MAX + 1];

	if (h->nlmsg_seq != l->nl.seq)
		return false;
	if (h->nlmsg_type == NLMSG_ERROR) {
		*err = -((struct nlmsgerr *)nlmsg_data(h))->error;
		return *err || l->at_once;
	}
	if (h->nlmsg_type != l->nl.family || genlmsg_hdr(h)->cmd != BLKTAP_CMD_DONE)
		return false;
	CHECK(!genlmsg_parse(h, 0, a, BLKTAP_A_MAX, NULL));
	*err = nla_get_u32(a[BLKTAP_A_ERROR]);
	return true;
}

/* Its acknowledgement, or what else is told, may be lost: then nobody knows, for a while. */
static int end_of_command(struct life *l)
{
	static char buf[65536] __attribute__((aligned(8)));
	struct pollfd p = { .fd = nl_socket_get_fd(l->nl.sk), .events = POLLIN };
	bool lost = false;
	int err = 0;

	while (poll(&p, 1, (lost ? 1000 : 20000) * ktap_scale()) == 1) {
		struct nlmsghdr *h = (void *)buf;
		int n = recv(p.fd, buf, sizeof(buf), 0);

		lost |= n < 0;
		CHECK(n >= 0 || errno == ENOBUFS, "%s", strerror(errno));
		for (; n > 0 && nlmsg_ok(h, n); h = nlmsg_next(h, &n))
			if (is_end(l, h, &err))
				return err;
	}
	CHECK(lost, "command %d has no end", l->cmd);
	return ENOBUFS;
}

static void sent(void *life, int err)
{
	struct life *l = life;

	nlmsg_free(l->msg);
	if (!err)
		err = end_of_command(l);
	CHECK(!err || err == ENOMEM || err == ENOBUFS || err == EFAULT, "command %d: %s", l->cmd,
	      strerror(err));
	work_again(l, err);
	prepare(l);
}

static void each_of_sender(struct life *l, const char *what, int cmd)
{
	l->cmd = cmd;
	prepare(l);
	each_allocation(what, send_it, sent, l);
	sent(l, 0);
	nlmsg_free(l->msg);
}

static void each_of(struct life *l, const char *what, int cmd, int back)
{
	l->cmd = cmd;
	l->back = back;
	each_allocation_of_workers(what, work, work_again, l);
	each_of_sender(l, what, cmd);
}

/* The tapdisk's refusal is what is to come. */
static int open_nothing(void *life)
{
	int err = work(life);

	return err == ENOENT ? 0 : err ?: ENODATA;
}

static void open_nothing_again(void *life, int err)
{
	CHECK(!err || !open_nothing(life), "%s", strerror(err));
}

/* Where a disk is made a worker scans it, and says so where that fails for want of memory. */
static void allocations_of_an_open_that_makes_no_disk(struct life *l)
{
	l->cmd = BLKTAP_CMD_OPEN;
	l->image = NO_IMAGE;
	each_allocation_of_workers("OPEN", open_nothing, open_nothing_again, l);
	l->image = IMAGE;
}

static void allocations_of_attach_and_open(void)
{
	struct life l;

	life_begin(&l);
	each_of(&l, "ATTACH", BLKTAP_CMD_ATTACH, BLKTAP_CMD_DETACH);
	must(&l, BLKTAP_CMD_ATTACH);
	allocations_of_an_open_that_makes_no_disk(&l);
	l.back = BLKTAP_CMD_CLOSE;
	each_of_sender(&l, "OPEN", BLKTAP_CMD_OPEN);
	must(&l, BLKTAP_CMD_OPEN);
	must(&l, BLKTAP_CMD_CLOSE);
	life_end(&l);
}

static void allocations_of_close_and_detach(void)
{
	struct life l;

	life_begin(&l);
	must(&l, BLKTAP_CMD_ATTACH);
	each_of(&l, "DETACH", BLKTAP_CMD_DETACH, BLKTAP_CMD_ATTACH);
	must(&l, BLKTAP_CMD_OPEN);
	each_of(&l, "CLOSE", BLKTAP_CMD_CLOSE, BLKTAP_CMD_OPEN);
	must(&l, BLKTAP_CMD_CLOSE);
	life_end(&l);
}

static void allocations_of_pause_and_resume(void)
{
	struct life l;

	life_begin(&l);
	must(&l, BLKTAP_CMD_ATTACH);
	must(&l, BLKTAP_CMD_OPEN);
	each_of(&l, "PAUSE", BLKTAP_CMD_PAUSE, BLKTAP_CMD_RESUME);
	must(&l, BLKTAP_CMD_PAUSE);
	each_of(&l, "RESUME", BLKTAP_CMD_RESUME, BLKTAP_CMD_PAUSE);
	must(&l, BLKTAP_CMD_RESUME);
	each_of(&l, "STATS", BLKTAP_CMD_STATS, 0);
	must(&l, BLKTAP_CMD_CLOSE);
	life_end(&l);
}

/* An orphan again. */
static void next_tapdisk(struct life *l)
{
	tapdisk_kill(l);
	CHECK(wait_until(orphaned, l, 10));
	tapdisk_begin(l);
}

static void allocations_of_recover(void)
{
	struct life l;

	life_begin(&l);
	must(&l, BLKTAP_CMD_ATTACH);
	must(&l, BLKTAP_CMD_OPEN);
	next_tapdisk(&l);
	l.undo = next_tapdisk;
	each_of(&l, "RECOVER", BLKTAP_CMD_RECOVER, 0);
	must(&l, BLKTAP_CMD_RECOVER);
	must(&l, BLKTAP_CMD_CLOSE);
	life_end(&l);
}

/* Data that was written goes through the recalls. */
static void allocations_of_recall(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct granter g = { 0 };
	struct life l;

	life_watch(&l);
	granter_up(&g, fd);
	granter_start(&g);
	l.minor = g.tap.h.minor;
	CHECK(in_child(do_disk_io, granter_io(&g, true, AT, 8, 1)) == 0);
	each_of(&l, "RECALL", BLKTAP_CMD_RECALL, 0);
	CHECK(in_child(do_disk_io, granter_io(&g, true, AT + 8, 8, 2)) == 0);
	granter_stop(&g);
	granter_down(&g);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 1);
	scratch_expect(fd, (off_t)(AT + 8) * B2_SECTOR, 4096, 2);
	btnl_close(&l.listener);
	btnl_close(&l.nl);
}

struct minors {
	uint32_t not;
	uint32_t minor[64];
	unsigned int nr;
};

static void note_minor(struct nlattr **a, void *arg)
{
	struct minors *m = arg;
	uint32_t minor = nla_get_u32(a[BLKTAP_A_MINOR]);

	if (minor != m->not && m->nr < 64)
		m->minor[m->nr++] = minor;
}

static void free_others(struct life *l)
{
	struct minors m = { .not = l->minor };

	btnl_dump(&l->nl, btnl_new(&l->nl, BLKTAP_CMD_GET), note_minor, &m);
	/* Where the kernel could not say that it had made one, another was asked for. */
	CHECK(m.nr == 1 || m.nr == 2, "%u taps were made", m.nr);
	for (unsigned int i = 0; i < m.nr; i++)
		CHECK(btnl_do(&l->nl, BLKTAP_CMD_FREE, m.minor[i], 0) == 0, "%s", l->nl.text);
}

static void allocations_of_what_is_done_at_once(void)
{
	struct life l;

	life_begin(&l);
	l.at_once = true;
	each_of_sender(&l, "GET", BLKTAP_CMD_GET);
	each_of_sender(&l, "SET", BLKTAP_CMD_SET);
	each_of_sender(&l, "POOL_GET", BLKTAP_CMD_POOL_GET);
	each_of_sender(&l, "POOL_SET", BLKTAP_CMD_POOL_SET);
	l.undo = free_others;
	each_of_sender(&l, "ALLOC", BLKTAP_CMD_ALLOC);
	l.at_once = false;
	life_end(&l);
}

/* --- I/O ---------------------------------------------------------------------------------- */

#define IO_BLOCK	65536
#define IO_BLOCKS	22	/* a writer has, one behind the other */
#define IO_ROUNDS	6
#define IO_WRITERS	4

struct writer {
	char node[64];
	uint64_t sector;	/* its first */
	bool buffered;
	uint8_t *buf;
};

static void fill_block(uint8_t *buf, unsigned int stamp)
{
	for (unsigned int i = 0; i < IO_BLOCK; i += 4)
		memcpy(buf + i, &(uint32_t) { stamp * IO_BLOCK + i }, 4);
}

static int io_block(const struct writer *w, int fd, unsigned int block, bool write)
{
	off_t at = w->sector * B2_SECTOR + (off_t)block * IO_BLOCK;
	ssize_t n = write ? pwrite(fd, w->buf, IO_BLOCK, at) : pread(fd, w->buf, IO_BLOCK, at);

	return n == IO_BLOCK ? 0 : n < 0 ? errno : ENODATA;
}

/* Return: 0; an errno; EILSEQ: what is read is not what was written. */
static int write_and_verify(void *arg)
{
	static uint8_t want[IO_BLOCK];
	struct writer *w = arg;
	int fd = open(w->node, O_RDWR | (w->buffered ? 0 : O_DIRECT) | O_CLOEXEC);
	int err = fd < 0 ? errno : 0;

	for (unsigned int i = 0; !err && i < IO_ROUNDS * IO_BLOCKS; i++) {
		fill_block(w->buf, w->sector + i);
		err = io_block(w, fd, i % IO_BLOCKS, true);
	}
	if (!err && fsync(fd))
		err = errno;
	for (unsigned int i = 0; !err && i < IO_BLOCKS; i++) {
		fill_block(want, w->sector + (IO_ROUNDS - 1) * IO_BLOCKS + i);
		err = io_block(w, fd, i, false);
		if (!err && memcmp(w->buf, want, IO_BLOCK))
			err = EILSEQ;
	}
	close(fd);
	return err;
}

/* Writers beside each other, half of them through the page cache. */
static void verified_io(const char *node, uint64_t first, uint64_t each)
{
	pid_t pid[IO_WRITERS];

	for (int i = 0; i < IO_WRITERS; i++) {
		struct writer *w = shared_alloc(sizeof(*w));

		snprintf(w->node, sizeof(w->node), "%s", node);
		w->sector = first + i * each;
		w->buffered = i % 2;
		w->buf = shared_alloc(IO_BLOCK);
		pid[i] = child_start(write_and_verify, w);
	}
	for (int i = 0; i < IO_WRITERS; i++) {
		int err = child_wait(pid[i]);

		CHECK(!err, "writer %d: %s", i, strerror(err));
	}
}

#define SHORT	50	/* per cent of what can't wait for memory gets none */

static void io_while_memory_is_short(const char *node)
{
	allocations_fail(SHORT);
	verified_io(node, AT, IO_BLOCKS * IO_BLOCK / B2_SECTOR);
	allocations_are_well();
	ktap_say("%u allocations failed", allocations_failed());
	CHECK(allocations_failed());
}

static void memory_is_short_in_ring_mode(void)
{
	struct server s = { .flags = B2_F_FLUSH };
	struct tap t;

	server_up(&s, &t, GRANTER_SECTORS);
	io_while_memory_is_short(t.disk_node);
	server_down(&s);
}

static void memory_is_short_in_layout_mode(void)
{
	struct granter g = { 0 };

	granter_up(&g, scratch_file(FILE_BYTES));
	granter_start(&g);
	io_while_memory_is_short(g.tap.disk_node);
	granter_stop(&g);
	granter_down(&g);
}

/* Bios go to a device as they are. */
static void memory_is_short_in_layout_mode_on_a_device(void)
{
	struct server below = { .level = true, .flags = B2_F_FLUSH };
	struct granter g = { 0 };
	struct tap t;
	int fd;

	server_up(&below, &t, GRANTER_SECTORS);
	fd = open(t.disk_node, O_RDWR | O_CLOEXEC);
	CHECK_OK(fd);
	granter_up(&g, fd);
	granter_start(&g);
	io_while_memory_is_short(g.tap.disk_node);
	granter_stop(&g);
	granter_down(&g);
	close(fd);
	server_down(&below);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(allocations_of_alloc_tap),
	KTAP_CASE(allocations_of_a_disk),
	KTAP_CASE(allocations_of_keep_and_kept),
	KTAP_CASE(allocations_of_an_order_and_its_answer),
	KTAP_CASE(allocations_of_attach_and_open),
	KTAP_CASE(allocations_of_close_and_detach),
	KTAP_CASE(allocations_of_pause_and_resume),
	KTAP_CASE(allocations_of_recover),
	KTAP_CASE(allocations_of_recall),
	KTAP_CASE(allocations_of_what_is_done_at_once),
	KTAP_CASE(memory_is_short_in_ring_mode),
	KTAP_CASE(memory_is_short_in_layout_mode),
	KTAP_CASE(memory_is_short_in_layout_mode_on_a_device),
};

KTAP_MAIN(cases, &fault_checks)
