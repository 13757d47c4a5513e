/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tap's layout mode: its maps, its files, and the gate that closes them.
 */
#ifndef _BLKTAP_DIRECT_H
#define _BLKTAP_DIRECT_H

#include <linux/bio.h>
#include <linux/fs.h>
#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/percpu-refcount.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "layout.h"
#include "ring.h"

struct blktap;

#define TAP_BVECS	BIO_MAX_VECS	/* in an array of tap_direct.bvecs */

/**
 * struct tap_recall - a range that the tapdisk recalls
 * @work: withdraws it
 * @node: in tap_direct.gate_recalls while the layout is closed; in
 *	tap_ring.recalled when it is done and not told yet
 * @tap: the tap
 * @generation: the ring's: one that the tapdisk has let go of tells nobody
 * @cookie: the tapdisk's
 * @first: first sector
 * @last: last sector
 * @error: 0 or a negative errno
 */
struct tap_recall {
	struct work_struct work;
	struct list_head node;
	struct blktap *tap;
	unsigned long generation;
	u64 cookie;
	u64 first;
	u64 last;
	int error;
};

/**
 * struct tap_file - a file that extents may lie in
 * @file: our own, opened from the one that was registered
 * @bdev: the block device that it is, or NULL
 * @below: the tap that it is on, kept by @file, or NULL
 * @write: it may be granted for writing
 * @buffered: it can't do direct I/O
 */
struct tap_file {
	struct file *file;
	struct block_device *bdev;
	struct blktap *below;
	bool write;
	bool buffered;
};

struct tap_direct_counters {
	u64 hits;
	u64 bytes[2];		/* read, written */
	u64 punts;
};

/**
 * struct tap_direct - a tap's layout mode
 * @tap: the tap
 * @layout: the maps
 * @shrink: forgets what is clean, since memory is short
 * @maps_node: in the list of all maps
 * @block: sectors in which the image allocates
 * @release: whole blocks that are discarded go to the tapdisk
 * @flush: FLUSH goes to the tapdisk where data went over the ring
 * @users: I/O that uses extents
 * @closed: @users is killed: requests go to @gate
 * @closed_op: by an operation, that will open it; else by a withdrawal
 * @dead: the ring has failed: requests at the gate end
 * @gate_lock: protects what follows up to @gate_recalls
 * @gate: tap_cmds that wait for the layout to be open again
 * @gate_recalls: recalls that wait for that
 * @release_trim: the tapdisk has ended the TRIM of a discard that had ended
 * @files: registered files, by index; written before an extent may name them,
 *	and forgotten when none does
 * @files_lock: protects that, against other writers
 * @nr_files: how many
 * @bvecs: pool of arrays for requests of several bios
 * @bios: for parts on block devices
 * @wq: for I/O on its files; its own, since that may wait for what another tap
 *	has
 * @wait_wq: for what waits for the tapdisk, or for what is queued on @wq
 * @busy: an operation relies on all this; by blktap.lock
 * @jobs: syncs and recalls that are queued, at the gate or at work, each of which
 *	may wait for a file
 * @sync: tap_direct_sync() for an operation, or because much is dirty
 * @sync_wanted: how often it was wanted; under @gate_lock, as the next two
 * @sync_done: what of that its last run, which has ended, knew when it began
 * @sync_error: that run's result
 * @failed: the first error of a file's sync: what it lost may not be committed
 * @lost: pauses that gave up what was written, since a file's sync had failed
 * @told: @lost, as a FLUSH that came after the last of them has said
 * @sync_lock: one at a time makes data durable and commits
 * @commit: the commit that it waits for
 * @scratch: the extents of the answer that is looked at; by @scratch_lock
 * @ring_used: data went over the ring: a flush must go there too
 * @count: per CPU
 * @written: bytes of @count that the files' times tell of; by @sync_lock
 * @misses: requests that waited for a grant; this and all below under
 *	tap_ring.lock
 * @upcalls: LAYOUTGETs
 * @commits: LAYOUTCOMMITs
 * @recalls: times that the layout was closed
 */
struct tap_direct {
	struct blktap *tap;
	struct tap_layout layout;
	struct work_struct shrink;
	struct list_head maps_node;
	u32 block;
	bool release;
	bool flush;
	struct percpu_ref users;
	bool closed;
	bool closed_op;
	bool dead;
	spinlock_t gate_lock;	/* closed, dead, gate.., sync_.. */
	struct list_head gate;
	struct list_head gate_recalls;
	struct work_struct release_trim;
	struct tap_file files[BLKTAP_FILES_MAX];
	spinlock_t files_lock;	/* files, nr_files: who writes them */
	unsigned int nr_files;
	mempool_t bvecs;
	struct bio_set bios;
	struct workqueue_struct *wq;
	struct workqueue_struct *wait_wq;
	bool busy;
	atomic_t jobs;
	struct work_struct sync;
	u64 sync_wanted;
	u64 sync_done;
	int sync_error;
	int failed;
	unsigned int lost;
	unsigned int told;
	struct mutex sync_lock;	/* commit, failed; files against files_forget() */
	struct tap_commit commit;
	struct mutex scratch_lock;	/* scratch */
	struct tap_extent scratch[BLKTAP_EXTENTS_MAX];
	bool ring_used;
	struct tap_direct_counters __percpu *count;
	u64 written;
	u64 misses;
	u64 upcalls;
	u64 commits;
	u64 recalls;
};

#endif
