// SPDX-License-Identifier: GPL-2.0-only
/*
 * A tap's layout mode: its files, its making things durable, and the gate.
 *
 * Who uses an extent has a reference on tap_direct.users from before its lookup
 * to the end of its I/O. Closing the gate kills that reference: what comes then
 * waits at the gate, and when the last user has gone no I/O relies on the maps,
 * so that they can be changed or forgotten.
 */
#include <linux/blkdev.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/slab.h>

#include "blktap.h"
#include "trace.h"

#define BIOS_KEPT	4	/* that a tap has for itself when memory is short */

static void users_drained(struct percpu_ref *ref)
{
	struct tap_direct *direct = container_of(ref, struct tap_direct, users);

	trace_blktap_recall(direct->tap, "drained");
	wake_up_all(&direct->tap->wait);
}

static void sync_work(struct work_struct *work)
{
	struct tap_direct *direct = container_of(work, struct tap_direct, sync);
	struct blktap *tap = direct->tap;
	u64 wanted;
	int err;

	spin_lock(&direct->gate_lock);
	wanted = direct->sync_wanted;
	spin_unlock(&direct->gate_lock);
	err = tap_direct_sync(tap);
	spin_lock(&direct->gate_lock);
	direct->sync_error = err;
	direct->sync_done = wanted;
	spin_unlock(&direct->gate_lock);
	tap_direct_job_done(tap);
}

static struct tap_direct *direct_alloc(struct blktap *tap)
{
	struct tap_direct *direct = kvzalloc(sizeof(*direct), GFP_KERNEL);

	if (!direct)
		return NULL;
	direct->tap = tap;
	spin_lock_init(&direct->gate_lock);
	spin_lock_init(&direct->files_lock);
	INIT_LIST_HEAD(&direct->gate);
	INIT_LIST_HEAD(&direct->gate_recalls);
	mutex_init(&direct->sync_lock);
	mutex_init(&direct->scratch_lock);
	tap_layout_init(&direct->layout);
	INIT_WORK(&direct->sync, sync_work);
	INIT_WORK(&direct->release_trim, tap_trim_release);
	direct->count = alloc_percpu(struct tap_direct_counters);
	if (!direct->count)
		goto out_free;
	if (mempool_init_kmalloc_pool(&direct->bvecs, 2,
				      TAP_BVECS * sizeof(struct bio_vec)))
		goto out_count;
	if (bioset_init(&direct->bios, BIOS_KEPT, 0, 0))
		goto out_pool;
	if (percpu_ref_init(&direct->users, users_drained,
			    PERCPU_REF_ALLOW_REINIT, GFP_KERNEL))
		goto out_bios;
	direct->wq = alloc_workqueue("blktap-io/%u", WQ_UNBOUND | WQ_MEM_RECLAIM,
				     0, tap->minor);
	if (!direct->wq)
		goto out_ref;
	direct->wait_wq = alloc_workqueue("blktap-wait/%u",
					  WQ_UNBOUND | WQ_MEM_RECLAIM, 0,
					  tap->minor);
	if (direct->wait_wq) {
		tap_maps_add(direct);
		return direct;
	}

	destroy_workqueue(direct->wq);
out_ref:
	percpu_ref_exit(&direct->users);
out_bios:
	bioset_exit(&direct->bios);
out_pool:
	mempool_exit(&direct->bvecs);
out_count:
	free_percpu(direct->count);
out_free:
	kvfree(direct);
	return NULL;
}

/**
 * tap_direct_get - a tap's layout mode, begun where it had none
 * @tap: the tap, locked, without a disk
 *
 * Return: NULL for want of memory.
 */
struct tap_direct *tap_direct_get(struct blktap *tap)
{
	lockdep_assert_held(&tap->lock);
	if (!tap->direct)
		tap->direct = direct_alloc(tap);
	return tap->direct;
}

static void files_forget(struct tap_direct *direct)
{
	spin_lock(&direct->files_lock);
	while (direct->nr_files) {
		struct tap_file *file = &direct->files[--direct->nr_files];

		if (file->below)
			tap_stack_pop(file->below);
		fput(file->file);
		file->file = NULL;
	}
	spin_unlock(&direct->files_lock);
}

/**
 * tap_direct_free - end a tap's layout mode
 * @tap: the tap, locked; there is no disk, so no request, and the ring is not
 *	live or has nothing to do: what is queued comes to its end
 */
void tap_direct_free(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;

	lockdep_assert_held(&tap->lock);
	if (!direct)
		return;
	tap_maps_del(direct);
	destroy_workqueue(direct->wait_wq);
	destroy_workqueue(direct->wq);
	tap_recall_forget(tap);
	WRITE_ONCE(tap->direct, NULL);
	/* For tap_direct_abort(), and for a users_drained() that is late. */
	synchronize_rcu();
	files_forget(direct);
	tap_stack_reset(tap);
	tap_layout_destroy(&direct->layout);
	percpu_ref_exit(&direct->users);
	bioset_exit(&direct->bios);
	mempool_exit(&direct->bvecs);
	free_percpu(direct->count);
	kvfree(direct);
}

static struct block_device *file_bdev_of(struct file *file)
{
	return S_ISBLK(file_inode(file)->i_mode) ?
	       I_BDEV(file->f_mapping->host) : NULL;
}

/* Opens a file anew, with O_DIRECT where the filesystem has it. */
static struct file *file_open(struct file *from, bool write, bool *buffered)
{
	int flags = O_NOATIME | O_LARGEFILE | (write ? O_RDWR : O_RDONLY);
	struct file *file;

	file = dentry_open(&from->f_path, flags | O_DIRECT, current_cred());
	*buffered = file == ERR_PTR(-EINVAL);
	if (*buffered)
		file = dentry_open(&from->f_path, flags, current_cred());
	/* Else the first write of each tick would have to wait: times_update(). */
	if (!IS_ERR(file))
		file->f_mode |= FMODE_NOCMTIME;
	return file;
}

static int file_check(struct blktap *tap, struct file *file, bool write)
{
	struct inode *inode = file_inode(file);

	if (!S_ISREG(inode->i_mode) && !S_ISBLK(inode->i_mode))
		return -EINVAL;
	if (!(file->f_mode & FMODE_READ) ||
	    (write && !(file->f_mode & FMODE_WRITE)))
		return -EBADF;
	/* Its opening might wait for what the caller has to serve. */
	return tap_stack_is_own(tap, file) ? -ELOOP : 0;
}

static int file_open_new(struct file *from, struct tap_file *new)
{
	struct file *file = file_open(from, new->write, &new->buffered);

	if (IS_ERR(file))
		return PTR_ERR(file);
	if (!file->f_op->read_iter || (new->write && !file->f_op->write_iter)) {
		fput(file);
		return -EINVAL;
	}
	new->file = file;
	new->bdev = file_bdev_of(file);
	return 0;
}

/**
 * tap_direct_open_file - open a file that is to be registered (ADD_FILE)
 * @tap: the tap; not locked, since a network filesystem may take its time
 * @arg: the descriptor and flags
 * @file: filled in; the caller's own till tap_direct_add_file() takes it
 *
 * Return: 0, -EBADF, -EINVAL for a file that can't hold extents, -ELOOP for one
 * on the tap's own disk, or the filesystem's error.
 */
int tap_direct_open_file(struct blktap *tap, const struct blktap_file *arg,
			 struct tap_file *file)
{
	struct file *from;
	int err;

	if (arg->flags & ~BLKTAP_FILE_WRITE || arg->__pad)
		return -EINVAL;
	file->write = arg->flags & BLKTAP_FILE_WRITE;
	from = fget(arg->fd);
	if (!from)
		return -EBADF;
	err = file_check(tap, from, file->write) ?: file_open_new(from, file);
	fput(from);
	return err;
}

/* A file keeps its index: a new tapdisk, after the old one, has to find it again. */
static int file_find(struct tap_direct *direct, const struct tap_file *new)
{
	int index = -ENOENT;
	unsigned int i;

	spin_lock(&direct->files_lock);
	for (i = 0; index < 0 && i < direct->nr_files; i++)
		if (direct->files[i].write == new->write &&
		    direct->files[i].file->f_mapping == new->file->f_mapping)
			index = i;
	spin_unlock(&direct->files_lock);
	return index;
}

static int file_add(struct tap_direct *direct, struct tap_file *new)
{
	int index = -ENFILE;

	spin_lock(&direct->files_lock);
	if (direct->nr_files < BLKTAP_FILES_MAX) {
		index = direct->nr_files;
		direct->files[index] = *new;
		new->file = NULL;
		/* Pairs with files_sync() and file_valid(). */
		smp_store_release(&direct->nr_files, index + 1);
	}
	spin_unlock(&direct->files_lock);
	return index;
}

/**
 * tap_direct_add_file - register a file (ADD_FILE), and that the tap stands on it
 * @tap: the tap, locked
 * @file: the file, opened; its @file becomes NULL where it is taken
 *
 * Return: its index; -EBUSY for a disk in ring mode, -ELOOP for a file on too many
 * taps, -ENFILE, -ENOMEM.
 */
int tap_direct_add_file(struct blktap *tap, struct tap_file *file)
{
	int index;

	lockdep_assert_held(&tap->lock);
	if (tap->disk && !tap->direct)
		return -EBUSY;
	if (!tap_direct_get(tap))
		return -ENOMEM;
	index = file_find(tap->direct, file);
	if (index != -ENOENT)
		return index;
	file->below = tap_stack_push(tap, file->file);
	if (IS_ERR(file->below))
		return PTR_ERR(file->below);
	index = file_add(tap->direct, file);
	if (index < 0 && file->below)
		tap_stack_pop(file->below);
	return index;
}

/**
 * tap_direct_pin - keep the layout open for a request
 * @tap: the tap
 * @cmd: the request; holds the reference, or waits at the gate
 *
 * Return: false: it waits, and is punted when the gate opens; or the ring has
 * gone, and it has ended.
 */
bool tap_direct_pin(struct blktap *tap, struct tap_cmd *cmd)
{
	struct tap_direct *direct = tap->direct;

	while (!percpu_ref_tryget_live(&direct->users)) {
		bool closed, dead;

		spin_lock(&direct->gate_lock);
		closed = direct->closed;
		dead = direct->dead;
		/* What it waits for now isn't the tapdisk. */
		cmd->clock.since = 0;
		if (closed && !dead) {
			trace_blktap_gate(tap, blk_mq_rq_from_pdu(cmd));
			list_add_tail(&cmd->node, &direct->gate);
		}
		spin_unlock(&direct->gate_lock);
		if (closed && dead)
			blk_mq_end_request(blk_mq_rq_from_pdu(cmd),
					   BLK_STS_IOERR);
		if (closed)
			return false;
	}
	cmd->pinned = true;
	return true;
}

void tap_direct_unpin(struct blktap *tap, struct tap_cmd *cmd)
{
	cmd->pinned = false;
	percpu_ref_put(&tap->direct->users);
}

static void gate_take(struct tap_direct *direct, bool open,
		      struct list_head *waited)
{
	struct tap_recall *recall, *next;

	spin_lock(&direct->gate_lock);
	if (open)
		direct->closed = false;
	else
		direct->dead = true;
	list_splice_init(&direct->gate, waited);
	list_for_each_entry_safe(recall, next, &direct->gate_recalls, node) {
		list_del_init(&recall->node);
		queue_work(direct->wait_wq, &recall->work);
	}
	spin_unlock(&direct->gate_lock);
}

/**
 * tap_gate_close - let no request use the layout, until tap_gate_open()
 * @tap: the tap
 *
 * Context: any that may sleep, or poll in a wait. Return: false: somebody else
 * has closed it, or the ring has failed.
 */
bool tap_gate_close(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;
	bool mine;

	spin_lock(&direct->gate_lock);
	mine = !direct->closed && !direct->dead;
	if (mine) {
		direct->closed = true;
		direct->recalls++;
	}
	spin_unlock(&direct->gate_lock);
	if (!mine)
		return false;
	trace_blktap_recall(tap, "closed");
	percpu_ref_kill(&direct->users);
	return true;
}

/* It is closed, and the last user has gone. */
bool tap_gate_drained(struct blktap *tap)
{
	return percpu_ref_is_zero(&tap->direct->users);
}

/* Return: it is closed, and the recall's work is done again when it opens. */
bool tap_gate_wait(struct blktap *tap, struct tap_recall *recall)
{
	struct tap_direct *direct = tap->direct;
	bool wait;

	spin_lock(&direct->gate_lock);
	wait = direct->closed && !direct->dead;
	if (wait)
		list_add_tail(&recall->node, &direct->gate_recalls);
	spin_unlock(&direct->gate_lock);
	return wait;
}

/* Lets requests use the layout again. */
void tap_gate_open(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;
	struct tap_cmd *cmd, *next;
	LIST_HEAD(waited);

	trace_blktap_recall(tap, "opens");
	percpu_ref_resurrect(&direct->users);
	gate_take(direct, true, &waited);
	list_for_each_entry_safe(cmd, next, &waited, node) {
		list_del_init(&cmd->node);
		tap_hit_punt(tap, blk_mq_rq_from_pdu(cmd));
	}
	wake_up_all(&tap->wait);
}

/* Opens what tap_direct_close() has closed. */
void tap_direct_open(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;

	if (!direct || !direct->closed_op)
		return;
	WRITE_ONCE(direct->closed_op, false);
	tap_gate_open(tap);
}

/* The ring has failed: end what waits at the gate. */
void tap_direct_abort(struct blktap *tap)
{
	struct tap_cmd *cmd, *next;
	struct tap_direct *direct;
	LIST_HEAD(waited);

	rcu_read_lock();
	direct = READ_ONCE(tap->direct);
	if (direct)
		gate_take(direct, false, &waited);
	rcu_read_unlock();
	wake_up_all(&tap->wait);
	list_for_each_entry_safe(cmd, next, &waited, node) {
		list_del_init(&cmd->node);
		blk_mq_end_request(blk_mq_rq_from_pdu(cmd), BLK_STS_IOERR);
	}
}

/**
 * tap_direct_close - stop using the layout
 * @tap: the tap; one at a time closes and opens
 * @deadline: in jiffies
 * @give_up: what a failed sync has lost is no hindrance
 *
 * When this returns 0 all is committed and no I/O is in flight in files. Else
 * the gate is open again. Context: sleeps.
 */
int tap_direct_close(struct blktap *tap, unsigned long deadline, bool give_up)
{
	struct tap_direct *direct = tap->direct;
	bool closed = false;
	int err;

	if (!direct)
		return 0;
	err = tap_wait(tap, deadline,
		       (closed = tap_gate_close(tap)) || READ_ONCE(direct->dead));
	if (!closed)
		return err ?: -EIO;
	WRITE_ONCE(direct->closed_op, true);
	err = tap_wait(tap, deadline, tap_gate_drained(tap));
	if (!err)
		err = give_up ? tap_direct_sync_or_give_up(tap, deadline) :
				tap_direct_sync_until(tap, deadline);
	if (err)
		tap_direct_open(tap);
	return err;
}

/* Forget extents: the layout is closed, and no upcall is under way. */
void tap_direct_forget(struct blktap *tap)
{
	if (tap->direct)
		tap_layout_forget(&tap->direct->layout);
}

/**
 * tap_direct_forget_files - and the files: the tap is paused
 * @tap: the tap; there are no extents
 *
 * Waits for a flush that syncs them; not under the tap's lock, since that flush
 * may wait for a tapdisk that waits for it.
 */
void tap_direct_forget_files(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;

	if (!direct)
		return;
	mutex_lock(&direct->sync_lock);
	files_forget(direct);
	direct->failed = 0;
	mutex_unlock(&direct->sync_lock);
}

/**
 * tap_direct_use - an operation relies on the tap's layout mode, or no more
 * @tap: the tap
 * @use: it does: the disk can't be removed meanwhile
 *
 * Return: there is a disk in layout mode.
 */
bool tap_direct_use(struct blktap *tap, bool use)
{
	bool there;

	mutex_lock(&tap->lock);
	there = tap->direct && tap->disk;
	if (there)
		tap->direct->busy = use;
	mutex_unlock(&tap->lock);
	return there;
}

static void time_update(struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	if (!sb_start_write_trylock(sb))
		return;
	file_update_time(file);
	sb_end_write(sb);
}

/* The times of files that were written to, once a sync and not once a write. */
static void times_update(struct tap_direct *direct, unsigned int nr)
{
	struct tap_direct_counters sum;
	unsigned int i;

	tap_direct_count(direct, &sum);
	if (sum.bytes[1] == direct->written)
		return;
	direct->written = sum.bytes[1];
	for (i = 0; i < nr; i++)
		if (direct->files[i].write && !direct->files[i].bdev)
			time_update(direct->files[i].file);
}

/* What a sync has lost does not come back, whatever it failed with: -EIO. */
static int files_sync(struct tap_direct *direct)
{
	unsigned int i, nr;
	int err = 0;

	/* Pairs with file_add(). */
	nr = smp_load_acquire(&direct->nr_files);
	times_update(direct, nr);
	for (i = 0; i < nr; i++)
		if (direct->files[i].write)
			err = tap_fault_backend() ?:
			      vfs_fsync(direct->files[i].file, 1) ?: err;
	direct->failed = err;
	return err ? -EIO : 0;
}

/* Commits ranges whose data is durable. */
static int commit_ranges(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;
	struct tap_commit *commit = &direct->commit;
	unsigned int i;
	int err;

	err = tap_ring_commit(tap, commit);
	for (i = 0; !err && i < commit->nr; i++)
		tap_layout_committed(&direct->layout, commit->ranges[i].sector,
				     commit->ranges[i].sector +
				     commit->ranges[i].nr_sectors - 1);
	return err;
}

/**
 * tap_direct_sync - make durable what has been written, data before metadata
 * @tap: the tap
 *
 * Ranges are taken first, then the files synced: no bit is set for data that
 * is not there; nor after a sync that failed, since the next one won't say so.
 * Context: sleeps; a commit waits for the tapdisk as any request does. Return: 0;
 * -EIO, also for every failure of a file's; the commit's error.
 */
int tap_direct_sync(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;
	struct tap_commit *commit = &direct->commit;
	bool committed = false;
	u64 from = 0;
	int err;

	mutex_lock(&direct->sync_lock);
	err = direct->failed ? -EIO : 0;
	while (!err) {
		commit->nr = tap_layout_dirty_ranges(&direct->layout, &from,
						     commit->ranges,
						     BLKTAP_EXTENTS_MAX);
		err = files_sync(direct);
		if (err || !commit->nr)
			break;
		err = commit_ranges(tap);
		committed = true;
		if (commit->nr < BLKTAP_EXTENTS_MAX)
			break;
	}
	if (!err && committed)
		err = files_sync(direct);
	mutex_unlock(&direct->sync_lock);
	trace_blktap_sync(tap, committed, err);
	return err;
}

/* The same, from a work item. Context: any in which @tap->direct stays. */
void tap_direct_sync_soon(struct blktap *tap)
{
	struct tap_direct *direct = tap->direct;

	atomic_inc(&direct->jobs);
	if (!queue_work(direct->wait_wq, &direct->sync))
		atomic_dec(&direct->jobs);
}

/* One of tap_direct.jobs has ended. */
void tap_direct_job_done(struct blktap *tap)
{
	atomic_dec(&tap->direct->jobs);
	wake_up_all(&tap->wait);
}

/**
 * tap_direct_sync_until - the same, for an operation
 * @tap: the tap
 * @deadline: in jiffies; if it passes the work goes on
 */
int tap_direct_sync_until(struct blktap *tap, unsigned long deadline)
{
	struct tap_direct *direct = tap->direct;
	u64 want;
	int err;

	spin_lock(&direct->gate_lock);
	want = ++direct->sync_wanted;
	spin_unlock(&direct->gate_lock);
	tap_direct_sync_soon(tap);
	err = tap_wait(tap, deadline, READ_ONCE(direct->sync_done) >= want);
	spin_lock(&direct->gate_lock);
	if (direct->sync_done >= want)
		err = direct->sync_error;
	spin_unlock(&direct->gate_lock);
	return err;
}

/**
 * tap_direct_sync_or_give_up - the same, but what is lost is no hindrance
 * @tap: the tap
 * @deadline: in jiffies
 *
 * After a file's sync has failed it can't be known what of it is there. What is
 * dirty is not committed; flushes have failed, but maybe none since it was written:
 * the next one does. Context: the tap's operation, one at a time.
 */
int tap_direct_sync_or_give_up(struct blktap *tap, unsigned long deadline)
{
	int err = tap_direct_sync_until(tap, deadline);
	struct tap_direct *direct = tap->direct;

	if (!err || !READ_ONCE(direct->failed))
		return err;
	WRITE_ONCE(direct->lost, direct->lost + 1);
	pr_err("tap %u: a sync of its image has failed (%d): what was not flushed before is lost\n",
	       tap->minor, READ_ONCE(direct->failed));
	return 0;
}

/* Adds up the counters of all CPUs. */
void tap_direct_count(struct tap_direct *direct,
		      struct tap_direct_counters *sum)
{
	int cpu;

	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu) {
		struct tap_direct_counters *c = per_cpu_ptr(direct->count, cpu);

		sum->hits += READ_ONCE(c->hits);
		sum->bytes[0] += READ_ONCE(c->bytes[0]);
		sum->bytes[1] += READ_ONCE(c->bytes[1]);
		sum->punts += READ_ONCE(c->punts);
	}
}
