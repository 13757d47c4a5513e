// SPDX-License-Identifier: GPL-2.0-only
/* Names of images: type:/path */
#include "image.h"

#include <errno.h>
#include <limits.h>
#include <linux/blktap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "report.h"

static const char *const types[] = { "vhd", "aio" };
static const char *const old_prefixes[] = { "tap:", "tapdisk:" };

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))

static const char *skip_prefixes(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(old_prefixes); i++) {
		size_t len = strlen(old_prefixes[i]);

		if (!strncmp(name, old_prefixes[i], len))
			name += len;
	}
	return name;
}

/* The type that @name begins with; NULL: none that is known. */
static const char *find_type(const char *name)
{
	size_t len = strcspn(name, ":");

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (name[len] == ':' && strlen(types[i]) == len && !strncmp(name, types[i], len))
			return types[i];
	return NULL;
}

const char *image_path(const char *name)
{
	const char *colon = strchr(name, ':');

	return colon ? colon + 1 : name;
}

int image_name(const char *arg, char **name)
{
	const char *plain = skip_prefixes(arg);
	const char *type = find_type(plain);
	const char *path;
	char absolute[PATH_MAX];
	struct stat st;

	if (!type || !*image_path(plain)) {
		report("%s: not TYPE:/PATH with TYPE one of %s, %s", arg, types[0], types[1]);
		return -EINVAL;
	}
	path = image_path(plain);
	if (stat(path, &st)) {
		report("%s: %s", path, strerror(errno));
		return -errno;
	}
	if (*path != '/' && !realpath(path, absolute)) {
		report("%s: %s", path, strerror(errno));
		return -errno;
	}
	if (*path != '/')
		path = absolute;
	if (strlen(type) + 1 + strlen(path) >= BLKTAP_NAME_MAX) {
		report("%s: longer than the %d bytes a name may have", path, BLKTAP_NAME_MAX - 1);
		return -ENAMETOOLONG;
	}
	if (asprintf(name, "%s:%s", type, path) < 0) {
		report("%s: out of memory", path);
		return -ENOMEM;
	}
	return 0;
}
