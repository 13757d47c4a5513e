#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# Xen's own tools, unmodified: guests whose disks come from xl's script=block-tap,
# with xen-blkback-glue and without.
# shellcheck source=selftests/xen/lib.sh
. "$(dirname "$0")/lib.sh"

by_script() { # VDEV IMAGE: xl's description of a disk
	echo "script=block-tap,vdev=$1,target=$2"
}

# The guest's root is a child of an image that nobody can write.
test_root_from_a_differencing_vhd() {
	local domid

	make_child "$DIR/root.vhd" /lab/root.vhd
	make_dynamic "$DIR/data.vhd" 32
	guest_start one files,xvdb "$(by_script xvda "vhd:$DIR/root.vhd")"
	guest_says one "up on /dev/xvda"
	guest_says one "files: passed"

	# The glue finds what is there, and what comes.
	glue_up
	domid=$(xl domid one)
	wait_for 10 vbds_are "$domid/51712"
	xl block-attach one "$(by_script xvdb "vhd:$DIR/data.vhd")"
	expect_eq "$(tap-ctl list | wc -l)" 2 "taps of a guest with two disks"
	wait_for 10 vbds_are "$domid/51712 $domid/51728"
	guest_says one "xvdb came: 65536 sectors"
	guest_says one "fio /dev/xvdb: passed"
	xl block-detach one xvdb
	guest_says one "xvdb went"
	expect_eq "$(tap-ctl list -t vhd -f "$DIR/data.vhd")" "" "tap of a detached disk"

	guest_end one
	expect_eq "$(tap-ctl list)" "" "taps after the guest's end"
	expect_eq "$(xenstore_vbds)" "" "backends after the guest's end"
	check_vhd "$DIR/root.vhd"
	check_vhd "$DIR/data.vhd"
	guest_files_are_there "$DIR/root.vhd" one
}

vbds_are() { # DOMID/DEVID...: the guests' disks that are on taps
	[ "$(tap-ctl list --vbds | sed -n 's/domid=\(.*\) devid=\(.*\) minor=.*/\1\/\2/p' |
		sort | paste -s -d ' ')" = "$1" ]
}

# guest_files_are_there VHD NAME: what job files wrote, with the sums that it said.
guest_files_are_there() {
	local said

	tap_create "vhd:$1" -R
	mount_on ext4 "$DEV" "$DIR/mnt" -o ro,noload
	(cd "$DIR/mnt/data" && sha256sum -c --quiet sums)
	said=$(sha256sum <"$DIR/mnt/data/sums")
	guest_says "$2" "sum of sums: ${said%% *}"
	umount "$DIR/mnt"
	tap_destroy "$MINOR"
}

# Its I/O is under way when the domain goes; the script waits for blkback to let go.
test_destroy_under_load() {
	make_child "$DIR/root.vhd" /lab/root.vhd
	guest_start two load "$(by_script xvda "vhd:$DIR/root.vhd")"
	guest_says two "load begins"
	sleep 2
	xl destroy two
	wait "${GUEST_XL[two]}" || true
	expect_eq "$(tap-ctl list)" "" "taps after the guest's destruction"
	expect_eq "$(xenstore_vbds)" "" "backends after the guest's destruction"
	check_vhd "$DIR/root.vhd"
}

# A disk that can't be is an error of xl's, and the guest goes on.
test_attach_of_what_is_no_vhd() {
	make_child "$DIR/root.vhd" /lab/root.vhd
	make_raw "$DIR/no.vhd" 1
	guest_paused three "$(by_script xvda "vhd:$DIR/root.vhd")"
	! xl block-attach three "$(by_script xvdb "vhd:$DIR/no.vhd")" || fail "xl attached it"
	expect_eq "$(tap-ctl list | wc -l)" 1 "taps after the refusal"
	xl destroy three
	expect_eq "$(xenstore_vbds)" "" "backends at the end"
}

run_tests "$@"
