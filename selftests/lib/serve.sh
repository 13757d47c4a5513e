# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# tap-ctl serve, and the taps that it makes for guests' disks.

# serve_up OPTION...: until the case ends, or serve_down.
serve_up() {
	defer serve_down
	serve_start "$@" || fail "$(cat "$DIR/serve.err")"
}

# serve_start OPTION...: waits until it is ready, or has ended.
serve_start() {
	: >"$DIR/serve.out"
	tap-ctl serve "$@" >"$DIR/serve.out" 2>"$DIR/serve.err" &
	SERVE=$!
	wait_for 10 serve_has_begun
	[ -s "$DIR/serve.out" ]
}

serve_has_begun() {
	[ -s "$DIR/serve.out" ] || [ ! -e "/proc/$SERVE" ]
}

serve_down() {
	[ -e "/proc/$SERVE" ] || return 0
	kill "$SERVE"
	wait "$SERVE" || true
}

# slow_tapdisk PROGRAM: a tapdisk that does not start before there is $DIR/go.
slow_tapdisk() {
	local real

	real=$(type -P tapdisk)
	cat >"$1" <<-SCRIPT
		#!/bin/bash
		until [ -e "$DIR/go" ]; do sleep 0.1; done
		exec "$real" "\$@"
	SCRIPT
	chmod +x "$1"
}

no_taps() {
	[ -z "$(tap-ctl list)" ]
}

taps_are() { # NUMBER
	[ "$(tap-ctl list | wc -l)" = "$1" ]
}

vbds_are() { # LINES: all of what list says of guests' disks
	[ "$(tap-ctl list --vbds)" = "$1" ]
}
