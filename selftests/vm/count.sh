# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Counts what tests say: count_case for each line of a test's own output, then
# count_test with whether the test as a whole passed (ok, skip, bad).

passed=0 failed=0 skipped=0		# of all tests
cases_ok=0 cases_bad=0 cases_skipped=0	# of the current one
planned=0
bad_cases=()	# their names
failures=()	# "TEST: CASE" of all tests

count_case() { # LINE
	case $1 in
	"ok "[0-9]*"# SKIP"* | "not ok "[0-9]*"# SKIP"*) : $((cases_skipped++)) ;;
	"ok "[0-9]*) : $((cases_ok++)) ;;
	"not ok "[0-9]*)
		: $((cases_bad++))
		bad_cases+=("${1#not ok * }")
		;;
	1..[0-9]*) planned=${1#1..} planned=${planned%%[!0-9]*} ;;
	esac
}

# A test's own cases count if it has any, else the test counts as one. Sets
# test_failed to whether any of it failed.
count_test() { # VERDICT NAME
	local cases=$((cases_ok + cases_bad + cases_skipped)) bad

	if [ $cases = 0 ]; then
		case $1 in
		ok) cases_ok=1 ;;
		skip) cases_skipped=1 ;;
		*) cases_bad=1 ;;
		esac
	elif [ "$1" = bad ] || [ $cases -lt "$planned" ]; then
		# It ended badly or before its last case, or left something behind.
		[ $cases_bad -gt 0 ] || cases_bad=1
	fi
	# shellcheck disable=SC2034 # for the caller
	test_failed=$cases_bad
	for bad in "${bad_cases[@]}"; do failures+=("$2: $bad"); done
	[ "$cases_bad" = "${#bad_cases[@]}" ] || failures+=("$2: as a whole")
	bad_cases=()
	: $((passed += cases_ok)) $((failed += cases_bad)) $((skipped += cases_skipped))
	cases_ok=0 cases_bad=0 cases_skipped=0 planned=0
}
