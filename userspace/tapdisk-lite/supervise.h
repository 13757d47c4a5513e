/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TAPDISK_SUPERVISE_H
#define TAPDISK_SUPERVISE_H

/*
 * tapdisk --supervise: give each tap whose tapdisk has gone a new one, until a
 * signal ends us; the tapdisks stay. 0 or a negative errno, reported.
 */
int supervise(void);

#endif
