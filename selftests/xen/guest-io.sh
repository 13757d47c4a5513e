#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# A guest's data on its way to the image: without a copy, with and without persistent
# grants, in large requests, with flush and discard. Then domain 0 has no memory, and
# tapdisks are killed, while the guest verifies what it writes; a disk is taken away, and
# the guest is destroyed, while it writes.
# shellcheck source=selftests/xen/lib.sh
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/../lib/recovery.sh"

DEVICES=/sys/bus/xen-backend/devices
ROOT=51712 XVDB=51728	# as Xen numbers them

counter() { # MINOR NAME
	tap-ctl list -m "$1" --json | jq ".[0].counters.$2"
}

feature_persistent() { # DEVID: whether blkback offers them
	xenstore-read "$BACKENDS/$DOMID/$1/feature-persistent"
}

test_a_guest_on_demand() {
	glue_up
	serve_up --mode=layout
	supervisor_up
	make_child "$DIR/root.vhd" /lab/root.vhd
	make_dynamic "$DIR/b.vhd" 16
	make_dynamic "$DIR/c.vhd" 16
	guest_start guest xvdb,verify,load "$(on_demand xvda "vhd:$DIR/root.vhd")"
	guest_says guest "up on /dev/xvda"
	DOMID=$(xl domid guest)

	what_cannot_be_attached_is_told
	no_copy_with_persistent_grants
	no_copy_without
	trouble_that_the_guest_does_not_see
	disk_removed_and_guest_destroyed
	for image in root b c; do
		check_vhd "$DIR/$image.vhd"
	done
}

what_cannot_be_attached_is_told() {
	local said

	said=$(xl block-attach guest "$(on_demand xvdd vhd:/no/such.vhd)" 2>&1) &&
		fail "xl attached what is not there"
	[[ $said == *"/no/such.vhd: No such file"* ]] || fail "xl does not say what is wrong: $said"
	wait_for 10 taps_are 1
}

no_copy_with_persistent_grants() {
	local minor

	minor=$(minor_of "$DOMID" "$ROOT")
	expect_eq "$(xenstore-read "$BACKENDS/$DOMID/$ROOT/physical-device-path")" \
		"/dev/$(disk_name "$minor")" physical-device-path
	expect_eq "$(feature_persistent "$ROOT")" 1 "persistent grants"
	expect_eq "$(counter "$minor" copied)" 0 "bytes copied for the root"
	[ "$(counter "$minor" zero_copied)" -ge $((1 << 20)) ] ||
		fail "only $(counter "$minor" zero_copied) bytes of the boot went without a copy"
}

no_copy_without() {
	local persistent=/sys/module/xen_blkback/parameters/feature_persistent minor

	echo N >"$persistent"
	defer eval "echo Y >$persistent"
	# In the old spelling.
	xl block-attach guest "$(on_demand xvdb "tapdisk:vhd:$DIR/b.vhd")"
	minor=$(minor_of "$DOMID" "$XVDB")
	# 32 segments of a page: more than a request has room for, so by indirection.
	guest_says guest "xvdb came: [0-9]* sectors, 32 segments, write back"
	expect_eq "$(feature_persistent "$XVDB")" 0 "persistent grants"
	echo Y >"$persistent"
	guest_says guest "fio /dev/xvdb: passed"
	expect_eq "$(counter "$minor" copied)" 0 "bytes copied for xvdb"
	[ "$(counter "$minor" zero_copied)" -ge $((8 << 20)) ] ||
		fail "only $(counter "$minor" zero_copied) bytes went without a copy"
	[ "$(<"$DEVICES/vbd-$DOMID-$XVDB/statistics/f_req")" -gt 0 ] ||
		fail "no flush has come from the guest"
	guest_says guest "xvdb discard: passed"
	# Of the 4 MiB nothing is left but the image's own tables.
	[ "$(du -k "$DIR/b.vhd" | cut -f 1)" -lt 1024 ] || fail "nothing was discarded"
	xl block-detach guest xvdb
	wait_for 10 taps_are 1
}

# While the guest verifies what it writes, again and again, all free memory of domain 0 is
# taken; then three tapdisks in a row are killed. It stops when there is another disk.
trouble_that_the_guest_does_not_see() {
	local minor

	minor=$(minor_of "$DOMID" "$ROOT")
	# What backs the image is memory, too: of that all is there after a first time.
	guest_says guest "fio /verify: passed"
	memory_is_taken
	for _ in 1 2 3; do guest_writes "$minor"; done
	rm "$DIR/shm/ballast"
	for _ in 1 2 3; do
		guest_writes "$minor"
		read -r PID <"$CLASS/blktap$minor/task"
		kill -KILL "$PID"
		wait_for 20 joined "$minor" "$PID"
	done
	guest_writes "$minor"

	xl block-attach guest "$(by_script xvdb "vhd:$DIR/b.vhd")"
	guest_says guest "verify ends"
	! guest_has_said guest ".*failed" || { guest_show guest; fail "the guest has seen it"; }
}

# All but what programs need to go on.
memory_is_taken() {
	local available

	mkdir "$DIR/shm"
	mount -t tmpfs -o size=100% tmpfs "$DIR/shm"
	defer umount "$DIR/shm"
	available=$(sed -n 's/MemAvailable: *\([0-9]*\) .*/\1/p' /proc/meminfo)
	fallocate -l $((available / 1024 - 24))M "$DIR/shm/ballast"
}

guest_writes() { # MINOR: waits until it has again
	STAT=/sys/block/$(disk_name "$1")/stat
	BEFORE=$(<"$STAT")
	wait_for 30 stat_has_changed
}

stat_has_changed() {
	[ "$(<"$STAT")" != "$BEFORE" ]
}

# One disk's directory is removed from xenstore, one goes by xl's script, one by itself.
disk_removed_and_guest_destroyed() {
	guest_says guest "load waits"
	xl block-attach guest "$(on_demand xvdc "vhd:$DIR/c.vhd")"
	guest_says guest "load begins"
	nap 1
	xenstore-rm "$BACKENDS/$DOMID/51744"
	wait_for 20 taps_are 2
	xl destroy guest
	wait "${GUEST_XL[guest]}" || true
	all_gone
}

run_tests "$@"
