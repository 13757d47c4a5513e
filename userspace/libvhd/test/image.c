// SPDX-License-Identifier: GPL-2.0-only
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "image.h"

int enter_dir(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char *dir;

	if (asprintf(&dir, "%s/unit-vhd.XXXXXX", tmp ? tmp : "/tmp") < 0)
		return -1;
	*state = dir;
	return mkdtemp(dir) ? chdir(dir) : -1;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int leave_dir(void **state)
{
	int r = chdir("/");

	r |= nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(*state);
	return r;
}

void make_dynamic(const char *path, uint64_t size)
{
	struct vhd_error err;

	if (vhd_create(path, VHD_TYPE_DYNAMIC, size, &err))
		fail_msg("%s", err.text);
}

void make_fixed(const char *path, uint64_t size)
{
	struct vhd_error err;

	if (vhd_create(path, VHD_TYPE_FIXED, size, &err))
		fail_msg("%s", err.text);
}

void make_child(const char *path, const char *parent)
{
	struct vhd_error err;

	if (vhd_snapshot(path, parent, false, &err))
		fail_msg("%s", err.text);
}

void poke(const char *path, uint64_t offset, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, len, offset), len);
	close(fd);
}

void peek(const char *path, uint64_t offset, void *data, size_t len)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, len, offset), len);
	close(fd);
}

uint64_t file_size(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

bool file_exists(const char *path)
{
	return !access(path, F_OK);
}

void edit_footer(const char *path, void (*edit)(struct vhd_footer *f))
{
	uint64_t end = file_size(path) - VHD_SECTOR;
	uint8_t disk[VHD_SECTOR];
	struct vhd_footer f;

	peek(path, end, disk, sizeof(disk));
	vhd_footer_decode(&f, disk);
	if (f.type != VHD_TYPE_FIXED) {
		edit(&f);
		vhd_footer_encode(&f, disk);
		poke(path, 0, disk, sizeof(disk));
	} else {
		edit(&f);
		vhd_footer_encode(&f, disk);
	}
	poke(path, end, disk, sizeof(disk));
}

void edit_header(const char *path, void (*edit)(struct vhd_header *h))
{
	uint8_t disk[2 * VHD_SECTOR];
	struct vhd_header h;

	peek(path, VHD_SECTOR, disk, sizeof(disk));
	vhd_header_decode(&h, disk);
	edit(&h);
	vhd_header_encode(&h, disk);
	poke(path, VHD_SECTOR, disk, sizeof(disk));
}

void set_bat(const char *path, uint32_t blk, uint32_t sector)
{
	uint32_t disk = htobe32(sector);

	poke(path, 3 * VHD_SECTOR + blk * sizeof(disk), &disk, sizeof(disk));
}

void fill_block(const char *path, uint32_t blk, uint8_t bits, uint8_t data)
{
	struct vhd *v = must_open(path, VHD_OPEN_RDWR);
	uint8_t *bytes = malloc(v->block_size);
	struct vhd_error err;
	uint8_t sector[VHD_SECTOR];
	uint64_t at;

	assert_non_null(bytes);
	assert_int_equal(vhd_place_block(v, v->next_free, &at), 0);
	memset(bytes, bits, v->bitmap_bytes);
	assert_int_equal(vhd_write(v, bytes, v->bitmap_bytes, at, "", &err), 0);
	memset(bytes, data, v->block_size);
	assert_int_equal(vhd_write(v, bytes, v->block_size, at + v->bitmap_bytes, "",
				   &err), 0);
	v->next_free = at + vhd_block_span(v);
	v->footer_offset = v->next_free;
	assert_int_equal(vhd_write_footer(v, &err), 0);
	v->bat[blk] = at / VHD_SECTOR;
	vhd_bat_sector_encode(v, blk, sector);
	assert_int_equal(vhd_write(v, sector, VHD_SECTOR, vhd_bat_sector_offset(v, blk),
				   "", &err), 0);
	free(bytes);
	vhd_close(v);
}

void expect_open_fails(const char *path, unsigned int flags, int error,
		       const char *text)
{
	struct vhd_error err;
	struct vhd *v;

	assert_int_equal(vhd_open(&v, path, flags, &err), error);
	if (!strstr(err.text, text))
		fail_msg("'%s' does not say '%s'", err.text, text);
}

void expect_chain_fails(const char *path, int error, const char *text)
{
	struct vhd_error err;
	struct vhd *v;

	assert_int_equal(vhd_open_chain(&v, path, 0, &err), error);
	if (!strstr(err.text, text))
		fail_msg("'%s' does not say '%s'", err.text, text);
}

struct vhd *must_open(const char *path, unsigned int flags)
{
	struct vhd_error err;
	struct vhd *v = NULL;

	if (vhd_open(&v, path, flags, &err))
		fail_msg("%s", err.text);
	return v;
}

struct vhd *must_open_chain(const char *path, unsigned int flags)
{
	struct vhd_error err;
	struct vhd *v = NULL;

	if (vhd_open_chain(&v, path, flags, &err))
		fail_msg("%s", err.text);
	return v;
}

struct wanted {
	const char *text;
	bool found;
};

static void look_for(void *arg, bool damage, const char *text)
{
	struct wanted *w = arg;

	(void)damage;
	if (w->text && strstr(text, w->text))
		w->found = true;
}

int check_image(const char *path, const char *text)
{
	struct wanted wanted = { .text = text };
	struct vhd *v = must_open_chain(path, 0);
	int damages = vhd_check(v, look_for, &wanted);

	vhd_close(v);
	if (text && !wanted.found)
		fail_msg("no report says '%s'", text);
	return damages;
}
