#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Guests' disks without guests (the module blktap-vbd-test): tied to taps, and given
# taps by tap-ctl serve; what goes when, and what happens if two things do at once.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/serve.sh"

VBD=/sys/devices/vbd-7-51712

vbd_up() { # PARAMETER...
	modprobe blktap-vbd-test "$@"
	defer vbd_down
}

vbd_down() {
	[ ! -e "$VBD" ] || rmmod blktap-vbd-test
}

answered() {
	[ "$(cat "$VBD/answer")" != none ]
}

test_a_tied_tap_stays() {
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	vbd_up
	expect_eq "$(tap-ctl list --vbds)" "domid=7 devid=51712" "vbds, not tied"
	echo "$(tap-ctl major):$MINOR" >"$VBD/tie"
	expect_eq "$(tap-ctl list --vbds)" "domid=7 devid=51712 minor=$MINOR" "vbds"
	expect_eq "$(tap-ctl list -m "$MINOR" --json | jq -c '.[0].vbds')" \
		'[{"domid":7,"devid":51712}]' "vbds of the tap"
	expect_eq "$(readlink -f "$VBD/tap")" "$(readlink -f "$CLASS/blktap$MINOR")" "link to the tap"
	expect_eq "$(readlink -f "$CLASS/blktap$MINOR/vbd-7-51712")" "$VBD" "link to the vbd"

	# As if it were open, although it is not.
	expect_fail 110 "guest" tap-ctl destroy -m "$MINOR" -t 1
	expect_fail 110 "guest" tap-ctl close -m "$MINOR" -t 1
	expect_eq "$(tap_state "$MINOR")" 0 "state after all that"
	dd if=/dev/zero of="$DEV" bs=64K count=8 oflag=direct status=none

	vbd_down
	[ ! -e "$CLASS/blktap$MINOR/vbd-7-51712" ] || fail "the tap's link stays"
	tap_destroy "$MINOR"
}

test_destroy_goes_on_when_the_guest_has_gone() {
	local pid

	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	vbd_up
	echo "$(tap-ctl major):$MINOR" >"$VBD/tie"
	tap-ctl destroy -m "$MINOR" -t 30 &
	pid=$!
	wait_for 5 tap_is_going
	kill -0 "$pid"
	vbd_down
	wait "$pid"
	expect_eq "$(tap-ctl list)" "" "taps"
}

tap_is_going() {
	[ "$(tap_state "$MINOR")" = 0x40 ]
}

# The disk is taken away by force, the tap stays for as long as the guest does.
test_a_forced_close_does_not_wait_for_the_guest() {
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	vbd_up
	echo "$(tap-ctl major):$MINOR" >"$VBD/tie"
	tap-ctl close -f -m "$MINOR"
	[ ! -e "/sys/block/$TD" ] || fail "the disk is still there"
	expect_eq "$(tap-ctl list --vbds)" "domid=7 devid=51712 minor=$MINOR" "vbds"
	expect_fail 110 "guest" tap-ctl destroy -m "$MINOR" -t 1
	vbd_down
	tap-ctl destroy -m "$MINOR"
}

test_only_taps_are_tied() {
	vbd_up
	expect_write_fails "$VBD/tie" "1:0" "No such device or address"
	expect_write_fails "$VBD/tie" "$(tap-ctl major):77" "No such device"
}

test_a_tap_on_demand() {
	make_dynamic "$DIR/d.vhd" 8
	serve_up --mode=ring
	vbd_up image="tap:vhd:$DIR/d.vhd"
	wait_for 20 answered
	expect_content "$VBD/answer" "0 $(tap-ctl major):0 " answer
	expect_match "$(tap-ctl list)" "pid=[0-9]+ minor=0 state=0 args=vhd:$DIR/d.vhd" list
	expect_eq "$(tap-ctl list --vbds)" "domid=7 devid=51712 minor=0" "vbds"
	[ ! -e "$NODES/tapdev0" ] || fail "there is a node, which nobody would remove"
	# It goes with the guest, but not before its last opener.
	exec {open}</dev/tda
	vbd_down
	tap-ctl list | grep -q minor=0 || fail "it went while it was open"
	exec {open}<&-
	wait_for 10 no_taps
}

test_a_read_only_tap_on_demand() {
	make_raw "$DIR/r.img" 8
	serve_up --mode=ring
	vbd_up image="tap:tapdisk:aio:$DIR/r.img" rdonly=1
	wait_for 20 answered
	expect_eq "$(cat /sys/block/tda/ro)" 1 "read-only"
	vbd_down
	wait_for 10 no_taps
}

test_what_can_not_be_made_is_answered() {
	serve_up --mode=ring
	vbd_up image="tap:vhd:/no/such.vhd"
	wait_for 20 answered
	expect_match "$(cat "$VBD/answer")" "-2 0:0 .*/no/such.vhd.*No such file.*" answer
	wait_for 10 no_taps
	# It was told, once: another daemon does not try again.
	serve_down
	serve_up --mode=ring
	expect_eq "$(tap-ctl list --vbds)" "domid=7 devid=51712" "vbds"
	[ ! -s "$DIR/serve.err" ] || fail "$(cat "$DIR/serve.err")"
}

# At any point of the making of a tap: the next one makes it anew, and both are not in each
# other's way.
test_a_daemon_that_was_killed_is_replaced() {
	local i

	make_dynamic "$DIR/d.vhd" 8
	for i in 0 1 2 3 5 8 13 20; do
		vbd_up image="tap:vhd:$DIR/d.vhd"
		expect_eq "$(tap-ctl list --vbds)" \
			"domid=7 devid=51712 args=tap:vhd:$DIR/d.vhd" "vbds"
		serve_start --mode=ring
		sleep "0.$(printf %02d "$i")"
		kill -KILL "$SERVE"
		wait "$SERVE" 2>/dev/null || true
		serve_up --mode=ring
		wait_for 20 answered
		expect_eq "$(cut -d ' ' -f 1 <"$VBD/answer")" 0 "answer after 0.$i s"
		wait_for 10 taps_are 1
		vbd_down
		wait_for 10 no_taps
		serve_down
	done
	check_vhd "$DIR/d.vhd"
}

# Two that make the same tap would take it away from each other.
test_a_daemon_waits_for_what_a_killed_one_has_begun() {
	local job

	make_dynamic "$DIR/d.vhd" 8
	slow_tapdisk "$DIR/slow"
	TAPDISK=$DIR/slow serve_up --mode=ring
	vbd_up image="tap:vhd:$DIR/d.vhd"
	wait_for 20 vbds_are "domid=7 devid=51712 minor=0 args=tap:vhd:$DIR/d.vhd"
	job=$(pgrep -P "$SERVE")
	kill -STOP "$job"
	kill -KILL "$SERVE"
	wait "$SERVE" 2>/dev/null || true

	tap-ctl serve --mode=ring >"$DIR/serve.out" 2>"$DIR/serve.err" &
	SERVE=$!
	sleep 1
	expect_eq "$(cat "$DIR/serve.out" "$DIR/serve.err")" "" "what the next one says"
	kill -CONT "$job"
	wait_for 10 serve_has_begun
	[ ! -e "/proc/$job" ] || fail "process $job goes on making the tap"
	wait_for 20 answered
	expect_eq "$(cut -d ' ' -f 1 <"$VBD/answer")" 0 answer
	vbd_down
	wait_for 10 no_taps
}

# Of a guest that has just ended, say: nobody could wait for that but the one who opens it.
test_an_image_that_is_about_to_be_closed() {
	make_dynamic "$DIR/d.vhd" 8
	serve_up --mode=ring
	tap_create "vhd:$DIR/d.vhd"
	vbd_up image="tap:vhd:$DIR/d.vhd"
	wait_for 20 taps_are 2
	sleep 0.5
	expect_eq "$(cat "$VBD/answer")" none answer
	tap-ctl destroy -m "$MINOR"
	wait_for 20 answered
	expect_eq "$(cut -d ' ' -f 1 <"$VBD/answer")" 0 answer
	[ ! -s "$DIR/serve.err" ] || fail "$(cat "$DIR/serve.err")"
	vbd_down
	wait_for 10 no_taps
}

test_an_image_that_stays_in_use_is_answered() {
	make_dynamic "$DIR/d.vhd" 8
	serve_up --mode=ring
	tap_create "vhd:$DIR/d.vhd"
	vbd_up image="tap:vhd:$DIR/d.vhd"
	wait_for 40 answered
	expect_match "$(cat "$VBD/answer")" "-16 0:0 .*/d.vhd: in use by .*" answer
	tap_destroy "$MINOR"
	wait_for 10 no_taps
}

# Somebody gives the guest a tap of his own meanwhile: that one counts.
test_another_tap_than_the_one_being_made() {
	local made="domid=7 devid=51712 minor=1 args=tap:vhd:$DIR/d.vhd"

	make_dynamic "$DIR/d.vhd" 8
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	slow_tapdisk "$DIR/slow"
	TAPDISK=$DIR/slow serve_up --mode=ring
	vbd_up image="tap:vhd:$DIR/d.vhd"
	wait_for 20 vbds_are "$made"
	echo "$(tap-ctl major):$MINOR" >"$VBD/tie"
	expect_eq "$(tap-ctl list --vbds)" "domid=7 devid=51712 minor=$MINOR" "vbds"
	touch "$DIR/go"
	wait_for 20 test -s "$DIR/serve.err"
	wait_for 20 taps_are 1
	expect_eq "$(cat "$VBD/answer")" none answer
	vbd_down
	tap_destroy "$MINOR"
}

# Of the same numbers and with the same image: what is told of the first one's tap, which
# goes with it, is not told of the next one's.
test_a_disk_that_has_taken_another_ones_place() {
	make_dynamic "$DIR/d.vhd" 8
	slow_tapdisk "$DIR/slow"
	TAPDISK=$DIR/slow serve_up --mode=ring
	vbd_up image="tap:vhd:$DIR/d.vhd"
	wait_for 20 vbds_are "domid=7 devid=51712 minor=0 args=tap:vhd:$DIR/d.vhd"
	vbd_down
	vbd_up image="tap:vhd:$DIR/d.vhd"
	touch "$DIR/go"
	wait_for 20 answered
	expect_eq "$(cut -d ' ' -f 1 <"$VBD/answer")" 0 answer
	wait_for 10 taps_are 1
	vbd_down
	wait_for 10 no_taps
}

# The guest goes while its tap is being made, at any point of that.
test_guest_goes_while_its_tap_is_made() {
	local i

	make_dynamic "$DIR/d.vhd" 8
	serve_up --mode=ring
	for i in 0 1 2 3 5 8 13 20; do
		modprobe blktap-vbd-test image="tap:vhd:$DIR/d.vhd"
		sleep "0.$(printf %02d "$i")"
		rmmod blktap-vbd-test
	done
	wait_for 20 no_taps
	# And then all is as before.
	vbd_up image="tap:vhd:$DIR/d.vhd"
	wait_for 20 answered
	expect_eq "$(cut -d ' ' -f 1 <"$VBD/answer")" 0 answer
	vbd_down
	wait_for 10 no_taps
	check_vhd "$DIR/d.vhd"
}

# Paused, say for a snapshot, when the guest goes: freed all the same.
test_guest_goes_while_its_tap_is_paused() {
	make_dynamic "$DIR/d.vhd" 8
	serve_up --mode=ring
	vbd_up image="tap:vhd:$DIR/d.vhd"
	wait_for 20 answered
	tap-ctl pause -m 0
	vbd_down
	wait_for 20 no_taps
}

run_tests "$@"
