// SPDX-License-Identifier: GPL-2.0-only
/* An image with all that is beneath it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/* Before it is opened: a lock would find the loop first, and call it busy. */
static int check_loop(const struct vhd *leaf, const struct vhd *child,
		      const char *path, struct vhd_error *err)
{
	unsigned int depth = 0;
	struct stat st;

	if (stat(path, &st))
		return vhd_fail(err, -errno, "%s: cannot reach its parent %s: %s",
				child->path, path, strerror(errno));
	for (const struct vhd *v = leaf; v; v = v->parent, depth++)
		if (vhd_same_file(v, &st))
			return vhd_fail(err, -ELOOP,
					"%s: the chain is a loop: its parent %s is in the chain above it; restore one of them from a copy",
					child->path, path);
	if (depth >= VHD_MAX_DEPTH)
		return vhd_fail(err, -ELOOP,
				"%s: more than %d images in the chain; coalesce some",
				leaf->path, VHD_MAX_DEPTH);
	return 0;
}

/*
 * The time that a child remembers is of the parent's file, by the specification,
 * but that of the parent's creation by some implementations.
 */
static int check_identity(struct vhd *child, const struct vhd *parent,
			  struct vhd_error *err)
{
	char has[UUID_STR_LEN], wants[UUID_STR_LEN];
	struct stat st;

	if (!vhd_parent_is_raw(child) &&
	    uuid_compare(child->header.parent_uuid, parent->footer.uuid)) {
		uuid_unparse_lower(parent->footer.uuid, has);
		uuid_unparse_lower(child->header.parent_uuid, wants);
		return vhd_fail(err, -EINVAL,
				"%s: wrong parent: %s has UUID %s, not %s; put the right image there",
				child->path, parent->path, has, wants);
	}
	if (fstat(parent->fd, &st))
		return vhd_fail(err, -errno, "%s: stat failed: %s", parent->path,
				strerror(errno));
	child->parent_time_differs =
		child->header.parent_timestamp != vhd_time(st.st_mtime) &&
		(parent->type == VHD_TYPE_RAW ||
		 child->header.parent_timestamp != parent->footer.timestamp);
	return 0;
}

static int open_parent(const struct vhd *leaf, struct vhd *child,
		       unsigned int flags, struct vhd_error *err)
{
	vhd_autofree char *path = NULL;
	int r = vhd_parent_path(child, &path, err);

	if (!r)
		r = check_loop(leaf, child, path, err);
	if (r)
		return r;
	if (vhd_parent_is_raw(child))
		r = vhd_open_raw(&child->parent, path, flags, err);
	else
		r = vhd_open(&child->parent, path, flags, err);
	if (r)
		return r;
	return check_identity(child, child->parent, err);
}

int vhd_open_chain(struct vhd **out, const char *path, unsigned int flags,
		   struct vhd_error *err)
{
	struct vhd *leaf;
	int r = vhd_open(&leaf, path, flags, err);

	if (r)
		return r;
	for (struct vhd *v = leaf; !r && v->type == VHD_TYPE_DIFFERENCING; v = v->parent) {
		r = open_parent(leaf, v, flags & ~VHD_OPEN_RDWR, err);
		if (r)
			break;
	}
	if (r) {
		vhd_close(leaf);
		return r;
	}
	*out = leaf;
	return 0;
}
