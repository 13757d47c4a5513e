/* SPDX-License-Identifier: GPL-2.0-only */
/* A tap seen as a blktap2 tapdisk sees it: nodes, mapping, ioctls. */
#ifndef SELFTESTS_LIB_TAP_H
#define SELFTESTS_LIB_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "blktap2.h"
#include "ktap.h"

#define CONTROL_NODE	"/dev/xen/blktap-2/control"
#define CLASS_DIR	"/sys/class/blktap2"
#define MISC_DIR	"/sys/class/misc/blktap-control"

struct tap {
	struct b2_handle h;
	int fd;				/* the ring node, or -1 */
	struct b2_ring *ring;		/* the mapping, or NULL */
	char ring_node[64];		/* nodes of our own making */
	char disk_node[64];
	char sysfs[64];
};

/* CONTROL_NODE, opened as a tap-ctl of old does. */
int control_open(void);

/* ALLOC_TAP, then tap_adopt(). */
void tap_alloc(struct tap *t);

/* For a tap that is there: mknod of both nodes, open of the ring. */
void tap_adopt(struct tap *t, struct b2_handle h);

/* Map the ring; the raw form returns MAP_FAILED where the kernel refuses. */
void *tap_mmap(struct tap *t);
void tap_map(struct tap *t);

/* CREATE_DEVICE (208) as the 3.55 tapdisk issues it; returns ioctl's result. */
int tap_create(struct tap *t, uint64_t sectors, unsigned long flags);

/*
 * REMOVE_DEVICE, for a tap without a server. The scan for partitions may be
 * under way: its reads are answered, in order, until the disk is no longer busy.
 */
void tap_drop_disk(struct tap *t);

/* munmap and close, in that order. */
void tap_close(struct tap *t);

/* FREE_TAP; the ring may be mapped or not. Returns ioctl's result. */
int tap_free(unsigned int minor);

/* Page of segment @j of slot @i. */
void *tap_page(const struct tap *t, unsigned int slot, unsigned int seg);

/* True within @seconds, times the scale. */
bool wait_until(bool (*is_so)(void *), void *arg, double seconds);
void nap_ms(unsigned int ms);

/* sysfs: read a value without its newline; write one: 0 or -1 and errno. */
const char *sysfs_read(const char *dir, const char *file, char *buf, size_t size);
int sysfs_write(const char *dir, const char *file, const char *value);

bool tap_exists(void *tap);
bool tap_is_gone(void *tap);
bool disk_exists(void *tap);
bool disk_is_gone(void *tap);

/*
 * Whatever touches the disk runs in a process of its own that doesn't hold the
 * ring: were it a thread of the ring's owner, a failing case could not exit.
 * child_wait() returns what @fn returned: 0 or an errno. child_settle() waits until it
 * sleeps, in what it is for, or has ended: however slow the machine is to start it.
 */
pid_t child_start(int (*fn)(void *arg), void *arg);
void child_settle(pid_t pid);
bool child_is_done(pid_t pid, int *result);
int child_wait(pid_t pid);
int in_child(int (*fn)(void *arg), void *arg);

/* Memory that a child shares with the case, page-aligned, zeroed. */
void *shared_alloc(size_t bytes);

/* One transfer of the disk; buf must be page-aligned for O_DIRECT. */
struct disk_io {
	const char *node;
	int flags;			/* of open: O_DIRECT, O_SYNC ... */
	bool write;
	bool sync;			/* fdatasync() after it */
	void *buf;
	size_t len;
	off_t offset;
};

int do_disk_io(void *disk_io);		/* for child_start(); 0 or an errno */

#endif
