// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <time.h>

static const struct image_driver *const drivers[] = {
	&image_driver_vhd,
	&image_driver_aio,
};

static const char *skip_prefixes(const char *name)
{
	static const char *const prefixes[] = { "tap:", "tapdisk:" };

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			name += strlen(prefixes[i]);
	return name;
}

static const struct image_driver *find_driver(const char *name, const char *colon)
{
	size_t len = (size_t)(colon - name);

	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (strlen(drivers[i]->name) == len && !memcmp(drivers[i]->name, name, len))
			return drivers[i];
	return NULL;
}

int image_open(struct image **image, struct aio *aio, const char *name, unsigned int flags,
	       struct vhd_error *error)
{
	const struct image_driver *driver;
	const char *colon;
	char *copy;
	int err;

	name = skip_prefixes(name);
	colon = strchr(name, ':');
	if (!colon)
		return deny(error, EINVAL, "%s: no image name: write vhd:/path or aio:/path", name);
	driver = find_driver(name, colon);
	if (!driver)
		return deny(error, EINVAL, "%s: unknown image type '%.*s': use vhd or aio (raw)",
			    name, (int)(colon - name), name);
	if (colon[1] != '/')
		return deny(error, EINVAL, "%s: the path must be absolute", name);

	copy = strdup(name);
	if (!copy)
		return deny(error, ENOMEM, "%s: out of memory", name);
	err = driver->open(image, aio, colon + 1, flags, error);
	if (err) {
		free(copy);
		return err;
	}

	(*image)->driver = driver;
	(*image)->name = copy;
	syslog(LOG_INFO, "%s: open, %llu sectors in %u file(s)%s", copy,
	       (unsigned long long)(*image)->capacity, (*image)->nr_layers,
	       (*image)->rdonly ? ", read-only" : "");
	return 0;
}

void image_close(struct image *image)
{
	char *name;

	if (!image)
		return;

	name = image->name;
	image->driver->close(image);
	syslog(LOG_INFO, "%s: closed", name);
	free(name);
}

unsigned int image_vhd_flags(unsigned int flags)
{
	return (flags & ~IMAGE_RDONLY) | (flags & IMAGE_RDONLY ? 0 : VHD_OPEN_RDWR);
}

static bool device_discards(dev_t dev)
{
	static const char *const formats[] = {
		"/sys/dev/block/%u:%u/queue/discard_max_bytes",
		"/sys/dev/block/%u:%u/../queue/discard_max_bytes",	/* a partition */
	};
	unsigned long long bytes = 0;

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		char path[80];
		FILE *file;

		snprintf(path, sizeof(path), formats[i], major(dev), minor(dev));
		file = fopen(path, "re");
		if (!file)
			continue;
		if (fscanf(file, "%llu", &bytes) != 1)
			bytes = 0;
		fclose(file);
		break;
	}
	return bytes > 0;
}

bool image_file_trims(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	if (S_ISBLK(st.st_mode))
		return device_discards(st.st_rdev);
	/* Past the end of the file, so that trying has no effect. */
	return !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (st.st_size / 4096 + 1) * 4096, 4096);
}

static void log_failure(struct image_layer *layer, const char *operation, int err)
{
	time_t now = time(NULL);

	if (layer->logged == now)
		return;
	layer->logged = now;
	syslog(LOG_ERR, "%s: %s: %s", layer->name, operation, strerror(-err));
}

void image_count_read(struct image_layer *layer, uint64_t sectors, int err)
{
	if (!err) {
		layer->read_hits += sectors;
		return;
	}
	layer->read_fails += sectors;
	log_failure(layer, "read", err);
}

void image_count_write(struct image_layer *layer, uint64_t sectors, int err)
{
	if (!err) {
		layer->write_hits += sectors;
		return;
	}
	layer->write_fails += sectors;
	log_failure(layer, "write", err);
}
