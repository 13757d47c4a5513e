// SPDX-License-Identifier: GPL-2.0-only
/*
 * A deliberate bug of each kind that the debug kernels watch for. Loading the
 * module makes the one that it is told to: what then is not reported would not
 * be reported of the driver either.
 */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

static char *bug;
module_param(bug, charp, 0444);
MODULE_PARM_DESC(bug, "what to do wrong");

static void out_of_bounds(void)
{
	char *p = kmalloc(40, GFP_KERNEL);

	if (!p)
		return;
	OPTIMIZER_HIDE_VAR(p);
	p[40] = 1;
	kfree(p);
}

static void use_after_free(void)
{
	char *p = kmalloc(40, GFP_KERNEL);

	if (!p)
		return;
	kfree(p);
	OPTIMIZER_HIDE_VAR(p);
	READ_ONCE(*p);
}

static void stack_out_of_bounds(void)
{
	char buf[40];
	char *p = buf;

	OPTIMIZER_HIDE_VAR(p);
	READ_ONCE(p[40]);
}

/* Some word or other may look like a pointer to one; not to all of them. */
static void leak(void)
{
	int i;

	for (i = 0; i < 32; i++) {
		void *p = kmalloc(40, GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(p);
	}
}

static void lock_order(void)
{
	static DEFINE_MUTEX(a);
	static DEFINE_MUTEX(b);

	mutex_lock(&a);
	mutex_lock(&b);
	mutex_unlock(&b);
	mutex_unlock(&a);

	mutex_lock(&b);
	mutex_lock(&a);
	mutex_unlock(&a);
	mutex_unlock(&b);
}

static void no_rcu(void)
{
	static int __rcu *pointer;

	(void)rcu_dereference(pointer);
}

static void index_too_large(void)
{
	int array[4] = {};
	int i = 4;

	OPTIMIZER_HIDE_VAR(i);
	barrier_data(array);
	i = array[i];
	OPTIMIZER_HIDE_VAR(i);
}

static void shift_too_far(void)
{
	int i = 32;

	OPTIMIZER_HIDE_VAR(i);
	i = 1 << i;
	OPTIMIZER_HIDE_VAR(i);
}

static void sleep_in_atomic(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	might_sleep();
	spin_unlock(&lock);
}

static void do_nothing(struct work_struct *work)
{
}

static void free_active_object(void)
{
	struct delayed_work *work = kmalloc(sizeof(*work), GFP_KERNEL);

	if (!work)
		return;
	INIT_DELAYED_WORK(work, do_nothing);
	schedule_delayed_work(work, HZ);
	/* The checker cancels it: nothing is freed under a timer. */
	kfree(work);
}

static void one_put_too_many(void)
{
	refcount_t ref = REFCOUNT_INIT(1);

	refcount_dec(&ref);
}

static void hang(void)
{
	schedule_timeout_uninterruptible(5 * HZ);
}

static const struct {
	const char *name;
	void (*make)(void);
} bugs[] = {
	{ "out-of-bounds", out_of_bounds },
	{ "use-after-free", use_after_free },
	{ "stack-out-of-bounds", stack_out_of_bounds },
	{ "leak", leak },
	{ "lock-order", lock_order },
	{ "no-rcu", no_rcu },
	{ "index-too-large", index_too_large },
	{ "shift-too-far", shift_too_far },
	{ "sleep-in-atomic", sleep_in_atomic },
	{ "free-active-object", free_active_object },
	{ "one-put-too-many", one_put_too_many },
	{ "hang", hang },
};

static int __init watch_test(void)
{
	size_t i;

	for (i = 0; bug && i < ARRAY_SIZE(bugs); i++) {
		if (strcmp(bug, bugs[i].name))
			continue;
		bugs[i].make();
		return 0;
	}
	return -EINVAL;
}

static void __exit watch_test_end(void)
{
}

module_init(watch_test);
module_exit(watch_test_end);

MODULE_DESCRIPTION("blktap: bugs for the kernel's checkers to find");
MODULE_LICENSE("GPL");
