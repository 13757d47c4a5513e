// SPDX-License-Identifier: GPL-2.0-only
/*
 * The attributes that blktap2 had: of the class, of taps, of the control node. What
 * changes something needs CAP_SYS_ADMIN, as with netlink: uid 0, whose the files are, a
 * container's root may be, and the tapdisk is.
 */
#include <linux/capability.h>
#include <linux/device.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "blktap.h"
#include "compat.h"

#define to_tap(d) container_of(d, struct blktap, dev)

static ssize_t name_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	struct blktap *tap = to_tap(dev);
	ssize_t len;

	mutex_lock(&tap->lock);
	len = tap->name ? sysfs_emit(buf, "%s\n", tap->name) :
			  sysfs_emit(buf, "%u\n", tap->minor);
	mutex_unlock(&tap->lock);
	return len;
}

static ssize_t name_store(struct device *dev, struct device_attribute *attr,
			  const char *buf, size_t len)
{
	struct blktap *tap = to_tap(dev);
	char *copy;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (len >= BLKTAP_NAME_MAX)
		return -ENAMETOOLONG;
	copy = kmemdup_nul(buf, len, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	mutex_lock(&tap->lock);
	err = blktap_set_name(tap, strim(copy));
	mutex_unlock(&tap->lock);
	kfree(copy);
	return err ?: len;
}
static DEVICE_ATTR_RW(name);

/* Waits until the tap has gone, and with it the attribute that is written. */
static ssize_t remove_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t len)
{
	struct blktap *tap = to_tap(dev);
	struct kernfs_node *kn;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	get_device(dev);
	kn = sysfs_break_active_protection(&dev->kobj, &attr->attr);
	err = kn ? blktap_op_run(tap, BLKTAP_CMD_FREE) : -ENODEV;
	if (kn)
		sysfs_unbreak_active_protection(kn);
	put_device(dev);
	return err ?: len;
}
static DEVICE_ATTR_WO(remove);

static ssize_t pause_store(struct device *dev, struct device_attribute *attr,
			   const char *buf, size_t len)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	return blktap_op_run(to_tap(dev), BLKTAP_CMD_PAUSE) ?: len;
}
static DEVICE_ATTR_WO(pause);

static ssize_t resume_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t len)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	return blktap_op_run(to_tap(dev), BLKTAP_CMD_RESUME) ?: len;
}
static DEVICE_ATTR_WO(resume);

static ssize_t recall_store(struct device *dev, struct device_attribute *attr,
			    const char *buf, size_t len)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	return blktap_op_run(to_tap(dev), BLKTAP_CMD_RECALL) ?: len;
}
static DEVICE_ATTR_WO(recall);

static ssize_t task_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	struct pid *pid = tap_ring_pid(&to_tap(dev)->ring);
	ssize_t len = pid ? sysfs_emit(buf, "%d\n", pid_vnr(pid)) : 0;

	put_pid(pid);
	return len;
}
static DEVICE_ATTR_RO(task);

/*
 * Its locks go when it exits: after its ring, but where somebody looks at its memory
 * just then.
 */
static bool tapdisk_exits(struct tap_ring *ring)
{
	struct pid *pid = tap_ring_pid(ring);
	struct task_struct *task;
	bool exits;

	rcu_read_lock();
	task = pid_task(pid, PIDTYPE_TGID);
	exits = !task || READ_ONCE(task->flags) & PF_EXITING;
	rcu_read_unlock();
	put_pid(pid);
	return exits;
}

/*
 * The image that its tapdisk had when it died, and "rw" or "ro": who could get its lock
 * now is to keep off it until the next tapdisk has it, or the disk has gone. Also of a
 * tap that has failed: what is in flight in the image may still be written.
 */
static ssize_t orphan_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct blktap *tap = to_tap(dev);
	ssize_t len = 0;

	mutex_lock(&tap->lock);
	if (tap->disk && !tap->paused &&
	    (!tap_ring_joined(&tap->ring) || tapdisk_exits(&tap->ring)))
		len = sysfs_emit(buf, "%s %s\n", tap->rdonly ? "ro" : "rw",
				 tap->name ?: "?");
	mutex_unlock(&tap->lock);
	return len;
}
static DEVICE_ATTR_RO(orphan);

static ssize_t files_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	struct blktap *tap = to_tap(dev);
	ssize_t len;

	mutex_lock(&tap->lock);
	len = blktap_image_show(tap, buf);
	mutex_unlock(&tap->lock);
	return len;
}
static DEVICE_ATTR_RO(files);

static ssize_t pool_show(struct device *dev, struct device_attribute *attr,
			 char *buf)
{
	struct blktap *tap = to_tap(dev);
	ssize_t len = -ENODEV;

	mutex_lock(&tap->lock);
	if (tap->pool)
		len = sysfs_emit(buf, "%s\n", kobject_name(&tap->pool->kobj));
	mutex_unlock(&tap->lock);
	return len;
}

static ssize_t pool_store(struct device *dev, struct device_attribute *attr,
			  const char *buf, size_t len)
{
	struct blktap *tap = to_tap(dev);
	char *copy;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	copy = kmemdup_nul(buf, len, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	mutex_lock(&tap->lock);
	err = tap->removed ? -ENODEV : blktap_pool_move(tap, strim(copy));
	mutex_unlock(&tap->lock);
	kfree(copy);
	return err ?: len;
}
static DEVICE_ATTR_RW(pool);

static ssize_t request_timeout_show(struct device *dev,
				    struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%u\n", READ_ONCE(to_tap(dev)->ring.timeout));
}

static ssize_t request_timeout_store(struct device *dev,
				     struct device_attribute *attr,
				     const char *buf, size_t len)
{
	unsigned int seconds;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = kstrtouint(buf, 0, &seconds);
	if (!err && seconds > BLKTAP_TIMEOUT_MAX)
		err = -ERANGE;
	if (!err)
		tap_recover_set_timeout(to_tap(dev), seconds);
	return err ?: len;
}
static DEVICE_ATTR_RW(request_timeout);

static const char * const on_timeout_names[] = {
	[BLKTAP_ON_TIMEOUT_WAIT] = "wait",
	[BLKTAP_ON_TIMEOUT_FAIL] = "fail",
};

static ssize_t on_timeout_show(struct device *dev,
			       struct device_attribute *attr, char *buf)
{
	u32 policy = READ_ONCE(to_tap(dev)->ring.on_timeout);

	return sysfs_emit(buf, "%s\n", on_timeout_names[policy]);
}

static ssize_t on_timeout_store(struct device *dev,
				struct device_attribute *attr,
				const char *buf, size_t len)
{
	int policy = sysfs_match_string(on_timeout_names, buf);

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (policy < 0)
		return policy;
	WRITE_ONCE(to_tap(dev)->ring.on_timeout, policy);
	return len;
}
static DEVICE_ATTR_RW(on_timeout);

static ssize_t debug_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	static const char states[] = {
		[SLOT_FREE]	= '.',
		[SLOT_FILLING]	= 'f',
		[SLOT_POSTED]	= 'p',
		[SLOT_DRAINING]	= 'd',
		[SLOT_RECLAIM]	= 'r',
	};
	struct blktap *tap = to_tap(dev);
	struct tap_ring *ring = &tap->ring;
	unsigned int i, pages = 0;
	char slots[BLKTAP_RING_SIZE + 1] = "";
	ssize_t len;

	mutex_lock(&tap->lock);
	spin_lock(&ring->lock);
	for (i = 0; i < BLKTAP_RING_SIZE; i++) {
		slots[i] = states[ring->slots[i].state];
		pages += ring->slots[i].nr_pages;
	}
	len = sysfs_emit(buf,
			 "state %#x disk %s openers %d\n"
			 "ring %s%s%s%s%s req_prod %u rsp_cons %u kicked %u\n"
			 "slots %s pages %u waiting %u retry %u\n",
			 blktap_state(tap),
			 tap->disk ? tap->disk->disk_name : "-",
			 atomic_read(&tap->openers),
			 ring->shared ? "mapped" : "unmapped",
			 ring->live ? " live" : "",
			 ring->joined ? " joined" : "",
			 ring->failed ? " failed" : "",
			 ring->held ? " held" : "",
			 ring->req_prod, ring->rsp_cons, ring->kicked,
			 slots, pages, ring->nr_waiting, ring->nr_retry);
	spin_unlock(&ring->lock);
	mutex_unlock(&tap->lock);
	return len;
}
static DEVICE_ATTR_RO(debug);

static ssize_t map_limit_show(struct device *dev,
			      struct device_attribute *attr, char *buf)
{
	struct blktap *tap = to_tap(dev);
	ssize_t len = -ENOTCONN;

	mutex_lock(&tap->lock);
	if (tap->direct)
		len = sysfs_emit(buf, "%llu\n", tap_maps_limit(tap->direct));
	mutex_unlock(&tap->lock);
	return len;
}

static ssize_t map_limit_store(struct device *dev,
			       struct device_attribute *attr, const char *buf,
			       size_t len)
{
	struct blktap *tap = to_tap(dev);
	u64 bytes;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = kstrtou64(buf, 0, &bytes);
	if (err)
		return err;
	mutex_lock(&tap->lock);
	err = tap->direct ? tap_maps_set_limit(tap->direct, bytes) : -ENOTCONN;
	mutex_unlock(&tap->lock);
	return err ?: len;
}
static DEVICE_ATTR_RW(map_limit);

static struct attribute *tap_attrs[] = {
	&dev_attr_name.attr,
	&dev_attr_remove.attr,
	&dev_attr_pause.attr,
	&dev_attr_resume.attr,
	&dev_attr_recall.attr,
	&dev_attr_task.attr,
	&dev_attr_orphan.attr,
	&dev_attr_files.attr,
	&dev_attr_pool.attr,
	&dev_attr_map_limit.attr,
	&dev_attr_request_timeout.attr,
	&dev_attr_on_timeout.attr,
	&dev_attr_debug.attr,
	NULL
};

static const struct attribute_group tap_group = {
	.attrs = tap_attrs,
};

/* One counter of a tap since its disk was created; 0 where there is none. */
#define STAT(_name, _value)						\
static ssize_t _name##_show(struct device *dev,				\
			    struct device_attribute *attr, char *buf)	\
{									\
	struct blktap *tap = to_tap(dev);				\
	struct tap_direct_counters sum = {};				\
	struct tap_direct *direct;					\
	u64 value;							\
									\
	mutex_lock(&tap->lock);						\
	direct = tap->direct;						\
	if (direct)							\
		tap_direct_count(direct, &sum);				\
	value = direct ? (_value) : 0;					\
	mutex_unlock(&tap->lock);					\
	return sysfs_emit(buf, "%llu\n", value);			\
}									\
static DEVICE_ATTR_RO(_name)

STAT(hits, sum.hits);
STAT(zero_copied, sum.bytes[0] + sum.bytes[1]);
STAT(punts, sum.punts);
STAT(misses, READ_ONCE(direct->misses));
STAT(upcalls, READ_ONCE(direct->upcalls));
STAT(commits, READ_ONCE(direct->commits));
STAT(recalls, READ_ONCE(direct->recalls));
STAT(extents, READ_ONCE(direct->layout.nr));
STAT(map_bytes, tap_maps_bytes(direct));

static ssize_t copied_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	struct tap_ring *ring = &to_tap(dev)->ring;
	u64 value;

	spin_lock(&ring->lock);
	value = ring->count.copied;
	spin_unlock(&ring->lock);
	return sysfs_emit(buf, "%llu\n", value);
}
static DEVICE_ATTR_RO(copied);

static struct attribute *stat_attrs[] = {
	&dev_attr_hits.attr,
	&dev_attr_misses.attr,
	&dev_attr_upcalls.attr,
	&dev_attr_commits.attr,
	&dev_attr_zero_copied.attr,
	&dev_attr_copied.attr,
	&dev_attr_punts.attr,
	&dev_attr_recalls.attr,
	&dev_attr_extents.attr,
	&dev_attr_map_bytes.attr,
	NULL
};

static const struct attribute_group stat_group = {
	.name = "statistics",
	.attrs = stat_attrs,
};

const struct attribute_group *blktap_tap_groups[] = {
	&tap_group,
	&stat_group,
	NULL
};

static ssize_t verbosity_show(CLASS_CONST struct class *class,
			      CLASS_CONST struct class_attribute *attr,
			      char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(blktap_verbosity));
}

static ssize_t verbosity_store(CLASS_CONST struct class *class,
			       CLASS_CONST struct class_attribute *attr,
			       const char *buf, size_t len)
{
	int value, err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = kstrtoint(buf, 0, &value);
	if (err)
		return err;
	WRITE_ONCE(blktap_verbosity, value);
	return len;
}
static CLASS_ATTR_RW(verbosity);

static ssize_t devices_show(CLASS_CONST struct class *class,
			    CLASS_CONST struct class_attribute *attr, char *buf)
{
	unsigned long minor = 0;
	struct blktap *tap;
	ssize_t len = 0;

	while ((tap = blktap_find(&minor))) {
		mutex_lock(&tap->lock);
		len += tap->name ?
		       sysfs_emit_at(buf, len, "%lu %s\n", minor, tap->name) :
		       sysfs_emit_at(buf, len, "%lu %lu\n", minor, minor);
		mutex_unlock(&tap->lock);
		blktap_put(tap);
		minor++;
	}
	return len;
}
static CLASS_ATTR_RO(devices);

static struct attribute *class_attrs[] = {
	&class_attr_verbosity.attr,
	&class_attr_devices.attr,
	NULL
};

static const struct attribute_group class_group = {
	.attrs = class_attrs,
};

const struct attribute_group *blktap_class_groups[] = {
	&class_group,
	NULL
};

static ssize_t default_pool_show(struct device *dev,
				 struct device_attribute *attr, char *buf)
{
	struct blktap_pool *pool = blktap_pool_default();
	ssize_t len;

	if (!pool)
		return -ENODEV;
	len = sysfs_emit(buf, "%s\n", kobject_name(&pool->kobj));
	blktap_pool_put(pool);
	return len;
}

static ssize_t default_pool_store(struct device *dev,
				  struct device_attribute *attr,
				  const char *buf, size_t len)
{
	char *copy;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	copy = kmemdup_nul(buf, len, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	err = blktap_pool_set_default(strim(copy));
	kfree(copy);
	return err ?: len;
}
static DEVICE_ATTR_RW(default_pool);

static struct attribute *control_attrs[] = {
	&dev_attr_default_pool.attr,
	NULL
};

static const struct attribute_group control_group = {
	.attrs = control_attrs,
};

const struct attribute_group *blktap_control_groups[] = {
	&control_group,
	NULL
};
