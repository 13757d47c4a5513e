#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The files below /sys that blktap2 had: their content, modes, and what they refuse.
. "$(dirname "$0")/lib/blktap.sh"

MISC=/sys/class/misc/blktap-control

# expect_modes DIRECTORY NAME:MODE...: of all files in it, but the driver core's.
expect_modes() {
	local dir=$1
	shift

	expect_eq "$(find "$dir/" -maxdepth 1 -type f ! -name dev ! -name uevent \
		-printf '%f:%m\n' | sort)" "$(printf '%s\n' "$@" | sort)" "modes in $dir"
}

# keeps FILE VALUE ERRNO-TEXT BAD...: it refuses each BAD so, and has VALUE still.
keeps() {
	local file=$1 value=$2 why=$3 bad
	shift 3

	for bad; do
		expect_write_fails "$file" "$bad" "$why"
		expect_content "$file" "$value" "${file##*/} after '$bad'"
	done
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
	expect_modes "$TAP" name:644 remove:200 pause:200 resume:200 recall:200 task:444 \
		orphan:444 files:444 pool:644 map_limit:644 request_timeout:644 on_timeout:644 debug:444
	expect_eq "$(stat -c %a "$TAP"/statistics/* | sort -u)" 444 "modes of statistics"
}

# writable COMMAND...: the files of sysfs that it may write to.
writable() {
	"$@" find "$CLASS/" "$TAP/" "$MISC/" -type f -writable
}

test_nobody_can_write() {
	requires setpriv
	new_tap
	cd /
	[ -n "$(writable env)" ] || fail "root cannot write either"
	expect_eq "$(writable setpriv --reuid=65534 --regid=65534 --clear-groups)" "" \
		"what nobody can write"
}

# Its root is whoever made it.
test_root_of_a_user_namespace_can_not_write() {
	local nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups unshare -r)

	requires setpriv unshare
	new_tap
	cd /
	expect_eq "$("${nobody[@]}" id -u)" 0 "user of the namespace"
	expect_eq "$(writable "${nobody[@]}")" "" "what its root can write"
}

# may_not_write COMMAND...: none of our files, where the owner may write them.
may_not_write() {
	local files file said

	mapfile -t files < <(find "$CLASS/" "$TAP/" "$MISC/" -type f -perm -200 ! -name uevent \
		! -path '*/power/*')
	[ ${#files[@]} -gt 8 ] || fail "files that can be written: ${files[*]}"
	for file in "${files[@]}"; do
		# shellcheck disable=SC2016 # for that shell
		said=$("$@" bash -c 'printf 1 >"$0"' "$file" 2>&1) && fail "$* wrote to $file"
		[[ $said == *"not permitted"* ]] || fail "$*: $file: $said"
	done
}

# The files are uid 0's, which a container's root may be, and the tapdisk is.
test_uid_0_without_capability_can_not_write() {
	requires setpriv unshare
	new_tap
	cd /
	may_not_write setpriv --bounding-set=-sys_admin
	may_not_write unshare -r
	expect_eq "$(tap_state "$MINOR")" 0 "state"
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

test_request_timeout() {
	local file value

	new_tap
	file=$TAP/request_timeout
	expect_content "$file" 120 "request_timeout at first"
	for value in 0 1 86400 60; do
		echo "$value" >"$file"
		expect_content "$file" "$value" request_timeout
	done
	keeps "$file" 60 "result out of range" 86401 4294967295 4294967296 99999999999999999999
	keeps "$file" 60 "Invalid argument" -1 -86401 x 1x "1 2" 1.5 1e3 0x " " $'\n'
}

test_on_timeout() {
	new_tap
	expect_content "$TAP/on_timeout" wait "on_timeout at first"
	echo fail >"$TAP/on_timeout"
	expect_content "$TAP/on_timeout" fail on_timeout
	keeps "$TAP/on_timeout" fail "Invalid argument" wai waits "wait fail" WAIT 0 1 -1 " " $'\n'
	printf wait >"$TAP/on_timeout"
	expect_content "$TAP/on_timeout" wait on_timeout
	keeps "$TAP/on_timeout" wait "Invalid argument" fai 2
}

test_map_limit() {
	local file limit

	new_tap
	expect_write_fails "$TAP/map_limit" 1048576 "not connected"
	! cat "$TAP/map_limit" 2>/dev/null || fail "map_limit of a tap without maps"
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	file=$CLASS/blktap$MINOR/map_limit
	for limit in 65536 1073741824 1048576; do
		echo "$limit" >"$file"
		# It is as many entries of the maps as that holds.
		[ "$(<"$file")" -le "$limit" ] || fail "$limit reads as $(<"$file")"
		[ "$(<"$file")" -gt $((limit - 4096)) ] || fail "$limit reads as $(<"$file")"
	done
	limit=$(<"$file")
	keeps "$file" "$limit" "Invalid argument" 0 4096 1073741825 -1 x 1x 1.5 " " $'\n'
	keeps "$file" "$limit" "result out of range" 99999999999999999999
}

test_recall() {
	new_tap
	expect_write_fails "$TAP/recall" 1 "not connected"
	MODE=ring
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	expect_write_fails "$CLASS/blktap$MINOR/recall" 1 "not connected"
	MODE=layout
	make_raw "$DIR/l.img" 8
	tap_create "aio:$DIR/l.img"
	dd if="$DEV" of=/dev/null bs=1M iflag=direct status=none
	[ "$(<"$CLASS/blktap$MINOR/statistics/extents")" -gt 0 ] || fail "no extents to be recalled"
	echo 1 >"$CLASS/blktap$MINOR/recall"
	expect_content "$CLASS/blktap$MINOR/statistics/extents" 0 "extents after a recall"
	dd if="$DEV" of=/dev/null bs=1M iflag=direct status=none
}

# What is in it otherwise: recovery.
test_orphan_is_not_written() {
	new_tap
	expect_content "$TAP/orphan" "" "orphan of an idle tap"
	expect_write_fails "$TAP/orphan" "rw aio:/x" "ermission denied"
	expect_content "$TAP/orphan" "" "orphan after a write"
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

# What waits for its lock there must not be waited for by who has it.
test_a_pool_goes_while_its_size_is_written() {
	local i writer

	new_tap
	(
		trap - ERR EXIT
		while :; do
			echo 704 >"$MISC/pools/brief/size" || :
		done
	) 2>/dev/null &
	writer=$!
	for ((i = 0; i < 300; i++)); do
		echo brief >"$TAP/pool"
		echo default >"$TAP/pool"
	done
	kill "$writer"
	expect_eq "$(ls "$MISC"/pools)" default "pools after all"
}

# Readers of all files, while taps come and go under them. The reader starts
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
