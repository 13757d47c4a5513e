// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "guest.h"
#include "kernel.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORDS		(SECTOR_SIZE / sizeof(uint64_t))
#define DATA_BYTES	(IMAGE_SECTORS_MAX * SECTOR_SIZE)
#define PAGE		4096U
#define BLOCK_SECTORS	4096U
#define TRIM_MAX	(4 * BLOCK_SECTORS)

void sector_fill(uint8_t *data, uint64_t sector, uint32_t stamp)
{
	uint64_t words[WORDS] = { 0 };

	for (size_t i = 0; stamp && i < WORDS; i++)
		words[i] = (sector << 32 | stamp) ^ i * 0x9e3779b97f4a7c15;
	memcpy(data, words, sizeof(words));
}

uint32_t sector_stamp(const uint8_t *data, uint64_t sector)
{
	uint8_t good[SECTOR_SIZE];
	uint64_t first;

	memcpy(&first, data, sizeof(first));
	sector_fill(good, sector, (uint32_t)first);
	return memcmp(data, good, sizeof(good)) ? NO_STAMP : (uint32_t)first;
}

uint64_t test_seed(void)
{
	const char *text = getenv("TEST_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL) * 1000003;

	print_message("# TEST_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* SplitMix64 */
uint64_t guest_random(struct guest *guest, uint64_t limit)
{
	uint64_t z = guest->random += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % limit;
}

static void check_read(struct guest_io *io)
{
	struct guest *guest = io->guest;

	for (uint64_t i = 0; i < io->req.nr_sectors; i++) {
		uint64_t sector = io->req.sector + i;
		uint32_t stamp = sector_stamp(io->data + i * SECTOR_SIZE, sector);

		if (stamp == io->expect[i])
			continue;
		if (stamp != NO_STAMP && stamp == guest->others[sector])
			continue;
		if (!stamp && guest->trimmed[sector])
			continue;
		fail_msg("sector %llu reads as write %d, not %u", (unsigned long long)sector,
			 (int)stamp, io->expect[i]);
	}
}

static void write_ended(struct guest_io *io, int err)
{
	struct guest *guest = io->guest;

	for (uint64_t i = 0; i < io->req.nr_sectors; i++) {
		uint64_t sector = io->req.sector + i;

		guest->writers[sector]--;
		if (err) {
			guest->others[sector] = io->stamp;
		} else {
			guest->stamps[sector] = io->stamp;
			guest->others[sector] = NO_STAMP;
			guest->trimmed[sector] = false;
		}
	}
}

static void trim_ended(struct guest_io *io)
{
	for (uint64_t i = 0; i < io->req.nr_sectors; i++) {
		io->guest->writers[io->req.sector + i]--;
		io->guest->trimmed[io->req.sector + i] = true;
	}
}

static void io_done(struct image_request *req, int err)
{
	struct guest_io *io = container_of(req, struct guest_io, req);
	struct guest *guest = io->guest;

	if (guest->watch)
		guest->watch->done(guest->watch, io, err);
	guest->failed += err != 0;
	if (err && !guest->faulty)
		fail_msg("request of kind %d at sector %llu: %s", io->op,
			 (unsigned long long)req->sector, strerror(-err));
	if (io->op == GUEST_WRITE)
		write_ended(io, err);
	if (io->op == GUEST_TRIM)
		trim_ended(io);
	if (io->op == GUEST_READ) {
		for (uint64_t i = 0; i < req->nr_sectors; i++)
			guest->readers[req->sector + i]--;
		if (!err)
			check_read(io);
	}
	io->busy = false;
	guest->in_flight--;
}

struct guest *guest_new(uint64_t sectors, uint64_t seed)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	assert_non_null(guest);
	assert_int_equal(loop_init(&guest->loop), 0);
	assert_int_equal(aio_init(&guest->aio, &guest->loop), 0);
	guest->sectors = sectors;
	guest->random = seed;
	guest->next_stamp = 1;
	guest->layout = getenv("TEST_LAYOUT");
	guest->stamps = calloc(sectors, sizeof(*guest->stamps));
	guest->others = malloc(sectors * sizeof(*guest->others));
	guest->trimmed = calloc(sectors, 1);
	guest->writers = calloc(sectors, 1);
	guest->readers = calloc(sectors, 1);
	assert_non_null(guest->others);
	memset(guest->others, 0xff, sectors * sizeof(*guest->others));
	for (unsigned int i = 0; i < GUEST_SLOTS; i++) {
		struct guest_io *io = &guest->ios[i];

		io->guest = guest;
		io->req.slot = i;
		io->req.done = io_done;
		io->data = aligned_alloc(PAGE, 2 * DATA_BYTES);
		io->expect = calloc(IMAGE_SECTORS_MAX, sizeof(*io->expect));
		assert_non_null(io->data);
	}
	return guest;
}

void guest_free(struct guest *guest)
{
	aio_exit(&guest->aio);
	loop_exit(&guest->loop);
	for (unsigned int i = 0; i < GUEST_SLOTS; i++) {
		free(guest->ios[i].data);
		free(guest->ios[i].expect);
	}
	free(guest->stamps);
	free(guest->others);
	free(guest->trimmed);
	free(guest->writers);
	free(guest->readers);
	free(guest);
}

void guest_open(struct guest *guest, const char *name, unsigned int flags)
{
	struct vhd_error error;

	if (image_open(&guest->image, &guest->aio, name, flags, &error))
		fail_msg("%s", error.text);
	assert_int_equal(guest->image->capacity, guest->sectors);
	if (guest->layout && guest->image->layout)
		kernel_begin(guest);
}

void guest_open_path(struct guest *guest, const char *type, const char *path, unsigned int flags)
{
	char name[PATH_MAX + 16], *full = realpath(path, NULL);

	snprintf(name, sizeof(name), "%s:%s", type, full ? full : path);
	free(full);
	guest_open(guest, name, flags);
}

void guest_turn(struct guest *guest)
{
	bool again = aio_submit(&guest->aio);

	if (guest->in_flight || kernel_busy(guest->image))
		assert_int_equal(loop_turn(&guest->loop, again ? 10 : 10000), 0);
	aio_submit(&guest->aio);
}

void guest_drain(struct guest *guest)
{
	while (guest->in_flight || kernel_busy(guest->image))
		guest_turn(guest);
}

void guest_drop(struct guest *guest)
{
	guest_drain(guest);
	image_close(guest->image);
	guest->image = NULL;
}

void guest_close(struct guest *guest)
{
	guest_drain(guest);
	guest_submit(guest, GUEST_FLUSH, 0, 0);
	guest_drop(guest);
}

static bool races(struct guest *guest, enum guest_op op, uint64_t sector, uint32_t sectors)
{
	for (uint64_t i = sector; i < sector + sectors; i++)
		if (guest->writers[i] || (op != GUEST_READ && guest->readers[i]))
			return true;
	return false;
}

static struct guest_io *free_slot(struct guest *guest)
{
	for (;;) {
		for (unsigned int i = 0; i < GUEST_SLOTS; i++)
			if (!guest->ios[i].busy)
				return &guest->ios[i];
		guest_turn(guest);
	}
}

/* Data in pieces of whole sectors, as segments of a ring's pages may be. */
static void io_vectors(struct guest_io *io)
{
	struct image_request *req = &io->req;
	uint64_t left = req->nr_sectors;
	uint8_t *data = io->data;

	req->iovcnt = 0;
	while (left) {
		bool last = req->iovcnt == IMAGE_IOV_MAX - 1;
		uint64_t n = last ? left : 1 + guest_random(io->guest, left);

		req->iov[req->iovcnt].iov_base = data;
		req->iov[req->iovcnt++].iov_len = n * SECTOR_SIZE;
		data += n * SECTOR_SIZE;
		left -= n;
	}
}

static void io_prepare(struct guest_io *io)
{
	struct guest *guest = io->guest;

	for (uint64_t i = 0; i < io->req.nr_sectors; i++) {
		uint64_t sector = io->req.sector + i;
		uint8_t *data = io->data + i * SECTOR_SIZE;

		if (io->op == GUEST_TRIM) {
			guest->writers[sector]++;
		} else if (io->op == GUEST_WRITE) {
			guest->writers[sector]++;
			sector_fill(data, sector, io->stamp);
		} else {
			guest->readers[sector]++;
			io->expect[i] = guest->stamps[sector];
			memset(data, 0x5a, SECTOR_SIZE);
		}
	}
}

bool guest_submit(struct guest *guest, enum guest_op op, uint64_t sector, uint32_t sectors)
{
	struct image *image = guest->image;
	struct guest_io *io = free_slot(guest);

	if (races(guest, op, sector, sectors) || (op == GUEST_TRIM && !image->trim))
		return false;

	io->busy = true;
	io->op = op;
	io->stamp = op == GUEST_WRITE ? guest->next_stamp++ : 0;
	io->req.sector = sector;
	io->req.nr_sectors = sectors;
	if (op != GUEST_TRIM)
		io_vectors(io);
	io_prepare(io);
	guest->in_flight++;
	if (guest->watch)
		guest->watch->submit(guest->watch, io);
	if (op == GUEST_READ)
		image->driver->read(image, &io->req);
	else if (op == GUEST_WRITE)
		image->driver->write(image, &io->req);
	else if (op == GUEST_TRIM)
		image->driver->trim(image, &io->req);
	else
		image->driver->flush(image, &io->req);
	return true;
}

/* Whole blocks, or any sectors. */
static void random_trim(struct guest *guest, uint64_t first, uint64_t sectors)
{
	uint64_t n = 1 + guest_random(guest, sectors < TRIM_MAX ? sectors : TRIM_MAX);
	uint64_t sector = first + guest_random(guest, sectors - n + 1);

	if (guest_random(guest, 2)) {
		n = (sector + n) / BLOCK_SECTORS * BLOCK_SECTORS;
		sector = (sector + BLOCK_SECTORS - 1) / BLOCK_SECTORS * BLOCK_SECTORS;
		n = n > sector ? n - sector : 0;
	}
	if (n && !guest->no_trims)
		guest_submit(guest, GUEST_TRIM, sector, (uint32_t)n);
}

void guest_run_in(struct guest *guest, unsigned int count, unsigned int write_percent,
		  uint64_t first, uint64_t sectors)
{
	while (count--) {
		uint32_t n = 1 + (uint32_t)guest_random(guest, IMAGE_SECTORS_MAX);
		uint64_t sector = first + guest_random(guest, sectors - n + 1);

		if (!guest_random(guest, 40))
			guest_submit(guest, GUEST_FLUSH, 0, 0);
		else if (!guest_random(guest, 40))
			random_trim(guest, first, sectors);
		else if (guest_random(guest, 100) < write_percent)
			guest_submit(guest, GUEST_WRITE, sector, n);
		else
			guest_submit(guest, GUEST_READ, sector, n);
		if (!guest_random(guest, 20))
			guest_turn(guest);
	}
	guest_drain(guest);
}

void guest_run(struct guest *guest, unsigned int count, unsigned int write_percent)
{
	guest_run_in(guest, count, write_percent, 0, guest->sectors);
}

void guest_verify(struct guest *guest)
{
	uint32_t n;

	guest_drain(guest);
	for (uint64_t sector = 0; sector < guest->sectors; sector += n) {
		uint64_t left = guest->sectors - sector;

		n = left < IMAGE_SECTORS_MAX ? (uint32_t)left : IMAGE_SECTORS_MAX;
		assert_true(guest_submit(guest, GUEST_READ, sector, n));
	}
	guest_drain(guest);
}

int directory_enter(void **state)
{
	const char *tmp = getenv("TMPDIR");
	char *dir;

	if (asprintf(&dir, "%s/unit-tapdisk.XXXXXX", tmp ? tmp : "/tmp") < 0)
		return -1;
	*state = dir;
	return mkdtemp(dir) ? chdir(dir) : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int directory_leave(void **state)
{
	int ret = chdir("/");

	ret |= nftw(*state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(*state);
	return ret;
}

int layout_enter(void **state)
{
	return setenv("TEST_LAYOUT", "1", 1) ? -1 : directory_enter(state);
}

int layout_leave(void **state)
{
	return unsetenv("TEST_LAYOUT") ? -1 : directory_leave(state);
}

static void make(const char *path, enum vhd_type type, uint64_t sectors)
{
	struct vhd_error error;

	if (vhd_create(path, type, sectors * SECTOR_SIZE, &error))
		fail_msg("%s", error.text);
}

void make_dynamic(const char *path, uint64_t sectors)
{
	make(path, VHD_TYPE_DYNAMIC, sectors);
}

void make_fixed(const char *path, uint64_t sectors)
{
	make(path, VHD_TYPE_FIXED, sectors);
}

void make_child(const char *path, const char *parent)
{
	struct vhd_error error;

	if (vhd_snapshot(path, parent, false, &error))
		fail_msg("%s", error.text);
}

/* From the end of the BAT, where the footer was, to a footer at its new end. */
void add_batmap(const char *path)
{
	uint8_t map[2 * SECTOR_SIZE] = "tdbatmap", footer[SECTOR_SIZE];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct vhd_error error;
	struct vhd *vhd;
	uint64_t at;

	assert_int_equal(vhd_open(&vhd, path, 0, &error), 0);
	at = vhd->footer_offset;
	assert_int_equal(at, vhd->next_free);
	assert_true(vhd->bat_entries <= SECTOR_SIZE * 8);
	map[14] = (uint8_t)((at + SECTOR_SIZE) >> 8);	/* offset, sectors, version */
	map[19] = 1;
	map[21] = 1;
	map[23] = 2;
	vhd->footer.creator_version = 0x00010002;
	vhd_footer_encode(&vhd->footer, footer);
	vhd_close(vhd);
	assert_int_equal(pwrite(fd, map, sizeof(map), (off_t)at), sizeof(map));
	assert_int_equal(pwrite(fd, footer, SECTOR_SIZE, (off_t)(at + sizeof(map))), SECTOR_SIZE);
	assert_int_equal(pwrite(fd, footer, SECTOR_SIZE, 0), SECTOR_SIZE);
	close(fd);
	check_image(path, false);
}

void set_batmap(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	uint8_t map[SECTOR_SIZE] = { 0 };
	struct vhd_error error;
	struct vhd *vhd;

	assert_int_equal(vhd_open(&vhd, path, 0, &error), 0);
	assert_int_equal(vhd->batmap_bytes, sizeof(map));
	for (uint32_t i = 0; i < vhd->bat_entries; i++)
		if (vhd_block_allocated(vhd, i))
			vhd_bitmap_set(map, i, 1);
	assert_int_equal(pwrite(fd, map, sizeof(map), (off_t)vhd->batmap_offset), sizeof(map));
	vhd_close(vhd);
	close(fd);
	check_image(path, false);
}

static void report(void *arg, bool damage, const char *text)
{
	if (damage && !arg)
		print_message("# %s\n", text);
}

void check_image(const char *path, bool footer_may_be_lost)
{
	struct vhd_error error;
	struct vhd *vhd;
	int damage;

	if (vhd_open(&vhd, path, 0, &error))
		fail_msg("%s", error.text);
	damage = vhd_check(vhd, report, footer_may_be_lost ? vhd : NULL);
	if (damage != (footer_may_be_lost && vhd->end_footer_lost))
		fail_msg("%s has %d damages", path, damage);
	vhd_close(vhd);
}
