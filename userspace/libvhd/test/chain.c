// SPDX-License-Identifier: GPL-2.0-only
/* Differencing images: how a parent is found, and what may be wrong with it. */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include "image.h"

static void expect_parent(const char *path, const char *wanted)
{
	struct vhd *v = must_open(path, 0);
	char *here = get_current_dir_name(), *full, *parent;
	struct vhd_error err;

	if (vhd_parent_path(v, &parent, &err))
		fail_msg("%s", err.text);
	assert_true(asprintf(&full, "%s/%s", here, wanted) > 0);
	assert_string_equal(parent, full);
	free(parent);
	free(full);
	free(here);
	vhd_close(v);
}

static unsigned int depth(const struct vhd *v)
{
	unsigned int n = 0;

	for (; v; v = v->parent)
		n++;
	return n;
}

static void test_chain(void **state)
{
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	make_child("b.vhd", "a.vhd");
	make_child("c.vhd", "b.vhd");
	expect_parent("c.vhd", "b.vhd");
	v = must_open_chain("c.vhd", VHD_OPEN_RDWR | VHD_OPEN_DIRECT);
	assert_int_equal(depth(v), 3);
	assert_int_equal(v->type, VHD_TYPE_DIFFERENCING);
	assert_int_equal(v->size, 100 * MIB);
	assert_true(v->rdwr);
	assert_false(v->parent->rdwr);
	assert_false(v->parent_time_differs);
	assert_true(v->next_free >= 2048 + 3 * 512);
	vhd_close(v);
	assert_int_equal(check_image("c.vhd", NULL), 0);
}

/* Parents are not locked against further children, but against writers. */
static void test_parent_locks(void **state)
{
	struct vhd *b, *c;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	make_child("b.vhd", "a.vhd");
	make_child("c.vhd", "a.vhd");
	b = must_open_chain("b.vhd", VHD_OPEN_RDWR);
	c = must_open_chain("c.vhd", VHD_OPEN_RDWR);
	expect_open_fails("a.vhd", VHD_OPEN_RDWR, -EBUSY, "a.vhd: in use by process");
	vhd_close(b);
	vhd_close(c);
	b = must_open("a.vhd", VHD_OPEN_RDWR);
	expect_chain_fails("c.vhd", -EBUSY, "a.vhd: in use by process");
	vhd_close(b);
}

static void test_moved_together(void **state)
{
	(void)state;
	mkdir("old", 0700);
	mkdir("old/base", 0700);
	make_fixed("old/base/a b%20.vhd", 3 * MIB);
	make_child("old/c.vhd", "old/base/a b%20.vhd");
	assert_int_equal(rename("old", "new"), 0);
	expect_parent("new/c.vhd", "new/base/a b%20.vhd");
	assert_int_equal(check_image("new/c.vhd", NULL), 0);
}

static void test_child_moved_alone(void **state)
{
	(void)state;
	mkdir("d", 0700);
	make_dynamic("a.vhd", 4 * MIB);
	make_child("b.vhd", "a.vhd");
	assert_int_equal(rename("b.vhd", "d/b.vhd"), 0);
	expect_parent("d/b.vhd", "a.vhd");
}

static void test_relative_before_absolute(void **state)
{
	(void)state;
	mkdir("x", 0700);
	make_dynamic("x/a.vhd", 4 * MIB);
	make_child("x/b.vhd", "x/a.vhd");
	assert_int_equal(system("cp -rp x y"), 0);
	expect_parent("y/b.vhd", "y/a.vhd");
}

static void test_utf8_name(void **state)
{
	(void)state;
	make_dynamic("Gr\u00f6\u00dfe\U0001f600.vhd", 4 * MIB);
	make_child("b.vhd", "Gr\u00f6\u00dfe\U0001f600.vhd");
	assert_int_equal(check_image("b.vhd", NULL), 0);
}

static void test_latin1_name(void **state)
{
	struct vhd_error err;

	(void)state;
	make_dynamic("a\xf6.vhd", 4 * MIB);
	assert_int_equal(vhd_snapshot("b.vhd", "a\xf6.vhd", false, &err), -EILSEQ);
	assert_non_null(strstr(err.text, "not UTF-8"));
	assert_false(file_exists("b.vhd"));
}

static void keep_macx(struct vhd_header *h)
{
	h->locator[0].code = VHD_PLATFORM_NONE;
	h->locator[2].code = 0x4d616320;	/* "Mac ": an alias, not for us */
}

static void long_macx(struct vhd_header *h)
{
	h->locator[1].data_length = VHD_SECTOR;
}

static void keep_nothing(struct vhd_header *h)
{
	memset(h->locator, 0, sizeof(h->locator));
}

static void name_of_windows(struct vhd_header *h)
{
	keep_nothing(h);
	memset(h->parent_name, 0, sizeof(h->parent_name));
	vhd_utf16_encode("D:\\vm disks\\a.vhd", true, h->parent_name,
			 sizeof(h->parent_name));
}

static void wild_locators(struct vhd_header *h)
{
	h->locator[0].data_offset = UINT64_MAX - 5;
	h->locator[1].data_length = UINT32_MAX;
	h->locator[2].data_offset = 0;
}

static void no_name(struct vhd_header *h)
{
	keep_nothing(h);
	memset(h->parent_name, 0, sizeof(h->parent_name));
}

static void test_locators(void **state)
{
	static void (*const edits[])(struct vhd_header *h) = {
		keep_macx, keep_nothing, name_of_windows, wild_locators,
	};

	(void)state;
	make_dynamic("a.vhd", 4 * MIB);
	for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
		make_child("b.vhd", "a.vhd");
		edit_header("b.vhd", edits[i]);
		expect_parent("b.vhd", "a.vhd");
		unlink("b.vhd");
	}
	make_child("b.vhd", "a.vhd");
	edit_header("b.vhd", no_name);
	expect_chain_fails("b.vhd", -ENOENT, "doesn't name one");
}

/* A URI as we and XenServer write them, one by the RFC, and one with a host. */
static void test_uris(void **state)
{
	char *here = get_current_dir_name(), *uri;
	uint64_t offset;
	struct vhd *v;

	(void)state;
	make_dynamic("a%20b.vhd", 4 * MIB);
	make_child("c.vhd", "a%20b.vhd");
	edit_header("c.vhd", keep_macx);
	expect_parent("c.vhd", "a%20b.vhd");

	v = must_open("c.vhd", 0);
	offset = v->header.locator[1].data_offset;
	assert_int_equal(v->header.locator[1].code, VHD_PLATFORM_MACX);
	vhd_close(v);
	make_dynamic("x y%z", 4 * MIB);
	poke("c.vhd", offset, "file://./%78%20y%z", 18);
	expect_parent("c.vhd", "x y%z");

	edit_header("c.vhd", long_macx);
	assert_true(asprintf(&uri, "file://localhost%s/a%%2520b.vhd", here) > 0);
	poke("c.vhd", offset, uri, strlen(uri) + 1);
	expect_parent("c.vhd", "a%20b.vhd");
	free(uri);
	free(here);
}

static void test_parent_missing(void **state)
{
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 4 * MIB);
	make_child("b.vhd", "a.vhd");
	make_child("c.vhd", "b.vhd");
	unlink("a.vhd");
	expect_chain_fails("c.vhd", -ENOENT, "b.vhd: its parent is missing: looked for");
	/* The image itself can be looked at. */
	v = must_open("c.vhd", 0);
	vhd_close(v);
}

static void test_wrong_parent(void **state)
{
	(void)state;
	make_dynamic("a.vhd", 4 * MIB);
	make_child("b.vhd", "a.vhd");
	unlink("a.vhd");
	make_dynamic("a.vhd", 4 * MIB);
	expect_chain_fails("b.vhd", -EINVAL, "wrong parent");
	unlink("a.vhd");
	poke("a.vhd", 0, "no vhd", 6);
	expect_chain_fails("b.vhd", -EINVAL, "a.vhd: not a VHD");
}

static void test_loop(void **state)
{
	(void)state;
	make_dynamic("a.vhd", 4 * MIB);
	make_child("b.vhd", "a.vhd");
	make_child("c.vhd", "b.vhd");
	unlink("a.vhd");
	assert_int_equal(rename("c.vhd", "a.vhd"), 0);
	expect_chain_fails("a.vhd", -ELOOP, "loop");
	unlink("b.vhd");
	assert_int_equal(link("a.vhd", "b.vhd"), 0);
	expect_chain_fails("a.vhd", -ELOOP, "loop");
}

static void test_too_deep(void **state)
{
	char name[16], parent[16];

	(void)state;
	make_dynamic("0", MIB);
	for (int i = 1; i < VHD_MAX_DEPTH; i++) {
		snprintf(name, sizeof(name), "%d", i);
		snprintf(parent, sizeof(parent), "%d", i - 1);
		make_child(name, parent);
	}
	vhd_close(must_open_chain(name, 0));
	make_child("top", name);
	expect_chain_fails("top", -ELOOP, "more than 512 images");
}

static void test_timestamps(void **state)
{
	struct timeval times[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 4 * MIB);
	assert_int_equal(utimes("a.vhd", times), 0);
	make_child("b.vhd", "a.vhd");
	v = must_open_chain("b.vhd", 0);
	assert_int_equal(v->header.parent_timestamp, 1000000000 - VHD_EPOCH);
	assert_false(v->parent_time_differs);
	vhd_close(v);
	times[1].tv_sec++;
	assert_int_equal(utimes("a.vhd", times), 0);
	v = must_open_chain("b.vhd", 0);
	assert_true(v->parent_time_differs);
	vhd_close(v);
	assert_int_equal(check_image("b.vhd", "parent was modified"), 0);
}

static void test_raw_parent(void **state)
{
	struct vhd_error err;
	struct vhd *v;

	(void)state;
	poke("raw", 3 * MIB, "x", 1);
	assert_int_equal(vhd_snapshot("b.vhd", "raw", false, &err), -EINVAL);
	assert_false(file_exists("b.vhd"));
	assert_int_equal(vhd_snapshot("b.vhd", "raw", true, &err), 0);
	v = must_open_chain("b.vhd", VHD_OPEN_RDWR);
	assert_int_equal(v->size, 3 * MIB + 512);
	assert_true(vhd_parent_is_raw(v));
	assert_int_equal(v->parent->type, VHD_TYPE_RAW);
	assert_int_equal(v->parent->file_size, 3 * MIB + 1);
	assert_null(v->parent->parent);
	vhd_close(v);
	assert_int_equal(check_image("b.vhd", NULL), 0);
}

static void test_locator_overwritten(void **state)
{
	uint64_t next;
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	make_child("b.vhd", "a.vhd");
	fill_block("b.vhd", 0, 0, 0);
	v = must_open("b.vhd", 0);
	next = v->header.locator[1].data_offset;
	vhd_close(v);
	set_bat("b.vhd", 0, next / 512);
	assert_int_equal(check_image("b.vhd", "locator 1 is overwritten by block 0"), 2);
}

const struct CMUnitTest chain_tests[] = {
	TEST(test_chain),
	TEST(test_parent_locks),
	TEST(test_moved_together),
	TEST(test_child_moved_alone),
	TEST(test_relative_before_absolute),
	TEST(test_utf8_name),
	TEST(test_latin1_name),
	TEST(test_locators),
	TEST(test_uris),
	TEST(test_parent_missing),
	TEST(test_wrong_parent),
	TEST(test_loop),
	TEST(test_too_deep),
	TEST(test_timestamps),
	TEST(test_raw_parent),
	TEST(test_locator_overwritten),
};

const size_t nr_chain_tests = ARRAY_SIZE(chain_tests);
