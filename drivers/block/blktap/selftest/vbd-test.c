// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest's disk without a guest, for tests of vbd.c on kernels with checkers,
 * where Xen can't run: there from load to unload of the module. Its device,
 * /sys/devices/vbd-DOMID-DEVID, has two files: answer says what blktap has answered;
 * tie takes MAJOR:MINOR of the block device that a backend would have been given.
 */
#include <linux/device.h>
#include <linux/kdev_t.h>
#include <linux/module.h>

#include "../vbd.h"

static unsigned int domid = 7;
module_param(domid, uint, 0444);
MODULE_PARM_DESC(domid, "the guest");

static unsigned int devid = 51712;
module_param(devid, uint, 0444);
MODULE_PARM_DESC(devid, "which of its disks");

static char *image;
module_param(image, charp, 0444);
MODULE_PARM_DESC(image, "tap that it asks for; none: it does not");

static bool rdonly;
module_param(rdonly, bool, 0444);
MODULE_PARM_DESC(rdonly, "that is to be read-only");

static char answer_text[256] = "none";
static DEFINE_SPINLOCK(answer_lock);	/* answer_text */

static void test_answer(struct blktap_vbd *vbd, dev_t disk, int err,
			const char *text)
{
	spin_lock(&answer_lock);
	snprintf(answer_text, sizeof(answer_text), "%d %u:%u %s", err,
		 MAJOR(disk), MINOR(disk), text ?: "");
	spin_unlock(&answer_lock);
}

static struct blktap_vbd test_vbd = {
	.answer	= test_answer,
};

static ssize_t answer_show(struct device *dev, struct device_attribute *attr,
			   char *buf)
{
	ssize_t len;

	spin_lock(&answer_lock);
	len = sysfs_emit(buf, "%s\n", answer_text);
	spin_unlock(&answer_lock);
	return len;
}
static DEVICE_ATTR_RO(answer);

static ssize_t tie_store(struct device *dev, struct device_attribute *attr,
			 const char *buf, size_t len)
{
	unsigned int major, minor;
	int err;

	if (sscanf(buf, "%u:%u", &major, &minor) != 2)
		return -EINVAL;
	err = blktap_vbd_tie(&test_vbd, MKDEV(major, minor));
	return err ?: len;
}
static DEVICE_ATTR_WO(tie);

static struct attribute *test_attrs[] = {
	&dev_attr_answer.attr,
	&dev_attr_tie.attr,
	NULL
};
ATTRIBUTE_GROUPS(test);

static int __init vbd_test(void)
{
	struct device *dev;
	char name[32];
	int err;

	snprintf(name, sizeof(name), "vbd-%u-%u", domid, devid);
	dev = root_device_register(name);
	if (IS_ERR(dev))
		return PTR_ERR(dev);
	test_vbd.domid = domid;
	test_vbd.devid = devid;
	test_vbd.dev = dev;
	test_vbd.image = image;
	test_vbd.rdonly = rdonly;
	INIT_LIST_HEAD(&test_vbd.node);
	err = sysfs_create_groups(&dev->kobj, test_groups);
	if (!err)
		err = blktap_vbd_add(&test_vbd);
	if (err)
		root_device_unregister(dev);
	return err;
}

static void __exit vbd_test_end(void)
{
	blktap_vbd_del(&test_vbd);
	sysfs_remove_groups(&test_vbd.dev->kobj, test_groups);
	root_device_unregister(test_vbd.dev);
}

module_init(vbd_test);
module_exit(vbd_test_end);

MODULE_DESCRIPTION("blktap: a guest's disk without a guest");
MODULE_LICENSE("GPL");
