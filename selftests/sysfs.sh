#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The files below /sys that blktap2 had: their content, modes, and what they refuse.
. "$(dirname "$0")/lib/blktap.sh"

MISC=/sys/class/misc/blktap-control

# expect_modes DIRECTORY NAME:MODE...
expect_modes() {
	local dir=$1
	shift

	expect_eq "$(cd "$dir" && stat -c %n:%a "${@%:*}")" "$(printf '%s\n' "$@")" "modes in $dir"
}

new_tap() {
	DEV=$(tap-ctl allocate)
	MINOR=${DEV##*tapdev}
	defer tap_destroy_if_there "$MINOR"
	# The disk's node is tap-ctl's; who removes a tap otherwise leaves it.
	defer remove_if_there "$DEV"
	TAP=$CLASS/blktap$MINOR
}

remove_if_there() {
	[ ! -e "$1" ] || rm "$1"
}

test_modes() {
	new_tap
	expect_modes "$CLASS" verbosity:644 devices:444
	expect_modes "$MISC" default_pool:644
	expect_modes "$MISC/pools/default" size:644 free:444
	expect_modes "$TAP" name:644 remove:200 pause:200 resume:200 task:444 pool:644 debug:444
}

test_verbosity() {
	local was

	was=$(<"$CLASS"/verbosity)
	defer eval "echo $was >$CLASS/verbosity"
	echo 3 >"$CLASS"/verbosity
	expect_content "$CLASS"/verbosity 3 verbosity
	expect_write_fails "$CLASS"/verbosity x "Invalid argument"
	expect_content "$CLASS"/verbosity 3 "verbosity after bad writes"
}

test_devices_lists_minor_and_name() {
	local first second

	expect_content "$CLASS"/devices "" "devices without taps"
	new_tap
	first=$MINOR
	new_tap
	second=$MINOR
	echo "vhd:/a b/c.vhd" >"$TAP/name"
	expect_content "$CLASS"/devices "$(printf '%s %s\n%s vhd:/a b/c.vhd' \
		"$first" "$first" "$second")" devices
}

test_name() {
	new_tap
	expect_content "$TAP/name" "$MINOR" "name when unset"
	printf 'aio:/x' >"$TAP/name"
	expect_content "$TAP/name" aio:/x name
	printf 'aio:/y\n' >"$TAP/name"
	expect_content "$TAP/name" aio:/y "name written with a newline"
	expect_write_fails "$TAP/name" "$(head -c 4095 /dev/zero | tr '\0' n)n" "File name too long"
	expect_content "$TAP/name" aio:/y "name after a bad write"
}

test_name_of_an_open_tap() {
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	expect_content "$CLASS/blktap$MINOR/name" "aio:$DIR/r.img" name
	expect_content "$CLASS"/devices "$MINOR aio:$DIR/r.img" devices
}

test_task() {
	new_tap
	expect_content "$TAP/task" "" "task of an idle tap"
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	expect_content "$CLASS/blktap$MINOR/task" "$PID" task
}

test_pause_and_resume() {
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	echo 1 >"$CLASS/blktap$MINOR/pause"
	expect_eq "$(tap_state "$MINOR")" 0x2a "state"
	echo 1 >"$CLASS/blktap$MINOR/resume"
	expect_eq "$(tap_state "$MINOR")" 0 "state"
	expect_write_fails "$CLASS/blktap$MINOR/resume" 1 ""
}

test_pause_of_an_idle_tap_fails() {
	new_tap
	expect_write_fails "$TAP/pause" 1 ""
	expect_write_fails "$TAP/resume" 1 ""
}

test_remove_waits_until_gone() {
	new_tap
	echo 1 >"$TAP/remove"
	[ ! -e "$TAP" ] || fail "$TAP is still there"
	[ ! -e "$NODES/blktap$MINOR" ] || fail "the ring node is still there"
}

test_remove_of_an_open_tap() {
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	echo 1 >"$CLASS/blktap$MINOR/remove"
	[ ! -e "$CLASS/blktap$MINOR" ] || fail "the tap is still there"
	[ ! -e "/sys/block/$TD" ] || fail "the disk is still there"
	rm -f "$DEV"
}

test_remove_while_mounted_is_busy() {
	make_raw "$DIR/r.img" 16
	tap_create "aio:$DIR/r.img"
	mkfs.ext4 -q "$DEV"
	mount_on ext4 "$DEV" "$DIR/mnt"
	expect_write_fails "$CLASS/blktap$MINOR/remove" 1 "resource busy"
	touch "$DIR/mnt/file"
	expect_eq "$(tap_state "$MINOR")" 0 state
}

# Two at once: one does it, the other hears that it is being done, or is done.
test_remove_by_several_at_once() {
	local i pids=()

	for i in 1 2 3 4 5 6; do
		new_tap
		for _ in 1 2 3; do
			(trap - ERR EXIT && echo 1 >"$TAP/remove") 2>/dev/null &
			pids+=($!)
		done
	done
	for i in "${pids[@]}"; do
		wait "$i" || true
	done
	expect_content "$CLASS/devices" "" devices
}

test_debug_is_text() {
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	[ "$(wc -c <"$CLASS/blktap$MINOR/debug")" -gt 10 ] || fail "debug is empty"
}

test_pool_of_a_tap() {
	new_tap
	expect_content "$TAP/pool" default "pool"
	echo mine >"$TAP/pool"
	expect_content "$TAP/pool" mine "pool"
	[ -d "$MISC"/pools/mine ] || fail "the pool was not created"
	expect_content "$MISC"/pools/mine/free "$(<"$MISC"/pools/mine/size)" "free pages"
	echo default >"$TAP/pool"
	expect_content "$TAP/pool" default "pool"
}

test_bad_pool_names() {
	new_tap
	expect_write_fails "$TAP/pool" "a/b" "Invalid argument"
	expect_write_fails "$TAP/pool" ".." "Invalid argument"
	expect_write_fails "$TAP/pool" "." "Invalid argument"
	expect_write_fails "$TAP/pool" " " "Invalid argument"
	expect_write_fails "$TAP/pool" "$(head -c 64 /dev/zero | tr '\0' p)" ""
	expect_write_fails "$TAP/pool" "$(head -c 4000 /dev/zero | tr '\0' p)" ""
	expect_content "$TAP/pool" default "pool after bad writes"
	expect_eq "$(ls "$MISC"/pools)" default "pools"
}

test_pool_is_busy_with_a_disk() {
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	expect_write_fails "$CLASS/blktap$MINOR/pool" other "resource busy"
	[ ! -e "$MISC"/pools/other ] || fail "the pool was created"
}

test_pool_size() {
	local size=$MISC/pools/default/size was

	was=$(cat "$size")
	defer eval "echo $was >$size"
	echo 1000 >"$size"
	expect_eq "$(cat "$size")" 1000 size
	expect_content "$MISC"/pools/default/free 1000 free
	for bad in 0 10 -1 x "" 99999999999999999999 4294967296 1e3; do
		[ -z "$bad" ] || expect_write_fails "$size" "$bad" ""
	done
	expect_eq "$(cat "$size")" 1000 "size after bad writes"
	echo 11 >"$size"
	expect_eq "$(cat "$size")" 11 "the smallest size"
}

test_default_pool() {
	expect_content "$MISC"/default_pool default default_pool
	defer eval "echo default >$MISC/default_pool"
	echo fast >"$MISC"/default_pool
	expect_content "$MISC"/default_pool fast default_pool
	new_tap
	expect_content "$TAP/pool" fast "pool of a new tap"
	expect_write_fails "$MISC"/default_pool "a/b" "Invalid argument"
	expect_content "$MISC"/default_pool fast "default_pool after a bad write"
}

# As XenServer's storage manager does it: a pool for each repository, sized for its taps.
test_storage_manager_sets_up_a_pool() {
	local sr=td-xenio-default

	new_tap
	echo "$sr" >"$TAP/pool"
	echo 704 >"$MISC"/pools/"$sr"/size
	expect_content "$MISC"/pools/"$sr"/size 704 size
	make_raw "$DIR/r.img" 8
	PID=$(tap-ctl spawn)
	tap-ctl attach -p "$PID" -m "$MINOR"
	tap-ctl open -p "$PID" -m "$MINOR" -a "aio:$DIR/r.img"
	dd if="$DEV" of=/dev/null bs=1M iflag=direct status=none
	[ "$(<"$MISC"/pools/"$sr"/free)" -lt 704 ] || fail "no page of the pool was used"
	expect_content "$MISC"/pools/default/free "$(<"$MISC"/pools/default/size)" "default's free"
	tap_destroy "$MINOR"
}

# Readers and writers of all files, while taps come and go under them. The reader starts
# no process, so that it reads all the time.
test_files_of_taps_that_go() {
	local i reader

	(
		trap - ERR EXIT
		while :; do
			for f in "$CLASS"/blktap*/* "$CLASS"/devices "$MISC"/pools/*/*; do
				mapfile <"$f" || :
			done
		done
	) 2>/dev/null &
	reader=$!
	for ((i = 0; i < 20; i++)); do
		new_tap
		echo "pool$((i % 3))" >"$TAP/pool"
		tap-ctl free -m "$MINOR"
	done
	kill "$reader"
	expect_eq "$(ls "$MISC"/pools)" default "pools after all"
}

run_tests "$@"
