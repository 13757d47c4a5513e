// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a process that has called confine() can't do any more, and that it can do
 * what a tapdisk is for. Each case is a child that confines itself.
 */
#define _GNU_SOURCE
#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../confine.h"
#include "guest.h"

#define SECTORS		(5ULL * 4096)

static struct guest *guest;
static char name[PATH_MAX + 16];

/* Runs a case in a confined child. */
static void confined(void (*run)(void))
{
	struct vhd_error error;
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* A tapdisk has its queue when it confines itself. */
		guest = guest_new(SECTORS, test_seed());
		if (confine(&error)) {
			print_error("%s\n", error.text);
			_exit(2);
		}
		run();
		fflush(NULL);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void must(bool good, const char *what, int err)
{
	if (good)
		return;
	print_error("%s: %s\n", what, strerror(err));
	fflush(NULL);
	_exit(3);
}

/* The call is refused by the filter, whoever calls. */
#define REFUSED(call) do {						\
	errno = 0;							\
	must((long)(call) == -1 && errno == EPERM, #call, errno);	\
} while (0)

static void no_processes(void)
{
	char *const argv[] = { "true", NULL };

	REFUSED(execv("/bin/true", argv));
	REFUSED(fork());
	REFUSED(syscall(SYS_clone3, NULL, 0));
	REFUSED(kill(getpid(), 0));
	REFUSED(kill(getppid(), SIGCONT));
	REFUSED(syscall(SYS_tgkill, getppid(), getppid(), 0));
	REFUSED(ptrace(PTRACE_ATTACH, getppid(), 0, 0));
	REFUSED(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
	REFUSED(syscall(SYS_pidfd_open, getppid(), 0));
	REFUSED(fcntl(0, F_SETOWN, getppid()));
}

static void no_privileges(void)
{
	REFUSED(setuid(0));
	REFUSED(setgid(0));
	REFUSED(syscall(SYS_capset, NULL, NULL));
	REFUSED(prctl(PR_SET_KEEPCAPS, 1));
	REFUSED(unshare(CLONE_NEWUSER));
	REFUSED(setns(0, 0));
	REFUSED(chroot("/"));
	REFUSED(mount("none", "/mnt", "tmpfs", 0, NULL));
	REFUSED(umount("/"));
	REFUSED(syscall(SYS_bpf, 0, NULL, 0));
	REFUSED(syscall(SYS_finit_module, 0, "", 0));
	REFUSED(syscall(SYS_io_uring_setup, 1, NULL));
	REFUSED(syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0));
	REFUSED(syscall(SYS_keyctl, 0));
	REFUSED(syscall(SYS_userfaultfd, 0));
	REFUSED(ioctl(0, TIOCSTI, ""));
	REFUSED(ioctl(0, 0x1261));	/* BLKFLSBUF */
}

static void no_sockets(void)
{
	REFUSED(socket(AF_INET, SOCK_STREAM, 0));
	REFUSED(socket(AF_INET6, SOCK_DGRAM, 0));
	REFUSED(socket(AF_NETLINK, SOCK_RAW, 0));
	REFUSED(socket(AF_PACKET, SOCK_RAW, 0));
	REFUSED(socket(AF_UNIX, SOCK_STREAM, 0));
	REFUSED(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
	REFUSED(listen(0, 1));
	REFUSED(bind(0, NULL, 0));
	must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0, "a socket for the log", errno);
}

static void no_new_files(void)
{
	REFUSED(open("new", O_CREAT | O_WRONLY, 0600));
	REFUSED(open(".", O_TMPFILE | O_WRONLY, 0600));
	REFUSED(creat("new", 0600));
	REFUSED(mkdir("new", 0700));
	REFUSED(mknod("new", S_IFREG, 0));
	REFUSED(symlink("0", "new"));
	REFUSED(link("0", "new"));
	REFUSED(rename("0", "new"));
	REFUSED(unlink("0"));
	REFUSED(chmod("0", 0777));
	REFUSED(chown("0", 1, 1));
	REFUSED(truncate("0", 0));
	REFUSED(syscall(SYS_openat2, AT_FDCWD, "0", NULL, 0));
}

/* To see what has an image that is in use: a tap, or a process. */
static void folders_are_read(void)
{
	DIR *dir = opendir("/proc");

	must(dir && readdir(dir), "/proc", errno);
	closedir(dir);
}

static void no_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(page != MAP_FAILED, "memory", errno);
	REFUSED(mprotect(page, 4096, PROT_READ | PROT_EXEC));
	REFUSED(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void status_says(const char *field, const char *value)
{
	FILE *file = fopen("/proc/self/status", "re");
	size_t len = strlen(field);
	char line[256];
	bool good = false;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, field, len) && !strcmp(line + len, value))
			good = true;
	must(good, field, 0);
	fclose(file);
}

static void few_capabilities(void)
{
	bool all = !geteuid();	/* that could be dropped */

	status_says("NoNewPrivs:", "\t1\n");
	status_says("Seccomp:", "\t2\n");
	capng_get_caps_process();
	for (unsigned int cap = 0; cap <= CAP_LAST_CAP; cap++) {
		const char *what = capng_capability_to_name(cap);
		bool kept = cap == CAP_DAC_OVERRIDE;

		must(kept || !capng_have_capability(CAPNG_EFFECTIVE, cap), what, 0);
		must(kept || !capng_have_capability(CAPNG_PERMITTED, cap), what, 0);
		must(!capng_have_capability(CAPNG_INHERITABLE, cap), what, 0);
		must(!all || !capng_have_capability(CAPNG_BOUNDING_SET, cap), what, 0);
	}
}

/* The whole of it: open a chain, read, write, allocate, trim, flush, close. */
static void an_image_is_served(void)
{
	for (int i = 0; i < 2; i++) {
		guest_open(guest, name, 0);
		guest_run(guest, 200, 60);
		guest_verify(guest);
		guest_close(guest);
	}
	strcat(name, "/nothing");
	must(image_open(&guest->image, &guest->aio, name, 0, &(struct vhd_error){ "" }) ==
	     -ENOTDIR, "an image that is not there", 0);
}

static void prepare(const char *dir)
{
	snprintf(name, sizeof(name), "vhd:%s/1", dir);
	make_dynamic("0", SECTORS);
	make_child("1", "0");
}

#define CASE(name)				\
	static void test_##name(void **state)	\
	{					\
		prepare(*state);		\
		confined(name);			\
	}

CASE(no_processes)
CASE(no_privileges)
CASE(no_sockets)
CASE(no_new_files)
CASE(folders_are_read)
CASE(no_code)
CASE(few_capabilities)
CASE(an_image_is_served)

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(test_no_processes),
		unit(test_no_privileges),
		unit(test_no_sockets),
		unit(test_no_new_files),
		unit(test_folders_are_read),
		unit(test_no_code),
		unit(test_few_capabilities),
		unit(test_an_image_is_served),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
