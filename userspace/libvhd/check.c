// SPDX-License-Identifier: GPL-2.0-only
/* What is wrong, or odd, with an image that can be opened nevertheless. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "internal.h"

/* For clocks that differ: XenServer's slack, too. */
#define FUTURE_SLACK	1800

struct check {
	const struct vhd *v;
	void (*report)(void *arg, bool damage, const char *text);
	void *arg;
	int damages;
};

static __printf(3, 4)
void find(struct check *c, bool damage, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	c->damages += damage;
	c->report(c->arg, damage, text);
}

static void check_footers(struct check *c)
{
	static const char puts_it_back[] = "; opening the image for writing puts it back";
	const struct vhd *v = c->v;

	if (v->end_footer_lost)
		find(c, true, "the footer at the end is not valid%s", puts_it_back);
	if (v->copy_footer_lost)
		find(c, true, "the footer's copy at the start is not that at the end%s",
		     puts_it_back);
	if (v->file_size % VHD_SECTOR)
		find(c, false, "the footer has 511 bytes (an early Virtual PC)");
	if (!(v->footer.features & VHD_FEATURE_RESERVED))
		find(c, false, "the footer's reserved feature bit is not set");
	if (v->footer.timestamp > (uint64_t)vhd_time(time(NULL)) + FUTURE_SLACK)
		find(c, false, "the time of creation is in the future");
	if (v->footer.saved_state)
		find(c, false, "the image belongs to a virtual machine in saved state");
}

/* Who doesn't know of a locator (QEMU) may put a block on it. */
static void check_locator(struct check *c, int n)
{
	const struct vhd *v = c->v;
	const struct vhd_locator *l = &v->header.locator[n];

	if (l->code == VHD_PLATFORM_NONE)
		return;
	if (!vhd_locator_usable(v, l)) {
		find(c, false, "parent locator %d is of an unknown kind or not in the image", n);
		return;
	}
	for (uint32_t i = 0; i < v->bat_entries; i++) {
		if (!vhd_block_allocated(v, i))
			continue;
		if (l->data_offset < vhd_bitmap_offset(v, i) + vhd_block_span(v) &&
		    l->data_offset + l->data_length > vhd_bitmap_offset(v, i)) {
			find(c, true, "parent locator %d is overwritten by block %u", n, i);
			return;
		}
	}
}

static int check_batmap(struct check *c)
{
	vhd_autofree uint8_t *map = NULL;
	const struct vhd *v = c->v;
	struct vhd_error err;
	int r;

	if (!v->batmap_offset) {
		if (vhd_by_tap(&v->footer) &&
		    v->footer.creator_version >= VHD_TAP_VERSION_BATMAP)
			find(c, false, "there is no batmap, as the image's version has it");
		return 0;
	}
	r = vhd_read_batmap(v, &map, &err);
	if (r)
		return r;
	for (uint32_t i = 0; i < v->bat_entries; i++) {
		if (!vhd_bitmap_test(map, i) || vhd_block_allocated(v, i))
			continue;
		find(c, true, "the batmap has block %u full, which is not allocated", i);
		break;
	}
	return 0;
}

int vhd_check(const struct vhd *v,
	      void (*report)(void *arg, bool damage, const char *text),
	      void *arg)
{
	struct check c = { .v = v, .report = report, .arg = arg };
	int r = 0;

	if (v->type == VHD_TYPE_RAW)
		return 0;
	check_footers(&c);
	if (v->type == VHD_TYPE_DIFFERENCING)
		for (int i = 0; i < VHD_LOCATORS; i++)
			check_locator(&c, i);
	if (v->parent_time_differs)
		find(&c, false, "the parent was modified after this image was made from it, %s",
		     "or copied without its time");
	if (!vhd_is_flat(v))
		r = check_batmap(&c);
	return r ? r : c.damages;
}
