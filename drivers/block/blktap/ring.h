/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tap's ring: its slots, and the block requests that they carry parts of.
 */
#ifndef _BLKTAP_RING_H
#define _BLKTAP_RING_H

#include <linux/blk-mq.h>
#include <linux/blktap.h>
#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "layout.h"

struct tap_recall;

/*
 * Who owns a slot. The kernel's states end by themselves in a bounded time;
 * POSTED ends when the tapdisk answers, or when the ring fails or goes.
 */
enum tap_slot_state {
	SLOT_FREE,
	SLOT_FILLING,		/* kernel: data is copied in */
	SLOT_POSTED,		/* tapdisk */
	SLOT_DRAINING,		/* kernel: data is copied out */
	SLOT_RECLAIM,		/* kernel: its pages are taken away */
};

/**
 * struct tap_cursor - a place in a request's data
 * @bio: the bio that it is in
 * @iter: the rest of that bio
 */
struct tap_cursor {
	struct bio *bio;
	struct bvec_iter iter;
};

/**
 * struct tap_slot - one of the ring's requests and its pages
 * @state: enum tap_slot_state; it and all else here under tap_ring.lock, but the
 *	owner of a kernel state reads and writes the pages' content without
 * @op: BLKTAP_OP_*
 * @late: what it carried has ended, and may still be done: nothing newer of the
 *	same sectors may be posted
 * @nr_pages: pages that it has; they are the first ones of @pages
 * @rq: the block request of which it carries a part; NULL where that has ended
 *	because the tapdisk has held it for too long
 * @data: where that part starts
 * @sector: that part's first sector on the disk
 * @len: its length in bytes
 * @iomode: BLKTAP_IOMODE_* (LAYOUTGET)
 * @seq: the layout's when it was asked for (LAYOUTGET)
 * @writes: tap_ring.writes when it was posted (FLUSH)
 * @parked: tap_cmds that wait for the answer (LAYOUTGET)
 * @recall: whose end is told (RECALLED)
 * @commit: who waits for the answer, or NULL: nobody any more (LAYOUTCOMMIT)
 * @pages: mapped into the tapdisk by fault; never given to another tap
 */
struct tap_slot {
	u8 state;
	u8 op;
	bool late;
	u8 nr_pages;
	struct request *rq;
	struct tap_cursor data;
	sector_t sector;
	unsigned int len;
	u32 iomode;
	u64 seq;
	u64 writes;
	struct list_head parked;
	struct tap_recall *recall;
	struct tap_commit *commit;
	struct page *pages[BLKTAP_SEGMENT_MAX];
};

/**
 * struct tap_clock - how long something has waited for the tapdisk
 * @since: when that began, or began anew, in jiffies; 0: it never has
 * @lost: tapdisks that had it when they went
 * @lives: tap_ring.lives at the last of these
 */
struct tap_clock {
	unsigned long since;
	u32 lost;
	u32 lives;
};

/* Where a discard's TRIM is. */
enum tap_trim {
	TRIM_NONE,
	TRIM_POSTED,		/* with the ring */
	TRIM_ANSWERED,		/* its work is to go on */
	TRIM_DONE,		/* what is left is the edges of the discard */
};

/**
 * struct tap_cmd - a block request, in its pdu
 * @node: in tap_ring.waiting while parts of it have no slot yet, in a slot's
 *	parked list, in tap_direct.gate, in tap_ring.trims, or in tap_ring.retry
 * @op: what the ring is asked for it: BLKTAP_OP_*
 * @next: where the next part starts
 * @done: bytes that have got a slot
 * @parts: slots that carry a part, and 1 while it is on tap_ring.waiting
 * @status: the first error; one that is tried again gives way to one that isn't
 * @again: a part was lost with its tapdisk: when the others have ended it is
 *	queued anew, whole
 * @retried: when it first found no space, or met a timeout, and was to be tried
 *	again, in jiffies; 0: it never has
 * @seq: its place among all requests that have waited for the tapdisk
 * @clock: how long it has waited for the tapdisk
 * @work: what needs a context of its own (layout mode, as all that follows)
 * @pinned: holds a reference on tap_direct.users
 * @landed: @ext's part is written, and not yet noted as dirty
 * @crowded: too much is dirty: a commit comes first
 * @failed: a part's I/O has failed, with @status
 * @nowait: the part was issued in the submitter's context
 * @same_blkcg: the task that looked the part up is of the submitter's blkcg
 * @bios: the part is bios; else a kiocb
 * @iomode: BLKTAP_IOMODE_* of what it misses
 * @trim: enum tap_trim
 * @pos: bytes done before the part
 * @part: bytes of the part that is under way
 * @ext: where that part lies
 * @iocb: its I/O
 * @refs: the ends of the part's I/Os, and the return of what began them
 * @ret: the I/O's result
 * @bvec: from tap_direct.bvecs, for a request of several bios, or NULL
 */
struct tap_cmd {
	struct list_head node;
	u8 op;
	struct tap_cursor next;
	unsigned int done;
	atomic_t parts;
	blk_status_t status;
	bool again;
	unsigned long retried;
	u64 seq;
	struct tap_clock clock;

	struct work_struct work;
	bool pinned;
	bool landed;
	bool crowded;
	bool failed;
	bool nowait;
	bool same_blkcg;
	bool bios;
	u8 iomode;
	u8 trim;
	unsigned int pos;
	unsigned int part;
	struct tap_extent ext;
	struct kiocb iocb;
	atomic_t refs;
	long ret;
	struct bio_vec *bvec;
};

/**
 * struct tap_commit - a LAYOUTCOMMIT that is waited for
 * @done: when it is answered, or never will be
 * @posted: it has a slot
 * @clock: how long it has waited for the tapdisk
 * @nr: ranges
 * @err: 0 or a negative errno
 * @ranges: the kernel's own copy
 */
struct tap_commit {
	struct completion done;
	bool posted;
	struct tap_clock clock;
	unsigned int nr;
	int err;
	struct blktap_extent ranges[BLKTAP_EXTENTS_MAX];
};

struct tap_counters {
	u64 reqs[7];		/* by BLKTAP_OP_* */
	u64 sectors[2];		/* read, written */
	u64 copied;		/* bytes */
	u64 errors;
	u64 kicks;
	u64 ring_full;
	u64 pool_empty;
};

/**
 * struct tap_ring - a tap's ring, its mapping and its slots
 * @lock: protects everything here
 * @shared: page 0 of the mapping; NULL while nothing is mapped
 * @mm: who mapped it; compared, never dereferenced
 * @pid: its process
 * @mapping: the address space that the mapping is of
 * @generation: changes with each mapping; in its VMAs' vm_private_data
 * @vmas: VMAs that it has in @mm: 1, or 2 within an mremap()
 * @invited: whose mm may map it though it is no admin; the operation that is under
 *	way holds it
 * @left: the mm of a tapdisk that unmapped the ring of a disk that it served, held;
 *	until it has exited it may have I/O in flight
 * @gone: the tap was removed: nothing may be mapped any more
 * @failed: requests are refused, now and later
 * @live: mapped, not failed, not going
 * @joined: live, and its tapdisk serves the disk: requests are posted. Without,
 *	those that come wait
 * @joined_at: when that began, in jiffies
 * @bereft: it failed while the tapdisk had requests, which it may still be doing
 * @held: no request is posted, for a pause
 * @errnos: the tapdisk answers with errnos
 * @stalled: a request waits for too long, and that has been reported
 * @no_space: requests wait for space, and that has been reported
 * @event_idx: the tapdisk advances req_event
 * @msg_pending: a message was posted that poll() has not reported
 * @closed_pending: the disk was closed, and poll() has not reported it
 * @req_prod: requests posted
 * @rsp_cons: responses consumed
 * @kicked: req_prod at the last wake-up
 * @reported: req_prod that poll() has reported to a tapdisk without event_idx
 * @busy: slots that carry a request, whoever owns them
 * @owned: slots in one of the kernel's states
 * @nr_late: slots that are late
 * @free: bitmap of the slots in SLOT_FREE
 * @poll: where the tapdisk waits
 * @waiting: tap_cmds of which parts have no slot yet, in order
 * @nr_waiting: how many
 * @retry: tap_cmds that are to be tried again, soon
 * @nr_retry: how many
 * @backoff: how soon, in jiffies
 * @seq: of the last request that came to wait
 * @lives: tapdisks that served the disk and have gone
 * @timeout: seconds that a request may wait for the tapdisk, 0: for ever
 * @on_timeout: enum blktap_on_timeout
 * @commit: a LAYOUTCOMMIT to be posted or under way, or NULL
 * @writes: WRITEs that a tapdisk has done
 * @flushed: how many of them a FLUSH came after
 * @trimming: a range is held for a TRIM, of a discard that may have ended
 * @trims: discards that wait for their turn to have one
 * @recalled: recalls whose end the tapdisk can be told
 * @nr_recalls: recalls whose end it has not been told
 * @layout: the pages of the layout mapping; NULL where there is none
 * @count: counters
 * @slots: the slots
 */
struct tap_ring {
	spinlock_t lock;	/* all of this; the I/O path's only lock */
	struct blktap_ring *shared;
	struct mm_struct *mm;
	struct pid *pid;
	struct address_space *mapping;
	unsigned long generation;
	unsigned int vmas;
	struct mm_struct *invited;
	struct mm_struct *left;
	bool gone;
	bool failed;
	bool live;
	bool joined;
	unsigned long joined_at;
	bool bereft;
	bool held;
	bool errnos;
	bool stalled;
	bool no_space;
	bool event_idx;
	bool msg_pending;
	bool closed_pending;
	u32 req_prod;
	u32 rsp_cons;
	u32 kicked;
	u32 reported;
	unsigned int busy;
	unsigned int owned;
	unsigned int nr_late;
	unsigned long free;
	wait_queue_head_t poll;
	struct list_head waiting;
	unsigned int nr_waiting;
	struct list_head retry;
	unsigned int nr_retry;
	unsigned long backoff;
	u64 seq;
	u32 lives;
	unsigned int timeout;
	u32 on_timeout;
	struct tap_commit *commit;
	u64 writes;
	u64 flushed;
	bool trimming;
	struct list_head trims;
	struct list_head recalled;
	unsigned int nr_recalls;
	struct page *layout[BLKTAP_RING_SIZE];
	struct tap_counters count;
	struct tap_slot slots[BLKTAP_RING_SIZE];
};

#endif
