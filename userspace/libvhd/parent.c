// SPDX-License-Identifier: GPL-2.0-only
/* What a differencing image knows of its parent: name, UUID, time, locators. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* Put a locator's text at the end of the metadata. */
static int add_locator(struct vhd *v, int slot, uint32_t code, const void *text,
		       size_t len, struct vhd_error *err)
{
	vhd_autofree uint8_t *data = NULL;
	struct vhd_locator *l = &v->header.locator[slot];
	size_t space = vhd_round_up(len, VHD_SECTOR);
	uint64_t at;
	int r;

	data = vhd_alloc(space);
	if (!data)
		return vhd_fail_nomem(err, v->path);
	memcpy(data, text, len);
	at = v->next_free;
	r = vhd_append(v, data, space, "a parent locator", err);
	if (r)
		return r;
	l->code = code;
	l->data_space = space;	/* in bytes, as Hyper-V and XenServer have it */
	l->data_length = len;
	l->data_offset = at;
	return 0;
}

static int fail_name(const struct vhd *v, const char *path, int error,
		     struct vhd_error *err)
{
	return vhd_fail(err, error, "%s: the parent's path %s can't be stored: %s; rename it",
			v->path, path, error == -EILSEQ ? "it is not UTF-8" : "it is too long");
}

static int add_windows_locator(struct vhd *v, int slot, uint32_t code,
			       const char *path, struct vhd_error *err)
{
	vhd_autofree char *windows = strdup(path);
	vhd_autofree uint8_t *text = malloc(VHD_LOCATOR_MAX);
	ssize_t len;

	if (!windows || !text)
		return vhd_fail_nomem(err, v->path);
	for (char *c = windows; *c; c++)
		if (*c == '/')
			*c = '\\';
	len = vhd_utf16_encode(windows, false, text, VHD_LOCATOR_MAX);
	if (len < 0)
		return fail_name(v, path, len, err);
	return add_locator(v, slot, code, text, len, err);
}

/*
 * Relative ones first: readers take the first that leads to a file. The URI is
 * as XenServer, which is who reads it, has it: relative, and nothing in it is
 * escaped, neither of which RFC 2396 knows.
 */
static int add_locators(struct vhd *v, const struct vhd *parent,
			struct vhd_error *err)
{
	vhd_autofree char *relative = vhd_relative_path(v->path, parent->path);
	vhd_autofree char *uri = NULL;
	int r;

	if (!relative || asprintf(&uri, URI_FILE "%s", relative) < 0)
		return vhd_fail_nomem(err, v->path);
	r = add_windows_locator(v, 0, VHD_PLATFORM_W2RU, relative, err);
	if (!r)
		r = add_locator(v, 1, VHD_PLATFORM_MACX, uri, strlen(uri), err);
	if (!r)
		r = add_windows_locator(v, 2, VHD_PLATFORM_W2KU, parent->path, err);
	return r;
}

/*
 * A block device node's time says nothing about what is on it: there the
 * parent's own time of creation stands for it.
 */
int vhd_init_parent(struct vhd *v, const struct vhd *parent,
		    struct vhd_error *err)
{
	const char *name = strrchr(parent->path, '/') + 1;
	struct vhd_header *h = &v->header;
	struct stat st;
	ssize_t len;

	if (fstat(parent->fd, &st))
		return vhd_fail(err, -errno, "%s: stat failed: %s", parent->path,
				strerror(errno));
	len = vhd_utf16_encode(name, true, h->parent_name, sizeof(h->parent_name));
	if (len < 0)
		return fail_name(v, parent->path, len, err);
	if (parent->type != VHD_TYPE_RAW)
		uuid_copy(h->parent_uuid, parent->footer.uuid);
	if (parent->block_device && parent->type != VHD_TYPE_RAW)
		h->parent_timestamp = parent->footer.timestamp;
	else
		h->parent_timestamp = vhd_time(st.st_mtime);
	return add_locators(v, parent, err);
}

static int check_above(const char *path, const struct vhd *parent, struct vhd_error *err)
{
	struct stat st;

	if (stat(path, &st))
		return vhd_fail(err, -errno, "%s: stat failed: %s", path, strerror(errno));
	for (; parent; parent = parent->parent)
		if (vhd_same_file(parent, &st))
			return vhd_fail(err, -ELOOP,
					"%s: is itself in the chain of the parent: that would be a loop",
					path);
	return 0;
}

/* The header, too, at a new place: it changes in two sectors. */
static int set_parent(struct vhd *v, const struct vhd *parent, struct vhd_error *err)
{
	vhd_autofree uint8_t *disk = vhd_alloc(sizeof(v->header));
	uint64_t offset;
	int r;

	if (v->type != VHD_TYPE_DIFFERENCING)
		return vhd_fail(err, -EINVAL, "%s: has no parent to be changed", v->path);
	if (!disk)
		return vhd_fail_nomem(err, v->path);
	memset(v->header.locator, 0, sizeof(v->header.locator));
	memset(v->header.parent_name, 0, sizeof(v->header.parent_name));
	uuid_clear(v->header.parent_uuid);
	r = vhd_init_parent(v, parent, err);
	if (r)
		return r;
	offset = v->next_free;
	vhd_header_encode(&v->header, disk);
	r = vhd_append(v, disk, sizeof(v->header), "the header", err);
	if (!r)
		r = vhd_cover(v, err);
	if (r)
		return r;
	v->footer.data_offset = offset;
	return vhd_write_footers(v, err);
}

int vhd_set_parent(const char *path, const char *parent, bool parent_raw,
		   struct vhd_error *err)
{
	struct vhd *p, *v;
	int r;

	if (parent_raw)
		r = vhd_open_raw(&p, parent, 0, err);
	else
		r = vhd_open_chain(&p, parent, 0, err);
	if (r)
		return r;
	r = check_above(path, p, err);
	if (!r)
		r = vhd_open(&v, path, VHD_OPEN_RDWR, err);
	if (!r) {
		r = set_parent(v, p, err);
		vhd_close(v);
	}
	vhd_close(p);
	return r;
}
