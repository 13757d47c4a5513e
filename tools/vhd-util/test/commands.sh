#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# vhd-util's commands, outputs and exit statuses are those that scripts know;
# what fails leaves nothing.
# shellcheck disable=SC2317 # the cases are called by name
# shellcheck source=tools/vhd-util/test/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

test_create_dynamic() {
	vhd-util create -n "$DIR/a.vhd" -s 1000
	expect_eq "$(vhd-util check -n "$DIR/a.vhd")" "$DIR/a.vhd is valid" check
	expect_eq "$(vhd-util query -n "$DIR/a.vhd" -v)" 1000 "virtual size"
	expect_eq "$(vhd-util query -n "$DIR/a.vhd" -S)" 1000 "fast resize limit"
	expect_eq "$(vhd-util query -n "$DIR/a.vhd" -s)" "$(stat -c %s "$DIR/a.vhd")" \
		"physical size"
	[ "$(stat -c %s "$DIR/a.vhd")" -lt 8192 ] || fail "an empty image is big"
}

test_create_fixed() {
	vhd-util create -n "$DIR/f.vhd" -s 3 -r
	expect_eq "$(vhd-util check -n "$DIR/f.vhd")" "$DIR/f.vhd is valid" check
	expect_eq "$(stat -c %s "$DIR/f.vhd")" $((3 * 1048576 + 512)) "file size"
	expect_eq "$(vhd-util query -n "$DIR/f.vhd" -s -v)" \
		"$(printf '3\n%d' $((3 * 1048576 + 512)))" query
	[ "$(stat -c %b "$DIR/f.vhd")" -ge 6144 ] || fail "space is not reserved"
}

test_largest() {
	vhd-util create -n "$DIR/a.vhd" -s 2088960
	check_vhd "$DIR/a.vhd"
	expect_fail 27 '2040 GiB' vhd-util create -n "$DIR/b.vhd" -s 2088961
	expect_fail 27 '2040 GiB' vhd-util create -n "$DIR/b.vhd" -s 99999999999999999999
	expect_fail 27 '2040 GiB' vhd-util create -n "$DIR/b.vhd" -s 2088961 -r
	[ ! -e "$DIR/b.vhd" ] || fail "something is left"
}

test_query_of_a_chain() {
	make_dynamic "$DIR/a.vhd" 10
	make_child "$DIR/b.vhd" "$DIR/a.vhd"
	cd "$DIR"
	make_child c.vhd b.vhd
	expect_eq "$(vhd-util query -n a.vhd -p)" "a.vhd has no parent" "query -p"
	expect_eq "$(vhd-util query -n c.vhd -p)" "$DIR/b.vhd" "query -p"
	expect_eq "$(vhd-util query -n c.vhd -d)" "chain depth: 3" "query -d"
	expect_eq "$(vhd-util query -n c.vhd -f)" "hidden: 0" "query -f"
	expect_eq "$(vhd-util query -n c.vhd -vspfdS)" \
		"$(printf '10\n%d\n%s\nhidden: 0\nchain depth: 3\n10' \
			"$(stat -c %s c.vhd)" "$DIR/b.vhd")" "all of query"
}

test_raw_parent() {
	make_raw "$DIR/base" 5
	expect_fail 22 'base: not a VHD' vhd-util snapshot -n "$DIR/s.vhd" -p "$DIR/base"
	[ ! -e "$DIR/s.vhd" ] || fail "something is left"
	vhd-util snapshot -n "$DIR/s.vhd" -p "$DIR/base" -m
	check_vhd "$DIR/s.vhd"
	expect_eq "$(vhd-util query -n "$DIR/s.vhd" -vpd)" \
		"$(printf '5\n%s\nchain depth: 2' "$DIR/base")" query
}

test_never_overwrites() {
	echo precious >"$DIR/x"
	make_dynamic "$DIR/a.vhd" 4
	expect_fail 17 'exists already' vhd-util create -n "$DIR/x" -s 4
	expect_fail 17 'exists already' vhd-util create -n "$DIR/x" -s 4 -r
	expect_fail 17 'exists already' vhd-util snapshot -n "$DIR/x" -p "$DIR/a.vhd"
	expect_fail 17 'chain of the parent' vhd-util snapshot -n "$DIR/a.vhd" -p "$DIR/a.vhd"
	expect_eq "$(cat "$DIR/x")" precious "the file"
	check_vhd "$DIR/a.vhd"
}

test_disk_full() {
	mkdir "$DIR/small"
	mount -t tmpfs -o size=1m tmpfs "$DIR/small" || skip "may not mount"
	defer umount "$DIR/small"
	make_dynamic "$DIR/a.vhd" 4
	expect_fail 28 'No space left' vhd-util create -n "$DIR/small/f.vhd" -s 4 -r
	expect_fail 28 'No space left' vhd-util create -n "$DIR/small/d.vhd" -s 2000000
	dd if=/dev/zero of="$DIR/small/fill" bs=4k status=none 2>/dev/null || true
	expect_fail 28 'No space left' vhd-util snapshot -n "$DIR/small/s.vhd" -p "$DIR/a.vhd"
	expect_eq "$(ls "$DIR/small")" fill "what is there"
}

test_wrong_use() {
	local c

	expect_fail 22 'no command' vhd-util
	expect_fail 22 "unknown command 'frob'" vhd-util frob
	for c in create snapshot query check set resize modify coalesce repair; do
		expect_fail 22 "vhd-util $c --help" vhd-util "$c"
		expect_fail 22 "vhd-util $c --help" vhd-util "$c" -n
		expect_fail 22 "vhd-util $c --help" vhd-util "$c" -n "$DIR/x" --frob
		expect_fail 22 "vhd-util $c --help" vhd-util "$c" -n "$DIR/x" surplus
		vhd-util "$c" --help | grep -q "^Usage: vhd-util $c -n FILE"
	done
	for c in 0 -1 1G 1.5 '' x; do
		expect_fail 22 'number of MiB' vhd-util create -n "$DIR/x" -s "$c"
	done
	vhd-util --help | grep -q snapshot
	[ ! -e "$DIR/x" ] || fail "something is left"
}

test_set_hidden() {
	make_dynamic "$DIR/a.vhd" 4
	vhd-util set -n "$DIR/a.vhd" -f hidden -v 1
	expect_eq "$(vhd-util query -n "$DIR/a.vhd" -f)" "hidden: 1" "query -f"
	check_vhd "$DIR/a.vhd"
	vhd-util set -n "$DIR/a.vhd" -f hidden -v 0
	expect_eq "$(vhd-util query -n "$DIR/a.vhd" -f)" "hidden: 0" "query -f"
	expect_fail 22 'only field' vhd-util set -n "$DIR/a.vhd" -f size -v 1
	expect_fail 22 '0 or 1' vhd-util set -n "$DIR/a.vhd" -f hidden -v 2
}

test_resize() {
	make_dynamic "$DIR/a.vhd" 4
	vhd-util resize -n "$DIR/a.vhd" -s 5000 -j "$DIR/journal"
	expect_eq "$(vhd-util query -n "$DIR/a.vhd" -v)" 5000 "size"
	check_vhd "$DIR/a.vhd"
	expect_fail 22 'smaller' vhd-util resize -n "$DIR/a.vhd" -s 4
	expect_fail 27 '2040 GiB' vhd-util resize -n "$DIR/a.vhd" -s 2088961
	[ ! -e "$DIR/journal" ] || fail "there is a journal"
	make_fixed "$DIR/f.vhd" 3
	vhd-util resize -n "$DIR/f.vhd" -s 5
	expect_eq "$(stat -c %s "$DIR/f.vhd")" $((5 * 1048576 + 512)) "file size"
	check_vhd "$DIR/f.vhd"
}

# Snapshots are merged from the top: each into its parent, then that has its children.
test_coalesce_and_modify() {
	make_dynamic "$DIR/a.vhd" 4
	make_child "$DIR/b.vhd" "$DIR/a.vhd"
	make_child "$DIR/c.vhd" "$DIR/b.vhd"
	vhd-util coalesce -n "$DIR/b.vhd"
	vhd-util modify -n "$DIR/c.vhd" -p "$DIR/a.vhd"
	rm "$DIR/b.vhd"
	expect_eq "$(vhd-util query -n "$DIR/c.vhd" -pd)" \
		"$(printf '%s\nchain depth: 2' "$DIR/a.vhd")" query
	check_vhd "$DIR/c.vhd"
	expect_fail 22 'no parent' vhd-util coalesce -n "$DIR/a.vhd"
	expect_fail 40 'loop' vhd-util modify -n "$DIR/a.vhd" -p "$DIR/c.vhd"
	expect_fail 2 'nothing' vhd-util modify -n "$DIR/c.vhd" -p "$DIR/nothing"
	check_vhd "$DIR/c.vhd"
}

test_repair() {
	make_dynamic "$DIR/a.vhd" 4
	printf x | dd of="$DIR/a.vhd" bs=1 seek=$(($(stat -c %s "$DIR/a.vhd") - 512)) \
		conv=notrunc status=none
	expect_fail 22 'footer at the end' vhd-util check -n "$DIR/a.vhd"
	vhd-util repair -n "$DIR/a.vhd"
	check_vhd "$DIR/a.vhd"
	expect_fail 22 'not a VHD' vhd-util repair -n /bin/true
}

test_block_device() {
	local dev

	requires losetup
	truncate -s 20M "$DIR/disk"
	dev=$(losetup -f --show "$DIR/disk") || skip "no loop devices"
	defer losetup -d "$dev"
	vhd-util create -n "$dev" -s 100
	check_vhd "$dev"
	expect_eq "$(vhd-util query -n "$dev" -v)" 100 "virtual size"
	expect_eq "$(vhd-util query -n "$dev" -s)" 2560 "physical size"
	expect_eq "$(tail -c 512 "$dev" | head -c 8)" conectix "footer at the end"

	# Over an old image; fixed; what was there reads as zeroes.
	dd if=/dev/urandom of="$dev" bs=1M count=20 conv=fsync status=none
	printf tdbatmap | dd of="$dev" bs=512 seek=4 conv=notrunc,sync status=none
	vhd-util create -n "$dev" -s 100
	check_vhd "$dev"
	cmp -n 512 -i 2048:0 "$dev" /dev/zero
	vhd-util create -n "$dev" -s 19 -r
	check_vhd "$dev"
	cmp -n $((19 * 1048576)) "$dev" /dev/zero
	expect_fail 28 'too small' vhd-util create -n "$dev" -s 20 -r
	expect_fail 17 'chain of the parent' vhd-util snapshot -n "$dev" -p "$dev"

	make_dynamic "$DIR/p.vhd" 50
	vhd-util snapshot -n "$dev" -p "$DIR/p.vhd"
	check_vhd "$dev"
	expect_eq "$(vhd-util query -n "$dev" -p)" "$DIR/p.vhd" parent
	vhd-util snapshot -n "$DIR/top.vhd" -p "$dev"
	expect_eq "$(vhd-util query -n "$DIR/top.vhd" -p)" "$dev" parent
	expect_eq "$(vhd-util query -n "$DIR/top.vhd" -d)" "chain depth: 3" depth
}

run_host_tests "$@"
