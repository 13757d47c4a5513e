// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damaged metadata, at random: an image is refused, or what it says holds. Most
 * damages get right checksums, so that they are seen by more than those.
 * FUZZ_SEED and FUZZ_ROUNDS repeat and prolong it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "image.h"

#define IMAGE_BYTES	4096	/* of the empty child; more than its metadata */

static uint32_t pick(uint64_t *seed, uint32_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (*seed >> 16) % n;
}

static void fix_sums(uint8_t *image, size_t len)
{
	struct vhd_footer f;
	struct vhd_header h;

	vhd_footer_decode(&f, image);
	vhd_footer_encode(&f, image);
	vhd_footer_decode(&f, image + len - VHD_SECTOR);
	vhd_footer_encode(&f, image + len - VHD_SECTOR);
	vhd_header_decode(&h, image + VHD_SECTOR);
	vhd_header_encode(&h, image + VHD_SECTOR);
}

static void damage(uint64_t *seed, uint8_t *image, size_t len)
{
	static const uint8_t values[] = { 0, 1, 2, 4, 0x7f, 0x80, 0xff };
	/* Footer fields, header fields, locators, BAT. */
	static const uint16_t where[][2] = {
		{ 8, 86 }, { 520, 576 }, { 1088, 1280 }, { 1536, 1736 }, { 0, 2048 },
	};
	int nr = 1 + pick(seed, 4);

	while (nr--) {
		const uint16_t *w = where[pick(seed, 5)];
		uint32_t at = w[0] + pick(seed, w[1] - w[0]);
		uint8_t value = pick(seed, 2) ? pick(seed, 256) :
						values[pick(seed, sizeof(values))];

		image[at] = value;
		/* The end footer mostly agrees with its copy. */
		if (at < VHD_SECTOR && pick(seed, 8))
			image[len - VHD_SECTOR + at] = value;
	}
	if (pick(seed, 8))
		fix_sums(image, len);
}

static void check_promises(const struct vhd *v)
{
	uint64_t limit = v->end_footer_lost ? UINT64_MAX : v->footer_offset;

	assert_true(v->size <= VHD_MAX_SIZE && v->size % VHD_SECTOR == 0);
	if (vhd_is_flat(v))
		return;
	assert_true((uint64_t)v->bat_entries * v->block_size >= v->size);
	for (uint32_t i = 0; i < v->bat_entries; i++) {
		if (!vhd_block_allocated(v, i))
			continue;
		assert_true(vhd_bitmap_offset(v, i) >= 3 * VHD_SECTOR);
		assert_true(vhd_data_offset(v, i) + v->block_size <= limit);
		assert_true(vhd_data_offset(v, i) + v->block_size <= v->next_free);
	}
}

static void ignore(void *arg, bool damage, const char *text)
{
	(void)arg;
	(void)damage;
	(void)text;
}

static bool try_image(const uint8_t *image, size_t len)
{
	struct vhd_error err;
	struct vhd *v;

	unlink("m.vhd");
	poke("m.vhd", 0, image, len);
	if (vhd_open(&v, "m.vhd", 0, &err)) {
		assert_true(err.text[0] && strlen(err.text) < sizeof(err.text) - 1);
		return false;
	}
	check_promises(v);
	vhd_check(v, ignore, NULL);
	vhd_close(v);
	if (!vhd_open_chain(&v, "m.vhd", 0, &err))
		vhd_close(v);
	if (vhd_open(&v, "m.vhd", VHD_OPEN_RDWR, &err))
		fail_msg("can be read, but not repaired: %s", err.text);
	check_promises(v);
	assert_false(v->end_footer_lost || v->copy_footer_lost);
	vhd_close(v);
	return true;
}

static uint64_t from_env(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value ? strtoull(value, NULL, 0) : otherwise;
}

static void fuzz(const char *path)
{
	uint64_t seed = from_env("FUZZ_SEED", time(NULL) * 2654435761U | 1);
	uint64_t rounds = from_env("FUZZ_ROUNDS", 1000), opened = 0;
	size_t len = file_size(path);
	uint8_t *good = malloc(len), *image = malloc(len);

	assert_non_null(good);
	assert_non_null(image);
	print_message("FUZZ_SEED=%#jx FUZZ_ROUNDS=%ju\n", (uintmax_t)seed,
		      (uintmax_t)rounds);
	peek(path, 0, good, len);
	for (uint64_t i = 0; i < rounds; i++) {
		memcpy(image, good, len);
		damage(&seed, image, len);
		opened += try_image(image, len);
	}
	assert_true(opened > 0 && opened < rounds);
	free(good);
	free(image);
}

static void test_fuzz_empty(void **state)
{
	(void)state;
	make_dynamic("p.vhd", 100 * MIB);
	make_child("a.vhd", "p.vhd");
	assert_true(file_size("a.vhd") <= IMAGE_BYTES);
	fuzz("a.vhd");
}

static void half_mib_blocks(struct vhd_header *h)
{
	h->block_size = VHD_BLOCK_SIZE_MIN;
}

static void test_fuzz_blocks(void **state)
{
	(void)state;
	make_dynamic("a.vhd", 512 * 1024);
	edit_header("a.vhd", half_mib_blocks);
	fill_block("a.vhd", 0, 0x55, 1);
	fuzz("a.vhd");
}

const struct CMUnitTest fuzz_tests[] = {
	TEST(test_fuzz_empty),
	TEST(test_fuzz_blocks),
};

const size_t nr_fuzz_tests = ARRAY_SIZE(fuzz_tests);
