#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Images that can't be served: each is refused with its errno and a message that
# names it, and nothing is left behind.
. "$(dirname "$0")/lib/blktap.sh"

ENOENT=2 EACCES=13 EBUSY=16 EINVAL=22 EFBIG=27 ELOOP=40

# poke FILE OFFSET BYTES: bytes in printf's \x form
poke() {
	printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

be32() { # FILE OFFSET
	od -An -tu1 -j "$2" -N 4 "$1" | awk '{ print (($1 * 256 + $2) * 256 + $3) * 256 + $4 }'
}

# reseal FILE OFFSET LENGTH AT: recompute the one's complement checksum of a
# footer (512 bytes, at 64) or header (1024 bytes, at 36).
reseal() {
	local sum

	poke "$1" $(($2 + $4)) '\x00\x00\x00\x00'
	sum=$(od -An -v -tu1 -j "$2" -N "$3" "$1" |
		awk '{ for (i = 1; i <= NF; i++) s += $i } END { printf "%d", 4294967295 - s }')
	poke "$1" $(($2 + $4)) "$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' \
		$((sum >> 24 & 255)) $((sum >> 16 & 255)) $((sum >> 8 & 255)) $((sum & 255)))"
}

test_no_such_file() {
	expect_fail "$ENOENT" "$DIR/none.vhd.*no such file" tap-ctl create -a "vhd:$DIR/none.vhd"
	expect_fail "$ENOENT" "$DIR/none.img.*no such file" tap-ctl create -a "aio:$DIR/none.img"
}

test_no_such_directory() {
	expect_fail "$ENOENT" "no such file" tap-ctl create -a "vhd:$DIR/none/a.vhd"
}

test_a_directory() {
	local rc=0

	tap-ctl create -a "aio:$DIR" 2>"$DIR/err" || rc=$?
	[ "$rc" = 21 ] || [ "$rc" = "$EINVAL" ] || fail "status $rc: $(<"$DIR/err")"
	grep -q "$DIR" "$DIR/err" || fail "$(<"$DIR/err")"
}

test_not_a_vhd() {
	truncate -s 10M "$DIR/zeroes"
	head -c 3M /dev/urandom >"$DIR/noise"
	echo text >"$DIR/tiny"
	: >"$DIR/empty"
	for f in zeroes noise tiny empty; do
		expect_fail "$EINVAL" "$DIR/$f.*(not a vhd|no vhd)" tap-ctl create -a "vhd:$DIR/$f"
	done
}

test_truncated() {
	make_dynamic "$DIR/a.vhd" 16
	fill_dynamic "$DIR/a.vhd"
	for size in 100 600 1500; do
		head -c "$size" "$DIR/a.vhd" >"$DIR/cut$size.vhd"
		expect_fail "$EINVAL" "$DIR/cut$size.vhd" tap-ctl create -a "vhd:$DIR/cut$size.vhd"
	done
	# A block that the BAT points at is gone.
	truncate -s 64K "$DIR/a.vhd"
	expect_fail "$EINVAL" "$DIR/a.vhd" tap-ctl create -a "vhd:$DIR/a.vhd"
}

fill_dynamic() { # VHD: gives it a block
	tap_create "vhd:$1"
	dd if=/dev/urandom of="$DEV" bs=64K count=1 oflag=direct status=none
	tap_destroy "$MINOR"
}

test_truncated_fixed() {
	make_fixed "$DIR/f.vhd" 8
	truncate -s 5M "$DIR/f.vhd"
	expect_fail "$EINVAL" "$DIR/f.vhd" tap-ctl create -a "vhd:$DIR/f.vhd"
}

test_wrong_checksum_of_footer() {
	local end

	make_dynamic "$DIR/a.vhd" 8
	end=$(($(stat -c %s "$DIR/a.vhd") - 512))
	poke "$DIR/a.vhd" 40 '\x77'
	poke "$DIR/a.vhd" $((end + 40)) '\x77'
	expect_fail "$EINVAL" "$DIR/a.vhd.*checksum" tap-ctl create -a "vhd:$DIR/a.vhd"
}

test_wrong_checksum_of_header() {
	make_dynamic "$DIR/a.vhd" 8
	poke "$DIR/a.vhd" $((512 + 200)) '\x77'
	expect_fail "$EINVAL" "$DIR/a.vhd.*checksum" tap-ctl create -a "vhd:$DIR/a.vhd"
}

# Right checksums, senseless values.
test_senseless_header() {
	make_dynamic "$DIR/a.vhd" 8
	cp "$DIR/a.vhd" "$DIR/block.vhd"
	poke "$DIR/block.vhd" $((512 + 32)) '\x00\x00\x00\x07'
	reseal "$DIR/block.vhd" 512 1024 36
	expect_fail "$EINVAL" "$DIR/block.vhd" tap-ctl create -a "vhd:$DIR/block.vhd"

	cp "$DIR/a.vhd" "$DIR/bat.vhd"
	poke "$DIR/bat.vhd" $((512 + 28)) '\xff\xff\xff\xff'
	reseal "$DIR/bat.vhd" 512 1024 36
	expect_fail "$EINVAL" "$DIR/bat.vhd" tap-ctl create -a "vhd:$DIR/bat.vhd"

	cp "$DIR/a.vhd" "$DIR/offset.vhd"
	poke "$DIR/offset.vhd" $((512 + 16)) '\x7f\xff\xff\xff\xff\xff\xff\x00'
	reseal "$DIR/offset.vhd" 512 1024 36
	expect_fail "$EINVAL" "$DIR/offset.vhd" tap-ctl create -a "vhd:$DIR/offset.vhd"
}

# A BAT entry far behind the end of the file.
test_bat_points_nowhere() {
	local bat

	make_dynamic "$DIR/a.vhd" 8
	bat=$(be32 "$DIR/a.vhd" $((512 + 20)))
	poke "$DIR/a.vhd" "$bat" '\x00\xff\xff\x00'
	expect_fail "$EINVAL" "$DIR/a.vhd" tap-ctl create -a "vhd:$DIR/a.vhd"
}

test_parent_missing() {
	make_chain "$DIR/c" 8 3
	rm "$DIR/c2.vhd"
	expect_fail "$ENOENT" "c2.vhd" tap-ctl create -a "vhd:$DIR/c3.vhd"
	rm "$DIR/c1.vhd"
	expect_fail "$ENOENT" "c2.vhd" tap-ctl create -a "vhd:$DIR/c3.vhd"
}

# Another disk under the parent's name.
test_wrong_parent() {
	make_chain "$DIR/c" 8 2
	rm "$DIR/c1.vhd"
	make_dynamic "$DIR/c1.vhd" 8
	expect_fail "$EINVAL" "c1.vhd.*(parent|uuid|id)|(parent|uuid).*c1.vhd" \
		tap-ctl create -a "vhd:$DIR/c2.vhd"
}

test_parent_is_no_vhd() {
	make_chain "$DIR/c" 8 2
	head -c 1M /dev/zero >"$DIR/c1.vhd"
	expect_fail "$EINVAL" "c1.vhd" tap-ctl create -a "vhd:$DIR/c2.vhd"
}

# The chain c1 <- c2 <- c3, with c1's place taken by c3.
test_loop_in_the_chain() {
	local rc=0

	make_chain "$DIR/c" 8 3
	cp "$DIR/c3.vhd" "$DIR/c1.vhd"
	tap-ctl create -a "vhd:$DIR/c3.vhd" 2>"$DIR/err" || rc=$?
	cat "$DIR/err"
	[ "$rc" = "$ELOOP" ] || [ "$rc" = "$EINVAL" ] || fail "status $rc"
	grep -Eq "c[123].vhd" "$DIR/err" || fail "the message names no image"
}

test_its_own_parent() {
	local rc=0

	make_chain "$DIR/c" 8 2
	cp "$DIR/c2.vhd" "$DIR/c1.vhd"
	timeout $((20 * SCALE)) tap-ctl create -a "vhd:$DIR/c1.vhd" 2>"$DIR/err" || rc=$?
	cat "$DIR/err"
	[ "$rc" = "$ELOOP" ] || [ "$rc" = "$EINVAL" ] || fail "status $rc"
}

test_larger_than_2040_gib() {
	local end rc=0

	expect_fail "$EFBIG" "2040|too large|larger" vhd-util create -n "$DIR/big.vhd" -s $((2040 * 1024 + 1))
	[ ! -e "$DIR/big.vhd" ] || fail "a part of it is left"

	# One that says so itself, with right checksums.
	make_dynamic "$DIR/a.vhd" 8
	end=$(($(stat -c %s "$DIR/a.vhd") - 512))
	for at in 0 $end; do
		poke "$DIR/a.vhd" $((at + 48)) '\x00\x00\x02\x00\x00\x00\x00\x00'
		reseal "$DIR/a.vhd" "$at" 512 64
	done
	tap-ctl create -a "vhd:$DIR/a.vhd" 2>"$DIR/err" || rc=$?
	cat "$DIR/err"
	[ "$rc" = "$EFBIG" ] || [ "$rc" = "$EINVAL" ] || fail "status $rc"
	grep -q "$DIR/a.vhd" "$DIR/err" || fail "the message names no image"
}

test_second_create_read_write() {
	make_raw "$DIR/r.img" 8
	make_dynamic "$DIR/d.vhd" 8
	for image in "aio:$DIR/r.img" "vhd:$DIR/d.vhd"; do
		tap_create "$image"
		expect_fail "$EBUSY" "${image#*:}.*(in use|open|lock|busy)" tap-ctl create -a "$image"
		expect_fail "$EBUSY" "${image#*:}" tap-ctl create -R -a "$image"
		expect_eq "$(tap-ctl list | wc -l)" 1 "taps of $image"
		tap_destroy "$MINOR"
		is_clean || fail "left behind: $LEFT"
	done
}

# Through another name, too.
test_second_create_by_another_name() {
	make_dynamic "$DIR/d.vhd" 8
	ln "$DIR/d.vhd" "$DIR/hard.vhd"
	ln -s d.vhd "$DIR/soft.vhd"
	tap_create "vhd:$DIR/d.vhd"
	expect_fail "$EBUSY" "" tap-ctl create -a "vhd:$DIR/hard.vhd"
	expect_fail "$EBUSY" "" tap-ctl create -a "vhd:$DIR/soft.vhd"
}

test_two_readers_may_share() {
	make_dynamic "$DIR/d.vhd" 8
	tap_create "vhd:$DIR/d.vhd" -R
	tap_create "vhd:$DIR/d.vhd" -R
	expect_fail "$EBUSY" "$DIR/d.vhd" tap-ctl create -a "vhd:$DIR/d.vhd"
}

# A parent may be shared, but not written, while a child uses it.
test_a_parent_in_use_is_not_written() {
	make_chain "$DIR/c" 8 2
	make_child "$DIR/other.vhd" "$DIR/c1.vhd"
	tap_create "vhd:$DIR/c2.vhd"
	expect_fail "$EBUSY" "c1.vhd" tap-ctl create -a "vhd:$DIR/c1.vhd"
	tap_create "vhd:$DIR/other.vhd"
}

test_image_locked_by_another_program() {
	requires qemu-io

	make_dynamic "$DIR/d.vhd" 8
	(
		sleep 100 | qemu-io -f vpc "$DIR/d.vhd" >/dev/null
	) &
	defer kill $!
	wait_for 10 is_locked "$DIR/d.vhd"
	expect_fail "$EBUSY" "$DIR/d.vhd" tap-ctl create -a "vhd:$DIR/d.vhd"
	pids_of qemu-io | xargs -r kill
}

is_locked() { # FILE
	grep -q ":$(stat -c %i "$1") " /proc/locks
}

test_no_permission_for_nobody() {
	requires setpriv
	local as=(setpriv --reuid=65534 --regid=65534 --clear-groups)

	make_raw "$DIR/r.img" 8
	chmod 777 "$DIR" "$SCRATCH"
	expect_fail 1 "permi|root|CAP_SYS_ADMIN" "${as[@]}" tap-ctl create -a "aio:$DIR/r.img"
	expect_fail 1 "permi|root|CAP_SYS_ADMIN" "${as[@]}" tap-ctl allocate
	expect_fail 1 "permi|root|CAP_SYS_ADMIN" "${as[@]}" tap-ctl free -m 0
	tap_create "aio:$DIR/r.img"
	expect_fail 1 "permi|root|CAP_SYS_ADMIN" "${as[@]}" tap-ctl pause -p "$PID" -m "$MINOR"
	expect_fail 1 "permi|root|CAP_SYS_ADMIN" "${as[@]}" tap-ctl destroy -p "$PID" -m "$MINOR"
	expect_eq "$("${as[@]}" tap-ctl list)" "$(tap-ctl list)" "list as nobody"
}

# Root without the rights of root over files: a read-only filesystem.
test_image_on_a_read_only_filesystem() {
	local rc=0

	make_dynamic "$DIR/d.vhd" 8
	mkdir "$DIR/ro"
	mount --bind "$DIR" "$DIR/ro"
	defer umount "$DIR/ro"
	mount -o remount,bind,ro "$DIR/ro"
	tap-ctl create -a "vhd:$DIR/ro/d.vhd" 2>"$DIR/err" || rc=$?
	cat "$DIR/err"
	[ "$rc" = 30 ] || [ "$rc" = "$EACCES" ] || fail "status $rc"
	grep -q "$DIR/ro/d.vhd" "$DIR/err" || fail "the message names no image"
	tap_create "vhd:$DIR/ro/d.vhd" -R
	tap_destroy "$MINOR"
}

test_unknown_type() {
	make_raw "$DIR/r.img" 8
	expect_fail "$EINVAL" "qcow2" tap-ctl create -a "qcow2:$DIR/r.img"
	expect_fail "$EINVAL" "$DIR/r.img" tap-ctl create -a "$DIR/r.img"
	expect_fail "$EINVAL" "" tap-ctl create -a "vhd:"
	expect_fail "$EINVAL" "" tap-ctl create -a ""
	expect_fail "$EINVAL" "" tap-ctl create
}

test_name_too_long() {
	local long rc=0

	long=/$(head -c 5000 /dev/zero | tr '\0' x)
	tap-ctl create -a "aio:$long" 2>"$DIR/err" || rc=$?
	[ "$rc" = 36 ] || [ "$rc" = "$EINVAL" ] || fail "status $rc: $(head -c 200 "$DIR/err")"
}

test_raw_of_odd_size() {
	local rc=0

	truncate -s 1000 "$DIR/odd.img"
	: >"$DIR/empty.img"
	tap-ctl create -a "aio:$DIR/empty.img" 2>"$DIR/err" || rc=$?
	expect_eq "$rc" "$EINVAL" "status with an empty image"
	grep -q "$DIR/empty.img" "$DIR/err" || fail "$(<"$DIR/err")"
	# Whole sectors are served, or it is refused; never a part sector.
	if DEV=$(tap-ctl create -a "aio:$DIR/odd.img" 2>"$DIR/err"); then
		MINOR=${DEV##*tapdev}
		expect_eq "$(blockdev --getsize64 "$DEV")" 512 "size"
		tap_destroy "$MINOR"
	else
		grep -q "$DIR/odd.img" "$DIR/err" || fail "$(<"$DIR/err")"
	fi
}

test_tapdisk_missing() {
	mkdir "$DIR/bin"
	cp "$(command -v tap-ctl)" "$DIR/bin/tap-ctl"
	make_raw "$DIR/r.img" 8
	expect_fail "$ENOENT" "tapdisk" env TAPDISK=/no/such/tapdisk tap-ctl create -a "aio:$DIR/r.img"
	expect_fail "$ENOENT" "tapdisk" env TAPDISK=/no/such/tapdisk tap-ctl spawn
	[ -e /usr/local/sbin/tapdisk ] ||
		expect_fail "$ENOENT" "tapdisk" "$DIR/bin/tap-ctl" create -a "aio:$DIR/r.img"
}

# What starts and is no tapdisk.
test_tapdisk_is_something_else() {
	local rc

	make_raw "$DIR/r.img" 8
	for bin in /bin/true /bin/false; do
		rc=0
		TAPDISK=$bin tap-ctl create -a "aio:$DIR/r.img" 2>"$DIR/err" || rc=$?
		[ "$rc" != 0 ] || fail "$bin passed for a tapdisk"
		grep -q tapdisk "$DIR/err" || fail "$(<"$DIR/err")"
	done
}

test_unknown_minor_and_pid() {
	local commands=(
		"destroy -p 1 -m 77" "close -p 1 -m 77" "detach -p 1 -m 77" "free -m 77"
		"pause -p 1 -m 77" "unpause -p 1 -m 77" "stats -p 1 -m 77" "attach -p 1 -m 77"
		"open -p 1 -m 77 -a aio:$DIR/r.img"
	)

	make_raw "$DIR/r.img" 8
	for c in "${commands[@]}"; do
		# shellcheck disable=SC2086 # words of a command
		unknown "77" $c
	done
	tap_create "aio:$DIR/r.img"
	for c in "destroy" "close" "detach" "pause" "unpause" "stats"; do
		expect_fail 3 "4000000|tapdisk" tap-ctl "$c" -p 4000000 -m "$MINOR"
	done
	expect_eq "$(tap_state "$MINOR")" 0 "state after all that"
}

unknown() { # NAME WORD...: ENODEV, ENOENT or ENXIO
	local rc=0 name=$1
	shift

	tap-ctl "$@" 2>"$DIR/err" || rc=$?
	echo "$* gives $rc: $(<"$DIR/err")"
	[ "$rc" = 19 ] || [ "$rc" = "$ENOENT" ] || [ "$rc" = 6 ] || fail "status $rc"
	grep -qw "$name" "$DIR/err" || fail "the message does not name $name"
}

test_destroy_while_mounted() {
	local before

	make_raw "$DIR/r.img" 16
	tap_create "aio:$DIR/r.img"
	mkfs.ext4 -q "$DEV"
	mount_on ext4 "$DEV" "$DIR/mnt"
	echo kept >"$DIR/mnt/file"
	before=$(tap-ctl list)
	expect_fail "$EBUSY" "(in use|busy|open|mount)" tap-ctl destroy -p "$PID" -m "$MINOR"
	expect_eq "$(tap-ctl list)" "$before" "list after the refused destroy"
	expect_fail "$EBUSY" "(in use|busy|open|mount)" tap-ctl close -p "$PID" -m "$MINOR"
	expect_eq "$(tap-ctl list)" "$before" "list after the refused close"
	echo more >>"$DIR/mnt/file"
	sync "$DIR/mnt/file"
	expect_content "$DIR/mnt/file" "$(printf 'kept\nmore')" "file"
	umount "$DIR/mnt"
	tap_destroy "$MINOR"
}

# Open, but not claimed: close waits, and says 110 when its time is over.
test_close_while_open_times_out() {
	make_raw "$DIR/r.img" 16
	tap_create "aio:$DIR/r.img"
	exec 9<"$DEV"
	expect_fail 110 "open|in use|busy" tap-ctl close -p "$PID" -m "$MINOR" -t 1
	expect_eq "$(tap_state "$MINOR")" 0 "state after the refused close"
	dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct status=none
	exec 9<&-
	tap_destroy "$MINOR"
}

# A small filesystem that fills up: writes fail, what was acknowledged stays.
test_disk_full_while_allocating() {
	local small=$DIR/small written

	truncate -s 12M "$DIR/fs.img"
	mkfs.ext4 -q -b 1024 -m 0 "$DIR/fs.img"
	mkdir "$small"
	modprobe -q loop || true
	mount -o loop "$DIR/fs.img" "$small"
	defer umount "$small"
	make_dynamic "$small/d.vhd" 64
	tap_create "vhd:$small/d.vhd"
	# What finds no space is tried again for that long, and else for ever.
	tap-ctl set -m "$MINOR" --request-timeout=2 --on-timeout=fail
	head -c 16M /dev/urandom >"$DIR/data"
	if dd if="$DIR/data" of="$DEV" bs=256K oflag=direct status=none 2>"$DIR/err"; then
		fail "16 MiB fit into a filesystem of 12"
	fi
	grep -Eqi "no space|input/output" "$DIR/err" || fail "$(<"$DIR/err")"
	written=$(dd if="$DIR/data" of="$DEV" bs=256K count=8 oflag=direct 2>&1 | grep -c records)
	expect_eq "$written" 2 "rewrite of what is allocated: lines of dd's report"
	dd if="$DEV" bs=256K count=8 iflag=direct status=none |
		cmp - <(head -c 2M "$DIR/data") || fail "data is damaged"
	tap_destroy "$MINOR"
	check_vhd "$small/d.vhd"
}

run_tests "$@"
