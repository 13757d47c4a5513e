#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: stock kdbg
# timeout: 300 + STRESS_SECONDS
# only by: make stress
# All at once: 16 taps of every kind are made, written, verified, paused, snapshotted,
# resized and destroyed, and lose their tapdisks, while memory is short and CPUs come
# and go. Then nothing is lost, and nothing left.
#
# STRESS_SECONDS (60) is how long, STRESS_SEED the seed of what happens.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"
. "$(dirname "$0")/lib/recovery.sh"

TAPS=16
STRESS_SECONDS=${STRESS_SECONDS:-60}
STRESS_SEED=${STRESS_SEED:-$RANDOM}
CASE_SECONDS=$((200 + STRESS_SECONDS))

once_in() { # N
	[ $((RANDOM % $1)) = 0 ]
}

# make_image KIND MIB: sets IMAGE, and LEAF where it is a VHD.
make_image() {
	LEAF=
	case $1 in
	0)
		make_raw "$DIR/r.img" "$2"
		IMAGE=aio:$DIR/r.img
		return
		;;
	1) make_fixed "$DIR/0.vhd" "$2" ;;
	2) make_dynamic "$DIR/0.vhd" "$2" ;;
	3)
		make_dynamic "$DIR/parent.vhd" "$2"
		make_child "$DIR/0.vhd" "$DIR/parent.vhd"
		;;
	esac
	LEAF=$DIR/0.vhd
	IMAGE=vhd:$LEAF
}

# One pause, in which a VHD may get a child and a raw file may grow.
pause_once() {
	local child options=()

	tap-ctl pause -p "$PID" -m "$MINOR"
	if [ -z "$LEAF" ] && once_in 2; then
		truncate -s +1M "${IMAGE#aio:}"
	elif [ -n "$LEAF" ] && once_in 2 && [ $((++CHILDREN)) -lt 4 ]; then
		child=$DIR/$CHILDREN.vhd
		make_child "$child" "$LEAF"
		LEAF=$child IMAGE=vhd:$child
		options=(-a "$IMAGE")
	fi
	tap-ctl unpause -p "$PID" -m "$MINOR" "${options[@]}"
}

# Where 16 lives share a machine that emulates its CPUs, a tapdisk may not be ready in time.
recover_once() {
	local status=0

	tap-ctl recover -m "$MINOR" || status=$?
	while [ "$status" = 110 ]; do
		status=0
		tap-ctl recover -m "$MINOR" || status=$?
	done
	return "$status"
}

# The death of a tapdisk that nobody else has, and another one in its place.
kill_once() {
	if [ "$PID" != "$SHARED" ]; then
		kill_tapdisk "$MINOR"
		sleep 0.$((RANDOM % 5))
		recover_once
		PID=$(tap_pid "$MINOR")
	fi
}

act() {
	case $((RANDOM % 9)) in
	[0-3]) pause_once ;;
	8) kill_once ;;
	4) tap-ctl stats -p "$PID" -m "$MINOR" >/dev/null ;;
	5) tap-ctl list >/dev/null ;;
	*) sleep 0.$((RANDOM % 5)) ;;
	esac
}

# One tap from its creation to its end: what fio wrote is there, and the images are sound.
life() {
	local mib=$((RANDOM % 4 + 2)) load shared=() options depth=$((RANDOM % 16 + 1)) image

	CHILDREN=0
	MODE=layout
	! once_in 3 || MODE=ring
	! once_in 2 || shared=(-p "$SHARED")
	make_image $((RANDOM % 4)) "$mib"
	options=(--iodepth_batch="$depth" --iodepth_batch_complete_min=1 --fsync=$((depth * 8)))
	tap_create "$IMAGE" "${shared[@]}"
	echo $((120 * SCALE)) >"$CLASS/blktap$MINOR/request_timeout"
	fio_write "$DEV" "$mib" "${options[@]}" &
	load=$!
	while kill -0 "$load" 2>/dev/null; do act; done
	wait "$load" || fail "the load failed"
	[ -n "$LEAF" ] || expect_eq "$(blockdev --getsize64 "$DEV")" \
		"$(stat -c %s "${IMAGE#aio:}")" "size of the disk"
	tap_destroy "$MINOR"
	for image in "$DIR"/*.vhd; do
		[ ! -e "$image" ] || check_vhd "$image"
	done
	tap_create "$IMAGE" -R
	fio_verify "$DEV" "$mib" "${options[@]}"
	tap_destroy "$MINOR"
	rm -f "$DIR"/*.vhd "$DIR"/*.img
}

# worker NUMBER SEED: one life after another until the time is up.
worker() {
	local lives=0

	set -eE
	trap 'echo "status $? from: $BASH_COMMAND ($(where))"' ERR
	RANDOM=$(($2 + $1))
	DIR=$DIR/$1
	mkdir "$DIR"
	while [ "$SECONDS" -lt "$END" ]; do
		life
		: $((++lives))
		echo "$lives" >"$DIR/lives"
	done
}

# Takes half of the memory that is left, and the caches, again and again.
press() {
	local free

	while [ ! -e "$DIR/calm" ]; do
		free=$(awk '$1 == "MemAvailable:" { print int($2 / 2048) }' /proc/meminfo)
		head -c "${free}M" /dev/zero >/dev/shm/pressure || :
		sleep 1
		rm -f /dev/shm/pressure
		echo $((RANDOM % 3 + 1)) >/proc/sys/vm/drop_caches
		plug_cpu $((RANDOM % 2))
		sleep 2
	done 2>/dev/null
}

plug_cpu() { # 0 or 1
	! [ -w /sys/devices/system/cpu/cpu1/online ] ||
		echo "$1" >/sys/devices/system/cpu/cpu1/online || :
}

# It ends by itself: who kills it leaves behind what fills the memory.
stop_pressing() { # PID
	touch "$DIR/calm"
	wait "$1" 2>/dev/null || :
	rm -f /dev/shm/pressure
	plug_cpu 1
}

# MiB of memory in use that no cache can give back.
used_memory() {
	rm -rf "${DIR:?}"/*/
	sync
	fstrim "$SCRATCH"
	echo 3 >/proc/sys/vm/drop_caches
	sleep 1
	awk '{ v[$1] = $2 } END { print int((v["MemTotal:"] - v["MemAvailable:"]) / 1024) }' \
		/proc/meminfo
}

# What has ended may still be on its way back.
memory_is_back() { # MIB
	local used

	used=$(used_memory)
	echo "# $used MiB in use, less than $1 wanted" >/dev/kmsg
	[ "$used" -lt "$1" ]
}

# The tapdisk that half of all taps share stays as long as it has one of its own.
share_tapdisk() {
	SHARED=$(tap-ctl spawn)
	make_raw "$DIR/own.img" 1
	tap_create "aio:$DIR/own.img" -p "$SHARED"
	OWN=$MINOR
}

# What tapdisks have to say.
start_syslog() {
	busybox syslogd -n -O "$DIR/syslog" &
	defer kill $!
}

open_files() { # PID
	find "/proc/$1/fd" -mindepth 1 | wc -l
}

# mix SECONDS SEED: all workers, for that long.
mix() {
	local i pids=() failed='' presser

	rm -f "$DIR/calm"
	END=$((SECONDS + $1))
	press &
	presser=$!
	defer stop_pressing "$presser"
	for ((i = 0; i < TAPS; i++)); do
		worker "$i" "$2" >"$DIR/log.$i" 2>&1 &
		pids+=($!)
	done
	for ((i = 0; i < TAPS; i++)); do
		wait "${pids[i]}" || failed+=" $i"
	done
	for i in $failed; do
		echo "worker $i:"
		grep -v 'io_u error' "$DIR/log.$i" | tail -n 50
	done
	[ -z "$failed" ] || fail "workers failed:$failed; $(tail -n 20 "$DIR/syslog")"
	stop_pressing "$presser"
	echo "# $(cat "$DIR"/[0-9]*/lives | awk '{ n += $1 } END { print n }') lives" >/dev/kmsg
}

test_random_mix() {
	local before files

	echo "STRESS_SEED=$STRESS_SEED STRESS_SECONDS=$STRESS_SECONDS"
	start_syslog
	share_tapdisk
	files=$(open_files "$SHARED")
	# What is allocated once and kept (slabs for that many processes, the journal and the
	# inode tables of the RAM disk) is there before the memory is measured.
	mix $((STRESS_SECONDS / 3)) "$STRESS_SEED"
	before=$(used_memory)
	mix $((STRESS_SECONDS - STRESS_SECONDS / 3)) $((STRESS_SEED + TAPS))

	expect_match "$(tap-ctl list)" "pid=$SHARED minor=$OWN .*" "what is listed in the end"
	expect_eq "$(open_files "$SHARED")" "$files" "open files of the tapdisk that all shared"
	tap_destroy "$OWN"
	wait_for 10 not kill -0 "$SHARED" 2>/dev/null
	expect_eq "$(tap-ctl allocate)" "$NODES/tapdev0" "the first free minor"
	tap-ctl free -m 0
	wait_for 20 memory_is_back $((before + 48))
}

run_tests "$@"
