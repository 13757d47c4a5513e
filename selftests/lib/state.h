/* SPDX-License-Identifier: GPL-2.0-only */
/* What a C case must leave behind: nothing, and a kernel that didn't complain. */
#ifndef SELFTESTS_LIB_STATE_H
#define SELFTESTS_LIB_STATE_H

#include "ktap.h"

/* For KTAP_MAIN(). */
extern const struct ktap_checks state_checks;

/* The kernel's log from now on: how many of its lines hold @text, after waiting for one. */
void kernel_log_mark(void);
int kernel_log_count(const char *text);
int kernel_log_wait(const char *text, double seconds);

#endif
