// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults on demand, on kernels with CONFIG_FAULT_INJECTION_DEBUG_FS. Each point is a
 * folder of /sys/kernel/debug/blktap with the attributes that the kernel's
 * Documentation/fault-injection describes. Allocations have none of their own: the
 * kernel's failslab and fail_page_alloc reach each of them.
 */
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/fault-inject.h>

#include "blktap.h"

static const char * const names[TAP_FAULTS] = {
	[TAP_FAULT_GRANT]	= "fail_grant",
	[TAP_FAULT_BACKEND]	= "fail_backend",
	[TAP_FAULT_UPCALL]	= "lose_upcall",
	[TAP_FAULT_SLOW]	= "slow_tapdisk",
};

static struct fault_attr attrs[TAP_FAULTS] = {
	[0 ... TAP_FAULTS - 1]	= FAULT_ATTR_INITIALIZER,
};

static u32 slow_ms = 1000;		/* what slow_tapdisk takes */
static u32 backend_errno = EIO;		/* what fail_backend ends with */
static struct dentry *dir;

/**
 * tap_fault - is it to go wrong this time?
 * @fault: the point
 *
 * Context: any, also interrupts.
 */
bool tap_fault(enum tap_fault fault)
{
	return should_fail(&attrs[fault], 1);
}

/**
 * tap_fault_backend - is an operation on an image's file to fail?
 *
 * Context: any, also interrupts. Return: 0, or the error that it is to end with.
 */
int tap_fault_backend(void)
{
	if (!tap_fault(TAP_FAULT_BACKEND))
		return 0;
	return -clamp_t(u32, READ_ONCE(backend_errno), 1, MAX_ERRNO);
}

/* Context: a tapdisk's own, without locks. */
void tap_fault_slow(void)
{
	if (tap_fault(TAP_FAULT_SLOW))
		msleep_interruptible(READ_ONCE(slow_ms));
}

int tap_fault_init(void)
{
	unsigned int i;

	dir = debugfs_create_dir("blktap", NULL);
	for (i = 0; !IS_ERR(dir) && i < TAP_FAULTS; i++)
		fault_create_debugfs_attr(names[i], dir, &attrs[i]);
	debugfs_create_u32("slow_ms", 0600, dir, &slow_ms);
	debugfs_create_u32("errno", 0600, dir, &backend_errno);
	return 0;
}

void tap_fault_exit(void)
{
	debugfs_remove_recursive(dir);
}
