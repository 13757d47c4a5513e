#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The tapdisk that serves a disk has what it needs for that, and no more.
. "$(dirname "$0")/lib/blktap.sh"

# status FIELD: of the tapdisk.
status() {
	awk -v field="$1:" '$1 == field { print $2 }' "/proc/$PID/status"
}

test_what_the_process_has() {
	local oom

	make_dynamic "$DIR/d.vhd" 8
	tap_create "vhd:$DIR/d.vhd"
	expect_eq "$(status CapEff)" 0000000000000002 "effective capabilities (DAC_OVERRIDE)"
	expect_eq "$(status CapPrm)" 0000000000000002 "permitted capabilities"
	expect_eq "$(status CapInh)" 0000000000000000 "inheritable capabilities"
	expect_eq "$(status CapBnd)" 0000000000000000 "bounding set"
	expect_eq "$(status CapAmb)" 0000000000000000 "ambient capabilities"
	expect_eq "$(status NoNewPrivs)" 1 "no new privileges"
	expect_eq "$(status Seccomp)" 2 "mode of seccomp"
	[ "$(status VmLck)" -gt 0 ] || fail "its memory is not locked"
	read -r oom <"/proc/$PID/oom_score_adj"
	expect_eq "$oom" -1000 "oom_score_adj"
	tap_destroy "$MINOR"
}

is_traced() {
	[ "$(status TracerPid)" != 0 ]
}

# Orders and I/O, in both modes: none takes a system call that is refused.
test_nothing_is_refused() {
	requires strace
	local mode tracer

	for mode in ring layout; do
		make_dynamic "$DIR/$mode.vhd" 16
		tap_create "vhd:$DIR/$mode.vhd" --mode="$mode"
		strace -o "$DIR/$mode.calls" -p "$PID" 2>/dev/null &
		tracer=$!
		wait_for 10 is_traced
		dd if=/dev/urandom of="$DEV" bs=64k count=40 oflag=direct conv=fsync status=none
		tap-ctl pause -p "$PID" -m "$MINOR"
		make_child "$DIR/$mode.child.vhd" "$DIR/$mode.vhd"
		tap-ctl unpause -p "$PID" -m "$MINOR" -a "vhd:$DIR/$mode.child.vhd"
		dd if=/dev/urandom of="$DEV" bs=4k count=40 oflag=direct conv=fsync status=none
		blkdiscard "$DEV"
		tap-ctl stats -p "$PID" -m "$MINOR" >/dev/null
		tap_destroy "$MINOR"
		wait "$tracer" || true
		check_vhd "$DIR/$mode.child.vhd"
		grep -q openat "$DIR/$mode.calls" || fail "strace has seen nothing"
		! grep EPERM "$DIR/$mode.calls" || fail "a system call was refused"
	done
}

# Images of others, in folders that only they may enter.
test_images_of_other_users() {
	mkdir -m 700 "$DIR/theirs"
	make_dynamic "$DIR/theirs/d.vhd" 8
	chmod 600 "$DIR/theirs/d.vhd"
	chown -R 65534:65534 "$DIR/theirs"
	tap_create "vhd:$DIR/theirs/d.vhd"
	dd if=/dev/zero of="$DEV" bs=4k count=1 oflag=direct status=none
	tap_destroy "$MINOR"
}

run_tests "$@"
