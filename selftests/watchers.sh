#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: uml kdbg
# timeout: 120
# reports: deliberate
# The debug kernels report what they are there for: one deliberate bug of each
# kind, found in the kernel's log as every test's own reports are; and leaks as the
# runner finds them when it unloads the module.

kmemleak=/sys/kernel/debug/kmemleak
splats=$(dirname "$0")/vm/splats.awk
guest=$(dirname "$0")/vm/guest
number=0 failed=0

# What lockdep says first is all that it says, and KASAN's first report silences it.
bugs=(
	"no-rcu:suspicious RCU usage"
	"lock-order:possible circular locking dependency"
	"out-of-bounds:KASAN: slab-out-of-bounds"
	"use-after-free:KASAN: (slab-)?use-after-free"
	"stack-out-of-bounds:KASAN: stack-out-of-bounds"
	"index-too-large:UBSAN: array-index-out-of-bounds"
	"shift-too-far:UBSAN: shift-out-of-bounds"
	"free-active-object:ODEBUG: free active"
	"one-put-too-many:refcount_t: decrement hit 0"
	"hang:blocked for more than"
	"leak:unreferenced object"
)
[ "$(cat /blktap/plan/kernel)" = uml ] || bugs+=("sleep-in-atomic:sleeping function called")

# What was reported since the mark.
reports() { # BUG MARK
	if [ "$1" = leak ]; then
		unload_fails
	else
		dmesg | awk -v mark="$2" -f "$splats"
	fi
}

# What the runner says when it unloads the module, if it counts that as a failure.
unload_fails() {
	local said

	modprobe -r blktap-watch-test
	said=$("$guest" unload 99)
	echo clear >$kmemleak
	[[ $said != *"not ok 99 unload" ]] || printf '%s\n' "$said"
}

# log_with LINE...: what is found of a log with these lines
log_with() {
	printf '[   1.0] %s\n' "the mark" "a case" "$@" "the end" | awk -v mark="the mark" -f "$splats"
}

# The one report that is let through: of any other kind, or from elsewhere, it is none.
known_report() {
	local rcu="WARNING: suspicious RCU usage" kasan="BUG: KASAN: use-after-free in x+0x1/0x2"
	local at=" force_flush_all+0x3c/0x90" elsewhere=" tap_ring_fail+0x3c/0x90"

	[ -z "$(log_with "$rcu" "Call Trace:" "$at")" ] &&
		[ -n "$(log_with "$rcu" "Call Trace:" "$elsewhere")" ] &&
		[ -n "$(log_with "$kasan" "Call Trace:" "$at")" ] &&
		[ -n "$(log_with "Call Trace:" "$at")" ] &&
		[[ $(log_with "$rcu" "$at" "$kasan" "$at") == *KASAN* ]] &&
		[[ $(log_with "$kasan" "$at" "$rcu" "$at") == *KASAN* ]]
}

echo "TAP version 13"
echo "1..$((${#bugs[@]} + 1))"
echo 1 >/proc/sys/kernel/hung_task_timeout_secs
for entry in "${bugs[@]}"; do
	bug=${entry%%:*} mark="watchers: ${entry%%:*} $$"
	echo "$mark" >/dev/kmsg
	modprobe blktap-watch-test bug="$bug"
	said=$(reports "$bug" "$mark")
	[ ! -d /sys/module/blktap_watch_test ] || modprobe -r blktap-watch-test
	: $((number++))
	if grep -qE "${entry#*:}" <<<"$said"; then
		echo "ok $number $bug"
	else
		echo "# wanted: ${entry#*:}"
		printf '%s\n' "$said" | sed 's/^/# got: /'
		echo "not ok $number $bug"
		failed=1
	fi
done
if known_report; then
	echo "ok $((number + 1)) known-report"
else
	echo "not ok $((number + 1)) known-report"
	failed=1
fi
exit $failed
