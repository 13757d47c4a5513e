#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: uml kdbg
# timeout: 600
# What an image may lie on: files without direct I/O, 4096-byte sectors, extents
# that have to be read first, filesystems short of memory, other taps.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"

MODE=layout
MIB=4

# write_and_verify IMAGE [OPTION...]: and again after it was opened anew.
write_and_verify() {
	local image=$1
	shift

	tap_create "$image"
	fio_write "$DEV" "$MIB" "$@"
	tap_destroy "$MINOR"
	tap_create "$image" -R
	fio_verify "$DEV" "$MIB" "$@"
	tap_destroy "$MINOR"
}

# tmpfs takes no direct I/O before Linux 6.6.
test_tmpfs() {
	local dir

	dir=$(mktemp -d /dev/shm/backing.XXXXXX)
	defer rm -r "$dir"
	make_raw "$dir/r.img" "$MIB"
	write_and_verify "aio:$dir/r.img"
	make_chain "$dir/c" "$MIB" 2
	write_and_verify "vhd:$dir/c2.vhd" --fsync=32
	check_vhd "$dir/c2.vhd"
}

test_a_disk_with_4096_byte_sectors() {
	ram_disk big "$MIB" 4096
	tap_create aio:/dev/big
	expect_eq "$(blockdev --getss "$DEV")" 4096 "logical sectors of the disk"
	tap_destroy "$MINOR"
	write_and_verify aio:/dev/big --bssplit=4k/50:64k/50 --blockalign=4k
}

# The images have sectors of 512 bytes, which the device beneath can't write.
test_images_on_4096_byte_sectors() {
	ram_disk big $((MIB * 3)) 4096
	mkfs.ext4 -q -E nodiscard /dev/big
	mount_on ext4 /dev/big "$DIR/mnt"
	make_raw "$DIR/mnt/r.img" "$MIB"
	write_and_verify "aio:$DIR/mnt/r.img"
	rm "$DIR/mnt/r.img"
	make_chain "$DIR/mnt/c" "$MIB" 2
	write_and_verify "vhd:$DIR/mnt/c2.vhd"
	check_vhd "$DIR/mnt/c2.vhd"
}

# fragment DIRECTORY BLOCKS: leaves an ext4 no free space but that many single blocks.
fragment() {
	local i punch=()

	fallocate -l "$(df --output=avail -B1 "$1" | tail -n 1)" "$1/filler"
	for ((i = 0; i < $2; i++)); do
		punch+=(-c "fpunch $((i * 8))k 4k")
	done
	xfs_io "${punch[@]}" "$1/filler"
	sync -f "$1"
}

# Many extents, and none of them known when the reads come: IOCB_NOWAIT can't go on
# then, and nothing may hang.
test_a_fragmented_file_whose_extents_are_cold() {
	local job=(--bssplit=4k --blockalign=4k --iodepth_batch=16)

	ram_disk frag $((MIB * 2 + 16)) 512
	mkfs.ext4 -q -m 0 -E nodiscard /dev/frag
	mount_on ext4 /dev/frag "$DIR/mnt"
	fragment "$DIR/mnt" $((MIB * 256 + 64))
	make_raw "$DIR/mnt/r.img" "$MIB"
	fio_write "$DIR/mnt/r.img" "$MIB" "${job[@]}"
	[ "$(xfs_io -r -c fiemap "$DIR/mnt/r.img" | wc -l)" -gt $((MIB * 200)) ] ||
		fail "the image is not fragmented"
	umount "$DIR/mnt"
	mount_on ext4 /dev/frag "$DIR/mnt"
	echo 3 >/proc/sys/vm/drop_caches
	tap_create "aio:$DIR/mnt/r.img"
	fio_verify "$DEV" "$MIB" "${job[@]}"
	fio_write "$DEV" "$MIB" "${job[@]}"
	tap_destroy "$MINOR"
}

# The submitter's limit is for its own files, not for those of our images.
test_a_submitter_with_a_file_size_limit() {
	head -c 1M /dev/urandom >"$DIR/data"
	make_raw "$DIR/r.img" 16
	make_dynamic "$DIR/d.vhd" 16
	for image in "aio:$DIR/r.img" "vhd:$DIR/d.vhd"; do
		tap_create "$image"
		prlimit --fsize=65536 dd if="$DIR/data" of="$DEV" bs=64k seek=128 conv=notrunc \
			oflag=direct status=none || fail "$image: dd: status $?"
		dd if="$DEV" bs=64k skip=128 count=16 iflag=direct status=none |
			cmp - "$DIR/data" || fail "$image: other data than written"
		tap_destroy "$MINOR"
	done
}

test_a_tap_on_a_file_on_a_tap() {
	local below

	make_dynamic "$DIR/below.vhd" $((MIB * 3 + 16))
	tap_create "vhd:$DIR/below.vhd"
	below=$MINOR
	mkfs.ext4 -q "$DEV"
	mount_on ext4 "$DEV" "$DIR/mnt"
	make_chain "$DIR/mnt/c" "$MIB" 2
	write_and_verify "vhd:$DIR/mnt/c2.vhd" --fsync=64
	check_vhd "$DIR/mnt/c2.vhd"
	umount "$DIR/mnt"
	e2fsck -fn /dev/"$(disk_name "$below")" || fail "e2fsck finds errors"
	tap_destroy "$below"
	check_vhd "$DIR/below.vhd"
}

test_a_tap_on_a_tap() {
	make_dynamic "$DIR/below.vhd" "$MIB"
	tap_create "vhd:$DIR/below.vhd"
	write_and_verify "aio:$DEV"
}

# --- little memory -----------------------------------------------------------

# limited COMMAND...: with 32 MiB of memory for all that it does, its page cache too.
limited() {
	local group=/sys/fs/cgroup/blktap

	mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
	mkdir -p "$group"
	echo $((32 << 20)) >"$group"/memory.max
	(
		echo "$BASHPID" >"$group"/cgroup.procs
		"$@"
	) || fail "with little memory: $*: status $?"
	[ "$(awk '$1 == "max" { print $2 }' "$group/memory.events")" -gt 0 ] ||
		fail "the limit was never reached"
	rmdir "$group"
}

# Dirty pages of a filesystem on a tap, whose own image lies on a filesystem.
fs_with_little_memory() { # FILESYSTEM FILESYSTEM-BENEATH
	requires "mkfs.$1" "mkfs.$2"
	requires_fs "$1"
	requires_fs "$2"
	ram_disk back 420 512
	"mkfs.$2" -q /dev/back
	mount_on "$2" /dev/back "$DIR/back"
	make_dynamic "$DIR/back/d.vhd" 320
	tap_create "vhd:$DIR/back/d.vhd"
	"mkfs.$1" -q "$DEV"
	mount_on "$1" "$DEV" "$DIR/mnt"
	limited run_fio buffered --directory="$DIR/mnt" --size=$((40 / SCALE))M --numjobs=2 \
		--rw=randwrite --bs=16k --ioengine=psync --fsync=512 --do_verify=1
	umount "$DIR/mnt"
	case $1 in
	ext4) e2fsck -fn "$DEV" ;;
	xfs) xfs_repair -n "$DEV" ;;
	esac >"$DIR/fsck" 2>&1 || fail "fsck: $(cat "$DIR/fsck")"
	tap_destroy "$MINOR"
	check_vhd "$DIR/back/d.vhd"
}

test_ext4_on_ext4_with_little_memory() {
	fs_with_little_memory ext4 ext4
}

test_ext4_on_xfs_with_little_memory() {
	fs_with_little_memory ext4 xfs
}

test_xfs_on_ext4_with_little_memory() {
	fs_with_little_memory xfs ext4
}

test_xfs_on_xfs_with_little_memory() {
	fs_with_little_memory xfs xfs
}

run_tests "$@"
