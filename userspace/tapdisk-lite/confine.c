// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "confine.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/blktap.h>
#include <linux/fs.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

/* Whatever their arguments. */
static const int allowed[] = {
	/* the loop, the ring, images */
	SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
	SCMP_SYS(io_submit), SCMP_SYS(io_getevents), SCMP_SYS(io_pgetevents),
	SCMP_SYS(io_destroy), SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(writev),
	SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(fdatasync), SCMP_SYS(fsync),
	SCMP_SYS(fallocate), SCMP_SYS(ftruncate), SCMP_SYS(ftruncate64),
	/* finding and opening them */
	SCMP_SYS(stat), SCMP_SYS(stat64), SCMP_SYS(fstat), SCMP_SYS(fstat64),
	SCMP_SYS(lstat), SCMP_SYS(lstat64), SCMP_SYS(newfstatat), SCMP_SYS(fstatat64),
	SCMP_SYS(statx), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(getdents),
	SCMP_SYS(getdents64), SCMP_SYS(lseek), SCMP_SYS(_llseek), SCMP_SYS(close),
	/* memory, time, the log, the end */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
	SCMP_SYS(memfd_create), SCMP_SYS(futex), SCMP_SYS(futex_time64),
	SCMP_SYS(sysinfo), SCMP_SYS(getrandom), SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_gettime64), SCMP_SYS(gettimeofday),
	SCMP_SYS(time), SCMP_SYS(connect), SCMP_SYS(send), SCMP_SYS(sendto),
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigaction), SCMP_SYS(restart_syscall),
	SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* Flags of open(); what O_TMPFILE has of O_DIRECTORY's says nothing. */
#define NEW_FILE	(O_CREAT | (O_TMPFILE & ~O_DIRECTORY))

/* With some values of an argument. */
struct rule {
	int call;
	unsigned int arg;
	uint64_t mask;
	uint64_t value;
};

static const struct rule rules[] = {
	/* Files that exist. */
	{ SCMP_SYS(open), 1, NEW_FILE, 0 },
	{ SCMP_SYS(openat), 2, NEW_FILE, 0 },
	/* Memory that holds no code. */
	{ SCMP_SYS(mmap), 2, PROT_EXEC, 0 },
	{ SCMP_SYS(mmap2), 2, PROT_EXEC, 0 },
	{ SCMP_SYS(mprotect), 2, PROT_EXEC, 0 },
	/* The module's own requests: 0xb0 to 0xbf of 'T', whatever their sizes. */
	{ SCMP_SYS(ioctl), 1, 0xfff0, _IOC_TYPE(BLKTAP_IOCTL_ADD_FILE) << 8 | 0xb0 },
};

static const unsigned int ioctls[] = {
	BLKTAP_IOCTL_RESPOND, BLKTAP_IOCTL_CREATE_DEVICE, BLKTAP_IOCTL_SET_PARAMS,
	BLKTAP_IOCTL_REMOVE_DEVICE,
	BLKGETSIZE64, BLKSSZGET, BLKPBSZGET, BLKDISCARD,
};

static const unsigned int fcntls[] = {
	F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_OFD_GETLK, F_OFD_SETLK,
};

/* One that the architecture does not have is no matter. */
static int add(scmp_filter_ctx filter, int call, unsigned int nr, const struct scmp_arg_cmp *args)
{
	int err = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, nr, args);

	return err == -EDOM ? 0 : err;
}

static int add_rule(scmp_filter_ctx filter, const struct rule *rule)
{
	struct scmp_arg_cmp arg = SCMP_CMP(rule->arg, SCMP_CMP_MASKED_EQ, rule->mask, rule->value);

	return add(filter, rule->call, 1, &arg);
}

/* Requests of ioctl() or fcntl(). */
static int add_requests(scmp_filter_ctx filter, int call, const unsigned int *requests, size_t n)
{
	int err = 0;

	while (n-- && !err) {
		struct rule rule = { call, 1, UINT32_MAX, requests[n] };

		err = add_rule(filter, &rule);
	}
	return err;
}

/* To the log, should it be started anew: not to those who would take orders from root. */
static int add_socket(scmp_filter_ctx filter)
{
	const uint64_t type = ~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK) & UINT32_MAX;
	struct scmp_arg_cmp args[] = {
		SCMP_CMP(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, AF_UNIX),
		SCMP_CMP(1, SCMP_CMP_MASKED_EQ, type, SOCK_DGRAM),
	};

	return add(filter, SCMP_SYS(socket), ARRAY_SIZE(args), args);
}

/* abort() */
static int add_abort(scmp_filter_ctx filter)
{
	struct rule rule = { SCMP_SYS(tgkill), 0, UINT32_MAX, (uint64_t)getpid() };

	return add_rule(filter, &rule);
}

static int fill(scmp_filter_ctx filter)
{
	int err = add_socket(filter);

	if (!err)
		err = add_abort(filter);
	if (!err)
		err = add_requests(filter, SCMP_SYS(ioctl), ioctls, ARRAY_SIZE(ioctls));
	if (!err)
		err = add_requests(filter, SCMP_SYS(fcntl), fcntls, ARRAY_SIZE(fcntls));
	if (!err)
		err = add_requests(filter, SCMP_SYS(fcntl64), fcntls, ARRAY_SIZE(fcntls));
	for (size_t i = 0; i < ARRAY_SIZE(rules) && !err; i++)
		err = add_rule(filter, &rules[i]);
	for (size_t i = 0; i < ARRAY_SIZE(allowed) && !err; i++)
		err = add(filter, allowed[i], 0, NULL);
	return err;
}

static int filter_calls(struct vhd_error *error)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int err;

	if (!filter)
		return deny(error, ENOMEM, "seccomp: out of memory");
	/* A binary tree: what the ring's ioctl costs. Logging is for administrators. */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
	err = fill(filter);
	if (err) {
		seccomp_release(filter);
		return deny(error, -err, "seccomp: building the filter: %s", strerror(-err));
	}

	err = seccomp_load(filter);
	seccomp_release(filter);
	if (err)
		syslog(LOG_WARNING, "seccomp: %s: all system calls stay allowed", strerror(-err));
	return 0;
}

static int drop_capabilities(struct vhd_error *error)
{
	bool bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	bool keep = capng_have_capability(CAPNG_PERMITTED, CAP_DAC_OVERRIDE);

	if (bounding && capng_lock())
		return deny(error, EPERM, "locking the security bits: %m");
	capng_clear(CAPNG_SELECT_ALL);
	if (keep)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_DAC_OVERRIDE);
	if (capng_apply(bounding ? CAPNG_SELECT_ALL : CAPNG_SELECT_CAPS))
		return deny(error, EPERM, "dropping capabilities: %m");
	return 0;
}

int confine(struct vhd_error *error)
{
	int err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return deny(error, errno, "PR_SET_NO_NEW_PRIVS: %m");
	err = confine_paths(error);
	if (!err)
		err = drop_capabilities(error);
	return err ? err : filter_calls(error);
}
