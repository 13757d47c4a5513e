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
			 BLKTAP_DEVICE_BLOCK | BLKTAP_DEVICE_RELEASE)

int blktap_disk_major;

static void tap_cmd_end(struct request *rq, blk_status_t status)
{
	trace_blktap_end(rq_tap(rq), rq, status);
	blk_mq_end_request(rq, status);
}

/**
 * tap_cmd_put - a part of a request has ended
 * @rq: the request; gone if this was the last part
 * @status: of that part
 */
void tap_cmd_put(struct request *rq, blk_status_t status)
{
	struct tap_cmd *cmd = blk_mq_rq_to_pdu(rq);

	if (status)
		WRITE_ONCE(cmd->status, status);
	if (!atomic_dec_and_test(&cmd->parts))
		return;
	if (cmd->trim == TRIM_POSTED)
		tap_trim_answered(cmd);
	else
		tap_cmd_end(rq, READ_ONCE(cmd->status));
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
			     unsigned int hctx, unsigned int node)
{
	tap_hit_init(blk_mq_rq_to_pdu(rq));
	return 0;
}

/* No timeout: how long a tapdisk may take is for the admin to say. */
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
	tags->flags = BLKTAP_TAG_FLAGS;
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
	set_disk_ro(disk, tap->rdonly);
	set_bit(GD_SUPPRESS_PART_SCAN, &disk->state);
	tap->no_open = false;
	atomic_set(&tap->openers, 0);
	WRITE_ONCE(tap->disk, disk);

	get_device(&tap->dev);
	err = add_disk(disk);
	if (err) {
		WRITE_ONCE(tap->disk, NULL);
		put_disk(disk);
		blktap_put(tap);
		return err;
	}
	queue_work(blktap_op_wq, &tap->scan);
	return 0;
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
	direct->release = params->flags & BLKTAP_DEVICE_RELEASE;
	direct->block = params->block_size >> SECTOR_SHIFT;
	tap_layout_size(&direct->layout, params->capacity);
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
 * blktap_disk_create - create the disk (CREATE_DEVICE)
 * @tap: the tap, locked; mapped by the caller
 * @params: what the tapdisk says of it; flags that are understood
 *
 * Does no I/O. Context: may sleep. Return: 0, -EINVAL, -EEXIST, -EIO where the
 * ring has failed, or another errno of the block layer's.
 */
int blktap_disk_create(struct blktap *tap, struct blktap_params *params)
{
	struct disk_limits limits = {};
	int err;

	lockdep_assert_held(&tap->lock);
	if (!tap_ring_live(&tap->ring))
		return -EIO;
	if (tap->disk)
		return -EEXIST;
	err = parse_params(params, &limits);
	if (err)
		return err;
	spin_lock(&tap->ring.lock);
	memset(&tap->ring.count, 0, sizeof(tap->ring.count));
	spin_unlock(&tap->ring.lock);
	err = disk_choose_mode(tap, params);
	if (err)
		return err;
	INIT_WORK(&tap->scan, scan_work);
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

	if (!direct || !tap_ring_live(&tap->ring))
		return direct && direct->busy;
	return direct->busy || READ_ONCE(tap->ring.nr_recalls) ||
	       (!direct->failed && tap_layout_is_dirty(&direct->layout));
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
	if (atomic_read(&tap->openers) || !tap_ring_idle(&tap->ring) ||
	    direct_needs_disk(tap))
		err = -EBUSY;
	else
		tap->no_open = true;
	mutex_unlock(&disk->open_mutex);
	return err;
}

/**
 * blktap_disk_remove - remove the disk
 * @tap: the tap, locked
 * @force: although it is open; only when the ring is not live, so that all I/O
 *	ends by itself
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
	if (force) {
		mutex_lock(&disk->open_mutex);
		tap->no_open = true;
		mutex_unlock(&disk->open_mutex);
		blk_mark_disk_dead(disk);
		tap_direct_open(tap);
	} else {
		err = disk_close_door(tap);
		if (err)
			return err;
	}
	cancel_work_sync(&tap->scan);
	del_gendisk(disk);
	put_disk(disk);
	blk_mq_free_tag_set(&tap->tags);
	tap_direct_open(tap);
	tap_direct_free(tap);
	WRITE_ONCE(tap->disk, NULL);
	tap->paused = false;
	tap->resume_failed = false;
	tap_ring_hold(tap, false);
	tap_slot_release_all(tap);
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
	int major = register_blkdev(0, BLKTAP_DISK_NAME);

	if (major < 0)
		return major;
	blktap_disk_major = major;
	return 0;
}

void blktap_disk_exit(void)
{
	unregister_blkdev(blktap_disk_major, BLKTAP_DISK_NAME);
}
