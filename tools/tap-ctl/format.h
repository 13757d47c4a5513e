/* SPDX-License-Identifier: GPL-2.0-only */
/* How taps, tapdisks, pools and events are printed. */
#ifndef TAPCTL_FORMAT_H
#define TAPCTL_FORMAT_H

#include <json-c/json_object.h>
#include <stdio.h>

#include "client.h"

/** format_tap_line() - pid=172 minor=0 state=0 args=vhd:/path: what does not apply is absent */
void format_tap_line(FILE *out, const struct message *tap);

/** format_tap_row() - columns pid minor state type file, "-" for what does not apply */
void format_tap_row(FILE *out, const struct message *tap);

/** format_pool_line() - name=default pages=4096 free=4096 */
void format_pool_line(FILE *out, const struct message *pool);

/** format_pool_row() - columns name pages free */
void format_pool_row(FILE *out, const struct message *pool);

/** format_event_line() - the event's name, then as format_tap_line(), error and text */
void format_event_line(FILE *out, const struct message *event);

/** format_json() - all that a message says; to be put with json_object_put() */
struct json_object *format_json(const struct message *msg);

/** format_counters() - what the kernel counts of a tap; to be put */
struct json_object *format_counters(const struct message *msg);

/** format_print_json() - print on several lines, and put */
void format_print_json(FILE *out, struct json_object *json);

#endif
