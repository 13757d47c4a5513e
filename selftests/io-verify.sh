#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What fio writes to a tap it reads back: at once, after the image was closed and
# opened again, and through qemu-img, for every kind of image.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"

# Three blocks of a VHD.
MIB=6

# verify_image IMAGE [OPTION...]: write and verify, re-create, verify again.
verify_image() {
	verify_life 1 "$@"
}

# verify_later IMAGE [OPTION...]: write, re-create, verify.
verify_later() {
	verify_life 0 "$@"
}

verify_life() { # WHETHER-AT-ONCE IMAGE [OPTION...]
	local at_once=$1 image=$2
	shift 2

	tap_create "$image"
	fio_write "$DEV" "$MIB" --do_verify="$at_once" "$@"
	tap_destroy "$MINOR"
	case $image in
	vhd:*) check_vhd "${image#vhd:}" ;;
	esac
	tap_create "$image" -R
	fio_verify "$DEV" "$MIB" "$@"
	tap_destroy "$MINOR"
}

# What qemu-img makes of a VHD is what the tap shows of it.
compare_with_qemu() { # VHD
	tap_create "vhd:$1" -R
	qemu-img convert -f vpc -O raw "$1" "$DIR/converted"
	# qemu may round the size up to whole cylinders, with zeroes.
	cmp -n "$(blockdev --getsize64 "$DEV")" "$DEV" "$DIR/converted" ||
		fail "qemu-img reads $1 differently"
	tap_destroy "$MINOR"
	rm "$DIR/converted"
}

test_raw() {
	make_raw "$DIR/r.img" "$MIB"
	verify_image "aio:$DIR/r.img"
	# The file itself holds the same.
	fio_verify "$DIR/r.img" "$MIB"
}

test_raw_on_a_block_device() {
	local loop

	modprobe -q loop || true
	make_raw "$DIR/r.img" "$MIB"
	loop=$(losetup --show -f "$DIR/r.img")
	defer losetup -d "$loop"
	verify_image "aio:$loop"
}

test_fixed() {
	make_fixed "$DIR/f.vhd" "$MIB"
	verify_image "vhd:$DIR/f.vhd"
	compare_with_qemu "$DIR/f.vhd"
}

test_dynamic() {
	make_dynamic "$DIR/d.vhd" "$MIB"
	verify_image "vhd:$DIR/d.vhd"
	compare_with_qemu "$DIR/d.vhd"
}

# Found by stress: the last block of the image, and the last page of the disk, are not whole.
test_odd_sizes() {
	local MIB=3

	make_raw "$DIR/r.img" "$MIB"
	truncate -s +1536 "$DIR/r.img"
	verify_image "aio:$DIR/r.img"
	tap_create "aio:$DIR/r.img"
	head -c 512 /dev/urandom >"$DIR/last"
	dd if="$DIR/last" of="$DEV" bs=512 seek=6146 oflag=direct status=none
	tail -c 512 "$DEV" | cmp - "$DIR/last" || fail "the last sector differs"
	tap_destroy "$MINOR"
	make_dynamic "$DIR/d.vhd" "$MIB"
	verify_later "vhd:$DIR/d.vhd"
	make_child "$DIR/c.vhd" "$DIR/d.vhd"
	verify_later "vhd:$DIR/c.vhd"
}

test_dynamic_made_by_qemu() {
	qemu-img create -q -f vpc -o subformat=dynamic,force_size=on "$DIR/q.vhd" "${MIB}M"
	verify_later "vhd:$DIR/q.vhd"
	compare_with_qemu "$DIR/q.vhd"
}

test_fixed_made_by_qemu() {
	qemu-img create -q -f vpc -o subformat=fixed,force_size=on "$DIR/q.vhd" "${MIB}M"
	verify_later "vhd:$DIR/q.vhd"
	compare_with_qemu "$DIR/q.vhd"
}

# The child is written; the parent must stay as it is.
verify_chain() { # DEPTH
	local parent=$DIR/c$(($1 - 1)).vhd leaf=$DIR/c$1.vhd before

	make_chain "$DIR/c" "$MIB" "$1"
	before=$(sha256sum <"$parent")
	verify_image "vhd:$leaf"
	expect_eq "$(sha256sum <"$parent")" "$before" "sum of the parent"
}

test_chain_of_2() {
	verify_chain 2
}

test_chain_of_5() {
	verify_chain 5
}

# What is not in the child comes from the right ancestor, sector by sector.
test_chain_with_data_in_every_layer() {
	local i

	make_raw "$DIR/model" 8
	make_dynamic "$DIR/c1.vhd" 8
	for i in 1 2 3 4 5; do
		[ "$i" = 1 ] || make_child "$DIR/c$i.vhd" "$DIR/c$((i - 1)).vhd"
		tap_create "vhd:$DIR/c$i.vhd"
		scribble "$i" "$DEV" "$DIR/model"
		cmp -n $((8 << 20)) "$DEV" "$DIR/model" || fail "layer $i"
		tap_destroy "$MINOR"
	done
	for i in 1 2 3 4 5; do
		check_vhd "$DIR/c$i.vhd"
	done
	tap_create "vhd:$DIR/c5.vhd" -R
	cmp -n $((8 << 20)) "$DEV" "$DIR/model" || fail "after all"
}

# scribble SEED FILE...: the same odd pieces to each file.
scribble() {
	local seed=$1 i at len f
	shift

	head -c 61440 /dev/urandom >"$DIR/noise"
	for i in 1 2 3 4; do
		at=$(((seed * 7919 + i * 2741) % 16000))
		len=$((1 + (seed * 31 + i * 17) % 120))
		for f; do
			dd if="$DIR/noise" of="$f" bs=512 count="$len" seek="$at" conv=notrunc \
				oflag=direct status=none
		done
	done
}

test_batched_submission() {
	make_dynamic "$DIR/d.vhd" "$MIB"
	verify_later "vhd:$DIR/d.vhd" --iodepth_batch=16 --iodepth_batch_complete_min=8
}

test_buffered_with_fsync() {
	make_dynamic "$DIR/d.vhd" "$MIB"
	verify_image "vhd:$DIR/d.vhd" --direct=0 --fsync=64
}

test_mixed_reads_and_writes() {
	make_dynamic "$DIR/d.vhd" "$MIB"
	verify_image "vhd:$DIR/d.vhd" --rw=randrw --rwmixread=50
}

test_sequential() {
	make_dynamic "$DIR/d.vhd" "$MIB"
	verify_later "vhd:$DIR/d.vhd" --rw=write --bssplit=1m
}

test_four_jobs_on_one_disk() {
	make_dynamic "$DIR/d.vhd" 8
	tap_create "vhd:$DIR/d.vhd"
	run_fio four --filename="$DEV" --size=2M --offset_increment=2M \
		--numjobs=4 --rw=randwrite --bs=4k --direct=1 --iodepth=16 --do_verify=1
	tap_destroy "$MINOR"
	check_vhd "$DIR/d.vhd"
}

# Else a load that goes on for many rounds would prove nothing after the first.
test_a_round_of_writes_that_is_lost_is_seen() {
	make_raw "$DIR/r.img" 8
	fio_write "$DIR/r.img" 8
	cp "$DIR/r.img" "$DIR/before.img"
	fio_reseed
	fio_write "$DIR/r.img" 8
	fio_verify "$DIR/r.img" 8
	! (fio_verify "$DIR/before.img" 8) >"$DIR/said" 2>&1 || fail "it is not"
}

run_tests "$@"
