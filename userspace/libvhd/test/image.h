/* SPDX-License-Identifier: GPL-2.0-only */
/* What the unit tests of libvhd share: a directory a test, and damaged images. */
#ifndef LIBVHD_TEST_IMAGE_H
#define LIBVHD_TEST_IMAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs those above before it */
#include <cmocka.h>
#include "libvhd/internal.h"

#define MIB	0x100000ULL

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))

/* Set-up and tear-down: an empty directory, the working one. */
int enter_dir(void **state);
int leave_dir(void **state);

#define TEST(f)	cmocka_unit_test_setup_teardown(f, enter_dir, leave_dir)

extern const struct CMUnitTest format_tests[], open_tests[], chain_tests[],
	create_tests[], fuzz_tests[];
extern const size_t nr_format_tests, nr_open_tests, nr_chain_tests,
	nr_create_tests, nr_fuzz_tests;

void make_dynamic(const char *path, uint64_t size);
void make_fixed(const char *path, uint64_t size);
void make_child(const char *path, const char *parent);

void poke(const char *path, uint64_t offset, const void *data, size_t len);
void peek(const char *path, uint64_t offset, void *data, size_t len);
uint64_t file_size(const char *path);
bool file_exists(const char *path);

/* Change a footer (of a dynamic disk both) or the header, with a right checksum. */
void edit_footer(const char *path, void (*edit)(struct vhd_footer *f));
void edit_header(const char *path, void (*edit)(struct vhd_header *h));
void set_bat(const char *path, uint32_t blk, uint32_t sector);

/*
 * Allocate block @blk at the place that vhd_place_block() says, with its bitmap
 * full of @bits and its data full of @data, as a tapdisk would.
 */
void fill_block(const char *path, uint32_t blk, uint8_t bits, uint8_t data);

/* Opening fails with @error and a text that contains @text. */
void expect_open_fails(const char *path, unsigned int flags, int error,
		       const char *text);
void expect_chain_fails(const char *path, int error, const char *text);

struct vhd *must_open(const char *path, unsigned int flags);
struct vhd *must_open_chain(const char *path, unsigned int flags);

/* vhd_check()'s number of damages; @text, if not NULL, is in one of its reports. */
int check_image(const char *path, const char *text);

#endif /* LIBVHD_TEST_IMAGE_H */
