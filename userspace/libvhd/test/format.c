// SPDX-License-Identifier: GPL-2.0-only
/* Arithmetic, conversion, UTF-16. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "image.h"

static void test_checksum(void **state)
{
	uint8_t bytes[8] = { 1, 2, 0xff, 0xff, 0xff, 0xff, 3, 4 };

	(void)state;
	assert_int_equal(vhd_checksum(bytes, sizeof(bytes), 2), ~10U);
	assert_int_equal(vhd_checksum(bytes, 2, 100), ~3U);
}

static void test_footer_layout(void **state)
{
	struct vhd_footer f = { .cookie = VHD_FOOTER_COOKIE, .type = 3,
				.current_size = 0x1122334455667788 };
	uint8_t disk[VHD_SECTOR];
	struct vhd_footer back;

	(void)state;
	vhd_footer_encode(&f, disk);
	assert_int_equal(disk[48], 0x11);
	assert_int_equal(disk[55], 0x88);
	assert_int_equal(disk[63], 3);
	vhd_footer_decode(&back, disk);
	assert_int_equal(back.current_size, f.current_size);
	assert_int_equal(back.checksum, vhd_checksum(disk, sizeof(disk), 64));
}

static void test_header_layout(void **state)
{
	struct vhd_header h = { .cookie = VHD_HEADER_COOKIE, .table_offset = 1536,
				.block_size = 2 << 20 };
	uint8_t disk[2 * VHD_SECTOR];
	struct vhd_header back;

	(void)state;
	h.locator[7].data_offset = 0x0102;
	vhd_header_encode(&h, disk);
	assert_int_equal(disk[22], 6);
	assert_int_equal(disk[33], 0x20);
	assert_int_equal(disk[766], 1);
	assert_int_equal(disk[767], 2);
	vhd_header_decode(&back, disk);
	assert_int_equal(back.locator[7].data_offset, 0x0102);
	assert_int_equal(back.checksum, vhd_checksum(disk, sizeof(disk), 36));
}

/* Worked by hand from the specification. */
static void test_geometry(void **state)
{
	static const struct {
		uint64_t mib;
		uint32_t cylinders, heads, sectors;
	} known[] = {
		{ 1, 30, 4, 17 },
		{ 100, 1003, 12, 17 },
		{ 127, 1019, 15, 17 },
		{ 1024, 2080, 16, 63 },
		{ 10240, 20805, 16, 63 },
		{ 40960, 20560, 16, 255 },
		{ 2088960, 65535, 16, 255 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_int_equal(vhd_geometry(known[i].mib << 11),
				 known[i].cylinders << 16 | known[i].heads << 8 |
				 known[i].sectors);
}

static void test_time(void **state)
{
	(void)state;
	assert_int_equal(vhd_time(0), 0);
	assert_int_equal(vhd_time(VHD_EPOCH), 0);
	assert_int_equal(vhd_time(VHD_EPOCH + 86400), 86400);
	assert_int_equal(vhd_time(VHD_EPOCH + (1LL << 33)), UINT32_MAX);
}

static void test_sizes(void **state)
{
	(void)state;
	assert_int_equal(vhd_bitmap_bytes(VHD_BLOCK_SIZE_MIN), 512);
	assert_int_equal(vhd_bitmap_bytes(VHD_BLOCK_SIZE), 512);
	assert_int_equal(vhd_bitmap_bytes(4 << 20), 1024);
	assert_int_equal(vhd_bitmap_bytes(VHD_BLOCK_SIZE_MAX), 65536);
	assert_int_equal(vhd_bat_bytes(1), 512);
	assert_int_equal(vhd_bat_bytes(128), 512);
	assert_int_equal(vhd_bat_bytes(129), 1024);
	assert_int_equal(vhd_bat_bytes(VHD_BAT_MAX), 4ULL * VHD_BAT_MAX);
}

static void test_bitmap(void **state)
{
	uint8_t map[16];

	(void)state;
	for (uint32_t first = 0; first < 128; first++) {
		for (uint32_t count = 1; count <= 128 - first; count++) {
			memset(map, 0, sizeof(map));
			vhd_bitmap_set(map, first, count);
			for (uint32_t i = 0; i < 128; i++)
				assert_int_equal(vhd_bitmap_test(map, i),
						 i >= first && i < first + count);
			assert_true(vhd_bitmap_full(map, first, count));
			if (first)
				assert_false(vhd_bitmap_full(map, first - 1, count));
			if (first + count < 128)
				assert_false(vhd_bitmap_full(map, first, count + 1));
		}
	}
	memset(map, 0, sizeof(map));
	vhd_bitmap_set(map, 0, 1);
	assert_int_equal(map[0], 0x80);
}

static void test_place_block(void **state)
{
	struct vhd v = { .block_size = VHD_BLOCK_SIZE, .bitmap_bytes = 512 };
	uint64_t at;

	(void)state;
	for (uint64_t from = 1024; from < 20480; from += 512) {
		assert_int_equal(vhd_place_block(&v, from, &at), 0);
		assert_int_equal((at + 512) % VHD_ALIGN, 0);
		assert_true(at >= from && at - from < VHD_ALIGN);
	}
	v.bitmap_bytes = 65536;
	assert_int_equal(vhd_place_block(&v, 4096, &at), 0);
	assert_int_equal(at, 4096);
	assert_int_equal(vhd_place_block(&v, 0xffffffffULL * 512, &at), -EFBIG);

	v.bitmap_bytes = 512;
	v.block_device = true;
	v.footer_offset = 2 * MIB + 4096;
	assert_int_equal(vhd_place_block(&v, 2048, &at), 0);
	v.footer_offset -= 512;
	assert_int_equal(vhd_place_block(&v, 2048, &at), -ENOSPC);
}

static void test_bat_sector(void **state)
{
	uint32_t bat[256];
	struct vhd v = { .bat = bat, .bat_entries = 200 };
	uint8_t disk[VHD_SECTOR];

	(void)state;
	for (int i = 0; i < 256; i++)
		bat[i] = i;
	v.header.table_offset = 1536;
	assert_int_equal(vhd_bat_sector_offset(&v, 127), 1536);
	assert_int_equal(vhd_bat_sector_offset(&v, 128), 2048);
	vhd_bat_sector_encode(&v, 199, disk);
	assert_int_equal(disk[3], 128);
	assert_int_equal(disk[511], 255);
}

static void roundtrip(const char *text, bool big_endian)
{
	uint8_t utf16[64];
	ssize_t len = vhd_utf16_encode(text, big_endian, utf16, sizeof(utf16));
	char *back;

	assert_true(len >= 0);
	back = vhd_utf16_decode(utf16, len, big_endian);
	assert_string_equal(back, text);
	free(back);
}

static void test_utf16(void **state)
{
	static const char *const bad[] = {
		"\x80", "\xc3", "\xc0\x80", "\xe2\x82", "\xed\xa0\x80",
		"\xf4\x90\x80\x80", "\xff",
	};
	uint8_t out[8];
	char *text;

	(void)state;
	roundtrip("", true);
	roundtrip("./parent.vhd", false);
	roundtrip("Gr\u00f6\u00dfe \u20ac \U0001f600", true);
	roundtrip("Gr\u00f6\u00dfe \u20ac \U0001f600", false);
	assert_int_equal(vhd_utf16_encode("\xf0\x9f\x98\x80", true, out, 8), 4);
	assert_memory_equal(out, "\xd8\x3d\xde\x00", 4);
	assert_int_equal(vhd_utf16_encode("12345", true, out, 8), -ENAMETOOLONG);
	assert_int_equal(vhd_utf16_encode("123\xf0\x9f\x98\x80", true, out, 8),
			 -ENAMETOOLONG);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(vhd_utf16_encode(bad[i], true, out, 8), -EILSEQ);
	assert_null(vhd_utf16_decode((const uint8_t *)"\xd8\x3d", 2, true));
	assert_null(vhd_utf16_decode((const uint8_t *)"\xd8\x3d\x00\x41", 4, true));
	assert_null(vhd_utf16_decode((const uint8_t *)"\xdc\x00\x00\x41", 4, true));
	text = vhd_utf16_decode((const uint8_t *)"\0a\0\0\0b", 6, true);
	assert_string_equal(text, "a");
	free(text);
	text = vhd_utf16_decode((const uint8_t *)"\0a\0", 3, true);
	assert_string_equal(text, "a");
	free(text);
}

static void expect_relative(const char *from, const char *to, const char *wanted)
{
	char *path = vhd_relative_path(from, to);

	assert_string_equal(path, wanted);
	free(path);
}

static void test_relative_path(void **state)
{
	(void)state;
	expect_relative("/a/b/child", "/a/b/parent", "./parent");
	expect_relative("/a/b/child", "/a/bc/parent", "./../bc/parent");
	expect_relative("/a/b/c/child", "/x/parent", "./../../../x/parent");
	expect_relative("/child", "/a/parent", "./a/parent");
	expect_relative("/a/child", "/a/child2", "./child2");
}

static void test_error_is_one_line(void **state)
{
	struct vhd_error err;
	char *big = malloc(10000);

	(void)state;
	assert_int_equal(vhd_fail(&err, -EINVAL, "a\n%s\x1b[1m", "b\t"), -EINVAL);
	assert_string_equal(err.text, "a?b??[1m");
	memset(big, 'x', 9999);
	big[9999] = 0;
	vhd_fail(&err, -EINVAL, "%s", big);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	free(big);
	assert_int_equal(vhd_fail(NULL, -EIO, "nobody listens"), -EIO);
}

const struct CMUnitTest format_tests[] = {
	cmocka_unit_test(test_checksum),
	cmocka_unit_test(test_footer_layout),
	cmocka_unit_test(test_header_layout),
	cmocka_unit_test(test_geometry),
	cmocka_unit_test(test_time),
	cmocka_unit_test(test_sizes),
	cmocka_unit_test(test_bitmap),
	cmocka_unit_test(test_place_block),
	cmocka_unit_test(test_bat_sector),
	cmocka_unit_test(test_utf16),
	cmocka_unit_test(test_relative_path),
	cmocka_unit_test(test_error_is_one_line),
};

const size_t nr_format_tests = ARRAY_SIZE(format_tests);
