#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The module goes when no tap is there, and stays, with all its taps, when one is.
. "$(dirname "$0")/lib/blktap.sh"

test_unload_and_reload() {
	for _ in 1 2 3 4 5; do
		rmmod blktap
		[ ! -e "$CLASS" ] || fail "$CLASS is still there"
		[ ! -e "$NODES"/control ] || fail "$NODES/control is still there"
		! grep -qw -e tapdev -e blktap2 /proc/devices || fail "majors are still registered"
		modprobe blktap
		wait_for 5 test -c "$NODES"/control
		expect_eq "$(tap-ctl list)" "" "list after the reload"
		expect_eq "$(tap-ctl check)" ok check
	done
}

test_reload_with_use_in_between() {
	make_raw "$DIR/r.img" 8
	for _ in 1 2 3; do
		tap_create "aio:$DIR/r.img"
		dd if="$DEV" of=/dev/null bs=1M iflag=direct status=none
		tap_destroy "$MINOR"
		wait_for 5 is_clean
		rmmod blktap
		modprobe blktap
	done
}

test_unload_with_a_tap_is_busy() {
	local before

	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	before=$(tap-ctl list)
	! rmmod blktap 2>"$DIR/err" || fail "the module went"
	grep -qi "in use" "$DIR/err" || fail "$(cat "$DIR/err")"
	expect_eq "$(tap-ctl list)" "$before" "list after the refused rmmod"
	dd if=/dev/zero of="$DEV" bs=64K count=8 oflag=direct status=none
}

test_unload_with_an_allocated_tap_is_busy() {
	DEV=$(tap-ctl allocate)
	defer tap-ctl free -m "${DEV##*tapdev}"
	! rmmod blktap 2>/dev/null || fail "the module went"
}

test_unload_with_an_idle_tapdisk_is_busy() {
	local pid

	pid=$(tap-ctl spawn)
	! rmmod blktap 2>/dev/null || fail "the module went"
	kill "$pid"
	wait_for 5 not kill -0 "$pid" 2>/dev/null
	rmmod blktap
	modprobe blktap
}

# The message says what to do; reading commands and changing ones alike.
test_commands_without_the_module() {
	rmmod blktap
	defer modprobe blktap
	make_raw "$DIR/r.img" 8
	for c in "create -a aio:$DIR/r.img" allocate "free -m 0" list check major; do
		without_module "$c"
	done
	[ -z "$(pids_of tapdisk)" ] || fail "a tapdisk is left"
}

without_module() {
	local rc=0

	# shellcheck disable=SC2086 # words of a command
	tap-ctl $1 >"$DIR/out" 2>"$DIR/err" || rc=$?
	echo "$1 gives $rc: $(cat "$DIR/err")"
	[ "$rc" != 0 ] || fail "tap-ctl $1 succeeds without the module"
	grep -q "modprobe blktap" "$DIR/err" || fail "tap-ctl $1 does not say: modprobe blktap"
	[ ! -s "$DIR/out" ] || fail "tap-ctl $1 printed: $(cat "$DIR/out")"
}

run_tests "$@"
