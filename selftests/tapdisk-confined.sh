#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The tapdisk that serves a disk has what it needs for that, and no more.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/recovery.sh"

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

IMAGES=/etc/blktap/images

restrict() { # LINE...
	mkdir -p "${IMAGES%/*}"
	defer rm -rf "${IMAGES%/*}"
	printf '%s\n' "$@" >"$IMAGES"
}

has_landlock() {
	# System calls that are not there have their names all the same.
	grep -qw landlock_put_ruleset /proc/kallsyms
}

# With I/O by the kernel, which opens the files anew, with a snapshot, and a recovery.
test_images_are_only_where_the_administrator_says() {
	has_landlock || return 0
	local said

	mkdir "$DIR/images" "$DIR/other"
	make_dynamic "$DIR/images/d.vhd" 8
	make_dynamic "$DIR/other/d.vhd" 8
	make_raw "$DIR/single.img" 1
	restrict "# folders and files" "$DIR/images" "" "$DIR/not there" "$DIR/single.img"
	tap_create "vhd:$DIR/images/d.vhd"
	dd if=/dev/urandom of="$DEV" bs=64k count=4 oflag=direct conv=fsync status=none
	make_child "$DIR/images/o.vhd" "$DIR/other/d.vhd"
	tap-ctl pause -p "$PID" -m "$MINOR"
	make_child "$DIR/images/c.vhd" "$DIR/images/d.vhd"
	tap-ctl unpause -p "$PID" -m "$MINOR" -a "vhd:$DIR/images/c.vhd"
	kill_tapdisk "$MINOR"
	tap-ctl recover -m "$MINOR"
	dd if=/dev/urandom of="$DEV" bs=64k count=4 oflag=direct conv=fsync status=none
	tap_destroy "$MINOR"
	tap_create "aio:$DIR/single.img"
	tap_destroy "$MINOR"
	for said in "vhd:$DIR/other/d.vhd" "vhd:$DIR/images/o.vhd" "aio:/etc/passwd" \
			"aio:/proc/sys/kernel/core_pattern"; do
		said=$(tap-ctl create -a "$said" 2>&1) && fail "it can be opened: $said"
		expect_match "$said" ".*Permission denied.*" "what tap-ctl says"
	done
}

test_a_restriction_that_can_not_be_had_is_an_error() {
	local said

	if has_landlock; then restrict "images"; else restrict "$DIR"; fi
	said=$(tap-ctl spawn 2>&1) && fail "it starts: $said"
	expect_match "$said" ".*$IMAGES.*" "what tap-ctl says"
}

run_tests "$@"
