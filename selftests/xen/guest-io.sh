#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# A guest's data on its way to the image: without a copy, with and without persistent
# grants, in large requests, with flush and discard; and when domain 0 has no memory, a
# tapdisk is killed, the disk is taken away or the guest is destroyed.
# shellcheck source=selftests/xen/lib.sh
. "$(dirname "$0")/lib.sh"

on_demand() { # VDEV IMAGE: xl's description of a disk
	echo "script=block-blktap,vdev=$1,target=tap:$2"
}

counter() { # MINOR NAME
	tap-ctl list -m "$1" --json | jq ".[0].counters.$2"
}

minor_of() { # DOMID DEVID
	tap-ctl list --vbds | sed -n "s/domid=$1 devid=$2 minor=//p"
}

backend() { # DOMID DEVID NODE: what xenstore has
	xenstore-read "/local/domain/0/backend/vbd/$1/$2/$3"
}

# disk_verified GUEST DISK DEVID IMAGE: attaches the image to the guest, which writes
# and reads 4 MiB; all of it must have come to the image's file without a copy.
disk_verified() {
	local domid minor

	domid=$(xl domid "$1")
	xl block-attach "$1" "$(on_demand "$2" "$4")"
	minor=$(minor_of "$domid" "$3")
	# 32 segments of a page: more than a request has room for, so by indirection.
	guest_says "$1" "$2 came: [0-9]* sectors, 32 segments, write back"
	guest_says "$1" "fio /dev/$2: passed"
	expect_eq "$(counter "$minor" copied)" 0 "bytes copied for $2"
	[ "$(counter "$minor" zero_copied)" -ge $((8 << 20)) ] ||
		fail "only $(counter "$minor" zero_copied) bytes went without a copy"
	[ "$(cat "/sys/bus/xen-backend/devices/vbd-$domid-$3/statistics/f_req")" -gt 0 ] ||
		fail "no flush has come from the guest"
	guest_says "$1" "$2 discard: passed"
	# Of the 4 MiB nothing is left but the image's own tables.
	[ "$(du -k "${4#*:}" | cut -f 1)" -lt 1024 ] || fail "nothing was discarded"
}

test_no_copy_from_guest_to_image() {
	local persistent=/sys/module/xen_blkback/parameters/feature_persistent domid

	glue_up
	serve_up --mode=layout
	make_child "$DIR/root.vhd" /lab/root.vhd
	make_dynamic "$DIR/b.vhd" 16
	make_dynamic "$DIR/c.vhd" 16
	guest_start direct files,xvdb,xvdc "$(on_demand xvda "vhd:$DIR/root.vhd")"
	guest_says direct "files: passed"
	domid=$(xl domid direct)

	disk_verified direct xvdb 51728 "vhd:$DIR/b.vhd"
	expect_eq "$(backend "$domid" 51728 feature-persistent)" 1 "persistent grants"
	xl block-detach direct xvdb
	guest_says direct "xvdb went"

	echo N >"$persistent"
	defer eval "echo Y >$persistent"
	disk_verified direct xvdc 51744 "vhd:$DIR/c.vhd"
	expect_eq "$(backend "$domid" 51744 feature-persistent)" 0 "persistent grants"
	expect_eq "$(counter "$(minor_of "$domid" 51712)" copied)" 0 "bytes copied for the root"
	xl block-detach direct xvdc
	guest_end direct
	wait_for 10 no_taps
	for image in root b c; do
		check_vhd "$DIR/$image.vhd"
	done
}

no_taps() {
	[ -z "$(tap-ctl list)" ]
}

# All free memory of domain 0 is taken while the guest writes and verifies; then, while
# it writes, somebody removes its disk's directory from xenstore.
test_pressure_and_removal() {
	glue_up
	serve_up --mode=layout
	make_child "$DIR/root.vhd" /lab/root.vhd
	guest_start pressed verify,load "$(on_demand xvda "vhd:$DIR/root.vhd")"
	guest_says pressed "verify begins"
	mount -o remount,size=100% /dev/shm
	defer rm -f /dev/shm/ballast
	! dd if=/dev/zero of=/dev/shm/ballast bs=1M \
		count=$(($(sed -n 's/MemAvailable: *\([0-9]*\) .*/\1/p' /proc/meminfo) / 1024 - 24)) \
		2>/dev/null || echo 2 >/proc/sys/vm/drop_caches
	guest_says pressed "fio /verify: passed" 120
	rm -f /dev/shm/ballast

	guest_says pressed "load begins"
	nap 2
	xenstore-rm "/local/domain/0/backend/vbd/$(xl domid pressed)/51712"
	wait_for 20 no_taps
	guest_destroyed pressed
}

# guest_destroyed NAME: and nothing is left of it.
guest_destroyed() {
	xl destroy "$1"
	wait "${GUEST_XL[$1]}" || true
	wait_for 20 no_taps
	expect_eq "$(xenstore_vbds)" "" "backends after the destruction"
	# A domain whose pages are still granted to somebody stays as a zombie.
	wait_for 10 domains_are 1
	check_vhd "$DIR/root.vhd"
}

domains_are() { # NUMBER, with domain 0
	[ "$(xl list | tail -n +2 | wc -l)" = "$1" ]
}

# Three tapdisks in a row are killed while the guest writes and verifies: it must see
# nothing of that. Then it is destroyed while it writes.
test_tapdisks_killed_and_destruction() {
	local minor pid

	glue_up
	serve_up --mode=layout
	tapdisk --supervise >"$DIR/supervise" 2>&1 &
	defer kill $!
	make_child "$DIR/root.vhd" /lab/root.vhd
	guest_start killed verify,load "$(on_demand xvda "vhd:$DIR/root.vhd")"
	guest_says killed "verify begins"
	minor=$(minor_of "$(xl domid killed)" 51712)
	for _ in 1 2 3; do
		nap 1
		pid=$(tapdisk_of "$minor")
		kill -KILL "$pid"
		wait_for 20 served_by_another "$minor" "$pid"
	done
	guest_says killed "fio /verify: passed" 120
	guest_says killed "load begins"
	nap 2
	guest_destroyed killed
}

tapdisk_of() { # MINOR
	tap-ctl list -m "$1" --json | jq -r '.[0].pid // empty'
}

served_by_another() { # MINOR PID
	local pid

	pid=$(tapdisk_of "$1")
	[ -n "$pid" ] && [ "$pid" != "$2" ]
}

run_tests "$@"
