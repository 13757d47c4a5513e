// SPDX-License-Identifier: GPL-2.0-only
#include <stdlib.h>
#include <string.h>
#include "image.h"

static struct CMUnitTest *add(struct CMUnitTest *to, const struct CMUnitTest *tests,
			      size_t nr)
{
	memcpy(to, tests, nr * sizeof(*tests));
	return to + nr;
}

int main(void)
{
	struct CMUnitTest tests[nr_format_tests + nr_open_tests + nr_chain_tests +
				nr_create_tests + nr_fuzz_tests];
	struct CMUnitTest *end = tests;

	end = add(end, format_tests, nr_format_tests);
	end = add(end, open_tests, nr_open_tests);
	end = add(end, chain_tests, nr_chain_tests);
	end = add(end, create_tests, nr_create_tests);
	end = add(end, fuzz_tests, nr_fuzz_tests);
	return _cmocka_run_group_tests("libvhd", tests, end - tests, NULL, NULL);
}
