/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every difference between the kernels that this driver builds for, 6.1 and
 * later. No other file tests a version.
 */
#ifndef _BLKTAP_COMPAT_H
#define _BLKTAP_COMPAT_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/device.h>
#include <linux/mm.h>
#include <linux/shrinker.h>
#include <linux/version.h>

#define KERNEL_FROM(a, b) (LINUX_VERSION_CODE >= KERNEL_VERSION(a, b, 0))

/* 6.2: devnode takes a const device */
#if KERNEL_FROM(6, 2)
#define DEVNODE_CONST const
#else
#define DEVNODE_CONST
#endif

/* 6.3: vm_flags are written through helpers */
#if !KERNEL_FROM(6, 3)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}
#endif

/* 6.4: the class of a class attribute is const */
#if KERNEL_FROM(6, 4)
#define CLASS_CONST const
#else
#define CLASS_CONST
#endif

/* 6.5: open and release of a disk lost the fmode */
#if KERNEL_FROM(6, 5)
#define DISK_OPEN(fn, arg)	static int fn(struct gendisk *arg, blk_mode_t mode)
#define DISK_RELEASE(fn, arg)	static void fn(struct gendisk *arg)
#define disk_of_open(arg)	(arg)
#else
#define DISK_OPEN(fn, arg)	static int fn(struct block_device *arg, fmode_t mode)
#define DISK_RELEASE(fn, arg)	static void fn(struct gendisk *arg, fmode_t mode)
#define disk_of_open(arg)	((arg)->bd_disk)
#endif

/* 6.14: merging is no longer asked for */
#if KERNEL_FROM(6, 14)
#define BLKTAP_TAG_FLAGS	(BLK_MQ_F_BLOCKING | BLK_MQ_F_NO_SCHED_BY_DEFAULT)
#else
#define BLKTAP_TAG_FLAGS	(BLK_MQ_F_BLOCKING | BLK_MQ_F_NO_SCHED_BY_DEFAULT | \
				 BLK_MQ_F_SHOULD_MERGE)
#endif

/**
 * struct disk_limits - what a tapdisk may say of its disk, all in bytes
 * @logical: logical block size
 * @physical: physical block size
 * @alignment: offset of the first sector from a physical block's start
 * @max_request: the largest request
 * @discard: granularity of discard, 0 for no discard
 * @discard_alignment: offset of the first granule
 * @write_zeroes: WRITE_ZEROES is understood
 * @write_cache: there is a volatile write cache: FLUSH means something
 */
struct disk_limits {
	unsigned int logical;
	unsigned int physical;
	unsigned int alignment;
	unsigned int max_request;
	unsigned int discard;
	unsigned int discard_alignment;
	bool write_zeroes;
	bool write_cache;
};

/* 6.9: limits are given at allocation; 6.11: cache and rotational are features */
#if KERNEL_FROM(6, 9)
static inline struct gendisk *compat_alloc_disk(struct blk_mq_tag_set *set,
						const struct disk_limits *l,
						void *data)
{
	struct queue_limits lim = {
		.logical_block_size = l->logical,
		.physical_block_size = l->physical,
		.alignment_offset = l->alignment,
		.io_min = l->physical,
		.max_hw_sectors = l->max_request >> SECTOR_SHIFT,
		.max_segments = l->max_request >> PAGE_SHIFT,
		.max_hw_discard_sectors = l->discard ? UINT_MAX >> SECTOR_SHIFT : 0,
		.discard_granularity = l->discard,
		.discard_alignment = l->discard_alignment,
		.max_write_zeroes_sectors = l->write_zeroes ?
					    UINT_MAX >> SECTOR_SHIFT : 0,
#if KERNEL_FROM(6, 11)
		.features = l->write_cache ? BLK_FEAT_WRITE_CACHE : 0,
#endif
	};
	struct gendisk *disk = blk_mq_alloc_disk(set, &lim, data);

#if !KERNEL_FROM(6, 11)
	if (!IS_ERR(disk)) {
		blk_queue_write_cache(disk->queue, l->write_cache, false);
		blk_queue_flag_set(QUEUE_FLAG_NONROT, disk->queue);
	}
#endif
	return disk;
}
#else
static inline struct gendisk *compat_alloc_disk(struct blk_mq_tag_set *set,
						const struct disk_limits *l,
						void *data)
{
	struct gendisk *disk = blk_mq_alloc_disk(set, data);
	struct request_queue *q;

	if (IS_ERR(disk))
		return disk;
	q = disk->queue;
	blk_queue_logical_block_size(q, l->logical);
	blk_queue_physical_block_size(q, l->physical);
	blk_queue_alignment_offset(q, l->alignment);
	blk_queue_max_hw_sectors(q, l->max_request >> SECTOR_SHIFT);
	blk_queue_max_segments(q, l->max_request >> PAGE_SHIFT);
	if (l->discard) {
		blk_queue_max_discard_sectors(q, UINT_MAX >> SECTOR_SHIFT);
		q->limits.discard_granularity = l->discard;
		q->limits.discard_alignment = l->discard_alignment;
	}
	if (l->write_zeroes)
		blk_queue_max_write_zeroes_sectors(q, UINT_MAX >> SECTOR_SHIFT);
	blk_queue_write_cache(q, l->write_cache, false);
	blk_queue_flag_set(QUEUE_FLAG_NONROT, q);
	return disk;
}
#endif

/*
 * 6.9: a plug keeps a time till its task is switched; a flag of the task says so, and
 * then the switch looks for the plug, be there one or not. A task that such a one has
 * made may have the flag without a plug.
 */
static inline void compat_plug_forget_time(void)
{
#ifdef PF_BLOCK_TS
	if (!(current->flags & PF_BLOCK_TS))
		return;
	if (current->plug)
		current->plug->cur_ktime = 0;
	current->flags &= ~PF_BLOCK_TS;
#endif
}

/* 6.13, and later versions of 6.12: a list of requests is a struct with two ends */
#ifdef rq_list_pop
#define COMPAT_RQ_LIST	struct request *
#else
#define COMPAT_RQ_LIST	struct rq_list
#endif

/* 7: the node of a request is an int, as others are */
typedef int compat_init_request(struct blk_mq_tag_set *, struct request *,
				unsigned int, int);
#define COMPAT_NODE							\
	typeof(__builtin_choose_expr(					\
		__same_type(((struct blk_mq_ops *)NULL)->init_request,	\
			    (compat_init_request *)NULL), 0, 0U))

/* 6.10: the source of a trace event's string is known from its declaration */
#if KERNEL_FROM(6, 10)
#define compat_assign_str(dst, src)	__assign_str(dst)
#else
#define compat_assign_str(dst, src)	__assign_str(dst, src)
#endif

typedef unsigned long (blktap_shrink_fn)(struct shrinker *shrinker,
					 struct shrink_control *sc);

/* 6.7: shrinkers are allocated by the core */
#if KERNEL_FROM(6, 7)
static inline struct shrinker *compat_shrinker_add(const char *name,
						   blktap_shrink_fn *count,
						   blktap_shrink_fn *scan)
{
	struct shrinker *s = shrinker_alloc(0, "%s", name);

	if (!s)
		return NULL;
	s->count_objects = count;
	s->scan_objects = scan;
	shrinker_register(s);
	return s;
}

static inline void compat_shrinker_del(struct shrinker *s)
{
	shrinker_free(s);
}
#else
static inline struct shrinker *compat_shrinker_add(const char *name,
						   blktap_shrink_fn *count,
						   blktap_shrink_fn *scan)
{
	struct shrinker *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return NULL;
	s->count_objects = count;
	s->scan_objects = scan;
	s->seeks = DEFAULT_SEEKS;
	if (register_shrinker(s, "%s", name)) {
		kfree(s);
		return NULL;
	}
	return s;
}

static inline void compat_shrinker_del(struct shrinker *s)
{
	unregister_shrinker(s);
	kfree(s);
}
#endif

#endif /* _BLKTAP_COMPAT_H */
