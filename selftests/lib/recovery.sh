# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Tapdisks that die, and what brings their taps back.

# Bits of a tap's state.
export ORPHANED=0x400 STALLED=0x800 NO_SPACE=0x1000 RECOVERING=0x2000

# A tap that is cleared away with the case, whatever becomes of it.
up() { # IMAGE MODE [OPTION...]
	tap_create "$1" --mode="$2" "${@:3}"
	# shellcheck disable=SC2153 # tap_create sets it
	defer tap_clear "$MINOR"
}

# has_state MINOR BIT
has_state() {
	local state

	state=$(tap_state "$1")
	[ -n "$state" ] && [ $((state & $2)) != 0 ]
}

kill_tapdisk() { # MINOR: and wait until the kernel knows
	kill -KILL "$(tap_pid "$1")"
	wait_for 20 has_state "$1" "$ORPHANED"
}

# served MINOR [OTHER-THAN-PID]: by a tapdisk, that has opened the image
served() {
	local pid

	pid=$(tap_pid "$1")
	[ -n "$pid" ] && [ "$pid" != "${2:-}" ] && ! has_state "$1" "$ORPHANED"
}

# monitor_up: events go to $DIR/events from now on, until the case ends.
monitor_up() {
	tap-ctl monitor >"$DIR/events" &
	defer kill $!
	wait_for 10 events_come
}

# Something happens, and is told.
events_come() {
	tap-ctl pause -m "$MINOR"
	tap-ctl unpause -m "$MINOR"
	[ -s "$DIR/events" ]
}

# supervisor_up: until the case ends.
supervisor_up() {
	tapdisk --supervise 2>"$DIR/supervisor.log" &
	SUPERVISOR=$!
	defer supervisor_down "$SUPERVISOR"
}

supervisor_down() { # PID
	kill -TERM "$1" 2>/dev/null
	wait "$1" 2>/dev/null || true
}

# For the case's end: whatever state the tap is in.
tap_clear() { # MINOR
	[ -e "$CLASS/blktap$1" ] || return 0
	tap-ctl close -f -m "$1" -t $((5 * SCALE)) || true
	tap_destroy_if_there "$1"
}

# joined MINOR [OTHER-THAN-PID]: the same as served, without a process; sets JOINED,
# the tapdisk's pid. Where processes are slow to start a kill would be, too.
joined() {
	local debug

	{ debug=$(<"$CLASS/blktap$1/debug"); read -r JOINED <"$CLASS/blktap$1/task"; } 2>/dev/null
	[[ $debug == *" joined "* ]] && [ -n "$JOINED" ] && [ "$JOINED" != "${2:-}" ]
}

# kill_again MINOR TIMES: kills the tapdisk again and again; a supervisor is there.
kill_again() {
	local minor=$1 times=$2

	wait_for 20 joined "$minor"
	while ((times-- > 0)); do
		sleep "0.$((RANDOM % 5))"
		kill -KILL "$JOINED"
		wait_for 20 joined "$minor" "$JOINED"
	done
}

# Writes and verifies, again and again, until $DIR/stop is there. What fio says of the
# time that requests took goes to $DIR/times.
load() { # FIO-OPTION...
	while [ ! -e "$DIR/stop" ]; do
		fio_reseed
		fio_write "$DEV" "$MIB" "$@"
		grep ' clat (' "$DIR/fio.write" >>"$DIR/times"
	done
}
