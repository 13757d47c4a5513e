#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A tapdisk that hangs or dies holds up nobody longer than was asked for, and
# what it leaves is seen and can be cleared.
. "$(dirname "$0")/lib/blktap.sh"

# Where the data goes through the tapdisk.
export MODE=ring

raw_tap() {
	make_raw "$DIR/r.img" 16
	tap_create "aio:$DIR/r.img"
}

let_go() { # PID
	kill -CONT "$1" 2>/dev/null || true
}

# times_out COMMAND...: with status 110, in 1 s and not much more.
times_out() {
	local began=$EPOCHREALTIME took

	expect_fail 110 "" "$@"
	took=$(((${EPOCHREALTIME/./} - ${began/./}) / 1000))
	[ "$took" -ge 900 ] || fail "$*: gave up after $took ms"
	[ "$took" -lt $((2000 + 1500 * SCALE)) ] || fail "$*: took $took ms"
}

test_a_stopped_tapdisk_times_out_and_goes_on() {
	raw_tap
	kill -STOP "$PID"
	defer let_go "$PID"
	times_out tap-ctl pause -p "$PID" -m "$MINOR" -t 1
	times_out tap-ctl stats -p "$PID" -m "$MINOR" -t 1
	times_out tap-ctl close -p "$PID" -m "$MINOR" -t 1
	kill -CONT "$PID"
	expect_match "$(tap_state "$MINOR")" "0(x2)?" "state"
	[ "$(tap_state "$MINOR")" = 0 ] || fail "the timed-out close was done after all"
	dd if=/dev/zero of="$DEV" bs=64K count=16 oflag=direct status=none
	dd if="$DEV" of=/dev/null bs=64K count=16 iflag=direct status=none
	tap-ctl pause -p "$PID" -m "$MINOR" -t 10
	tap-ctl unpause -p "$PID" -m "$MINOR" -t 10
	tap_destroy "$MINOR"
}

# The rest of the world does not notice.
test_a_stopped_tapdisk_holds_up_no_other() {
	local stopped minor

	raw_tap
	stopped=$PID minor=$MINOR
	kill -STOP "$stopped"
	defer let_go "$stopped"
	tap-ctl pause -p "$stopped" -m "$minor" -t 5 2>/dev/null &
	make_raw "$DIR/s.img" 8
	tap_create "aio:$DIR/s.img"
	tap-ctl list >/dev/null
	tap-ctl stats -p "$PID" -m "$MINOR" >/dev/null
	dd if="$DEV" of=/dev/null bs=64K count=16 iflag=direct status=none
	tap_destroy "$MINOR"
	kill -CONT "$stopped"
	wait
	tap-ctl unpause -p "$stopped" -m "$minor" 2>/dev/null || true
}

# tap-ctl is killed with its order under way.
test_a_killed_tap_ctl_leaves_no_knot() {
	local ctl

	raw_tap
	kill -STOP "$PID"
	defer let_go "$PID"
	tap-ctl pause -p "$PID" -m "$MINOR" -t 20 &
	ctl=$!
	sleep 0.5
	kill -KILL "$ctl"
	wait "$ctl" || true
	kill -CONT "$PID"
	sleep 0.5
	tap-ctl unpause -p "$PID" -m "$MINOR" -t 10 2>/dev/null || true
	expect_eq "$(tap_state "$MINOR")" 0 state
	dd if="$DEV" of=/dev/null bs=64K count=16 iflag=direct status=none
}

test_io_waits_for_a_stopped_tapdisk() {
	local reader

	raw_tap
	kill -STOP "$PID"
	defer let_go "$PID"
	dd if="$DEV" of=/dev/null bs=64K count=16 iflag=direct status=none &
	reader=$!
	sleep 0.5
	kill -0 "$reader" || fail "the reader did not wait"
	kill -CONT "$PID"
	wait "$reader"
}

test_a_killed_tapdisk_is_seen_and_cleared() {
	raw_tap
	kill -KILL "$PID"
	wait_for 10 is_dead
	! dd if="$DEV" of=/dev/null bs=64K count=1 iflag=direct status=none 2>/dev/null ||
		fail "a dead tap was read"
	expect_match "$(tap_line "$MINOR")" "(pid=[0-9]+ )?minor=$MINOR state=0x[0-9a-f]+.*" "list"
	tap-ctl free -m "$MINOR"
	expect_eq "$(tap-ctl list)" "" "list after free"
	[ ! -e "/sys/block/$TD" ] || fail "the disk is still there"
}

is_dead() {
	[ $((${STATE:=$(tap_state "$MINOR")} & 1)) = 1 ] || { STATE=; return 1; }
}

test_destroy_clears_a_killed_tapdisk_too() {
	raw_tap
	kill -KILL "$PID"
	wait_for 10 is_dead
	tap-ctl destroy -p "$PID" -m "$MINOR"
	expect_eq "$(tap-ctl list)" "" "list after destroy"
}

test_killed_under_load() {
	local load

	raw_tap
	fio --name=load --filename="$DEV" --size=8M --rw=randrw --bs=16k --direct=1 \
		--ioengine=libaio --iodepth=32 --time_based --runtime=60 >"$DIR/fio" 2>&1 &
	load=$!
	sleep $((1 + SCALE))
	kill -KILL "$PID"
	wait_for 20 not kill -0 "$load" 2>/dev/null
	! wait "$load" || fail "fio did not notice"
	wait_for 10 is_dead
	tap-ctl free -m "$MINOR"
}

# Its image is free again for the next one.
test_the_image_of_a_killed_tapdisk_can_be_served_again() {
	make_dynamic "$DIR/d.vhd" 16
	tap_create "vhd:$DIR/d.vhd"
	head -c 4M /dev/urandom >"$DIR/data"
	dd if="$DIR/data" of="$DEV" bs=256K oflag=direct conv=fsync status=none
	kill -KILL "$PID"
	wait_for 10 is_dead
	tap-ctl free -m "$MINOR"
	check_vhd "$DIR/d.vhd"
	tap_create "vhd:$DIR/d.vhd"
	cmp -n $((4 << 20)) "$DEV" "$DIR/data" || fail "data that was synced is lost"
}

test_a_tapdisk_killed_while_paused() {
	local reader

	raw_tap
	tap-ctl pause -p "$PID" -m "$MINOR"
	dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null &
	reader=$!
	sleep 0.3
	kill -KILL "$PID"
	! wait "$reader" || fail "the reader got data from nowhere"
	wait_for 10 is_dead
	tap-ctl free -m "$MINOR"
}

test_a_terminated_tapdisk_with_an_open_disk() {
	raw_tap
	dd if=/dev/urandom of="$DEV" bs=64K count=8 oflag=direct status=none
	kill -TERM "$PID"
	sleep 1
	# It may refuse to go, or go and leave a dead tap: never a tap that hangs.
	if [ -d "/proc/$PID" ]; then
		dd if="$DEV" of=/dev/null bs=64K count=8 iflag=direct status=none
		tap_destroy "$MINOR"
	else
		wait_for 10 is_dead
		tap-ctl free -m "$MINOR"
	fi
}

run_tests "$@"
