/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the driver's files share: the tap, its pool, and the operations on them.
 * The ring is in ring.h, layout mode in direct.h.
 *
 * Locks, outermost first:
 *   mmap_lock > blktap.lock > gendisk.open_mutex > pools_lock > page lock >
 *   tap_ring.lock, tapdisk.lock, levels_lock
 *   blktap.lock > vbds_lock
 * No user memory is touched under any of them, since that takes mmap_lock; the
 * ring's mmap and vm_ops, which run under mmap_lock, take spinlocks only.
 * The I/O path takes tap_ring.lock and nothing else.
 */
#ifndef _BLKTAP_H
#define _BLKTAP_H

#include <linux/blk-mq.h>
#include <linux/fs.h>
#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/blktap.h>

#include "compat.h"
#include "direct.h"
#include "ring.h"
#include "vbd.h"

#undef pr_fmt
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

struct blktap;
struct poll_table_struct;

#define BLKTAP_MINORS		BIT(MINORBITS)
#define BLKTAP_MAX_REQUEST	SZ_1M	/* bytes of one block request */
#define BLKTAP_TIMEOUT		120		/* seconds, where none is given */
#define BLKTAP_REQUEST_TIMEOUT	120	/* seconds a request may be held */
#define BLKTAP_TIMEOUT_MAX	86400

/**
 * struct blktap_pool - a quota of pages, shared by the taps that are in it
 * @kobj: pools/<name>/ in sysfs; its reference count is the pool's
 * @node: in the list of pools
 * @taps: members, by blktap.pool_node
 * @used: pages that slots hold; over @size only by the reserves of its taps
 * @size: the quota, in pages
 * @reclaim: takes pages from idle taps, because a busy one got none
 */
struct blktap_pool {
	struct kobject kobj;
	struct list_head node;
	struct list_head taps;
	atomic_t used;
	int size;
	struct delayed_work reclaim;
};

/**
 * struct blktap_tapdisk - a registered tapdisk process
 * @ref: references: the open file's, the orders', the taps'
 * @node: in the list of tapdisks, while its file is open
 * @pid: the process
 * @mm: its memory, held, to be compared with a ring's
 * @lock: protects @gone and the lists
 * @gone: its file was closed
 * @queue: orders that it has not read
 * @sent: orders that it has read and not answered
 * @poll: where it waits for orders
 * @taps: taps attached to it
 */
struct blktap_tapdisk {
	struct kref ref;
	struct list_head node;
	struct pid *pid;
	struct mm_struct *mm;
	spinlock_t lock;	/* gone, queue, sent */
	bool gone;
	struct list_head queue;
	struct list_head sent;
	wait_queue_head_t poll;
	atomic_t taps;
};

/**
 * struct blktap - a tap
 * @dev: blktap<minor> in class blktap2; its reference count is the tap's
 * @minor: of the ring node and of the disk
 * @lock: protects what follows up to @wait
 * @removed: it takes no operations: being removed, or not yet there
 * @dead: its ring failed
 * @paused: the tapdisk has said so
 * @resume_failed: and the last resume failed
 * @name: type:/path, or NULL
 * @disk: the disk, or NULL
 * @killing: the end of its I/O is waited for, and then it is removed
 * @rdonly: the disk is read-only
 * @flags: BLKTAP_DEVICE_* of the disk
 * @kept: what the tapdisk wants the next one to have, or NULL
 * @image: the files that it says its image consists of
 * @tapdisk: the registered tapdisk that it is attached to, or NULL
 * @free_wanted: it is to be freed when its tapdisk lets go (FREE_TAP); not if that
 *	serves a disk after all
 * @pool: the pool it is in
 * @op: the operation under way, or NULL
 * @cancel: it is to give up: one that can't wait is next
 * @stage: what @op is doing, as BLKTAP_STATE_* bits
 * @msg_answered: the tapdisk has answered the message
 * @msg_error: with this errno
 * @wait: waiters for a change of any of this, or of the ring's
 * @no_open: the disk is going; protected by its open_mutex, where it is not dead
 * @openers: opens of the disk and its partitions
 * @nr_vbds: guests' disks that are tied to it; negative: none may be any more
 * @autoclear: it was made for one, and goes when nobody is left
 * @clear: sees to that
 * @pool_node: in the pool's list; protected by pools_lock
 * @direct: layout mode, or NULL; goes with the disk, or with the ring where
 *	there is none
 * @level: higher than those of all taps that it stands on; by levels_lock
 * @uppers: files of other taps that are on its disk; by levels_lock
 * @tags: the disk's
 * @scan: the partition scan that follows CREATE_DEVICE
 * @mark_dead: tells the disk's users that it is dead, which may wait for its I/O
 * @marking: that is under way
 * @detach: the ring's end
 * @watch: looks for requests that have waited for too long
 * @retry: tries again what is in tap_ring.retry
 * @ring: the ring
 */
struct blktap {
	struct device dev;
	unsigned int minor;

	struct mutex lock;	/* removed to wait; not held in a wait for userspace or a file */
	bool removed;
	bool dead;
	bool paused;
	bool resume_failed;
	char *name;
	struct gendisk *disk;
	bool killing;
	bool rdonly;
	unsigned long flags;
	struct file *kept;
	struct list_head image;
	struct blktap_tapdisk *tapdisk;
	bool free_wanted;
	struct blktap_pool *pool;
	struct blktap_op *op;
	bool cancel;
	u32 stage;
	bool msg_answered;
	int msg_error;
	wait_queue_head_t wait;

	bool no_open;
	atomic_t openers;
	atomic_t nr_vbds;
	bool autoclear;
	struct delayed_work clear;
	struct list_head pool_node;
	struct tap_direct *direct;
	unsigned int level;
	unsigned int uppers;
	struct blk_mq_tag_set tags;
	struct work_struct scan;
	struct work_struct mark_dead;
	bool marking;
	struct work_struct detach;
	struct delayed_work watch;
	struct delayed_work retry;
	struct tap_ring ring;
};

/*
 * Wait for @cond, looked at whenever the tap changes, until @deadline. It must
 * not change back while nobody else looks. Return: 0, -ETIMEDOUT, or -ECANCELED:
 * the operation under way is to give up.
 */
#define tap_wait(tap, deadline, cond) ({				\
	struct blktap *_tap = (tap);					\
	long _left = max_t(long, (deadline) - jiffies, 0);		\
	bool _met, _cancel;						\
									\
	wait_event_idle_timeout(_tap->wait, ({				\
		_met = (cond);						\
		_cancel = READ_ONCE(_tap->cancel);			\
		_met || _cancel;					\
	}), _left);							\
	_met ? 0 : _cancel ? -ECANCELED : -ETIMEDOUT;			\
})

/* image.c: which files the image consists of */
struct image_file;

struct image_file *blktap_image_identify(int fd, bool write);
int blktap_image_add(struct blktap *tap, struct image_file *id);
void blktap_image_forget(struct blktap *tap);
ssize_t blktap_image_show(struct blktap *tap, char *buf);

/* tap.c: life, names, state */
extern struct xarray blktap_taps;
extern int blktap_verbosity;

struct blktap *blktap_alloc(int minor);
struct blktap *blktap_get(unsigned int minor);
struct blktap *blktap_find(unsigned long *minor);
void blktap_put(struct blktap *tap);
void blktap_remove(struct blktap *tap);
int blktap_set_name(struct blktap *tap, const char *name);
bool blktap_orphaned(struct blktap *tap);
u32 blktap_state(struct blktap *tap);
void blktap_changed(struct blktap *tap);
int blktap_class_init(void);
void blktap_class_exit(void);

/* attach.c: who has the ring */
void tap_ring_init(struct tap_ring *ring);
void tap_ring_invite(struct tap_ring *ring, struct mm_struct *mm);
int tap_ring_start(struct blktap *tap, struct vm_area_struct *vma);
int tap_ring_map_layout(struct blktap *tap, struct vm_area_struct *vma);
void tap_ring_stop(struct blktap *tap, struct mm_struct *mm);
bool tap_ring_mapped(struct tap_ring *ring);
bool tap_ring_mapped_by(struct tap_ring *ring, struct mm_struct *mm);
struct pid *tap_ring_pid(struct tap_ring *ring);
bool tap_ring_remove(struct tap_ring *ring);
void tap_ring_message(struct tap_ring *ring, u8 msg);
void tap_ring_closed(struct tap_ring *ring);

/* ring.c: requests between the block layer and the tapdisk */
void tap_ring_fail(struct blktap *tap, const char *why);
void tap_ring_kill(struct blktap *tap);
int tap_ring_respond(struct blktap *tap);
blk_status_t tap_ring_queue(struct blktap *tap, struct request *rq, u8 op,
			    bool kick);
void tap_ring_pump(struct blktap *tap);
void tap_ring_kick(struct tap_ring *ring);
void tap_ring_join(struct blktap *tap, bool errnos);
void tap_ring_leave(struct blktap *tap);
void tap_ring_hold(struct blktap *tap, bool hold);
bool tap_ring_drained(struct tap_ring *ring);
void tap_ring_flushed(struct tap_ring *ring);
bool tap_ring_dirty(struct tap_ring *ring);
bool tap_ring_idle(struct tap_ring *ring);
bool tap_ring_live(struct tap_ring *ring);
bool tap_ring_joined(struct tap_ring *ring);
bool tap_ring_failed(struct tap_ring *ring);
void tap_ring_again(struct blktap *tap, struct request *rq);
void tap_ring_requeue(struct blktap *tap, struct request *rq, u8 op);
int tap_ring_commit(struct blktap *tap, struct tap_commit *commit);
void tap_ring_done(struct blktap *tap, struct tap_slot *slot);

/**
 * struct tap_ended - what waits for a slot's answer
 * @rq: the request of which it carries a part, or NULL
 * @parked: tap_cmds that wait for a LAYOUTGET
 * @commit: who waits for a LAYOUTCOMMIT, or NULL
 */
struct tap_ended {
	struct request *rq;
	struct list_head parked;
	struct tap_commit *commit;
};

void tap_ended_take(struct blktap *tap, struct tap_slot *slot,
		    struct tap_ended *ended);
void tap_ended_end(struct blktap *tap, struct tap_ended *ended,
		   blk_status_t status);

/* recover.c: requests that a tapdisk has lost, holds for too long, or can't do */
void tap_recover_init(struct blktap *tap);
void tap_recover_stop(struct blktap *tap);
void tap_recover_set_timeout(struct blktap *tap, unsigned int seconds);
void tap_clock_start(struct tap_clock *clock);
void tap_recover_restart(struct tap_ring *ring, unsigned long fresh);
void tap_recover_post(struct blktap *tap, struct tap_slot *slot);
void tap_recover_lost(struct blktap *tap);
void tap_recover_abort(struct blktap *tap);
bool tap_recover_retry(struct blktap *tap, struct request *rq,
		       blk_status_t status);
void tap_recover_watch(struct blktap *tap);
void tap_recover_watch_again(struct blktap *tap, const struct tap_clock *clock);
bool tap_recover_held(struct tap_ring *ring, struct tap_cmd *cmd);
int tap_recover_keep(struct blktap *tap, int fd);
int tap_recover_kept(struct blktap *tap);

/* upcall.c: LAYOUTGET and LAYOUTCOMMIT */
bool tap_upcall_held(struct blktap *tap, struct tap_cmd *cmd);
bool tap_upcall_join(struct blktap *tap, struct tap_cmd *cmd);
void tap_upcall_prepare(struct blktap *tap, struct tap_slot *slot,
			struct tap_cmd *cmd);
void tap_upcall_fill(struct blktap *tap, struct tap_slot *slot,
		     struct blktap_ring_request *req);
const char *tap_upcall_granted(struct blktap *tap, struct tap_slot *slot,
			       u32 nr_extents);
void tap_upcall_end(struct blktap *tap, struct list_head *parked,
		    blk_status_t status);

/* direct.c: files, and the gate that recalls close */
struct tap_direct *tap_direct_get(struct blktap *tap);
void tap_direct_free(struct blktap *tap);
int tap_direct_open_file(struct blktap *tap, const struct blktap_file *arg,
			 struct tap_file *file);
int tap_direct_add_file(struct blktap *tap, struct tap_file *file);
int tap_direct_close(struct blktap *tap, unsigned long deadline, bool give_up);
void tap_direct_forget(struct blktap *tap);
void tap_direct_open(struct blktap *tap);
void tap_direct_abort(struct blktap *tap);
int tap_direct_sync(struct blktap *tap);
void tap_direct_sync_soon(struct blktap *tap);
void tap_direct_job_done(struct blktap *tap);
int tap_direct_sync_until(struct blktap *tap, unsigned long deadline);
int tap_direct_sync_or_give_up(struct blktap *tap, unsigned long deadline);
bool tap_direct_use(struct blktap *tap, bool use);
void tap_direct_forget_files(struct blktap *tap);
bool tap_direct_pin(struct blktap *tap, struct tap_cmd *cmd);
void tap_direct_unpin(struct blktap *tap, struct tap_cmd *cmd);
void tap_direct_count(struct tap_direct *direct,
		      struct tap_direct_counters *sum);

bool tap_gate_close(struct blktap *tap);
bool tap_gate_drained(struct blktap *tap);
void tap_gate_open(struct blktap *tap);
bool tap_gate_wait(struct blktap *tap, struct tap_recall *recall);

/* shrink.c: how much memory the maps take */
void tap_maps_add(struct tap_direct *direct);
void tap_maps_del(struct tap_direct *direct);
u64 tap_maps_bytes(struct tap_direct *direct);
u64 tap_maps_limit(struct tap_direct *direct);
int tap_maps_set_limit(struct tap_direct *direct, u64 bytes);
int tap_maps_init(void);
void tap_maps_exit(void);

/* hit.c: requests that the kernel serves from the files */
blk_status_t tap_hit_queue(struct blktap *tap, struct request *rq);
void tap_hit_queue_list(struct blktap *tap, COMPAT_RQ_LIST *list);
void tap_hit_punt(struct blktap *tap, struct request *rq);
void tap_hit_end(struct blktap *tap, struct request *rq, blk_status_t status);
void tap_hit_fail(struct blktap *tap, struct request *rq, blk_status_t status);
void tap_hit_by_ring(struct blktap *tap, struct request *rq);
void tap_hit_init(struct tap_cmd *cmd);
void tap_part_end(struct tap_cmd *cmd, struct io_comp_batch *batch);
void tap_part_put(struct tap_cmd *cmd);
bool tap_stack_left(void);

/* fileio.c, bios.c: a part of a request, on a file or on a block device */
bool tap_file_begin(struct tap_cmd *cmd, struct tap_file *file,
		    struct io_comp_batch *batch);
void tap_file_ended(struct tap_cmd *cmd);
bool tap_bio_serves(struct blktap *tap, struct tap_file *file);
bool tap_bio_begin(struct tap_cmd *cmd, struct tap_file *file);

/* discard.c: DISCARD and WRITE_ZEROES of layout mode */
void tap_discard(struct blktap *tap, struct request *rq);
void tap_zeroes(struct blktap *tap, struct request *rq);

/* recall.c: taking extents back while the disk is in use */
bool tap_trim_begin(struct blktap *tap, struct tap_cmd *cmd, u64 first,
		    u64 last);
void tap_trim_answered(struct tap_cmd *cmd);
void tap_trim_late(struct blktap *tap);
void tap_trim_release(struct work_struct *work);
void tap_trim_end(struct blktap *tap, struct tap_cmd *cmd);
int tap_recall_start(struct blktap *tap, const struct blktap_recall *arg);
struct tap_recall *tap_recall_take(struct blktap *tap);
void tap_recall_fill(const struct tap_recall *recall,
		     struct blktap_ring_request *req);
void tap_recall_told(struct tap_recall *recall);
void tap_recall_forget(struct blktap *tap);

static inline struct blktap *rq_tap(struct request *rq)
{
	return rq->q->queuedata;
}

static inline bool rq_writes(struct request *rq)
{
	return req_op(rq) == REQ_OP_WRITE;
}

/* Where a request's work is done. */
static inline struct workqueue_struct *rq_wq(struct blktap *tap,
					     struct request *rq)
{
	switch (req_op(rq)) {
	case REQ_OP_FLUSH:
	case REQ_OP_DISCARD:
		return tap->direct->wait_wq;
	default:
		return tap->direct->wq;
	}
}

/* A part is done. */
static inline void tap_count_part(struct blktap *tap, struct request *rq,
				  unsigned int len)
{
	struct tap_direct_counters __percpu *count = tap->direct->count;

	this_cpu_inc(count->hits);
	this_cpu_add(count->bytes[rq_writes(rq)], len);
}

/* slot.c: a slot's pages, and the data in them */
int tap_slot_reserve(struct blktap *tap);
void tap_slot_release_all(struct blktap *tap);
struct tap_slot *tap_slot_pick(struct blktap *tap, unsigned int pages);
void tap_slot_put(struct tap_ring *ring, struct tap_slot *slot);
void tap_slot_copy(struct tap_slot *slot, bool to_slot);
void tap_cursor_skip(struct tap_cursor *cursor, unsigned int len);
unsigned int tap_slot_idle_pages(struct blktap *tap);
unsigned int tap_slot_reclaim(struct blktap *tap, unsigned int want);

/* chardev.c: the ring node */
extern dev_t blktap_ring_dev;

int blktap_chardev_init(void);
void blktap_chardev_exit(void);

/*
 * fault.c: a grant is taken for stale, an operation on an image's file fails, a
 * LAYOUTGET doesn't reach the tapdisk, responses take long
 */
enum tap_fault {
	TAP_FAULT_GRANT,
	TAP_FAULT_BACKEND,
	TAP_FAULT_UPCALL,
	TAP_FAULT_SLOW,
	TAP_FAULTS
};

#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS
bool tap_fault(enum tap_fault fault);
int tap_fault_backend(void);
void tap_fault_slow(void);
int tap_fault_init(void);
void tap_fault_exit(void);
#else
static inline bool tap_fault(enum tap_fault fault)
{
	return false;
}

static inline int tap_fault_backend(void)
{
	return 0;
}

static inline void tap_fault_slow(void)
{
}

static inline int tap_fault_init(void)
{
	return 0;
}

static inline void tap_fault_exit(void)
{
}
#endif

/* stack.c: taps on taps */
struct blktap *tap_stack_push(struct blktap *tap, struct file *file);
void tap_stack_pop(struct blktap *below);
void tap_stack_reset(struct blktap *tap);
bool tap_stack_is_on(struct file *file);
bool tap_stack_is_own(struct blktap *tap, struct file *file);

/* disk.c: the block device */
extern int blktap_disk_major;

unsigned long blktap_disk_flags(struct blktap *tap, unsigned long flags);
int blktap_disk_create(struct blktap *tap, struct blktap_params *params);
int blktap_disk_resize(struct blktap *tap, u64 capacity, u64 sector_size);
int blktap_disk_kill(struct blktap *tap, unsigned long deadline);
int blktap_disk_remove(struct blktap *tap, bool force);
bool blktap_disk_claimed(struct blktap *tap);
struct blktap *blktap_disk_tap(struct gendisk *disk);
void tap_start_request(struct blktap *tap, struct request *rq);
void tap_cmd_put(struct request *rq, blk_status_t status);
int blktap_disk_init(void);
void blktap_disk_exit(void);

/* pool.c: quotas of pages */
#define BLKTAP_POOL_DEFAULT	4096	/* pages: 16 MiB */

struct blktap_pool *blktap_pool_find(const char *name);
struct blktap_pool *blktap_pool_default(void);
struct blktap_pool *blktap_pool_nth(unsigned int n);
int blktap_pool_set_default(const char *name);
int blktap_pool_resize(struct blktap_pool *pool, unsigned long pages);
int blktap_pool_move(struct blktap *tap, const char *name);
void blktap_pool_leave(struct blktap *tap);
void blktap_pool_lock(void);
void blktap_pool_unlock(void);
void blktap_pool_put(struct blktap_pool *pool);
int blktap_pool_free(struct blktap_pool *pool);
bool blktap_pool_charge(struct blktap_pool *pool);
void blktap_pool_charge_reserve(struct blktap_pool *pool, unsigned int nr);
void blktap_pool_uncharge(struct blktap_pool *pool, unsigned int nr);
void blktap_pool_wanted(struct blktap_pool *pool);
int blktap_pool_init(void);
void blktap_pool_exit(void);

/* tapdisk.c: registered tapdisks, and the orders they get */
struct blktap_tapdisk *blktap_tapdisk_register(void);
void blktap_tapdisk_close(struct blktap_tapdisk *td);
struct blktap_tapdisk *blktap_tapdisk_find(struct pid *pid);
struct blktap_tapdisk *blktap_tapdisk_nth(unsigned int n);
void blktap_tapdisk_put(struct blktap_tapdisk *td);
ssize_t blktap_tapdisk_read(struct blktap_tapdisk *td, struct file *file,
			    char __user *buf, size_t len);
ssize_t blktap_tapdisk_write(struct blktap_tapdisk *td, const char __user *buf,
			     size_t len);
__poll_t blktap_tapdisk_poll(struct blktap_tapdisk *td, struct file *file,
			     struct poll_table_struct *wait);
int blktap_tapdisk_order(struct blktap_tapdisk *td, struct blktap *tap,
			 u32 op, u32 flags, const char *name,
			 unsigned long deadline, char **text);

extern struct workqueue_struct *blktap_wq;	/* ends by itself, soon */
extern struct workqueue_struct *blktap_op_wq;	/* may wait for a tapdisk */

/* op.c, accept.c: what an admin asks, and its way from acceptance to its end */

/**
 * struct blktap_op - an operation of an admin on a tap
 * @work: does it
 * @node: in the list of operations under way; with @portid under its lock
 * @ref: the work's, and that of one who waits
 * @done: when it has ended
 * @tap: the tap, referenced
 * @cmd: BLKTAP_CMD_*
 * @flags: BLKTAP_ORDER_F_*
 * @name: image name (OPEN, RESUME), or NULL; owned
 * @tapdisk: to attach to (ATTACH), referenced, or NULL
 * @deadline: in jiffies
 * @portid: who is to get DONE, 0: nobody
 * @seq: the sequence number that DONE carries
 * @error: 0 or a negative errno
 * @text: what the admin is told, or NULL; owned
 */
struct blktap_op {
	struct work_struct work;
	struct list_head node;
	struct kref ref;
	struct completion done;
	struct blktap *tap;
	u32 cmd;
	u32 flags;
	char *name;
	struct blktap_tapdisk *tapdisk;
	unsigned long deadline;
	u32 portid;
	u32 seq;
	int error;
	char *text;
};

int blktap_op_do(struct blktap_op *op);
struct blktap_op *blktap_op_alloc(struct blktap *tap, u32 cmd,
				  unsigned int timeout);
int blktap_op_start(struct blktap_op *op);
void blktap_op_put(struct blktap_op *op);
int blktap_op_run(struct blktap *tap, u32 cmd);
int blktap_op_free(struct blktap *tap);
void blktap_op_requester_gone(u32 portid);
int blktap_op_init(void);
void blktap_op_exit(void);

/* vbd.c: guests' disks; see vbd.h for those who know them */
void blktap_vbds_init(struct blktap *tap);
bool blktap_has_vbd(struct blktap *tap);
bool blktap_vbds_close(struct blktap *tap);
void blktap_vbds_open(struct blktap *tap);
void blktap_vbd_clear(struct blktap *tap, bool failed);

/**
 * struct blktap_vbd_id - what an admin knows a guest's disk by
 * @domid: the guest
 * @devid: which of its disks
 * @cookie: which of those that have had these numbers; 0: whichever has them now
 */
struct blktap_vbd_id {
	u32 domid;
	u32 devid;
	u32 cookie;
};

int blktap_vbd_made(const struct blktap_vbd_id *id, struct blktap *tap);
int blktap_vbd_answer(const struct blktap_vbd_id *id, int err,
		      const char *text);
unsigned int blktap_vbd_each(struct blktap *tap, unsigned int from,
			     int (*fn)(struct blktap_vbd *vbd, void *arg),
			     void *arg);

/* control.c: the control node */
int blktap_control_init(void);
void blktap_control_exit(void);
struct kobject *blktap_control_kobj(void);

/* netlink.c: the admin's interface, and events */
struct sk_buff *blktap_netlink_done(struct blktap_op *op);
void blktap_netlink_send(struct sk_buff *skb, u32 portid);
void blktap_netlink_event(u32 event, struct blktap *tap, struct pid *pid);
void blktap_netlink_notice(u32 event, struct blktap *tap, const char *text);
void blktap_netlink_vbd_event(u32 event, const struct blktap_vbd *vbd);
int blktap_netlink_init(void);
void blktap_netlink_exit(void);

/* sysfs.c: attributes of the class and of taps */
extern const struct attribute_group *blktap_tap_groups[];
extern const struct attribute_group *blktap_class_groups[];
extern const struct attribute_group *blktap_control_groups[];

#endif /* _BLKTAP_H */
