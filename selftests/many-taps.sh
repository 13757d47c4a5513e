#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 150
# 64 taps at once: each with its own tapdisk, and all served by one.
. "$(dirname "$0")/lib/blktap.sh"

TAPS=64

make_images() {
	local i

	for ((i = 0; i < TAPS; i++)); do
		make_raw "$DIR/$i.img" 1
	done
}

# Each disk gets its own content, all at the same time, and has it afterwards.
use_all() {
	local i pids=()

	for ((i = 0; i < TAPS; i++)); do
		yes "disk $i" | head -c 1M | dd of="${DEVS[i]}" bs=128K iflag=fullblock \
			oflag=direct status=none &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i" || fail "a writer failed"
	done
	for ((i = 0; i < TAPS; i++)); do
		cmp -n $((1 << 20)) "${DEVS[i]}" <(yes "disk $i" | head -c 1M) || fail "${DEVS[i]}"
	done
}

test_a_tapdisk_each() {
	local i

	make_images
	DEVS=()
	for ((i = 0; i < TAPS; i++)); do
		tap_create "aio:$DIR/$i.img"
		DEVS+=("$DEV")
	done
	expect_eq "$(tap-ctl list | wc -l)" "$TAPS" "lines of list"
	expect_eq "$(tap-ctl list | sed 's/ .*//' | sort -u | wc -l)" "$TAPS" "tapdisks"
	for ((i = 0; i < TAPS; i++)); do
		expect_match "$(tap-ctl list -f "$DIR/$i.img")" \
			"pid=[0-9]+ minor=${DEVS[i]##*tapdev} state=0 args=aio:$DIR/$i.img" "list -f"
	done
	use_all
	for ((i = 0; i < TAPS; i++)); do
		tap_destroy "${DEVS[i]##*tapdev}"
	done
	expect_eq "$(tap-ctl list)" "" "list after all"
}

test_all_in_one_tapdisk() {
	local i pid minor

	make_images
	pid=$(tap-ctl spawn)
	defer kill_and_wait "$pid"
	DEVS=()
	for ((i = 0; i < TAPS; i++)); do
		DEV=$(tap-ctl allocate)
		minor=${DEV##*tapdev}
		defer tap_destroy_if_there "$minor"
		DEVS+=("$DEV")
		tap-ctl attach -p "$pid" -m "$minor"
		tap-ctl open -p "$pid" -m "$minor" -a "aio:$DIR/$i.img"
	done
	expect_eq "$(tap-ctl list -p "$pid" | wc -l)" "$TAPS" "lines of list -p $pid"
	use_all
	# One goes; the others go on.
	tap_destroy "${DEVS[5]##*tapdev}"
	expect_eq "$(tap-ctl list | wc -l)" $((TAPS - 1)) "lines of list"
	dd if="${DEVS[6]}" of=/dev/null bs=1M iflag=direct status=none
}

kill_and_wait() { # PID
	kill "$1" 2>/dev/null || return 0
	wait_for 10 not test -d "/proc/$1"
}

# Creation and destruction side by side, as a host that starts all its guests does.
test_side_by_side() {
	local i pids=()

	make_images
	for ((i = 0; i < 16; i++)); do
		churn "$i" >"$DIR/churn.$i" 2>&1 &
		pids+=($!)
	done
	for i in "${!pids[@]}"; do
		wait "${pids[i]}" || fail "worker $i: $(cat "$DIR/churn.$i")"
	done
	expect_eq "$(tap-ctl list)" "" "list after all"
}

churn() { # NUMBER
	local i dev pid

	for i in 1 2 3; do
		dev=$(tap-ctl create -a "aio:$DIR/$1.img")
		[ -b "$dev" ]
		dd if="$dev" of=/dev/null bs=256K iflag=direct status=none
		pid=$(tap_pid "${dev##*tapdev}")
		tap-ctl destroy -p "$pid" -m "${dev##*tapdev}"
	done
}

run_tests "$@"
