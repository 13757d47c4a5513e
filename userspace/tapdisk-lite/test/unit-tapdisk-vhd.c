// SPDX-License-Identifier: GPL-2.0-only
/* The VHD engine against a model: all types, chains, foreign images, errors. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest.h"

#define SECTORS		(19ULL * 2048 + 5)	/* ten blocks, the last one in part */
#define BLOCK_SECTORS	4096U

/* Random requests, with the image opened anew now and then. */
static void run_and_reopen(struct guest *guest, const char *type, const char *path)
{
	for (int i = 0; i < 4; i++) {
		guest_open_path(guest, type, path, 0);
		guest_run(guest, 300, 50);
		guest_close(guest);
	}
	guest_open_path(guest, type, path, IMAGE_RDONLY);
	guest_verify(guest);
	guest_close(guest);
}

static void test_raw(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	int fd = open("raw", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	(void)state;
	assert_int_equal(ftruncate(fd, SECTORS * SECTOR_SIZE), 0);
	close(fd);
	run_and_reopen(guest, "aio", "raw");
	guest_free(guest);
}

static void test_fixed(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_fixed("fixed", SECTORS);
	run_and_reopen(guest, "tap:tapdisk:vhd", "fixed");
	check_image("fixed", false);
	guest_free(guest);
}

static void test_dynamic(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("dynamic", SECTORS);
	run_and_reopen(guest, "vhd", "dynamic");
	check_image("dynamic", false);
	guest_free(guest);
}

/* Each level gets its own writes; all of it is read through the deepest. */
static void run_chain(unsigned int depth)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	char path[16], parent[16];

	make_dynamic("0", SECTORS);
	run_and_reopen(guest, "vhd", "0");
	for (unsigned int i = 1; i <= depth; i++) {
		snprintf(parent, sizeof(parent), "%u", i - 1);
		snprintf(path, sizeof(path), "%u", i);
		make_child(path, parent);
		guest_open_path(guest, "vhd", path, 0);
		guest_run(guest, 150, 60);
		guest_verify(guest);
		guest_close(guest);
		check_image(path, false);
	}
	run_and_reopen(guest, "vhd", path);
	check_image(path, false);
	guest_free(guest);
}

static void test_chain_of_two(void **state)
{
	(void)state;
	run_chain(1);
}

static void test_chain_of_three(void **state)
{
	(void)state;
	run_chain(2);
}

/* The process ends without a flush; what it has answered is read by the next one. */
static void restore_by(struct guest *guest, const char *path)
{
	struct vhd_error error;
	int kept;

	guest_drain(guest);
	kept = dup(guest->image->keep_fd);
	assert_true(kept >= 0);
	guest_drop(guest);
	guest_open_path(guest, "vhd", path, 0);
	assert_int_equal(guest->image->driver->restore(guest->image, kept, &error), 0);
	close(kept);
	guest_verify(guest);
}

static void test_what_is_kept_is_restored(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("parent", SECTORS);
	guest_open_path(guest, "vhd", "parent", 0);
	guest_run(guest, 100, 80);
	guest_close(guest);
	make_child("child", "parent");
	guest_open_path(guest, "vhd", "child", 0);
	for (int i = 0; i < 5; i++) {
		guest_run(guest, 100, 90);
		restore_by(guest, "child");
	}
	guest_close(guest);
	check_image("child", false);
	guest_free(guest);
}

/* Another image's bits are none of ours, nor is noise: they may be somebody's. */
static void test_what_others_kept_is_refused(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	struct vhd_error error;
	char noise[65536];
	int kept, fd;

	(void)state;
	make_dynamic("a", SECTORS);
	make_child("b", "a");
	make_child("c", "a");
	guest_open_path(guest, "vhd", "b", 0);
	guest_run(guest, 100, 90);
	guest_drain(guest);
	kept = dup(guest->image->keep_fd);
	guest_drop(guest);
	guest_free(guest);

	guest = guest_new(SECTORS, test_seed());
	guest_open_path(guest, "vhd", "c", 0);
	guest_run(guest, 100, 90);
	assert_int_equal(guest->image->driver->restore(guest->image, kept, &error), -ESTALE);
	close(kept);
	fd = memfd_create("noise", MFD_CLOEXEC);
	memset(noise, 0xa5, sizeof(noise));
	for (size_t size = 1; size <= sizeof(noise); size *= 2) {
		/* What is shorter than it says itself has nothing in it. */
		int wanted = size > 12288 ? -EPROTO : 0;

		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, noise, size, 0), (ssize_t)size);
		assert_int_equal(guest->image->driver->restore(guest->image, fd, &error), wanted);
	}
	close(fd);
	guest_verify(guest);
	guest_close(guest);
	guest_free(guest);
}

static void test_chain_of_six(void **state)
{
	(void)state;
	run_chain(5);
}

static void test_child_of_fixed(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_fixed("fixed", SECTORS);
	run_and_reopen(guest, "vhd", "fixed");
	make_child("child", "fixed");
	run_and_reopen(guest, "vhd", "child");
	guest_free(guest);
}

/* What was not flushed is gone with the cache, and the image is sound. */
static void test_unflushed_child(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	make_dynamic("base", SECTORS);
	make_child("child", "base");
	guest_open_path(guest, "vhd", "child", 0);
	guest_submit(guest, GUEST_WRITE, 100, 8);
	guest_submit(guest, GUEST_WRITE, 6000, 8);
	guest_drop(guest);
	memset(guest->stamps, 0, SECTORS * sizeof(*guest->stamps));
	check_image("child", false);
	guest_open_path(guest, "vhd", "child", 0);
	guest_verify(guest);
	guest_close(guest);
	guest_free(guest);
}

/*
 * More dirty bitmaps than the cache has room for, then more clean ones; in
 * between, requests that need one wait for others to be written.
 */
static void test_cache_pressure(void **state)
{
	const uint64_t blocks = 3000;
	struct guest *guest = guest_new(blocks * BLOCK_SECTORS, test_seed());

	(void)state;
	make_dynamic("base", blocks * BLOCK_SECTORS);
	make_child("child", "base");
	guest_open_path(guest, "vhd", "child", 0);
	for (uint64_t i = 0; i < blocks; i++)
		guest_submit(guest, GUEST_WRITE, i * 1217 % blocks * BLOCK_SECTORS + i % 4000, 8);
	guest_drain(guest);
	for (uint64_t i = 0; i < blocks; i++)
		guest_submit(guest, GUEST_READ, i * 1217 % blocks * BLOCK_SECTORS + i % 4000, 8);
	guest_close(guest);
	guest_open_path(guest, "vhd", "child", 0);
	for (uint64_t i = 0; i < blocks; i++)
		guest_submit(guest, GUEST_READ, i * 1217 % blocks * BLOCK_SECTORS + i % 4000, 20);
	guest_close(guest);
	check_image("child", false);
	guest_free(guest);
}

/* Blocks that follow each other, each write crossing into the next block. */
static void test_sequential(void **state)
{
	struct guest *guest = guest_new(200 * BLOCK_SECTORS, test_seed());

	(void)state;
	make_dynamic("dynamic", guest->sectors);
	guest_open_path(guest, "vhd", "dynamic", 0);
	for (uint64_t i = 0; i < 120; i++)
		guest_submit(guest, GUEST_WRITE, (i + 1) * BLOCK_SECTORS - 40, 80);
	guest_close(guest);
	guest_open_path(guest, "vhd", "dynamic", 0);
	guest_verify(guest);
	guest_close(guest);
	check_image("dynamic", false);
	guest_free(guest);
}

static void patch(const char *path, uint64_t offset, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_int_equal(pwrite(fd, data, len, (off_t)offset), len);
	close(fd);
}

/* A dynamic disk's sectors whose bits are not set read as zeroes. */
static void test_dynamic_with_clear_bits(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	uint8_t bits[SECTOR_SIZE];
	struct vhd_error error;
	struct vhd *vhd;

	(void)state;
	make_dynamic("dynamic", SECTORS);
	guest_open_path(guest, "vhd", "dynamic", 0);
	guest_run_in(guest, 400, 100, 0, 2 * BLOCK_SECTORS);
	guest_close(guest);

	assert_int_equal(vhd_open(&vhd, "dynamic", 0, &error), 0);
	memset(bits, 0, sizeof(bits));
	vhd_bitmap_set(bits, 1000, 77);
	patch("dynamic", vhd_bitmap_offset(vhd, 1), bits, sizeof(bits));
	vhd_close(vhd);
	for (uint64_t i = 0; i < BLOCK_SECTORS; i++)
		if (i < 1000 || i >= 1077)
			guest->stamps[BLOCK_SECTORS + i] = 0;

	run_and_reopen(guest, "vhd", "dynamic");
	check_image("dynamic", false);
	guest_free(guest);
}

/* Between the last block and the footer lies what a crash has left there. */
static void test_stale_end(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	uint8_t footer[SECTOR_SIZE], *junk = malloc(5 << 20);
	struct stat st;
	int fd;

	(void)state;
	make_dynamic("dynamic", SECTORS);
	fd = open("dynamic", O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(pread(fd, footer, sizeof(footer), st.st_size - SECTOR_SIZE),
			 sizeof(footer));
	memset(junk, 0xa5, 5 << 20);
	assert_int_equal(pwrite(fd, junk, 5 << 20, st.st_size - SECTOR_SIZE), 5 << 20);
	assert_int_equal(pwrite(fd, footer, sizeof(footer), st.st_size + (5 << 20)),
			 sizeof(footer));
	close(fd);
	free(junk);

	run_and_reopen(guest, "vhd", "dynamic");
	check_image("dynamic", false);
	guest_free(guest);
}

static bool have_qemu_img(void)
{
	return !system("qemu-img --version >/dev/null 2>&1");
}

static void model_to_file(struct guest *guest, const char *path)
{
	FILE *file = fopen(path, "w");
	uint8_t data[SECTOR_SIZE];

	for (uint64_t i = 0; i < guest->sectors; i++) {
		sector_fill(data, i, guest->stamps[i]);
		assert_int_equal(fwrite(data, sizeof(data), 1, file), 1);
	}
	assert_int_equal(fclose(file), 0);
}

/* A trimmed sector may be zeroes. */
static void check_file(struct guest *guest, const char *path)
{
	FILE *file = fopen(path, "r");
	uint8_t data[SECTOR_SIZE];
	uint32_t stamp;

	for (uint64_t i = 0; i < guest->sectors; i++) {
		assert_int_equal(fread(data, sizeof(data), 1, file), 1);
		stamp = sector_stamp(data, i);
		if (stamp != guest->stamps[i] && (stamp || !guest->trimmed[i]))
			fail_msg("%s: sector %llu is write %d, not %u", path,
				 (unsigned long long)i, (int)stamp, guest->stamps[i]);
	}
	fclose(file);
}

#define CONVERT_FROM "qemu-img convert -O raw --image-opts " \
	"driver=vpc,force_size_calc=current_size,file.driver=file,file.filename="

static void test_read_by_qemu(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	if (!have_qemu_img()) {
		guest_free(guest);
		skip();
	}
	make_dynamic("dynamic", SECTORS);
	run_and_reopen(guest, "vhd", "dynamic");
	assert_int_equal(system(CONVERT_FROM "dynamic out"), 0);
	check_file(guest, "out");
	guest_free(guest);
}

/* Blocks of QEMU are where they fall; ours are added to them. */
static void test_made_by_qemu(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());

	(void)state;
	if (!have_qemu_img()) {
		guest_free(guest);
		skip();
	}
	for (uint64_t i = 5 * BLOCK_SECTORS + 17; i < 7 * BLOCK_SECTORS; i++)
		guest->stamps[i] = guest->next_stamp++;
	model_to_file(guest, "model");
	assert_int_equal(system("qemu-img convert -f raw -O vpc -o force_size=on model dynamic"),
			 0);
	guest_open_path(guest, "vhd", "dynamic", IMAGE_RDONLY);
	guest_verify(guest);
	guest_close(guest);
	run_and_reopen(guest, "vhd", "dynamic");
	check_image("dynamic", false);
	assert_int_equal(system(CONVERT_FROM "dynamic out"), 0);
	check_file(guest, "out");
	guest_free(guest);
}

/* Makes the operations [from, from + count) of those that change a file fail. */
struct saboteur {
	struct aio_hook hook;
	unsigned int seen;
	unsigned int from;
	unsigned int count;
	int err;
};

static int sabotage(struct aio_hook *hook, struct aio_op *op)
{
	struct saboteur *saboteur = container_of(hook, struct saboteur, hook);
	unsigned int n;

	if (op->kind == AIO_READ)
		return 0;
	n = saboteur->seen++;
	return n >= saboteur->from && n - saboteur->from < saboteur->count ? saboteur->err : 0;
}

static void sabotage_end(struct aio_hook *hook, struct aio_op *op, int err)
{
	(void)hook;
	(void)op;
	(void)err;
}

/*
 * A guest whose disk fails for a while: what was acknowledged reads back, what
 * failed reads as before or as written, and the image is sound and goes on
 * working. True: nothing has failed, the failure would come after the end.
 */
static bool run_with_failure(const char *path, unsigned int from, unsigned int count, int err,
			     uint64_t seed)
{
	struct saboteur saboteur = {
		.hook = { sabotage, sabotage_end }, .from = from, .count = count, .err = err,
	};
	struct guest *guest = guest_new(SECTORS, seed);
	bool over;

	guest_open_path(guest, "vhd", path, 0);
	guest->aio.hook = &saboteur.hook;
	guest->faulty = true;
	for (unsigned int i = 0; i < 12; i++) {
		guest_submit(guest, GUEST_WRITE, (uint64_t)i * 2900, 88);
		if (i % 3 == 2)
			guest_drain(guest);
		if (i % 4 == 3)
			guest_submit(guest, GUEST_FLUSH, 0, 0);
	}
	guest_drain(guest);
	guest->aio.hook = NULL;
	over = saboteur.seen <= from;
	guest_verify(guest);
	guest_submit(guest, GUEST_WRITE, 13 * 2900, 88);
	guest_drop(guest);

	check_image(path, false);
	guest_free(guest);
	return over;
}

static void fail_at_every_operation(bool child, unsigned int count, int err)
{
	uint64_t seed = test_seed();
	bool over = false;

	for (unsigned int from = 0; !over; from++) {
		make_dynamic("0", SECTORS);
		if (child)
			make_child("1", "0");
		over = run_with_failure(child ? "1" : "0", from, count, err, seed);
		unlink("0");
		unlink("1");
	}
}

static void test_one_failure(void **state)
{
	(void)state;
	fail_at_every_operation(false, 1, -ENOSPC);
	fail_at_every_operation(true, 1, -EIO);
}

static void test_failures_for_a_while(void **state)
{
	(void)state;
	fail_at_every_operation(false, 7, -EIO);
	fail_at_every_operation(true, 4, -ENOSPC);
}

/* A disk that is full, and then is not. */
static void test_full_disk(void **state)
{
	struct saboteur saboteur = {
		.hook = { sabotage, sabotage_end }, .from = 1, .count = 1, .err = -ENOSPC,
	};
	struct guest *guest = guest_new(SECTORS, test_seed());
	struct stat before, after;

	(void)state;
	make_dynamic("dynamic", SECTORS);
	guest_open_path(guest, "vhd", "dynamic", 0);
	guest_submit(guest, GUEST_WRITE, 0, 88);
	guest_drain(guest);
	assert_int_equal(stat("dynamic", &before), 0);

	/* The footer at its new place is all there is room for. */
	guest->aio.hook = &saboteur.hook;
	guest->faulty = true;
	for (unsigned int i = 0; i < 3; i++) {
		saboteur.seen = 0;
		guest_submit(guest, GUEST_WRITE, 5 * BLOCK_SECTORS, 88);
		guest_drain(guest);
	}
	assert_int_equal(guest->failed, 3);
	guest->aio.hook = NULL;
	guest->faulty = false;
	assert_int_equal(stat("dynamic", &after), 0);
	assert_int_equal(before.st_size, after.st_size);

	guest_submit(guest, GUEST_WRITE, 5 * BLOCK_SECTORS, 88);
	guest_close(guest);
	check_image("dynamic", false);
	guest_open_path(guest, "vhd", "dynamic", 0);
	guest_verify(guest);
	guest_close(guest);
	guest_free(guest);
}

struct read_op {
	struct aio_op op;
	struct iovec iov;
	bool done;
	int err;
};

static void read_op_done(struct aio_op *op, int err)
{
	struct read_op *read = container_of(op, struct read_op, op);

	read->done = true;
	read->err = err;
}

/* Neighbours are one I/O; what fails of it does so as if it had been alone. */
static void test_joined_reads(void **state)
{
	const unsigned int n = 6;
	const size_t bytes = 4096;
	struct guest *guest = guest_new(8, 0);
	struct read_op *ops = calloc(n, sizeof(*ops));
	uint8_t *data = aligned_alloc(bytes, n * bytes);
	int fd = open("file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	(void)state;
	/* The fourth is cut short, the last two are past the end. */
	for (unsigned int i = 0; i < 4; i++) {
		memset(data, 'a' + (int)i, bytes);
		assert_int_equal(pwrite(fd, data, bytes, (off_t)(i * bytes)), bytes);
	}
	assert_int_equal(ftruncate(fd, 3 * bytes + 512), 0);
	for (unsigned int i = 0; i < n; i++) {
		ops[i].iov.iov_base = data + (n - 1 - i) * bytes;
		ops[i].iov.iov_len = bytes;
		ops[i].op.done = read_op_done;
		aio_read(&guest->aio, &ops[i].op, fd, &ops[i].iov, 1, i * bytes);
	}
	assert_false(aio_submit(&guest->aio));
	for (unsigned int i = 0; i < n; i++)
		while (!ops[i].done) {
			assert_int_equal(loop_turn(&guest->loop, 10000), 0);
			aio_submit(&guest->aio);
		}
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(ops[i].err, i < 3 ? 0 : -ENODATA);
		assert_int_equal(ops[i].op.moved, i < 3 ? bytes : i == 3 ? 512 : 0);
		assert_int_equal(ops[i].op.alone, i >= 3);
		if (i < 4)
			assert_int_equal(*(char *)ops[i].iov.iov_base, 'a' + (int)i);
	}
	assert_ptr_equal(ops[0].op.joined, &ops[1].op);
	assert_ptr_equal(ops[1].op.joined, &ops[2].op);
	close(fd);
	free(data);
	free(ops);
	guest_free(guest);
}

static void expect_refusal(const char *name, int err, const char *text)
{
	struct guest *guest = guest_new(8, 0);
	struct vhd_error error = { "" };
	struct image *image;

	assert_int_equal(image_open(&image, &guest->aio, name, 0, &error), err);
	if (!strstr(error.text, text))
		fail_msg("'%s' does not say '%s'", error.text, text);
	guest_free(guest);
}

static void test_refusals(void **state)
{
	struct guest *guest = guest_new(SECTORS, test_seed());
	char name[PATH_MAX];

	(void)state;
	expect_refusal("vhd", -EINVAL, "vhd:/path");
	expect_refusal("qcow2:/x", -EINVAL, "vhd or aio");
	expect_refusal("vhd:x", -EINVAL, "absolute");
	expect_refusal("vhd:/nonexistent", -ENOENT, "/nonexistent");
	expect_refusal("tap:aio:/nonexistent", -ENOENT, "/nonexistent");
	expect_refusal("aio:/dev/null", -EINVAL, "/dev/null");
	expect_refusal("vhd:/proc/version", -EINVAL, "/proc/version");

	make_dynamic("dynamic", SECTORS);
	guest_open_path(guest, "vhd", "dynamic", 0);
	snprintf(name, sizeof(name), "%s", guest->image->name);
	expect_refusal(name, -EBUSY, "dynamic");
	expect_refusal(memcpy(name, "aio", 3), -EBUSY, "dynamic");
	guest_close(guest);
	guest_free(guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_raw),
		unit(test_fixed),
		unit(test_dynamic),
		unit(test_what_is_kept_is_restored),
		unit(test_what_others_kept_is_refused),
		unit(test_chain_of_two),
		unit(test_chain_of_three),
		unit(test_chain_of_six),
		unit(test_child_of_fixed),
		unit(test_unflushed_child),
		unit(test_cache_pressure),
		unit(test_sequential),
		unit(test_dynamic_with_clear_bits),
		unit(test_stale_end),
		unit(test_read_by_qemu),
		unit(test_made_by_qemu),
		unit(test_one_failure),
		unit(test_failures_for_a_while),
		unit(test_full_disk),
		unit(test_joined_reads),
		unit(test_refusals),
		layout(test_raw),
		layout(test_fixed),
		layout(test_dynamic),
		layout(test_chain_of_two),
		layout(test_chain_of_three),
		layout(test_chain_of_six),
		layout(test_child_of_fixed),
		layout(test_unflushed_child),
		layout(test_cache_pressure),
		layout(test_sequential),
		layout(test_dynamic_with_clear_bits),
		layout(test_stale_end),
		layout(test_read_by_qemu),
		layout(test_made_by_qemu),
		layout(test_one_failure),
		layout(test_failures_for_a_while),
		layout(test_full_disk),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
