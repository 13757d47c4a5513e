/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the fuzzers share. Environment:
 *   FUZZ_SECONDS  for all cases of all fuzzers together; default 40
 *   FUZZ_SEED     of the random numbers; a new one where it is unset
 *   FUZZ_ROUND    do only this round of the case
 * A case is a number of rounds, each with a tap and random numbers of its own,
 * so that a round that went wrong can be repeated alone.
 */
#ifndef SELFTESTS_LIB_FUZZ_H
#define SELFTESTS_LIB_FUZZ_H

#include <linux/blktap.h>
#include <stdatomic.h>

#include "tap.h"

#define FUZZ_CASES	7	/* of all programs: they share the time */
#define FUZZ_IO		3	/* processes that use a round's disk */
#define FUZZ_SECTORS	16384	/* of a round's disk */

struct fuzz {
	uint64_t state;			/* of the random numbers */
	struct tap tap;			/* nodes only: who fuzzes opens and maps */
	_Atomic bool stop;		/* the disk's users are to end */
};

/* Random numbers: 64 bits; below @n; true once in @n times; a value that hurts. */
uint64_t fuzz_u64(struct fuzz *f);
unsigned int fuzz_below(struct fuzz *f, unsigned int n);
bool fuzz_once_in(struct fuzz *f, unsigned int n);
uint64_t fuzz_value(struct fuzz *f);
void fuzz_fill(struct fuzz *f, void *buf, size_t size);

/* Overwrite some bytes of @buf. */
void fuzz_scratch(struct fuzz *f, void *buf, size_t size);

/* What an ioctl takes: one of these, or a number. */
union fuzz_arg {
	struct blktap_register reg;
	struct blktap_params params;
	struct blktap_params_v1 v1;
	struct blktap_file file;
	struct blktap_keep keep;
	struct blktap_recall recall;
	char name[BLKTAP_NAME_V2];
	uint64_t words[64];
};

/* Any ioctl that the header has. */
unsigned int fuzz_ioctl_cmd(struct fuzz *f);

/* Do it, with an argument that is good but for a word, mostly; @fd where that is a file. */
void fuzz_ioctl(struct fuzz *f, int node, unsigned int cmd, int fd);

/*
 * Rounds of @fn until the case's time is up. @fn runs in a process of its own,
 * beside @users processes that read and write the disk; when it returns or dies
 * all of them must end and the tap must be free again.
 */
void fuzz_rounds(const char *name, void (*fn)(struct fuzz *f), unsigned int users);

/* ktap_main() for the cases of a fuzzer. */
int fuzz_main(int argc, char **argv, const struct ktap_case *cases, int nr);

/* Run @fn; a memory fault ends it early, and is no error. */
void fuzz_touch(void (*fn)(void *arg), void *arg);

#endif
