// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory of layout mode's maps: each tap's limit, and what they give back
 * when the system is short of memory. What is clean can be asked for again.
 */
#include <linux/module.h>

#include "blktap.h"
#include "compat.h"

/*
 * At most: a leaf of a maple tree has 256 bytes and 16 slots, of which 7 or more
 * are in use, every other one perhaps for a gap; the nodes above add a quarter.
 */
#define ENTRY_BYTES	96

#define LIMIT_MIN	SZ_64K

static unsigned int map_limit = SZ_4M;
module_param(map_limit, uint, 0444);
MODULE_PARM_DESC(map_limit, "bytes that the maps of a new disk may take; it can be changed for each in sysfs");

static DEFINE_MUTEX(maps_lock);
static LIST_HEAD(maps);
static struct shrinker *maps_shrinker;

static void shrink_work(struct work_struct *work)
{
	struct tap_direct *direct = container_of(work, struct tap_direct,
						 shrink);

	tap_layout_drop(&direct->layout, 0, U64_MAX);
	tap_layout_count(&direct->layout);
}

/* A tap's maps begin: they are empty. */
void tap_maps_add(struct tap_direct *direct)
{
	INIT_WORK(&direct->shrink, shrink_work);
	direct->layout.max = max_t(unsigned int, map_limit, LIMIT_MIN) /
			     ENTRY_BYTES;
	mutex_lock(&maps_lock);
	list_add_tail(&direct->maps_node, &maps);
	mutex_unlock(&maps_lock);
}

/* They end; what is queued for them goes with their workqueue. */
void tap_maps_del(struct tap_direct *direct)
{
	mutex_lock(&maps_lock);
	list_del(&direct->maps_node);
	mutex_unlock(&maps_lock);
}

/* Return: bytes that the maps take, at most. */
u64 tap_maps_bytes(struct tap_direct *direct)
{
	return (u64)READ_ONCE(direct->layout.nr) * ENTRY_BYTES;
}

/* Return: bytes that they may take. */
u64 tap_maps_limit(struct tap_direct *direct)
{
	return (u64)READ_ONCE(direct->layout.max) * ENTRY_BYTES;
}

/**
 * tap_maps_set_limit - change how much memory a tap's maps may take
 * @direct: its layout mode
 * @bytes: how much
 *
 * Return: 0, or -EINVAL where that is too little to work with.
 */
int tap_maps_set_limit(struct tap_direct *direct, u64 bytes)
{
	if (bytes < LIMIT_MIN || bytes > SZ_1G)
		return -EINVAL;
	WRITE_ONCE(direct->layout.max, (unsigned long)bytes / ENTRY_BYTES);
	return 0;
}

static unsigned long shrink_count(struct shrinker *shrinker,
				  struct shrink_control *sc)
{
	struct tap_direct *direct;
	unsigned long nr = 0;

	if (!mutex_trylock(&maps_lock))
		return 0;
	list_for_each_entry(direct, &maps, maps_node)
		nr += READ_ONCE(direct->layout.nr);
	mutex_unlock(&maps_lock);
	return nr;
}

/* Changing a tree may take memory, so that is left to a work item. */
static unsigned long shrink_scan(struct shrinker *shrinker,
				 struct shrink_control *sc)
{
	struct tap_direct *direct;
	unsigned long nr = 0;

	if (!mutex_trylock(&maps_lock))
		return SHRINK_STOP;
	list_for_each_entry(direct, &maps, maps_node) {
		if (nr >= sc->nr_to_scan)
			break;
		if (READ_ONCE(direct->layout.nr) &&
		    queue_work(direct->wq, &direct->shrink))
			nr += READ_ONCE(direct->layout.nr);
	}
	mutex_unlock(&maps_lock);
	return nr ?: SHRINK_STOP;
}

int tap_maps_init(void)
{
	maps_shrinker = compat_shrinker_add("blktap-maps", shrink_count,
					    shrink_scan);
	return maps_shrinker ? 0 : -ENOMEM;
}

void tap_maps_exit(void)
{
	compat_shrinker_del(maps_shrinker);
}
