// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a differencing image says that its parent is: locators in the notations
 * of Windows (back slashes) and of Mac OS (a URI), and a bare name.
 */
#include <ctype.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

#define URI_LOCALHOST	"localhost/"

struct candidates {
	char *path[2 * VHD_LOCATORS + 1];
	int nr;
};

bool vhd_locator_usable(const struct vhd *v, const struct vhd_locator *l)
{
	if (v->type != VHD_TYPE_DIFFERENCING)
		return false;
	if (l->code != VHD_PLATFORM_W2RU && l->code != VHD_PLATFORM_W2KU &&
	    l->code != VHD_PLATFORM_MACX)
		return false;
	return l->data_length && l->data_length <= VHD_LOCATOR_MAX &&
	       l->data_offset >= VHD_SECTOR && l->data_offset < v->file_size &&
	       v->file_size - l->data_offset >= l->data_length;
}

/* "%20" to " ", in place. */
static void percent_decode(char *s)
{
	char *out = s;

	while (*s) {
		unsigned int c;

		if (s[0] == '%' && isxdigit((unsigned char)s[1]) &&
		    isxdigit((unsigned char)s[2]) && sscanf(s + 1, "%2x", &c) == 1 && c) {
			*out++ = c;
			s += 3;
		} else {
			*out++ = *s++;
		}
	}
	*out = 0;
}

static void back_slashes_to_slashes(char *path)
{
	for (; *path; path++)
		if (*path == '\\')
			*path = '/';
}

/* Takes @path over. */
static void add_candidate(struct candidates *c, char *path)
{
	if (path && *path)
		c->path[c->nr++] = path;
	else
		free(path);
}

/* A URI with a '%' may be one that was never escaped: try both. */
static void add_uri(struct candidates *c, const uint8_t *data, size_t len)
{
	char *uri = strndup((const char *)data, len);
	char *path = uri;

	if (!uri)
		return;
	if (!strncmp(path, URI_FILE, strlen(URI_FILE)))
		path += strlen(URI_FILE);
	if (!strncmp(path, URI_LOCALHOST, strlen(URI_LOCALHOST)))
		path += strlen(URI_LOCALHOST) - 1;
	if (strchr(path, '%')) {
		char *decoded = strdup(path);

		if (decoded)
			percent_decode(decoded);
		add_candidate(c, decoded);
	}
	add_candidate(c, strdup(path));
	free(uri);
}

static int add_locator(struct candidates *c, const struct vhd *v,
		       const struct vhd_locator *l, struct vhd_error *err)
{
	vhd_autofree uint8_t *data = NULL;
	char *path;
	int r;

	if (!vhd_locator_usable(v, l))
		return 0;
	data = malloc(l->data_length);
	if (!data)
		return vhd_fail_nomem(err, v->path);
	r = vhd_read_bytes(v, data, l->data_length, l->data_offset,
			   "a parent locator", err);
	if (r)
		return r;
	if (l->code == VHD_PLATFORM_MACX) {
		add_uri(c, data, l->data_length);
		return 0;
	}
	path = vhd_utf16_decode(data, l->data_length, false);
	if (path)
		back_slashes_to_slashes(path);
	add_candidate(c, path);
	return 0;
}

/* The last part of the parent's name: often it is a whole Windows path. */
static void add_name(struct candidates *c, const struct vhd *v)
{
	vhd_autofree char *name = vhd_utf16_decode(v->header.parent_name,
						   sizeof(v->header.parent_name),
						   true);

	if (!name)
		return;
	back_slashes_to_slashes(name);
	if (*name)
		add_candidate(c, strdup(basename(name)));
}

/* Windows paths with a drive ("D:/vhd/parent.vhd") mean nothing here. */
static bool is_foreign(const char *path)
{
	return isalpha((unsigned char)path[0]) && path[1] == ':';
}

static char *resolve(const struct vhd *v, const char *path)
{
	vhd_autofree char *copy = NULL;
	char *out;

	if (path[0] == '/')
		return strdup(path);
	copy = strdup(v->path);
	if (!copy || asprintf(&out, "%s/%s", dirname(copy), path) < 0)
		return NULL;
	return out;
}

/*
 * The same file's path without "./"; NULL: there is no such file. What can't be
 * looked at counts as there: who opens it gets to know why.
 */
static char *existing(const char *path)
{
	struct stat st;

	if (!stat(path, &st))
		return vhd_canonical_path(path, S_ISBLK(st.st_mode));
	return errno != ENOENT && errno != ENOTDIR ? strdup(path) : NULL;
}

static void note_tried(char *tried, size_t size, const char *path)
{
	size_t len = strlen(tried);

	if (!strstr(tried, path))
		snprintf(tried + len, size - len, "%s%s", len ? ", " : "", path);
}

/* The first of the relative, or absolute, candidates that exists, or NULL. */
static char *find(const struct vhd *v, const struct candidates *c, bool absolute,
		  char *tried, size_t size)
{
	for (int i = 0; i < c->nr; i++) {
		vhd_autofree char *path = NULL;
		char *found;

		if ((c->path[i][0] == '/') != absolute || is_foreign(c->path[i]))
			continue;
		path = resolve(v, c->path[i]);
		if (!path)
			return NULL;
		found = existing(path);
		if (found)
			return found;
		note_tried(tried, size, path);
	}
	return NULL;
}

static void free_candidates(struct candidates *c)
{
	for (int i = 0; i < c->nr; i++)
		free(c->path[i]);
	c->nr = 0;
}

int vhd_parent_path(const struct vhd *v, char **path, struct vhd_error *err)
{
	struct candidates c = { .nr = 0 };
	char tried[4096] = "";
	int r = 0;

	if (v->type != VHD_TYPE_DIFFERENCING)
		return vhd_fail(err, -EINVAL, "%s: has no parent: not a differencing image",
				v->path);
	for (int i = 0; i < VHD_LOCATORS && !r; i++)
		r = add_locator(&c, v, &v->header.locator[i], err);
	*path = NULL;
	if (!r)
		*path = find(v, &c, false, tried, sizeof(tried));
	if (!r && !*path)
		*path = find(v, &c, true, tried, sizeof(tried));
	free_candidates(&c);
	if (!r && !*path) {
		add_name(&c, v);
		*path = find(v, &c, false, tried, sizeof(tried));
		free_candidates(&c);
	}
	if (r || *path)
		return r;
	return vhd_fail(err, -ENOENT,
			"%s: its parent is missing: looked for %s; put it there",
			v->path, tried[0] ? tried : "it, but the image doesn't name one");
}

bool vhd_parent_is_raw(const struct vhd *v)
{
	return v->type == VHD_TYPE_DIFFERENCING &&
	       uuid_is_null(v->header.parent_uuid);
}

/*
 * The path of file @to relative to the directory of file @from, both absolute:
 * "./parent.vhd", "./../golden/parent.vhd". To be freed; NULL: no memory.
 */
char *vhd_relative_path(const char *from, const char *to)
{
	size_t common = 0, ups = 0;
	char *path, *out;

	for (size_t i = 0; from[i] && from[i] == to[i]; i++)
		if (from[i] == '/')
			common = i + 1;
	for (const char *c = from + common; (c = strchr(c, '/')); c++)
		ups++;
	path = malloc(2 + 3 * ups + strlen(to + common) + 1);
	if (!path)
		return NULL;
	out = stpcpy(path, "./");
	for (; ups; ups--)
		out = stpcpy(out, "../");
	strcpy(out, to + common);
	return path;
}
