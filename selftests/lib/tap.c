// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tap.h"

int control_open(void)
{
	int fd = open(CONTROL_NODE, O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0, "%s: %s", CONTROL_NODE, strerror(errno));
	return fd;
}

static void make_node(const char *path, mode_t type, unsigned int major, unsigned int minor)
{
	unlink(path);
	CHECK_OK(mknod(path, type | 0600, makedev(major, minor)));
}

void tap_alloc(struct tap *t)
{
	int ctl = control_open();
	struct b2_handle h;

	CHECK_OK(ioctl(ctl, B2_ALLOC_TAP, &h));
	close(ctl);
	tap_adopt(t, h);
}

void tap_adopt(struct tap *t, struct b2_handle h)
{
	memset(t, 0, sizeof(*t));
	t->h = h;
	snprintf(t->ring_node, sizeof(t->ring_node), "/tmp/blktap-test.ring%u", t->h.minor);
	snprintf(t->disk_node, sizeof(t->disk_node), "/tmp/blktap-test.disk%u", t->h.minor);
	snprintf(t->sysfs, sizeof(t->sysfs), CLASS_DIR "/blktap%u", t->h.minor);
	make_node(t->ring_node, S_IFCHR, t->h.ring_major, t->h.minor);
	make_node(t->disk_node, S_IFBLK, t->h.disk_major, t->h.minor);
	t->fd = open(t->ring_node, O_RDWR | O_CLOEXEC);
	CHECK(t->fd >= 0, "%s: %s", t->ring_node, strerror(errno));
}

void *tap_mmap(struct tap *t)
{
	return mmap(NULL, B2_MAP_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0);
}

void tap_map(struct tap *t)
{
	t->ring = tap_mmap(t);
	CHECK(t->ring != MAP_FAILED, "%s", strerror(errno));
}

int tap_create(struct tap *t, uint64_t sectors, unsigned long flags)
{
	struct b2_params p = {
		.capacity = sectors,
		.sector_size = B2_SECTOR,
		.padding = 0xdeadbeef,
		.flags = flags,
		.phys_block_size = flags & B2_F_PSZ ? 4096 : 0x5a5a5a5a,
		.phys_block_offset = flags & B2_F_PSZ ? 0 : 0x5a5a5a5a,
		.trim_block_size = flags & B2_F_TRIM ? 4096 : 0x5a5a5a5a,
		.trim_block_offset = flags & B2_F_TRIM ? 0 : 0x5a5a5a5a,
	};

	return ioctl(t->fd, B2_CREATE, &p);
}

static bool drop_disk(void *tap)
{
	struct tap *t = tap;
	struct b2_ring *ring = t->ring;

	while (ring->rsp_prod != __atomic_load_n(&ring->req_prod, __ATOMIC_ACQUIRE)) {
		union b2_entry *e = &ring->entry[ring->rsp_prod % B2_RING_SIZE];

		e->rsp = (struct b2_response) { .id = e->req.id, .op = e->req.op };
		__atomic_store_n(&ring->rsp_prod, ring->rsp_prod + 1, __ATOMIC_RELEASE);
	}
	CHECK_OK(ioctl(t->fd, B2_KICK));
	if (!ioctl(t->fd, B2_REMOVE))
		return true;
	CHECK(errno == EBUSY, "%s", strerror(errno));
	return false;
}

void tap_drop_disk(struct tap *t)
{
	CHECK(wait_until(drop_disk, t, 5), "the disk stays busy");
}

void tap_close(struct tap *t)
{
	if (t->ring)
		CHECK_OK(munmap(t->ring, B2_MAP_BYTES));
	if (t->fd >= 0)
		CHECK_OK(close(t->fd));
	t->ring = NULL;
	t->fd = -1;
}

int tap_free(unsigned int minor)
{
	int ctl = control_open();
	int rc = ioctl(ctl, B2_FREE_TAP, (unsigned long)minor);
	int err = errno;

	close(ctl);
	errno = err;
	return rc;
}

void *tap_page(const struct tap *t, unsigned int slot, unsigned int seg)
{
	return (char *)t->ring + (size_t)(1 + slot * B2_SEGMENTS + seg) * B2_PAGE;
}

void nap_ms(unsigned int ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

bool wait_until(bool (*is_so)(void *), void *arg, double seconds)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		if (is_so(arg))
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if ((now.tv_sec - start.tv_sec) + (now.tv_nsec - start.tv_nsec) / 1e9 >
		    seconds * ktap_scale())
			return false;
		nap_ms(2);
	}
}

const char *sysfs_read(const char *dir, const char *file, char *buf, size_t size)
{
	char path[256];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return NULL;
	buf[n] = 0;
	if (n && buf[n - 1] == '\n')
		buf[n - 1] = 0;
	return buf;
}

int sysfs_write(const char *dir, const char *file, const char *value)
{
	char path[256];
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = write(fd, value, strlen(value));
	err = errno;
	close(fd);
	errno = err;
	return n < 0 ? -1 : 0;
}

bool tap_exists(void *tap)
{
	return access(((struct tap *)tap)->sysfs, F_OK) == 0;
}

bool tap_is_gone(void *tap)
{
	return !tap_exists(tap);
}

bool disk_exists(void *tap)
{
	struct tap *t = tap;
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", t->h.disk_major, t->h.minor);
	return access(path, F_OK) == 0;
}

bool disk_is_gone(void *tap)
{
	return !disk_exists(tap);
}

pid_t child_start(int (*fn)(void *arg), void *arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK_OK(pid);
	if (pid == 0) {
		close_range(3, ~0U, 0);
		_exit(fn(arg));
	}
	return pid;
}

static bool is_settled(void *pid)
{
	char dir[32], stat[256], *state;

	snprintf(dir, sizeof(dir), "/proc/%d", *(pid_t *)pid);
	if (!sysfs_read(dir, "stat", stat, sizeof(stat)))
		return true;
	state = strrchr(stat, ')');
	return state && strchr("SDZ", state[2]);
}

void child_settle(pid_t pid)
{
	CHECK(wait_until(is_settled, &pid, 20), "it goes on running");
	nap_ms(20);
	CHECK(wait_until(is_settled, &pid, 20), "it goes on running");
}

bool child_is_done(pid_t pid, int *result)
{
	int status;

	if (waitpid(pid, &status, WNOHANG) != pid)
		return false;
	CHECK(WIFEXITED(status), "child killed by %s", strsignal(WTERMSIG(status)));
	*result = WEXITSTATUS(status);
	return true;
}

int child_wait(pid_t pid)
{
	int status;

	CHECK_OK(waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status), "child killed by %s", strsignal(WTERMSIG(status)));
	return WEXITSTATUS(status);
}

int in_child(int (*fn)(void *arg), void *arg)
{
	return child_wait(child_start(fn, arg));
}

void *shared_alloc(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

int do_disk_io(void *disk_io)
{
	struct disk_io *io = disk_io;
	int fd = open(io->node, (io->write ? O_RDWR : O_RDONLY) | io->flags);
	ssize_t n;

	if (fd < 0)
		return errno;
	n = io->write ? pwrite(fd, io->buf, io->len, io->offset)
		      : pread(fd, io->buf, io->len, io->offset);
	if (n < 0)
		return errno;
	if (io->sync && fdatasync(fd))
		return errno;
	return n == (ssize_t)io->len ? 0 : ENODATA;
}
