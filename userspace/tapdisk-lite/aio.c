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

static void reap(struct loop_source *source, uint32_t events)
{
	struct aio *aio = (struct aio *)((char *)source - offsetof(struct aio, source));
	struct io_event done[AIO_BATCH];
	struct timespec now = { 0 };
	eventfd_t count;
	int n;

	(void)events;
	eventfd_read(source->fd, &count);
	do {
		n = io_getevents(aio->context, 0, AIO_BATCH, done, &now);
		for (int i = 0; i < n; i++) {
			struct aio_op *op = done[i].data;

			aio->in_kernel--;
			op_end(aio, op, result_error(op, (long)done[i].res));
		}
	} while (n == AIO_BATCH || n == -EINTR);
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

	aio->source.ready = reap;
	aio->source.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	err = aio->source.fd < 0 ? -errno : loop_add(loop, &aio->source);
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

	op->iocb.data = op;
	io_set_eventfd(&op->iocb, aio->source.fd);
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
	io_prep_preadv(&op->iocb, fd, iov, iovcnt, (long long)offset);
	op_queue(aio, op);
}

void aio_write(struct aio *aio, struct aio_op *op, int fd, const struct iovec *iov, int iovcnt,
	       uint64_t offset)
{
	op_transfer(op, AIO_WRITE, fd, iov, iovcnt, offset);
	io_prep_pwritev(&op->iocb, fd, iov, iovcnt, (long long)offset);
	op_queue(aio, op);
}

void aio_sync(struct aio *aio, struct aio_op *op, int fd)
{
	op_transfer(op, AIO_SYNC, fd, NULL, 0, 0);
	io_prep_fdsync(&op->iocb, fd);
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

	STAILQ_REMOVE_HEAD(&aio->queue, link);
	if (op->kind == AIO_SYNC && err == -EINVAL) {
		aio->no_fdsync = true;
		err = sync_now(op);
	}
	op_end(aio, op, err);
}

/* A batch that ends before the first operation which must be done by hand. */
static int batch_fill(struct aio *aio, struct iocb **batch)
{
	unsigned int room = AIO_DEPTH - aio->in_kernel;
	struct aio_op *op;
	int n = 0;

	STAILQ_FOREACH(op, &aio->queue, link) {
		if (n == AIO_BATCH || (unsigned int)n == room)
			break;
		if (op->kind == AIO_SYNC && aio->no_fdsync)
			break;
		batch[n++] = &op->iocb;
	}
	return n;
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
		for (; taken > 0; taken--) {
			STAILQ_REMOVE_HEAD(&aio->queue, link);
			aio->in_kernel++;
		}
	}
	return 0;
}

bool aio_submit(struct aio *aio)
{
	int err;

	do {
		struct aio_op *op;

		while ((op = STAILQ_FIRST(&aio->ended))) {
			STAILQ_REMOVE_HEAD(&aio->ended, link);
			hook_end(aio, op, op->err);
			op->done(op, op->err);
		}
		err = queue_submit(aio);
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
