#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 700
# Many taps at once: 24 with a tapdisk each, and 64 in one (16 on the debug kernel).
. "$(dirname "$0")/lib/blktap.sh"

# The debug kernel has one CPU, and is many times slower.
TAPS=24 TAPS_IN_ONE=64
grep -q 'User Mode Linux' /proc/cpuinfo && TAPS=16 TAPS_IN_ONE=16
CASE_SECONDS=300

# create_all [OPTION...]: sets DEVS.
create_all() {
	local i

	DEVS=()
	for ((i = 0; i < TAPS; i++)); do
		: >"$DIR/$i.img"
	done
	truncate -s 1M "$DIR"/*.img
	for ((i = 0; i < TAPS; i++)); do
		DEVS[i]=$(tap-ctl create -a "aio:$DIR/$i.img" "$@")
		defer tap_destroy_if_there "${DEVS[i]##*tapdev}"
	done
}

# Every image is listed once, with its own device.
expect_all_listed() {
	local i list

	list=$(tap-ctl list)
	echo "$list"
	expect_eq "$(wc -l <<<"$list")" "$TAPS" "lines of list"
	for ((i = 0; i < TAPS; i++)); do
		[[ $list =~ pid=[0-9]+\ minor=${DEVS[i]##*tapdev}\ state=0\ args=aio:$DIR/$i.img ]] ||
			fail "$DIR/$i.img is not listed as ${DEVS[i]}"
	done
}

# Each disk gets content of its own, all at the same time, and keeps it.
use_all() {
	local i

	# Verified when all have been written.
	{
		printf '%s\n' "[global]" size=256k bs=32k rw=randwrite direct=1 ioengine=libaio \
			iodepth=4 thread=1 verify=crc32c verify_fatal=1 group_reporting=1 do_verify=0
		for ((i = 0; i < TAPS; i++)); do
			printf '%s\n' "[disk$i]" "filename=${DEVS[i]}" "randseed=$((i + 1))"
		done
	} >"$DIR/job"
	fio --output="$DIR/fio.write" "$DIR/job" || fail "$(tail -30 "$DIR/fio.write")"
	sed -i s/do_verify=0/do_verify=1/ "$DIR/job"
	fio --output="$DIR/fio.verify" --verify_only "$DIR/job" ||
		fail "$(tail -30 "$DIR/fio.verify")"
}

test_a_tapdisk_each() {
	local pids

	create_all
	expect_all_listed
	pids=$(pids_of tapdisk)
	expect_eq "$(wc -l <<<"$pids")" "$TAPS" "tapdisks"
	use_all
}

test_all_in_one_tapdisk() {
	local pid TAPS=$TAPS_IN_ONE

	pid=$(tap-ctl spawn)
	create_all -p "$pid"
	expect_all_listed
	expect_eq "$(pids_of tapdisk)" "$pid" "tapdisks"
	use_all
	# One goes; the others go on.
	tap_destroy "${DEVS[5]##*tapdev}"
	expect_eq "$(tap-ctl list -p "$pid" | wc -l)" $((TAPS - 1)) "lines of list"
	dd if="${DEVS[6]}" of=/dev/null bs=1M iflag=direct status=none
}

# Creation and destruction side by side, as a host that starts all its guests does.
test_side_by_side() {
	local i pids=()

	for ((i = 0; i < 8; i++)); do
		make_raw "$DIR/$i.img" 1
		churn "$i" >"$DIR/churn.$i" 2>&1 &
		pids+=($!)
	done
	for i in "${!pids[@]}"; do
		wait "${pids[i]}" || fail "worker $i: $(cat "$DIR/churn.$i")"
	done
	expect_eq "$(tap-ctl list)" "" "list after all"
}

churn() { # NUMBER
	local dev pid

	for _ in 1 2 3; do
		dev=$(tap-ctl create -a "aio:$DIR/$1.img")
		[ -b "$dev" ]
		dd if="$dev" of=/dev/null bs=256K iflag=direct status=none
		pid=$(tap_pid "${dev##*tapdev}")
		tap-ctl destroy -p "$pid" -m "${dev##*tapdev}"
	done
}

run_tests "$@"
