// SPDX-License-Identifier: GPL-2.0-only
#include "format.h"

#include <string.h>

#include "image.h"

static const char *const event_names[] = {
	[BLKTAP_EVENT_TAP_ADDED] = "tap-added",
	[BLKTAP_EVENT_TAP_REMOVED] = "tap-removed",
	[BLKTAP_EVENT_TAP_STATE] = "tap-state",
	[BLKTAP_EVENT_TAPDISK_ADDED] = "tapdisk-added",
	[BLKTAP_EVENT_TAPDISK_GONE] = "tapdisk-gone",
	[BLKTAP_EVENT_DONE] = "done",
	[BLKTAP_EVENT_STALLED] = "stalled",
	[BLKTAP_EVENT_NO_SPACE] = "no-space",
	[BLKTAP_EVENT_GOES_ON] = "goes-on",
	[BLKTAP_EVENT_VBD_WANTED] = "vbd-wanted",
	[BLKTAP_EVENT_VBD_ADDED] = "vbd-added",
	[BLKTAP_EVENT_VBD_REMOVED] = "vbd-removed",
};

static const char *const counter_names[BLKTAP_C_MAX + 1] = {
	[BLKTAP_C_READS] = "reads",
	[BLKTAP_C_WRITES] = "writes",
	[BLKTAP_C_FLUSHES] = "flushes",
	[BLKTAP_C_TRIMS] = "trims",
	[BLKTAP_C_READ_SECTORS] = "read_sectors",
	[BLKTAP_C_WRITE_SECTORS] = "write_sectors",
	[BLKTAP_C_ERRORS] = "errors",
	[BLKTAP_C_KICKS] = "kicks",
	[BLKTAP_C_RING_FULL] = "ring_full",
	[BLKTAP_C_POOL_EMPTY] = "pool_empty",
	[BLKTAP_C_IN_RING] = "in_ring",
	[BLKTAP_C_WAITING] = "waiting",
	[BLKTAP_C_HITS] = "hits",
	[BLKTAP_C_MISSES] = "misses",
	[BLKTAP_C_UPCALLS] = "upcalls",
	[BLKTAP_C_COMMITS] = "commits",
	[BLKTAP_C_ZERO_COPIED] = "zero_copied",
	[BLKTAP_C_COPIED] = "copied",
	[BLKTAP_C_PUNTS] = "punts",
	[BLKTAP_C_RECALLS] = "recalls",
	[BLKTAP_C_EXTENTS] = "extents",
	[BLKTAP_C_MAP_BYTES] = "map_bytes",
};

static const char *event_name(uint32_t event)
{
	if (event >= sizeof(event_names) / sizeof(*event_names) || !event_names[event])
		return "unknown";
	return event_names[event];
}

/* Each field that is there, with @sep before it, but for the first. */
static void print_fields(FILE *out, const struct message *tap, const char *sep)
{
	const char *between = sep;

	if (message_has(tap, BLKTAP_A_DOMID)) {
		fprintf(out, "%sdomid=%u devid=%u", between, tap->vbd.domid, tap->vbd.devid);
		between = " ";
	}
	if (message_has(tap, BLKTAP_A_PID)) {
		fprintf(out, "%spid=%u", between, tap->pid);
		between = " ";
	}
	if (message_has(tap, BLKTAP_A_MINOR)) {
		fprintf(out, "%sminor=%u", between, tap->minor);
		between = " ";
	}
	if (message_has(tap, BLKTAP_A_STATE)) {
		fprintf(out, "%sstate=%#x", between, tap->state);
		between = " ";
	}
	if (tap->name)
		fprintf(out, "%sargs=%s", between, tap->name);
}

void format_tap_line(FILE *out, const struct message *tap)
{
	print_fields(out, tap, "");
	fputc('\n', out);
}

void format_tap_row(FILE *out, const struct message *tap)
{
	const char *path = tap->name ? image_path(tap->name) : "-";
	char pid[16] = "-", minor[16] = "-", state[16] = "-", type[32] = "-";

	if (message_has(tap, BLKTAP_A_PID))
		snprintf(pid, sizeof(pid), "%u", tap->pid);
	if (message_has(tap, BLKTAP_A_MINOR))
		snprintf(minor, sizeof(minor), "%u", tap->minor);
	if (message_has(tap, BLKTAP_A_STATE))
		snprintf(state, sizeof(state), "%#x", tap->state);
	if (tap->name && path != tap->name)
		snprintf(type, sizeof(type), "%.*s", (int)(path - tap->name - 1), tap->name);
	fprintf(out, "%8s %4s %4s %10s %s\n", pid, minor, state, type, path);
}

void format_pool_line(FILE *out, const struct message *pool)
{
	fprintf(out, "name=%s pages=%u free=%u\n", pool->pool ?: "", pool->pool_pages,
		pool->pool_free);
}

void format_pool_row(FILE *out, const struct message *pool)
{
	fprintf(out, "%-20s %10u %10u\n", pool->pool ?: "", pool->pool_pages, pool->pool_free);
}

void format_event_line(FILE *out, const struct message *event)
{
	fputs(event_name(event->event), out);
	print_fields(out, event, " ");
	if (message_has(event, BLKTAP_A_ERROR))
		fprintf(out, " error=%u", event->error);
	if (event->text && *event->text)
		fprintf(out, " text=%s", event->text);
	fputc('\n', out);
}

static void add_number(struct json_object *json, const struct message *msg, enum blktap_attr attr,
		       const char *key, uint64_t value)
{
	if (message_has(msg, attr))
		json_object_object_add(json, key, json_object_new_uint64(value));
}

static void add_string(struct json_object *json, const char *key, const char *value)
{
	if (value)
		json_object_object_add(json, key, json_object_new_string(value));
}

static void add_name(struct json_object *json, const char *name)
{
	const char *path;

	if (!name)
		return;
	path = image_path(name);
	add_string(json, "args", name);
	if (path != name)
		json_object_object_add(json, "type",
				       json_object_new_string_len(name, path - name - 1));
	add_string(json, "file", path);
}

struct json_object *format_counters(const struct message *msg)
{
	struct json_object *json = json_object_new_object();

	for (int i = 0; i <= BLKTAP_C_MAX; i++)
		if (counter_names[i])
			json_object_object_add(json, counter_names[i],
					       json_object_new_uint64(msg->counters[i]));
	return json;
}

static void add_vbds(struct json_object *json, const struct message *msg)
{
	struct json_object *array = json_object_new_array(), *vbd;

	for (unsigned int i = 0; i < msg->nr_vbds; i++) {
		vbd = json_object_new_object();
		json_object_object_add(vbd, "domid", json_object_new_uint64(msg->vbds[i].domid));
		json_object_object_add(vbd, "devid", json_object_new_uint64(msg->vbds[i].devid));
		json_object_array_add(array, vbd);
	}
	json_object_object_add(json, "vbds", array);
}

struct json_object *format_json(const struct message *msg)
{
	struct json_object *json = json_object_new_object();

	if (message_has(msg, BLKTAP_A_EVENT))
		add_string(json, "event", event_name(msg->event));
	add_number(json, msg, BLKTAP_A_DOMID, "domid", msg->vbd.domid);
	add_number(json, msg, BLKTAP_A_DEVID, "devid", msg->vbd.devid);
	add_number(json, msg, BLKTAP_A_PID, "pid", msg->pid);
	add_number(json, msg, BLKTAP_A_MINOR, "minor", msg->minor);
	add_number(json, msg, BLKTAP_A_STATE, "state", msg->state);
	add_name(json, msg->name);
	add_string(json, "disk", msg->disk);
	if (message_has(msg, BLKTAP_A_CAPACITY)) {
		json_object_object_add(json, "readonly",
				       json_object_new_boolean(message_has(msg, BLKTAP_A_RDONLY)));
		add_string(json, "mode", message_has(msg, BLKTAP_A_RING_MODE) ? "ring" : "layout");
	}
	add_number(json, msg, BLKTAP_A_CAPACITY, "sectors", msg->capacity);
	add_number(json, msg, BLKTAP_A_SECTOR_SIZE, "sector_size", msg->sector_size);
	add_number(json, msg, BLKTAP_A_OPENERS, "openers", msg->openers);
	add_number(json, msg, BLKTAP_A_REQUEST_TIMEOUT, "request_timeout", msg->request_timeout);
	if (message_has(msg, BLKTAP_A_ON_TIMEOUT))
		add_string(json, "on_timeout",
			   msg->on_timeout == BLKTAP_ON_TIMEOUT_FAIL ? "fail" : "wait");
	add_string(json, "pool", msg->pool);
	add_number(json, msg, BLKTAP_A_POOL_PAGES, "pages", msg->pool_pages);
	add_number(json, msg, BLKTAP_A_POOL_FREE, "free", msg->pool_free);
	if (msg->nr_vbds)
		add_vbds(json, msg);
	add_number(json, msg, BLKTAP_A_ERROR, "error", msg->error);
	add_string(json, "text", msg->text);
	if (message_has(msg, BLKTAP_A_COUNTERS))
		json_object_object_add(json, "counters", format_counters(msg));
	return json;
}

void format_print_json(FILE *out, struct json_object *json)
{
	fprintf(out, "%s\n", json_object_to_json_string_ext(json, JSON_C_TO_STRING_PRETTY |
							    JSON_C_TO_STRING_SPACED |
							    JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(json);
}
