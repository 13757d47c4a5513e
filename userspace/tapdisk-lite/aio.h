/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asynchronous I/O on files and block devices.
 *
 * Operations are queued as they come and handed to the kernel in batches by
 * aio_submit(), which the main loop calls once a turn; neighbours in the queue
 * that are neighbours in the file go as one. An operation and its iovecs belong
 * to the queue until its done() is called. done() is only ever
 * called from aio_submit() or from the loop, never from the function that
 * queued the operation.
 */
#ifndef TAPDISK_AIO_H
#define TAPDISK_AIO_H

#include <libaio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

#include "loop.h"

#define AIO_JOINED_IOV	1024

enum aio_kind {
	AIO_READ,
	AIO_WRITE,
	AIO_SYNC,	/* fdatasync: of writes that were done when it was queued */
	AIO_ZERO,	/* make a range read as zeroes */
	AIO_PUNCH,	/* give a range's space back; it reads as zeroes, or as before */
	AIO_TRUNCATE,	/* set the file's size */
};

struct aio_op {
	enum aio_kind kind;
	int fd;
	uint64_t offset;		/* bytes; TRUNCATE: the new size */
	uint64_t bytes;
	uint64_t moved;			/* READ and WRITE: bytes, when done */
	const struct iovec *iov;	/* READ and WRITE */
	int iovcnt;
	void (*done)(struct aio_op *op, int err);	/* err: 0 or -errno */

	/* Of aio.c. */
	STAILQ_ENTRY(aio_op) link;
	struct aio_op *joined;		/* the next one of those that are one iocb */
	bool alone;			/* is not to be joined (again) */
	struct iocb iocb;
	int err;
};

STAILQ_HEAD(aio_queue, aio_op);

/* Sees all that is done to files; tests record it and make it fail. */
struct aio_hook {
	/* Before op begins; not 0 fails it with that -errno. */
	int (*begin)(struct aio_hook *hook, struct aio_op *op);
	/* After its end, before done(). */
	void (*end)(struct aio_hook *hook, struct aio_op *op, int err);
};

struct aio {
	io_context_t context;
	struct loop *loop;
	struct loop_source source;	/* eventfd of completions */
	struct aio_hook *hook;
	struct aio_queue queue;		/* not yet submitted */
	struct aio_queue ended;		/* done() is to be called */
	unsigned int in_kernel;		/* iocbs */
	bool no_fdsync;			/* IO_CMD_FDSYNC is not supported */
	struct iovec iov[AIO_JOINED_IOV];	/* of a batch's joined operations */
	unsigned int nr_iov;
};

/* 0 or -errno; -EAGAIN: fs.aio-max-nr is used up. */
int aio_init(struct aio *aio, struct loop *loop);
void aio_exit(struct aio *aio);

/*
 * Queue op, whose done is set. Offsets, lengths and memory have the alignment
 * that the descriptor asks for. A read past the end of the file is -ENODATA, a
 * write that was cut short -ENOSPC.
 */
void aio_read(struct aio *aio, struct aio_op *op, int fd, const struct iovec *iov, int iovcnt,
	      uint64_t offset);
void aio_write(struct aio *aio, struct aio_op *op, int fd, const struct iovec *iov, int iovcnt,
	       uint64_t offset);
void aio_sync(struct aio *aio, struct aio_op *op, int fd);

/*
 * At once, for rare paths: these wait for the file system. 0 or -errno.
 * aio_punch() of a range that the file can't give back is -EOPNOTSUPP.
 */
int aio_zero(struct aio *aio, int fd, uint64_t offset, uint64_t bytes);
int aio_punch(struct aio *aio, int fd, uint64_t offset, uint64_t bytes);
int aio_truncate(struct aio *aio, int fd, uint64_t size);

/*
 * Hand what is queued to the kernel, as far as there is room, and call done()
 * of what ended at once, until nothing is left. True: the kernel is short of
 * memory and nothing is in flight that would wake the loop: call again soon.
 */
bool aio_submit(struct aio *aio);

#endif
