#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Whatever happens to a tapdisk, no user of its disk sees an error, and no byte is
# lost, if another one comes in time.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"
. "$(dirname "$0")/lib/recovery.sh"

MIB=$(scaled 48)

read_disk() { # [BLOCK [COUNT]]: of 4 KiB, past the cache
	dd if="$DEV" of=/dev/null bs=4k skip="${1:-0}" count="${2:-1}" iflag=direct status=none
}

write_disk() { # BLOCK [COUNT]
	dd if=/dev/urandom of="$DEV" bs=4k seek="$1" count="${2:-1}" oflag=direct \
		conv=notrunc status=none
}

expect_waits() { # PID
	sleep 0.5
	kill -0 "$1" 2>/dev/null || fail "it did not wait"
}

recovers_by_hand() { # IMAGE MODE
	local waits old

	up "$1" "$2"
	write_disk 100 64
	old=$PID
	kill_tapdisk "$MINOR"
	expect_match "$(tap_line "$MINOR")" "minor=$MINOR state=0x400 args=$1" "list"
	write_disk 2048 64 &
	waits=$!
	expect_waits "$waits"
	tap-ctl recover -m "$MINOR"
	wait "$waits"
	served "$MINOR" "$old" || fail "not served: $(tap-ctl list)"
	expect_fail 114 "serves it" tap-ctl recover -m "$MINOR"
	write_disk 100 64
	tap_destroy "$MINOR"
}

test_by_hand_in_ring_mode() {
	make_dynamic "$DIR/d.vhd" 16
	recovers_by_hand "vhd:$DIR/d.vhd" ring
	check_vhd "$DIR/d.vhd"
}

test_by_hand_in_layout_mode() {
	make_dynamic "$DIR/d.vhd" 16
	recovers_by_hand "vhd:$DIR/d.vhd" layout
	check_vhd "$DIR/d.vhd"
}

# What the kernel knows needs no tapdisk.
test_hits_go_on_without_a_tapdisk() {
	make_raw "$DIR/r.img" 16
	up "aio:$DIR/r.img" layout
	write_disk 0
	kill_tapdisk "$MINOR"
	write_disk 100 64
	read_disk 1000 64
	fio_write "$DEV" 8
	tap-ctl recover -m "$MINOR"
	fio_verify "$DEV" 8
	tap_destroy "$MINOR"
	fio_verify "$DIR/r.img" 8
}

# As by a lock, which went with its tapdisk.
refuses_its_image() { # MODE
	local busy="in use by tap 0, whose tapdisk has died"

	make_chain "$DIR/$1" 16 2
	up "vhd:$DIR/${1}2.vhd" "$1"
	expect_content "$CLASS/blktap$MINOR/orphan" "" "orphan, while it is served"
	write_disk 0 64
	kill_tapdisk "$MINOR"
	expect_content "$CLASS/blktap$MINOR/orphan" "rw vhd:$DIR/${1}2.vhd" "orphan"
	expect_fail 16 "$busy" vhd-util check -n "$DIR/${1}2.vhd"
	expect_fail 16 "$busy" vhd-util coalesce -n "$DIR/${1}2.vhd"
	expect_fail 16 "$busy" vhd-util resize -n "$DIR/${1}1.vhd" -s 32
	expect_fail 16 "$busy" tap-ctl create -R -a "vhd:$DIR/${1}2.vhd"
	expect_fail 16 "$busy" tap-ctl create -a "aio:$DIR/${1}1.vhd"
	vhd-util check -n "$DIR/${1}1.vhd" >"$DIR/check"
	tap-ctl recover -m "$MINOR"
	expect_content "$CLASS/blktap$MINOR/orphan" "" "orphan, recovered"
	kill_tapdisk "$MINOR"
	tap-ctl close -f -m "$MINOR"
	vhd-util resize -n "$DIR/${1}2.vhd" -s 32
	tap-ctl destroy -m "$MINOR"
}

test_an_orphans_image_is_refused_to_others_in_ring_mode() {
	refuses_its_image ring
}

test_an_orphans_image_is_refused_to_others_in_layout_mode() {
	refuses_its_image layout
}

# The kernel knows the files, whatever they are called, and nobody looks for them.
is_refused_by_any_name() { # MODE
	make_chain "$DIR/c" 16 2
	up "vhd:$DIR/c2.vhd" "$1"
	kill_tapdisk "$MINOR"
	mv "$DIR/c1.vhd" "$DIR/parent.vhd"
	mv "$DIR/c2.vhd" "$DIR/moved.vhd"
	expect_fail 16 "whose tapdisk has died" vhd-util check -n "$DIR/moved.vhd"
	expect_fail 16 "whose tapdisk has died" vhd-util resize -n "$DIR/parent.vhd" -s 32
	make_raw "$DIR/c2.vhd" 1
	opens_elsewhere -a "aio:$DIR/c2.vhd"
	tap-ctl close -f -m "$MINOR"
	vhd-util resize -n "$DIR/parent.vhd" -s 32
	tap-ctl destroy -m "$MINOR"
}

test_an_orphans_image_is_refused_by_any_name_in_ring_mode() {
	is_refused_by_any_name ring
}

test_an_orphans_image_is_refused_by_any_name_in_layout_mode() {
	is_refused_by_any_name layout
}

# Its own image is the heir's, and no other orphan's.
test_an_heir_does_not_take_another_taps_image() {
	local first

	make_raw "$DIR/a.img" 16
	make_raw "$DIR/b.img" 16
	up "aio:$DIR/a.img" layout
	first=$MINOR
	up "aio:$DIR/b.img" layout
	kill_tapdisk "$first"
	kill_tapdisk "$MINOR"
	echo "aio:$DIR/b.img" >"$CLASS/blktap$first/name"
	expect_fail 16 "in use by tap $MINOR, whose tapdisk has died" tap-ctl recover -m "$first"
	echo "aio:$DIR/a.img" >"$CLASS/blktap$first/name"
	tap-ctl recover -m "$first"
	tap-ctl recover -m "$MINOR"
	tap_destroy "$first"
	tap_destroy "$MINOR"
}

# Whatever its name is.
test_an_orphans_image_is_refused_without_a_name() {
	make_raw "$DIR/r.img" 16
	up "aio:$DIR/r.img" ring
	echo >"$CLASS/blktap$MINOR/name"
	kill_tapdisk "$MINOR"
	expect_content "$CLASS/blktap$MINOR/orphan" "rw ?" "orphan"
	expect_fail 16 "whose tapdisk has died" tap-ctl create -a "aio:$DIR/r.img"
}

opens_elsewhere() { # OPTION... of tap-ctl create
	local node

	node=$(tap-ctl create "$@")
	tap-ctl destroy -m "${node##*tapdev}"
}

# One that reads excludes writers; a pause lets go of the image.
test_an_orphan_excludes_no_more_than_it_must() {
	local other

	make_raw "$DIR/r.img" 16
	up "aio:$DIR/r.img" layout -R
	kill_tapdisk "$MINOR"
	expect_content "$CLASS/blktap$MINOR/orphan" "ro aio:$DIR/r.img" "orphan"
	expect_fail 16 "whose tapdisk has died" tap-ctl create -a "aio:$DIR/r.img"
	opens_elsewhere -R -a "aio:$DIR/r.img"
	tap-ctl recover -m "$MINOR"
	tap-ctl pause -m "$MINOR"
	kill_tapdisk "$MINOR"
	expect_content "$CLASS/blktap$MINOR/orphan" "" "orphan, paused"
	opens_elsewhere -a "aio:$DIR/r.img"
	tap-ctl recover -m "$MINOR"

	# Who goes on then is no heir of another one that has it now.
	other=$(tap-ctl create -a "aio:$DIR/r.img")
	other=${other##*tapdev}
	defer tap_destroy_if_there "$other"
	kill_tapdisk "$other"
	expect_fail 16 "in use by tap $other" tap-ctl unpause -m "$MINOR"
	tap-ctl recover -m "$other"
	tap_destroy "$other"
	tap-ctl unpause -m "$MINOR"
	tap_destroy "$MINOR"
}

# Data that is in a child's new blocks, and of which the metadata does not say so yet.
test_what_is_not_committed_is_committed_by_the_next() {
	make_chain "$DIR/c" 16 2
	up "vhd:$DIR/c2.vhd" layout
	head -c 1M /dev/urandom >"$DIR/data"
	dd if="$DIR/data" of="$DEV" bs=64k oflag=direct status=none
	kill_tapdisk "$MINOR"
	expect_fail 107 "recover it" tap-ctl free -m "$MINOR" -t 2
	sync_disk &
	tap-ctl recover -m "$MINOR"
	wait "$!"
	tap_destroy "$MINOR"
	check_vhd "$DIR/c2.vhd"
	up "vhd:$DIR/c2.vhd" layout
	cmp -n $((1 << 20)) "$DEV" "$DIR/data" || fail "it is lost"
	tap_destroy "$MINOR"
}

# Else nobody could bring the tapdisk that it waits for.
test_a_recovery_ends_what_waits_for_a_tapdisk() {
	local pause

	make_chain "$DIR/c" 16 2
	up "vhd:$DIR/c2.vhd" layout
	head -c 1M /dev/urandom >"$DIR/data"
	dd if="$DIR/data" of="$DEV" bs=64k oflag=direct status=none
	kill -STOP "$PID"
	tap-ctl pause -m "$MINOR" -t $((100 * SCALE)) 2>"$DIR/pause" &
	pause=$!
	wait_for 5 has_state "$MINOR" 0x14
	kill_tapdisk "$MINOR"
	timeout $((10 * SCALE)) tap-ctl recover -m "$MINOR"
	! wait "$pause" || fail "the pause succeeded"
	expect_match "$(<"$DIR/pause")" ".*a recovery.*" "the pause"
	tap_destroy "$MINOR"
	up "vhd:$DIR/c2.vhd" layout
	cmp -n $((1 << 20)) "$DEV" "$DIR/data" || fail "it is lost"
	tap_destroy "$MINOR"
}

sync_disk() {
	dd if=/dev/null of="$DEV" bs=4k conv=notrunc,fsync status=none
}

# Reads and rewrites of what is there are served meanwhile; what waits ends.
test_a_stopped_tapdisk_holds_up_no_hit() {
	local writer

	make_dynamic "$DIR/d.vhd" 16
	up "vhd:$DIR/d.vhd" layout
	write_disk 0 64
	kill -STOP "$PID"
	defer let_go "$PID"
	read_disk 0 64
	write_disk 0 64
	write_disk 2048 &
	writer=$!
	expect_waits "$writer"
	tap-ctl recover -m "$MINOR"
	wait "$writer"
	tap_destroy "$MINOR"
}

let_go() { # PID
	kill -CONT "$1" 2>/dev/null || true
}

# Of one that serves, and of one that is stopped: no request is lost.
test_a_forced_recovery_kills_the_tapdisk_first() {
	local how old writer

	make_dynamic "$DIR/d.vhd" 16
	up "vhd:$DIR/d.vhd" ring
	for how in serving stopped; do
		old=$(tap_pid "$MINOR")
		head -c 256K /dev/urandom >"$DIR/data"
		if [ "$how" = stopped ]; then
			kill -STOP "$old"
			defer let_go "$old"
		else
			expect_fail 114 "serves it" tap-ctl recover -m "$MINOR"
			[ "$(tap_pid "$MINOR")" = "$old" ] || fail "it is killed without -f"
		fi
		dd if="$DIR/data" of="$DEV" bs=64k oflag=direct conv=notrunc status=none &
		writer=$!
		[ "$how" = serving ] || expect_waits "$writer"
		tap-ctl recover -f -m "$MINOR"
		served "$MINOR" "$old" || fail "not served: $(tap-ctl list)"
		[ ! -d "/proc/$old" ] || fail "the $how tapdisk lives: $(<"/proc/$old/status")"
		wait "$writer" || fail "the writer saw an error"
		cmp -n $((256 << 10)) "$DEV" "$DIR/data"
	done
	tap_destroy "$MINOR"
	check_vhd "$DIR/d.vhd"
}

# mapped_device NAME FILE MIB: /dev/mapper/NAME, which can be suspended.
mapped_device() {
	local loop

	# Nobody else makes its node.
	export DM_DISABLE_UDEV=1
	modprobe -q -a loop dm-mod || true
	make_raw "$2" "$3"
	loop=$(losetup --show -f "$2")
	defer losetup -d "$loop"
	dmsetup create "$1" --table "0 $(($3 * 2048)) linear $loop 0"
	defer dmsetup remove --retry "$1"
}

# Its image's storage keeps the next tapdisk waiting, and so whoever wants another one.
test_a_recovery_is_seen_while_it_goes_on() {
	local first second

	mapped_device slow "$DIR/dev.img" 32
	make_dynamic /dev/mapper/slow 16
	up vhd:/dev/mapper/slow layout
	defer dmsetup resume slow
	kill_tapdisk "$MINOR"
	expect_eq "$(tap_state "$MINOR")" 0x400 "state before"
	dmsetup suspend --noflush --nolockfs slow
	tap-ctl recover -m "$MINOR" &
	first=$!
	wait_for 20 has_state "$MINOR" "$RECOVERING"
	expect_match "$(tap_line "$MINOR")" \
		"pid=[0-9]+ minor=$MINOR state=0x2400 args=vhd:/dev/mapper/slow" "list meanwhile"
	tap-ctl recover -m "$MINOR" 2>"$DIR/said" &
	second=$!
	expect_waits "$second"
	dmsetup resume slow
	wait "$first"
	! wait "$second" || fail "two have recovered it"
	expect_match "$(<"$DIR/said")" ".*serves it.*" "what the second one says"
	expect_eq "$(tap_state "$MINOR")" 0 "state after"
	write_disk 100 64
	tap_destroy "$MINOR"
}

# No matter what it does, and what is under way.
test_a_forced_close_waits_for_nobody() {
	local writer pause

	make_dynamic "$DIR/d.vhd" 16
	up "vhd:$DIR/d.vhd" layout
	kill -STOP "$PID"
	defer let_go "$PID"
	write_disk 2048 2>/dev/null &
	writer=$!
	expect_waits "$writer"
	tap-ctl pause -m "$MINOR" -t 100 2>"$DIR/pause" &
	pause=$!
	wait_for 5 has_state "$MINOR" 0x14
	expect_fail 16 "under way" tap-ctl free -m "$MINOR"
	timeout $((10 * SCALE)) tap-ctl close -f -m "$MINOR"
	! wait "$writer" || fail "the writer saw no error"
	! wait "$pause" || fail "the pause succeeded"
	kill -CONT "$PID"
	tap_destroy "$MINOR"
}

test_an_orphan_can_be_closed_by_force() {
	local reader

	make_raw "$DIR/r.img" 16
	up "aio:$DIR/r.img" ring
	kill_tapdisk "$MINOR"
	read_disk 2>/dev/null &
	reader=$!
	expect_waits "$reader"
	tap-ctl close -f -m "$MINOR"
	! wait "$reader" || fail "the reader saw no error"
	expect_eq "$(tap_line "$MINOR")" "minor=$MINOR state=0" "list"
	tap-ctl free -m "$MINOR"
}

# told_of TIMES EVENT: so often, of $MINOR, by events that monitor_up has begun to collect
told_of() {
	[ "$(grep -c "^$2 minor=$MINOR\b" "$DIR/events")" = "$1" ]
}

# told_as REGEX: the last stall, in the same words by the event and in the kernel's log; its
# one group is the time, which AGE is set to.
told_as() {
	local text

	text=$(sed -n "s/^stalled minor=$MINOR text=//p" "$DIR/events" | tail -1)
	expect_match "$text" "$1" "what is told"
	AGE=${BASH_REMATCH[2]}
	expect_eq "$(dmesg | sed -n 's/.*\(tap [0-9]*: .* has waited for\)/\1/p' | tail -1)" \
		"tap $MINOR: $text" "what the kernel's log says"
}

# logged: how many stalls the kernel's log has, of any tap
logged() {
	dmesg | grep -c ' has waited for ' || true
}

in_flight() { # REQUESTS: of $DEV
	local reads writes

	read -r reads writes <"/sys/block/$TD/inflight"
	[ $((reads + writes)) = "$1" ]
}

# However many wait, and however often they are looked at. It is the oldest that is named.
test_a_stall_is_told_of_once() {
	local before began i readers=()

	make_raw "$DIR/r.img" 16
	up "aio:$DIR/r.img" ring
	tap-ctl set -m "$MINOR" --request-timeout 2
	monitor_up
	before=$(logged)
	kill -STOP "$PID"
	defer let_go "$PID"
	began=$SECONDS
	for i in 1 2 3 4; do
		read_disk $((i * 100)) &
		readers+=($!)
		wait_for 10 in_flight "$i"
	done
	wait_for 10 told_of 1 stalled
	told_as "READ of sector 800 has waited for the tapdisk for ([0-9]+) s"
	((AGE >= 2 && AGE <= SECONDS - began + 1)) || fail "$AGE s, of $((SECONDS - began))"
	sleep 3
	told_of 1 stalled || fail "told again: $(<"$DIR/events")"
	expect_eq "$(logged)" $((before + 1)) "lines in the kernel's log"
	kill -CONT "$PID"
	wait "${readers[@]}"
	wait_for 10 told_of 1 goes-on
	# The next time it is told again.
	kill -STOP "$PID"
	read_disk 500 &
	wait_for 10 told_of 2 stalled
	told_as "READ of sector 4000 has waited for the tapdisk for ([0-9]+) s"
	expect_eq "$(logged)" $((before + 2)) "lines in the kernel's log"
	kill -CONT "$PID"
	wait "$!"
	wait_for 10 told_of 2 goes-on
	tap_destroy "$MINOR"
}

# An orphan that nobody recovers fails what waits, and only that.
test_what_waits_for_too_long_fails() {
	make_raw "$DIR/r.img" 16
	up "aio:$DIR/r.img" ring
	tap-ctl set -m "$MINOR" --request-timeout 2
	expect_content "$CLASS/blktap$MINOR/request_timeout" 2 "request_timeout"
	monitor_up
	kill_tapdisk "$MINOR"
	! read_disk 2>/dev/null || fail "the reader saw no error"
	wait_for 10 told_of 1 stalled
	told_as "READ of sector 0 has waited for a tapdisk for ([0-9]+) s: it fails"
	((AGE >= 2)) || fail "it fails after $AGE s"
	tap-ctl recover -m "$MINOR"
	read_disk
	tap_destroy "$MINOR"
}

test_what_a_tapdisk_holds_for_too_long() {
	local reader

	make_raw "$DIR/r.img" 16
	up "aio:$DIR/r.img" ring
	tap-ctl set -m "$MINOR" --request-timeout 1
	monitor_up
	kill -STOP "$PID"
	defer let_go "$PID"
	read_disk 2>"$DIR/said" &
	reader=$!
	wait_for 10 grep -q "^stalled minor=$MINOR " "$DIR/events"
	has_state "$MINOR" "$STALLED" || fail "state $(tap_state "$MINOR")"
	kill -0 "$reader" || fail "it has ended: $(<"$DIR/said")"
	tap-ctl set -m "$MINOR" --on-timeout fail
	! wait "$reader" || fail "it has not failed"
	kill -CONT "$PID"
	# What it then answers means nothing.
	tap-ctl set -m "$MINOR" --request-timeout 0 --on-timeout wait
	read_disk 0 64
	write_disk 0 64
	wait_for 10 grep -q "^goes-on minor=$MINOR" "$DIR/events"
	tap_destroy "$MINOR"
}

test_a_paused_tap_is_recovered_when_it_goes_on() {
	local writer

	make_dynamic "$DIR/d.vhd" 16
	up "vhd:$DIR/d.vhd" layout
	tap-ctl pause -m "$MINOR"
	write_disk 2048 &
	writer=$!
	expect_waits "$writer"
	kill_tapdisk "$MINOR"
	expect_fail 107 "recover it" tap-ctl unpause -m "$MINOR"
	tap-ctl recover -m "$MINOR"
	expect_eq "$(tap_state "$MINOR")" 0x2a "state"
	kill -0 "$writer" || fail "it did not wait for the end of the pause"
	tap-ctl unpause -m "$MINOR"
	wait "$writer"
	tap_destroy "$MINOR"
}

# A filesystem of 24 MiB on $DIR/small.
small_fs() {
	modprobe -q loop || true
	mkdir "$DIR/small"
	truncate -s 24M "$DIR/fs"
	mkfs.ext4 -q "$DIR/fs"
	mount -o loop "$DIR/fs" "$DIR/small"
	defer umount "$DIR/small"
}

# Writes to $DEV must wait, an event must tell of it, and they must go on.
waits_for_space() { # MODE
	local writer

	small_fs
	make_dynamic "$DIR/small/d.vhd" 16
	head -c 100M /dev/zero 2>/dev/null >"$DIR/small/ballast" || true
	up "vhd:$DIR/small/d.vhd" "$1"
	monitor_up
	write_disk 0 256 &
	writer=$!
	wait_for 10 grep -q "^no-space minor=$MINOR " "$DIR/events"
	has_state "$MINOR" "$NO_SPACE" || fail "state $(tap_state "$MINOR")"
	expect_waits "$writer"
	rm "$DIR/small/ballast"
	wait "$writer"
	wait_for 10 grep -q "^goes-on minor=$MINOR" "$DIR/events"
	tap_destroy "$MINOR"
	check_vhd "$DIR/small/d.vhd"
}

test_space_is_waited_for_in_ring_mode() {
	waits_for_space ring
}

test_space_is_waited_for_in_layout_mode() {
	waits_for_space layout
}

# Each request begins in a hole, which takes space, and ends in data.
test_zeroes_that_find_no_space_are_not_skipped() {
	local i zeroer

	small_fs
	make_raw "$DIR/small/r.img" 8
	for i in $(seq 1 2 15); do
		tr '\0' x </dev/zero | dd of="$DIR/small/r.img" bs=128K seek="$i" count=1 \
			iflag=fullblock conv=notrunc status=none
	done
	head -c 100M /dev/zero 2>/dev/null >"$DIR/small/ballast" || true
	up "aio:$DIR/small/r.img" layout
	monitor_up
	blkdiscard -z -l 2M "$DEV" &
	zeroer=$!
	wait_for 10 grep -q "^no-space minor=$MINOR " "$DIR/events"
	expect_waits "$zeroer"
	rm "$DIR/small/ballast"
	wait "$zeroer"
	expect_eq "$(head -c 2M "$DEV" | tr -d '\0' | wc -c)" 0 "bytes not zero"
	tap_destroy "$MINOR"
}

# The image is of another kind than the one that the disk was made of.
recover_child_of() { # IMAGE
	up "$1" layout
	dd if=/dev/urandom of="$DEV" bs=64k count=4 oflag=direct conv=fsync status=none
	dd if="$DEV" bs=64k count=16 iflag=direct of="$DIR/before" status=none
	tap-ctl pause -p "$PID" -m "$MINOR"
	vhd-util snapshot -n "$DIR/child.vhd" -p "${1#*:}" "${@:2}"
	tap-ctl unpause -p "$PID" -m "$MINOR" -a "vhd:$DIR/child.vhd"
	dd if="$DIR/before" of="$DEV" bs=64k count=4 seek=16 oflag=direct status=none
	kill_tapdisk "$MINOR"
	tap-ctl recover -m "$MINOR"
	[ "${1%%:*}" = vhd ] || blkdiscard -o 4M -l 2M "$DEV"
	cmp -n $((256 << 10)) "$DEV" "$DIR/before"
	cmp -n $((256 << 10)) -i $((1 << 20)):0 "$DEV" "$DIR/before"
	tap_destroy "$MINOR"
	check_vhd "$DIR/child.vhd"
	rm "$DIR/child.vhd"
}

# Both want to bring the next tapdisk: neither kills the other's.
test_handover_beside_a_supervisor() {
	local load old

	make_chain "$DIR/c" "$MIB" 3
	up "vhd:$DIR/c3.vhd" layout
	supervisor_up
	load >"$DIR/load" 2>&1 &
	load=$!
	for _ in 1 2 3 4; do
		old=$(tap_pid "$MINOR")
		tap-ctl handover -m "$MINOR"
		wait_for 20 served "$MINOR" "$old"
	done
	touch "$DIR/stop"
	wait "$load" || fail "$(<"$DIR/load")"
	fio_verify "$DEV" "$MIB"
	[ "$(pgrep -cx tapdisk)" = 2 ] || fail "tapdisks: $(pgrep -ax tapdisk)"
	supervisor_down "$SUPERVISOR"
	tap_destroy "$MINOR"
	check_vhd "$DIR/c3.vhd"
}

# Found by stress.
test_a_snapshot_of_a_fixed_or_raw_image_is_recovered() {
	make_fixed "$DIR/f.vhd" 8
	recover_child_of "vhd:$DIR/f.vhd"
	make_raw "$DIR/r.img" 8
	recover_child_of "aio:$DIR/r.img" -m
}

# A child on storage that can't give space back, of a disk that has discards.
test_a_snapshot_that_can_not_discard_is_recovered() {
	local loop

	export DM_DISABLE_UDEV=1
	modprobe -q -a loop dm-mod || true
	make_raw "$DIR/r.img" 32
	loop=$(losetup --show -f "$DIR/r.img")
	defer losetup -d "$loop"
	echo 0 >"/sys/block/${loop##*/}/queue/discard_max_bytes"
	make_dynamic "$DIR/d.vhd" 8
	up "vhd:$DIR/d.vhd" layout
	write_disk 100 64
	tap-ctl pause -m "$MINOR"
	make_child "$loop" "$DIR/d.vhd"
	tap-ctl unpause -m "$MINOR" -a "vhd:$loop"
	kill_tapdisk "$MINOR"
	tap-ctl recover -m "$MINOR"
	write_disk 200 64
	tap_destroy "$MINOR"
}

# The disk gets the new size in a pause, as it would with the first tapdisk.
test_an_image_that_has_grown_is_recovered() {
	local mode

	for mode in ring layout; do
		make_raw "$DIR/r.img" 8
		up "aio:$DIR/r.img" "$mode"
		write_disk 100 64
		kill_tapdisk "$MINOR"
		truncate -s 9M "$DIR/r.img"
		tap-ctl recover -m "$MINOR"
		expect_eq "$(blockdev --getsize64 "$DEV")" $((8 << 20)) "size as it was"
		write_disk 100 64
		tap-ctl pause -m "$MINOR"
		tap-ctl unpause -m "$MINOR"
		expect_eq "$(blockdev --getsize64 "$DEV")" $((9 << 20)) "new size"
		write_disk $((8 * 256 + 10)) 64
		tap_destroy "$MINOR"
	done
}

# Its tapdisk had bits of the bitmaps in memory, which wait for the next one.
test_an_orphan_is_not_closed_with_what_was_not_flushed() {
	make_dynamic "$DIR/p.vhd" 8
	make_child "$DIR/c.vhd" "$DIR/p.vhd"
	up "vhd:$DIR/c.vhd" ring
	dd if=/dev/urandom of="$DIR/data" bs=64k count=8 status=none
	dd if="$DIR/data" of="$DEV" bs=64k oflag=direct status=none
	kill_tapdisk "$MINOR"
	expect_fail 107 "recover it" tap-ctl close -m "$MINOR"
	tap-ctl recover -m "$MINOR"
	dd if="$DIR/data" of="$DEV" bs=64k seek=8 oflag=direct conv=fsync status=none
	kill_tapdisk "$MINOR"
	tap-ctl close -m "$MINOR"
	tap-ctl free -m "$MINOR"
	tap_create "vhd:$DIR/c.vhd"
	cmp -n $((512 << 10)) "$DIR/data" "$DEV"
	cmp -n $((512 << 10)) -i 0:$((512 << 10)) "$DIR/data" "$DEV"
	tap_destroy "$MINOR"
}

# What the old tapdisk has open, and the next one could not open, stays with the old one.
test_no_handover_of_an_image_that_has_gone() {
	make_raw "$DIR/r.img" 8
	up "aio:$DIR/r.img" layout
	mv "$DIR/r.img" "$DIR/moved.img"
	expect_fail 2 "could not open it" tap-ctl handover -m "$MINOR"
	make_raw "$DIR/r.img" 8
	expect_fail 116 "another file" tap-ctl handover -m "$MINOR"
	expect_eq "$(tap_pid "$MINOR")" "$PID" "the tapdisk"
	write_disk 100 64
	mv "$DIR/moved.img" "$DIR/r.img"
	tap-ctl handover -m "$MINOR"
	served "$MINOR" "$PID" || fail "not served: $(tap-ctl list)"
	tap_destroy "$MINOR"
}

# One image can't be opened any more: the tapdisk's other taps go over all the same.
test_handover_of_several_of_which_one_fails() {
	local bad first

	make_dynamic "$DIR/bad.vhd" 8
	up "vhd:$DIR/bad.vhd" layout
	bad=$MINOR first=$PID
	make_raw "$DIR/r.img" 8
	up "aio:$DIR/r.img" layout -p "$first"
	dd if="$DIR/bad.vhd" of="$DIR/head" bs=512 count=4 status=none
	dd if=/dev/zero of="$DIR/bad.vhd" bs=512 count=4 conv=notrunc status=none
	expect_fail 22 "bad.vhd" tap-ctl handover -m "$bad"
	served "$MINOR" "$first" || fail "not served: $(tap-ctl list)"
	has_state "$bad" "$ORPHANED" || fail "no orphan: $(tap-ctl list)"
	write_disk 100 64
	dd if="$DIR/head" of="$DIR/bad.vhd" bs=512 count=4 conv=notrunc status=none
	tap-ctl recover -m "$bad"
	tap_destroy "$bad"
	tap_destroy "$MINOR"
}

# All taps of a tapdisk go over, under load.
test_handover() {
	local load old second

	make_raw "$DIR/s.img" 8
	up "aio:$DIR/s.img" ring
	second=$MINOR
	make_dynamic "$DIR/d.vhd" "$MIB"
	up "vhd:$DIR/d.vhd" layout -p "$PID"
	load --fsync=64 >"$DIR/load" 2>&1 &
	load=$!
	for _ in 1 2 3; do
		old=$(tap_pid "$MINOR")
		tap-ctl handover -m "$MINOR"
		served "$MINOR" "$old" || fail "not served: $(tap-ctl list)"
		expect_eq "$(tap_pid "$second")" "$(tap_pid "$MINOR")" "the other tap's tapdisk"
		sleep 0.5
	done
	touch "$DIR/stop"
	wait "$load" || fail "$(<"$DIR/load")"
	fio_verify "$DEV" "$MIB" --fsync=64
	tap_destroy "$MINOR"
	tap_destroy "$second"
}

# runs MINOR BINARY: its tapdisk's program, and no deleted one
runs() {
	expect_eq "$(readlink "/proc/$(tap_pid "$1")/exe")" "$2" "the program of tap $1"
}

# An upgrade: the next tapdisk is another file, at its path, and users see nothing of it.
test_handover_to_another_binary() {
	local load old

	cp "$(command -v tapdisk)" "$DIR/tapdisk"
	old=$(readlink -f "$(command -v tapdisk)")
	make_dynamic "$DIR/d.vhd" "$MIB"
	up "vhd:$DIR/d.vhd" layout
	runs "$MINOR" "$old"
	load >"$DIR/load" 2>&1 &
	load=$!
	TAPDISK=$DIR/tapdisk tap-ctl handover -m "$MINOR"
	runs "$MINOR" "$DIR/tapdisk"
	[ ! -d "/proc/$PID" ] || fail "the old tapdisk lives"
	# As an upgrade does: the file is replaced by another one of its name.
	cp "$DIR/tapdisk" "$DIR/new" && mv "$DIR/new" "$DIR/tapdisk"
	TAPDISK=$DIR/tapdisk tap-ctl handover -m "$MINOR"
	runs "$MINOR" "$DIR/tapdisk"
	expect_fail 2 "no tapdisk" env TAPDISK="$DIR/none" tap-ctl handover -m "$MINOR"
	runs "$MINOR" "$DIR/tapdisk"
	tap-ctl handover -m "$MINOR"
	runs "$MINOR" "$old"
	touch "$DIR/stop"
	wait "$load" || fail "$(<"$DIR/load")"
	fio_verify "$DEV" "$MIB"
	tap_destroy "$MINOR"
}

# The supervisor finds orphans that are there when it starts, and those of other
# tapdisks; an image that is not there is tried again until it is.
test_the_supervisor_does_not_give_up() {
	local reader

	make_raw "$DIR/r.img" 8
	up "aio:$DIR/r.img" ring
	kill_tapdisk "$MINOR"
	mv "$DIR/r.img" "$DIR/moved"
	supervisor_up
	read_disk &
	reader=$!
	expect_waits "$reader"
	mv "$DIR/moved" "$DIR/r.img"
	wait "$reader"
	supervisor_down "$SUPERVISOR"
	tap_destroy "$MINOR"
}

# Its process has been killed, but what it has submitted is in the device still: were
# another one to serve the disk now, that write would come after newer ones.
test_a_late_write_of_the_old_tapdisk_comes_before_the_next_one() {
	local writer other

	mapped_device late "$DIR/r.img" 16
	up aio:/dev/mapper/late ring
	defer dmsetup resume late
	tap-ctl spawn >"$DIR/other"
	other=$(<"$DIR/other")
	defer let_end "$other"
	dmsetup suspend --noflush --nolockfs late
	write_file "$DIR/old" &
	writer=$!
	wait_for 20 has_submitted "$PID" "$MINOR"
	kill -KILL "$PID"
	sleep 1
	! has_state "$MINOR" "$ORPHANED" || fail "it counts as gone"
	expect_fail 16 "attached already" tap-ctl attach -p "$other" -m "$MINOR"
	dmsetup resume late
	wait_for 20 has_state "$MINOR" "$ORPHANED"
	tap-ctl recover -m "$MINOR"
	wait "$writer"
	write_file "$DIR/new"
	sleep 1
	cmp -n 4096 "$DEV" "$DIR/new" || fail "an older write has come later"
	tap_destroy "$MINOR"
}

# A request is in the device: the tapdisk submits what it took before it answers again.
has_submitted() { # PID MINOR
	has_one_request "$@" && has_one_request "$@"
}

has_one_request() { # PID MINOR
	[[ $(tap-ctl stats -p "$1" -m "$2") == *'"reqs_outstanding": 1'* ]]
}

write_file() { # FILE: made of noise, to block 0
	head -c 4096 /dev/urandom >"$1"
	dd if="$1" of="$DEV" bs=4k oflag=direct conv=notrunc status=none
}

let_end() { # PID
	kill -TERM "$1" 2>/dev/null || true
}

run_tests "$@"
