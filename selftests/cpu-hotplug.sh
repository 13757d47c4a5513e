#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: stock kdbg
# A CPU goes while requests wait for a tapdisk: it does not wait for them, since what
# they wait for may itself wait until the CPU has gone. (Found by stress.)
. "$(dirname "$0")/lib/blktap.sh"

CASE_SECONDS=30
ONLINE=/sys/devices/system/cpu/cpu1/online

cpu_is() { # 0 or 1
	[ "$(<"$ONLINE")" = "$1" ]
}

offline_while_paused() { # MODE
	local MODE=$1 reader plugger

	[ -w "$ONLINE" ] || skip "needs a second CPU that can be taken away"
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	tap-ctl pause -m "$MINOR"
	taskset -c 1 dd if="$DEV" of=/dev/null bs=4k count=1 iflag=direct status=none &
	reader=$!
	nap 1
	kill -0 "$reader" || fail "a read of a paused disk has ended"
	echo 0 >"$ONLINE" &
	plugger=$!
	if ! (wait_for 5 cpu_is 0); then
		tap-ctl unpause -m "$MINOR"
		wait "$plugger"
		echo 1 >"$ONLINE"
		fail "the CPU waits for a request of a paused disk"
	fi
	wait "$plugger"
	tap-ctl unpause -m "$MINOR"
	wait "$reader"
	echo 1 >"$ONLINE"
}

test_a_cpu_goes_while_a_disk_is_paused_in_layout_mode() {
	offline_while_paused layout
}

test_a_cpu_goes_while_a_disk_is_paused_in_ring_mode() {
	offline_while_paused ring
}

run_tests "$@"
