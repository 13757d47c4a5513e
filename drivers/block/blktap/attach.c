// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who has a tap's ring: from mmap() to munmap(), or to the end of the process,
 * and what is left then.
 */
#include <linux/capability.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/sched/mm.h>

#include "blktap.h"

/*
 * Has a process's memory been taken down, and has all its I/O ended? exit_aio()
 * waits for what is in flight, then takes the table away. (An mmu_notifier would
 * say the same, but not every kernel has them.)
 */
static bool mm_gone(struct mm_struct *mm)
{
	if (atomic_read(&mm->mm_users))
		return false;
#ifdef CONFIG_AIO
	/* Nobody adds a table any more: look at it after mm_users. */
	smp_rmb();
	return !rcu_access_pointer(mm->ioctx_table);
#else
	return true;
#endif
}

static void shared_init(struct blktap_ring *shared)
{
	shared->req_event = 1;
	shared->rsp_event = 1;
}

/* Context: tap_ring.lock. Nothing is posted before the tapdisk has joined. */
static void ring_begin(struct tap_ring *ring, struct vm_area_struct *vma,
		       struct blktap_ring *shared)
{
	ring->shared = shared;
	ring->mm = vma->vm_mm;
	ring->pid = get_pid(task_tgid(current));
	ring->mapping = vma->vm_file->f_mapping;
	ring->vmas = 1;
	vma->vm_private_data = (void *)(++ring->generation);
	ring->live = true;
	ring->joined = false;
	ring->bereft = false;
	ring->errnos = false;
	ring->event_idx = false;
	ring->msg_pending = false;
	ring->closed_pending = false;
	ring->req_prod = 0;
	ring->rsp_cons = 0;
	ring->kicked = 0;
	ring->reported = 0;
}

/**
 * tap_ring_invite - let a tapdisk map the ring that needs no other right to
 * @ring: the ring
 * @mm: the tapdisk's, which the caller holds until it has withdrawn that; NULL: nobody
 *
 * Else one that serves a tap, and was taken over, could take an orphan.
 */
void tap_ring_invite(struct tap_ring *ring, struct mm_struct *mm)
{
	spin_lock(&ring->lock);
	ring->invited = mm;
	spin_unlock(&ring->lock);
}

static bool ring_invites(struct tap_ring *ring, struct mm_struct *mm)
{
	bool invited;

	spin_lock(&ring->lock);
	invited = ring->invited == mm;
	spin_unlock(&ring->lock);
	return invited;
}

/**
 * tap_ring_start - the ring is being mapped
 * @tap: the tap
 * @vma: the mapping; its vm_private_data is set, its opens and closes count
 *
 * By an admin, or by whom an operation has invited, once. Context: under
 * mmap_lock. Return: 0; -EPERM; -ENODEV where the tap is going or dead; -EBUSY
 * where it is mapped, or where the last tapdisk of a disk has unmapped it and not
 * exited: a write that it has in flight would overwrite later ones.
 */
int tap_ring_start(struct blktap *tap, struct vm_area_struct *vma)
{
	struct tap_ring *ring = &tap->ring;
	struct mm_struct *left = NULL;
	struct blktap_ring *shared;
	struct pid *pid = NULL;
	bool admin = false;
	int err = 0;

	BUILD_BUG_ON(sizeof(struct blktap_ring) > PAGE_SIZE);
	/* Who is invited is not asked for what he does not have: that is logged. */
	if (!ring_invites(ring, vma->vm_mm)) {
		admin = capable(CAP_SYS_ADMIN);
		if (!admin)
			return -EPERM;
	}
	shared = (void *)get_zeroed_page(GFP_KERNEL);
	if (!shared)
		return -ENOMEM;
	shared_init(shared);

	spin_lock(&ring->lock);
	if (!admin && ring->invited != vma->vm_mm) {
		err = -EPERM;
	} else if (ring->gone || ring->failed) {
		err = -ENODEV;
	} else if (ring->shared || (ring->left && !mm_gone(ring->left))) {
		err = -EBUSY;
	} else {
		swap(left, ring->left);
		swap(pid, ring->pid);
		ring->invited = NULL;
		ring_begin(ring, vma, shared);
	}
	spin_unlock(&ring->lock);
	if (err)
		free_page((unsigned long)shared);
	put_pid(pid);
	if (left)
		mmdrop(left);
	return err;
}

/**
 * tap_ring_map_layout - the layout pages are being mapped
 * @tap: the tap
 * @vma: the mapping; its vm_private_data is set
 *
 * The pages are there until the ring is unmapped. Context: under mmap_lock.
 */
int tap_ring_map_layout(struct blktap *tap, struct vm_area_struct *vma)
{
	struct page *pages[BLKTAP_RING_SIZE] = {};
	struct tap_ring *ring = &tap->ring;
	int err = 0, i;

	BUILD_BUG_ON(BLKTAP_EXTENTS_MAX * sizeof(struct blktap_extent) > PAGE_SIZE);
	for (i = 0; i < BLKTAP_RING_SIZE; i++) {
		pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!pages[i])
			err = -ENOMEM;
	}
	spin_lock(&ring->lock);
	if (!err && (!ring->shared || ring->mm != vma->vm_mm))
		err = -EACCES;
	if (!err && ring->layout[0])
		err = -EBUSY;
	if (!err) {
		memcpy(ring->layout, pages, sizeof(pages));
		vma->vm_private_data = (void *)ring->generation;
	}
	spin_unlock(&ring->lock);
	for (i = 0; err && i < BLKTAP_RING_SIZE; i++)
		if (pages[i])
			put_page(pages[i]);
	return err;
}

/*
 * One that has served for longer than a request may take has not died of what came
 * since. Return: for tap_recover_restart().
 */
static unsigned long fresh_age(struct tap_ring *ring)
{
	unsigned long limit = ring->timeout * HZ;

	return time_after(jiffies, ring->joined_at + limit) ? limit : 0;
}

/**
 * tap_ring_stop - the last mapping is gone
 * @tap: the tap
 * @mm: whose it was
 *
 * The tapdisk has gone for good where @mm has no user any more: exit_mmap() comes
 * after exit_aio(), so that no I/O of its own is in flight. Else, munmap(), it is
 * remembered if it served a disk. Context: under mmap_lock; the rest is done by
 * detach_work().
 */
void tap_ring_stop(struct blktap *tap, struct mm_struct *mm)
{
	struct tap_ring *ring = &tap->ring;

	spin_lock(&ring->lock);
	if ((ring->joined || ring->bereft) && atomic_read(&mm->mm_users)) {
		mmgrab(mm);
		ring->left = mm;
	}
	if (ring->joined) {
		ring->lives++;
		tap_recover_restart(ring, fresh_age(ring));
	}
	ring->live = false;
	ring->joined = false;
	spin_unlock(&ring->lock);
	queue_work(blktap_wq, &tap->detach);
}

static void tap_detached(struct blktap *tap)
{
	struct tap_ring *ring = &tap->ring;

	lockdep_assert_held(&tap->lock);
	tap->tapdisk = NULL;
	if (tap->disk)
		return;
	tap->dead = false;
	tap->paused = false;
	tap->resume_failed = false;
	blktap_set_name(tap, NULL);
	tap_direct_free(tap);
	tap_recover_keep(tap, -1);
	blktap_image_forget(tap);
	spin_lock(&ring->lock);
	ring->failed = false;
	spin_unlock(&ring->lock);
}

/* FREE_TAP was told that the tap goes when the tapdisk lets go of it. */
static void free_if_wanted(struct blktap *tap)
{
	struct blktap_op *op;

	/* A disk waits for the next tapdisk. */
	if (!READ_ONCE(tap->free_wanted) || READ_ONCE(tap->disk))
		return;
	op = blktap_op_alloc(tap, BLKTAP_CMD_FREE, BLKTAP_TIMEOUT);
	if (!op)
		return;
	blktap_op_start(op);
	blktap_op_put(op);
}

/* Queued once for each mapping's end, and a mapping waits for the last one's. */
static void detach_work(struct work_struct *work)
{
	struct blktap *tap = container_of(work, struct blktap, detach);
	unsigned int noio = memalloc_noio_save();
	struct tap_ring *ring = &tap->ring;
	struct page *layout[BLKTAP_RING_SIZE];
	struct blktap_tapdisk *td;
	struct blktap_ring *shared;
	struct pid *pid;
	pid_t nr;
	int i;

	tap_recover_lost(tap);
	wait_event(tap->wait, !READ_ONCE(ring->owned));
	mutex_lock(&tap->lock);
	tap_slot_release_all(tap);
	td = tap->tapdisk;
	tap_detached(tap);

	spin_lock(&ring->lock);
	memcpy(layout, ring->layout, sizeof(layout));
	memset(ring->layout, 0, sizeof(layout));
	shared = ring->shared;
	pid = ring->pid;
	nr = pid_nr(pid);
	if (ring->left)
		pid = NULL;	/* for as long as it is to be waited for */
	else
		ring->pid = NULL;
	ring->shared = NULL;
	ring->mm = NULL;
	ring->mapping = NULL;
	spin_unlock(&ring->lock);

	if (tap->disk && !tap->dead)
		pr_warn("tap %u: tapdisk %d has gone: recover it\n", tap->minor,
			nr);
	blktap_changed(tap);
	mutex_unlock(&tap->lock);

	for (i = 0; layout[0] && i < BLKTAP_RING_SIZE; i++)
		put_page(layout[i]);
	put_page(virt_to_page(shared));
	put_pid(pid);
	if (td) {
		atomic_dec(&td->taps);
		blktap_tapdisk_put(td);
	}
	free_if_wanted(tap);
	memalloc_noio_restore(noio);
}

void tap_ring_init(struct tap_ring *ring)
{
	struct blktap *tap = container_of(ring, struct blktap, ring);

	spin_lock_init(&ring->lock);
	init_waitqueue_head(&ring->poll);
	INIT_LIST_HEAD(&ring->waiting);
	INIT_LIST_HEAD(&ring->trims);
	INIT_LIST_HEAD(&ring->recalled);
	tap_recover_init(tap);
	INIT_WORK(&tap->detach, detach_work);
	ring->free = GENMASK(BLKTAP_RING_SIZE - 1, 0);
}

/* Somebody has the ring, or had it a moment ago. */
bool tap_ring_mapped(struct tap_ring *ring)
{
	return READ_ONCE(ring->shared);
}

bool tap_ring_mapped_by(struct tap_ring *ring, struct mm_struct *mm)
{
	bool mine;

	spin_lock(&ring->lock);
	mine = ring->shared && ring->vmas && ring->mm == mm;
	spin_unlock(&ring->lock);
	return mine;
}

/* Return: who has the ring, or may have I/O of its in flight; referenced; or NULL. */
struct pid *tap_ring_pid(struct tap_ring *ring)
{
	struct pid *pid = NULL;

	spin_lock(&ring->lock);
	if (ring->shared || !ring->left || !mm_gone(ring->left))
		pid = get_pid(ring->pid);
	spin_unlock(&ring->lock);
	return pid;
}

/* Refuse mappings from now on. Return: false where there is one. */
bool tap_ring_remove(struct tap_ring *ring)
{
	bool unmapped;

	spin_lock(&ring->lock);
	unmapped = !ring->shared;
	ring->gone |= unmapped;
	spin_unlock(&ring->lock);
	return unmapped;
}

/*
 * Post or withdraw BLKTAP_MSG_* to a tapdisk that has not registered. One that
 * it has not taken yet is not reported again.
 */
void tap_ring_message(struct tap_ring *ring, u8 msg)
{
	spin_lock(&ring->lock);
	if (ring->shared && READ_ONCE(ring->shared->msg) != msg) {
		WRITE_ONCE(ring->shared->msg, msg);
		ring->msg_pending = msg != BLKTAP_MSG_NONE;
	}
	spin_unlock(&ring->lock);
	if (msg != BLKTAP_MSG_NONE)
		wake_up_interruptible_poll(&ring->poll,
					   EPOLLIN | EPOLLRDNORM);
}

/* The disk's last opener has gone: tell poll(). */
void tap_ring_closed(struct tap_ring *ring)
{
	spin_lock(&ring->lock);
	ring->closed_pending = true;
	spin_unlock(&ring->lock);
	wake_up_interruptible_poll(&ring->poll, EPOLLIN | EPOLLRDNORM);
}
