#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: stock kdbg
# timeout: 600 + STRESS_SECONDS
# All at once: 16 taps of every kind are made, written, verified, discarded, paused,
# snapshotted, coalesced, resized, recalled and destroyed, and lose their tapdisks, while
# memory is short and CPUs come and go. Then nothing is lost, and nothing left.
#
# STRESS_SECONDS (300) is how long, STRESS_SEED the seed of what happens.
. "$(dirname "$0")/lib/blktap.sh"
. "$(dirname "$0")/lib/fio.sh"
. "$(dirname "$0")/lib/recovery.sh"

TAPS=16
STRESS_SECONDS=${STRESS_SECONDS:-300}
STRESS_SEED=${STRESS_SEED:-$RANDOM}
CASE_SECONDS=$((200 + STRESS_SECONDS))
# MiB at the end of each disk that fio leaves alone.
TAIL=2
# Seconds in which a tapdisk must be ready, where 16 lives share emulated CPUs.
START=300
# KiB of memory that may be in use in the end, and were not after the first mix: what the RAM
# disk keeps of the filesystem's own blocks, and slabs of 1000 processes, half empty. A leak of
# 1 MiB a life is seen in a minute, of 32 KiB in half an hour.
LEFT_KIB=$((48 * 1024))

once_in() { # N
	[ $((RANDOM % $1)) = 0 ]
}

# --- images ------------------------------------------------------------------

# make_image KIND MIB: sets IMAGE, and CHAIN, a VHD's files from its base on.
make_image() {
	CHAIN=("$DIR/0.vhd")
	case $1 in
	0)
		make_raw "$DIR/r.img" "$2"
		CHAIN=()
		;;
	1) make_fixed "$DIR/0.vhd" "$2" ;;
	2) make_dynamic "$DIR/0.vhd" "$2" ;;
	3)
		make_dynamic "$DIR/0.vhd" "$2"
		CHAIN+=("$DIR/1.vhd")
		make_child "${CHAIN[@]:1}" "$DIR/0.vhd"
		;;
	esac
	name_image
}

name_image() {
	IMAGE=aio:$DIR/r.img
	[ "${#CHAIN[@]}" = 0 ] || IMAGE=vhd:${CHAIN[-1]}
}

# The image is closed: a raw file may grow, a VHD may, too, or get a child, or go
# down into its parent.
change_image() {
	local leaf

	if [ "${#CHAIN[@]}" = 0 ]; then
		truncate -s +1M "$DIR/r.img"
		: $((++SIZE))
		return
	fi
	leaf=${CHAIN[-1]}
	case $((RANDOM % 3)) in
	0)
		: $((++SIZE))
		vhd-util resize -n "$leaf" -s "$SIZE"
		;;
	1)
		[ "${#CHAIN[@]}" -lt 4 ] || return 0
		CHAIN+=("$DIR/${#CHAIN[@]}.vhd")
		make_child "${CHAIN[-1]}" "$leaf"
		;;
	2)
		[ "${#CHAIN[@]}" -gt 1 ] || return 0
		unset 'CHAIN[-1]'
		vhd-util resize -n "${CHAIN[-1]}" -s "$SIZE"
		vhd-util coalesce -n "$leaf"
		rm "$leaf"
		;;
	esac
	name_image
}

# --- what happens to a tap ---------------------------------------------------

# A supervisor may have been quicker.
recover_once() {
	local status=0

	tap-ctl recover -m "$MINOR" -t "$START" || status=$?
	[ "$status" != 114 ] || [ ! -e "$DIR/../supervised" ] || status=0
	return "$status"
}

# The death of a tapdisk that nobody else has, and another one in its place.
kill_once() {
	local old=$PID

	[ "$PID" != "$SHARED" ] || return 0
	kill -KILL "$PID"
	[ -e "$DIR/../supervised" ] || wait_for 20 has_state "$MINOR" "$ORPHANED"
	nap 0.$((RANDOM % 5))
	if [ ! -e "$DIR/../supervised" ] || once_in 2; then recover_once; fi
	wait_for 60 served "$MINOR" "$old"
	PID=$(tap_pid "$MINOR")
	did kills "$old then $PID"
}

pause_once() {
	local before=$IMAGE options=()

	tap-ctl pause -p "$PID" -m "$MINOR"
	! once_in 4 || kill_once
	! once_in 2 || change_image
	[ "$IMAGE" = "$before" ] || options=(-a "$IMAGE")
	tap-ctl unpause -p "$PID" -m "$MINOR" "${options[@]}"
	did pauses "$before $IMAGE $SIZE MiB"
}

hand_over() {
	[ "$PID" != "$SHARED" ] || return 0
	tap-ctl handover -m "$MINOR" -t "$START"
	PID=$(tap_pid "$MINOR")
	did handovers
}

# fio has the disk open, and so has this life.
destroy_busy() {
	local status=0

	tap-ctl destroy -p "$PID" -m "$MINOR" -t 1 2>"$DIR/busy" || status=$?
	case $status in
	16 | 110) ;;
	*) fail "destroying a busy tap: status $status: $(<"$DIR/busy")" ;;
	esac
	did refusals
}

recall() {
	[ "$MODE" = layout ] || return 0
	# Out of a process without children: the end of one would interrupt the wait.
	(echo 1 >"$CLASS/blktap$MINOR/recall")
	did recalls
}

# A range of the disk's tail is written, zeroed, or discarded and written; $DIR/tail has
# what must be there.
change_tail() {
	local start=$((RANDOM % 24)) len=$((RANDOM % 8 + 1)) from=/dev/urandom what=written range

	range=(-o $(((MIB << 20) + (start << 16))) -l $((len << 16)))
	case $((RANDOM % 3)) in
	0)
		what=zeroed
		blkdiscard -z "${range[@]}" "$DEV"
		from=/dev/zero
		;;
	1)
		what=discarded
		[ "$(<"/sys/block/$TD/queue/discard_max_bytes")" = 0 ] ||
			blkdiscard "${range[@]}" "$DEV"
		;;
	esac
	dd if="$from" of="$DIR/tail" bs=64k seek="$start" count="$len" conv=notrunc status=none
	[ "$from" = /dev/zero ] ||
		dd if="$DIR/tail" of="$DEV" bs=64k skip="$start" seek=$((MIB * 16 + start)) \
			count="$len" oflag=direct status=none
	did ranges "$what $((MIB * 16 + start))+$len"
}

check_tail() {
	cmp -n $((TAIL << 20)) -i $((MIB << 20)):0 "$DEV" "$DIR/tail" || {
		cmp -l -n $((TAIL << 20)) -i $((MIB << 20)):0 "$DEV" "$DIR/tail" | awk '
			{ n[int(($1 - 1) / 512)]++ } END { for (i in n) print i, n[i] }' | sort -n |
			awk 'NR < 40 { printf "%s ", $0 }'
		fail "the disk's tail"
	}
}

act() {
	case $((RANDOM % 14)) in
	[0-3]) pause_once ;;
	4) kill_once ;;
	5) hand_over ;;
	6) destroy_busy ;;
	7) recall ;;
	8 | 9) change_tail ;;
	10) tap-ctl stats -p "$PID" -m "$MINOR" >/dev/null ;;
	11) tap-ctl list >/dev/null ;;
	*) nap 0.$((RANDOM % 5)) ;;
	esac
}

# did WHAT [HOW]: for the figures, and the story of a life that fails
did() {
	echo "$1" >>"$DIR/done"
	echo "$((SECONDS)) $*" >>"$DIR/life"
}

# One tap from its creation to its end: what was written is there, and the images are sound.
life() {
	local load shared=() depth=$((RANDOM % 8 + 1)) options image held

	MIB=$((RANDOM % 3 + 2))
	SIZE=$((MIB + TAIL))
	MODE=layout
	! once_in 3 || MODE=ring
	! once_in 2 || shared=(-p "$SHARED")
	make_image $((RANDOM % 4)) "$SIZE"
	rm -f "$DIR/tail"
	make_raw "$DIR/tail" "$TAIL"
	# The memory of 16 fios is small beside that of the machine.
	options=(--bssplit=512/10:4k/50:16k/20:64k/15:128k/5 --iodepth=8 --thread
		--iodepth_batch="$depth" --iodepth_batch_complete_min=1 --fsync=$((depth * 8)))
	tap_create "$IMAGE" -t "$START" "${shared[@]}"
	echo "$MODE $DEV $IMAGE $SIZE MiB by $PID" >"$DIR/life"
	echo $((120 * SCALE)) >"$CLASS/blktap$MINOR/request_timeout"
	exec {held}<"$DEV"
	fio_write "$DEV" "$MIB" "${options[@]}" &
	load=$!
	while kill -0 "$load" 2>/dev/null; do act; done
	wait "$load" || fail "the load failed"
	check_tail
	expect_eq "$(blockdev --getsize64 "$DEV")" $((SIZE << 20)) "size of the disk"
	exec {held}<&-
	tap_destroy "$MINOR"
	for image in "${CHAIN[@]}"; do check_vhd "$image"; done
	tap_create "$IMAGE" -R -t "$START"
	fio_verify "$DEV" "$MIB" "${options[@]}"
	check_tail
	tap_destroy "$MINOR"
	rm -f "$DIR"/*.vhd "$DIR"/*.img
	did lives
}

# The end of a worker that has failed is that of all, and tells what its tapdisk said.
worker_ends() { # NUMBER
	local status=$?

	[ "$status" != 0 ] || return 0
	touch "$DIR/../failed"
	cat "$DIR/life"
	grep -F -e "/$1/" -e "minor $MINOR:" -e "tapdisk[$PID]" "$DIR/../syslog" | tail -n 30
}

# worker NUMBER SEED: one life after another until the time is up.
worker() {
	set -eE
	trap 'echo "status $? from: $BASH_COMMAND ($(where))"' ERR
	trap 'worker_ends "$1"' EXIT
	RANDOM=$(($2 + $1))
	DIR=$DIR/$1
	mkdir "$DIR"
	while [ "$SECONDS" -lt "$END" ] && [ ! -e "$DIR/../failed" ]; do life; done
}

# --- what happens to the machine ---------------------------------------------

meminfo() { # FIELD: KiB
	awk -v field="$1:" '$1 == field { print $2 }' /proc/meminfo
}

# Pages that were taken from a cache because they were needed.
reclaimed() {
	awk '/^pgsteal_(kswapd|direct) / { n += $2 } END { print n }' /proc/vmstat
}

# All but two fifths of the memory is taken, and the rest wanted for the cache of a file,
# again and again.
press() {
	local free before

	truncate -s 640M "$DIR/sparse"
	while [ ! -e "$DIR/calm" ]; do
		before=$(reclaimed)
		free=$((($(meminfo MemAvailable) - $(meminfo MemTotal) * 2 / 5) / 1024))
		[ "$free" -le 0 ] || nice -n -5 head -c "${free}M" /dev/zero >/dev/shm/pressure || :
		nice -n -5 cat "$DIR/sparse" >/dev/null
		[ "$(reclaimed)" -le "$before" ] || echo shortages >>"$DIR/machine"
		rm -f /dev/shm/pressure
		nap $((RANDOM % 3 + 1))
		echo $((RANDOM % 3 + 1)) >/proc/sys/vm/drop_caches
	done
}

# A CPU goes for a moment, again and again.
hotplug() {
	local online=/sys/devices/system/cpu/cpu1/online

	while [ ! -e "$DIR/calm" ]; do
		if echo 0 >"$online"; then
			echo hotplugs >>"$DIR/machine"
			nap 0.$((RANDOM % 10))
			echo 1 >"$online"
		fi
		nap $((RANDOM % 4 + 1))
	done
}

# They end by themselves: who kills them leaves behind what fills the memory.
calm_down() { # PID...
	touch "$DIR/calm"
	wait "$@" 2>/dev/null || :
	rm -f /dev/shm/pressure "$DIR/sparse"
}

# --- what is left ------------------------------------------------------------

# What could be given back is: caches, empty slabs, files that were removed.
settle() {
	local slab

	sync
	fstrim "$SCRATCH"
	echo 3 >/proc/sys/vm/drop_caches
	for slab in /sys/kernel/slab/*/shrink; do
		! [ -w "$slab" ] || echo 1 >"$slab"
	done
}

# KiB of memory in use that no cache can give back. The stacks of the kernel's own threads
# come and go with its work.
used_memory() {
	settle
	awk '{ v[$1] = $2 }
		END { print v["MemTotal:"] - v["MemAvailable:"] - 2 * v["KernelStack:"] }' /proc/meminfo
}

tell_memory() { # WHEN
	awk -v when="$1" -v tapdisk="$(awk '$1 == "RssAnon:" { print $2 }' "/proc/$SHARED/status")" '
		/^(MemFree|MemAvailable|Cached|Shmem|AnonPages|Slab|SUnreclaim|KernelStack|PageTables|Percpu):/ {
			said = said " " $1 $2
		}
		END { print "# memory " when ":" said " shared tapdisk:" tapdisk }' /proc/meminfo >/dev/kmsg
}

# What has ended may still be on its way back.
memory_is_back() { # KIB
	local used

	used=$(used_memory)
	echo "# $used KiB in use, less than $1 wanted" >/dev/kmsg
	[ "$used" -lt "$1" ]
}

# Names of all processes but the kernel's own, and what the watchdog starts.
processes() {
	local p comm names=()

	for p in /proc/[0-9]*; do
		[ -e "$p/exe" ] || continue
		{ read -r comm <"$p/comm"; } 2>/dev/null && names+=("$comm")
	done
	printf '%s\n' "${names[@]}" | grep -vx -e sleep -e stat | sort
}

used_space() { # MiB of the filesystem
	df -m --output=used "$SCRATCH" | tail -n 1
}

open_files() { # PID
	find "/proc/$1/fd" -mindepth 1 | wc -l
}

# --- the mix -----------------------------------------------------------------

# The RAM disk keeps what its filesystem has written once: the journal, which is written
# here as a whole, and the inode tables, which are not initialized any further.
fill_journal() {
	mount -o remount,noinit_itable "$SCRATCH"
	dd if=/dev/zero of="$DIR/journaled" bs=4k count=1200 oflag=sync status=none
	rm "$DIR/journaled"
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

# What the workers did, and how often memory was short and a CPU gone.
figures() {
	echo "FIGURE" "$(sort "$DIR"/[0-9]*/done "$DIR/machine" | uniq -c | tr -s '\n ' ' ')"
	cat "$DIR"/[0-9]*/done "$DIR/machine" >>"$DIR/all"
	: >"$DIR/machine"
}

# Where there was time for it, all that can happen has.
has_happened() {
	local what

	[ "$STRESS_SECONDS" -ge 300 ] || return 0
	for what in lives kills pauses handovers refusals recalls ranges hotplugs shortages; do
		grep -qx "$what" "$DIR/all" || fail "no $what"
	done
}

# mix SECONDS SEED: all workers, for that long.
mix() {
	local i pids=() failed='' presser plugger

	rm -f "$DIR/calm"
	END=$((SECONDS + $1))
	press &
	presser=$!
	hotplug &
	plugger=$!
	defer calm_down "$presser" "$plugger"
	for ((i = 0; i < TAPS; i++)); do
		worker "$i" "$2" >"$DIR/log.$i" 2>&1 &
		pids+=($!)
	done
	for ((i = 0; i < TAPS; i++)); do
		wait "${pids[i]}" || failed+=" $i"
	done
	for i in $failed; do
		echo "worker $i:"
		grep -v 'io_u error' "$DIR/log.$i" | tail -n 80
	done
	[ -z "$failed" ] || fail "STRESS_SEED=$STRESS_SEED: workers failed:$failed"
	calm_down "$presser" "$plugger"
	figures
	rm -rf "${DIR:?}"/[0-9]*/
	: >"$DIR/syslog"
}

test_random_mix() {
	local before files space processes first=$((STRESS_SECONDS / 3)) half

	first=$((first > 60 ? 60 : first))
	half=$(((STRESS_SECONDS - first) / 2))
	echo "FIGURE STRESS_SEED=$STRESS_SEED STRESS_SECONDS=$STRESS_SECONDS"
	: >"$DIR/machine"
	fill_journal
	start_syslog
	share_tapdisk
	files=$(open_files "$SHARED")
	tell_memory "at first"
	# What is allocated once and kept, slabs for that many processes say, is there before
	# the memory is measured.
	mix "$first" "$STRESS_SEED"
	before=$(used_memory)
	space=$(used_space)
	processes=$(processes)
	tell_memory "after the first mix"
	mix "$half" $((STRESS_SEED + TAPS))

	touch "$DIR/supervised"
	supervisor_up
	mix "$half" $((STRESS_SEED + 2 * TAPS))
	supervisor_down "$SUPERVISOR"

	has_happened
	expect_match "$(tap-ctl list)" "pid=$SHARED minor=$OWN .*" "what is listed in the end"
	expect_eq "$(open_files "$SHARED")" "$files" "open files of the tapdisk that all shared"
	expect_eq "$(processes)" "$processes" "processes"
	settle
	expect_eq "$(used_space)" "$space" "MiB of files"
	wait_for 20 memory_is_back $((before + LEFT_KIB))
	tell_memory "in the end"
	tap_destroy "$OWN"
	wait_for 10 not kill -0 "$SHARED" 2>/dev/null
	expect_eq "$(tap-ctl allocate)" "$NODES/tapdev0" "the first free minor"
	tap-ctl free -m 0
}

run_tests "$@"
