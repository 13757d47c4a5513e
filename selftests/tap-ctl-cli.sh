#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# What tap-ctl prints and how it exits, as scripts have come to expect it.
. "$(dirname "$0")/lib/blktap.sh"

image() {
	make_raw "$DIR/a.img" 8
	make_dynamic "$DIR/a.vhd" 8
}

# on_terminal COMMAND: what it prints there, line ends made plain.
on_terminal() {
	requires script
	script -qec "$1" /dev/null </dev/null | tr -d '\r'
}

test_create_prints_the_device_path_only() {
	image
	expect_eq "$(tap-ctl create -a "vhd:$DIR/a.vhd")" "$NODES/tapdev0" "stdout of create"
	defer tap_destroy_if_there 0
	[ -b "$NODES/tapdev0" ] || fail "the node is not there"
	expect_eq "$(stat -c '%t:%T' "$NODES/tapdev0")" \
		"$(printf '%x:0' "$(tap-ctl major)")" "major and minor of the node"
}

test_historical_prefixes() {
	local name

	image
	for name in "tap:aio:$DIR/a.img" "tapdisk:aio:$DIR/a.img" \
		"tap:tapdisk:aio:$DIR/a.img" "tap:vhd:$DIR/a.vhd"; do
		tap_create "$name"
		expect_match "$(tap_line "$MINOR")" ".* args=(aio|vhd):$DIR/a.(img|vhd)" "list"
		tap_destroy "$MINOR"
	done
}

test_list_not_on_a_terminal() {
	local pid minor

	image
	expect_eq "$(tap-ctl list)" "" "list of nothing"
	tap_create "vhd:$DIR/a.vhd"
	expect_eq "$(tap-ctl list)" "pid=$PID minor=$MINOR state=0 args=vhd:$DIR/a.vhd" "running"
	tap-ctl pause -p "$PID" -m "$MINOR"
	expect_eq "$(tap-ctl list)" "pid=$PID minor=$MINOR state=0x2a args=vhd:$DIR/a.vhd" "paused"
	tap-ctl unpause -p "$PID" -m "$MINOR"
	tap-ctl close -p "$PID" -m "$MINOR"
	expect_eq "$(tap-ctl list)" "pid=$PID minor=$MINOR state=0x2" "closed"
	tap-ctl detach -p "$PID" -m "$MINOR"
	expect_eq "$(tap-ctl list)" "minor=$MINOR state=0" "allocated"
	tap-ctl free -m "$MINOR"
	pid=$(tap-ctl spawn)
	expect_eq "$(tap-ctl list)" "pid=$pid" "an idle tapdisk"
	kill "$pid"
	wait_for 5 not test -d "/proc/$pid"
	wait_for 5 list_is_empty
}

list_is_empty() {
	[ -z "$(tap-ctl list)" ]
}

test_list_on_a_terminal() {
	local pid

	image
	tap_create "vhd:$DIR/a.vhd"
	expect_eq "$(on_terminal "tap-ctl list -m $MINOR")" \
		"$(printf '%8d %4d %4d %10s %s' "$PID" "$MINOR" 0 vhd "$DIR/a.vhd")" "a tap"
	tap_destroy "$MINOR"
	tap-ctl allocate >/dev/null
	defer tap-ctl free -m 0
	expect_eq "$(on_terminal "tap-ctl list")" \
		"$(printf '%8s %4d %4d %10s %s' - 0 0 - -)" "an allocated tap"
	pid=$(tap-ctl spawn)
	expect_eq "$(on_terminal "tap-ctl list -p $pid")" \
		"$(printf '%8d %4s %4s %10s %s' "$pid" - - - -)" "an idle tapdisk"
	kill "$pid"
	wait_for 5 not test -d "/proc/$pid"
}

test_spawn() {
	local pid said

	pid=$(tap-ctl spawn)
	expect_match "$pid" "[0-9]+" "stdout of spawn"
	expect_eq "$(cat "/proc/$pid/comm")" tapdisk "the process"
	expect_eq "$(ps -o sid= -p "$pid" | tr -d ' ')" "$pid" "its session"
	kill "$pid"
	said=$(on_terminal "tap-ctl spawn")
	expect_match "$said" "tapdisk spawned with pid [0-9]+" "spawn on a terminal"
	kill "${said##* }"
	wait_for 5 not test -d "/proc/${said##* }"
}

test_a_tapdisk_that_is_not_ready_in_time() {
	local command began=$SECONDS

	printf '#!/bin/sh\nexec sleep 600\n' >"$DIR/slow"
	chmod +x "$DIR/slow"
	image
	for command in spawn "create -a aio:$DIR/a.img"; do
		# shellcheck disable=SC2086 # words of the command
		TAPDISK=$DIR/slow expect_fail 110 "not ready within 1 s" tap-ctl $command -t 1
	done
	[ $((SECONDS - began)) -lt $((8 * SCALE)) ] || fail "took $((SECONDS - began)) s"
	expect_eq "$(tap-ctl list)" "" "taps that are left"
}

test_list_filters() {
	local first

	image
	tap_create "vhd:$DIR/a.vhd"
	first=$MINOR
	tap_create "aio:$DIR/a.img"
	expect_eq "$(tap-ctl list | wc -l)" 2 "all"
	expect_eq "$(tap-ctl list -t vhd)" "$(tap_line "$first")" "list -t vhd"
	expect_eq "$(tap-ctl list -t aio)" "$(tap_line "$MINOR")" "list -t aio"
	expect_eq "$(tap-ctl list -p "$PID")" "$(tap_line "$MINOR")" "list -p"
	expect_eq "$(tap-ctl list -f "$DIR/a.vhd")" "$(tap_line "$first")" "list -f"
	expect_eq "$(tap-ctl list -t aio -f "$DIR/a.vhd")" "" "list -t -f of two taps"
	expect_eq "$(tap-ctl list -m 99)" "" "list -m of no tap"
}

test_step_by_step() {
	local pid dev minor

	image
	dev=$(tap-ctl allocate)
	expect_match "$dev" "$NODES/tapdev[0-9]+" "stdout of allocate"
	minor=${dev##*tapdev}
	defer tap_destroy_if_there "$minor"
	pid=$(tap-ctl spawn)
	expect_eq "$(tap-ctl attach -p "$pid" -m "$minor")" "" "stdout of attach"
	expect_eq "$(tap-ctl list)" "pid=$pid minor=$minor state=0x2" "attached"
	expect_eq "$(tap-ctl open -p "$pid" -m "$minor" -a "vhd:$DIR/a.vhd")" "" "stdout of open"
	expect_eq "$(tap-ctl list)" "pid=$pid minor=$minor state=0 args=vhd:$DIR/a.vhd" "open"
	[ -b "$dev" ] || fail "$dev is not there after open"
	expect_eq "$(tap-ctl close -p "$pid" -m "$minor")" "" "stdout of close"
	expect_eq "$(tap-ctl detach -p "$pid" -m "$minor")" "" "stdout of detach"
	expect_eq "$(tap-ctl free -m "$minor")" "" "stdout of free"
	[ ! -e "$dev" ] || fail "$dev is there after free"
}

test_read_only() {
	image
	tap_create "vhd:$DIR/a.vhd" -R
	expect_eq "$(blockdev --getro "$DEV")" 1 "ro"
	! dd if=/dev/zero of="$DEV" bs=4k count=1 oflag=direct status=none 2>/dev/null ||
		fail "a read-only tap took a write"
	tap_destroy "$MINOR"
}

test_device_of_another_name() {
	image
	expect_eq "$(tap-ctl create -a "aio:$DIR/a.img" -d "$DIR/disk")" "$DIR/disk" "stdout"
	defer tap_destroy_if_there 0
	[ -b "$DIR/disk" ] || fail "$DIR/disk is no block device"
	dd if="$DIR/disk" of=/dev/null bs=4k count=1 iflag=direct status=none
	tap-ctl destroy -p "$(tap_pid 0)" -m 0 -d "$DIR/disk"
	[ ! -e "$DIR/disk" ] || fail "$DIR/disk stays"
}

# The name is another disk's, of the same minor even: it stays.
test_node_of_another_disk_is_left_alone() {
	local loop number

	image
	tap_create "aio:$DIR/a.img"
	loop=/dev/loop$MINOR
	modprobe -q loop || true
	make_raw "$DIR/r.img" 1
	losetup "$loop" "$DIR/r.img"
	defer losetup -d "$loop"
	cp -a "$loop" "$DIR/disk"
	number=$(stat -c %t:%T "$loop")
	tap-ctl destroy -p "$PID" -m "$MINOR" -d "$DIR/disk"
	[ -b "$DIR/disk" ] || fail "$DIR/disk went with the tap"
	expect_fail 17 "in the way" tap-ctl create -a "aio:$DIR/a.img" -d "$DIR/disk"
	expect_eq "$(stat -c %t:%T "$DIR/disk")" "$number" "number of the node"
	expect_eq "$(tap-ctl list)" "" "what is left"
}

test_stats() {
	local json

	requires jq
	image
	make_child "$DIR/b.vhd" "$DIR/a.vhd"
	tap_create "vhd:$DIR/b.vhd"
	dd if=/dev/zero of="$DEV" bs=64K count=4 oflag=direct status=none
	dd if="$DEV" of=/dev/null bs=64K count=8 iflag=direct status=none
	json=$(tap-ctl stats -p "$PID" -m "$MINOR")
	echo "$json"
	expect_eq "$(wc -l <<<"$json")" 1 "lines"
	# One jq: it takes its time to start.
	jq -c '.name, .secs[0] >= 1024, .secs[1] >= 512, [.images[].name],
		[.images[] | .hits, .fail | length], .images[0].driver.name,
		(.images[0].driver | has("type")), .tap.minor,
		[.tap.reqs, .tap.kicks | type], .reqs_outstanding' <<<"$json" >"$DIR/got"
	cat >"$DIR/wanted" <<-END
		"vhd:$DIR/b.vhd"
		true
		true
		["$DIR/b.vhd","$DIR/a.vhd"]
		[2,2,2,2]
		"vhd"
		true
		$MINOR
		["array","array"]
		0
	END
	diff "$DIR/wanted" "$DIR/got" || fail "stats are not what is wanted (<)"
}

test_list_json() {
	local json

	requires jq
	image
	expect_eq "$(tap-ctl list --json | jq -c .)" "[]" "list --json of nothing"
	tap_create "vhd:$DIR/a.vhd"
	json=$(tap-ctl list --json)
	echo "$json"
	expect_eq "$(jq -c '[.[0].pid, .[0].minor]' <<<"$json")" "[$PID,$MINOR]" "pid and minor"
	expect_eq "$(tap-ctl stats -p "$PID" -m "$MINOR" --json | jq -r .name)" "vhd:$DIR/a.vhd" name
}

test_major_and_check() {
	expect_eq "$(tap-ctl check)" ok check
	expect_eq "$(tap-ctl major)" "$(sed -n 's/ *\([0-9]*\) tapdev$/\1/p' /proc/devices)" major
}

# commands: those that tap-ctl has, a line each; some are of two words.
commands() {
	tap-ctl --help | sed -n '/^Commands:/,/^$/s/^  \(..........\) [^ ].*/\1/p' | sed 's/ *$//'
}

test_help_of_every_command() {
	local list c said

	mapfile -t list < <(commands)
	[ "${#list[@]}" -ge 22 ] || fail "only ${#list[@]} commands: ${list[*]}"
	for c in "${list[@]}"; do
		# shellcheck disable=SC2086 # words of the command
		said=$(tap-ctl $c --help) || fail "tap-ctl $c --help: status $?"
		expect_match "${said%%$'\n'*}" "Usage: tap-ctl $c( .*)?" "first line of the help of $c"
		expect_match "$said" ".*"$'\n\n'"[A-Z].*\..*Options:.*--help .*" "help of $c"
	done
	for c in create recover handover set monitor serve "pool get" "pool set"; do
		[[ " ${list[*]} " == *" $c "* ]] || fail "tap-ctl --help does not list $c"
	done
	said=$(tap-ctl pool --help)
	expect_match "$said" "Usage: tap-ctl pool get.*Usage: tap-ctl pool set.*" "help of pool"
}

test_set_says_what_it_wants() {
	local had=120 what

	expect_fail 22 "set: give --request-timeout, or --on-timeout" tap-ctl set -m 0
	expect_fail 22 "-m is missing" tap-ctl set --request-timeout 5
	for what in x "" -1 1.5 86401 99999999999999999999 5s; do
		expect_fail 22 "--request-timeout $what: not a number from 0 to 86400" \
			tap-ctl set -m 0 --request-timeout "$what"
	done
	for what in "" maybe fai "fail," waitt "wait|fail"; do
		expect_fail 22 "--on-timeout ${what/|/\\|}: not one of wait\|fail" \
			tap-ctl set -m 0 --on-timeout "$what"
	done
	expect_fail 19 "tap 0: no tap has this minor" tap-ctl set -m 0 --on-timeout fail

	tap-ctl allocate >"$DIR/dev"
	defer tap-ctl free -m 0
	expect_fail 22 "" tap-ctl set -m 0 --request-timeout 7 --on-timeout never
	expect_content "$CLASS/blktap0/request_timeout" 120 "request_timeout after a bad usage"
	for what in fail wait; do
		tap-ctl set -m 0 --on-timeout "$what"
		expect_content "$CLASS/blktap0/on_timeout" "$what" on_timeout
		expect_content "$CLASS/blktap0/request_timeout" "$had" request_timeout
		had=0
		tap-ctl set -m 0 --request-timeout 0
		expect_content "$CLASS/blktap0/on_timeout" "$what" on_timeout
		expect_content "$CLASS/blktap0/request_timeout" 0 request_timeout
	done
}

test_bad_usage() {
	for words in "" "frobnicate" "list --frobnicate" "free" "free -m" "free -m x" \
		"free -m -1" "free -m 99999999999" "destroy" "pause -p 1" "open -p 1 -m 0" \
		"close -t x -p 1 -m 0" "list surplus"; do
		# shellcheck disable=SC2086 # words of a command
		expect_fail 22 "" tap-ctl $words
	done
}

# A pipe that closes early is no reason to leave half a tap.
test_output_that_can_not_be_written() {
	image
	! tap-ctl create -a "aio:$DIR/a.img" >/dev/full 2>"$DIR/err" ||
		fail "create says nothing of a full disk"
	expect_eq "$(tap-ctl list)" "" "list after the failed create"
}

test_interrupted_create_leaves_nothing() {
	local i

	image
	for ((i = 0; i < 10; i++)); do
		timeout -s INT "0.0$i" tap-ctl create -a "aio:$DIR/a.img" >"$DIR/out" || true
		if [ -s "$DIR/out" ]; then
			tap_destroy_if_there 0
		fi
	done
	wait_for 5 list_is_empty
}

# --- Xen's hotplug script block-tap, its calls one by one ------------------------

# As its find_device: words split at commas and white space.
hotplug_find() { # TYPE FILE
	local word

	for word in $(tap-ctl list -t "$1" -f "$2" | tr ',' ' '); do
		case $word in
		pid=*) FOUND_PID=${word#pid=} ;;
		minor=*) FOUND_MINOR=${word#minor=} ;;
		esac
	done
}

test_hotplug_script_of_xen() {
	local dev other

	image
	make_dynamic "$DIR/other.vhd" 8
	modprobe blktap || true
	tap-ctl check >/dev/null || fail "check: status $?"
	other=$(tap-ctl create -a "vhd:$DIR/other.vhd")
	defer tap_destroy_if_there "${other##*tapdev}"
	dev=$(tap-ctl create -a "vhd:$DIR/a.vhd")
	defer tap_destroy_if_there "${dev##*tapdev}"
	expect_match "$(stat -L -c '%t:%T' "$dev")" "[0-9a-f]+:[0-9a-f]+" "physical-device"

	tap-ctl check >/dev/null
	hotplug_find vhd "$DIR/a.vhd"
	expect_eq "$FOUND_MINOR" "${dev##*tapdev}" "minor found"
	tap-ctl destroy -p "$FOUND_PID" -m "$FOUND_MINOR" || fail "destroy: status $?"
	expect_eq "$(tap-ctl list -f "$DIR/a.vhd")" "" "list -f after destroy"
	expect_eq "$(tap-ctl list | wc -l)" 1 "the other tap"
}

run_tests "$@"
