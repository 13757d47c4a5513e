// SPDX-License-Identifier: GPL-2.0-only
/* What libvhd changes in images that hold data: sizes, parents, and coalescing. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"

#define BLOCK		4096U
#define SECTORS		(6ULL * BLOCK + 8)

static void work(struct guest *guest, const char *type, const char *path, unsigned int count)
{
	guest_open_path(guest, type, path, 0);
	guest->no_trims = true;
	guest_run(guest, count, 100);
	guest_close(guest);
}

static void verify(struct guest *guest, const char *type, const char *path)
{
	guest_open_path(guest, type, path, IMAGE_RDONLY);
	guest_verify(guest);
	guest_close(guest);
	if (!strcmp(type, "vhd"))
		check_image(path, false);
}

static void coalesce(const char *path)
{
	struct vhd_error error;

	if (vhd_coalesce(path, &error))
		fail_msg("%s", error.text);
}

/* What the child has is in the parent; what only the parent had stays there. */
static void coalesce_into(struct guest *guest, const char *type, const char *parent, bool raw)
{
	struct vhd_error error;

	work(guest, type, parent, 30);
	assert_int_equal(vhd_snapshot("child", parent, raw, &error), 0);
	work(guest, "vhd", "child", 60);
	coalesce("child");
	verify(guest, type, parent);
	verify(guest, "vhd", "child");
	coalesce("child");
	verify(guest, type, parent);
	/* And the parent can be written to. */
	work(guest, type, parent, 60);
	verify(guest, type, parent);
	unlink("child");
}

/* The same, where the parent has nothing yet. */
static void coalesce_into_new(const char *type, const char *parent)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	coalesce_into(guest, type, parent, !strcmp(type, "aio"));
	guest_free(guest);
}

static void test_coalesce_into_dynamic(void **state)
{
	(void)state;
	make_dynamic("0", SECTORS);
	coalesce_into_new("vhd", "0");
}

static void test_coalesce_into_fixed(void **state)
{
	(void)state;
	make_fixed("0", SECTORS);
	coalesce_into_new("vhd", "0");
}

static void test_coalesce_into_raw(void **state)
{
	int fd = open("raw", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(ftruncate(fd, SECTORS * SECTOR_SIZE), 0);
	close(fd);
	coalesce_into_new("aio", "raw");
}

/* Three in the middle, and what was beneath is still read. */
static void test_coalesce_into_child(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("0", SECTORS);
	work(guest, "vhd", "0", 40);
	make_child("1", "0");
	coalesce_into(guest, "vhd", "1", false);
	guest_free(guest);

	guest = guest_new(SECTORS, test_seed());
	unlink("0");
	unlink("1");
	make_dynamic("0", SECTORS);
	work(guest, "vhd", "0", 40);
	make_child("1", "0");
	work(guest, "vhd", "1", 40);
	make_child("2", "1");
	work(guest, "vhd", "2", 40);
	coalesce("2");
	verify(guest, "vhd", "1");
	coalesce("1");
	verify(guest, "vhd", "0");
	guest_free(guest);
}

static void expect_error(int got, int wanted, const struct vhd_error *error, const char *text)
{
	assert_int_equal(got, wanted);
	if (!strstr(error->text, text))
		fail_msg("'%s' does not say '%s'", error->text, text);
}

static void test_coalesce_refused(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	struct vhd_error error;

	(void)state;
	make_dynamic("0", SECTORS);
	expect_error(vhd_coalesce("0", &error), -EINVAL, &error, "no parent");
	make_child("1", "0");
	guest_open_path(guest, "vhd", "1", IMAGE_RDONLY);
	expect_error(vhd_coalesce("1", &error), -EBUSY, &error, "in use");
	guest_close(guest);
	assert_int_equal(vhd_resize("1", 2 * SECTORS * SECTOR_SIZE, &error), 0);
	expect_error(vhd_coalesce("1", &error), -EINVAL, &error, "resize");
	assert_int_equal(vhd_resize("0", 2 * SECTORS * SECTOR_SIZE, &error), 0);
	coalesce("1");
	guest_free(guest);
}

/* A model of a disk that has grown. */
static struct guest *larger(struct guest *guest, uint64_t sectors)
{
	struct guest *large = guest_new(sectors, guest_random(guest, UINT32_MAX));

	memcpy(large->stamps, guest->stamps, guest->sectors * sizeof(*guest->stamps));
	memcpy(large->others, guest->others, guest->sectors * sizeof(*guest->others));
	large->next_stamp = guest->next_stamp;
	guest_free(guest);
	return large;
}

/* Within the BAT, and beyond; then it is written to, and grows again. */
static void resize(const char *path)
{
	static const uint64_t sizes[] = { SECTORS + 1000, 9 * BLOCK, 2000 * BLOCK };
	struct guest *guest = guest_new(SECTORS, test_seed());
	struct vhd_error error;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		work(guest, "vhd", path, 40);
		if (vhd_resize(path, sizes[i] * SECTOR_SIZE, &error))
			fail_msg("%s", error.text);
		guest = larger(guest, sizes[i]);
		check_image(path, false);
		guest_open_path(guest, "vhd", path, 0);
		guest_submit(guest, GUEST_WRITE, sizes[i] - 8, 8);
		guest_submit(guest, GUEST_FLUSH, 0, 0);
		for (uint64_t at = 0; at + 88 < SECTORS + 2000; at += 88)
			if (at + 88 < sizes[i] - 8)
				guest_submit(guest, GUEST_READ, at, 88);
		guest_close(guest);
	}
	expect_error(vhd_resize(path, 8 * BLOCK, &error), -EINVAL, &error, "smaller");
	expect_error(vhd_resize(path, VHD_MAX_SIZE + 1, &error), -EFBIG, &error, "2040 GiB");
	check_image(path, false);
	guest_free(guest);
}

static void test_resize_dynamic(void **state)
{
	(void)state;
	make_dynamic("0", SECTORS);
	resize("0");
}

static void test_resize_child(void **state)
{
	(void)state;
	make_dynamic("0", SECTORS);
	make_child("1", "0");
	resize("1");
}

static void test_resize_with_batmap(void **state)
{
	(void)state;
	make_dynamic("0", SECTORS);
	add_batmap("0");
	resize("0");
}

static void test_resize_fixed(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	struct vhd_error error;

	(void)state;
	make_fixed("0", SECTORS);
	work(guest, "vhd", "0", 100);
	assert_int_equal(vhd_resize("0", (SECTORS + 5000) * SECTOR_SIZE, &error), 0);
	guest = larger(guest, SECTORS + 5000);
	verify(guest, "vhd", "0");
	guest_free(guest);
}

static off_t size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* No file may get larger than that from now on. */
static void limit(rlim_t bytes)
{
	struct rlimit rlimit;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &rlimit), 0);
	rlimit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &rlimit), 0);
}

/* Where there is no room images are as before, and it works when there is. */
static void test_no_room(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	struct vhd_error error;
	off_t parent, child;

	(void)state;
	make_dynamic("0", SECTORS);
	work(guest, "vhd", "0", 3);
	make_child("1", "0");
	work(guest, "vhd", "1", 40);
	parent = size_of("0");
	child = size_of("1");

	limit((rlim_t)parent + 100);
	assert_int_equal(vhd_resize("0", 100000ULL * BLOCK * SECTOR_SIZE, &error), -EFBIG);
	assert_int_equal(vhd_coalesce("1", &error), -EFBIG);
	limit((rlim_t)child + 100);
	assert_int_equal(vhd_set_parent("1", "0", false, &error), -EFBIG);
	limit(RLIM_INFINITY);
	assert_int_equal(size_of("0"), parent);
	assert_int_equal(size_of("1"), child);
	check_image("0", false);
	verify(guest, "vhd", "1");
	coalesce("1");
	verify(guest, "vhd", "0");
	guest_free(guest);
}

static void check_parent(const char *path, const char *parent)
{
	char *full = realpath(parent, NULL), *found;
	struct vhd_error error;
	struct vhd *vhd;

	assert_int_equal(vhd_open_chain(&vhd, path, 0, &error), 0);
	assert_int_equal(vhd_parent_path(vhd, &found, &error), 0);
	assert_string_equal(found, full);
	vhd_close(vhd);
	free(found);
	free(full);
}

static void test_set_parent(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	struct vhd_error error;

	(void)state;
	make_dynamic("0", SECTORS);
	work(guest, "vhd", "0", 40);
	make_child("1", "0");
	work(guest, "vhd", "1", 40);
	make_child("2", "1");
	work(guest, "vhd", "2", 40);
	coalesce("1");
	assert_int_equal(vhd_set_parent("2", "0", false, &error), 0);
	check_parent("2", "0");
	check_image("2", false);
	assert_int_equal(unlink("1"), 0);
	verify(guest, "vhd", "2");
	work(guest, "vhd", "2", 80);
	verify(guest, "vhd", "2");

	expect_error(vhd_set_parent("0", "2", false, &error), -ELOOP, &error, "loop");
	expect_error(vhd_set_parent("2", "2", false, &error), -ELOOP, &error, "loop");
	make_dynamic("3", SECTORS);
	expect_error(vhd_set_parent("0", "3", false, &error), -EINVAL, &error, "no parent");
	expect_error(vhd_set_parent("2", "x", false, &error), -ENOENT, &error, "x");
	verify(guest, "vhd", "2");
	guest_free(guest);
}

static void test_set_hidden(void **state)
{
	struct vhd_error error;
	struct vhd *vhd;

	(void)state;
	make_dynamic("0", SECTORS);
	for (int hidden = 1; hidden >= 0; hidden--) {
		assert_int_equal(vhd_open(&vhd, "0", VHD_OPEN_RDWR, &error), 0);
		assert_int_equal(vhd_set_hidden(vhd, hidden, &error), 0);
		vhd_close(vhd);
		check_image("0", false);
		assert_int_equal(vhd_open(&vhd, "0", 0, &error), 0);
		assert_int_equal(vhd->footer.hidden, hidden);
		vhd_close(vhd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_coalesce_into_dynamic),
		unit(test_coalesce_into_fixed),
		unit(test_coalesce_into_raw),
		unit(test_coalesce_into_child),
		unit(test_coalesce_refused),
		unit(test_resize_dynamic),
		unit(test_resize_child),
		unit(test_resize_with_batmap),
		unit(test_resize_fixed),
		unit(test_no_room),
		unit(test_set_parent),
		unit(test_set_hidden),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
