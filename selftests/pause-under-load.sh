#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Pause, resume and live snapshots under load: I/O waits, none is lost.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"

# Three blocks of a VHD.
MIB=6

# Write and verify in the background, over and over, until $DIR/stop is there.
start_load() {
	(
		while [ ! -e "$DIR/stop" ]; do
			fio_reseed
			fio_write "$DEV" "$MIB"
		done
	) >"$DIR/load" 2>&1 &
	LOAD=$!
	defer stop_load
	wait_for 20 not is_untouched
}

stop_load() {
	touch "$DIR/stop"
	kill "$LOAD" 2>/dev/null || true
}

is_untouched() {
	[ "$(awk '{ print $5 }' "/sys/block/$TD/stat")" = 0 ]
}

end_load() {
	touch "$DIR/stop"
	wait "$LOAD" || fail "the load failed: $(<"$DIR/load")"
}

# pause_again_and_again TIMES IMAGE: while the load writes and verifies.
pause_again_and_again() {
	local i times=$1
	shift

	tap_create "$1"
	start_load
	for ((i = 0; i < times; i++)); do
		tap-ctl pause -p "$PID" -m "$MINOR"
		expect_eq "$(tap_state "$MINOR")" 0x2a "state when paused"
		tap-ctl unpause -p "$PID" -m "$MINOR"
		expect_eq "$(tap_state "$MINOR")" 0 "state when resumed"
	done
	end_load
	tap_destroy "$MINOR"
	tap_create "$1" -R
	fio_verify "$DEV" "$MIB"
	tap_destroy "$MINOR"
}

test_pause_and_unpause() {
	make_dynamic "$DIR/d.vhd" "$MIB"
	pause_again_and_again 8 "vhd:$DIR/d.vhd"
	check_vhd "$DIR/d.vhd"
}

# In ring mode the kernel does not know one kind of image from another.
if [ "${MODE:-}" != ring ]; then
	test_pause_and_unpause_raw() {
		make_raw "$DIR/r.img" "$MIB"
		pause_again_and_again 4 "aio:$DIR/r.img"
	}

	test_pause_and_unpause_fixed() {
		make_fixed "$DIR/f.vhd" "$MIB"
		pause_again_and_again 4 "vhd:$DIR/f.vhd"
		check_vhd "$DIR/f.vhd"
	}

	test_pause_and_unpause_a_chain() {
		local before

		make_chain "$DIR/c" "$MIB" 3
		before=$(sha256sum <"$DIR/c2.vhd")
		pause_again_and_again 4 "vhd:$DIR/c3.vhd"
		expect_eq "$(sha256sum <"$DIR/c2.vhd")" "$before" "sum of the parent"
		check_vhd "$DIR/c3.vhd"
	}
fi

test_nothing_moves_while_paused() {
	local before

	make_dynamic "$DIR/d.vhd" "$MIB"
	tap_create "vhd:$DIR/d.vhd"
	start_load
	tap-ctl pause -p "$PID" -m "$MINOR"
	# The image is closed: no lock, nobody who has it open, no change.
	! is_open_by "$PID" "$DIR/d.vhd" || fail "the tapdisk keeps the image open"
	before=$(sha256sum <"$DIR/d.vhd")
	sleep 1
	expect_eq "$(sha256sum <"$DIR/d.vhd")" "$before" "sum of the paused image"
	check_vhd "$DIR/d.vhd"
	tap-ctl unpause -p "$PID" -m "$MINOR"
	end_load
}

is_open_by() { # PID FILE
	[ -n "$(find "/proc/$1/fd" -lname "$2")" ]
}

test_live_snapshots() {
	local i

	make_dynamic "$DIR/s0.vhd" "$MIB"
	tap_create "vhd:$DIR/s0.vhd"
	start_load
	for i in 1 2 3 4 5; do
		tap-ctl pause -p "$PID" -m "$MINOR"
		make_child "$DIR/s$i.vhd" "$DIR/s$((i - 1)).vhd"
		tap-ctl unpause -p "$PID" -m "$MINOR" -a "vhd:$DIR/s$i.vhd"
		expect_match "$(tap_line "$MINOR")" ".* args=vhd:$DIR/s$i.vhd" "list"
		sleep 0.2
	done
	end_load
	tap_destroy "$MINOR"
	for i in 0 1 2 3 4 5; do
		check_vhd "$DIR/s$i.vhd"
	done
	expect_match "$(vhd-util query -n "$DIR/s5.vhd" -d)" ".*[^0-9]?6" "chain depth"
	tap_create "vhd:$DIR/s5.vhd" -R
	fio_verify "$DEV" "$MIB"
}

# An unpause that fails leaves the tap paused, with its I/O waiting; the next one heals it.
test_failed_unpause_can_be_repeated() {
	make_dynamic "$DIR/d.vhd" "$MIB"
	tap_create "vhd:$DIR/d.vhd"
	start_load
	tap-ctl pause -p "$PID" -m "$MINOR"
	expect_fail 2 "gone.vhd" tap-ctl unpause -p "$PID" -m "$MINOR" -a "vhd:$DIR/gone.vhd"
	expect_match "$(tap_state "$MINOR")" "0x2?2a" "state after an unpause with no image"
	truncate -s 1M "$DIR/bad.vhd"
	expect_fail 22 "bad.vhd" tap-ctl unpause -p "$PID" -m "$MINOR" -a "vhd:$DIR/bad.vhd"
	expect_eq "$(tap_state "$MINOR")" 0x22a "state after a failed unpause"
	expect_match "$(tap_line "$MINOR")" ".* args=vhd:$DIR/d.vhd" "list after a failed unpause"
	tap-ctl unpause -p "$PID" -m "$MINOR"
	expect_eq "$(tap_state "$MINOR")" 0 "state"
	expect_match "$(tap_line "$MINOR")" ".* args=vhd:$DIR/d.vhd" "list"
	end_load
}

# I/O that waits behind a pause can be ended by killing who waits, or by destroy.
test_a_paused_tap_can_be_destroyed() {
	make_dynamic "$DIR/d.vhd" 8
	tap_create "vhd:$DIR/d.vhd"
	tap-ctl pause -p "$PID" -m "$MINOR"
	tap_destroy "$MINOR"
	check_vhd "$DIR/d.vhd"
}

test_destroy_waits_for_a_paused_reader() {
	local reader

	make_dynamic "$DIR/d.vhd" 8
	tap_create "vhd:$DIR/d.vhd"
	tap-ctl pause -p "$PID" -m "$MINOR"
	dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct status=none &
	reader=$!
	sleep 0.5
	kill -0 "$reader" || fail "the reader did not wait"
	expect_fail 110 "" tap-ctl destroy -p "$PID" -m "$MINOR" -t 1
	expect_eq "$(tap_state "$MINOR")" 0x2a "state after the refused destroy"
	tap-ctl unpause -p "$PID" -m "$MINOR"
	wait "$reader"
}

run_tests "$@"
