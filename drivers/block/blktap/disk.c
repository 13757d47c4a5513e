// SPDX-License-Identifier: GPL-2.0-only
/* The block device of a tap: its queue, its limits, its opens and its end. */
#include <linux/blkdev.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/slab.h>

#include "blktap.h"
#include "compat.h"
#include "trace.h"

#define DISK_DEPTH	128	/* requests a hardware queue */
#define DISK_QUEUES	8U	/* at most: 128 requests and their pdus each */

#define BLOCK_SIZE_MAX	SZ_256M	/* bytes in which an image allocates */
#define RELEASE_NEEDS	(BLKTAP_DEVICE_LAYOUT | BLKTAP_DEVICE_TRIM | \
			 BLKTAP_DEVICE_BLOCK)

#define DISK_FLAGS	(BLKTAP_DEVICE_RDONLY | BLKTAP_DEVICE_PSZ | \
			 BLKTAP_DEVICE_FLUSH | BLKTAP_DEVICE_TRIM | \
			 BLKTAP_DEVICE_TRIM_RZ | BLKTAP_DEVICE_LAYOUT | \
			 BLKTAP_DEVICE_BLOCK | BLKTAP_DEVICE_RELEASE | \
			 BLKTAP_DEVICE_ERRNO)

/* What a disk has told the block layer it can do, and what that is made of. */
#define DISK_PROMISES	(BLKTAP_DEVICE_FLUSH | BLKTAP_DEVICE_TRIM)

int blktap_disk_major;
/* Scans wait for tapdisks, and operations for the ends of disks: not behind each other. */
static struct workqueue_struct *disk_wq;

static void tap_cmd_end(struct request *rq, blk_status_t status)
{
	trace_blktap_end(rq_tap(rq), rq, status);
	blk_mq_end_request(rq, status);
}

static bool may_pass(blk_status_t status)
{
	return status == BLK_STS_NOSPC || status == BLK_STS_TIMEOUT;
}

/**
 * tap_cmd_put - a part of a request has ended
 * @rq: the request; gone if this was the last part
 * @status: of that part
 *
 * The last one ends the request, or has it done again. Context: process.
 */
void tap_cmd_put(struct request *rq, blk_status_t status)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);
	struct blktap *tap = rq->q->queuedata;

	if (status && (!may_pass(status) || !READ_ONCE(cmd->status)))
		WRITE_ONCE(cmd->status, status);
	if (!atomic_dec_and_test(&cmd->parts))
		return;
	status = READ_ONCE(cmd->status);
	if (!status && cmd->again)
		tap_ring_again(tap, rq);
	else if (cmd->trim == TRIM_POSTED)
		tap_trim_answered(cmd);
	else if (!tap_recover_retry(tap, rq, status))
		tap_cmd_end(rq, status);
}

static int ring_op(struct request *rq)
{
	switch (req_op(rq)) {
	case REQ_OP_READ:
		return BLKTAP_OP_READ;
	case REQ_OP_WRITE:
		return BLKTAP_OP_WRITE;
	case REQ_OP_FLUSH:
		return BLKTAP_OP_FLUSH;
	case REQ_OP_DISCARD:
		return BLKTAP_OP_TRIM;
	default:
		return -EOPNOTSUPP;
	}
}

void tap_start_request(struct blktap *tap, struct request *rq)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	cmd->clock.since = 0;
	cmd->retried = 0;
	blk_mq_start_request(rq);
	trace_blktap_queue(tap, rq);
}

/* @last: of its batch. */
static blk_status_t disk_queue_one(struct blktap *tap, struct request *rq,
				   bool last)
{
	int op;

	tap_start_request(tap, rq);
	if (tap->direct)
		return tap_hit_queue(tap, rq);
	op = ring_op(rq);
	if (op < 0)
		return BLK_STS_NOTSUPP;
	return tap_ring_queue(tap, rq, op, last);
}

static blk_status_t disk_queue_rq(struct blk_mq_hw_ctx *hctx,
				  const struct blk_mq_queue_data *bd)
{
	return disk_queue_one(hctx->queue->queuedata, bd->rq, bd->last);
}

/* A whole batch, from a plug. */
static void disk_queue_rqs(COMPAT_RQ_LIST *list)
{
	struct blktap *tap = rq_tap(rq_list_peek(list));
	struct request *rq;

	if (tap->direct) {
		tap_hit_queue_list(tap, list);
		return;
	}
	while ((rq = rq_list_pop(list))) {
		blk_status_t status = disk_queue_one(tap, rq, false);

		if (status)
			tap_cmd_end(rq, status);
	}
	tap_ring_kick(&tap->ring);
}

static void disk_commit_rqs(struct blk_mq_hw_ctx *hctx)
{
	struct blktap *tap = hctx->queue->queuedata;

	tap_ring_kick(&tap->ring);
}

static int disk_init_request(struct blk_mq_tag_set *set, struct request *rq,
			     unsigned int hctx, COMPAT_NODE node)
{
	tap_hit_init(blk_mq_rq_to_pdu(rq));
	return 0;
}

/* The block layer's timeout is not used: most requests need no tapdisk. */
static const struct blk_mq_ops disk_mq_ops = {
	.queue_rq	= disk_queue_rq,
	.queue_rqs	= disk_queue_rqs,
	.commit_rqs	= disk_commit_rqs,
	.init_request	= disk_init_request,
};

DISK_OPEN(disk_open, arg)
{
	struct blktap *tap = disk_of_open(arg)->private_data;

	if (tap->no_open)
		return -ENXIO;
	atomic_inc(&tap->openers);
	return 0;
}

DISK_RELEASE(disk_release, disk)
{
	struct blktap *tap = disk->private_data;

	/* One that was removed by force may be open long after. */
	if (READ_ONCE(tap->disk) != disk || !atomic_dec_and_test(&tap->openers))
		return;
	tap_ring_closed(&tap->ring);
	wake_up_all(&tap->wait);
	blktap_vbd_clear(tap, false);
}

static void disk_free(struct gendisk *disk)
{
	blktap_put(disk->private_data);
}

static const struct block_device_operations disk_fops = {
	.owner		= THIS_MODULE,
	.open		= disk_open,
	.release	= disk_release,
	.free_disk	= disk_free,
};

/*
 * Reads the partition table after CREATE_DEVICE has returned, since it is the
 * tapdisk that has to serve those reads. What the reads left in the page cache
 * must not outlive a scan without openers: the first one may choose another
 * block size.
 */
static void scan_work(struct work_struct *work)
{
	struct blktap *tap = container_of(work, struct blktap, scan);
	struct gendisk *disk = tap->disk;

	mutex_lock(&disk->open_mutex);
	if (!tap->no_open) {
		clear_bit(GD_SUPPRESS_PART_SCAN, &disk->state);
		bdev_disk_changed(disk, false);
		if (!atomic_read(&tap->openers))
			invalidate_bdev(disk->part0);
	}
	mutex_unlock(&disk->open_mutex);
	wake_up_all(&tap->wait);
}

static void mark_dead_work(struct work_struct *work)
{
	struct blktap *tap = container_of(work, struct blktap, mark_dead);

	blk_mark_disk_dead(tap->disk);
	WRITE_ONCE(tap->marking, false);
	wake_up_all(&tap->wait);
}

/* tda..tdz, tdaa..: bijective base 26, as for sd. */
static void disk_set_name(struct gendisk *disk, unsigned int index)
{
	char digits[8], *p = digits + sizeof(digits);

	*--p = '\0';
	for (index++; index; index = (index - 1) / 26)
		*--p = 'a' + (index - 1) % 26;
	snprintf(disk->disk_name, DISK_NAME_LEN, "td%s", p);
}

static bool capacity_valid(u64 capacity, u64 sector_size)
{
	return capacity && capacity <= LLONG_MAX >> SECTOR_SHIFT &&
	       !(capacity & ((sector_size >> SECTOR_SHIFT) - 1));
}

/* Return: 0, with @l as @p says of TRIM; -EINVAL where that makes no sense. */
static int parse_trim(const struct blktap_params *p, struct disk_limits *l)
{
	if (p->trim_block_size < p->sector_size ||
	    p->trim_block_size % p->sector_size ||
	    p->trim_block_offset >= p->trim_block_size ||
	    p->trim_block_offset % p->sector_size)
		return -EINVAL;
	l->discard = p->trim_block_size;
	l->discard_alignment = p->trim_block_offset;
	return 0;
}

static int parse_block(const struct blktap_params *p)
{
	if (p->__pad2 || p->block_size < PAGE_SIZE || p->block_size > BLOCK_SIZE_MAX ||
	    !is_power_of_2(p->block_size))
		return -EINVAL;
	return 0;
}

/* Return: 0, with @l as @p says; -EINVAL where that makes no sense. */
static int parse_params(const struct blktap_params *p, struct disk_limits *l)
{
	int err = 0;

	if (p->sector_size < SECTOR_SIZE || p->sector_size > PAGE_SIZE ||
	    !is_power_of_2(p->sector_size) ||
	    !capacity_valid(p->capacity, p->sector_size))
		return -EINVAL;
	l->logical = p->sector_size;
	l->physical = p->sector_size;
	l->max_request = BLKTAP_MAX_REQUEST;
	l->write_cache = p->flags & (BLKTAP_DEVICE_FLUSH | BLKTAP_DEVICE_LAYOUT);
	l->write_zeroes = p->flags & BLKTAP_DEVICE_LAYOUT;

	if (p->flags & BLKTAP_DEVICE_PSZ) {
		if (p->phys_block_size < p->sector_size ||
		    !is_power_of_2(p->phys_block_size) ||
		    p->phys_block_offset >= p->phys_block_size ||
		    p->phys_block_offset % p->sector_size)
			return -EINVAL;
		l->physical = p->phys_block_size;
		l->alignment = p->phys_block_offset;
	}
	if (p->flags & BLKTAP_DEVICE_RELEASE &&
	    (p->flags & RELEASE_NEEDS) != RELEASE_NEEDS)
		return -EINVAL;
	if (p->flags & BLKTAP_DEVICE_TRIM)
		err = parse_trim(p, l);
	if (!err && p->flags & BLKTAP_DEVICE_BLOCK)
		err = parse_block(p);
	return err;
}

static int disk_alloc_tags(struct blktap *tap)
{
	struct blk_mq_tag_set *tags = &tap->tags;

	memset(tags, 0, sizeof(*tags));
	tags->ops = &disk_mq_ops;
	tags->nr_hw_queues = min(nr_cpu_ids, DISK_QUEUES);
	tags->queue_depth = DISK_DEPTH;
	tags->numa_node = NUMA_NO_NODE;
	tags->cmd_size = sizeof(struct tap_cmd);
	/*
	 * Stacking: a CPU that goes must not wait for requests. They may wait
	 * for a tapdisk, which may wait until the CPU has gone: making a disk
	 * or a workqueue takes cpus_read_lock().
	 */
	tags->flags = BLKTAP_TAG_FLAGS | BLK_MQ_F_STACKING;
	return blk_mq_alloc_tag_set(tags);
}

static int disk_add(struct blktap *tap, const struct blktap_params *params,
		    const struct disk_limits *limits)
{
	struct gendisk *disk = compat_alloc_disk(&tap->tags, limits, tap);
	int err;

	if (IS_ERR(disk))
		return PTR_ERR(disk);
	disk->major = blktap_disk_major;
	disk->first_minor = tap->minor;
	disk->minors = 1;
	disk->fops = &disk_fops;
	disk->private_data = tap;
	disk_set_name(disk, tap->minor);
	set_capacity(disk, params->capacity);
	tap->rdonly = params->flags & BLKTAP_DEVICE_RDONLY;
	tap->flags = params->flags;
	set_disk_ro(disk, tap->rdonly);
	set_bit(GD_SUPPRESS_PART_SCAN, &disk->state);
	tap->no_open = false;
	atomic_set(&tap->openers, 0);
	WRITE_ONCE(tap->disk, disk);
	WRITE_ONCE(tap->free_wanted, false);
	tap_ring_join(tap, params->flags & BLKTAP_DEVICE_ERRNO);

	get_device(&tap->dev);
	err = add_disk(disk);
	if (err) {
		tap_ring_leave(tap);
		tap_recover_stop(tap);
		WRITE_ONCE(tap->disk, NULL);
		put_disk(disk);
		blktap_put(tap);
		return err;
	}
	queue_work(disk_wq, &tap->scan);
	return 0;
}

/*
 * Of the image, not of the disk: another one has been put in its place, a snapshot
 * say, whose blocks are others. The queue's chunk is no more than a good size.
 */
static void disk_take_blocks(struct tap_direct *direct,
			     const struct blktap_params *params)
{
	u32 size = params->flags & BLKTAP_DEVICE_BLOCK ? params->block_size : 0;

	WRITE_ONCE(direct->block, size >> SECTOR_SHIFT);
	WRITE_ONCE(direct->release, params->flags & BLKTAP_DEVICE_RELEASE);
}

static int disk_choose_mode(struct blktap *tap,
			    const struct blktap_params *params)
{
	struct tap_direct *direct;

	if (!(params->flags & BLKTAP_DEVICE_LAYOUT)) {
		tap_direct_free(tap);
		return 0;
	}
	direct = tap_direct_get(tap);
	if (!direct)
		return -ENOMEM;
	direct->flush = params->flags & BLKTAP_DEVICE_FLUSH;
	disk_take_blocks(direct, params);
	tap_layout_size(&direct->layout, params->capacity);
	return 0;
}

/* Is this the same disk, for all that those who use it can tell? */
static bool disk_same(struct blktap *tap, struct blktap_params *params)
{
	struct tap_direct *direct = tap->direct;

	if (!direct)
		params->flags &= ~(BLKTAP_DEVICE_LAYOUT | BLKTAP_DEVICE_RELEASE);
	/* One that grants nothing is asked for extents too, and needs their pages. */
	else if (!READ_ONCE(tap->ring.layout[0]) ||
		 (!(params->flags & BLKTAP_DEVICE_LAYOUT) &&
		  READ_ONCE(direct->layout.nr)))
		return false;
	return params->sector_size == queue_logical_block_size(tap->disk->queue) &&
	       !((params->flags ^ tap->flags) & BLKTAP_DEVICE_RDONLY) &&
	       !(tap->flags & DISK_PROMISES & ~params->flags) &&
	       (tap->paused || params->capacity >= get_capacity(tap->disk));
}

/* The disk of a tapdisk that has gone: this one serves it from now on. */
static int disk_join(struct blktap *tap, struct blktap_params *params)
{
	int err;

	if (tap_ring_joined(&tap->ring))
		return -EEXIST;
	/* It was to open its image, and the one who asked for that has given up. */
	if (tap->paused && tap->tapdisk &&
	    !(tap->op && tap->op->cmd == BLKTAP_CMD_RESUME))
		return -ECANCELED;
	if (!disk_same(tap, params))
		return -EINVAL;
	/* One that has grown meanwhile gets its new size in a pause, as ever. */
	if (!tap->paused)
		params->capacity = get_capacity(tap->disk);
	err = tap_slot_reserve(tap);
	if (err)
		return err;
	if (params->capacity != get_capacity(tap->disk))
		set_capacity_and_notify(tap->disk, params->capacity);
	if (tap->direct)
		disk_take_blocks(tap->direct, params);
	WRITE_ONCE(tap->free_wanted, false);
	tap_ring_join(tap, params->flags & BLKTAP_DEVICE_ERRNO);
	return 0;
}

/**
 * blktap_disk_flags - what of a tapdisk's flags is understood
 * @tap: the tap
 * @flags: BLKTAP_DEVICE_*, and what else is set
 *
 * Layout mode, and what came with it, is for one who has mapped its pages: an
 * old tapdisk may set any bit.
 */
unsigned long blktap_disk_flags(struct blktap *tap, unsigned long flags)
{
	if (!READ_ONCE(tap->ring.layout[0]))
		flags &= ~(BLKTAP_DEVICE_LAYOUT | BLKTAP_DEVICE_BLOCK |
			   BLKTAP_DEVICE_RELEASE);
	return flags & DISK_FLAGS;
}

/**
 * blktap_disk_create - create the disk, or serve it on (CREATE_DEVICE)
 * @tap: the tap, locked; mapped by the caller
 * @params: what the tapdisk says of it; flags that are understood
 *
 * Does no I/O. Context: may sleep. Return: 0; -EINVAL, also where it is not the
 * disk that is there; -EEXIST; -EIO where the ring has failed, or is no more the
 * caller's; or another errno of the block layer's.
 */
int blktap_disk_create(struct blktap *tap, struct blktap_params *params)
{
	struct disk_limits limits = {};
	int err;

	lockdep_assert_held(&tap->lock);
	if (!tap_ring_live(&tap->ring) ||
	    !tap_ring_mapped_by(&tap->ring, current->mm))
		return -EIO;
	/* The ring may have been mapped anew, without the layout's pages. */
	if (params->flags != blktap_disk_flags(tap, params->flags))
		return -EINVAL;
	err = parse_params(params, &limits);
	if (tap->disk)
		return err && !tap_ring_joined(&tap->ring) ? err :
		       disk_join(tap, params);
	if (err)
		return err;
	spin_lock(&tap->ring.lock);
	memset(&tap->ring.count, 0, sizeof(tap->ring.count));
	tap->ring.writes = 0;
	tap->ring.flushed = 0;
	spin_unlock(&tap->ring.lock);
	err = disk_choose_mode(tap, params);
	if (err)
		return err;
	INIT_WORK(&tap->scan, scan_work);
	INIT_WORK(&tap->mark_dead, mark_dead_work);
	err = tap_slot_reserve(tap);
	if (err)
		return err;
	err = disk_alloc_tags(tap);
	if (err)
		goto out_slots;
	err = disk_add(tap, params, &limits);
	if (err)
		goto out_tags;
	return 0;

out_tags:
	blk_mq_free_tag_set(&tap->tags);
out_slots:
	tap_slot_release_all(tap);
	return err;
}

/**
 * blktap_disk_resize - change the capacity (SET_PARAMS)
 * @tap: the tap, locked
 * @capacity: sectors
 * @sector_size: bytes; can't change while the disk exists
 */
int blktap_disk_resize(struct blktap *tap, u64 capacity, u64 sector_size)
{
	lockdep_assert_held(&tap->lock);
	if (!tap->disk || !tap->paused ||
	    sector_size != queue_logical_block_size(tap->disk->queue) ||
	    !capacity_valid(capacity, sector_size))
		return -EINVAL;
	set_capacity_and_notify(tap->disk, capacity);
	return 0;
}

/* Something is to be committed, or an operation is at work on the layout. */
static bool direct_needs_disk(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;

	if (!direct)
		return false;
	/* Whose files may hang: not to be waited for under blktap.lock. */
	if (direct->busy || atomic_read(&direct->jobs))
		return true;
	if (!tap_ring_joined(&tap->ring))
		return false;
	return READ_ONCE(tap->ring.nr_recalls) ||
	       (!direct->failed && tap_layout_is_dirty(&direct->layout));
}

/* By force: that has yet to remove it, or I/O still is where it gave up. */
static bool disk_is_killed(struct blktap *tap)
{
	struct gendisk *disk = tap->disk;

	return tap->killing || tap->marking ||
	       (test_bit(GD_DEAD, &disk->state) &&
		!percpu_ref_is_zero(&disk->queue->q_usage_counter));
}

/*
 * Lets nobody open the disk any more. Only tries the lock: who holds it may be
 * waiting for I/O that the caller, a tapdisk, has to serve.
 */
static int disk_close_door(struct blktap *tap)
{
	struct gendisk *disk = tap->disk;
	int err = 0;

	if (!mutex_trylock(&disk->open_mutex))
		return -EBUSY;
	if (atomic_read(&tap->openers) || blktap_has_vbd(tap) ||
	    !tap_ring_idle(&tap->ring) || direct_needs_disk(tap) ||
	    disk_is_killed(tap))
		err = -EBUSY;
	else
		tap->no_open = true;
	mutex_unlock(&disk->open_mutex);
	return err;
}

/* Nobody has a slot. */
static bool disk_ring_quiet(struct blktap *tap)
{
	return !READ_ONCE(tap->ring.owned) && !READ_ONCE(tap->ring.busy);
}

static bool disk_jobs_done(struct blktap *tap)
{
	return disk_ring_quiet(tap) &&
	       !(tap->direct && atomic_read(&tap->direct->jobs));
}

/* Return: 0; -ETIMEDOUT, or -ECANCELED. */
static int disk_wait_for_io(struct blktap *tap, struct gendisk *disk,
			    unsigned long deadline)
{
	/* In pieces: a task that sleeps so for minutes is taken for a hung one. */
	while (!blk_mq_freeze_queue_wait_timeout(disk->queue, HZ))
		if (time_after_eq(jiffies, deadline))
			return -ETIMEDOUT;
	return tap_wait(tap, deadline, disk_jobs_done(tap));
}

/* From Linux 6.6 on that writes back what is cached, and so may wait for a file. */
static void disk_mark_dead(struct blktap *tap)
{
	lockdep_assert_held(&tap->lock);
	if (tap->marking || test_bit(GD_DEAD, &tap->disk->state))
		return;
	tap->marking = true;
	queue_work(disk_wq, &tap->mark_dead);
}

/**
 * blktap_disk_kill - let a disk's I/O end, and none begin, to remove it by force
 * @tap: the tap; its ring has failed, so that nothing waits for the tapdisk
 * @deadline: in jiffies
 *
 * What is in a file, with the requester's own pages, ends when the filesystem or
 * the device beneath ends it, and can't be taken back. That may be never, so it is
 * waited for without blktap.lock; @killing keeps the disk meanwhile. Context: the
 * tap's operation. Return: 0, blktap_disk_remove() waits for no I/O then;
 * -ETIMEDOUT: the disk is dead, and stays.
 */
int blktap_disk_kill(struct blktap *tap, unsigned long deadline)
{
	struct gendisk *disk;
	int err;

	mutex_lock(&tap->lock);
	disk = tap->disk;
	if (disk) {
		tap->killing = true;
		WRITE_ONCE(tap->no_open, true);
		disk_mark_dead(tap);
	}
	mutex_unlock(&tap->lock);
	if (!disk)
		return 0;
	err = tap_wait(tap, deadline, !READ_ONCE(tap->marking)) ?:
	      disk_wait_for_io(tap, disk, deadline);
	if (!err)
		return 0;
	mutex_lock(&tap->lock);
	tap->killing = false;
	mutex_unlock(&tap->lock);
	return err;
}

/**
 * blktap_disk_remove - remove the disk
 * @tap: the tap, locked
 * @force: although it is open; only after blktap_disk_kill()
 *
 * Return: 0, also where there is none; -EBUSY while it is open or in use.
 */
int blktap_disk_remove(struct blktap *tap, bool force)
{
	struct gendisk *disk = tap->disk;
	int err;

	lockdep_assert_held(&tap->lock);
	if (!disk)
		return 0;
	if (!force) {
		err = disk_close_door(tap);
		if (err)
			return err;
	}
	cancel_work_sync(&tap->scan);
	cancel_work_sync(&tap->mark_dead);
	del_gendisk(disk);
	tap_recover_stop(tap);
	blk_mq_free_tag_set(&tap->tags);
	/*
	 * A RESPOND may still look at an answer, and at the disk that it is for:
	 * what is the kernel's ends soon. What the tapdisk has is nothing, or is
	 * just being taken back by who has made the ring fail.
	 */
	wait_event(tap->wait, disk_ring_quiet(tap));
	tap_direct_open(tap);
	tap_direct_free(tap);
	tap_recover_keep(tap, -1);
	blktap_image_forget(tap);
	WRITE_ONCE(tap->disk, NULL);
	put_disk(disk);
	tap->paused = false;
	tap->resume_failed = false;
	tap_ring_leave(tap);
	tap_slot_release_all(tap);
	tap->killing = false;
	return 0;
}

/* Somebody has the disk, or a partition of it, for himself: a mount, say. */
bool blktap_disk_claimed(struct blktap *tap)
{
	lockdep_assert_held(&tap->lock);
	return tap->disk && READ_ONCE(tap->disk->part0->bd_holders);
}

/* Return: the tap whose disk it is, or NULL for a disk of somebody else's. */
struct blktap *blktap_disk_tap(struct gendisk *disk)
{
	return disk->fops == &disk_fops ? disk->private_data : NULL;
}

int blktap_disk_init(void)
{
	int major;

	disk_wq = alloc_workqueue("blktap-disk", WQ_UNBOUND | WQ_MEM_RECLAIM,
				  WQ_MAX_ACTIVE);
	if (!disk_wq)
		return -ENOMEM;
	major = register_blkdev(0, BLKTAP_DISK_NAME);
	if (major < 0) {
		destroy_workqueue(disk_wq);
		return major;
	}
	blktap_disk_major = major;
	return 0;
}

void blktap_disk_exit(void)
{
	unregister_blkdev(blktap_disk_major, BLKTAP_DISK_NAME);
	destroy_workqueue(disk_wq);
}
