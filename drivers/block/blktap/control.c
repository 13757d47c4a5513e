// SPDX-License-Identifier: GPL-2.0-only
/* The control node: blktap2's ioctls, and the channel of a tapdisk. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>

#include "blktap.h"

/* misc_open() has left the miscdevice in private_data: here it is a tapdisk. */
static int control_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return nonseekable_open(inode, file);
}

static int control_release(struct inode *inode, struct file *file)
{
	if (file->private_data)
		blktap_tapdisk_close(file->private_data);
	return 0;
}

static int ioctl_alloc(struct blktap_handle __user *arg)
{
	struct blktap_handle handle;
	struct blktap *tap = blktap_alloc(-1);
	int err = 0;

	if (IS_ERR(tap))
		return PTR_ERR(tap);
	handle.ring_major = MAJOR(blktap_ring_dev);
	handle.disk_major = blktap_disk_major;
	handle.minor = tap->minor;
	if (copy_to_user(arg, &handle, sizeof(handle))) {
		blktap_op_run(tap, BLKTAP_CMD_FREE);
		err = -EFAULT;
	}
	blktap_put(tap);
	return err;
}

static int ioctl_free(unsigned long minor)
{
	struct blktap *tap = minor < BLKTAP_MINORS ? blktap_get(minor) : NULL;
	int err;

	if (!tap)
		return -ENODEV;
	err = blktap_op_free(tap);
	blktap_put(tap);
	return err;
}

static int ioctl_register(struct file *file, struct blktap_register __user *arg)
{
	struct blktap_tapdisk *td;
	struct blktap_register reg;

	if (copy_from_user(&reg, arg, sizeof(reg)))
		return -EFAULT;
	if (!reg.version || reg.flags)
		return -EINVAL;
	reg.version = min_t(u32, reg.version, BLKTAP_CONTROL_VERSION);
	if (copy_to_user(arg, &reg, sizeof(reg)))
		return -EFAULT;
	td = blktap_tapdisk_register();
	if (IS_ERR(td))
		return PTR_ERR(td);
	if (cmpxchg(&file->private_data, NULL, td)) {
		blktap_tapdisk_close(td);
		return -EBUSY;
	}
	return 0;
}

static long control_ioctl(struct file *file, unsigned int cmd,
			  unsigned long arg)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	switch (cmd) {
	case BLKTAP_IOCTL_ALLOC_TAP:
		return ioctl_alloc((void __user *)arg);
	case BLKTAP_IOCTL_FREE_TAP:
		return ioctl_free(arg);
	case BLKTAP_IOCTL_REGISTER:
		return ioctl_register(file, (void __user *)arg);
	}
	return -ENOTTY;
}

static ssize_t control_read(struct file *file, char __user *buf, size_t len,
			    loff_t *pos)
{
	struct blktap_tapdisk *td = READ_ONCE(file->private_data);

	return td ? blktap_tapdisk_read(td, file, buf, len) : -ENOTCONN;
}

static ssize_t control_write(struct file *file, const char __user *buf,
			     size_t len, loff_t *pos)
{
	struct blktap_tapdisk *td = READ_ONCE(file->private_data);

	return td ? blktap_tapdisk_write(td, buf, len) : -ENOTCONN;
}

static __poll_t control_poll(struct file *file, poll_table *wait)
{
	struct blktap_tapdisk *td = READ_ONCE(file->private_data);

	return td ? blktap_tapdisk_poll(td, file, wait) : EPOLLERR;
}

static const struct file_operations control_fops = {
	.owner		= THIS_MODULE,
	.open		= control_open,
	.release	= control_release,
	.unlocked_ioctl	= control_ioctl,
	.read		= control_read,
	.write		= control_write,
	.poll		= control_poll,
	.llseek		= noop_llseek,
};

static struct miscdevice control_misc = {
	.minor		= MISC_DYNAMIC_MINOR,
	.name		= BLKTAP_CONTROL_NAME,
	.nodename	= "xen/blktap-2/control",
	.mode		= 0600,
	.fops		= &control_fops,
	.groups		= blktap_control_groups,
};

/* blktap-control in class misc: the parent of the pools. */
struct kobject *blktap_control_kobj(void)
{
	return &control_misc.this_device->kobj;
}

int blktap_control_init(void)
{
	return misc_register(&control_misc);
}

void blktap_control_exit(void)
{
	misc_deregister(&control_misc);
}
