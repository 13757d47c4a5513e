/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef TAPCTL_IMAGE_H
#define TAPCTL_IMAGE_H

/**
 * image_name() - the name the kernel and the tapdisk are to be given
 * @arg: type:/path, maybe with tap: and tapdisk: in front of it; a relative
 *	path is made absolute, an absolute one stays as it is
 * @name: type:/path, to be freed
 *
 * Returns 0 or a negative errno, reported: the type is unknown, the path is
 * too long, or nothing is there.
 */
int image_name(const char *arg, char **name);

/** image_path() - the path in a name, which is the whole if it has no type */
const char *image_path(const char *name);

#endif
