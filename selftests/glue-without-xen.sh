#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: stock
# xen-blkback-glue on a kernel that does not run under Xen: loads, stays out of the
# way, and goes.
. "$(dirname "$0")/lib/blktap.sh"

test_loads_and_goes() {
	[ ! -e /proc/xen/capabilities ] || fail "this is Xen"
	for _ in 1 2 3; do
		modprobe xen-blkback-glue
		grep -q '^xen_blkback_glue .* Live ' /proc/modules || fail "$(cat /proc/modules)"
		rmmod xen-blkback-glue
	done
}

test_taps_are_as_ever() {
	modprobe xen-blkback-glue
	defer rmmod xen-blkback-glue
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	dd if=/dev/zero of="$DEV" bs=64K count=8 oflag=direct status=none
	expect_eq "$(tap-ctl list --vbds)" "" "guests' disks"
	expect_eq "$(tap-ctl list --json | jq '.[0] | has("vbds")')" false "vbds of a tap"
	tap_destroy "$MINOR"
}

# Nobody can ask for a tap where there are no guests, nor answer.
test_no_tap_for_a_guest() {
	modprobe xen-blkback-glue
	defer rmmod xen-blkback-glue
	tap-ctl serve >"$DIR/out" 2>"$DIR/err" &
	defer kill $!
	wait_for 10 grep -q waiting "$DIR/out"
	[ ! -s "$DIR/err" ] || fail "$(cat "$DIR/err")"
	expect_eq "$(tap-ctl list)" "" "taps"
}

run_tests "$@"
