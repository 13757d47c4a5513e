#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Partitions of a tap appear as /dev/tdX1.., are found again when the image is
# attached anew, and keep the disk from being closed under them.
. "$(dirname "$0")/lib/blktap.sh"

partition() { # LABEL
	requires sfdisk
	make_dynamic "$DIR/d.vhd" 64
	tap_create "vhd:$DIR/d.vhd"
	printf 'label: %s\n,16M\n,8M\n,\n' "$1" | sfdisk -q --wipe always "$DEV"
	wait_for 10 test -b "/dev/${TD}3"
	expect_eq "$(cat "/sys/block/$TD/${TD}1/size")" $((16 * 2048)) "size of ${TD}1"
	expect_eq "$(cat "/sys/block/$TD/${TD}2/size")" $((8 * 2048)) "size of ${TD}2"
	mkfs.ext4 -q "/dev/${TD}2"
	mount_on ext4 "/dev/${TD}2" "$DIR/mnt"
	echo here >"$DIR/mnt/file"
	umount "$DIR/mnt"
	tap_destroy "$MINOR"
	[ ! -e "/dev/${TD}1" ] || fail "/dev/${TD}1 stays after destroy"

	tap_create "vhd:$DIR/d.vhd"
	wait_for 10 test -b "/dev/${TD}3"
	mount_on ext4 "/dev/${TD}2" "$DIR/mnt"
	expect_content "$DIR/mnt/file" here "file in ${TD}2"
}

test_mbr() {
	partition dos
}

test_gpt() {
	partition gpt
}

test_destroy_with_a_partition_mounted_is_refused() {
	local before

	partition dos
	before=$(tap-ctl list)
	expect_fail 16 "in use|busy|mount|open" tap-ctl destroy -p "$PID" -m "$MINOR"
	expect_eq "$(tap-ctl list)" "$before" "list after the refused destroy"
	expect_content "$DIR/mnt/file" here "file"
}

# Far more than the 15 of the old numbering.
test_thirty_partitions() {
	requires sfdisk
	make_raw "$DIR/r.img" 64
	tap_create "aio:$DIR/r.img"
	{ echo "label: gpt"; for _ in $(seq 30); do echo ",1M"; done; } | sfdisk -q "$DEV"
	wait_for 10 test -b "/dev/${TD}30"
	dd if=/dev/urandom of="/dev/${TD}30" bs=4k count=16 oflag=direct status=none
}

run_tests "$@"
