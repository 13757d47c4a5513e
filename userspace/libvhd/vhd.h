/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * libvhd: the VHD 1.0 image format, synchronously.
 *
 * For opening, validating, creating and snapshotting images. It does no I/O on
 * block data: who serves an image (the tapdisk) takes fd, BAT and the block
 * arithmetic below and does its own.
 *
 * Functions that return int return 0 or a negative errno. Those that take a
 * struct vhd_error fill in its text, one line without a newline that names the
 * object, the operation and the cause, and says what to do; nothing is logged.
 * Nothing here is safe against concurrent use of the same struct vhd.
 *
 * Offsets and sizes are in bytes, unless called sectors; a sector is 512 bytes.
 */
#ifndef LIBVHD_VHD_H
#define LIBVHD_VHD_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uuid/uuid.h>

#define VHD_SECTOR		512U
#define VHD_ALIGN		4096U		/* of block data in the file */
#define VHD_MAX_SIZE		(2040ULL << 30)	/* bytes of disk */
#define VHD_MAX_DEPTH		512		/* images in a chain */
#define VHD_BLOCK_SIZE		(2U << 20)	/* of what we create */
#define VHD_BLOCK_SIZE_MIN	(512U << 10)	/* of what we read */
#define VHD_BLOCK_SIZE_MAX	(256U << 20)
#define VHD_BAT_MAX		0x400000U	/* entries: 2 TiB of the smallest blocks */
#define VHD_BAT_UNUSED		0xffffffffU
#define VHD_LOCATORS		8
#define VHD_LOCATOR_MAX		65536U		/* bytes of data in a locator */
#define VHD_EPOCH		946684800LL	/* 2000-01-01 00:00 UTC in Unix time */

/* VHD_TYPE_RAW is not on disk: a parent without any metadata. */
enum vhd_type {
	VHD_TYPE_RAW = 1,
	VHD_TYPE_FIXED = 2,
	VHD_TYPE_DYNAMIC = 3,
	VHD_TYPE_DIFFERENCING = 4,
};

/*
 * The structures of the specification ("Hard Disk Footer Format" and "Dynamic
 * Disk Header Format"). On disk all is big-endian; in struct vhd it is in host
 * order. vhd_footer_decode() and its likes convert.
 */
#define VHD_FOOTER_COOKIE	"conectix"
#define VHD_HEADER_COOKIE	"cxsparse"
#define VHD_VERSION_1_0		0x00010000U
#define VHD_FEATURE_TEMPORARY	0x00000001U
#define VHD_FEATURE_RESERVED	0x00000002U	/* always set */
#define VHD_NO_OFFSET		UINT64_MAX

struct vhd_footer {
	char cookie[8];
	uint32_t features;
	uint32_t version;
	uint64_t data_offset;		/* of the header; fixed: VHD_NO_OFFSET */
	uint32_t timestamp;		/* creation, seconds since VHD_EPOCH */
	char creator_app[4];
	uint32_t creator_version;
	uint32_t creator_os;
	uint64_t original_size;
	uint64_t current_size;		/* of the disk */
	uint32_t geometry;		/* cylinders << 16 | heads << 8 | sectors */
	uint32_t type;			/* enum vhd_type */
	uint32_t checksum;
	uuid_t uuid;
	uint8_t saved_state;
	uint8_t hidden;			/* XenServer's: not to be shown to users */
	uint8_t reserved[426];
};

#define VHD_PLATFORM_NONE	0x00000000U
#define VHD_PLATFORM_W2RU	0x57327275U	/* relative Windows path, UTF-16LE */
#define VHD_PLATFORM_W2KU	0x57326b75U	/* absolute Windows path, UTF-16LE */
#define VHD_PLATFORM_MACX	0x4d616358U	/* file URI, UTF-8 */

struct vhd_locator {
	uint32_t code;
	uint32_t data_space;		/* sectors by the specification, often bytes */
	uint32_t data_length;
	uint32_t reserved;
	uint64_t data_offset;
};

struct vhd_header {
	char cookie[8];
	uint64_t data_offset;		/* VHD_NO_OFFSET */
	uint64_t table_offset;		/* of the BAT */
	uint32_t version;
	uint32_t max_bat_size;		/* entries */
	uint32_t block_size;
	uint32_t checksum;
	uuid_t parent_uuid;		/* all zero: the parent is a raw image */
	uint32_t parent_timestamp;	/* parent's mtime, seconds since VHD_EPOCH */
	uint32_t reserved1;
	uint8_t parent_name[512];	/* UTF-16BE, also in memory */
	struct vhd_locator locator[VHD_LOCATORS];
	uint8_t reserved2[256];
};

static_assert(sizeof(struct vhd_footer) == 512, "footer is one sector");
static_assert(offsetof(struct vhd_footer, uuid) == 68, "no padding");
static_assert(sizeof(struct vhd_header) == 1024, "header is two sectors");
static_assert(offsetof(struct vhd_header, locator) == 576, "no padding");

/* An error for people; text is only valid after a function failed. */
struct vhd_error {
	char text[5120];
};

/* vhd_open() flags */
#define VHD_OPEN_RDWR	0x1U
#define VHD_OPEN_DIRECT	0x2U	/* O_DIRECT, where sectors can be had so */
#define VHD_OPEN_NOLOCK	0x4U	/* take no lock on the image */
/* In the place of that tap's tapdisk, which has died: the image is the tap's already. */
#define VHD_OPEN_HEIR(minor)	(((minor) + 1U) << VHD_OPEN_HEIR_SHIFT)
#define VHD_OPEN_HEIR_SHIFT	8

/**
 * struct vhd - an open image
 * @fd: owned; O_DIRECT if @direct
 * @path: absolute, links resolved; owned
 * @type: decides what of the following is meaningful
 * @rdwr: opened for writing, and by default locked against any other opener
 * @direct: I/O on @fd must be in whole sectors from aligned memory
 * @block_device: the image is on one: can't grow, footer in its last sector
 * @end_footer_lost: there is no valid footer at the end, the copy was used; only
 *	in an image open for reading (opening for writing repairs it). The last
 *	block's data may reach past the end of the file: that reads as zeroes
 * @copy_footer_lost: the copy at offset 0 is not valid; likewise
 * @parent_time_differs: set with @parent: the parent was modified since this
 *	image was made from it, or copied without its time
 * @dev: identity, together with @ino (st_rdev and 0 for a block device)
 * @ino: see @dev
 * @size: of the disk, in bytes; a multiple of the sector, which a raw image's
 *	file may end within. May be less or more than a parent's: past the end of
 *	a parent its disk reads as zeroes
 * @file_size: of the file or device, when opened
 * @footer_offset: of the footer at the end. Between @next_free and it there may
 *	be anything, left by an allocation that was not finished
 * @footer: host order; not for VHD_TYPE_RAW
 * @header: host order; dynamic and differencing only, as all that follows
 * @bat: host order: bitmap's offset in sectors, or VHD_BAT_UNUSED; page-aligned,
 *	whole sectors long, padded with VHD_BAT_UNUSED; owned
 * @bat_entries: of @bat that are in use: header.max_bat_size
 * @batmap_offset: of the batmap's bits; 0: there is none
 * @batmap_bytes: whole sectors
 * @block_size: bytes of data in a block, a power of two
 * @block_sectors: the same in sectors
 * @bitmap_bytes: of a block's sector bitmap, whole sectors
 * @next_free: end of all that is in use but the end footer; whole sectors. Who
 *	allocates a block moves it
 * @parent: what is beneath a differencing image opened with vhd_open_chain();
 *	owned
 *
 * Fixed and raw images are flat: the disk's byte n is the file's byte n.
 */
struct vhd {
	int fd;
	char *path;
	enum vhd_type type;
	bool rdwr;
	bool direct;
	bool block_device;
	bool end_footer_lost;
	bool copy_footer_lost;
	bool parent_time_differs;
	dev_t dev;
	ino_t ino;
	uint64_t size;
	uint64_t file_size;
	uint64_t footer_offset;
	struct vhd_footer footer;
	struct vhd_header header;
	uint32_t *bat;
	uint32_t bat_entries;
	uint64_t batmap_offset;
	uint32_t batmap_bytes;
	uint32_t block_size;
	uint32_t block_sectors;
	uint32_t bitmap_bytes;
	uint64_t next_free;
	struct vhd *parent;
};

static inline bool vhd_is_flat(const struct vhd *v)
{
	return v->type == VHD_TYPE_RAW || v->type == VHD_TYPE_FIXED;
}

/* Bytes that a block takes in the file: its bitmap, then its data. */
static inline uint64_t vhd_block_span(const struct vhd *v)
{
	return (uint64_t)v->bitmap_bytes + v->block_size;
}

/* Offset of block @blk's bitmap; the block must be allocated. */
static inline uint64_t vhd_bitmap_offset(const struct vhd *v, uint32_t blk)
{
	return (uint64_t)v->bat[blk] * VHD_SECTOR;
}

/* Offset of block @blk's data; the block must be allocated. */
static inline uint64_t vhd_data_offset(const struct vhd *v, uint32_t blk)
{
	return vhd_bitmap_offset(v, blk) + v->bitmap_bytes;
}

static inline bool vhd_block_allocated(const struct vhd *v, uint32_t blk)
{
	return v->bat[blk] != VHD_BAT_UNUSED;
}

/* Sector bitmaps: the most significant bit of the first byte is sector 0. */
static inline bool vhd_bitmap_test(const uint8_t *bitmap, uint32_t sector)
{
	return bitmap[sector / 8] & (0x80 >> sector % 8);
}

/* Open and close: open.c */

/**
 * vhd_open() - open and validate one image
 * @out: the image; to be given to vhd_close()
 * @path: a file or block device
 * @flags: VHD_OPEN_*
 * @err: filled in on failure
 *
 * A writer excludes all others, readers exclude writers. Opening for writing
 * puts back a footer that is lost at one of its two places. Everything that
 * the file says has been checked when this returns 0. A parent is not opened.
 *
 * Return: 0, -EINVAL (not a VHD, or a damaged one), -EFBIG (larger than
 * VHD_MAX_SIZE), -ENOTSUP (a VHD that we can't serve), -EBUSY (in use
 * elsewhere), or what open(), read(), write() or malloc() had to say.
 */
int vhd_open(struct vhd **out, const char *path, unsigned int flags,
	     struct vhd_error *err);

/**
 * vhd_open_chain() - open an image and all that is beneath it
 * @out: the image, its parents linked by struct vhd's parent
 * @path: a file or block device
 * @flags: VHD_OPEN_*; VHD_OPEN_RDWR is for @path only, parents are read
 * @err: filled in on failure; names the image that is at fault
 *
 * Return: as vhd_open(), and -ENOENT (a parent is missing), -EINVAL (a parent
 * is not the disk its child was made from), -ELOOP (a loop, or more than
 * VHD_MAX_DEPTH images).
 */
int vhd_open_chain(struct vhd **out, const char *path, unsigned int flags,
		   struct vhd_error *err);

/* Close an image and its parents, and let go of the locks; NULL is fine. */
void vhd_close(struct vhd *v);

/**
 * vhd_parent_path() - where a differencing image's parent is
 * @v: the image; need not be opened with its chain
 * @path: absolute path of an existing file; to be freed
 * @err: filled in on failure
 *
 * Relative locators are tried first, against the image's own directory, then
 * absolute ones, then the parent's name in the image's own directory.
 *
 * Return: 0, -ENOENT (none of them exists), -EINVAL (not differencing).
 */
int vhd_parent_path(const struct vhd *v, char **path, struct vhd_error *err);

/* True if a differencing image's parent is a raw image. */
bool vhd_parent_is_raw(const struct vhd *v);

/**
 * vhd_lock() - lock an image file, as vhd_open() does
 * @fd: an open file; the lock lives till vhd_unlock_and_close(), or as long as its
 *	open file description
 * @path: for @err
 * @flags: VHD_OPEN_RDWR: exclude all others, else only writers; VHD_OPEN_HEIR()
 * @err: filled in on failure
 *
 * Who may not open it has a lock, or is a tap whose tapdisk has died.
 *
 * Return: 0, -EBUSY (names the process that has it open, where that can be
 * seen, or the tap), or what fcntl() had to say.
 */
int vhd_lock(int fd, const char *path, unsigned int flags, struct vhd_error *err);

/*
 * Close a file that vhd_lock() has locked, or not. Its open file description may
 * outlive that a little: the kernel lets go of it after it has reported the last
 * AIO. The lock does not.
 */
void vhd_unlock_and_close(int fd);

/* Gaps between blocks: bat.c */

/**
 * vhd_find_places() - where blocks were once, and new ones have room
 * @v: an image with blocks
 * @entry: filled in as the BAT would have them, ascending
 * @max: of @entry
 * @nr: how many there are
 *
 * What lies there is stale. None are found where something else than blocks may
 * lie between the blocks.
 *
 * Return: 0 or -ENOMEM.
 */
int vhd_find_places(const struct vhd *v, uint32_t *entry, uint32_t max, uint32_t *nr);

/* Read the batmap, to be freed; NULL if there is none: bat.c. 0 or -errno. */
int vhd_read_batmap(const struct vhd *v, uint8_t **map, struct vhd_error *err);

/* Change: write.c. The image must be open for writing. */

/* Write @v->footer to footer_offset and, but for fixed disks, to offset 0. */
int vhd_write_footer(struct vhd *v, struct vhd_error *err);

/* Write @v->header. */
int vhd_write_header(struct vhd *v, struct vhd_error *err);

/* Mark an image as not to be shown to users, or not. */
int vhd_set_hidden(struct vhd *v, bool hidden, struct vhd_error *err);

/**
 * vhd_set_parent() - give a differencing image another parent: parent.c
 * @path: the image; its own parent need not be there
 * @parent: must hold the same, for what the image does not have; nobody may have
 *	it open for writing
 * @parent_raw: @parent has no metadata
 * @err: filled in on failure; the image is as before
 *
 * Return: 0, -EINVAL (not differencing), -ELOOP (@path is in the chain of
 * @parent), or as vhd_open_chain().
 */
int vhd_set_parent(const char *path, const char *parent, bool parent_raw,
		   struct vhd_error *err);

/**
 * vhd_resize() - make a disk larger: resize.c
 * @path: the image
 * @size: of the disk, bytes; rounded up to a sector
 * @err: filled in on failure; the image is as before
 *
 * What is new reads as zeroes. A BAT that is too small gets a new place.
 *
 * Return: 0, -EINVAL (smaller than it is), -EFBIG (larger than VHD_MAX_SIZE),
 * -ENOSPC, or as vhd_open().
 */
int vhd_resize(const char *path, uint64_t size, struct vhd_error *err);

/**
 * vhd_coalesce() - write what a differencing image has to its parent: coalesce.c
 * @path: the image, which stays as it is; nobody may have it open for writing
 * @err: filled in on failure
 *
 * The parent must not be in use. Whoever else has it as a parent sees other data
 * from then on. When this fails or is interrupted the image reads as before, and
 * it can be done again.
 *
 * Return: 0, -EINVAL (not differencing, or larger than its parent), -EBUSY,
 * -ENOSPC, or as vhd_open_chain().
 */
int vhd_coalesce(const char *path, struct vhd_error *err);

/* Create: create.c */

/**
 * vhd_create() - make a fixed or dynamic image
 * @path: a file that does not exist, or a block device (overwritten)
 * @type: VHD_TYPE_FIXED (all of its space allocated) or VHD_TYPE_DYNAMIC
 * @size: of the disk, bytes; rounded up to a sector
 * @err: filled in on failure
 *
 * The image is durable when this returns 0, and not there when it fails.
 *
 * Return: 0, -EFBIG (larger than VHD_MAX_SIZE), -EINVAL (no size), -EEXIST,
 * -ENOSPC (also: the block device is too small), -EBUSY, or another errno.
 */
int vhd_create(const char *path, enum vhd_type type, uint64_t size,
	       struct vhd_error *err);

/**
 * vhd_snapshot() - make a differencing image
 * @path: a file that does not exist, or a block device (overwritten)
 * @parent: an image that nobody has open for writing; synced by this
 * @parent_raw: @parent has no metadata
 * @err: filled in on failure
 *
 * Return: as vhd_create(), and as vhd_open_chain() for @parent.
 */
int vhd_snapshot(const char *path, const char *parent, bool parent_raw,
		 struct vhd_error *err);

/* Check: check.c */

/**
 * vhd_check() - look for what vhd_open() tolerates
 * @v: an open image
 * @report: called for each finding with a text of one line
 * @arg: for @report
 *
 * Return: the number of findings that are damage, not counting mere remarks
 * (@damage false), or a negative errno.
 */
int vhd_check(const struct vhd *v,
	      void (*report)(void *arg, bool damage, const char *text),
	      void *arg);

/* Arithmetic and conversion: format.c. No I/O. */

/**
 * vhd_place_block() - where a new block goes
 * @v: the image
 * @from: first byte that is free: @v->next_free, or the end (offset plus
 *	vhd_block_span()) of the block placed before when several are
 * @offset: of the new block's bitmap; its data is VHD_ALIGN-aligned
 *
 * On a file the footer's new place is the end of the last block so placed.
 *
 * Return: 0, -ENOSPC (the block device is full), -EFBIG (past what a BAT entry
 * can point at).
 */
int vhd_place_block(const struct vhd *v, uint64_t from, uint64_t *offset);

/* Set or clear the bits of @count sectors from @first on in a sector bitmap. */
void vhd_bitmap_clear(uint8_t *bitmap, uint32_t first, uint32_t count);
void vhd_bitmap_set(uint8_t *bitmap, uint32_t first, uint32_t count);

/* True if the bits of @count sectors from @first on are all set. */
bool vhd_bitmap_full(const uint8_t *bitmap, uint32_t first, uint32_t count);

/* How many sectors from @first on have the same bit, at most @max. */
uint32_t vhd_bitmap_run(const uint8_t *bitmap, uint32_t first, uint32_t max);

/* Offset of the BAT's sector that holds entry @blk. */
uint64_t vhd_bat_sector_offset(const struct vhd *v, uint32_t blk);

/* The BAT's sector that holds entry @blk, as it goes to disk. */
void vhd_bat_sector_encode(const struct vhd *v, uint32_t blk,
			   uint8_t sector[VHD_SECTOR]);

/* From and to disk; encode computes the checksum. */
void vhd_footer_decode(struct vhd_footer *footer, const uint8_t disk[VHD_SECTOR]);
void vhd_footer_encode(const struct vhd_footer *footer, uint8_t disk[VHD_SECTOR]);
void vhd_header_decode(struct vhd_header *header, const uint8_t disk[2 * VHD_SECTOR]);
void vhd_header_encode(const struct vhd_header *header, uint8_t disk[2 * VHD_SECTOR]);

/* One's complement of the sum of @len bytes but the four of the field at @skip. */
uint32_t vhd_checksum(const uint8_t *disk, size_t len, size_t skip);

/* CHS geometry for a disk of @sectors, as in the specification's appendix. */
uint32_t vhd_geometry(uint64_t sectors);

/* Seconds since VHD_EPOCH, clamped to what 32 bits hold. */
uint32_t vhd_time(time_t unix_time);

/* Bytes of a sector bitmap, and of a BAT, in whole sectors. */
uint32_t vhd_bitmap_bytes(uint32_t block_size);
uint64_t vhd_bat_bytes(uint32_t entries);

#endif /* LIBVHD_VHD_H */
