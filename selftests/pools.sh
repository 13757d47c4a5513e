#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A pool that is exhausted slows its taps down and stops none; its pages come
# back; another pool does not notice.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"

# Layout mode needs no pages.
export MODE=ring
TAPS=8
MIB=8

set_size() { # POOL PAGES
	echo "$2" >"$POOLS/$1/size"
}

shrink_default() { # PAGES
	local was

	was=$(<"$POOLS/default/size")
	set_size default "$1"
	defer set_size default "$was"
}

make_taps() { # NUMBER
	local i

	DEVS=()
	for ((i = 0; i < $1; i++)); do
		make_raw "$DIR/$i.img" "$MIB"
		tap_create "aio:$DIR/$i.img"
		DEVS+=("$DEV")
	done
}

# Verified random I/O with large blocks on all disks at the same time.
load_all() {
	local dev jobs=()

	for dev in "${DEVS[@]}"; do
		jobs+=(--name="write-${dev##*/}" --filename="$dev" --size="${MIB}M" --rw=randwrite
			--bssplit=4k/50:64k/30:1m/20 --blockalign=4k --direct=1 --iodepth=16
			--ioengine=libaio --verify=crc32c --verify_fatal=1 --verify_backlog=0
			--do_verify=1)
	done
	fio --output="$DIR/fio.load" "${jobs[@]}" || fail "$(tail -25 "$DIR/fio.load")"
}

test_eleven_pages_for_eight_busy_taps() {
	shrink_default 11
	make_taps "$TAPS"
	load_all
	for dev in "${DEVS[@]}"; do
		tap_destroy "${dev##*tapdev}"
	done
	wait_for 5 pool_is_whole default
}

pool_is_whole() { # POOL
	[ "$(cat "$POOLS/$1/free")" = "$(cat "$POOLS/$1/size")" ]
}

test_two_pools_are_isolated() {
	local free

	shrink_default 11
	tap_in_pool other 0
	OTHER=$DEV
	free=$(<"$POOLS/other/free")
	make_taps 4
	load_all
	expect_content "$POOLS/other/free" "$free" "free pages of the other pool"
	DEVS=("$OTHER")
	load_all
	[ "$(<"$POOLS/other/free")" -lt "$(<"$POOLS/other/size")" ] ||
		fail "the other pool was not used"
}

tap_in_pool() { # POOL NUMBER
	make_raw "$DIR/pool$2.img" "$MIB"
	DEV=$(tap-ctl allocate)
	MINOR=${DEV##*tapdev}
	defer tap_destroy_if_there "$MINOR"
	echo "$1" >"$CLASS/blktap$MINOR/pool"
	PID=$(tap-ctl spawn)
	tap-ctl attach -p "$PID" -m "$MINOR"
	tap-ctl open -p "$PID" -m "$MINOR" -a "aio:$DIR/pool$2.img"
}

test_shrinking_and_growing_while_busy() {
	local load

	shrink_default 352
	make_taps 2
	load_all >"$DIR/load" 2>&1 &
	load=$!
	while kill -0 "$load" 2>/dev/null; do
		for pages in 11 40 700 11 352; do
			set_size default "$pages"
			sleep 0.1
		done
	done
	wait "$load" || fail "$(<"$DIR/load")"
}

# A pool that one tap has emptied still has something for the next one to come.
test_a_new_tap_in_an_empty_pool_works() {
	shrink_default 22
	make_taps 1
	load_all
	make_raw "$DIR/late.img" 8
	tap_create "aio:$DIR/late.img"
	dd if=/dev/zero of="$DEV" bs=1M count=8 oflag=direct status=none
	dd if="$DEV" of=/dev/null bs=1M count=8 iflag=direct status=none
}

test_pages_in_use_are_few_for_few_requests() {
	make_taps 1
	dd if="$DEV" of=/dev/null bs=4k count=200 iflag=direct status=none
	[ $(($(<"$POOLS/default/size") - $(<"$POOLS/default/free"))) -le 44 ] ||
		fail "$(<"$POOLS/default/free") of $(<"$POOLS/default/size") free after reads of 4 KiB at depth 1"
}

test_tap_ctl_shows_and_sets_pools() {
	tap-ctl allocate >/dev/null
	defer tap_destroy_if_there 0
	tap-ctl pool set -n fast -m 0
	tap-ctl pool set -n fast -s 500
	expect_eq "$(tap-ctl pool get -n fast)" "name=fast pages=500 free=500" "the pool"
	expect_eq "$(tap-ctl pool get | sort | cut -d ' ' -f 1 | paste -s -d ' ')" \
		"name=default name=fast" "all pools"
	expect_eq "$(<"$POOLS/fast/size")" 500 "size in sysfs"
	expect_eq "$(<"$CLASS/blktap0/pool")" fast "the tap's pool"
	expect_fail 22 "size" tap-ctl pool set -n fast -s 10
	expect_fail 22 "give the size" tap-ctl pool set -n fast
	expect_fail 2 "" tap-ctl pool get -n none
	expect_fail 2 "" tap-ctl pool set -n none -s 500
	tap-ctl free -m 0
	expect_fail 2 "" tap-ctl pool get -n fast
}

# Under memory pressure, idle slots give their pages back.
test_pages_come_back_under_memory_pressure() {
	local used

	make_taps 1
	dd if="$DEV" of=/dev/null bs=1M count=8 iflag=direct status=none
	used=$(($(<"$POOLS/default/size") - $(<"$POOLS/default/free")))
	for _ in 1 2 3 4 5; do
		echo 2 >/proc/sys/vm/drop_caches
	done
	[ $(($(<"$POOLS/default/size") - $(<"$POOLS/default/free"))) -lt "$used" ] ||
		fail "$used pages in use, before and after"
	load_all
}

run_tests "$@"
