// SPDX-License-Identifier: GPL-2.0-only
#include <json-c/json.h>
#include <string.h>

#include "tap.h"

static struct json_object *pair(uint64_t first, uint64_t second)
{
	struct json_object *array = json_object_new_array();

	json_object_array_add(array, json_object_new_uint64(first));
	json_object_array_add(array, json_object_new_uint64(second));
	return array;
}

static struct json_object *layer_json(const struct image_layer *layer)
{
	struct json_object *driver = json_object_new_object();
	struct json_object *json = json_object_new_object();

	json_object_object_add(driver, "type", json_object_new_int(layer->driver->type));
	json_object_object_add(driver, "name", json_object_new_string(layer->driver->name));

	json_object_object_add(json, "name", json_object_new_string(layer->name));
	json_object_object_add(json, "hits", pair(layer->read_hits, layer->write_hits));
	json_object_object_add(json, "fail", pair(layer->read_fails, layer->write_fails));
	json_object_object_add(json, "driver", driver);
	return json;
}

char *tap_stats_json(const struct tap *tap)
{
	const struct tap_stats *stats = &tap->stats;
	const struct image *image = tap->image;
	struct json_object *json = json_object_new_object();
	struct json_object *images = json_object_new_array();
	struct json_object *ring = json_object_new_object();
	char *text;

	for (unsigned int i = 0; image && i < image->nr_layers; i++)
		json_object_array_add(images, layer_json(&image->layers[i]));
	json_object_object_add(ring, "minor", json_object_new_int64(tap->minor));
	json_object_object_add(ring, "reqs", pair(stats->requests, stats->responses));
	json_object_object_add(ring, "kicks", pair(stats->wakeups, stats->kicks));

	json_object_object_add(json, "name", json_object_new_string(image ? image->name : ""));
	json_object_object_add(json, "secs", pair(stats->read_sectors, stats->write_sectors));
	json_object_object_add(json, "images", images);
	json_object_object_add(json, "tap", ring);
	json_object_object_add(json, "reqs_outstanding", json_object_new_int64(tap->in_flight));

	text = strdup(json_object_to_json_string_ext(json, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(json);
	return text;
}
