// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pools: quotas of pages for the slots of the taps that are in them.
 *
 * A pool hands out no pages, it counts them. Each of its taps has a reserve
 * (slot 0's pages) that is counted but never refused, so a tap goes on, slowly,
 * when the pool is empty; then pages are taken from its idle taps. A pool lives
 * as long as a tap is in it, or it is the default.
 */
#include <linux/capability.h>
#include <linux/ctype.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "blktap.h"
#include "compat.h"

/* An exhausted pool is not looked over for every request. */
#define RECLAIM_DELAY	(HZ / 50 + 1)

static DEFINE_MUTEX(pools_lock);
static LIST_HEAD(pools);
static struct blktap_pool *pool_default;
static struct kobject *pools_dir;
static struct shrinker *pool_shrinker;

#define to_pool(obj) container_of(obj, struct blktap_pool, kobj)

/*
 * Context: the pool is not dropped: pools_lock, or an attribute of it is being written.
 * Not both: who drops it has pools_lock, and waits for such writers.
 */
static int pool_set_size(struct blktap_pool *pool, unsigned long pages)
{
	if (pages < BLKTAP_SEGMENT_MAX || pages > INT_MAX / 2)
		return -EINVAL;
	WRITE_ONCE(pool->size, pages);
	blktap_pool_wanted(pool);
	return 0;
}

static ssize_t size_show(struct kobject *kobj, struct kobj_attribute *attr,
			 char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(to_pool(kobj)->size));
}

static ssize_t size_store(struct kobject *kobj, struct kobj_attribute *attr,
			  const char *buf, size_t len)
{
	unsigned long pages;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = kstrtoul(buf, 0, &pages);
	if (!err)
		err = pool_set_size(to_pool(kobj), pages);
	return err ?: len;
}

static ssize_t free_show(struct kobject *kobj, struct kobj_attribute *attr,
			 char *buf)
{
	return sysfs_emit(buf, "%d\n", blktap_pool_free(to_pool(kobj)));
}

static struct kobj_attribute size_attr = __ATTR_RW(size);
static struct kobj_attribute free_attr = __ATTR_RO(free);

static struct attribute *pool_attrs[] = {
	&size_attr.attr,
	&free_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(pool);

static void pool_release(struct kobject *kobj)
{
	kfree(to_pool(kobj));
}

static const struct kobj_type pool_type = {
	.release	= pool_release,
	.sysfs_ops	= &kobj_sysfs_ops,
	.default_groups	= pool_groups,
};

/* Takes pages from the taps of a pool that have nothing to do. */
static void reclaim_work(struct work_struct *work)
{
	struct blktap_pool *pool = container_of(to_delayed_work(work),
						struct blktap_pool, reclaim);
	struct blktap *tap;

	mutex_lock(&pools_lock);
	list_for_each_entry(tap, &pool->taps, pool_node)
		if (tap_ring_idle(&tap->ring))
			tap_slot_reclaim(tap, UINT_MAX);
	list_for_each_entry(tap, &pool->taps, pool_node) {
		if (!blktap_pool_free(pool))
			break;
		tap_ring_pump(tap);
		tap_ring_kick(&tap->ring);
	}
	mutex_unlock(&pools_lock);
	blktap_pool_put(pool);
}

static struct blktap_pool *pool_lookup(const char *name)
{
	struct blktap_pool *pool;

	lockdep_assert_held(&pools_lock);
	list_for_each_entry(pool, &pools, node)
		if (!strcmp(kobject_name(&pool->kobj), name))
			return pool;
	return NULL;
}

static struct blktap_pool *pool_alloc(const char *name)
{
	struct blktap_pool *pool = kzalloc(sizeof(*pool), GFP_KERNEL);
	int err;

	if (!pool)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&pool->taps);
	INIT_DELAYED_WORK(&pool->reclaim, reclaim_work);
	pool->size = BLKTAP_POOL_DEFAULT;
	err = kobject_init_and_add(&pool->kobj, &pool_type, pools_dir, "%s",
				   name);
	if (err) {
		kobject_put(&pool->kobj);
		return ERR_PTR(err);
	}
	list_add_tail(&pool->node, &pools);
	return pool;
}

/* A recovery may wait for pools_lock: no memory here waits for a tap's disk. */
static struct blktap_pool *pool_create(const char *name)
{
	unsigned int noio = memalloc_noio_save();
	struct blktap_pool *pool = pool_alloc(name);

	memalloc_noio_restore(noio);
	return pool;
}

static bool name_valid(const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= BLKTAP_POOL_NAME_MAX || *name == '.')
		return false;
	while (*name)
		if (!isgraph(*name) || *name++ == '/')
			return false;
	return true;
}

/* Context: pools_lock. Return: the pool of that name, made where there is none. */
static struct blktap_pool *pool_obtain(const char *name)
{
	struct blktap_pool *pool;

	if (!name_valid(name))
		return ERR_PTR(-EINVAL);
	if (!pool_default)
		return ERR_PTR(-ENODEV);
	pool = pool_lookup(name);
	return pool ?: pool_create(name);
}

/* Context: pools_lock. A pool without taps goes, unless it is the default. */
static void pool_drop(struct blktap_pool *pool)
{
	lockdep_assert_held(&pools_lock);
	if (pool == pool_default || !list_empty(&pool->taps))
		return;
	list_del_init(&pool->node);
	kobject_del(&pool->kobj);
	/* What runs already ends with the workqueue. */
	if (cancel_delayed_work(&pool->reclaim))
		kobject_put(&pool->kobj);
	kobject_put(&pool->kobj);
}

/**
 * blktap_pool_find - look up a pool
 * @name: its name
 *
 * Return: the pool with a reference for the caller (blktap_pool_put()), or NULL.
 */
struct blktap_pool *blktap_pool_find(const char *name)
{
	struct blktap_pool *pool;

	mutex_lock(&pools_lock);
	pool = pool_lookup(name);
	if (pool)
		kobject_get(&pool->kobj);
	mutex_unlock(&pools_lock);
	return pool;
}

/* The @n-th pool, with a reference, or NULL: to walk them for a dump. */
struct blktap_pool *blktap_pool_nth(unsigned int n)
{
	struct blktap_pool *pool, *found = NULL;

	mutex_lock(&pools_lock);
	list_for_each_entry(pool, &pools, node) {
		if (n--)
			continue;
		kobject_get(&pool->kobj);
		found = pool;
		break;
	}
	mutex_unlock(&pools_lock);
	return found;
}

/* The pool that new taps join, with a reference; NULL while the module loads. */
struct blktap_pool *blktap_pool_default(void)
{
	struct blktap_pool *pool;

	mutex_lock(&pools_lock);
	pool = pool_default;
	if (pool)
		kobject_get(&pool->kobj);
	mutex_unlock(&pools_lock);
	return pool;
}

void blktap_pool_put(struct blktap_pool *pool)
{
	kobject_put(&pool->kobj);
}

/* Make a pool, new or there already, the one that new taps join. */
int blktap_pool_set_default(const char *name)
{
	struct blktap_pool *pool, *old;

	mutex_lock(&pools_lock);
	pool = pool_obtain(name);
	if (!IS_ERR(pool) && pool != pool_default) {
		old = pool_default;
		pool_default = pool;
		pool_drop(old);
	}
	mutex_unlock(&pools_lock);
	return PTR_ERR_OR_ZERO(pool);
}

/**
 * blktap_pool_resize - change a pool's quota
 * @pool: the pool
 * @pages: the quota; what is in use beyond it comes back as taps become idle
 *
 * Return: 0; -EINVAL; -ENOENT: it has just gone.
 */
int blktap_pool_resize(struct blktap_pool *pool, unsigned long pages)
{
	int err;

	mutex_lock(&pools_lock);
	err = list_empty(&pool->node) ? -ENOENT : pool_set_size(pool, pages);
	mutex_unlock(&pools_lock);
	return err;
}

/* Keep pages from being reclaimed. Nests in blktap.lock. */
void blktap_pool_lock(void)
{
	mutex_lock(&pools_lock);
}

void blktap_pool_unlock(void)
{
	mutex_unlock(&pools_lock);
}

/* Pages that could still be charged. */
int blktap_pool_free(struct blktap_pool *pool)
{
	return max(0, READ_ONCE(pool->size) - atomic_read(&pool->used));
}

/**
 * blktap_pool_move - put a tap into a pool
 * @tap: the tap; new, or locked
 * @name: the pool, made where there is none; NULL for the default
 *
 * Return: 0, -EBUSY while the tap has a disk, -EINVAL for a bad name, -ENOMEM.
 */
int blktap_pool_move(struct blktap *tap, const char *name)
{
	struct blktap_pool *pool, *old = tap->pool;

	if (tap->disk)
		return -EBUSY;
	mutex_lock(&pools_lock);
	pool = name ? pool_obtain(name) : pool_default ?: ERR_PTR(-ENODEV);
	if (!IS_ERR(pool) && pool != old) {
		list_move_tail(&tap->pool_node, &pool->taps);
		tap->pool = pool;
		if (old)
			pool_drop(old);
	}
	mutex_unlock(&pools_lock);
	return PTR_ERR_OR_ZERO(pool);
}

/* A tap that is being removed leaves its pool. */
void blktap_pool_leave(struct blktap *tap)
{
	mutex_lock(&pools_lock);
	list_del_init(&tap->pool_node);
	pool_drop(tap->pool);
	tap->pool = NULL;
	mutex_unlock(&pools_lock);
}

/* Count one page for a slot, if the quota has it. Any context. */
bool blktap_pool_charge(struct blktap_pool *pool)
{
	if (atomic_inc_return(&pool->used) <= READ_ONCE(pool->size))
		return true;
	atomic_dec(&pool->used);
	return false;
}

/* Count the pages of a reserve, quota or not. */
void blktap_pool_charge_reserve(struct blktap_pool *pool, unsigned int nr)
{
	atomic_add(nr, &pool->used);
}

void blktap_pool_uncharge(struct blktap_pool *pool, unsigned int nr)
{
	atomic_sub(nr, &pool->used);
}

/* A slot got no page: see what idle taps have. The caller has a reference. */
void blktap_pool_wanted(struct blktap_pool *pool)
{
	kobject_get(&pool->kobj);
	if (!queue_delayed_work(blktap_wq, &pool->reclaim, RECLAIM_DELAY))
		kobject_put(&pool->kobj);
}

static unsigned long shrink_count(struct shrinker *shrinker,
				  struct shrink_control *sc)
{
	struct blktap_pool *pool;
	unsigned long nr = 0;
	struct blktap *tap;

	if (!mutex_trylock(&pools_lock))
		return 0;
	list_for_each_entry(pool, &pools, node)
		list_for_each_entry(tap, &pool->taps, pool_node)
			nr += tap_slot_idle_pages(tap);
	mutex_unlock(&pools_lock);
	return nr;
}

static unsigned long shrink_scan(struct shrinker *shrinker,
				 struct shrink_control *sc)
{
	struct blktap_pool *pool;
	unsigned long nr = 0;
	struct blktap *tap;

	if (!mutex_trylock(&pools_lock))
		return SHRINK_STOP;
	list_for_each_entry(pool, &pools, node)
		list_for_each_entry(tap, &pool->taps, pool_node)
			if (nr < sc->nr_to_scan)
				nr += tap_slot_reclaim(tap, sc->nr_to_scan - nr);
	mutex_unlock(&pools_lock);
	return nr ?: SHRINK_STOP;
}

static int pool_init_default(void)
{
	struct blktap_pool *pool;

	mutex_lock(&pools_lock);
	pool = pool_create("default");
	if (!IS_ERR(pool))
		pool_default = pool;
	mutex_unlock(&pools_lock);
	return PTR_ERR_OR_ZERO(pool);
}

static void pool_exit_default(void)
{
	struct blktap_pool *pool;

	mutex_lock(&pools_lock);
	pool = pool_default;
	pool_default = NULL;
	pool_drop(pool);
	mutex_unlock(&pools_lock);
}

int blktap_pool_init(void)
{
	int err;

	pools_dir = kobject_create_and_add("pools", blktap_control_kobj());
	if (!pools_dir)
		return -ENOMEM;
	err = pool_init_default();
	if (err)
		goto out_dir;
	err = -ENOMEM;
	pool_shrinker = compat_shrinker_add("blktap", shrink_count,
					    shrink_scan);
	if (!pool_shrinker)
		goto out_default;
	return 0;

out_default:
	pool_exit_default();
out_dir:
	kobject_put(pools_dir);
	return err;
}

void blktap_pool_exit(void)
{
	compat_shrinker_del(pool_shrinker);
	pool_exit_default();
	kobject_put(pools_dir);
}
