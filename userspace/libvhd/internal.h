/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of libvhd share; not for its users. */
#ifndef LIBVHD_INTERNAL_H
#define LIBVHD_INTERNAL_H

#include <sys/stat.h>
#include <time.h>
#include "vhd.h"

/* @to must be a power of two. */
static inline uint64_t vhd_round_down(uint64_t x, uint64_t to)
{
	return x & ~(to - 1);
}

static inline uint64_t vhd_round_up(uint64_t x, uint64_t to)
{
	return vhd_round_down(x + to - 1, to);
}

/* Frees what an automatic variable points at when it goes out of scope. */
#define vhd_autofree		__attribute__((cleanup(vhd_free_pointer)))
void vhd_free_pointer(void *pointer);

#define __printf(fmt, first)	__attribute__((format(printf, fmt, first)))

/* error.c: format @err's text and return @error. */
__printf(3, 4)
int vhd_fail(struct vhd_error *err, int error, const char *fmt, ...);
int vhd_fail_nomem(struct vhd_error *err, const char *path);

/*
 * io.c: offset, length and memory of all but vhd_read_bytes() must be in whole
 * sectors when v->direct. @what names in errors what is read or written.
 */
void *vhd_alloc(size_t len);	/* page-aligned and zeroed; free() */
int vhd_read(const struct vhd *v, void *buf, size_t len, uint64_t offset,
	     const char *what, struct vhd_error *err);
int vhd_read_bytes(const struct vhd *v, void *buf, size_t len, uint64_t offset,
		   const char *what, struct vhd_error *err);
int vhd_write(const struct vhd *v, const void *buf, size_t len, uint64_t offset,
	      const char *what, struct vhd_error *err);
int vhd_sync(const struct vhd *v, struct vhd_error *err);

/*
 * file.c: the file that an image is in. Opening and creating it fills in fd to
 * file_size. What was created is there for others, and durable, when it has been
 * published; until then it must be discarded if anything fails. Both leave a
 * block device alone.
 */
int vhd_file_open(struct vhd *v, const char *path, unsigned int flags,
		  struct vhd_error *err);
int vhd_file_create(struct vhd *v, const char *path, struct vhd_error *err);
int vhd_file_publish(struct vhd *v, struct vhd_error *err);
void vhd_file_discard(struct vhd *v);
char *vhd_canonical_path(const char *path, bool keep_name);
int vhd_file_size(struct vhd *v, struct vhd_error *err);
bool vhd_same_file(const struct vhd *v, const struct stat *st);

/*
 * orphan.c: -EBUSY where a tap whose tapdisk has died has the file, as if it had a lock;
 * but for VHD_OPEN_HEIR()'s. @flags: vhd_lock()'s.
 */
int vhd_check_orphans(int fd, const char *path, unsigned int flags, struct vhd_error *err);

/* open.c */
int vhd_open_raw(struct vhd **out, const char *path, unsigned int flags,
		 struct vhd_error *err);
int vhd_repair_footers(struct vhd *v, struct vhd_error *err);

/*
 * write.c: put metadata behind all there is, moving next_free, over the end
 * footer if that is there; then have it and a footer behind it durable. On failure
 * of either the footer is where it was.
 */
int vhd_append(struct vhd *v, const void *data, size_t bytes, const char *what,
	       struct vhd_error *err);
int vhd_cover(struct vhd *v, struct vhd_error *err);

/* write.c: one after the other, each durable. */
int vhd_write_footers(struct vhd *v, struct vhd_error *err);

/* parent.c: fill in what of the header names the parent; appends the locators. */
int vhd_init_parent(struct vhd *v, const struct vhd *parent, struct vhd_error *err);

/* create.c */
int vhd_check_size(const char *path, uint64_t size, struct vhd_error *err);

/* bat.c: header and footer are valid; loads what they point at. */
#define VHD_TAP_VERSION_BITSWAPPED	0x00000001U	/* creator_version */
#define VHD_TAP_VERSION			0x00010001U
#define VHD_TAP_VERSION_BATMAP		0x00010002U
bool vhd_by_tap(const struct vhd_footer *f);
int vhd_load_bat(struct vhd *v, unsigned int flags, struct vhd_error *err);

/* locator.c: true if a locator is of a kind we know, and its text in the image. */
#define URI_FILE	"file://"
bool vhd_locator_usable(const struct vhd *v, const struct vhd_locator *l);
char *vhd_relative_path(const char *from, const char *to);

/* utf16.c */
char *vhd_utf16_decode(const uint8_t *in, size_t bytes, bool big_endian);
ssize_t vhd_utf16_encode(const char *in, bool big_endian, uint8_t *out,
			 size_t max);

#endif /* LIBVHD_INTERNAL_H */
