#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300 + 4 * STRESS_KILLS
# A tapdisk that is killed again and again under load, and a supervisor: no I/O fails,
# and nothing is read but what was written.
#
# STRESS_KILLS (6) is how often, in each mode. How long the slowest request took, start
# of the next tapdisk included, is printed: on a plain machine a miss takes 1.5 s at most.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"
. "$(dirname "$0")/lib/recovery.sh"

KILLS=${STRESS_KILLS:-6}
MIB=$(scaled 48)
CASE_SECONDS=$((60 + 4 * KILLS))

# Takes all extents back again and again, so that there are misses and commits.
recalls() {
	while [ ! -e "$DIR/stop" ]; do
		echo 1 2>/dev/null >"$CLASS/blktap$MINOR/recall" || true
		sleep 0.1
	done
}

# figures PLACE: the slowest request of the load.
figures() {
	awk -F'[(),= ]+' -v where="$1" '{
		ms = $8 * ($8 ~ /k$/ ? 1000 : 1) / ($3 == "usec" ? 1000 : 1)
		if (ms > max) max = ms
	} END { printf "FIGURE %s: slowest request: %d ms\n", where, max }' "$DIR/times"
}

# killed_under_load IMAGE MODE [FIO-OPTION...]
killed_under_load() {
	local image=$1 mode=$2 load recalls
	shift 2

	up "$image" "$mode"
	supervisor_up
	load "$@" >"$DIR/load" 2>&1 &
	load=$!
	recalls=
	[ "$mode" = ring ] || { recalls & recalls=$!; }
	kill_again "$MINOR" "$KILLS"
	kill -0 "$load" || fail "it ended early: $(<"$DIR/load")"
	touch "$DIR/stop"
	wait "$load" || fail "$(<"$DIR/load")"
	[ -z "$recalls" ] || wait "$recalls"
	figures "$KILLS kills, $mode mode"
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
