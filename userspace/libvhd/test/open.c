// SPDX-License-Identifier: GPL-2.0-only
/* One image: what opens, what is refused, what is repaired, who is locked out. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "image.h"

static void test_dynamic(void **state)
{
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	v = must_open("a.vhd", 0);
	assert_int_equal(v->type, VHD_TYPE_DYNAMIC);
	assert_int_equal(v->size, 100 * MIB);
	assert_int_equal(v->bat_entries, 50);
	assert_int_equal(v->block_sectors, 4096);
	assert_int_equal(v->bitmap_bytes, 512);
	assert_int_equal(v->next_free, 2048);
	assert_int_equal(v->footer_offset, 2048);
	assert_int_equal(v->file_size, 2560);
	assert_int_equal((uintptr_t)v->bat % VHD_ALIGN, 0);
	for (int i = 0; i < 128; i++)
		assert_int_equal(v->bat[i], VHD_BAT_UNUSED);
	vhd_close(v);
	assert_int_equal(check_image("a.vhd", NULL), 0);
}

static void test_fixed(void **state)
{
	struct vhd *v;

	(void)state;
	make_fixed("a.vhd", MIB);
	v = must_open("a.vhd", VHD_OPEN_RDWR);
	assert_int_equal(v->type, VHD_TYPE_FIXED);
	assert_true(vhd_is_flat(v));
	assert_int_equal(v->size, MIB);
	assert_int_equal(v->footer_offset, MIB);
	vhd_close(v);
	assert_int_equal(check_image("a.vhd", NULL), 0);
}

/* A VHD within a fixed VHD is data of the outer one. */
static void test_fixed_with_vhd_inside(void **state)
{
	struct vhd *v;
	uint8_t inner[2560];

	(void)state;
	make_fixed("a.vhd", MIB);
	make_dynamic("b.vhd", 4 * MIB);
	peek("b.vhd", 0, inner, sizeof(inner));
	poke("a.vhd", 0, inner, sizeof(inner));
	v = must_open("a.vhd", VHD_OPEN_RDWR);
	assert_int_equal(v->type, VHD_TYPE_FIXED);
	vhd_close(v);
	peek("a.vhd", 0, inner, sizeof(inner));
	assert_memory_equal(inner, VHD_FOOTER_COOKIE, 8);
}

static void test_blocks(void **state)
{
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	fill_block("a.vhd", 49, 0xff, 1);
	fill_block("a.vhd", 0, 0xff, 2);
	v = must_open("a.vhd", VHD_OPEN_DIRECT);
	assert_true(vhd_block_allocated(v, 0));
	assert_false(vhd_block_allocated(v, 1));
	assert_int_equal(vhd_data_offset(v, 49), 4096);
	assert_int_equal(vhd_data_offset(v, 0) % VHD_ALIGN, 0);
	assert_int_equal(v->next_free, vhd_data_offset(v, 0) + 2 * MIB);
	assert_int_equal(v->next_free, v->footer_offset);
	vhd_close(v);
	assert_int_equal(check_image("a.vhd", NULL), 0);
}

static void test_not_a_file(void **state)
{
	(void)state;
	expect_open_fails("none.vhd", 0, -ENOENT, "No such file");
	expect_open_fails(".", 0, -EINVAL, "neither a file nor a block device");
	assert_int_equal(mkfifo("fifo", 0600), 0);
	expect_open_fails("fifo", 0, -EINVAL, "neither a file nor a block device");
}

static void test_not_a_vhd(void **state)
{
	char text[2048];

	(void)state;
	memset(text, 'x', sizeof(text));
	poke("empty", 0, text, 0);
	poke("tiny", 0, text, 100);
	poke("text", 0, text, sizeof(text));
	poke("odd", 0, text, 1500);
	expect_open_fails("empty", 0, -EINVAL, "not a VHD");
	expect_open_fails("tiny", 0, -EINVAL, "only 100 bytes");
	expect_open_fails("text", 0, -EINVAL, "not a VHD");
	expect_open_fails("odd", 0, -EINVAL, "not a VHD");
}

#define NOBODY 65534

static void test_permission(void **state)
{
	uid_t self = geteuid();

	(void)state;
	make_dynamic("a.vhd", 4 * MIB);
	/* Root may do everything: be its owner, who is somebody else, instead. */
	if (!self) {
		assert_int_equal(chmod(".", 0755), 0);
		assert_int_equal(chown("a.vhd", NOBODY, -1), 0);
		assert_int_equal(seteuid(NOBODY), 0);
	}
	chmod("a.vhd", 0400);
	expect_open_fails("a.vhd", VHD_OPEN_RDWR, -EACCES, "for writing");
	chmod("a.vhd", 0);
	expect_open_fails("a.vhd", 0, -EACCES, "for reading");
	assert_int_equal(seteuid(self), 0);
}

static void flip(const char *path, uint64_t offset)
{
	uint8_t byte;

	peek(path, offset, &byte, 1);
	byte ^= 1;
	poke(path, offset, &byte, 1);
}

static void test_wrong_checksum(void **state)
{
	(void)state;
	make_fixed("f.vhd", MIB);
	flip("f.vhd", MIB + 30);
	expect_open_fails("f.vhd", 0, -EINVAL, "checksum");

	make_dynamic("d.vhd", 4 * MIB);
	flip("d.vhd", 30);
	flip("d.vhd", file_size("d.vhd") - 512 + 30);
	expect_open_fails("d.vhd", 0, -EINVAL, "footer is damaged: its checksum");

	make_dynamic("h.vhd", 4 * MIB);
	flip("h.vhd", 512 + 700);
	expect_open_fails("h.vhd", 0, -EINVAL, "header is damaged: its checksum");
}

static void too_big(struct vhd_footer *f)
{
	f->current_size = VHD_MAX_SIZE + 512;
}

static void no_size(struct vhd_footer *f)
{
	f->current_size = 0;
}

static void bad_version(struct vhd_footer *f)
{
	f->version = 0x00020000;
}

static void bad_type(struct vhd_footer *f)
{
	f->type = 5;
}

static void bad_data_offset(struct vhd_footer *f)
{
	f->data_offset = 513;
}

static void far_data_offset(struct vhd_footer *f)
{
	f->data_offset = UINT64_MAX - 511;
}

static void bigger_than_bat(struct vhd_footer *f)
{
	f->current_size = 6 * MIB;
}

static void bit_swapped(struct vhd_footer *f)
{
	f->creator_version = VHD_TAP_VERSION_BITSWAPPED;
}

static void test_bad_footers(void **state)
{
	static const struct {
		void (*edit)(struct vhd_footer *f);
		int error;
		const char *text;
	} cases[] = {
		{ too_big, -EFBIG, "2040 GiB" },
		{ no_size, -EINVAL, "no size" },
		{ bad_version, -EINVAL, "version" },
		{ bad_type, -EINVAL, "type" },
		{ bad_data_offset, -EINVAL, "header offset" },
		{ far_data_offset, -EINVAL, "truncated" },
		{ bigger_than_bat, -EINVAL, "too small for the disk" },
		{ bit_swapped, -ENOTSUP, "early tapdisk" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_dynamic("a.vhd", 4 * MIB);
		edit_footer("a.vhd", cases[i].edit);
		expect_open_fails("a.vhd", 0, cases[i].error, cases[i].text);
		unlink("a.vhd");
	}
}

static void no_cookie(struct vhd_header *h)
{
	h->cookie[0] = 'x';
}

static void bad_header_version(struct vhd_header *h)
{
	h->version = 0x00020000;
}

static void block_not_power(struct vhd_header *h)
{
	h->block_size = 3 << 20;
}

static void block_too_small(struct vhd_header *h)
{
	h->block_size = 512;
}

static void block_too_big(struct vhd_header *h)
{
	h->block_size = 512 << 20;
}

static void table_unaligned(struct vhd_header *h)
{
	h->table_offset = 1537;
}

static void table_at_end(struct vhd_header *h)
{
	h->table_offset = 2048;
}

static void table_far(struct vhd_header *h)
{
	h->table_offset = UINT64_MAX - 511;
}

static void table_on_header(struct vhd_header *h)
{
	h->table_offset = 1024;
}

static void table_too_big(struct vhd_header *h)
{
	h->max_bat_size = VHD_BAT_MAX + 1;
}

static void table_empty(struct vhd_header *h)
{
	h->max_bat_size = 0;
}

static void table_long(struct vhd_header *h)
{
	h->max_bat_size = 129;
}

static void test_bad_headers(void **state)
{
	static const struct {
		void (*edit)(struct vhd_header *h);
		const char *text;
	} cases[] = {
		{ no_cookie, "there is none" },
		{ bad_header_version, "version" },
		{ block_not_power, "block size" },
		{ block_too_small, "block size" },
		{ block_too_big, "block size" },
		{ table_unaligned, "BAT offset" },
		{ table_at_end, "truncated" },
		{ table_far, "truncated" },
		{ table_on_header, "overlaps the header" },
		{ table_too_big, "BAT entries" },
		{ table_empty, "BAT entries" },
		{ table_long, "truncated" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_dynamic("a.vhd", 4 * MIB);
		edit_header("a.vhd", cases[i].edit);
		expect_open_fails("a.vhd", 0, -EINVAL, cases[i].text);
		unlink("a.vhd");
	}
}

static void test_bad_bat(void **state)
{
	static const struct {
		uint32_t blk, sector;
		const char *text;
	} cases[] = {
		{ 0, 0, "overlaps the footer's copy" },
		{ 0, 2, "overlaps the header" },
		{ 0, 3, "overlaps the BAT" },
		{ 1, 7, "blocks 0 and 1 overlap" },
		{ 1, 8, "overlap" },
		{ 1, 4103, "overlap" },
		{ 1, 8200, "truncated or damaged: block 1" },
		{ 1, 8202, "truncated or damaged: block 1" },
		{ 1, 0xfffffffe, "truncated or damaged: block 1" },
		{ 49, 0x80000000, "truncated or damaged: block 49" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_dynamic("a.vhd", 100 * MIB);
		fill_block("a.vhd", 0, 0xff, 1);
		set_bat("a.vhd", cases[i].blk, cases[i].sector);
		expect_open_fails("a.vhd", 0, -EINVAL, cases[i].text);
		unlink("a.vhd");
	}
}

static void test_truncated(void **state)
{
	struct vhd *v;
	uint64_t size;

	(void)state;
	make_fixed("f.vhd", 4 * MIB);
	assert_int_equal(truncate("f.vhd", 2 * MIB), 0);
	expect_open_fails("f.vhd", 0, -EINVAL, "not a VHD");

	make_dynamic("d.vhd", 100 * MIB);
	fill_block("d.vhd", 3, 0xff, 1);
	fill_block("d.vhd", 4, 0xff, 1);
	size = file_size("d.vhd");
	for (uint64_t cut = 600; cut < size - 512; cut += 99 * 512 + 1) {
		assert_int_equal(truncate("d.vhd", size - cut), 0);
		expect_open_fails("d.vhd", 0, -EINVAL, "truncated");
	}
	assert_int_equal(truncate("d.vhd", 1700), 0);
	expect_open_fails("d.vhd", 0, -EINVAL, "truncated: it ends within its BAT");
	assert_int_equal(truncate("d.vhd", 1100), 0);
	expect_open_fails("d.vhd", 0, -EINVAL, "truncated");

	/* Nothing but the footer is lost. */
	make_dynamic("e.vhd", 100 * MIB);
	fill_block("e.vhd", 3, 0xff, 1);
	size = file_size("e.vhd");
	assert_int_equal(truncate("e.vhd", size - 512), 0);
	v = must_open("e.vhd", 0);
	assert_true(v->end_footer_lost);
	vhd_close(v);
}

static void test_fixed_too_short(void **state)
{
	uint8_t footer[VHD_SECTOR];

	(void)state;
	make_fixed("a.vhd", 4 * MIB);
	peek("a.vhd", 4 * MIB, footer, sizeof(footer));
	poke("b.vhd", MIB, footer, sizeof(footer));
	expect_open_fails("b.vhd", 0, -EINVAL, "truncated");
}

static void test_end_footer_lost(void **state)
{
	uint8_t junk[VHD_SECTOR], end[VHD_SECTOR], copy[VHD_SECTOR];
	struct vhd *v;
	uint64_t size;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	fill_block("a.vhd", 3, 0xff, 1);
	size = file_size("a.vhd");
	memset(junk, 0xc7, sizeof(junk));
	poke("a.vhd", size - 512, junk, sizeof(junk));
	assert_int_equal(check_image("a.vhd", "footer at the end"), 1);
	v = must_open("a.vhd", 0);
	assert_true(v->end_footer_lost);
	vhd_close(v);
	v = must_open("a.vhd", VHD_OPEN_RDWR);
	assert_false(v->end_footer_lost);
	vhd_close(v);
	assert_int_equal(file_size("a.vhd"), size);
	peek("a.vhd", size - 512, end, sizeof(end));
	peek("a.vhd", 0, copy, sizeof(copy));
	assert_memory_equal(end, copy, sizeof(end));
	assert_int_equal(check_image("a.vhd", NULL), 0);
}

static void test_copy_lost(void **state)
{
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	flip("a.vhd", 10);
	assert_int_equal(check_image("a.vhd", "footer's copy"), 1);
	v = must_open("a.vhd", VHD_OPEN_RDWR | VHD_OPEN_DIRECT);
	assert_false(v->copy_footer_lost);
	vhd_close(v);
	assert_int_equal(check_image("a.vhd", NULL), 0);
}

/* An old tapdisk died: the last block's data ends where it had written to. */
static void test_old_tapdisk_died(void **state)
{
	struct vhd *v;
	uint8_t bits = 0xff;
	uint64_t data;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	fill_block("a.vhd", 3, 0xff, 1);
	fill_block("a.vhd", 5, 0, 0);
	v = must_open("a.vhd", 0);
	data = vhd_data_offset(v, 5);
	vhd_close(v);
	poke("a.vhd", data - 512, &bits, 1);
	assert_int_equal(truncate("a.vhd", data + 8 * 512), 0);
	v = must_open("a.vhd", 0);
	assert_true(v->end_footer_lost);
	assert_int_equal(v->next_free, data + 2 * MIB);
	vhd_close(v);
	v = must_open("a.vhd", VHD_OPEN_RDWR);
	assert_int_equal(v->file_size, data + 2 * MIB + 512);
	vhd_close(v);
	assert_int_equal(check_image("a.vhd", NULL), 0);

	/* A sector that its bitmap has is missing: that is no crash. */
	assert_int_equal(truncate("a.vhd", data + 7 * 512), 0);
	expect_open_fails("a.vhd", 0, -EINVAL, "truncated");
}

static void test_short_footer(void **state)
{
	uint8_t disk[VHD_SECTOR];
	struct vhd *v;

	(void)state;
	make_fixed("a.vhd", MIB);
	assert_int_equal(truncate("a.vhd", MIB + 511), 0);
	v = must_open("a.vhd", VHD_OPEN_DIRECT);
	assert_int_equal(v->size, MIB);
	assert_int_equal(v->footer_offset, MIB);
	vhd_close(v);
	assert_int_equal(check_image("a.vhd", "511 bytes"), 0);

	make_dynamic("d.vhd", 4 * MIB);
	assert_int_equal(truncate("d.vhd", file_size("d.vhd") - 1), 0);
	v = must_open("d.vhd", VHD_OPEN_RDWR);
	assert_false(v->end_footer_lost);
	assert_false(v->copy_footer_lost);
	vhd_close(v);
	peek("d.vhd", 0, disk, sizeof(disk));
	assert_memory_equal(disk, VHD_FOOTER_COOKIE, 8);
}

/* Early tapdisks changed the hidden byte and left the checksum alone. */
static void test_hidden_without_checksum(void **state)
{
	uint8_t hidden = 1;
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 4 * MIB);
	poke("a.vhd", 85, &hidden, 1);
	poke("a.vhd", file_size("a.vhd") - 512 + 85, &hidden, 1);
	v = must_open("a.vhd", 0);
	assert_int_equal(v->footer.hidden, 1);
	assert_false(v->end_footer_lost);
	vhd_close(v);
}

static void half_mib_blocks(struct vhd_header *h)
{
	h->block_size = VHD_BLOCK_SIZE_MIN;
}

static void test_small_blocks(void **state)
{
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 512 * 1024);
	edit_header("a.vhd", half_mib_blocks);
	fill_block("a.vhd", 0, 0xff, 1);
	v = must_open("a.vhd", 0);
	assert_int_equal(v->block_sectors, 1024);
	assert_int_equal(v->next_free, 4096 + 512 * 1024);
	vhd_close(v);
}

static void write_batmap(const char *path, uint64_t at, uint8_t bits)
{
	uint8_t sector[VHD_SECTOR] = "tdbatmap";
	uint64_t offset = htobe64(at + VHD_SECTOR);
	uint32_t sectors = htobe32(1);

	memcpy(sector + 8, &offset, sizeof(offset));
	memcpy(sector + 16, &sectors, sizeof(sectors));
	poke(path, at, sector, sizeof(sector));
	memset(sector, 0, sizeof(sector));
	sector[0] = bits;
	poke(path, at + VHD_SECTOR, sector, sizeof(sector));
}

static void test_batmap(void **state)
{
	uint8_t footer[VHD_SECTOR];
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	peek("a.vhd", 0, footer, sizeof(footer));
	write_batmap("a.vhd", 2048, 0);
	poke("a.vhd", 3072, footer, sizeof(footer));
	fill_block("a.vhd", 0, 0xff, 1);
	v = must_open("a.vhd", 0);
	assert_int_equal(v->batmap_offset, 2560);
	assert_int_equal(v->batmap_bytes, 512);
	vhd_close(v);
	assert_int_equal(check_image("a.vhd", NULL), 0);

	write_batmap("a.vhd", 2048, 0xc0);
	assert_int_equal(check_image("a.vhd", "batmap has block 1 full"), 1);
	set_bat("a.vhd", 0, 5);
	expect_open_fails("a.vhd", 0, -EINVAL, "overlaps the batmap");
}

static void test_locks(void **state)
{
	struct vhd *a, *b;
	char pid[32];

	(void)state;
	make_dynamic("a.vhd", 4 * MIB);
	a = must_open("a.vhd", 0);
	b = must_open("a.vhd", 0);
	snprintf(pid, sizeof(pid), "process %d (", getpid());
	expect_open_fails("a.vhd", VHD_OPEN_RDWR, -EBUSY, pid);
	vhd_close(a);
	vhd_close(b);
	a = must_open("a.vhd", VHD_OPEN_RDWR);
	expect_open_fails("a.vhd", VHD_OPEN_RDWR, -EBUSY, pid);
	expect_open_fails("a.vhd", 0, -EBUSY, pid);
	b = must_open("a.vhd", VHD_OPEN_NOLOCK);
	vhd_close(b);
	expect_open_fails("a.vhd", 0, -EBUSY, pid);
	vhd_close(a);
	vhd_close(must_open("a.vhd", VHD_OPEN_RDWR));
}

static void test_lock_of_another_process(void **state)
{
	int pipes[2], status;
	char pid[32], byte;
	pid_t child;

	(void)state;
	make_dynamic("a.vhd", 4 * MIB);
	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (!child) {
		must_open("a.vhd", VHD_OPEN_RDWR);
		_exit(write(pipes[1], "", 1) == 1 && pause());
	}
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	snprintf(pid, sizeof(pid), "process %d (", child);
	expect_open_fails("a.vhd", 0, -EBUSY, pid);
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	close(pipes[0]);
	close(pipes[1]);
	vhd_close(must_open("a.vhd", VHD_OPEN_RDWR));
}

/* As AIO keeps the open file description, for a moment after its last event. */
static void test_lock_ends_with_close(void **state)
{
	struct vhd *v;
	int kept;

	(void)state;
	make_dynamic("a.vhd", 10 * MIB);
	v = must_open("a.vhd", VHD_OPEN_RDWR);
	kept = dup(v->fd);
	assert_true(kept >= 0);
	vhd_close(v);
	vhd_close(must_open("a.vhd", VHD_OPEN_RDWR));
	close(kept);
}

/* Without a lock an image may grow between two looks at it. */
static void test_grows_meanwhile(void **state)
{
	struct vhd *v;

	(void)state;
	make_dynamic("a.vhd", 100 * MIB);
	v = must_open("a.vhd", VHD_OPEN_NOLOCK);
	free(v->bat);
	v->bat = NULL;
	fill_block("a.vhd", 7, 0xff, 7);
	assert_int_equal(vhd_load_bat(v, VHD_OPEN_NOLOCK, NULL), 0);
	assert_true(vhd_block_allocated(v, 7));
	assert_int_equal(v->footer_offset, file_size("a.vhd") - 512);
	vhd_close(v);
}

const struct CMUnitTest open_tests[] = {
	TEST(test_dynamic),
	TEST(test_fixed),
	TEST(test_fixed_with_vhd_inside),
	TEST(test_blocks),
	TEST(test_not_a_file),
	TEST(test_not_a_vhd),
	TEST(test_permission),
	TEST(test_wrong_checksum),
	TEST(test_bad_footers),
	TEST(test_bad_headers),
	TEST(test_bad_bat),
	TEST(test_truncated),
	TEST(test_fixed_too_short),
	TEST(test_end_footer_lost),
	TEST(test_copy_lost),
	TEST(test_old_tapdisk_died),
	TEST(test_short_footer),
	TEST(test_hidden_without_checksum),
	TEST(test_small_blocks),
	TEST(test_batmap),
	TEST(test_locks),
	TEST(test_lock_of_another_process),
	TEST(test_lock_ends_with_close),
	TEST(test_grows_meanwhile),
};

const size_t nr_open_tests = ARRAY_SIZE(open_tests);
