#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 250
# A tapdisk that is killed again and again under load, and a supervisor: no I/O fails,
# and nothing is read but what was written.
#
# STRESS_KILLS (10) is how often, in each mode.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"
. "$(dirname "$0")/lib/recovery.sh"

KILLS=${STRESS_KILLS:-10}
MIB=$(scaled 48)
CASE_SECONDS=$((60 + 4 * KILLS))

# killed_under_load IMAGE MODE [FIO-OPTION...]
killed_under_load() {
	local image=$1 mode=$2 load
	shift 2

	up "$image" "$mode"
	supervisor_up
	load "$@" >"$DIR/load" 2>&1 &
	load=$!
	kill_again "$MINOR" "$KILLS"
	kill -0 "$load" || fail "it ended early: $(<"$DIR/load")"
	touch "$DIR/stop"
	wait "$load" || fail "$(<"$DIR/load")"
	fio_verify "$DEV" "$MIB" "$@"
	supervisor_down "$SUPERVISOR"
	tap_destroy "$MINOR"
}

test_killed_under_load_in_ring_mode() {
	make_dynamic "$DIR/d.vhd" "$MIB"
	killed_under_load "vhd:$DIR/d.vhd" ring
	check_vhd "$DIR/d.vhd"
}

# A child's bits are in the tapdisk's memory until they are flushed.
test_killed_under_load_with_a_parent_in_ring_mode() {
	make_chain "$DIR/c" "$MIB" 2
	killed_under_load "vhd:$DIR/c2.vhd" ring
	check_vhd "$DIR/c2.vhd"
}

test_killed_under_load_in_layout_mode() {
	make_chain "$DIR/c" "$MIB" 2
	killed_under_load "vhd:$DIR/c2.vhd" layout --fsync=32
	check_vhd "$DIR/c2.vhd"
}

run_tests "$@"
