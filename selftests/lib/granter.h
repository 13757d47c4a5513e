/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tapdisk that grants extents, step by step or out of a thread. What it says
 * is the case's to choose, lies too; the rest of its manners are good.
 *
 * The disk's first and last sectors are left to the kernel's scan for
 * partitions, which goes on beside the case: what it asks for is granted as
 * NONE_DATA and never seen by the case.
 */
#ifndef SELFTESTS_LIB_GRANTER_H
#define SELFTESTS_LIB_GRANTER_H

#include <linux/blktap.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tap.h"

#define GRANTER_CHUNK	4096		/* sectors: misses in one share an upcall */
#define GRANTER_SECTORS	(4 * GRANTER_CHUNK)
#define GRANTER_MARGIN	64		/* sectors at both ends, the scan's */

struct granter {
	/* set before granter_up() */
	uint64_t sectors;		/* capacity; 0: GRANTER_SECTORS */
	unsigned long flags;		/* of CREATE_DEVICE, besides LAYOUT */

	bool keep_scan;			/* its requests are the case's too */

	/* what the thread does with a request: answers it; NULL: granter_all() */
	void (*serve)(struct granter *g, const struct blktap_ring_request *r);
	void *arg;			/* its own */

	struct tap tap;
	struct blktap_extent (*pages)[BLKTAP_EXTENTS_MAX];	/* by slot */
	uint32_t req_cons;

	pthread_t thread;
	_Atomic bool stop;
	_Atomic unsigned long gets, commits, datas;	/* requests, by kind */
};

/* Shorthand for extents. */
#define EXTENT(s, n, o, f, st)								\
	((struct blktap_extent) {							\
		.sector = (s), .nr_sectors = (n), .offset = (o), .file = (f),		\
		.state = BLKTAP_EXT_##st })

/* A tap with both mappings; files may be added. */
void granter_map(struct granter *g);

/* The same for a tap that is there. */
void granter_adopt(struct granter *g, struct b2_handle h);

/* The layout mapping alone; MAP_FAILED where the kernel refuses. */
void *granter_map_layout(struct tap *t);

/*
 * CREATE_DEVICE; the kernel must agree to layout mode. Of a new disk the partition
 * scan has been served when it returns, unless the case keeps it.
 */
void granter_create(struct granter *g);

/* ADD_FILE: the index, or -1 and errno. */
int granter_add(struct granter *g, int fd, unsigned int flags);

/* Map, add @fd (-1: none) as file 0 for writing, create. */
void granter_up(struct granter *g, int fd);

/* REMOVE_DEVICE once nobody has the disk, unmap, close, FREE_TAP, all checked. */
void granter_down(struct granter *g);

/* Unmap and close, whatever is under way. */
void granter_leave(struct granter *g);

/* And clear what that left: the tap goes, whoever has its disk open. */
void granter_clear(struct granter *g);

/* Serve the scan, but no request behind one that is not the scan's. */
void granter_scan(struct granter *g);

/* The next request that is not the scan's: if there is one; one must come. */
bool granter_take(struct granter *g, struct blktap_ring_request *r);
void granter_next(struct granter *g, struct blktap_ring_request *r, unsigned int op);

/* Put an answer into the ring; RESPOND's result. */
int granter_answer(struct granter *g, const struct blktap_ring_request *r, int status,
		   uint32_t nr_extents);
int granter_grant(struct granter *g, const struct blktap_ring_request *r,
		  const struct blktap_extent *extents, unsigned int nr);

/* Serve a request: everything is in file 0, at the same place as on the disk. */
void granter_all(struct granter *g, const struct blktap_ring_request *r);

/* Serve out of a thread. */
void granter_start(struct granter *g);
void granter_stop(struct granter *g);

/* Serve with granter_all() or @serve until the child has ended: its result. */
int granter_until(struct granter *g, pid_t child);

/* A message must come; it is taken. */
void granter_message(struct granter *g, uint8_t msg);

/* Pause by sysfs out of a child: its pid. Then the answers to the messages. */
pid_t granter_sysfs(struct granter *g, const char *file);
void granter_paused(struct granter *g);
void granter_resumed(struct granter *g);

/* The whole of a pause. */
void granter_pause(struct granter *g);

/* A file in $SCRATCH without a name, of that size, and what is in it. */
int scratch_file(off_t bytes);
void scratch_fill(int fd, off_t at, size_t bytes, uint8_t pattern);
void scratch_expect(int fd, off_t at, size_t bytes, uint8_t pattern);

/* O_DIRECT I/O of a granter's disk, and its result out of a child. */
struct disk_io *granter_io(struct granter *g, bool write, uint64_t sector, unsigned int sectors,
			   uint8_t pattern);

/* BLKDISCARD of a granter's disk: its pid, for child_wait(). */
pid_t granter_discard(struct granter *g, uint64_t sector, uint64_t nr);

bool filled_with(const void *buf, size_t bytes, uint8_t pattern);

#endif
