// SPDX-License-Identifier: GPL-2.0-only
/* The ring node: mapping, ioctls, poll. */
#include <linux/cdev.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "blktap.h"
#include "compat.h"

dev_t blktap_ring_dev;
static struct cdev blktap_ring_cdev;

static int ring_open(struct inode *inode, struct file *file)
{
	struct blktap *tap = blktap_get(iminor(inode));

	if (!tap)
		return -ENODEV;
	file->private_data = tap;
	return nonseekable_open(inode, file);
}

/*
 * The mapping held the file, so it is gone. Wait for the end of the ring that
 * it was: who closed this file may count on the tap's being detached.
 */
static int ring_release(struct inode *inode, struct file *file)
{
	struct blktap *tap = file->private_data;

	flush_work(&tap->detach);
	blktap_put(tap);
	return 0;
}

static struct blktap *vma_tap(struct vm_area_struct *vma)
{
	return vma->vm_file->private_data;
}

/*
 * A fork's copy of the mapping, let through by MADV_DOFORK, is none of ours: not
 * in the child's mm, nor when the child maps the ring itself later.
 */
static bool vma_counts(struct vm_area_struct *vma, struct tap_ring *ring)
{
	return ring->vmas && vma->vm_mm == ring->mm &&
	       (unsigned long)vma->vm_private_data == ring->generation;
}

static void ring_vma_open(struct vm_area_struct *vma)
{
	struct tap_ring *ring = &vma_tap(vma)->ring;

	spin_lock(&ring->lock);
	if (vma_counts(vma, ring))
		ring->vmas++;
	spin_unlock(&ring->lock);
}

static void ring_vma_close(struct vm_area_struct *vma)
{
	struct blktap *tap = vma_tap(vma);
	struct tap_ring *ring = &tap->ring;
	bool last;

	spin_lock(&ring->lock);
	last = vma_counts(vma, ring) && !--ring->vmas;
	spin_unlock(&ring->lock);
	if (last)
		tap_ring_stop(tap, vma->vm_mm);
}

static int ring_vma_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

/* Context: tap_ring.lock. Return: the page at an offset of the mapping. */
static struct page *ring_page(struct tap_ring *ring, pgoff_t pgoff)
{
	lockdep_assert_held(&ring->lock);
	if (!ring->shared || pgoff >= BLKTAP_MMAP_PAGES)
		return NULL;
	if (!pgoff)
		return virt_to_page(ring->shared);
	pgoff--;
	return ring->slots[pgoff / BLKTAP_SEGMENT_MAX]
		.pages[pgoff % BLKTAP_SEGMENT_MAX];
}

/*
 * Maps a slot's page when the tapdisk first touches it, under the page's lock:
 * tap_slot_reclaim() takes that lock before it takes the page out of the slot
 * and of the mapping, so that a page that is no longer the slot's can't be
 * mapped behind its back.
 */
static vm_fault_t ring_vma_fault(struct vm_fault *vmf)
{
	struct tap_ring *ring = &vma_tap(vmf->vma)->ring;
	struct page *page;
	bool same;

	spin_lock(&ring->lock);
	page = vma_counts(vmf->vma, ring) ? ring_page(ring, vmf->pgoff) : NULL;
	if (page)
		get_page(page);
	spin_unlock(&ring->lock);
	if (!page)
		return VM_FAULT_SIGBUS;

	lock_page(page);
	spin_lock(&ring->lock);
	same = page == ring_page(ring, vmf->pgoff);
	spin_unlock(&ring->lock);
	if (!same) {
		unlock_page(page);
		put_page(page);
		return VM_FAULT_NOPAGE;
	}
	vmf->page = page;
	return VM_FAULT_LOCKED;
}

static const struct vm_operations_struct ring_vm_ops = {
	.open		= ring_vma_open,
	.close		= ring_vma_close,
	.may_split	= ring_vma_may_split,
	.fault		= ring_vma_fault,
};

static vm_fault_t layout_vma_fault(struct vm_fault *vmf)
{
	pgoff_t index = vmf->pgoff - BLKTAP_LAYOUT_PGOFF;
	struct tap_ring *ring = &vma_tap(vmf->vma)->ring;
	struct page *page = NULL;

	spin_lock(&ring->lock);
	if (vma_counts(vmf->vma, ring) && index < BLKTAP_RING_SIZE)
		page = ring->layout[index];
	if (page)
		get_page(page);
	spin_unlock(&ring->lock);
	vmf->page = page;
	return page ? 0 : VM_FAULT_SIGBUS;
}

/* Not counted: the ring's own mapping is what a tapdisk's hold on it is. */
static const struct vm_operations_struct layout_vm_ops = {
	.may_split	= ring_vma_may_split,
	.fault		= layout_vma_fault,
};

static int layout_mmap(struct blktap *tap, struct vm_area_struct *vma)
{
	int err;

	if (vma_pages(vma) != BLKTAP_RING_SIZE || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	err = tap_ring_map_layout(tap, vma);
	if (err)
		return err;
	vma->vm_ops = &layout_vm_ops;
	return 0;
}

static int ring_mmap_do(struct blktap *tap, struct vm_area_struct *vma)
{
	int err;

	if (vma->vm_pgoff == BLKTAP_LAYOUT_PGOFF)
		return layout_mmap(tap, vma);
	if (vma->vm_pgoff || vma_pages(vma) != BLKTAP_MMAP_PAGES ||
	    !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	vm_flags_set(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP);
	err = tap_ring_start(tap, vma);
	if (err)
		return err;
	vma->vm_ops = &ring_vm_ops;
	return 0;
}

/* In a recovery: memory for the next tapdisk must not wait for the disk. */
static int ring_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned int noio = memalloc_noio_save();
	int err = ring_mmap_do(file->private_data, vma);

	memalloc_noio_restore(noio);
	return err;
}

static __poll_t ring_poll(struct file *file, poll_table *wait)
{
	struct blktap *tap = file->private_data;
	struct tap_ring *ring = &tap->ring;
	__poll_t mask = 0;
	u32 event;

	poll_wait(file, &ring->poll, wait);
	spin_lock(&ring->lock);
	if (!ring->shared)
		goto out;
	event = READ_ONCE(ring->shared->req_event);
	if (event != 1)
		ring->event_idx = true;
	if (ring->event_idx) {
		if ((s32)(ring->req_prod - event) >= 0 ||
		    READ_ONCE(ring->shared->msg))
			mask = EPOLLIN | EPOLLRDNORM;
	} else if (ring->reported != ring->req_prod || ring->msg_pending) {
		mask = EPOLLIN | EPOLLRDNORM;
	}
	if (ring->closed_pending)
		mask = EPOLLIN | EPOLLRDNORM;
	ring->reported = ring->req_prod;
	ring->msg_pending = false;
	ring->closed_pending = false;
out:
	spin_unlock(&ring->lock);
	return mask;
}

static int ioctl_create(struct blktap *tap, struct blktap_params *params)
{
	int err;

	mutex_lock(&tap->lock);
	err = blktap_disk_create(tap, params);
	if (!err)
		blktap_changed(tap);
	mutex_unlock(&tap->lock);
	return err;
}

static int ioctl_create_device(struct blktap *tap,
			       struct blktap_params __user *arg)
{
	struct blktap_params params = {};
	size_t head = offsetof(struct blktap_params, phys_block_size);
	size_t phys = offsetof(struct blktap_params, trim_block_size);
	size_t trim = offsetof(struct blktap_params, block_size);
	size_t size = head;
	int err;

	if (copy_from_user(&params, arg, head))
		return -EFAULT;
	params.flags = blktap_disk_flags(tap, params.flags);
	if (params.flags & BLKTAP_DEVICE_BLOCK)
		size = sizeof(params);
	else if (params.flags & BLKTAP_DEVICE_TRIM)
		size = trim;
	else if (params.flags & BLKTAP_DEVICE_PSZ)
		size = phys;
	if (copy_from_user((char *)&params + head, (char __user *)arg + head,
			   size - head))
		return -EFAULT;

	err = ioctl_create(tap, &params);
	if (err)
		return err;
	/* The disk is there, whatever happens to these words. */
	return put_user(params.flags, &arg->flags) ?:
	       put_user(params.capacity, &arg->capacity);
}

static int ioctl_create_device_v1(struct blktap *tap, void __user *arg)
{
	struct blktap_params params = {};
	struct blktap_params_v1 *v1;
	int err;

	v1 = memdup_user(arg, sizeof(*v1));
	if (IS_ERR(v1))
		return PTR_ERR(v1);
	err = -EINVAL;
	if (strnlen(v1->name, sizeof(v1->name)) == sizeof(v1->name) ||
	    v1->sector_size > U32_MAX)
		goto out;
	params.capacity = v1->capacity;
	params.sector_size = v1->sector_size;
	err = ioctl_create(tap, &params);
	if (err)
		goto out;
	mutex_lock(&tap->lock);
	blktap_set_name(tap, v1->name);
	mutex_unlock(&tap->lock);
out:
	kfree(v1);
	return err;
}

static int ioctl_set_params(struct blktap *tap, void __user *arg)
{
	struct blktap_params_v1 *v1 = memdup_user(arg, sizeof(*v1));
	int err;

	if (IS_ERR(v1))
		return PTR_ERR(v1);
	mutex_lock(&tap->lock);
	err = blktap_disk_resize(tap, v1->capacity, v1->sector_size);
	mutex_unlock(&tap->lock);
	kfree(v1);
	return err;
}

static int ioctl_reopen(struct blktap *tap, void __user *arg)
{
	char name[BLKTAP_NAME_V2] = "";
	ssize_t len = 0;

	mutex_lock(&tap->lock);
	if (tap->name)
		len = strscpy(name, tap->name, sizeof(name));
	mutex_unlock(&tap->lock);
	if (len < 0)
		return -ENAMETOOLONG;
	return copy_to_user(arg, name, sizeof(name)) ? -EFAULT : 0;
}

/* PAUSE and RESUME: the tapdisk answers the message that op.c waits for. */
static int ioctl_answer(struct blktap *tap, bool pause, unsigned long error)
{
	int err = -EINVAL;

	if (error > MAX_ERRNO)
		return -EINVAL;
	mutex_lock(&tap->lock);
	if (tap->op && tap->op->cmd == (pause ? BLKTAP_CMD_PAUSE :
						BLKTAP_CMD_RESUME)) {
		tap->msg_answered = true;
		tap->msg_error = -(int)error;
		wake_up_all(&tap->wait);
		err = 0;
	}
	mutex_unlock(&tap->lock);
	return err;
}

static int ioctl_remove_device(struct blktap *tap)
{
	int err;

	mutex_lock(&tap->lock);
	/* One that has not joined can't commit what its forerunner's left dirty. */
	if (tap->disk && !tap->dead && !tap_ring_joined(&tap->ring))
		err = -EBUSY;
	/* One that is told to let go of a disk that it did not take over in time. */
	else if (tap->op && tap->op->cmd == BLKTAP_CMD_RECOVER)
		err = -EBUSY;
	else
		err = blktap_disk_remove(tap, false);
	if (!err)
		blktap_changed(tap);
	mutex_unlock(&tap->lock);
	return err;
}

/*
 * Locks the tap for what is dropped when its tapdisk detaches: after that it must
 * not come back. Return: 0, or -EIO: the ring has failed, or is being unmapped.
 */
static int lock_live(struct blktap *tap)
{
	mutex_lock(&tap->lock);
	if (tap_ring_live(&tap->ring) &&
	    tap_ring_mapped_by(&tap->ring, current->mm))
		return 0;
	mutex_unlock(&tap->lock);
	return -EIO;
}

static int note_file(struct blktap *tap, const struct blktap_file *f)
{
	struct image_file *id;
	int err;

	if (f->flags & ~(BLKTAP_FILE_NOTE | BLKTAP_FILE_WRITE) || f->__pad)
		return -EINVAL;
	id = blktap_image_identify(f->fd, f->flags & BLKTAP_FILE_WRITE);
	if (IS_ERR(id))
		return PTR_ERR(id);
	err = lock_live(tap);
	if (err) {
		kfree(id);
		return err;
	}
	err = blktap_image_add(tap, id);
	mutex_unlock(&tap->lock);
	return err;
}

static int ioctl_add_file(struct blktap *tap, void __user *arg)
{
	struct tap_file file = {};
	struct blktap_file f;
	int err;

	if (copy_from_user(&f, arg, sizeof(f)))
		return -EFAULT;
	if (f.flags & BLKTAP_FILE_NOTE)
		return note_file(tap, &f);
	err = tap_direct_open_file(tap, &f, &file);
	if (err)
		return err;
	err = lock_live(tap);
	if (!err) {
		err = tap_direct_add_file(tap, &file);
		mutex_unlock(&tap->lock);
	}
	if (file.file)
		fput(file.file);
	if (err < 0)
		return err;
	f.index = err;
	return copy_to_user(arg, &f, sizeof(f)) ? -EFAULT : 0;
}

static int ioctl_recall(struct blktap *tap, void __user *arg)
{
	struct blktap_recall recall;
	int err;

	if (copy_from_user(&recall, arg, sizeof(recall)))
		return -EFAULT;
	mutex_lock(&tap->lock);
	err = tap_recall_start(tap, &recall);
	mutex_unlock(&tap->lock);
	return err;
}

static int ioctl_keep(struct blktap *tap, void __user *arg)
{
	struct blktap_keep keep;
	int err;

	if (copy_from_user(&keep, arg, sizeof(keep)))
		return -EFAULT;
	if (keep.__pad)
		return -EINVAL;
	err = lock_live(tap);
	if (err)
		return err;
	err = tap_recover_keep(tap, keep.fd);
	mutex_unlock(&tap->lock);
	return err;
}

static int ioctl_kept(struct blktap *tap, void __user *arg)
{
	struct blktap_keep keep = {};

	mutex_lock(&tap->lock);
	keep.fd = tap_recover_kept(tap);
	mutex_unlock(&tap->lock);
	if (keep.fd < 0)
		return keep.fd;
	/* A descriptor that the caller does not know of ends with it. */
	return copy_to_user(arg, &keep, sizeof(keep)) ? -EFAULT : 0;
}

static long ring_ioctl_do(struct blktap *tap, unsigned int cmd,
			  unsigned long arg)
{
	switch (cmd) {
	case BLKTAP_IOCTL_RESPOND:
		tap_fault_slow();
		return tap_ring_respond(tap);
	case BLKTAP_IOCTL_CREATE_DEVICE:
		return ioctl_create_device(tap,
					   (struct blktap_params __user *)arg);
	case BLKTAP_IOCTL_CREATE_DEVICE_V1:
		return ioctl_create_device_v1(tap, (void __user *)arg);
	case BLKTAP_IOCTL_SET_PARAMS:
		return ioctl_set_params(tap, (void __user *)arg);
	case BLKTAP_IOCTL_PAUSE:
		return ioctl_answer(tap, true, 0);
	case BLKTAP_IOCTL_REOPEN:
		return ioctl_reopen(tap, (void __user *)arg);
	case BLKTAP_IOCTL_RESUME:
		return ioctl_answer(tap, false, arg);
	case BLKTAP_IOCTL_REMOVE_DEVICE:
		return ioctl_remove_device(tap);
	case BLKTAP_IOCTL_ADD_FILE:
		return ioctl_add_file(tap, (void __user *)arg);
	case BLKTAP_IOCTL_RECALL:
		return ioctl_recall(tap, (void __user *)arg);
	case BLKTAP_IOCTL_KEEP:
		return ioctl_keep(tap, (void __user *)arg);
	case BLKTAP_IOCTL_KEPT:
		return ioctl_kept(tap, (void __user *)arg);
	}
	return -ENOTTY;
}

/* The caller serves a disk: memory it needs here must not wait for that disk. */
static long ring_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct blktap *tap = file->private_data;
	unsigned int noio;
	long ret;

	if (!tap_ring_mapped_by(&tap->ring, current->mm))
		return -EACCES;
	noio = memalloc_noio_save();
	ret = ring_ioctl_do(tap, cmd, arg);
	memalloc_noio_restore(noio);
	return ret;
}

/* No compat_ioctl: the structs hold longs, and old tapdisks are 64-bit. */
static const struct file_operations ring_fops = {
	.owner		= THIS_MODULE,
	.open		= ring_open,
	.release	= ring_release,
	.unlocked_ioctl	= ring_ioctl,
	.mmap		= ring_mmap,
	.poll		= ring_poll,
	.llseek		= noop_llseek,
};

int blktap_chardev_init(void)
{
	int err;

	err = alloc_chrdev_region(&blktap_ring_dev, 0, BLKTAP_MINORS,
				  BLKTAP_RING_NAME);
	if (err)
		return err;
	cdev_init(&blktap_ring_cdev, &ring_fops);
	blktap_ring_cdev.owner = THIS_MODULE;
	err = cdev_add(&blktap_ring_cdev, blktap_ring_dev, BLKTAP_MINORS);
	if (err)
		unregister_chrdev_region(blktap_ring_dev, BLKTAP_MINORS);
	return err;
}

void blktap_chardev_exit(void)
{
	cdev_del(&blktap_ring_cdev);
	unregister_chrdev_region(blktap_ring_dev, BLKTAP_MINORS);
}
