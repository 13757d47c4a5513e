#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# ext4 and xfs on a tap: their files survive unmount, destroy and re-create, and
# fsck finds nothing.
. "$(dirname "$0")/lib/blktap.sh"

FILES=40

fill_files() { # DIRECTORY
	local i noise

	mkdir -p "$1/a/b" "$1/many"
	noise=$(head -c $((FILES * 997)) /dev/urandom | base64 -w 0)
	for ((i = 0; i < FILES; i++)); do
		printf %s "${noise:i:i * 997 + 1}" >"$1/many/$i"
	done
	head -c 3000000 /dev/urandom >"$1/a/b/large"
	truncate -s 5M "$1/a/sparse"
	ln "$1/a/b/large" "$1/hard"
	ln -s a/b/large "$1/soft"
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$DIR/sums"
}

check_files() { # DIRECTORY
	(cd "$1" && sha256sum --quiet -c "$DIR/sums") || fail "files differ"
}

# fs_on IMAGE TYPE MKFS... -- FSCK...: a life of a filesystem on an image.
fs_on() {
	local image=$1 type=$2 mkfs=()
	shift 2

	while [ "$1" != -- ]; do
		mkfs+=("$1")
		shift
	done
	shift
	tap_create "$image"
	"${mkfs[@]}" "$DEV"
	mount_on "$type" "$DEV" "$DIR/mnt"
	fill_files "$DIR/mnt"
	umount "$DIR/mnt"
	"$@" "$DEV" || fail "$1 finds errors"
	tap_destroy "$MINOR"

	tap_create "$image"
	mount_on "$type" "$DEV" "$DIR/mnt"
	check_files "$DIR/mnt"
	rm -r "$DIR/mnt/many"
	umount "$DIR/mnt"
	"$@" "$DEV" || fail "$1 finds errors after the removal"
	tap_destroy "$MINOR"
	case $image in
	vhd:*) check_vhd "${image#vhd:}" ;;
	esac
}

test_ext4_on_raw() {
	requires mkfs.ext4 e2fsck
	make_raw "$DIR/r.img" 64
	fs_on "aio:$DIR/r.img" ext4 mkfs.ext4 -q -- e2fsck -fn
}

test_ext4_on_dynamic() {
	requires mkfs.ext4 e2fsck
	make_dynamic "$DIR/d.vhd" 64
	fs_on "vhd:$DIR/d.vhd" ext4 mkfs.ext4 -q -- e2fsck -fn
}

test_ext4_on_a_chain() {
	requires mkfs.ext4 e2fsck
	make_chain "$DIR/c" 64 3
	fs_on "vhd:$DIR/c3.vhd" ext4 mkfs.ext4 -q -- e2fsck -fn
}

test_xfs_on_dynamic() {
	requires mkfs.xfs xfs_repair
	requires_fs xfs
	make_dynamic "$DIR/d.vhd" 320
	fs_on "vhd:$DIR/d.vhd" xfs mkfs.xfs -q -f -- xfs_repair -n
}

# What fstrim gives back is gone from the image file.
test_fstrim_on_raw() {
	local before after

	requires mkfs.ext4 fstrim
	make_raw "$DIR/r.img" 64
	tap_create "aio:$DIR/r.img"
	[ "$(<"/sys/block/$TD/queue/discard_max_bytes")" -gt 0 ] || fail "no discard on a raw file"
	mkfs.ext4 -q "$DEV"
	mount_on ext4 "$DEV" "$DIR/mnt"
	head -c 30M /dev/urandom >"$DIR/mnt/large"
	head -c 1M /dev/urandom >"$DIR/mnt/kept"
	sha256sum "$DIR/mnt/kept" >"$DIR/sums"
	sync -f "$DIR/mnt"
	before=$(stat -c %b "$DIR/r.img")
	rm "$DIR/mnt/large"
	sync -f "$DIR/mnt"
	fstrim "$DIR/mnt"
	after=$(stat -c %b "$DIR/r.img")
	[ $((before - after)) -gt $((28 * 2048)) ] ||
		fail "the image had $before sectors and has $after after fstrim"
	sha256sum --quiet -c "$DIR/sums"
	umount "$DIR/mnt"
	e2fsck -fn "$DEV" || fail "e2fsck finds errors"
}

# A power cut of the mildest kind: the tapdisk is killed, what was synced stays.
test_synced_files_survive_a_killed_tapdisk() {
	requires mkfs.ext4 e2fsck
	make_dynamic "$DIR/d.vhd" 64
	tap_create "vhd:$DIR/d.vhd"
	mkfs.ext4 -q "$DEV"
	mount_on ext4 "$DEV" "$DIR/mnt"
	fill_files "$DIR/mnt"
	sync -f "$DIR/mnt"
	kill -KILL "$PID"
	umount "$DIR/mnt" || umount -l "$DIR/mnt"
	wait_for 10 tap_cleared "$MINOR"
	check_vhd "$DIR/d.vhd"
	tap_create "vhd:$DIR/d.vhd"
	e2fsck -fp "$DEV" || [ $? = 1 ] || fail "e2fsck can't repair"
	mount_on ext4 "$DEV" "$DIR/mnt"
	check_files "$DIR/mnt"
}

tap_cleared() { # MINOR of a tap whose tapdisk is dead
	[ -z "$(tap_line "$1")" ] || tap-ctl free -m "$1"
}

run_tests "$@"
