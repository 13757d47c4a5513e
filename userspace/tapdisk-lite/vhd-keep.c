// SPDX-License-Identifier: GPL-2.0-only
/*
 * What must survive us. Bits of sectors that have been written, but not flushed,
 * are in memory only; were they lost with this process, a write that has been
 * answered would be undone. So they are in a memfd, of which the kernel keeps a
 * descriptor for the tapdisk that is next. It sets them before any request comes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhd-image.h"

#define KEEP_MAGIC	0x317065656b646876ULL	/* "vhdkeep1" */
#define KEEP_ENTRIES	2048

/**
 * struct vhd_keep - the beginning of the memfd; the bitmaps follow
 * @magic: KEEP_MAGIC
 * @uuid: of the image
 * @nr: places for bitmaps
 * @stride: bytes from one to the next
 * @bitmap_bytes: of one; the rest of its place means nothing
 * @block: by place: whose bitmap of the top layer is there, plus 1; 0: none's
 */
struct vhd_keep {
	uint64_t magic;
	uuid_t uuid;
	uint32_t nr;
	uint32_t stride;
	uint32_t bitmap_bytes;
	uint32_t block[KEEP_ENTRIES];
};

/* Direct I/O goes to the bitmaps: they begin with a page. */
#define KEEP_HEAD	((sizeof(struct vhd_keep) + 4095) & ~(size_t)4095)

/* More than any cache takes, whatever the chain. */
#define KEEP_MAX	((size_t)256 << 20)

int vhd_keep_init(struct vhd_image *image, uint32_t nr, uint32_t stride)
{
	struct vhd_cache *cache = &image->cache;
	size_t bytes = KEEP_HEAD + (size_t)nr * stride;
	struct vhd_keep *keep;
	int fd;

	static_assert(VHD_CACHE_MAX <= KEEP_ENTRIES, "a place for each bitmap");
	fd = memfd_create("tapdisk-bitmaps", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	image->image.keep_fd = fd;
	if (ftruncate(fd, (off_t)bytes))
		return -errno;
	keep = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (keep == MAP_FAILED)
		return -errno;

	cache->keep = keep;
	cache->keep_bytes = bytes;
	cache->memory = (uint8_t *)keep + KEEP_HEAD;
	keep->nr = nr;
	keep->stride = stride;
	keep->bitmap_bytes = image->chain->bitmap_bytes;
	memcpy(keep->uuid, image->chain->footer.uuid, sizeof(uuid_t));
	if (!image->image.rdonly && !vhd_is_flat(image->chain))
		keep->magic = KEEP_MAGIC;
	return 0;
}

void vhd_keep_exit(struct vhd_image *image)
{
	if (image->cache.keep)
		munmap(image->cache.keep, image->cache.keep_bytes);
	if (image->image.keep_fd >= 0)
		close(image->image.keep_fd);
}

/* After its bits are there. */
void vhd_keep_set(struct vhd_image *image, const struct vhd_bitmap *bitmap)
{
	if (bitmap->layer == &image->layers[0])
		__atomic_store_n(&image->cache.keep->block[bitmap - image->cache.bitmaps],
				 bitmap->block + 1, __ATOMIC_RELEASE);
}

/* Before they are not. */
void vhd_keep_clear(struct vhd_image *image, const struct vhd_bitmap *bitmap)
{
	__atomic_store_n(&image->cache.keep->block[bitmap - image->cache.bitmaps], 0,
			 __ATOMIC_SEQ_CST);
}

static bool keep_is_sound(const struct vhd_keep *keep, size_t bytes)
{
	return keep->magic == KEEP_MAGIC && keep->nr && keep->nr <= KEEP_ENTRIES &&
	       keep->bitmap_bytes <= keep->stride &&
	       (bytes - KEEP_HEAD) / keep->nr >= keep->stride;
}

static bool keep_has_bits(const struct vhd_keep *keep)
{
	for (uint32_t i = 0; i < keep->nr; i++)
		if (keep->block[i])
			return true;
	return false;
}

static bool keep_is_of(const struct vhd_keep *keep, const struct vhd *vhd)
{
	return keep->bitmap_bytes == vhd->bitmap_bytes &&
	       !memcmp(keep->uuid, vhd->footer.uuid, sizeof(uuid_t));
}

/* Adds the kept bits to those on disk. 1: there were new ones, and buffer has all. */
static int bits_add(struct vhd *vhd, uint32_t block, const uint8_t *kept, uint8_t *buffer)
{
	bool more = false;
	ssize_t n;

	n = pread(vhd->fd, buffer, vhd->bitmap_bytes, (off_t)vhd_bitmap_offset(vhd, block));
	if (n != (ssize_t)vhd->bitmap_bytes)
		return n < 0 ? -errno : -EIO;
	for (uint32_t i = 0; i < vhd->bitmap_bytes; i++) {
		more |= kept[i] & ~buffer[i];
		buffer[i] |= kept[i];
	}
	return more;
}

static int bits_restore(struct vhd *vhd, uint32_t block, const uint8_t *kept, uint8_t *buffer,
			bool *synced)
{
	int err = bits_add(vhd, block, kept, buffer);
	ssize_t n;

	if (err <= 0)
		return err;
	/* No bit before its data. */
	if (!*synced && fdatasync(vhd->fd))
		return -errno;
	*synced = true;
	n = pwrite(vhd->fd, buffer, vhd->bitmap_bytes, (off_t)vhd_bitmap_offset(vhd, block));
	if (n != (ssize_t)vhd->bitmap_bytes)
		return n < 0 ? -errno : -EIO;
	return 0;
}

static int bitmaps_restore(struct vhd_image *image, const struct vhd_keep *keep)
{
	/* No request has come: the cache's own memory is unused. */
	uint8_t *buffer = image->cache.memory;
	struct vhd *vhd = image->chain;
	bool synced = false;
	int err = 0;

	for (uint32_t i = 0; !err && i < keep->nr; i++) {
		const uint8_t *kept = (const uint8_t *)keep + KEEP_HEAD + (size_t)i * keep->stride;
		uint32_t block = keep->block[i] - 1;

		if (keep->block[i] && block < vhd->bat_entries && vhd_block_allocated(vhd, block))
			err = bits_restore(vhd, block, kept, buffer, &synced);
	}
	if (!err && synced && fdatasync(vhd->fd))
		err = -errno;
	return err;
}

/* A copy: what is looked at once does not change any more. NULL: errno says why. */
static struct vhd_keep *keep_read(int fd, size_t bytes)
{
	uint8_t *copy = malloc(bytes);

	for (size_t at = 0; copy && at < bytes;) {
		ssize_t n = pread(fd, copy + at, bytes - at, (off_t)at);

		if (n <= 0) {
			free(copy);
			errno = n ? errno : EIO;
			return NULL;
		}
		at += (size_t)n;
	}
	return (struct vhd_keep *)copy;
}

/* What it has is lost where this image is opened in the place of its own. */
static int keep_restore(struct vhd_image *image, const struct vhd_keep *keep, size_t bytes,
			struct vhd_error *error)
{
	const char *path = image->chain->path;
	int err;

	if (!keep->magic)
		return 0;
	if (!keep_is_sound(keep, bytes))
		return deny(error, EPROTO, "%s: what was kept of it is of another version of tapdisk: recover it with that one",
			    path);
	if (!keep_has_bits(keep))
		return 0;
	if (!keep_is_of(keep, image->chain))
		return deny(error, ESTALE, "%s: another image was open before, with writes that may not have been flushed: recover that one",
			    path);
	err = bitmaps_restore(image, keep);
	return err ? deny(error, -err, "%s: setting the bits of what was written: %s", path,
			  strerror(-err)) : 0;
}

int vhd_keep_restore(struct image *base, int fd, struct vhd_error *error)
{
	struct vhd_image *image = container_of(base, struct vhd_image, image);
	struct vhd_keep *keep;
	struct stat st;
	size_t bytes;
	int err;

	if (image->image.rdonly)
		return 0;
	if (fstat(fd, &st))
		return deny(error, errno, "%s: what was kept of it: %s", image->chain->path,
			    strerror(errno));
	bytes = (size_t)st.st_size;
	/* Our memory is locked, and the last one may have been taken over. */
	if (bytes > KEEP_MAX)
		return deny(error, EFBIG, "%s: what was kept of it, %zu bytes, is no tapdisk's",
			    image->chain->path, bytes);
	if (bytes <= KEEP_HEAD)
		return 0;
	keep = keep_read(fd, bytes);
	if (!keep)
		return deny(error, errno, "%s: what was kept of it: %s", image->chain->path,
			    strerror(errno));
	err = keep_restore(image, keep, bytes, error);
	free(keep);
	return err;
}
