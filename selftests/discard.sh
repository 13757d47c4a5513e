#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Discard, from a filesystem on the disk down to the space that an image takes: it is
# given back, what is not discarded stays, and the images stay sound.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"

MIB=16

# KiB that a file takes.
space() {
	du -k "$1" | cut -f 1
}

# takes_at_most KIB FILE: as space is given back a moment after the discard is done.
takes_at_most() {
	[ "$(space "$2")" -le "$1" ]
}

fill() { # DEVICE BYTE: all of it
	tr '\0' "$2" </dev/zero | dd of="$1" bs=1M count="$MIB" iflag=fullblock oflag=direct \
		conv=fsync status=none
}

# Again and again the image is filled and given back: it does not grow.
fill_and_discard() {
	local i size

	make_dynamic "$DIR/d.vhd" "$MIB"
	for i in 1 2; do
		tap_create "vhd:$DIR/d.vhd"
		fill "$DEV" "$i"
		[ -n "${size:-}" ] || size=$(stat -c %s "$DIR/d.vhd")
		blkdiscard "$DEV"
		wait_for 10 takes_at_most 2048 "$DIR/d.vhd"
		expect_eq "$(tr -d '\0' <"$DEV" | wc -c)" 0 "bytes not zero"
		tap_destroy "$MINOR"
		check_vhd "$DIR/d.vhd"
		expect_eq "$(stat -c %s "$DIR/d.vhd")" "$size" "size of the file"
		[ "$(vhd-util query -n "$DIR/d.vhd" -s)" -le 4096 ] || fail "there are blocks left"
	done
}

# What a child hides of its parent does not come to light.
child_hides_parent() {
	make_dynamic "$DIR/p.vhd" "$MIB"
	tap_create "vhd:$DIR/p.vhd"
	fill "$DEV" P
	tap_destroy "$MINOR"
	make_child "$DIR/c.vhd" "$DIR/p.vhd"
	tap_create "vhd:$DIR/c.vhd"
	fill "$DEV" C
	blkdiscard -o 1M -l 10M "$DEV"
	wait_for 10 takes_at_most $((7 << 10)) "$DIR/c.vhd"
	expect_eq "$(tr -dc P <"$DEV" | wc -c)" 0 "bytes of the parent"
	expect_eq "$(head -c 1M "$DEV" | tr -d C | wc -c)" 0 "bytes changed before"
	expect_eq "$(tail -c 5M "$DEV" | tr -d C | wc -c)" 0 "bytes changed behind"
	tap_destroy "$MINOR"
	check_vhd "$DIR/c.vhd"
	tap_create "vhd:$DIR/c.vhd"
	expect_eq "$(tr -dc P <"$DEV" | wc -c)" 0 "bytes of the parent, later"
	tap_destroy "$MINOR"
}

test_fstrim_of_ext4() {
	MODE=layout
	make_dynamic "$DIR/d.vhd" 64
	tap_create "vhd:$DIR/d.vhd"
	mkfs.ext4 -q -E nodiscard "$DEV"
	mount_on ext4 "$DEV" "$DIR/mnt"
	fill "$DIR/keep" k
	head -c 5M "$DIR/keep" >"$DIR/mnt/keep"
	cat "$DIR/keep" "$DIR/keep" >"$DIR/mnt/go"
	head -c 3M "$DIR/keep" >"$DIR/mnt/stay"
	sync -f "$DIR/mnt"
	[ "$(space "$DIR/d.vhd")" -gt $((38 << 10)) ] || fail "the image takes $(space "$DIR/d.vhd") KiB"

	rm "$DIR/mnt/go"
	sync -f "$DIR/mnt"
	fstrim "$DIR/mnt"
	wait_for 10 takes_at_most $((20 << 10)) "$DIR/d.vhd"
	cmp -n 5242880 "$DIR/mnt/keep" "$DIR/keep"
	umount "$DIR/mnt"
	tap_destroy "$MINOR"
	check_vhd "$DIR/d.vhd"

	tap_create "vhd:$DIR/d.vhd"
	e2fsck -fn "$DEV" >/dev/null || fail "e2fsck: status $?"
	mount_on ext4 "$DEV" "$DIR/mnt"
	cmp -n 3145728 "$DIR/mnt/stay" "$DIR/keep"
	umount "$DIR/mnt"
	tap_destroy "$MINOR"
}

# One half is written and verified while the other half comes and goes.
test_discard_under_load() {
	local fio MODE=layout

	make_dynamic "$DIR/d.vhd" "$MIB"
	tap_create "vhd:$DIR/d.vhd"
	(fio_write "$DEV" $((MIB / 2))) &
	fio=$!
	while kill -0 "$fio" 2>/dev/null; do
		dd if=/dev/zero of="$DEV" bs=1M seek=$((MIB / 2)) count=3 oflag=direct \
			conv=notrunc status=none
		blkdiscard -o $((MIB / 2))M -l $((MIB / 2 - 1))M "$DEV"
	done
	wait "$fio"
	tap_destroy "$MINOR"
	check_vhd "$DIR/d.vhd"
	tap_create "vhd:$DIR/d.vhd"
	fio_verify "$DEV" $((MIB / 2))
	tap_destroy "$MINOR"
}

for case in fill_and_discard child_hides_parent; do
	for mode in ring layout; do
		eval "test_${case}_in_${mode}_mode() { MODE=$mode; $case; }"
	done
done

test_raw_file() {
	make_raw "$DIR/r.img" "$MIB"
	tap_create "aio:$DIR/r.img"
	fill "$DEV" r
	blkdiscard -o 4M -l 8M "$DEV"
	wait_for 10 takes_at_most $(((MIB - 8) << 10)) "$DIR/r.img"
	expect_eq "$(tr -d '\0' <"$DEV" | wc -c)" $(((MIB - 8) << 20)) "bytes that are left"
	tap_destroy "$MINOR"
}

run_tests "$@"
