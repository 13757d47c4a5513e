#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# Xen's own tools, unmodified: a guest whose disks come from xl's script=block-tap, without
# xen-blkback-glue and with it, and one from phy.
# shellcheck source=selftests/xen/lib.sh
. "$(dirname "$0")/lib.sh"

# The guest's root is a child of an image that nobody can write. Disks come and go, one
# can't come, and the guest shuts down.
test_a_guest_boots_from_a_differencing_vhd() {
	local domid

	make_child "$DIR/root.vhd" /lab/root.vhd
	make_dynamic "$DIR/data.vhd" 32
	make_raw "$DIR/no.vhd" 1
	guest_start one files,xvdb,xvdc "$(by_script xvda "vhd:$DIR/root.vhd")"
	guest_says one "up on /dev/xvda"
	guest_says one "files: passed"

	# The glue finds what is there, and what comes.
	glue_up
	domid=$(xl domid one)
	wait_for 10 tied "$domid/51712"
	! xl block-attach one "$(by_script xvdd "vhd:$DIR/no.vhd")" || fail "xl attached it"
	expect_eq "$(tap-ctl list | wc -l)" 1 "taps after the refusal"
	xl block-attach one "$(by_script xvdb "vhd:$DIR/data.vhd")"
	wait_for 10 tied "$domid/51712" "$domid/51728"
	guest_says one "xvdb came: 65536 sectors"
	guest_says one "fio /dev/xvdb: passed"
	guest_says one "xvdb discard: passed"	# one under way fails when the disk goes
	xl block-detach one xvdb
	expect_eq "$(tap-ctl list -t vhd -f "$DIR/data.vhd")" "" "tap of a detached disk"
	a_disk_by_phy one "$domid"

	guest_end one
	all_gone
	check_vhd "$DIR/root.vhd"
	check_vhd "$DIR/data.vhd"
	guest_files_are_there "$DIR/root.vhd" one
}

# Its tap is somebody else's, and stays.
a_disk_by_phy() { # GUEST DOMID
	make_raw "$DIR/phy.img" 8
	tap_create "aio:$DIR/phy.img"
	xl block-attach "$1" "phy:$DEV,xvdc,w"
	wait_for 10 tied "$2/51712" "$2/51744"
	guest_says "$1" "read of xvdc: passed"
	expect_fail 110 "guest" tap-ctl destroy -m "$MINOR" -t 1
	xl block-detach "$1" xvdc
	tap_destroy "$MINOR"
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

run_tests "$@"
