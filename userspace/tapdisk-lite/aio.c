// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "aio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of the system's fs.aio-max-nr, 65536 by default, shared by all processes. */
#define AIO_DEPTH	256
#define AIO_BATCH	64

#define JOINED_BYTES	(1U << 20)
#define ZERO_CHUNK	65536

static void op_end(struct aio *aio, struct aio_op *op, int err)
{
	op->err = err;
	STAILQ_INSERT_TAIL(&aio->ended, op, link);
}

/* What the kernel says of an operation: bytes moved, or -errno. */
static int result_error(struct aio_op *op, long res)
{
	if (res < 0)
		return (int)res;
	op->moved = (uint64_t)res;
	if (op->kind == AIO_SYNC || op->moved == op->bytes)
		return 0;
	return op->kind == AIO_WRITE ? -ENOSPC : -ENODATA;
}

/* Of joined operations, those that something went wrong with are done again, alone. */
static void joined_end(struct aio *aio, struct aio_op *op, long res)
{
	uint64_t left = res < 0 ? 0 : (uint64_t)res;
	struct aio_op *next;

	for (; op; op = next) {
		next = op->joined;
		if (op->bytes <= left) {
			left -= op->bytes;
			op->moved = op->bytes;
			op_end(aio, op, 0);
			continue;
		}
		left = 0;
		op->alone = true;
		STAILQ_INSERT_TAIL(&aio->queue, op, link);
	}
}

/*
 * What the kernel shares with us at the context's address, as libaio knows it
 * too: completions are taken without asking for them.
 */
struct completions {
	unsigned int id;
	unsigned int nr;
	unsigned int head;		/* ours */
	unsigned int tail;		/* the kernel's */
	unsigned int magic;
	unsigned int compat_features;
	unsigned int incompat_features;
	unsigned int header_length;
	struct io_event events[];
};

#define COMPLETIONS_MAGIC	0xa10a10a1

static void completed(struct aio *aio, const struct io_event *event)
{
	struct aio_op *op = event->data;

	aio->in_kernel--;
	if (op->joined)
		joined_end(aio, op, (long)event->res);
	else
		op_end(aio, op, result_error(op, (long)event->res));
}

static void reap_by_call(struct aio *aio)
{
	struct io_event done[AIO_BATCH];
	struct timespec now = { 0 };
	int n;

	do {
		n = io_getevents(aio->context, 0, AIO_BATCH, done, &now);
		for (int i = 0; i < n; i++)
			completed(aio, &done[i]);
	} while (n == AIO_BATCH || n == -EINTR);
}

static void reap(struct aio *aio)
{
	struct completions *done = (struct completions *)aio->context;
	unsigned int head, tail;

	if (done->magic != COMPLETIONS_MAGIC || done->incompat_features) {
		reap_by_call(aio);
		return;
	}
	head = done->head;
	tail = __atomic_load_n(&done->tail, __ATOMIC_ACQUIRE);
	while (head != tail) {
		completed(aio, &done->events[head]);
		head = head + 1 == done->nr ? 0 : head + 1;
	}
	__atomic_store_n(&done->head, head, __ATOMIC_RELEASE);
}

/* What has ended is looked for by aio_submit(), whether we are told of it or not. */
static void events_ready(struct loop_source *source, uint32_t events)
{
	(void)source;
	(void)events;
}

int aio_init(struct aio *aio, struct loop *loop)
{
	int err;

	memset(aio, 0, sizeof(*aio));
	STAILQ_INIT(&aio->queue);
	STAILQ_INIT(&aio->ended);
	aio->loop = loop;
	err = io_setup(AIO_DEPTH, &aio->context);
	if (err)
		return err;

	aio->source.ready = events_ready;
	aio->source.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	/* Each time that it is written to: so it need not be read. */
	err = aio->source.fd < 0 ? -errno : loop_add_edge(loop, &aio->source);
	if (err) {
		if (aio->source.fd >= 0)
			close(aio->source.fd);
		io_destroy(aio->context);
	}
	return err;
}

void aio_exit(struct aio *aio)
{
	loop_del(aio->loop, &aio->source);
	close(aio->source.fd);
	io_destroy(aio->context);
}

static int hook_begin(struct aio *aio, struct aio_op *op)
{
	return aio->hook ? aio->hook->begin(aio->hook, op) : 0;
}

static void hook_end(struct aio *aio, struct aio_op *op, int err)
{
	if (aio->hook)
		aio->hook->end(aio->hook, op, err);
}

static void op_queue(struct aio *aio, struct aio_op *op)
{
	int err = hook_begin(aio, op);

	if (err) {
		op_end(aio, op, err);
		return;
	}

	op->joined = NULL;
	op->alone = false;
	STAILQ_INSERT_TAIL(&aio->queue, op, link);
}

static void op_transfer(struct aio_op *op, enum aio_kind kind, int fd, const struct iovec *iov,
			int iovcnt, uint64_t offset)
{
	op->kind = kind;
	op->fd = fd;
	op->offset = offset;
	op->iov = iov;
	op->iovcnt = iovcnt;
	op->bytes = 0;
	op->moved = 0;
	for (int i = 0; i < iovcnt; i++)
		op->bytes += iov[i].iov_len;
}

void aio_read(struct aio *aio, struct aio_op *op, int fd, const struct iovec *iov, int iovcnt,
	      uint64_t offset)
{
	op_transfer(op, AIO_READ, fd, iov, iovcnt, offset);
	op_queue(aio, op);
}

void aio_write(struct aio *aio, struct aio_op *op, int fd, const struct iovec *iov, int iovcnt,
	       uint64_t offset)
{
	op_transfer(op, AIO_WRITE, fd, iov, iovcnt, offset);
	op_queue(aio, op);
}

void aio_sync(struct aio *aio, struct aio_op *op, int fd)
{
	op_transfer(op, AIO_SYNC, fd, NULL, 0, 0);
	op_queue(aio, op);
}

static int sync_now(struct aio_op *op)
{
	return fdatasync(op->fd) ? -errno : 0;
}

/* The kernel refused the head of the queue. */
static void head_refused(struct aio *aio, int err)
{
	struct aio_op *op = STAILQ_FIRST(&aio->queue);

	if (op->joined) {
		op->alone = true;
		return;
	}
	STAILQ_REMOVE_HEAD(&aio->queue, link);
	if (op->kind == AIO_SYNC && err == -EINVAL) {
		aio->no_fdsync = true;
		err = sync_now(op);
	}
	op_end(aio, op, err);
}

static void prepare(struct aio *aio, struct aio_op *op, const struct iovec *iov, int iovcnt)
{
	if (op->kind == AIO_READ)
		io_prep_preadv(&op->iocb, op->fd, iov, iovcnt, (long long)op->offset);
	else if (op->kind == AIO_WRITE)
		io_prep_pwritev(&op->iocb, op->fd, iov, iovcnt, (long long)op->offset);
	else
		io_prep_fdsync(&op->iocb, op->fd);
	op->iocb.data = op;
	io_set_eventfd(&op->iocb, aio->source.fd);
}

static bool joinable(const struct aio *aio, const struct aio_op *prev, const struct aio_op *op)
{
	return prev->kind == op->kind && op->kind != AIO_SYNC && prev->fd == op->fd &&
	       prev->offset + prev->bytes == op->offset && !prev->alone && !op->alone &&
	       aio->nr_iov + (unsigned int)(prev->iovcnt + op->iovcnt) <= AIO_JOINED_IOV;
}

/* Memory that goes on where the last iovec from first on ends needs none of its own. */
static void add_iov(struct aio *aio, unsigned int first, const struct aio_op *op)
{
	for (int i = 0; i < op->iovcnt; i++) {
		struct iovec *last = aio->nr_iov > first ? &aio->iov[aio->nr_iov - 1] : NULL;

		if (last && (char *)last->iov_base + last->iov_len == op->iov[i].iov_base)
			last->iov_len += op->iov[i].iov_len;
		else
			aio->iov[aio->nr_iov++] = op->iov[i];
	}
}

/* An iocb for op and for those after it that go on where it ends. Returns the last one. */
static struct aio_op *join(struct aio *aio, struct aio_op *op)
{
	struct aio_op *last = op, *next = STAILQ_NEXT(op, link);
	unsigned int first = aio->nr_iov;
	uint64_t bytes = op->bytes;

	op->joined = NULL;
	if (!next || !joinable(aio, op, next)) {
		prepare(aio, op, op->iov, op->iovcnt);
		return op;
	}
	add_iov(aio, first, op);
	while (next && joinable(aio, last, next) && bytes + next->bytes <= JOINED_BYTES) {
		add_iov(aio, first, next);
		bytes += next->bytes;
		last->joined = next;
		last = next;
		last->joined = NULL;
		next = STAILQ_NEXT(next, link);
	}
	prepare(aio, op, &aio->iov[first], (int)(aio->nr_iov - first));
	return last;
}

/* A batch that ends before the first operation which must be done by hand. */
static int batch_fill(struct aio *aio, struct iocb **batch)
{
	unsigned int room = AIO_DEPTH - aio->in_kernel;
	struct aio_op *op = STAILQ_FIRST(&aio->queue);
	int n = 0;

	aio->nr_iov = 0;
	while (op && n < AIO_BATCH && (unsigned int)n < room) {
		if (op->kind == AIO_SYNC && aio->no_fdsync)
			break;
		batch[n++] = &op->iocb;
		op = STAILQ_NEXT(join(aio, op), link);
	}
	return n;
}

/* The kernel has the first iocb of the queue. */
static void head_taken(struct aio *aio)
{
	struct aio_op *op;

	aio->in_kernel++;
	do {
		op = STAILQ_FIRST(&aio->queue);
		STAILQ_REMOVE_HEAD(&aio->queue, link);
	} while (op->joined);
}

/* -EAGAIN: the kernel takes no more now. */
static int queue_submit(struct aio *aio)
{
	struct iocb *batch[AIO_BATCH];
	int n, taken;

	while (!STAILQ_EMPTY(&aio->queue) && aio->in_kernel < AIO_DEPTH) {
		n = batch_fill(aio, batch);
		if (!n) {
			head_refused(aio, -EINVAL);
			continue;
		}

		taken = io_submit(aio->context, n, batch);
		if (taken == -EAGAIN)
			return -EAGAIN;
		if (taken < 0 && taken != -EINTR)
			head_refused(aio, taken);
		for (; taken > 0; taken--)
			head_taken(aio);
	}
	return 0;
}

bool aio_submit(struct aio *aio)
{
	int err;

	do {
		struct aio_op *op;

		if (aio->in_kernel)
			reap(aio);
		while ((op = STAILQ_FIRST(&aio->ended))) {
			STAILQ_REMOVE_HEAD(&aio->ended, link);
			hook_end(aio, op, op->err);
			op->done(op, op->err);
		}
		err = queue_submit(aio);
		/* Much has ended when it has been submitted. */
		if (aio->in_kernel)
			reap(aio);
	} while (!STAILQ_EMPTY(&aio->ended));

	return err == -EAGAIN && !aio->in_kernel;
}

static int zero_by_writing(int fd, uint64_t offset, uint64_t bytes)
{
	static const char zeroes[ZERO_CHUNK] __attribute__((aligned(4096)));

	while (bytes) {
		size_t n = bytes < ZERO_CHUNK ? bytes : ZERO_CHUNK;
		ssize_t done = pwrite(fd, zeroes, n, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done ? -errno : -ENOSPC;
		offset += (uint64_t)done;
		bytes -= (uint64_t)done;
	}
	return 0;
}

static int do_zero(const struct aio_op *op)
{
	if (!fallocate(op->fd, FALLOC_FL_ZERO_RANGE, (off_t)op->offset, (off_t)op->bytes))
		return 0;
	if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENODEV)
		return -errno;
	return zero_by_writing(op->fd, op->offset, op->bytes);
}

static int do_punch(const struct aio_op *op)
{
	uint64_t range[2] = { op->offset, op->bytes };
	struct stat st;
	int ret;

	if (fstat(op->fd, &st))
		return -errno;
	if (S_ISBLK(st.st_mode))
		ret = ioctl(op->fd, BLKDISCARD, range);
	else
		ret = fallocate(op->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)op->offset, (off_t)op->bytes);
	return ret ? -errno : 0;
}

static int do_now(struct aio *aio, enum aio_kind kind, int fd, uint64_t offset, uint64_t bytes)
{
	struct aio_op op = { .kind = kind, .fd = fd, .offset = offset, .bytes = bytes };
	int err = hook_begin(aio, &op);

	if (!err) {
		switch (kind) {
		case AIO_ZERO:
			err = do_zero(&op);
			break;
		case AIO_PUNCH:
			err = do_punch(&op);
			break;
		default:
			err = ftruncate(fd, (off_t)offset) ? -errno : 0;
			break;
		}
	}
	hook_end(aio, &op, err);
	return err;
}

int aio_zero(struct aio *aio, int fd, uint64_t offset, uint64_t bytes)
{
	return do_now(aio, AIO_ZERO, fd, offset, bytes);
}

int aio_punch(struct aio *aio, int fd, uint64_t offset, uint64_t bytes)
{
	return do_now(aio, AIO_PUNCH, fd, offset, bytes);
}

int aio_truncate(struct aio *aio, int fd, uint64_t size)
{
	return do_now(aio, AIO_TRUNCATE, fd, size, 0);
}
