/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The interface between blktap.ko, a tapdisk and the admin's tools.
 *
 * Four parts: the control node (ioctls, and the channel on which a registered
 * tapdisk takes its orders), the ring node's ioctls, the memory shared through
 * the ring node's mapping, and the generic netlink family. All of it but the
 * control channel and the netlink family is the interface of blktap2 and must
 * never change. Documentation/abi.rst says who does what when.
 *
 * A sector is 512 bytes throughout, whatever the disk's block size.
 */
#ifndef _UAPI_LINUX_BLKTAP_H
#define _UAPI_LINUX_BLKTAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define BLKTAP_CONTROL_NAME	"blktap-control"	/* in /proc/misc */
#define BLKTAP_RING_NAME	"blktap2"		/* character major in /proc/devices */
#define BLKTAP_DISK_NAME	"tapdev"		/* block major in /proc/devices */
#define BLKTAP_NODE_DIR		"/dev/xen/blktap-2"
#define BLKTAP_CONTROL_NODE	BLKTAP_NODE_DIR "/control"
#define BLKTAP_RING_NODE	BLKTAP_NODE_DIR "/blktap"	/* + minor */
#define BLKTAP_DISK_NODE	BLKTAP_NODE_DIR "/tapdev"	/* + minor */

#define BLKTAP_NAME_MAX		4096	/* bytes of an image name, its NUL included */
#define BLKTAP_NAME_V2		256	/* bytes of a name in the ring ioctls */
#define BLKTAP_POOL_NAME_MAX	64	/* bytes of a pool's name, its NUL included */
#define BLKTAP_TEXT_MAX		32768	/* bytes of text in an answer, its NUL included */

/*
 * Control node: ioctls. The plain numbers are blktap2's.
 */
#define BLKTAP_IOCTL_ALLOC_TAP	200	/* out: struct blktap_handle */
#define BLKTAP_IOCTL_FREE_TAP	201	/* in: the minor, by value */
#define BLKTAP_IOCTL_REGISTER	_IOWR('T', 0xb0, struct blktap_register)

/**
 * struct blktap_handle - ALLOC_TAP's answer
 * @ring_major: major number of the ring node
 * @disk_major: major number of the block device
 * @minor: the tap, and the minor number of both nodes
 */
struct blktap_handle {
	__u32 ring_major;
	__u32 disk_major;
	__u32 minor;
};

#define BLKTAP_CONTROL_VERSION	1

/**
 * struct blktap_register - REGISTER: this open file now is a tapdisk's channel
 * @version: in: the newest control version the caller speaks; out: the one in
 *	use, at most BLKTAP_CONTROL_VERSION
 * @flags: in: 0; out: 0
 *
 * One registration an open file and one a process (-EBUSY). The calling
 * process is the tapdisk: taps are attached to it by its pid. The channel and
 * the registration end with the last close of the file.
 */
struct blktap_register {
	__u32 version;
	__u32 flags;
};

/*
 * Control node: the channel of a registered tapdisk.
 *
 * read() returns one whole order: struct blktap_order, followed by name_len
 * bytes of name. The buffer must hold the largest (BLKTAP_ORDER_MAX bytes),
 * else -EINVAL. With nothing to read it blocks, or says -EAGAIN (O_NONBLOCK);
 * poll() reports EPOLLIN while an order waits. write() takes one whole answer:
 * struct blktap_answer, followed by len bytes of text. An answer to an order
 * that is no longer waited for (it timed out) gives -ENOENT: drop it.
 */
enum blktap_order_op {
	BLKTAP_ORDER_ATTACH = 1,	/* open and map the ring of minor */
	BLKTAP_ORDER_DETACH,		/* unmap and close it */
	BLKTAP_ORDER_OPEN,		/* open image name, then CREATE_DEVICE */
	BLKTAP_ORDER_CLOSE,		/* REMOVE_DEVICE, then close the image */
	BLKTAP_ORDER_PAUSE,		/* ring is drained: flush, close the image */
	BLKTAP_ORDER_RESUME,		/* open image name, SET_PARAMS if it changed */
	BLKTAP_ORDER_STATS,		/* answer with a JSON object as text */
};

#define BLKTAP_ORDER_F_RDONLY	(1U << 0)	/* OPEN, RESUME: read-only */
#define BLKTAP_ORDER_F_FORCE	(1U << 1)	/* CLOSE: do not wait for a flush */
#define BLKTAP_ORDER_F_RING	(1U << 2)	/* OPEN: ring mode, no layout */
#define BLKTAP_ORDER_F_JOIN	(1U << 3)	/* OPEN: the disk is there: join it */
#define BLKTAP_ORDER_F_HEIR	(1U << 4)	/* OPEN: the image is this tap's already */

/**
 * struct blktap_order - what the kernel asks of a tapdisk
 * @id: to be repeated in the answer; never 0
 * @op: enum blktap_order_op
 * @minor: the tap it is about
 * @flags: BLKTAP_ORDER_F_*
 * @name_len: bytes of image name that follow ("vhd:/path" and a NUL); 0: none
 */
struct blktap_order {
	__u64 id;
	__u32 op;
	__u32 minor;
	__u32 flags;
	__u32 name_len;
};

#define BLKTAP_ORDER_MAX	(sizeof(struct blktap_order) + BLKTAP_NAME_MAX)

/**
 * struct blktap_answer - what a tapdisk says to an order
 * @id: the order's
 * @status: 0, or a negative errno
 * @len: bytes of text that follow, no NUL needed, less than BLKTAP_TEXT_MAX:
 *	with an error one line for the admin that names object, operation and
 *	cause; with STATS the JSON object; else 0
 */
struct blktap_answer {
	__u64 id;
	__s32 status;
	__u32 len;
};

/*
 * Ring node: ioctls. The ring must be mapped by the calling process.
 */
#define BLKTAP_IOCTL_RESPOND		1	/* consume the responses */
#define BLKTAP_IOCTL_CREATE_DEVICE_V1	202	/* in: struct blktap_params_v1 */
#define BLKTAP_IOCTL_SET_PARAMS		203	/* in: the same; while paused */
#define BLKTAP_IOCTL_PAUSE		204	/* "I am paused" */
#define BLKTAP_IOCTL_REOPEN		205	/* out: char name[BLKTAP_NAME_V2] */
#define BLKTAP_IOCTL_RESUME		206	/* in: 0 or an errno, by value */
#define BLKTAP_IOCTL_REMOVE_DEVICE	207	/* -EBUSY while it is open */
#define BLKTAP_IOCTL_CREATE_DEVICE	208	/* in/out: struct blktap_params */

/**
 * struct blktap_params_v1 - CREATE_DEVICE (old form) and SET_PARAMS
 * @name: the image's name, NUL-terminated
 * @capacity: sectors
 * @sector_size: logical block size in bytes
 */
struct blktap_params_v1 {
	char name[BLKTAP_NAME_V2];
	__u64 capacity;
	unsigned long sector_size;
};

#define BLKTAP_DEVICE_RDONLY	(1UL << 0)	/* the disk is read-only */
#define BLKTAP_DEVICE_PSZ	(1UL << 1)	/* phys_block_* are given */
#define BLKTAP_DEVICE_FLUSH	(1UL << 2)	/* FLUSH is understood: volatile cache */
#define BLKTAP_DEVICE_TRIM	(1UL << 3)	/* TRIM is understood; trim_block_* given */
#define BLKTAP_DEVICE_TRIM_RZ	(1UL << 4)	/* trimmed sectors read as zeroes */
#define BLKTAP_DEVICE_LAYOUT	(1UL << 5)	/* extents are granted: layout mode */
#define BLKTAP_DEVICE_BLOCK	(1UL << 6)	/* block_size is given */
#define BLKTAP_DEVICE_RELEASE	(1UL << 7)	/* layout mode: whole blocks are TRIMmed */
#define BLKTAP_DEVICE_ERRNO	(1UL << 8)	/* responses may carry a negative errno */

/**
 * struct blktap_params - CREATE_DEVICE
 *
 * On a disk that the last tapdisk has left behind: serve it from now on. Then
 * all must be as it was, but that more flags may be set, that the image may have
 * grown, and that the capacity may change while the tap is paused; else -EINVAL.
 * -ECANCELED: the operation that wanted it was given up.
 *
 * @capacity: sectors; not 0. The kernel writes back the disk's: smaller where the
 *	image of a disk that is not paused has grown
 * @sector_size: logical block size in bytes: a power of two, 512 to 4096
 * @__pad: ignored: the last blktap2 tapdisk leaves a size here
 * @flags: BLKTAP_DEVICE_*; the kernel writes back those that it understood
 * @phys_block_size: bytes, at least @sector_size; read only with _PSZ
 * @phys_block_offset: bytes from a physical block's start; only with _PSZ
 * @trim_block_size: bytes, granularity of TRIM; read only with _TRIM
 * @trim_block_offset: bytes; read only with _TRIM
 * @block_size: bytes in which the image allocates, a power of two from 4096 to
 *	256 MiB, and which are TRIMmed as a whole; read only with _BLOCK
 * @__pad2: 0
 *
 * In layout mode the kernel does a discard alone where it may write, by punching
 * the files. With _RELEASE, which needs _TRIM and _BLOCK, it gives the whole
 * blocks of a discard to the tapdisk instead, as a TRIM: it has taken back their
 * extents, and asks for none before the answer.
 */
struct blktap_params {
	__u64 capacity;
	__u32 sector_size;
	__u32 __pad;
	unsigned long flags;
	__u32 phys_block_size;
	__u32 phys_block_offset;
	__u32 trim_block_size;
	__u32 trim_block_offset;
	__u32 block_size;
	__u32 __pad2;
};

/*
 * The mapping: BLKTAP_MMAP_PAGES pages at offset 0, MAP_SHARED, all at once.
 * Page 0 is struct blktap_ring; segment j of request slot i is page
 * 1 + i * BLKTAP_SEGMENT_MAX + j. A slot's pages appear when it is first used,
 * and stay; touching one of a slot that no request uses is a SIGBUS.
 *
 * The indices run free, modulo 2^32; entry n is ring[n % BLKTAP_RING_SIZE].
 * The kernel writes req_prod and rsp_event, the tapdisk rsp_prod and req_event,
 * in the order of Xen's ring.h. A tapdisk that advances req_event (to the first
 * request it has not consumed, plus 1) gets a poll() that is level-triggered;
 * for one that never does, each batch of requests is reported once.
 */
#define BLKTAP_RING_SIZE	32
#define BLKTAP_SEGMENT_MAX	11
#define BLKTAP_MMAP_PAGES	(1 + BLKTAP_RING_SIZE * BLKTAP_SEGMENT_MAX)

#define BLKTAP_OP_READ		0
#define BLKTAP_OP_WRITE		1
#define BLKTAP_OP_FLUSH		2	/* no segments */
#define BLKTAP_OP_TRIM		3	/* no segments */
#define BLKTAP_OP_LAYOUTGET	4	/* layout mode: what lies where? */
#define BLKTAP_OP_LAYOUTCOMMIT	5	/* layout mode: these ranges hold data now */
#define BLKTAP_OP_RECALLED	6	/* layout mode: the end of a RECALL */

#define BLKTAP_RSP_OKAY		0
#define BLKTAP_RSP_ERROR	(-1)
#define BLKTAP_RSP_EOPNOTSUPP	(-2)
/*
 * With BLKTAP_DEVICE_ERRNO all below that is a negative errno. After -ENOSPC and
 * -EDQUOT the kernel asks again for as long as it takes, but with ON_TIMEOUT_FAIL
 * until the tap's request timeout has passed; after -ETIMEDOUT until then in any
 * case. Any other is an error.
 */

/**
 * struct blktap_segment - a part of one page
 * @__pad: 0
 * @first_sect: first sector of the page in use
 * @last_sect: last one, inclusive
 * @__pad2: 0
 */
struct blktap_segment {
	__u32 __pad;
	__u8 first_sect;
	__u8 last_sect;
	__u16 __pad2;
};

/**
 * struct blktap_ring_request - kernel to tapdisk
 * @operation: BLKTAP_OP_*
 * @nr_segments: segments in use, 0 to BLKTAP_SEGMENT_MAX
 * @__pad: 0
 * @__pad2: 0
 * @id: the slot, 0 to BLKTAP_RING_SIZE - 1: where its pages are
 * @rw.sector_number: first sector of the disk (READ, WRITE)
 * @rw.seg: the data's pages
 * @tr.sector_number: first sector (TRIM)
 * @tr.nr_sectors: sectors (TRIM)
 * @lg.sector_number: first sector that misses (LAYOUTGET)
 * @lg.nr_sectors: how many are wanted; at least the first must be granted
 * @lg.iomode: BLKTAP_IOMODE_*
 * @lc.nr_ranges: extents in the slot's page of the layout mapping, of which
 *	sector and nr_sectors are set (LAYOUTCOMMIT)
 * @rc.cookie: from struct blktap_recall (RECALLED)
 * @rc.sector_number: first sector
 * @rc.nr_sectors: sectors
 * @rc.error: 0, or the errno (positive) of what could not be committed: extents
 *	of the range may be in use still
 */
struct blktap_ring_request {
	__u8 operation;
	__u8 nr_segments;
	__u16 __pad;
	__u32 __pad2;
	__u64 id;
	union {
		struct {
			__u64 sector_number;
			struct blktap_segment seg[BLKTAP_SEGMENT_MAX];
		} rw;
		struct {
			__u64 sector_number;
			__u64 nr_sectors;
		} tr;
		struct {
			__u64 sector_number;
			__u64 nr_sectors;
			__u32 iomode;
			__u32 __pad;
		} lg;
		struct {
			__u32 nr_ranges;
			__u32 __pad;
		} lc;
		struct {
			__u64 cookie;
			__u64 sector_number;
			__u64 nr_sectors;
			__u32 error;
			__u32 __pad;
		} rc;
	};
};

/**
 * struct blktap_ring_response - tapdisk to kernel
 * @id: the request's
 * @operation: the request's
 * @__pad: ignored
 * @status: BLKTAP_RSP_*, or an errno; with LAYOUTGET _EOPNOTSUPP means: send me the request
 *	itself, READ or WRITE, with its data; only before any extent is granted
 * @nr_extents: extents in the slot's page of the layout mapping (LAYOUTGET)
 */
struct blktap_ring_response {
	__u64 id;
	__u8 operation;
	__u8 __pad;
	__s16 status;
	__u32 nr_extents;
};

union blktap_ring_entry {
	struct blktap_ring_request req;
	struct blktap_ring_response rsp;
};

/* The message byte of the ring page, for a tapdisk that has not registered. */
#define BLKTAP_MSG_NONE		0
#define BLKTAP_MSG_PAUSE	1
#define BLKTAP_MSG_RESUME	2
#define BLKTAP_MSG_CLOSE	3

/**
 * struct blktap_ring - page 0 of the mapping
 * @req_prod: requests produced (kernel)
 * @req_event: wake the tapdisk when req_prod reaches this (tapdisk)
 * @rsp_prod: responses produced (tapdisk)
 * @rsp_event: unused by the kernel: responses are announced by RESPOND
 * @msg: BLKTAP_MSG_*; the tapdisk puts back _NONE when it has taken it
 * @__pad: 0
 * @ring: the entries; a response overwrites the request of its index
 */
struct blktap_ring {
	__u32 req_prod;
	__u32 req_event;
	__u32 rsp_prod;
	__u32 rsp_event;
	__u8 msg;
	__u8 __pad[47];
	union blktap_ring_entry ring[BLKTAP_RING_SIZE];
};

/*
 * Layout mode: a tapdisk that sets BLKTAP_DEVICE_LAYOUT grants the kernel
 * extents of registered files, and the kernel moves the data. Terms and states
 * are those of RFC 5663. Documentation/layout.rst has the rules.
 *
 * The layout mapping is BLKTAP_RING_SIZE pages at page offset
 * BLKTAP_LAYOUT_PGOFF of the ring node, one page a slot; it must be there
 * before CREATE_DEVICE. Files are registered with ADD_FILE before they are
 * granted; one that is registered already keeps its index. When the tap is
 * paused the kernel commits what is dirty and forgets all extents before it says
 * so, and the files when the tapdisk has agreed.
 */
#define BLKTAP_LAYOUT_PGOFF	512
#define BLKTAP_EXTENTS_MAX	128	/* in a slot's page */
#define BLKTAP_FILES_MAX	256

#define BLKTAP_IOMODE_READ	0
#define BLKTAP_IOMODE_WRITE	1

#define BLKTAP_EXT_READ_WRITE_DATA	0	/* read and write here */
#define BLKTAP_EXT_READ_DATA		1	/* read here; a write misses */
#define BLKTAP_EXT_INVALID_DATA		2	/* write here, then commit; until
						 * then read what lies beneath
						 */
#define BLKTAP_EXT_NONE_DATA		3	/* reads as zeroes; a write misses */

/**
 * struct blktap_extent - where some sectors of the disk live
 * @sector: first sector of the disk
 * @nr_sectors: how many; not 0
 * @offset: where the first is in the file, in bytes, a multiple of 512; not
 *	used for NONE_DATA
 * @file: index from ADD_FILE; not used for NONE_DATA
 * @state: BLKTAP_EXT_*
 *
 * In an answer extents are ascending; they overlap only where one that is
 * INVALID_DATA comes with the READ_DATA or NONE_DATA beneath it: then all
 * INVALID_DATA extents come after all others.
 */
struct blktap_extent {
	__u64 sector;
	__u64 nr_sectors;
	__u64 offset;
	__u32 file;
	__u32 state;
};

#define BLKTAP_FILE_WRITE	(1U << 0)	/* may be granted for writing */
#define BLKTAP_FILE_NOTE	(1U << 1)	/* the image has it; no extents may lie in it */

/**
 * struct blktap_file - ADD_FILE: a file that extents may lie in
 * @fd: in: a regular file or a block device, open for reading, and for writing
 *	with _WRITE; the kernel opens it anew, and keeps it until PAUSE,
 *	REMOVE_DEVICE or the end of the mapping. -ELOOP if it is on a tap's disk
 *	and the taps would stand in a circle, or more than nine high
 * @flags: in: BLKTAP_FILE_*
 * @index: out: the file's index in extents; with _NOTE untouched
 * @__pad: 0
 *
 * With _NOTE the kernel only remembers which file that is, in either mode, until the
 * next RESUME or the end of the disk: others are to keep off it while no tapdisk has it
 * locked (the tap's attribute files). -ENFILE after 512 of them.
 */
struct blktap_file {
	__s32 fd;
	__u32 flags;
	__u32 index;
	__u32 __pad;
};

#define BLKTAP_IOCTL_ADD_FILE	_IOWR('T', 0xb1, struct blktap_file)

/**
 * struct blktap_keep - KEEP: what a tapdisk wants the next one to have; KEPT: have it
 * @fd: KEEP: a regular file, a memfd say, in the place of the one before; -1: none;
 *	-ELOOP for one on a tap's disk
 *	KEPT: out: a new descriptor of it
 * @__pad: 0
 *
 * For what must not be lost with a process: it has not been flushed, say. The
 * kernel keeps it until the disk goes, or there is another one. KEPT is -ENOENT
 * where there is nothing.
 */
struct blktap_keep {
	__s32 fd;
	__u32 __pad;
};

#define BLKTAP_IOCTL_KEEP	_IOW('T', 0xb3, struct blktap_keep)
#define BLKTAP_IOCTL_KEPT	_IOR('T', 0xb4, struct blktap_keep)

/**
 * struct blktap_recall - RECALL: take a range's extents back
 * @cookie: to be found in the RECALLED request
 * @sector: first sector of the disk
 * @nr_sectors: how many; not 0
 *
 * Returns at once. A RECALLED request, to be answered like any other, tells
 * that no I/O uses an extent of the range any more and that what was dirty in it
 * is committed. From RECALL on, and until it is done with what it needs that
 * for, the tapdisk answers LAYOUTCOMMITs and keeps LAYOUTGETs waiting whose
 * answer would have extents of the range. -EBUSY: too many are under way.
 */
struct blktap_recall {
	__u64 cookie;
	__u64 sector;
	__u64 nr_sectors;
};

#define BLKTAP_IOCTL_RECALL	_IOW('T', 0xb2, struct blktap_recall)

/*
 * Generic netlink. Changing anything needs CAP_SYS_ADMIN in the initial user
 * namespace. A command whose work is done by a tapdisk, or waits for someone
 * to let go, is only accepted when it is acknowledged; its end is a DONE
 * message to the sender, with the sequence number of the command.
 * Documentation/netlink/specs/blktap.yaml is the same in the kernel's YAML.
 */
#define BLKTAP_GENL_NAME	"blktap"
#define BLKTAP_GENL_VERSION	1
#define BLKTAP_GENL_MCGRP	"events"

enum blktap_cmd {
	BLKTAP_CMD_UNSPEC,
	BLKTAP_CMD_GET,		/* MINOR -> a tap; dump: all taps */
	BLKTAP_CMD_ALLOC,	/* [MINOR] [DOMID DEVID] -> a tap */
	BLKTAP_CMD_FREE,	/* MINOR [TIMEOUT]; DONE */
	BLKTAP_CMD_TAPDISK_GET,	/* dump: PID and NR_TAPS of all tapdisks */
	BLKTAP_CMD_ATTACH,	/* MINOR PID [TIMEOUT]; DONE */
	BLKTAP_CMD_DETACH,	/* MINOR [PID] [TIMEOUT]; DONE */
	BLKTAP_CMD_OPEN,	/* MINOR NAME [PID] [RDONLY] [TIMEOUT]; DONE */
	BLKTAP_CMD_CLOSE,	/* MINOR [PID] [FORCE] [TIMEOUT]; DONE */
	BLKTAP_CMD_PAUSE,	/* MINOR [PID] [TIMEOUT]; DONE */
	BLKTAP_CMD_RESUME,	/* MINOR [PID] [NAME] [TIMEOUT]; DONE */
	BLKTAP_CMD_STATS,	/* MINOR [PID] [TIMEOUT]; DONE with TEXT */
	BLKTAP_CMD_POOL_GET,	/* POOL -> a pool; dump: all pools */
	BLKTAP_CMD_POOL_SET,	/* POOL, and POOL_PAGES or MINOR (move the tap) */
	BLKTAP_CMD_DONE,	/* to the sender: MINOR ERROR [TEXT] */
	BLKTAP_CMD_EVENT,	/* to the group: EVENT and MINOR or PID, ... */
	BLKTAP_CMD_RECALL,	/* MINOR [PID] [TIMEOUT]; DONE: commit, forget extents */
	BLKTAP_CMD_RECOVER,	/* MINOR PID [TIMEOUT]: have it serve an orphan; DONE */
	BLKTAP_CMD_SET,		/* MINOR [REQUEST_TIMEOUT] [ON_TIMEOUT] */
	BLKTAP_CMD_VBD_GET,	/* dump: all guests' disks that are known */
	BLKTAP_CMD_VBD_SET,	/* DOMID DEVID [COOKIE] [ERROR TEXT]: its tap is made, or not */

	__BLKTAP_CMD_MAX,
	BLKTAP_CMD_MAX = __BLKTAP_CMD_MAX - 1
};

enum blktap_attr {
	BLKTAP_A_UNSPEC,
	BLKTAP_A_PAD,
	BLKTAP_A_MINOR,		/* u32 */
	BLKTAP_A_PID,		/* u32: the tapdisk, in the reader's pid namespace */
	BLKTAP_A_NAME,		/* string: type:/path */
	BLKTAP_A_STATE,		/* u32: BLKTAP_STATE_* */
	BLKTAP_A_RDONLY,	/* flag */
	BLKTAP_A_FORCE,		/* flag */
	BLKTAP_A_TIMEOUT,	/* u32: seconds; default 120, 1 to 86400 */
	BLKTAP_A_ERROR,		/* u32: 0, or an errno (positive) */
	BLKTAP_A_TEXT,		/* string */
	BLKTAP_A_EVENT,		/* u32: enum blktap_event */
	BLKTAP_A_RING_MAJOR,	/* u32 */
	BLKTAP_A_DISK_MAJOR,	/* u32 */
	BLKTAP_A_DISK,		/* string: tda; while there is a disk */
	BLKTAP_A_CAPACITY,	/* u64: sectors; while there is a disk */
	BLKTAP_A_SECTOR_SIZE,	/* u32: bytes; while there is a disk */
	BLKTAP_A_OPENERS,	/* u32: opens of the disk; while there is one */
	BLKTAP_A_NR_TAPS,	/* u32: taps a tapdisk serves */
	BLKTAP_A_POOL,		/* string */
	BLKTAP_A_POOL_PAGES,	/* u32: the pool's quota */
	BLKTAP_A_POOL_FREE,	/* u32: pages of it not in use */
	BLKTAP_A_COUNTERS,	/* nest of BLKTAP_C_* */
	BLKTAP_A_RING_MODE,	/* flag: OPEN: not layout mode; a tap: it is not */
	BLKTAP_A_REQUEST_TIMEOUT, /* u32: seconds; 0: none; default 120 */
	BLKTAP_A_ON_TIMEOUT,	/* u32: enum blktap_on_timeout */
	BLKTAP_A_DOMID,		/* u32: a guest */
	BLKTAP_A_DEVID,		/* u32: which of its disks */
	BLKTAP_A_VBD,		/* nest of DOMID and DEVID: is on this tap; many */
	BLKTAP_A_COOKIE,	/* u32: tells a disk from the next one of its numbers */

	__BLKTAP_A_MAX,
	BLKTAP_A_MAX = __BLKTAP_A_MAX - 1
};

/*
 * What becomes of a request that a tapdisk has held longer than
 * REQUEST_TIMEOUT, after that has been reported. One that waits for a tapdisk
 * since the last one has gone always fails then.
 */
enum blktap_on_timeout {
	BLKTAP_ON_TIMEOUT_WAIT,
	BLKTAP_ON_TIMEOUT_FAIL,
};

/* Counters of a tap since its disk was created: all u64. */
enum blktap_counter {
	BLKTAP_C_UNSPEC,
	BLKTAP_C_PAD,
	BLKTAP_C_READS,		/* ring requests, by operation */
	BLKTAP_C_WRITES,
	BLKTAP_C_FLUSHES,
	BLKTAP_C_TRIMS,
	BLKTAP_C_READ_SECTORS,	/* sectors, by the tapdisk or from extents */
	BLKTAP_C_WRITE_SECTORS,
	BLKTAP_C_ERRORS,	/* ring requests answered with an error */
	BLKTAP_C_KICKS,		/* wake-ups of the tapdisk */
	BLKTAP_C_RING_FULL,	/* times a request had to wait for a slot */
	BLKTAP_C_POOL_EMPTY,	/* times a slot got no pages from the pool */
	BLKTAP_C_IN_RING,	/* requests in the ring now */
	BLKTAP_C_WAITING,	/* requests that wait for a slot now */
	BLKTAP_C_HITS,		/* layout mode: requests served by extents */
	BLKTAP_C_MISSES,	/* requests that had to wait for a grant */
	BLKTAP_C_UPCALLS,	/* LAYOUTGETs */
	BLKTAP_C_COMMITS,	/* LAYOUTCOMMITs */
	BLKTAP_C_ZERO_COPIED,	/* bytes moved without a copy */
	BLKTAP_C_COPIED,	/* bytes copied to or from the ring */
	BLKTAP_C_PUNTS,		/* requests that went to the workqueue */
	BLKTAP_C_RECALLS,	/* times that extents were recalled */
	BLKTAP_C_EXTENTS,	/* extents held now, at most */
	BLKTAP_C_MAP_BYTES,	/* memory that they take, at most */

	__BLKTAP_C_MAX,
	BLKTAP_C_MAX = __BLKTAP_C_MAX - 1
};

/* A tap's state, as tap-ctl list has always shown it; 0: running, or idle. */
#define BLKTAP_STATE_DEAD		0x001	/* failed: all I/O ends with an error */
#define BLKTAP_STATE_CLOSED		0x002	/* attached; no image is open */
#define BLKTAP_STATE_QUIESCE_REQUESTED	0x004	/* requests are being drained */
#define BLKTAP_STATE_QUIESCED		0x008	/* no request is in flight */
#define BLKTAP_STATE_PAUSE_REQUESTED	0x010	/* the tapdisk is closing its image */
#define BLKTAP_STATE_PAUSED		0x020	/* it has closed it */
#define BLKTAP_STATE_SHUTDOWN_REQUESTED	0x040	/* a free or close is under way */
#define BLKTAP_STATE_RESUME_FAILED	0x200	/* the last resume failed: paused */
#define BLKTAP_STATE_ORPHANED		0x400	/* its tapdisk is gone: wants another */
#define BLKTAP_STATE_STALLED		0x800	/* a request waits for too long */
#define BLKTAP_STATE_NO_SPACE		0x1000	/* writes wait for space */
#define BLKTAP_STATE_RECOVERING		0x2000	/* an orphan's next tapdisk is on its way */

enum blktap_event {
	BLKTAP_EVENT_UNSPEC,
	BLKTAP_EVENT_TAP_ADDED,		/* MINOR */
	BLKTAP_EVENT_TAP_REMOVED,	/* MINOR */
	BLKTAP_EVENT_TAP_STATE,		/* a tap, whole */
	BLKTAP_EVENT_TAPDISK_ADDED,	/* PID */
	BLKTAP_EVENT_TAPDISK_GONE,	/* PID */
	BLKTAP_EVENT_DONE,		/* MINOR ERROR [TEXT]: a command's end */
	BLKTAP_EVENT_STALLED,		/* MINOR TEXT: what waits, and for how long */
	BLKTAP_EVENT_NO_SPACE,		/* MINOR TEXT: writes wait for space */
	BLKTAP_EVENT_GOES_ON,		/* MINOR: it is not stalled, there is space */
	BLKTAP_EVENT_VBD_WANTED,	/* DOMID DEVID COOKIE NAME [RDONLY]: make a tap */
	BLKTAP_EVENT_VBD_ADDED,		/* DOMID DEVID MINOR: it is on this tap */
	BLKTAP_EVENT_VBD_REMOVED,	/* DOMID DEVID [MINOR]: no longer, or gone */
};

#endif /* _UAPI_LINUX_BLKTAP_H */
