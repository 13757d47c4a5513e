#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 300
# xen-blkback-glue between xenstore and blktap: disks that ask for taps, their errors, and
# what others do to their directories meanwhile. No guest is needed for that: blkback has
# the disk open before one connects.
# shellcheck source=selftests/xen/lib.sh
. "$(dirname "$0")/lib.sh"

# vbd_add DEVID PARAMS [MODE]: a disk's directory, as a toolstack writes it: at once. With
# an empty MODE it lacks that.
declare -A VBDS
vbd_add() {
	local back=$BACKENDS/0/$1 front=/test/$1 mode=${3-w}

	mode=${mode:+"$back/mode $mode"}
	defer vbds_remove
	VBDS[$1]=1
	# shellcheck disable=SC2086 # two words, or none
	xenstore-write "$front/state" 1 "$back/frontend" "$front" "$back/frontend-id" 0 \
		"$back/online" 1 "$back/params" "$2" $mode "$back/state" 1
}

vbd_remove() { # DEVID
	[ -n "${VBDS[$1]:-}" ] || return 0
	unset "VBDS[$1]"
	xenstore-rm -t "$BACKENDS/0/$1" "/test/$1"
}

vbds_remove() {
	local device

	for device in "${!VBDS[@]}"; do vbd_remove "$device"; done
}

vbd_has() { # DEVID NODE VALUE
	[ "$(xenstore-read "$BACKENDS/0/$1/$2" 2>/dev/null)" = "$3" ]
}

device_of() { # MINOR: as in xenstore
	printf '%x:%x' "$(tap-ctl major)" "$1"
}

waiting() { # DEVID IMAGE: its line in the list, while it waits
	echo "domid=0 devid=$1 args=tap:$2"
}

served() { # DEVID MINOR
	echo "domid=0 devid=$1 minor=$2"
}

# Whether the disk was there before the module, or got its tap afterwards.
test_taps_made_by_others_are_tied() {
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	vbd_add 1 /a
	xenstore-write "$BACKENDS/0/1/physical-device" "$(device_of "$MINOR")"
	glue_up
	wait_for 10 tied 0/1
	vbd_add 2 /b
	wait_for 10 vbds_are "$(served 1 "$MINOR")"$'\n'"domid=0 devid=2"
	xenstore-write "$BACKENDS/0/2/physical-device" "$(device_of "$MINOR")"
	wait_for 10 tied 0/1 0/2
	expect_eq "$(tap-ctl list -m "$MINOR" --json | jq -c '.[0].vbds')" \
		'[{"domid":0,"devid":1},{"domid":0,"devid":2}]' "the tap's disks"
	links_are_there vbd-0-1
	links_are_there vbd-0-2

	expect_fail 110 "guest" tap-ctl destroy -m "$MINOR" -t 1
	expect_fail 1 "in use" rmmod xen-blkback-glue
	expect_fail 1 "in use" rmmod blktap
	vbd_remove 1
	wait_for 10 tied 0/2
	[ ! -e "$CLASS/blktap$MINOR/vbd-0-1" ] || fail "the tap's link is still there"
	expect_fail 110 "guest" tap-ctl destroy -m "$MINOR" -t 1
	vbd_remove 2
	wait_for 10 vbds_are ""
	# It was not made for a guest, and stays.
	tap_destroy "$MINOR"
	all_gone
}

links_are_there() { # VBD
	local device=/sys/bus/xen-backend/devices/$1

	expect_eq "$(readlink -f "$device/tap")" "$(readlink -f "$CLASS/blktap$MINOR")" "$device/tap"
	expect_eq "$(readlink -f "$CLASS/blktap$MINOR/$1")" "$(readlink -f "$device")" "link to $1"
}

# They are made when the daemon comes, and go with their disks; until then neither module goes.
test_taps_on_demand() {
	glue_up
	make_dynamic "$DIR/d.vhd" 8
	make_raw "$DIR/r.img" 8
	vbd_add 1 "tap:vhd:$DIR/d.vhd"
	wait_for 10 vbds_are "$(waiting 1 "vhd:$DIR/d.vhd")"
	expect_fail 1 "in use" rmmod xen-blkback-glue
	tap-ctl monitor >"$DIR/events" &
	defer kill $!
	serve_up --mode=ring
	expect_fail 16 "another" timeout 10 tap-ctl serve
	wait_for 20 vbd_has 1 hotplug-status connected
	vbd_add 2 "tap:tapdisk:aio:$DIR/r.img" r
	wait_for 20 vbd_has 2 hotplug-status connected
	wait_for 20 vbds_are "$(served 1 0)"$'\n'"$(served 2 1)"
	expect_eq "$(xenstore-read "$BACKENDS/0/2/physical-device")" "$(device_of 1)" physical-device
	expect_content "/sys/block/$(disk_name 0)/ro" 0 "read-only"
	expect_content "/sys/block/$(disk_name 1)/ro" 1 "read-only"
	expect_match "$(tap-ctl list -m 1)" ".* args=aio:$DIR/r.img" "tap of the old spelling"

	# Taps and disks go on without the daemon.
	serve_down
	expect_fail 1 "in use" rmmod xen-blkback-glue
	vbd_remove 1
	wait_for 20 taps_are 1
	vbd_remove 2
	all_gone
	for event in wanted added removed; do
		grep -q "vbd-$event.*domid=0 devid=2" "$DIR/events" ||
			fail "no event vbd-$event: $(<"$DIR/events")"
	done
}

# What can't be made is told where toolstacks look, and leaves no tap.
test_errors_are_in_xenstore() {
	local device=0 image

	glue_up
	serve_up --mode=ring
	make_raw "$DIR/no.vhd" 1
	for image in vhd:/no/such.vhd "vhd:$DIR/no.vhd" nonsense:/x; do
		vbd_add $((++device)) "tap:$image"
		wait_for 20 vbd_has "$device" hotplug-status error
		error_is "$device" ".*${image#vhd:}.*"
	done
	vbd_add $((++device)) "tap:vhd:$DIR/no.vhd" ""
	wait_for 20 vbd_has "$device" hotplug-status error
	error_is "$device" "reading its params: error 2"
	wait_for 20 no_taps
	serve_down
	vbds_remove
	all_gone
}

error_is() { # DEVID REGEX
	expect_match "$(xenstore-read "$BACKENDS/0/$1/hotplug-error")" "$2" "hotplug-error of $1"
	expect_match "$(xenstore-read "/local/domain/0/error/backend/vbd/0/$1/error")" \
		"[0-9]+ $2" "error of $1"
}

# Somebody gives the disk another tap while one is made for it: that one counts.
test_tap_of_another_while_one_is_made() {
	glue_up
	make_dynamic "$DIR/d.vhd" 8
	make_raw "$DIR/r.img" 8
	tap_create "aio:$DIR/r.img"
	slow_tapdisk "$DIR/slow"
	TAPDISK=$DIR/slow serve_up --mode=ring
	vbd_add 1 "tap:vhd:$DIR/d.vhd"
	wait_for 20 vbds_are "$(served 1 1) args=tap:vhd:$DIR/d.vhd"
	xenstore-write "$BACKENDS/0/1/physical-device" "$(device_of "$MINOR")"
	wait_for 20 vbds_are "$(served 1 "$MINOR")"
	touch "$DIR/go"
	wait_for 20 taps_are 1
	expect_fail 110 "guest" tap-ctl destroy -m "$MINOR" -t 1
	vbd_remove 1
	wait_for 10 vbds_are ""
	tap_destroy "$MINOR"
	all_gone
}

# A disk's directory is removed: before there is a daemon, while a tapdisk starts, at
# whatever moment else, and when blkback has the tap.
test_removal_at_each_step() {
	local seconds

	glue_up
	make_dynamic "$DIR/d.vhd" 8
	vbd_add 1 "tap:vhd:$DIR/d.vhd"
	wait_for 10 vbds_are "$(waiting 1 "vhd:$DIR/d.vhd")"
	vbd_remove 1
	wait_for 10 vbds_are ""

	slow_tapdisk "$DIR/slow"
	TAPDISK=$DIR/slow serve_up --mode=ring
	expect_eq "$(tap-ctl list)" "" "taps for a disk that has gone"
	vbd_add 2 "tap:vhd:$DIR/d.vhd"
	wait_for 20 vbds_are "$(served 2 0) args=tap:vhd:$DIR/d.vhd"
	vbd_remove 2
	wait_for 10 vbds_are ""
	touch "$DIR/go"
	wait_for 20 no_taps

	for seconds in 0.01 0.2 0.5 0.9; do
		vbd_add 3 "tap:vhd:$DIR/d.vhd"
		nap "$seconds"
		vbd_remove 3
		wait_for 10 vbds_are ""
	done
	wait_for 20 no_taps
	vbd_add 4 "tap:vhd:$DIR/d.vhd"
	wait_for 20 vbd_has 4 hotplug-status connected
	# Without a node that was read already all goes on.
	xenstore-rm "$BACKENDS/0/4/params"
	xenstore-rm "$BACKENDS/0/4/physical-device"
	expect_eq "$(tap-ctl list --vbds)" "$(served 4 0)" "guests' disks"
	vbd_remove 4
	all_gone
	check_vhd "$DIR/d.vhd"
}

run_tests "$@"
