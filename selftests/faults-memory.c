// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each allocation of a tap's life fails in turn: it works afterwards, and nothing is
 * lost or left. And memory is short under I/O, which nobody notices.
 *
 * kernels: uml kdbg
 */
#include <fcntl.h>
#include <linux/blktap.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/fault.h"
#include "lib/granter.h"
#include "lib/state.h"
#include "lib/tapdisk.h"

#define AT		GRANTER_CHUNK	/* a sector that is not the scan's */
#define FILE_BYTES	((off_t)GRANTER_SECTORS * B2_SECTOR)

/* --- a tap's birth ---------------------------------------------------------------------- */

/* A tap by its ioctl alone. */
struct new_tap {
	int control;
	struct b2_handle h;
};

static int alloc_tap(void *new)
{
	struct new_tap *t = new;

	return ioctl(t->control, BLKTAP_IOCTL_ALLOC_TAP, &t->h) ? errno : 0;
}

static void free_new_tap(void *new, int err)
{
	if (!err)
		CHECK_OK(tap_free(((struct new_tap *)new)->h.minor));
}

static void allocations_of_alloc_tap(void)
{
	struct new_tap t = { .control = control_open() };

	all_allocations_may_fail();
	each_allocation("ALLOC_TAP", alloc_tap, free_new_tap, &t);
	free_new_tap(&t, 0);
	close(t.control);
}

static int map_ring(void *granter)
{
	struct granter *g = granter;

	g->tap.ring = tap_mmap(&g->tap);
	return g->tap.ring == MAP_FAILED ? errno : 0;
}

/* A descriptor's close waits for the end of the mapping that was. */
static void unmap_ring(void *granter, int err)
{
	struct granter *g = granter;

	if (!err)
		CHECK_OK(munmap(g->tap.ring, B2_MAP_BYTES));
	close(open(g->tap.ring_node, O_RDWR | O_CLOEXEC));
}

static int map_layout(void *granter)
{
	struct granter *g = granter;

	g->pages = granter_map_layout(&g->tap);
	return g->pages == MAP_FAILED ? errno : 0;
}

/* Its pages stay as long as the ring. */
static void unmap_layout(void *granter, int err)
{
	struct granter *g = granter;

	if (!err)
		CHECK_OK(munmap(g->pages, (size_t)BLKTAP_RING_SIZE * B2_PAGE));
	unmap_ring(g, 0);
	CHECK(map_ring(g) == 0);
}

static int add_image(void *granter)
{
	struct granter *g = granter;

	return granter_add(g, *(int *)g->arg, BLKTAP_FILE_WRITE) < 0 ? errno : 0;
}

static void keep_image(void *granter, int err)
{
	(void)granter;
	(void)err;
}

/* device_add() calls it EINVAL where a disk's name can't be allocated. */
static int create_disk(void *granter)
{
	struct granter *g = granter;
	struct blktap_params p = {
		.capacity = g->sectors, .sector_size = B2_SECTOR, .flags = BLKTAP_DEVICE_LAYOUT,
	};

	if (!ioctl(g->tap.fd, BLKTAP_IOCTL_CREATE_DEVICE, &p))
		return 0;
	return errno == EINVAL ? ENOMEM : errno;
}

static bool drop_disk(void *granter)
{
	struct granter *g = granter;

	granter_scan(g);
	return !ioctl(g->tap.fd, BLKTAP_IOCTL_REMOVE_DEVICE);
}

/* The images go with the disk. */
static void undo_create_disk(void *granter, int err)
{
	if (err)
		return;
	CHECK(wait_until(drop_disk, granter, 10), "the disk stays busy");
	CHECK(add_image(granter) == 0);
}

/* The disk that comes in the end works. */
static void allocations_of_a_disk(void)
{
	int fd = scratch_file(FILE_BYTES);
	struct granter g = { .sectors = GRANTER_SECTORS, .arg = &fd };

	all_allocations_may_fail();
	tap_alloc(&g.tap);
	each_allocation("mmap of the ring", map_ring, unmap_ring, &g);
	each_allocation("mmap of the layout", map_layout, unmap_layout, &g);
	each_allocation("ADD_FILE", add_image, keep_image, &g);
	each_allocation("CREATE_DEVICE", create_disk, undo_create_disk, &g);
	CHECK(granter_until(&g, child_start(do_disk_io, granter_io(&g, true, AT, 8, 1))) == 0);
	scratch_expect(fd, (off_t)AT * B2_SECTOR, 4096, 1);
	granter_down(&g);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(allocations_of_alloc_tap),
	KTAP_CASE(allocations_of_a_disk),
};

KTAP_MAIN(cases, &fault_checks)
