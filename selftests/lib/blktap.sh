# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the shell tests share: KTAP output, assertions, images, taps, clean-up.
#
# A test defines functions test_NAME and ends with `run_tests "$@"`. Each case
# runs in a process group of its own under `set -e`, with a time limit; what it
# has set up it takes down through `defer`. A case passes when its body and its
# clean-up succeed and nothing is left behind. The whole test passes when all its
# cases do, and the kernel logged no warning.
# `./TEST.sh CASE...` runs the named cases only.
#
# Environment:
#   SCRATCH             a directory on a filesystem with O_DIRECT; made if unset
#   BLKTAP_TEST_SCALE   how much slower than a plain machine this one is:
#                       time limits are multiplied, amounts of data divided

export LC_ALL=C
SELFTESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ ! -d "$SELFTESTS/../build/bin" ] || PATH=$(cd "$SELFTESTS/../build/bin" && pwd):$PATH
export PATH=$PATH:/usr/sbin:/sbin
SCALE=${BLKTAP_TEST_SCALE:-1}
CASE_SECONDS=${CASE_SECONDS:-150}
NODES=/dev/xen/blktap-2
CLASS=/sys/class/blktap2
POOLS=/sys/class/misc/blktap-control/pools
DEFERRED=()
# What nobody writes to: to wait without a process.
exec {NEVER}<> <(:)

# --- outcome of a case -------------------------------------------------------

where() {
	local i

	for ((i = 1; i < ${#FUNCNAME[@]}; i++)); do
		[ "${BASH_SOURCE[i]##*/}" = blktap.sh ] || break
	done
	echo "${BASH_SOURCE[i]##*/}:${BASH_LINENO[i - 1]}"
}

# fail MESSAGE...: ends the case.
fail() {
	echo "$(where): $*"
	exit 1
}

# skip REASON...: ends the case without a verdict.
skip() {
	echo "SKIP $*"
	exit 4
}

# requires PROGRAM...
requires() {
	local p

	for p; do
		command -v "$p" >/dev/null || skip "needs $p"
	done
}

# requires_fs TYPE
requires_fs() {
	grep -qw "$1" /proc/filesystems || modprobe "$1" 2>/dev/null ||
		skip "the kernel has no $1"
}

# defer COMMAND...: runs at the end of the case, last one first.
defer() {
	local command

	printf -v command '%q ' "$@"
	DEFERRED+=("$command")
}

run_deferred() {
	local rc=$? i

	trap - EXIT ERR
	set +e
	for ((i = ${#DEFERRED[@]} - 1; i >= 0; i--)); do
		eval "${DEFERRED[i]}" && continue
		echo "clean-up failed: ${DEFERRED[i]}"
		[ $rc != 0 ] || rc=1
	done
	exit $rc
}

# --- assertions --------------------------------------------------------------

# expect_eq GOT WANTED WHAT
expect_eq() {
	[ "$1" = "$2" ] || fail "$3: got '$1', wanted '$2'"
}

# expect_content FILE WANTED WHAT: of a small file of text, as $(<FILE) has it. No process is
# started for it: that takes long on some of the machines that tests run on.
expect_content() {
	local got

	IFS= read -r -d '' got <"$1" || :
	while [[ $got == *$'\n' ]]; do got=${got%$'\n'}; done
	expect_eq "$got" "$2" "$3"
}

# expect_match TEXT REGEX WHAT: REGEX is extended and holds for the whole text.
expect_match() {
	[[ $1 =~ ^($2)$ ]] || fail "$3: got '$1', wanted /$2/"
}

# expect_fail STATUS REGEX COMMAND...: the command exits with STATUS, says
# something on stderr that REGEX is found in (no matter the case), and nothing
# on stdout.
expect_fail() {
	local status=$1 regex=$2 rc=0 said
	shift 2

	"$@" >"$DIR/.out" 2>"$DIR/.err" || rc=$?
	IFS= read -r -d '' said <"$DIR/.err" || said=${said%$'\n'}
	echo "$* says: $said"
	[ $rc = "$status" ] || fail "'$*' exited with $rc, wanted $status: $(<"$DIR/.out")"
	[ ! -s "$DIR/.out" ] || fail "'$*' failed but printed: $(<"$DIR/.out")"
	shopt -s nocasematch
	[[ $said =~ $regex ]] || fail "'$*' said '$said', wanted /$regex/"
	shopt -u nocasematch
}

# expect_write_fails FILE VALUE ERRNO-TEXT: what write(2) to a knob says.
expect_write_fails() {
	local said

	said=$({ printf '%s' "$2" >"$1"; } 2>&1) &&
		fail "$1 took '$2', wanted: $3"
	[[ $said == *"$3"* ]] || fail "$1: '$2' gave '$said', wanted: $3"
}

# nap SECONDS: a sleep without a process
nap() {
	read -r -t "$1" <&"$NEVER" || :
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local end=$((SECONDS + $1 * SCALE))
	shift

	until "$@"; do
		[ $SECONDS -lt $end ] || fail "waited in vain for: $*"
		nap 0.05
	done
}

# not COMMAND...: for wait_for, and where `set -e` must not see a failure.
not() {
	! "$@"
}

# scaled MIB: an amount of data for this machine, at least 8.
scaled() {
	local mib=$(($1 / SCALE))

	echo $((mib < 8 ? 8 : mib))
}

# --- images ------------------------------------------------------------------

# Images of a case live in $DIR, which goes with it.
make_raw() { # PATH MIB
	truncate -s "$2M" "$1"
}

make_fixed() { # PATH MIB
	vhd-util create -n "$1" -s "$2" -r
}

make_dynamic() { # PATH MIB
	vhd-util create -n "$1" -s "$2"
}

make_child() { # NEW PARENT
	vhd-util snapshot -n "$1" -p "$2"
}

# make_chain PREFIX MIB DEPTH: PREFIX1.vhd (dynamic) up to PREFIX<DEPTH>.vhd, the leaf.
make_chain() {
	local i

	make_dynamic "${1}1.vhd" "$2"
	for ((i = 2; i <= $3; i++)); do
		make_child "$1$i.vhd" "$1$((i - 1)).vhd"
	done
}

check_vhd() { # PATH
	local said

	said=$(vhd-util check -n "$1") || fail "vhd-util check $1: $said"
	[[ $said == *"is valid"* ]] || fail "vhd-util check $1: $said"
}

# ram_disk NAME MIB BLOCKSIZE: /dev/NAME, on null_blk, which has a queue of its own.
ram_disk() {
	local dir=/sys/kernel/config/nullb/$1

	mkdir "$dir"
	defer rmdir "$dir"
	echo "$2" >"$dir/size"
	echo "$3" >"$dir/blocksize"
	echo 1 >"$dir/memory_backed"
	echo 1 >"$dir/discard"
	echo 1 >"$dir/power"
}

# --- taps --------------------------------------------------------------------

# tap_create IMAGE [OPTION...]: sets DEV, MINOR, PID and TD (tda); destroyed with the case.
tap_create() {
	local image=$1
	shift

	DEV=$(tap-ctl create -a "$image" ${MODE:+--mode=$MODE} "$@") || fail "tap-ctl create -a $image $*: status $?"
	expect_match "$DEV" "$NODES/tapdev[0-9]+" "device of $image"
	MINOR=${DEV##*tapdev}
	# shellcheck disable=SC2034 # for the test
	read -r PID <"$CLASS/blktap$MINOR/task" || fail "no pid for minor $MINOR in: $(tap-ctl list)"
	# shellcheck disable=SC2034 # for the test
	TD=$(disk_name "$MINOR")
	defer tap_destroy_if_there "$MINOR"
}

tap_line() { # MINOR: its line of tap-ctl list
	tap-ctl list -m "$1"
}

tap_pid() { # MINOR
	local line

	line=$(tap_line "$1")
	[[ ! $line =~ ^pid=([0-9]+)\  ]] || echo "${BASH_REMATCH[1]}"
}

tap_state() { # MINOR
	local line

	line=$(tap_line "$1")
	[[ ! $line =~ state=([0-9a-fx]+) ]] || echo "${BASH_REMATCH[1]}"
}

tap_destroy() { # MINOR
	local pid

	{ read -r pid <"$CLASS/blktap$1/task"; } 2>/dev/null || pid=$(tap_pid "$1")
	tap-ctl destroy -p "$pid" -m "$1" ||
		fail "tap-ctl destroy -m $1: status $?"
}

tap_destroy_if_there() { # MINOR
	local pid

	[ -e "$CLASS/blktap$1" ] || return 0
	{ read -r pid <"$CLASS/blktap$1/task"; } 2>/dev/null || pid=$(tap_pid "$1")
	if [ -n "$pid" ]; then
		tap-ctl destroy -p "$pid" -m "$1" -t $((5 * SCALE))
	else
		tap-ctl free -m "$1" -t $((5 * SCALE))
	fi
}

# disk_name MINOR: the name of a tap's disk in /sys/block.
disk_name() {
	local d dev

	for d in /sys/block/td[a-z]*; do
		{ read -r dev <"$d/dev"; } 2>/dev/null || continue
		[ "${dev#*:}" != "$1" ] || echo "${d##*/}"
	done
}

# mount_on FSTYPE NODE DIRECTORY [OPTION...]
mount_on() {
	mkdir -p "$3"
	mount -t "$1" "${@:4}" "$2" "$3"
	defer unmount_if_mounted "$3"
}

unmount_if_mounted() { # DIRECTORY
	! mountpoint -q "$1" || umount "$1"
}

# What is called often uses the shell's own commands, too.
pids_of() { # NAME: as in /proc/PID/comm
	local p comm

	for p in /proc/[0-9]*; do
		{ read -r comm <"$p/comm"; } 2>/dev/null || continue
		[ "$comm" != "$1" ] || echo "${p#/proc/}"
	done
}

# --- what a case leaves ------------------------------------------------------

# is_clean: else LEFT says what is there and should not be.
is_clean() {
	local f comm size free refs

	LEFT=
	for f in /proc/[0-9]*/comm; do
		{ read -r comm <"$f"; } 2>/dev/null || continue
		[ "$comm" != tapdisk ] || LEFT+="tapdisk process: ${f//[^0-9]/}"$'\n'
	done
	[ -d /sys/module/blktap ] || return 0
	for f in /sys/block/td[a-z]* "$CLASS"/blktap[0-9]* "$NODES"/tapdev* "$NODES"/blktap[0-9]*; do
		[ ! -e "$f" ] || LEFT+="still there: $f"$'\n'
	done
	for f in "$POOLS"/*; do
		[ -d "$f" ] || continue
		read -r size <"$f/size"
		read -r free <"$f/free"
		[ "$free" = "$size" ] || LEFT+="pool ${f##*/}: $free of $size pages free"$'\n'
	done
	read -r refs </sys/module/blktap/refcnt
	[ "$refs" = 0 ] || LEFT+="module blktap: $refs references"$'\n'
	[ -z "$LEFT" ]
}

# force_clean: so that the next case starts from nothing, whatever this one did.
force_clean() {
	local m

	awk '$1 ~ "/(td[a-z]|xen/blktap-2/)" { print $2 }' /proc/mounts | sort -r |
		xargs -r -n 1 umount -l
	pids_of tapdisk | xargs -r kill -KILL
	for m in "$CLASS"/blktap[0-9]*; do
		[ ! -e "$m" ] || timeout 10 tap-ctl free -m "${m##*/blktap}"
	done
	rm -f "$NODES"/tapdev*
}

# splats MARK: reports in the kernel's log since the mark was put there.
splats() {
	dmesg | awk -v mark="$1" -f "$SELFTESTS/vm/splats.awk"
}

show_stuck() {
	local p

	for p in /proc/[0-9]*; do
		grep -q '^State:.[DT]' "$p/status" 2>/dev/null || continue
		echo "$(cat "$p/comm") (${p#/proc/}) $(grep ^State: "$p/status"):"
		cat "$p/stack" 2>/dev/null
	done
}

# --- running -----------------------------------------------------------------

# run_body CASE LOG: sets VERDICT: 0 passed, 4 skipped, 124 out of time, else
# failed. It and its callers must not be part of a condition: `set -e` would
# then mean nothing to the case.
run_body() {
	local pid timer first

	set -m
	(
		set -eE
		trap 'echo "status $? from: $BASH_COMMAND ($(where))"' ERR
		trap run_deferred EXIT
		trap 'exit 124' TERM
		"test_$1"
	) >>"$2" 2>&1 </dev/null &
	pid=$!
	read -r -t $((CASE_SECONDS * SCALE)) <&"$NEVER" &
	timer=$!
	set +m
	wait -n -p first $pid $timer
	VERDICT=$?
	if [ "$first" = $timer ]; then
		VERDICT=124
		{ echo "ran out of its $((CASE_SECONDS * SCALE)) s"; show_stuck; } >>"$2"
		kill -TERM -- -$pid
		sleep 2
	fi
	{
		kill -KILL -- -$timer -$pid
		wait $timer $pid
	} 2>/dev/null
}

# run_case NUMBER CASE: leaves its outcome in VERDICT.
run_case() {
	local log mark end began=$SECONDS

	mark="blktap selftest ${0##*/} $2 $$"
	DIR=$SCRATCH/$2
	log=$SCRATCH/$2.log
	echo "$mark" >/dev/kmsg
	run_body "$2" "$log"

	end=$((SECONDS + 5 * SCALE))
	while ! is_clean && [ $SECONDS -lt $end ]; do nap 0.1; done
	if [ -n "$LEFT" ]; then
		{ echo "left behind:"; echo "$LEFT"; tap-ctl list; } >>"$log" 2>&1
		force_clean >>"$log" 2>&1
		VERDICT=1
	fi
	case $VERDICT in
	0) echo "ok $1 $2 # $((SECONDS - began)) s" ;;
	4) echo "ok $1 $2 # $(grep '^SKIP ' "$log" | tail -1)" ;;
	*)
		sed 's/^/# /' "$log"
		splats "$mark" | sed 's/^/# kernel: /'
		echo "not ok $1 $2"
		;;
	esac
	rm -rf "$DIR" "$log"
}

# run_tests [CASE...]: all test_ functions in the order of the file.
run_tests() {
	local cases c n=0 failed=0 own mark="blktap selftests ${0##*/} $$" said

	[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root"; exit 4; }
	[ -n "${SCRATCH:-}" ] || {
		SCRATCH=$(mktemp -d /var/tmp/blktap.XXXXXX)
		own=$SCRATCH
	}
	shopt -s extdebug
	mapfile -t cases < <(declare -F | sed -n 's/^declare -f test_//p' |
		while read -r f; do declare -F "test_$f"; done | sort -n -k 2 |
		sed 's/^test_\([^ ]*\) .*/\1/')
	shopt -u extdebug
	[ $# = 0 ] || cases=("$@")
	mkdir -p "${cases[@]/#/"$SCRATCH/"}"
	echo "$mark" >/dev/kmsg
	echo "TAP version 13"
	echo "1..${#cases[@]}"
	for c in "${cases[@]}"; do
		run_case $((++n)) "$c"
		[ $VERDICT = 0 ] || [ $VERDICT = 4 ] || failed=1
	done
	said=$(splats "$mark")
	[ -z "$said" ] || { printf '# kernel: %s\n' "${said//$'\n'/$'\n# kernel: '}"; failed=1; }
	[ -z "${own:-}" ] || rm -rf "$own"
	exit $failed
}
