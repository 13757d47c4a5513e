#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Bad images get a clear error and an exit status of their kind, and stay as
# they were.
# shellcheck disable=SC2317 # the cases are called by name
# shellcheck source=tools/vhd-util/test/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# expect_bad STATUS REGEX IMAGE: check refuses it, snapshot too.
expect_bad() {
	local before

	before=$([ ! -f "$3" ] || sha256sum <"$3")
	expect_fail "$1" "$2" vhd-util check -n "$3"
	expect_fail "$1" "$2" vhd-util snapshot -n "$DIR/new.vhd" -p "$3"
	[ ! -e "$DIR/new.vhd" ] || fail "a snapshot of a bad image"
	expect_eq "$([ ! -f "$3" ] || sha256sum <"$3")" "$before" "contents of $3"
}

# put FILE OFFSET BYTES: BYTES as printf has them.
put() {
	# shellcheck disable=SC2059 # escapes are wanted
	printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# fix_sum FILE OFFSET LENGTH FIELD: the checksum of a footer or header.
fix_sum() {
	local sum

	put "$1" $(($2 + $4)) '\0\0\0\0'
	sum=$(od -An -v -tu1 -j "$2" -N "$3" "$1" |
		awk '{ for (i = 1; i <= NF; i++) s += $i } END { printf "%.0f", s }')
	sum=$(printf '%08x' $((~sum & 0xffffffff)))
	put "$1" $(($2 + $4)) "\\x${sum:0:2}\\x${sum:2:2}\\x${sum:4:2}\\x${sum:6:2}"
}

# A dynamic image with data, made by another implementation.
make_full() { # PATH
	requires qemu-img
	head -c 5M /dev/urandom >"$DIR/data"
	qemu-img convert -f raw -O vpc -o force_size=on "$DIR/data" "$1"
}

test_no_such_file() {
	expect_bad 2 'none.vhd: .*No such file' "$DIR/none.vhd"
	expect_bad 2 'none.vhd: .*No such file' "$DIR/none/none.vhd"
}

test_not_a_vhd() {
	: >"$DIR/empty"
	echo text >"$DIR/text"
	head -c 1M /dev/urandom >"$DIR/random"
	expect_bad 22 'not a VHD' "$DIR/empty"
	expect_bad 22 'not a VHD' "$DIR/text"
	expect_bad 22 'not a VHD' "$DIR/random"
	expect_bad 22 'neither a file nor a block device' "$DIR"
	expect_bad 22 'neither a file nor a block device' /dev/null
}

test_truncated() {
	local size

	make_full "$DIR/a.vhd"
	size=$(stat -c %s "$DIR/a.vhd")
	for size in $((size - 4096)) $((size / 2)) 4000 1600 1000; do
		truncate -s "$size" "$DIR/a.vhd"
		expect_bad 22 'truncated' "$DIR/a.vhd"
	done
	vhd-util create -n "$DIR/f.vhd" -s 3 -r
	truncate -s 2M "$DIR/f.vhd"
	expect_bad 22 'not a VHD' "$DIR/f.vhd"
}

test_wrong_checksum() {
	make_fixed "$DIR/f.vhd" 1
	put "$DIR/f.vhd" $((1048576 + 48)) '\x01'
	expect_bad 22 'footer is damaged: its checksum' "$DIR/f.vhd"
	make_dynamic "$DIR/a.vhd" 4
	put "$DIR/a.vhd" $((512 + 900)) '\x01'
	expect_bad 22 'header is damaged: its checksum' "$DIR/a.vhd"
}

test_too_large() {
	make_fixed "$DIR/f.vhd" 1
	put "$DIR/f.vhd" $((1048576 + 48)) '\x00\x00\x02\x00\x00\x00\x00\x00'
	fix_sum "$DIR/f.vhd" 1048576 512 64
	expect_bad 27 'f.vhd: .*2040 GiB' "$DIR/f.vhd"
}

test_parent_missing() {
	make_chain "$DIR/c" 4 3
	rm "$DIR/c1.vhd"
	expect_bad 2 'c2.vhd: its parent is missing: looked for .*c1.vhd' "$DIR/c3.vhd"
	expect_fail 2 'parent is missing' vhd-util query -n "$DIR/c2.vhd" -p
	expect_fail 2 'parent is missing' vhd-util query -n "$DIR/c3.vhd" -d
}

test_wrong_parent() {
	make_chain "$DIR/c" 4 2
	rm "$DIR/c1.vhd"
	make_dynamic "$DIR/c1.vhd" 4
	expect_bad 22 'c2.vhd: wrong parent: .*c1.vhd has UUID' "$DIR/c2.vhd"
}

test_bad_parent() {
	make_chain "$DIR/c" 4 2
	echo text >"$DIR/c1.vhd"
	expect_bad 22 'c1.vhd: not a VHD' "$DIR/c2.vhd"
}

test_loop() {
	make_chain "$DIR/c" 4 3
	mv "$DIR/c3.vhd" "$DIR/c1.vhd"
	expect_bad 40 'loop' "$DIR/c1.vhd"
	expect_bad 22 'wrong parent' "$DIR/c2.vhd"
	rm "$DIR/c2.vhd"
	ln "$DIR/c1.vhd" "$DIR/c2.vhd"
	expect_bad 40 'loop' "$DIR/c1.vhd"
}

test_no_permission() {
	requires setpriv
	make_dynamic "$DIR/a.vhd" 4
	chmod 600 "$DIR/a.vhd"
	chmod 755 "$DIR"
	expect_fail 13 'a.vhd: cannot open for reading: Permission denied' \
		setpriv --reuid=65534 --clear-groups vhd-util check -n "$DIR/a.vhd"
	expect_fail 13 'b.vhd: cannot create: Permission denied' \
		setpriv --reuid=65534 --clear-groups vhd-util create -n "$DIR/b.vhd" -s 4
}

test_bat_damaged() {
	make_full "$DIR/a.vhd"
	# Two entries at one place; then one past the end.
	dd if="$DIR/a.vhd" of="$DIR/a.vhd" bs=4 skip=384 seek=385 count=1 conv=notrunc \
		status=none
	expect_bad 22 'blocks 0 and 1 overlap' "$DIR/a.vhd"
	put "$DIR/a.vhd" 1540 '\x7f\x00\x00\x00'
	expect_bad 22 'block 1 goes to byte' "$DIR/a.vhd"
}

test_lost_footer_is_reported() {
	make_full "$DIR/a.vhd"
	dd if=/dev/zero of="$DIR/a.vhd" bs=512 count=1 conv=notrunc status=none \
		seek=$(($(stat -c %s "$DIR/a.vhd") / 512 - 1))
	expect_fail 22 'footer at the end is not valid' vhd-util check -n "$DIR/a.vhd"
	expect_eq "$(vhd-util query -n "$DIR/a.vhd" -v)" 5 "virtual size"
}

run_host_tests "$@"
