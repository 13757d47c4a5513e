/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TAPCTL_REPORT_H
#define TAPCTL_REPORT_H

/**
 * report() - tell the admin, once, on one line of stderr
 *
 * Who finds an error reports it and returns a negative errno; who gets one
 * from a function of this tool passes it on in silence.
 */
__attribute__((format(printf, 1, 2))) void report(const char *format, ...);

/**
 * say() - print a result on stdout that must not get lost
 *
 * Returns 0, or a negative errno, reported: a closed pipe does not kill us, so
 * that what the result is of can be undone.
 */
__attribute__((format(printf, 1, 2))) int say(const char *format, ...);

#endif
