// SPDX-License-Identifier: GPL-2.0-only
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "nl.h"
#include "state.h"

#define ROUND_SECONDS	10	/* a round that takes longer is killed, which is no error */

uint64_t fuzz_u64(struct fuzz *f)
{
	uint64_t z = f->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

unsigned int fuzz_below(struct fuzz *f, unsigned int n)
{
	return fuzz_u64(f) % n;
}

bool fuzz_once_in(struct fuzz *f, unsigned int n)
{
	return !fuzz_below(f, n);
}

uint64_t fuzz_value(struct fuzz *f)
{
	uint64_t value = 1ULL << fuzz_below(f, 64);

	switch (fuzz_below(f, 6)) {
	case 0:
		return fuzz_below(f, 64);
	case 1:
		return value;
	case 2:
		return value - 1;
	case 3:
		return -value;
	case 4:
		return value * 512 - fuzz_below(f, 3);
	default:
		return fuzz_u64(f);
	}
}

void fuzz_fill(struct fuzz *f, void *buf, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)buf)[i] = fuzz_u64(f);
}

void fuzz_scratch(struct fuzz *f, void *buf, size_t size)
{
	for (unsigned int n = 1 + fuzz_below(f, 4); n; n--)
		((volatile uint8_t *)buf)[fuzz_below(f, size)] = fuzz_u64(f);
}

/* --- ioctls -------------------------------------------------------------------- */

unsigned int fuzz_ioctl_cmd(struct fuzz *f)
{
	/* module.mk takes them out of the header: none can be forgotten. */
	static const unsigned int cmds[] = {
#include "ioctls.inc"
	};

	return cmds[fuzz_below(f, sizeof(cmds) / sizeof(cmds[0]))];
}

static void good_params(struct fuzz *f, struct blktap_params *p)
{
	*p = (struct blktap_params) {
		.capacity = FUZZ_SECTORS, .sector_size = B2_SECTOR,
		.flags = fuzz_u64(f), .phys_block_size = 4096,
		.trim_block_size = 4096, .block_size = 1U << (12 + fuzz_below(f, 10)),
	};
}

static void good_arg(struct fuzz *f, unsigned int cmd, int fd, union fuzz_arg *arg)
{
	switch (cmd) {
	case BLKTAP_IOCTL_REGISTER:
		arg->reg.version = BLKTAP_CONTROL_VERSION;
		break;
	case BLKTAP_IOCTL_CREATE_DEVICE:
		good_params(f, &arg->params);
		break;
	case BLKTAP_IOCTL_CREATE_DEVICE_V1:
	case BLKTAP_IOCTL_SET_PARAMS:
		arg->v1.capacity = FUZZ_SECTORS;
		arg->v1.sector_size = B2_SECTOR;
		break;
	case BLKTAP_IOCTL_ADD_FILE:
		arg->file.fd = fd;
		arg->file.flags = fuzz_below(f, 2) * BLKTAP_FILE_WRITE;
		break;
	case BLKTAP_IOCTL_KEEP:
		arg->keep.fd = fuzz_once_in(f, 4) ? -1 : fd;
		break;
	case BLKTAP_IOCTL_RECALL:
		arg->recall.sector = fuzz_below(f, FUZZ_SECTORS);
		arg->recall.nr_sectors = 1 + fuzz_below(f, FUZZ_SECTORS);
		break;
	default:
		for (size_t i = 0; i < sizeof(*arg) / 8; i++)
			arg->words[i] = fuzz_once_in(f, 4) ? fuzz_value(f) : 0;
	}
}

/* A number that is no ioctl's may say any size. */
static size_t arg_words(unsigned int cmd)
{
	size_t size = _IOC_SIZE(cmd) ?: sizeof(struct blktap_params_v1);

	if (cmd == BLKTAP_IOCTL_CREATE_DEVICE)
		size = sizeof(struct blktap_params);
	if (size > sizeof(union fuzz_arg))
		size = sizeof(union fuzz_arg);
	return size / 8 ?: 1;
}

void fuzz_ioctl(struct fuzz *f, int node, unsigned int cmd, int fd)
{
	union fuzz_arg arg = { 0 };

	if (cmd == BLKTAP_IOCTL_RESUME) {
		ioctl(node, cmd, fuzz_once_in(f, 2) ? 0 : fuzz_value(f));
		return;
	}
	good_arg(f, cmd, fd, &arg);
	if (!fuzz_once_in(f, 3))
		arg.words[fuzz_below(f, arg_words(cmd))] = fuzz_value(f);
	/* What was kept is a new file of the caller's. */
	if (!ioctl(node, cmd, &arg) && cmd == BLKTAP_IOCTL_KEPT)
		close(arg.keep.fd);
}

static __thread void *fault_to;	/* sigjmp_buf of the thread's fuzz_touch() */

static void on_fault(int sig)
{
	(void)sig;
	if (!fault_to)
		_exit(0);
	siglongjmp(*(sigjmp_buf *)fault_to, 1);
}

void fuzz_touch(void (*fn)(void *arg), void *arg)
{
	sigjmp_buf here;

	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	fault_to = &here;
	if (!sigsetjmp(here, 1))
		fn(arg);
	fault_to = NULL;
}

/* --- users of the disk --------------------------------------------------------- */

static void use_once(struct fuzz *f, int fd, char *buf)
{
	size_t len = (size_t)(1 + fuzz_below(f, fuzz_once_in(f, 8) ? 300 : 16)) * B2_SECTOR;
	off_t at = (off_t)fuzz_below(f, FUZZ_SECTORS) * B2_SECTOR;
	uint64_t range[2] = { at, len };

	switch (fuzz_below(f, 16)) {
	case 0:
		fdatasync(fd);
		break;
	case 1:
		ioctl(fd, BLKDISCARD, range);
		break;
	case 2:
		ioctl(fd, BLKZEROOUT, range);
		break;
	case 3 ... 9:
		(void)!pwrite(fd, buf, len, at);
		break;
	default:
		(void)!pread(fd, buf, len, at);
	}
}

struct user {
	struct fuzz *round;	/* whose random numbers are the fuzzer's, and change */
	uint64_t seed;
};

/* Errors are to be expected: the disk comes, fails and goes. */
static int use_disk(void *arg)
{
	struct user *user = arg;
	struct fuzz f = { .state = user->seed, .tap = user->round->tap };
	_Atomic bool *stop = &user->round->stop;
	char *buf = shared_alloc(512 * B2_SECTOR);

	while (!*stop) {
		int fd = open(f.tap.disk_node, O_RDWR | (fuzz_once_in(&f, 4) ? 0 : O_DIRECT));

		for (int n = fuzz_below(&f, 200); fd >= 0 && n && !*stop; n--)
			use_once(&f, fd, buf);
		if (fd >= 0)
			close(fd);
		else
			nap_ms(1);
	}
	return 0;
}

/* --- rounds -------------------------------------------------------------------- */

static long env_number(const char *name, long otherwise)
{
	const char *s = getenv(name);

	return s && *s ? atol(s) : otherwise;
}

static double case_seconds(void)
{
	return (double)env_number("FUZZ_SECONDS", 40) / FUZZ_CASES;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Set by the caller before the fork. */
static void (*round_fn)(struct fuzz *f);

static int run_round(void *fuzz)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	round_fn(fuzz);
	return 0;
}

static void wait_round(pid_t pid)
{
	double end = now() + ROUND_SECONDS;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (now() > end)
			kill(pid, SIGKILL);
		nap_ms(1);
	}
	/* Else it would fuzz less than it says. A fault where its ring was is caught. */
	CHECK(!WIFSIGNALED(status) || WTERMSIG(status) == SIGKILL, "the fuzzer itself: %s",
	      strsignal(WTERMSIG(status)));
	CHECK(!WIFEXITED(status) || !WEXITSTATUS(status), "the fuzzer itself failed");
}

/* A disk whose tapdisk has gone waits for another one. Some operation may be under way still. */
static bool free_tap(void *arg)
{
	struct tap *tap = arg;

	if (!tap_is_gone(tap))
		tap_close_force(tap->h.minor);
	return tap_is_gone(tap) || (tap_free(tap->h.minor) && errno != EBUSY) ||
	       tap_is_gone(tap);
}

static void do_round(uint64_t seed, unsigned int users)
{
	struct fuzz *f = shared_alloc(sizeof(*f));
	pid_t fuzzer, user[FUZZ_IO];
	struct tap tap;

	f->state = seed;
	tap_alloc(&tap);
	close(tap.fd);
	tap.fd = -1;
	f->tap = tap;
	fuzzer = child_start(run_round, f);
	for (unsigned int i = 0; i < users; i++) {
		struct user u = { .round = f, .seed = seed + 1 + i };

		user[i] = child_start(use_disk, &u);
	}
	wait_round(fuzzer);
	f->stop = true;
	CHECK(wait_until(free_tap, &tap, 20), "tap %u can't be freed", tap.h.minor);
	for (unsigned int i = 0; i < users; i++)
		child_wait(user[i]);
	CHECK(wait_until(tap_is_gone, &tap, 10), "tap %u is there still", tap.h.minor);
	CHECK(wait_until(disk_is_gone, &tap, 10), "its disk is there still");
	unlink(tap.ring_node);
	unlink(tap.disk_node);
	munmap(f, sizeof(*f));
}

void fuzz_rounds(const char *name, void (*fn)(struct fuzz *f), unsigned int users)
{
	long seed = env_number("FUZZ_SEED", 0), only = env_number("FUZZ_ROUND", -1);
	struct fuzz name_hash = { 0 };
	double end;
	long i;

	while (!seed)
		CHECK(getrandom(&seed, 3, GRND_INSECURE) == 3);
	ktap_say("FUZZ_SEED=%ld", seed);
	end = now() + case_seconds();
	round_fn = fn;
	for (const char *p = name; *p; p++)
		name_hash.state = fuzz_u64(&name_hash) + *p;
	for (i = only < 0 ? 0 : only; now() < end; i++) {
		struct fuzz of_round = { .state = name_hash.state + seed };

		of_round.state = fuzz_u64(&of_round) + i;
		if (i % 50 == 0)
			ktap_say("round %ld", i);
		do_round(fuzz_u64(&of_round), users);
		if (only >= 0)
			break;
	}
	ktap_say("%ld rounds of %s; repeat: FUZZ_SEED=%ld", i, name, seed);
}

int fuzz_main(int argc, char **argv, const struct ktap_case *cases, int nr)
{
	struct ktap_checks checks = state_checks;

	checks.seconds = case_seconds() + 1;
	return ktap_main(argc, argv, cases, nr, &checks);
}
