/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's fault injection: the module's own points, and allocations. */
#ifndef SELFTESTS_LIB_FAULT_H
#define SELFTESTS_LIB_FAULT_H

#include <stdbool.h>

#include "ktap.h"

#define FAULT_BACKEND "fail_backend"

/* As state_checks, and every fault is off before a case. */
extern const struct ktap_checks fault_checks;

void debugfs_write(const char *dir, const char *file, const char *value);

/* From now on the module's point fails, as often as that; how often it still will. */
void fault(const char *point, unsigned int times);
unsigned int faults_left(const char *point);

/* What fail_backend says. */
void fault_errno(int err);

/* Each allocation may be the one to fail, also one that could wait for memory. */
void all_allocations_may_fail(void);

/* From now on each allocation that can't wait for memory fails with that probability. */
void allocations_fail(unsigned int percent);
void allocations_are_well(void);
unsigned int allocations_failed(void);	/* since allocations_fail() */

/*
 * Calls again and again; each time another allocation, or copy from or to userspace,
 * fails, the first, the second and so on, till there are no more. @call returns 0 or
 * an errno; @undo gets it, and has things again as they were before.
 */
void each_allocation(const char *what, int (*call)(void *arg), void (*undo)(void *arg, int err),
		     void *arg);

/* The same, while the kernel's workers' allocations fail, each one's first, second ... */
void each_allocation_of_workers(const char *what, int (*call)(void *arg),
				void (*undo)(void *arg, int err), void *arg);

#endif
