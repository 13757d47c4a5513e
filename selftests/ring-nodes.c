// SPDX-License-Identifier: GPL-2.0-only
/* Nodes and the control node's ioctls: names, majors, minors, lifetime. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lib/state.h"
#include "lib/tap.h"

#define MANY_TAPS 40

/* The number before @name in a file of such lines; @section: Character, Block or NULL. */
static int number_of(const char *file, const char *section, const char *name)
{
	char line[128], word[64];
	bool in_section = !section;
	int nr, found = -1;
	FILE *f = fopen(file, "r");

	CHECK(f, "%s", file);
	while (fgets(line, sizeof(line), f)) {
		if (section && strstr(line, "devices:"))
			in_section = strstr(line, section);
		else if (in_section && sscanf(line, "%d %63s", &nr, word) == 2 &&
			 !strcmp(word, name))
			found = nr;
	}
	fclose(f);
	return found;
}

static void misc_device_is_named_blktap_control(void)
{
	struct stat st;
	int minor = number_of("/proc/misc", NULL, "blktap-control");

	CHECK(minor >= 0, "blktap-control is not in /proc/misc");
	CHECK_OK(stat(CONTROL_NODE, &st));
	CHECK(S_ISCHR(st.st_mode));
	CHECK(st.st_rdev == makedev(10, minor));
	CHECK((st.st_mode & 0777) == 0600 && !st.st_uid, "mode %o", st.st_mode);
}

static void majors_are_those_of_proc_devices(void)
{
	struct tap t;

	tap_alloc(&t);
	CHECK((int)t.h.ring_major == number_of("/proc/devices", "Character", "blktap2"),
	      "%u", t.h.ring_major);
	CHECK((int)t.h.disk_major == number_of("/proc/devices", "Block", "tapdev"),
	      "%u", t.h.disk_major);
	tap_close(&t);
	CHECK_OK(tap_free(t.h.minor));
	CHECK(tap_is_gone(&t));
}

static void ring_node_comes_and_goes_with_the_tap(void)
{
	char node[64];
	struct stat st;
	struct tap t;

	tap_alloc(&t);
	snprintf(node, sizeof(node), "/dev/xen/blktap-2/blktap%u", t.h.minor);
	CHECK_OK(stat(node, &st));
	CHECK(S_ISCHR(st.st_mode) && st.st_rdev == makedev(t.h.ring_major, t.h.minor));
	CHECK((st.st_mode & 0777) == 0600 && !st.st_uid, "mode %o", st.st_mode);
	tap_close(&t);
	CHECK_OK(tap_free(t.h.minor));
	CHECK_ERRNO(stat(node, &st), ENOENT);
}

/* Old userspace unlinks what it finds and makes its own nodes in that place. */
static void nodes_may_be_unlinked_and_remade(void)
{
	char node[64];
	struct stat st;
	struct tap t;
	int fd;

	tap_alloc(&t);
	snprintf(node, sizeof(node), "/dev/xen/blktap-2/blktap%u", t.h.minor);
	CHECK_OK(unlink(node));
	CHECK_OK(mknod(node, S_IFCHR | 0600, makedev(t.h.ring_major, t.h.minor)));
	fd = open(node, O_RDWR);
	CHECK_OK(fd);
	close(fd);
	tap_close(&t);
	CHECK_OK(tap_free(t.h.minor));
	if (!stat(node, &st))
		unlink(node);
	CHECK(tap_is_gone(&t));
}

static void control_node_may_be_remade(void)
{
	int minor = number_of("/proc/misc", NULL, "blktap-control");
	struct b2_handle h;
	int fd;

	CHECK_OK(mknod("/tmp/blktap-test.control", S_IFCHR | 0600, makedev(10, minor)));
	fd = open("/tmp/blktap-test.control", O_RDONLY);
	CHECK_OK(fd);
	CHECK_OK(ioctl(fd, B2_ALLOC_TAP, &h));
	CHECK_OK(ioctl(fd, B2_FREE_TAP, (unsigned long)h.minor));
	close(fd);
}

static void freed_minors_are_unknown(void)
{
	static const unsigned long minors[] = {
		0, 1, 1023, 1024, 0xfffff, 0x100000, 0x7fffffff, 0x80000000, 0xffffffff,
		0x100000000, 0x8000000000000000, -1UL, -2UL,
	};
	int fd = control_open();

	for (size_t i = 0; i < sizeof(minors) / sizeof(minors[0]); i++) {
		errno = 0;
		CHECK(ioctl(fd, B2_FREE_TAP, minors[i]) == -1, "minor %#lx", minors[i]);
		CHECK(errno == ENOENT || errno == ENODEV || errno == EINVAL, "minor %#lx: %s",
		      minors[i], strerror(errno));
	}
	close(fd);
}

static void a_minor_is_freed_once(void)
{
	struct tap t;

	tap_alloc(&t);
	tap_close(&t);
	CHECK_OK(tap_free(t.h.minor));
	CHECK_FAILS(tap_free(t.h.minor));
}

static void alloc_to_a_bad_pointer_leaves_no_tap(void)
{
	void *hole = mmap(NULL, B2_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char before[4096], after[4096];
	int fd = control_open();

	sysfs_read(CLASS_DIR, "devices", before, sizeof(before));
	CHECK_ERRNO(ioctl(fd, B2_ALLOC_TAP, NULL), EFAULT);
	CHECK_ERRNO(ioctl(fd, B2_ALLOC_TAP, hole), EFAULT);
	CHECK_ERRNO(ioctl(fd, B2_ALLOC_TAP, -1UL), EFAULT);
	sysfs_read(CLASS_DIR, "devices", after, sizeof(after));
	CHECK(!strcmp(before, after), "before '%s', after '%s'", before, after);
	close(fd);
}

static void unknown_ioctls_are_enotty(void)
{
	struct tap t;
	int fd = control_open();

	CHECK_ERRNO(ioctl(fd, 0, 0), ENOTTY);
	CHECK_ERRNO(ioctl(fd, 199, 0), ENOTTY);
	CHECK_ERRNO(ioctl(fd, 202, 0), ENOTTY);
	CHECK_ERRNO(ioctl(fd, 0xffffffff, 0), ENOTTY);
	close(fd);
	tap_alloc(&t);
	tap_map(&t);
	CHECK_ERRNO(ioctl(t.fd, 0, 0), ENOTTY);
	CHECK_ERRNO(ioctl(t.fd, 3, 0), ENOTTY);
	CHECK_ERRNO(ioctl(t.fd, 200, 0), ENOTTY);
	CHECK_ERRNO(ioctl(t.fd, 209, 0), ENOTTY);
	tap_close(&t);
	CHECK_OK(tap_free(t.h.minor));
}

static void many_taps_have_distinct_minors(void)
{
	struct tap t[MANY_TAPS];

	for (int i = 0; i < MANY_TAPS; i++) {
		tap_alloc(&t[i]);
		for (int j = 0; j < i; j++)
			CHECK(t[i].h.minor != t[j].h.minor);
	}
	for (int i = 0; i < MANY_TAPS; i++) {
		tap_close(&t[i]);
		CHECK_OK(tap_free(t[i].h.minor));
	}
}

static void a_ring_without_tap_is_enodev(void)
{
	struct tap t;
	char node[64];

	tap_alloc(&t);
	tap_close(&t);
	CHECK_OK(tap_free(t.h.minor));
	snprintf(node, sizeof(node), "/tmp/blktap-test.ring%u", t.h.minor);
	CHECK(open(node, O_RDWR) == -1);
	CHECK(errno == ENODEV || errno == ENXIO || errno == ENOENT, "%s", strerror(errno));
}

/* FREE_TAP of a tap whose ring is open but not mapped must not pull it away. */
static void free_with_the_ring_open(void)
{
	struct pollfd p = { .events = POLLIN };
	struct tap t;
	int rc;

	tap_alloc(&t);
	rc = tap_free(t.h.minor);
	CHECK(!rc || errno == EBUSY, "%s", strerror(errno));
	p.fd = t.fd;
	poll(&p, 1, 10);
	ioctl(t.fd, B2_KICK);
	tap_mmap(&t);
	ioctl(t.fd, B2_CREATE, NULL);
	close(t.fd);
	t.fd = -1;
	if (rc)
		CHECK_OK(tap_free(t.h.minor));
	CHECK(wait_until(tap_is_gone, &t, 5));
}

/* FREE_TAP of a mapped tap posts CLOSE and returns; the tap goes with the ring. */
static void free_of_a_mapped_tap_posts_close(void)
{
	struct pollfd p = { .events = POLLIN };
	struct tap t;

	tap_alloc(&t);
	tap_map(&t);
	CHECK_OK(tap_free(t.h.minor));
	p.fd = t.fd;
	CHECK(poll(&p, 1, 5000) == 1 && (p.revents & POLLIN), "revents %#x", p.revents);
	CHECK(t.ring->msg == B2_MSG_CLOSE, "message %u", t.ring->msg);
	CHECK(tap_exists(&t), "the tap went before its tapdisk");
	tap_close(&t);
	CHECK(wait_until(tap_is_gone, &t, 5));
}

static int free_as_nobody(void *minor)
{
	struct b2_handle h;
	int fd, rc = 0;

	/* The mode lets in only root; a file descriptor handed over is another matter. */
	CHECK_OK(setuid(65534));
	fd = open(CONTROL_NODE, O_RDONLY);
	if (fd < 0)
		return errno;
	if (ioctl(fd, B2_ALLOC_TAP, &h) == 0 ||
	    ioctl(fd, B2_FREE_TAP, *(unsigned long *)minor) == 0)
		rc = ENOTRECOVERABLE;
	close(fd);
	return rc;
}

static void others_can_not_open_the_control_node(void)
{
	unsigned long minor = 0;

	CHECK(in_child(free_as_nobody, &minor) == EACCES);
}

/* As one whose descriptor root has opened. */
static int use_as_nobody(void *unused)
{
	struct b2_handle h;
	int fd = open(CONTROL_NODE, O_RDONLY);

	(void)unused;
	CHECK(fd >= 0);
	CHECK_OK(setuid(65534));
	CHECK_ERRNO(ioctl(fd, B2_ALLOC_TAP, &h), EPERM);
	CHECK_ERRNO(ioctl(fd, B2_FREE_TAP, 0UL), EPERM);
	return 0;
}

static void a_control_node_handed_over_is_of_no_use(void)
{
	CHECK(in_child(use_as_nobody, NULL) == 0);
}

static const struct ktap_case cases[] = {
	KTAP_CASE(misc_device_is_named_blktap_control),
	KTAP_CASE(majors_are_those_of_proc_devices),
	KTAP_CASE(ring_node_comes_and_goes_with_the_tap),
	KTAP_CASE(nodes_may_be_unlinked_and_remade),
	KTAP_CASE(control_node_may_be_remade),
	KTAP_CASE(freed_minors_are_unknown),
	KTAP_CASE(a_minor_is_freed_once),
	KTAP_CASE(alloc_to_a_bad_pointer_leaves_no_tap),
	KTAP_CASE(unknown_ioctls_are_enotty),
	KTAP_CASE(many_taps_have_distinct_minors),
	KTAP_CASE(a_ring_without_tap_is_enodev),
	KTAP_CASE(free_with_the_ring_open),
	KTAP_CASE(free_of_a_mapped_tap_posts_close),
	KTAP_CASE(others_can_not_open_the_control_node),
	KTAP_CASE(a_control_node_handed_over_is_of_no_use),
};

KTAP_MAIN(cases, &state_checks)
