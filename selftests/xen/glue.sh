#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# timeout: 400
# xen-blkback-glue: taps are tied to the guests' disks that they serve, and are made
# for those that ask for one.
# shellcheck source=selftests/xen/lib.sh
. "$(dirname "$0")/lib.sh"

on_demand() { # VDEV IMAGE: xl's description of a disk
	echo "script=block-blktap,vdev=$1,target=tap:$2"
}

vbds_of() { # MINOR: DOMID/DEVID of the guests' disks that are on the tap
	tap-ctl list -m "$1" --json | jq -r '.[0].vbds // [] | map("\(.domid)/\(.devid)") | join(" ")'
}

no_taps() {
	[ -z "$(tap-ctl list)" ]
}

# A disk of whatever kind on a tap that somebody else has made.
test_tap_made_by_others_is_tied() {
	local domid

	glue_up
	make_child "$DIR/root.vhd" /lab/root.vhd
	tap_create "vhd:$DIR/root.vhd"
	guest_paused plain "phy:$DEV,xvda,w"
	domid=$(xl domid plain)
	expect_eq "$(vbds_of "$MINOR")" "$domid/51712" "guests' disks of tap $MINOR"
	expect_eq "$(tap-ctl list --vbds)" "domid=$domid devid=51712 minor=$MINOR" "list --vbds"
	links_are_there "$MINOR" "vbd-$domid-51712"

	expect_fail 110 "guest" tap-ctl destroy -m "$MINOR" -t 1
	! rmmod xen-blkback-glue 2>/dev/null || fail "the module went while in use"
	xl destroy plain
	wait_for 10 not test -e "/sys/bus/xen-backend/devices/vbd-$domid-51712"
	expect_eq "$(vbds_of "$MINOR")" "" "guests' disks of tap $MINOR, later"
	[ ! -e "$CLASS/blktap$MINOR/vbd-$domid-51712" ] || fail "the tap's link is still there"
	# It was not made for the guest, and stays.
	tap_destroy "$MINOR"
}

links_are_there() { # MINOR VBD
	local device=/sys/bus/xen-backend/devices/$2

	expect_eq "$(readlink -f "$device/tap")" "$(readlink -f "$CLASS/blktap$1")" "$device/tap"
	expect_eq "$(readlink -f "$CLASS/blktap$1/$2")" "$(readlink -f "$device")" "link to $2"
}

test_tap_made_on_demand() {
	local minor domid

	glue_up
	serve_up --mode=ring
	make_child "$DIR/root.vhd" /lab/root.vhd
	make_raw "$DIR/data.img" 32
	guest_start demand files,xvdb "$(on_demand xvda "vhd:$DIR/root.vhd")"
	guest_says demand "files: passed"
	domid=$(xl domid demand)
	minor=$(tap-ctl list --vbds | sed -n "s/domid=$domid devid=51712 minor=//p")
	[ -n "$minor" ] || fail "no tap for the root disk: $(tap-ctl list --vbds)"
	expect_eq "$(xenstore-read "/local/domain/0/backend/vbd/$domid/51712/physical-device-path")" \
		"/dev/$(disk_name "$minor")" "physical-device-path"

	# The historical spelling, while the guest runs.
	xl block-attach demand "$(on_demand xvdb "tapdisk:aio:$DIR/data.img")"
	guest_says demand "fio /dev/xvdb: passed"
	xl block-detach demand xvdb
	guest_says demand "xvdb went"
	wait_for 10 no_tap_of "$DIR/data.img"

	guest_end demand
	wait_for 10 no_taps
	expect_eq "$(xenstore_vbds)" "" "backends after the guest's end"
	check_vhd "$DIR/root.vhd"
}

no_tap_of() { # FILE
	[ -z "$(tap-ctl list -f "$1")" ]
}

taps_are() { # NUMBER
	[ "$(tap-ctl list | wc -l)" = "$1" ]
}

# What could not be made is told to xl, and leaves nothing.
test_errors_reach_xl() {
	local said letter=a

	glue_up
	serve_up --mode=ring
	make_raw "$DIR/no.vhd" 1
	make_dynamic "$DIR/one.vhd" 8
	guest_paused bad "$(on_demand xvda "vhd:$DIR/one.vhd")"
	for image in vhd:/no/such.vhd "vhd:$DIR/no.vhd" nonsense:/x; do
		# xl leaves what it could not attach: take another one each time.
		letter=$(tr abc bcd <<<"$letter")
		said=$(xl block-attach bad "$(on_demand "xvd$letter" "$image")" 2>&1) &&
			fail "xl attached $image"
		[[ $said == *"${image#*:}"* || $said == *nonsense* ]] ||
			fail "xl does not say what is wrong with $image: $said"
		wait_for 10 taps_are 1
	done
	xl destroy bad
	wait_for 10 no_taps
	expect_eq "$(xenstore_vbds)" "" "backends at the end"
}

# A daemon that comes late, or again, finds what waits.
test_daemon_comes_late() {
	glue_up
	make_dynamic "$DIR/one.vhd" 8
	guest_paused late "script=/bin/true,vdev=xvda,target=tap:vhd:$DIR/one.vhd"
	wait_for 5 vbd_waits
	serve_up --mode=ring
	wait_for 30 vbd_served
	expect_fail 16 "another" timeout 10 tap-ctl serve
	serve_down
	xl destroy late
	wait_for 10 no_taps
}

vbd_waits() {
	[[ $(tap-ctl list --vbds) == *args=tap:vhd:* ]]
}

vbd_served() {
	[[ $(tap-ctl list --vbds) =~ minor=[0-9]+$ ]]
}

# Somebody removes a backend's directory: before there is a tap, and when it is used.
test_node_removed_by_others() {
	local dir

	glue_up
	make_dynamic "$DIR/one.vhd" 8
	guest_paused victim "script=/bin/true,vdev=xvda,target=tap:vhd:$DIR/one.vhd"
	dir=/local/domain/0/backend/vbd/$(xl domid victim)/51712
	wait_for 5 vbd_waits
	xenstore-rm "$dir"
	wait_for 5 no_vbds
	serve_up --mode=ring
	xl destroy victim
	expect_eq "$(tap-ctl list)" "" "taps for a disk that has gone"

	guest_paused victim2 "$(on_demand xvda "vhd:$DIR/one.vhd")"
	dir=/local/domain/0/backend/vbd/$(xl domid victim2)/51712
	wait_for 5 vbd_served
	xenstore-rm "$dir"
	wait_for 10 no_taps
	xl destroy victim2
	expect_eq "$(xenstore_vbds)" "" "backends at the end"
}

no_vbds() {
	[ -z "$(tap-ctl list --vbds)" ]
}

run_tests "$@"
