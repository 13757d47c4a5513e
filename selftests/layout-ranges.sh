#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Layout mode beyond reads and writes of files: block devices, discards, zeroes,
# recalls, and the limit of the maps' memory.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"

export MODE=layout
# Three blocks of a VHD.
MIB=6

stat_of() { # NAME
	cat "$CLASS/blktap$MINOR/statistics/$1"
}

# Blocks of a file that take up space, in KiB.
space_of() {
	du -k "$1" | cut -f 1
}

# null_disk MIB [ATTRIBUTE=VALUE...]: sets NULL to a RAM disk with queues.
null_disk() {
	local name=nullb$BASHPID dir option

	dir=/sys/kernel/config/nullb/$name
	modprobe -q null_blk nr_devices=0 || true
	mkdir "$dir"
	defer rmdir "$dir"
	for option in memory_backed=1 "size=$1" "${@:2}"; do
		echo "${option#*=}" >"$dir/${option%%=*}"
	done
	echo 1 >"$dir/power"
	# Named after its folder, or its number.
	NULL=/dev/$name
	[ -b "$NULL" ] || NULL=/dev/nullb$(cat "$dir/index")
}

# What goes wrong with a disk's data goes wrong with a reference, too.
reference() { # MIB
	make_raw "$DIR/reference" "$1"
	head -c "${1}M" /dev/urandom >"$DIR/reference"
	dd if="$DIR/reference" of="$DEV" bs=256k oflag=direct status=none
}

expect_same() { # WHAT
	cmp -n "$(stat -c %s "$DIR/reference")" "$DEV" "$DIR/reference" || fail "$1"
}

test_a_block_device_is_served_by_bios() {
	null_disk "$MIB"
	tap_create "aio:$NULL"
	fio_write "$DEV" "$MIB"
	fio_write "$DEV" "$MIB" --rw=randrw --iodepth_batch=16 --iodepth_batch_complete_min=8
	expect_eq "$(stat_of copied)" 0 "bytes copied"
	expect_eq "$(stat_of upcalls)" 1 "upcalls"
	tap_destroy "$MINOR"
	fio_verify "$NULL" "$MIB" --rw=randrw
}

test_a_vhd_on_a_block_device() {
	null_disk $((MIB * 2 + 8))
	make_dynamic "$DIR/d.vhd" "$MIB"
	dd if="$DIR/d.vhd" of="$NULL" bs=64k oflag=direct conv=sync status=none
	# On a device the footer is at its end.
	tail -c 512 "$DIR/d.vhd" | dd of="$NULL" bs=512 status=none \
		seek=$(($(blockdev --getsz "$NULL") - 1))
	tap_create "vhd:$NULL"
	fio_write "$DEV" "$MIB"
	expect_eq "$(stat_of copied)" 0 "bytes copied"
	tap_destroy "$MINOR"
	check_vhd "$NULL"
}

# Blocks of 4096 bytes below: nothing smaller comes through.
test_a_block_device_with_large_sectors() {
	null_disk "$MIB" blocksize=4096
	tap_create "aio:$NULL"
	expect_eq "$(blockdev --getss "$DEV")" 4096 "sector size"
	fio_write "$DEV" "$MIB" --bssplit=4k/50:64k/50 --blockalign=4096
	tap_destroy "$MINOR"
}

# The device can't do the image's sectors: its page cache does.
test_a_vhd_on_large_sectors() {
	null_disk $((MIB * 2 + 8)) blocksize=4096
	make_dynamic "$DIR/d.vhd" "$MIB"
	dd if="$DIR/d.vhd" of="$NULL" bs=64k conv=sync status=none
	tail -c 512 "$DIR/d.vhd" | dd of="$NULL" bs=512 status=none \
		seek=$(($(blockdev --getsz "$NULL") - 1)) conv=notrunc
	sync
	tap_create "vhd:$NULL"
	fio_write "$DEV" "$MIB"
	tap_destroy "$MINOR"
	check_vhd "$NULL"
}

# What is asked for ends with the disk.
test_disks_that_end_within_a_chunk() {
	local kib

	for kib in 4 1024 5124; do
		truncate -s "${kib}K" "$DIR/r.img"
		tap_create "aio:$DIR/r.img"
		head -c "${kib}K" /dev/urandom >"$DIR/reference"
		dd if="$DIR/reference" of="$DEV" bs=4k oflag=direct status=none
		expect_same "a disk of $kib KiB"
		tap_destroy "$MINOR"
		cmp "$DIR/r.img" "$DIR/reference" || fail "the image of $kib KiB"
		rm "$DIR/r.img"
	done
	vhd-util create -n "$DIR/d.vhd" -s 3
	tap_create "vhd:$DIR/d.vhd"
	reference 3
	expect_same "a VHD of 3 MiB"
}

# zero_some: zeroes three ranges of the disk and of the reference.
zero_some() {
	local range

	for range in 0:1048576 3145728:4096 4190208:131072; do
		blkdiscard -z -o "${range%:*}" -l "${range#*:}" "$DEV"
		dd if=/dev/zero of="$DIR/reference" bs=4k conv=notrunc status=none \
			seek=$((${range%:*} / 4096)) count=$((${range#*:} / 4096))
	done
}

zeroes_on() { # IMAGE
	tap_create "$1"
	reference 8
	zero_some
	expect_same "zeroed ranges of $1"
	tap_destroy "$MINOR"
	tap_create "$1" -R
	expect_same "zeroed ranges of $1, opened anew"
	tap_destroy "$MINOR"
}

test_zeroes_to_a_raw_file() {
	make_raw "$DIR/r.img" 8
	zeroes_on "aio:$DIR/r.img"
}

test_zeroes_to_a_block_device() {
	null_disk 8
	zeroes_on "aio:$NULL"
}

test_zeroes_to_a_dynamic_vhd() {
	make_dynamic "$DIR/d.vhd" 8
	zeroes_on "vhd:$DIR/d.vhd"
	check_vhd "$DIR/d.vhd"
}

test_zeroes_hide_what_the_parent_has() {
	make_dynamic "$DIR/p.vhd" 8
	tap_create "vhd:$DIR/p.vhd"
	reference 8
	tap_destroy "$MINOR"
	make_child "$DIR/c.vhd" "$DIR/p.vhd"
	tap_create "vhd:$DIR/c.vhd"
	zero_some
	expect_same "zeroed ranges of the child"
	tap_destroy "$MINOR"
	check_vhd "$DIR/c.vhd"
	tap_create "vhd:$DIR/c.vhd" -R
	expect_same "zeroed ranges of the child, opened anew"
}

test_zeroes_where_there_is_nothing_take_no_space() {
	local before

	make_dynamic "$DIR/d.vhd" "$MIB"
	before=$(stat -c %s "$DIR/d.vhd")
	tap_create "vhd:$DIR/d.vhd"
	blkdiscard -z "$DEV"
	tap_destroy "$MINOR"
	expect_eq "$(stat -c %s "$DIR/d.vhd")" "$before" "size of the file"
}

test_a_discard_gives_space_back() {
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	reference 8
	[ "$(space_of "$DIR/r.img")" -ge 8192 ] || fail "written, but not there"
	blkdiscard -o 1048576 -l 4194304 "$DEV"
	[ "$(space_of "$DIR/r.img")" -le $((8192 - 4096 + 64)) ] ||
		fail "$(space_of "$DIR/r.img") KiB after the discard"
	dd if=/dev/zero of="$DIR/reference" bs=1M seek=1 count=4 conv=notrunc status=none
	expect_same "what is around a discard"
}

# Nobody who reads or writes notices that all extents are taken away and asked for again.
recalls_under() { # IMAGE
	local load n=0

	tap_create "$1"
	{
		fio_write "$DEV" "$MIB" --rw=randrw
		fio_reseed
		fio_write "$DEV" "$MIB"
	} &
	load=$!
	while kill -0 "$load" 2>/dev/null; do
		# The load's end may interrupt it.
		echo 1 2>/dev/null >"$CLASS/blktap$MINOR/recall" || continue
		n=$((n + 1))
	done
	wait "$load"
	[ "$n" -ge 3 ] || fail "only $n recalls: the load was too short"
	[ "$(stat_of upcalls)" -ge 2 ] || fail "recalled, but never asked again"
	tap_destroy "$MINOR"
}

test_recalls_under_load() {
	make_dynamic "$DIR/d.vhd" "$MIB"
	recalls_under "vhd:$DIR/d.vhd"
	check_vhd "$DIR/d.vhd"
}

test_recalls_under_load_of_a_chain() {
	make_chain "$DIR/c" "$MIB" 3
	recalls_under "vhd:$DIR/c3.vhd"
	check_vhd "$DIR/c3.vhd"
}

# What was known of the image is asked for again.
test_maps_are_given_back_when_memory_is_short() {
	local name

	make_chain "$DIR/c" 16 2
	tap_create "vhd:$DIR/c2.vhd"
	dd if=/dev/urandom of="$DIR/data" bs=1M count=8 status=none
	dd if="$DIR/data" of="$DEV" bs=1M oflag=direct conv=fsync status=none
	for name in hits misses upcalls commits zero_copied extents map_bytes; do
		[ "$(stat_of "$name")" -gt 0 ] || fail "$name: $(stat_of "$name")"
	done
	[ "$(<"$CLASS/blktap$MINOR/map_limit")" -gt "$(stat_of map_bytes)" ] || fail "map_limit"
	echo 2 >/proc/sys/vm/drop_caches
	wait_for 10 maps_are_empty
	cmp -n $((8 << 20)) "$DIR/data" "$DEV"
	tap_destroy "$MINOR"
}

maps_are_empty() {
	[ "$(stat_of extents)" = 0 ] && [ "$(stat_of map_bytes)" = 0 ]
}

test_the_maps_keep_to_their_limit() {
	local MIB

	MIB=$(scaled 24)
	make_chain "$DIR/c" "$MIB" 2
	tap_create "vhd:$DIR/c2.vhd"
	expect_write_fails "$CLASS/blktap$MINOR/map_limit" 4096 "Invalid argument"
	echo 65536 >"$CLASS/blktap$MINOR/map_limit"
	# Every other sector: nothing that could be one extent.
	fio --name=comb --filename="$DEV" --size="${MIB}M" --rw=write:4k --bs=4k --direct=1 \
		--ioengine=libaio --iodepth=16 --verify=crc32c --verify_fatal=1 --verify_backlog=512 \
		>"$DIR/fio" || fail "$(tail -20 "$DIR/fio")"
	sync "$DEV"
	[ "$(stat_of map_bytes)" -le $((65536 * 3)) ] || fail "$(stat_of map_bytes) bytes of maps"
	tap_destroy "$MINOR"
	check_vhd "$DIR/c2.vhd"
}

run_tests "$@"
