// SPDX-License-Identifier: GPL-2.0-only
/* New images: what is written, and that failures leave nothing. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "image.h"

static void expect_create_fails(const char *path, enum vhd_type type,
				uint64_t size, int error, const char *text)
{
	struct vhd_error err;

	assert_int_equal(vhd_create(path, type, size, &err), error);
	if (!strstr(err.text, text))
		fail_msg("'%s' does not say '%s'", err.text, text);
}

static void test_sizes(void **state)
{
	struct vhd *v;

	(void)state;
	expect_create_fails("a.vhd", VHD_TYPE_DYNAMIC, VHD_MAX_SIZE + 1, -EFBIG, "2040 GiB");
	expect_create_fails("a.vhd", VHD_TYPE_FIXED, UINT64_MAX, -EFBIG, "2040 GiB");
	expect_create_fails("a.vhd", VHD_TYPE_DYNAMIC, 0, -EINVAL, "size");
	assert_false(file_exists("a.vhd"));
	make_dynamic("a.vhd", VHD_MAX_SIZE);
	v = must_open("a.vhd", VHD_OPEN_RDWR);
	assert_int_equal(v->size, VHD_MAX_SIZE);
	assert_int_equal(v->bat_entries, VHD_MAX_SIZE / VHD_BLOCK_SIZE);
	vhd_close(v);
	make_dynamic("b.vhd", 2 * MIB + 1);
	v = must_open("b.vhd", 0);
	assert_int_equal(v->size, 2 * MIB + 512);
	assert_int_equal(v->bat_entries, 2);
	vhd_close(v);
}

static void test_exists(void **state)
{
	struct vhd_error err;
	char back[4];

	(void)state;
	poke("a.vhd", 0, "text", 4);
	expect_create_fails("a.vhd", VHD_TYPE_DYNAMIC, MIB, -EEXIST, "exists already");
	peek("a.vhd", 0, back, 4);
	assert_memory_equal(back, "text", 4);
	assert_int_equal(file_size("a.vhd"), 4);
	make_dynamic("p.vhd", MIB);
	assert_int_equal(vhd_snapshot("a.vhd", "p.vhd", false, &err), -EEXIST);
	assert_int_equal(vhd_snapshot("p.vhd", "p.vhd", false, &err), -EEXIST);
	assert_int_equal(symlink("nowhere", "link.vhd"), 0);
	expect_create_fails("link.vhd", VHD_TYPE_DYNAMIC, MIB, -EEXIST, "exists already");
	assert_false(file_exists("nowhere"));
	expect_create_fails("no/a.vhd", VHD_TYPE_DYNAMIC, MIB, -ENOENT, "No such file");
}

/* As with a full disk: nothing past the limit can be written. */
static void test_no_space(void **state)
{
	struct rlimit old, limit;
	struct vhd_error err;

	(void)state;
	make_dynamic("p.vhd", 100 * MIB);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){ 2100, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	expect_create_fails("d.vhd", VHD_TYPE_DYNAMIC, 100 * MIB, -EFBIG, "writing");
	expect_create_fails("f.vhd", VHD_TYPE_FIXED, MIB, -EFBIG, "allocating");
	assert_int_equal(vhd_snapshot("s.vhd", "p.vhd", false, &err), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_false(file_exists("d.vhd"));
	assert_false(file_exists("f.vhd"));
	assert_false(file_exists("s.vhd"));
}

static void test_snapshot_of_bad_parent(void **state)
{
	struct vhd_error err;
	struct vhd *v;

	(void)state;
	assert_int_equal(vhd_snapshot("s.vhd", "none", false, &err), -ENOENT);
	poke("text", 0, "text", 4);
	assert_int_equal(vhd_snapshot("s.vhd", "text", false, &err), -EINVAL);
	make_dynamic("a.vhd", MIB);
	make_child("b.vhd", "a.vhd");
	v = must_open("b.vhd", VHD_OPEN_RDWR);
	assert_int_equal(vhd_snapshot("s.vhd", "b.vhd", false, &err), -EBUSY);
	vhd_close(v);
	unlink("a.vhd");
	assert_int_equal(vhd_snapshot("s.vhd", "b.vhd", false, &err), -ENOENT);
	assert_false(file_exists("s.vhd"));
}

/* The fields that other implementations go by. */
static void test_fields(void **state)
{
	uint8_t disk[VHD_SECTOR];
	struct vhd_footer f;
	struct vhd *a, *b;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	make_child("b.vhd", "a.vhd");
	peek("a.vhd", 0, disk, sizeof(disk));
	vhd_footer_decode(&f, disk);
	assert_memory_equal(f.creator_app, "tap\0", 4);
	assert_true(f.creator_version >= VHD_VERSION_1_0 &&
		    f.creator_version < VHD_TAP_VERSION_BATMAP);
	assert_int_equal(f.features, 2);
	assert_int_equal(f.data_offset, 512);
	assert_int_equal(f.geometry, vhd_geometry(100 * MIB / 512));
	assert_false(uuid_is_null(f.uuid));

	a = must_open("a.vhd", 0);
	b = must_open("b.vhd", 0);
	assert_int_equal(uuid_compare(b->header.parent_uuid, a->footer.uuid), 0);
	assert_int_not_equal(uuid_compare(b->footer.uuid, a->footer.uuid), 0);
	assert_memory_equal(b->header.parent_name, "\0a\0.\0v\0h\0d\0\0", 12);
	assert_int_equal(b->header.table_offset, 1536);
	assert_int_equal(b->header.data_offset, UINT64_MAX);
	assert_int_equal(b->header.locator[0].code, VHD_PLATFORM_W2RU);
	assert_int_equal(b->header.locator[0].data_length, 14);
	vhd_close(a);
	vhd_close(b);
}

static void test_fixed_is_allocated(void **state)
{
	struct stat st;

	(void)state;
	make_fixed("a.vhd", 4 * MIB);
	assert_int_equal(stat("a.vhd", &st), 0);
	assert_true(st.st_blocks * 512ULL >= 4 * MIB);
}

const struct CMUnitTest create_tests[] = {
	TEST(test_sizes),
	TEST(test_exists),
	TEST(test_no_space),
	TEST(test_snapshot_of_bad_parent),
	TEST(test_fields),
	TEST(test_fixed_is_allocated),
};

const size_t nr_create_tests = ARRAY_SIZE(create_tests);
