#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
#
# Images made here are read and written by QEMU, and the other way round.
# shellcheck disable=SC2317 # the cases are called by name
# shellcheck source=tools/vhd-util/test/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

virtual_size() { # IMAGE: in bytes, as QEMU sees it
	qemu-img info -f vpc --output=json "$1" | jq '."virtual-size"'
}

test_ours_read_by_qemu() {
	local mib

	requires qemu-img jq
	for mib in 1 3 127 1000 2088960; do
		make_dynamic "$DIR/a.vhd" "$mib"
		expect_eq "$(virtual_size "$DIR/a.vhd")" $((mib * 1048576)) "size of $mib MiB"
		expect_eq "$(qemu-img info --output=json "$DIR/a.vhd" | jq -r .format)" vpc format
		rm "$DIR/a.vhd"
	done
	make_fixed "$DIR/f.vhd" 3
	expect_eq "$(virtual_size "$DIR/f.vhd")" $((3 * 1048576)) "size of fixed"
	make_dynamic "$DIR/a.vhd" 100
	qemu-img convert -f vpc -O raw "$DIR/a.vhd" "$DIR/a.raw"
	expect_eq "$(stat -c %s "$DIR/a.raw")" $((100 * 1048576)) "converted size"
	cmp -n $((100 * 1048576)) "$DIR/a.raw" /dev/zero
}

test_ours_written_by_qemu() {
	local i

	requires qemu-img qemu-io
	make_dynamic "$DIR/a.vhd" 100
	for i in 97 0 55 98; do
		qemu-io -f vpc -c "write -P $((i + 1)) ${i}M 64k" "$DIR/a.vhd" >/dev/null
	done
	check_vhd "$DIR/a.vhd"
	expect_eq "$(vhd-util query -n "$DIR/a.vhd" -s)" "$(stat -c %s "$DIR/a.vhd")" \
		"physical size"
	for i in 97 0 55 98; do
		qemu-io -f vpc -c "read -P $((i + 1)) ${i}M 64k" "$DIR/a.vhd" >"$DIR/said"
		! grep -q 'verification failed' "$DIR/said" || fail "$(cat "$DIR/said")"
	done
	make_fixed "$DIR/f.vhd" 4
	qemu-io -f vpc -c 'write -P 7 3M 1M' "$DIR/f.vhd" >/dev/null
	check_vhd "$DIR/f.vhd"
	make_child "$DIR/s.vhd" "$DIR/a.vhd"
	check_vhd "$DIR/s.vhd"
}

test_qemus_read_here() {
	local format force

	requires qemu-img jq
	head -c 9M /dev/urandom >"$DIR/data"
	truncate -s 41M "$DIR/data"
	for format in dynamic fixed; do
		for force in on off; do
			qemu-img convert -f raw -O vpc \
				-o "subformat=$format,force_size=$force" "$DIR/data" "$DIR/q.vhd"
			check_vhd "$DIR/q.vhd"
			expect_eq "$(vhd-util query -n "$DIR/q.vhd" -s)" \
				"$(stat -c %s "$DIR/q.vhd")" "physical size, $format"
			expect_eq "$(vhd-util query -n "$DIR/q.vhd" -p)" \
				"$DIR/q.vhd has no parent" parent
			[ "$force" = off ] || expect_eq "$(vhd-util query -n "$DIR/q.vhd" -v)" \
				41 "virtual size, $format"
			make_child "$DIR/s.vhd" "$DIR/q.vhd"
			check_vhd "$DIR/s.vhd"
			rm "$DIR/s.vhd" "$DIR/q.vhd"
		done
	done
}

test_qemus_largest() {
	requires qemu-img
	qemu-img create -q -f vpc -o force_size=on "$DIR/q.vhd" 2040G
	check_vhd "$DIR/q.vhd"
	expect_eq "$(vhd-util query -n "$DIR/q.vhd" -v)" 2088960 "virtual size"
}

# An image that QEMU has open for writing can still be asked about.
test_query_of_a_growing_image() {
	local pid

	requires qemu-img qemu-io
	make_dynamic "$DIR/a.vhd" 400
	{
		for i in $(seq 0 2 398); do
			echo "write -P 1 ${i}M 4k"
		done
	} | qemu-io -f vpc "$DIR/a.vhd" >/dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		vhd-util query -n "$DIR/a.vhd" -vs >"$DIR/said"
		expect_eq "$(head -1 "$DIR/said")" 400 "virtual size"
	done
	wait "$pid"
	expect_eq "$(vhd-util query -n "$DIR/a.vhd" -s)" "$(stat -c %s "$DIR/a.vhd")" \
		"physical size"
	check_vhd "$DIR/a.vhd"
}

# A larger disk keeps its data; QEMU writes to what is new, and we read it.
test_qemu_writes_to_what_was_resized() {
	make_dynamic "$DIR/a.vhd" 10
	qemu-io -f vpc -c "write -q -P 0x11 0 3M" -c "write -q -P 0x22 9M 1M" "$DIR/a.vhd"
	vhd-util resize -n "$DIR/a.vhd" -s 1000
	qemu-io -f vpc -c "read -q -P 0x11 0 3M" -c "read -q -P 0x22 9M 1M" \
		-c "read -q -P 0 10M 990M" -c "write -q -P 0x33 998M 2M" "$DIR/a.vhd" >"$DIR/said"
	expect_eq "$(cat "$DIR/said")" "" "what qemu-io found"
	check_vhd "$DIR/a.vhd"
	qemu-io -f vpc -c "read -q -P 0x11 0 3M" -c "read -q -P 0 10M 988M" \
		-c "read -q -P 0x33 998M 2M" "$DIR/a.vhd" >"$DIR/said"
	expect_eq "$(cat "$DIR/said")" "" "what qemu-io found"
}

run_host_tests "$@"
