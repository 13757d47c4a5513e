#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A tapdisk that hangs or dies holds up nobody longer than was asked for, and
# what it leaves is seen and can be cleared.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/recovery.sh"

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

# Not with what it has not committed either, nor in a pause.
test_nothing_waits_for_a_stopped_tapdisk_for_ever() {
	local how remover

	make_chain "$DIR/c" 16 2
	for how in "" pause; do
		MODE=layout tap_create "vhd:$DIR/c2.vhd"
		dd if=/dev/zero of="$DEV" bs=64K count=16 oflag=direct status=none
		[ -z "$how" ] || tap-ctl pause -m "$MINOR"
		kill -STOP "$PID"
		defer let_go "$PID"
		times_out tap-ctl close -m "$MINOR" -t 1
		times_out tap-ctl free -m "$MINOR" -t 1
		times_out tap-ctl destroy -p "$PID" -m "$MINOR" -t 1
		echo 1 >"$CLASS/blktap$MINOR/remove" &
		remover=$!
		sleep 0.5
		kill -0 "$remover" || fail "remove did not wait"
		tap-ctl close -f -m "$MINOR"
		! wait "$remover" || fail "remove did not fail"
		times_out tap-ctl free -m "$MINOR" -t 1
		kill -KILL "$PID"
		wait_for 10 is_idle
		tap-ctl free -m "$MINOR"
	done
}

is_idle() {
	[ "$(tap_line "$MINOR")" = "minor=$MINOR state=0" ]
}

# mute PID: from now on it takes its orders, and neither does nor answers them. Its system
# calls are answered by strace, which ends with it.
mute() {
	requires strace
	strace -qq -o "$DIR/calls.$1" -p "$1" -e trace=write,ioctl,munmap -e inject=write:retval=24 \
		-e inject=ioctl:error=EIO -e inject=munmap:retval=0 2>"$DIR/strace.$1" &
	wait_for 20 is_traced "$1"
}

end() { # PID
	kill -KILL "$1" 2>/dev/null || true
}

is_traced() { # PID
	grep -q "^TracerPid:.[1-9]" "/proc/$1/status"
}

# expect_orders PID NUMBER: it has read and "answered" so many
expect_orders() {
	local nr

	nr=$(grep -c "^write(.*INJECTED" "$DIR/calls.$1") || true
	[ "$nr" -ge "$2" ] || fail "$nr orders: $(<"$DIR/calls.$1")"
}

test_nothing_waits_for_a_mute_tapdisk_for_ever() {
	local mode

	make_dynamic "$DIR/d.vhd" 16
	for mode in ring layout; do
		up "vhd:$DIR/d.vhd" "$mode"
		defer end "$PID"
		dd if=/dev/zero of="$DEV" bs=64K count=16 oflag=direct status=none
		tap-ctl pause -m "$MINOR"
		tap-ctl unpause -m "$MINOR"
		mute "$PID"
		times_out tap-ctl stats -m "$MINOR" -t 1
		times_out tap-ctl pause -m "$MINOR" -t 1
		times_out tap-ctl close -m "$MINOR" -t 1
		times_out tap-ctl free -m "$MINOR" -t 1
		times_out tap-ctl destroy -m "$MINOR" -t 1
		expect_eq "$(tap_state "$MINOR")" 0 "state after all that"
		timeout $((10 * SCALE)) tap-ctl close -f -m "$MINOR"
		times_out tap-ctl detach -m "$MINOR" -t 1
		times_out tap-ctl free -m "$MINOR" -t 1
		expect_orders "$PID" 7
		kill -KILL "$PID"
		wait_for 10 is_idle
		tap-ctl free -m "$MINOR"
	done
}

# What has no time limit of its own to be given has one of 120 s: all of it at once.
test_remove_in_sysfs_ends_by_itself() {
	local how minors=() removers=() pids=() began=$SECONDS i took

	for how in stopped mute closed; do
		make_raw "$DIR/$how.img" 8
		up "aio:$DIR/$how.img" ring
		defer end "$PID"
		case $how in
		mute) mute "$PID" ;;
		*) kill -STOP "$PID" ;;
		esac
		[ "$how" != closed ] || tap-ctl close -f -m "$MINOR"
		minors+=("$MINOR") pids+=("$PID")
	done
	for i in 0 1 2; do
		expect_write_fails "$CLASS/blktap${minors[i]}/remove" 1 "Connection timed out" &
		removers+=("$!")
	done
	for i in 0 1 2; do
		wait "${removers[i]}" || fail "tap ${minors[i]}: status $?"
		took=$((SECONDS - began))
		[ "$took" -ge 110 ] || fail "tap ${minors[i]}: gave up after $took s"
		[ -e "$CLASS/blktap${minors[i]}" ] || fail "tap ${minors[i]} has gone"
		kill -KILL "${pids[i]}"
	done
	for MINOR in "${minors[@]}"; do
		wait_for 10 is_orphan_or_idle
		echo 1 >"$CLASS/blktap$MINOR/remove"
		rm "$NODES/tapdev$MINOR"
	done
	expect_eq "$(tap-ctl list)" "" "taps that are left"
}

is_orphan_or_idle() {
	[[ $(tap_line "$MINOR") == "minor=$MINOR state="* ]]
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
	kill_tapdisk "$MINOR"
	expect_match "$(tap_line "$MINOR")" "minor=$MINOR state=0x[0-9a-f]+.*" "list"
	tap-ctl free -m "$MINOR"
	expect_eq "$(tap-ctl list)" "" "list after free"
	[ ! -e "/sys/block/$TD" ] || fail "the disk is still there"
}

test_destroy_clears_a_killed_tapdisk_too() {
	raw_tap
	kill_tapdisk "$MINOR"
	tap-ctl destroy -p "$PID" -m "$MINOR"
	expect_eq "$(tap-ctl list)" "" "list after destroy"
}

# Its image is free again for the next one.
test_the_image_of_a_killed_tapdisk_can_be_served_again() {
	make_dynamic "$DIR/d.vhd" 16
	tap_create "vhd:$DIR/d.vhd"
	head -c 4M /dev/urandom >"$DIR/data"
	dd if="$DIR/data" of="$DEV" bs=256K oflag=direct conv=fsync status=none
	kill_tapdisk "$MINOR"
	tap-ctl free -m "$MINOR"
	check_vhd "$DIR/d.vhd"
	tap_create "vhd:$DIR/d.vhd"
	cmp -n $((4 << 20)) "$DEV" "$DIR/data" || fail "data that was synced is lost"
}

# It ignores the signal as long as it serves a disk.
test_a_terminated_tapdisk_with_an_open_disk() {
	raw_tap
	dd if=/dev/urandom of="$DEV" bs=64K count=8 oflag=direct status=none
	kill -TERM "$PID"
	sleep 1
	dd if="$DEV" of=/dev/null bs=64K count=8 iflag=direct status=none
	tap_destroy "$MINOR"
}

# The image's device: a mapping of $DIR/dev.img, whose writes can be made to fail.
storage_up() { # MIB
	export DM_DISABLE_UDEV=1
	modprobe -q -a loop dm-mod || true
	make_raw "$DIR/dev.img" "$1"
	LOOP=$(losetup --show -f "$DIR/dev.img")
	defer losetup -d "$LOOP"
	SECTORS=$(($1 * 2048))
	dmsetup create trouble --table "0 $SECTORS linear $LOOP 0"
	defer dmsetup remove --retry trouble
}

storage_is() { # TARGET
	dmsetup suspend --noflush --nolockfs trouble
	dmsetup load trouble --table "0 $SECTORS $1"
	dmsetup resume trouble
}

# The bits of what was written are in the tapdisk's memory until a flush.
test_a_close_that_can_not_flush_keeps_the_disk() {
	storage_up 32
	make_dynamic "$DIR/p.vhd" 8
	make_child /dev/mapper/trouble "$DIR/p.vhd"
	tap_create vhd:/dev/mapper/trouble
	dd if=/dev/urandom of="$DIR/data" bs=64k count=32 status=none
	dd if="$DIR/data" of="$DEV" bs=64k oflag=direct status=none
	storage_is error
	expect_fail 5 "flushing" tap-ctl close -m "$MINOR"
	[ -b "$DEV" ] || fail "the disk has gone"
	storage_is "linear $LOOP 0"
	cmp -n $((2048 * 1024)) "$DIR/data" "$DEV" || fail "it is not served any more"
	tap_destroy "$MINOR"
	tap_create vhd:/dev/mapper/trouble
	cmp -n $((2048 * 1024)) "$DIR/data" "$DEV" || fail "what was written is lost"
	tap_destroy "$MINOR"
}

run_tests "$@"
