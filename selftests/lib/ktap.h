/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KTAP output for the C tests. Each case runs in a process of its own with a
 * time limit, so that a crash, a hang or a leak in one leaves the others alone;
 * what the case holds goes with its process, as it does when a tapdisk dies.
 */
#ifndef SELFTESTS_LIB_KTAP_H
#define SELFTESTS_LIB_KTAP_H

#include <errno.h>
#include <string.h>

struct ktap_case {
	const char *name;
	void (*run)(void);
};

#define KTAP_CASE(fn) { #fn, fn }

/*
 * What is to hold before and after each case, in the parent. @after returns
 * NULL, or what is wrong, in a static buffer; it also puts things right.
 */
struct ktap_checks {
	void (*before)(const char *name);
	const char *(*after)(void);
	int seconds;			/* that a case may take beyond the usual time */
};

/**
 * ktap_main - run the cases that @argv names, or all
 *
 * Returns main()'s status: 0, 1 when a case failed, 4 when all are skipped.
 */
int ktap_main(int argc, char **argv, const struct ktap_case *cases, int nr,
	      const struct ktap_checks *checks);

#define KTAP_MAIN(cases, checks)						\
	int main(int argc, char **argv)						\
	{									\
		return ktap_main(argc, argv, cases,				\
				 sizeof(cases) / sizeof((cases)[0]), checks);	\
	}

/* End the case from any thread of it. */
_Noreturn void ktap_fail(const char *file, int line, const char *what, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
_Noreturn void ktap_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A line of diagnostics. */
void ktap_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* BLKTAP_TEST_SCALE: how much slower than a plain machine this one is; at least 1. */
int ktap_scale(void);

/* CHECK(condition, "format", ...) or CHECK(condition) */
#define CHECK(cond, ...)							\
	do {									\
		if (!(cond))							\
			ktap_fail(__FILE__, __LINE__, #cond, " " __VA_ARGS__);	\
	} while (0)

/* The system call must succeed. */
#define CHECK_OK(call)								\
	do {									\
		if ((long)(call) < 0)						\
			ktap_fail(__FILE__, __LINE__, #call, "%s",		\
				  strerror(errno));				\
	} while (0)

/* The system call must fail with that errno. */
#define CHECK_ERRNO(call, want)							\
	do {									\
		errno = 0;							\
		long ktap_rc = (long)(call);					\
		int ktap_errno = errno;						\
		if (ktap_rc != -1 || ktap_errno != (want))			\
			ktap_fail(__FILE__, __LINE__, #call,			\
				  "gave %ld (%s), wanted %s", ktap_rc,		\
				  strerrorname_np(ktap_errno),			\
				  strerrorname_np(want));			\
	} while (0)

/* The system call must fail, no matter how. */
#define CHECK_FAILS(call)							\
	do {									\
		long ktap_rc = (long)(call);					\
		if (ktap_rc != -1)						\
			ktap_fail(__FILE__, __LINE__, #call,			\
				  "gave %ld, was to fail", ktap_rc);		\
	} while (0)

#endif
