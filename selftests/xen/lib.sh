# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the tests under Xen share: guests, and what they say. A guest's kernel and
# root disk are in /lab; selftests/xen/guest-init has the jobs that it can do.
CASE_SECONDS=${CASE_SECONDS:-200}
# shellcheck source=selftests/lib/blktap.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/blktap.sh"
# shellcheck source=selftests/lib/serve.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/serve.sh"
BACKENDS=/local/domain/0/backend/vbd

# guest_config NAME JOBS DISK...: a domain's description, in $DIR/NAME.cfg
guest_config() {
	local name=$1 jobs=$2 disks
	shift 2

	disks=$(printf '"%s", ' "$@")
	cat >"$DIR/$name.cfg" <<-CONFIG
		name = "$name"
		type = "pv"
		kernel = "/lab/vmlinux"
		ramdisk = "/lab/initrd"
		extra = "console=hvc0 loglevel=4 panic=1 mitigations=off init_on_alloc=0 audit=0 cryptomgr.notests random.trust_cpu=1 rootdisk=/dev/xvda job=$jobs"
		memory = 192
		vcpus = 1
		disk = [ $disks ]
		on_poweroff = "destroy"
		on_reboot = "destroy"
		on_crash = "destroy"
	CONFIG
}

# guest_start NAME JOBS DISK...: the first disk is its root.
declare -A GUEST_XL
guest_start() {
	local name=$1

	guest_config "$@"
	: >"$(guest_console "$name")"
	# In the foreground xl stays until the domain is gone with all its devices.
	xl create -F "$DIR/$name.cfg" >"$DIR/$name.xl" 2>&1 &
	GUEST_XL[$name]=$!
	defer guest_destroy_if_there "$name"
}

guest_console() { # NAME: the file with what it has said
	echo "/var/log/xen/console/guest-$1.log"
}

# guest_has_said NAME REGEX
guest_has_said() {
	local line

	while IFS= read -r line; do
		[[ ! $line =~ guest:\ $2 ]] || return 0
	done <"$(guest_console "$1")"
	return 1
}

# guest_says NAME REGEX [SECONDS]: waits until it has said a line with that.
guest_says() {
	local end=$((SECONDS + ${3:-60} * SCALE))

	until guest_has_said "$1" "$2"; do
		if [ ! -e "/proc/${GUEST_XL[$1]}" ] || [ $SECONDS -ge $end ]; then
			guest_show "$1"
			fail "$1 has not said /$2/"
		fi
		nap 0.5
	done
}

guest_show() { # NAME
	tail -n 30 "$(guest_console "$1")" "$DIR/$1.xl" /var/log/xen/xen-hotplug.log 2>&1
}

# guest_end NAME: waits until it has ended by itself, successfully.
guest_end() {
	local status=0

	guest_says "$1" "done"
	wait "${GUEST_XL[$1]}" || status=$?
	[ $status = 0 ] || { guest_show "$1"; fail "xl create $1: status $status"; }
	! guest_has_said "$1" ".*failed" || { guest_show "$1"; fail "$1 failed"; }
}

guest_destroy_if_there() { # NAME
	local pid=${GUEST_XL[$1]}

	[ ! -e "/proc/$pid" ] || xl destroy "$1" || true
	wait "$pid" || true
}

# all_gone: at the end of a case: tap-ctl list, xenstore and xl agree that there is nothing.
# A domain whose pages somebody has still mapped stays as a zombie.
all_gone() {
	wait_for 20 no_taps
	expect_eq "$(tap-ctl list --vbds)" "" "guests' disks"
	expect_eq "$(xenstore-ls -f $BACKENDS 2>/dev/null | sed -n 's/ = .*//p')" "" "backends"
	wait_for 20 domains_are 1
}

domains_are() { # NUMBER, with domain 0
	[ "$(xl list | tail -n +2 | wc -l)" = "$1" ]
}

# What xl's configuration has for a disk.
by_script() { # VDEV TYPE:IMAGE
	echo "script=block-tap,vdev=$1,target=$2"
}

on_demand() { # VDEV TYPE:IMAGE
	echo "script=block-blktap,vdev=$1,target=tap:$2"
}

minor_of() { # DOMID DEVID: of the tap that this disk is tied to
	tap-ctl list --vbds | sed -n "s/domid=$1 devid=$2 minor=//p"
}

# tied DEVICE...: exactly these (DOMID/DEVID) are on taps.
tied() {
	[ "$(tap-ctl list --vbds | sed -n 's/domid=\(.*\) devid=\(.*\) minor=[0-9]*$/\1\/\2/p' |
		sort | paste -s -d ' ')" = "$*" ]
}

glue_up() {
	modprobe xen-blkback-glue
	defer glue_down
}

# Guests that are going hold it for a moment.
glue_down() {
	local end=$((SECONDS + 10 * SCALE))

	until rmmod xen-blkback-glue 2>/dev/null; do
		[ $SECONDS -lt $end ] || { rmmod xen-blkback-glue; return; }
		nap 0.1
	done
}
