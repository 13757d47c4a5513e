#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: uml kdbg
# timeout: 120
# reports: deliberate
# The debug kernels report what they are there for: one deliberate bug of each
# kind, found in the kernel's log as every test's own reports are.

kmemleak=/sys/kernel/debug/kmemleak
splats=$(dirname "$0")/vm/splats.awk
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

# What was reported since the mark. An object counts as leaked from an age of 5 s.
reports() { # BUG MARK
	if [ "$1" = leak ]; then
		sleep 6
		echo scan >$kmemleak
		sleep 6
		echo scan >$kmemleak
		cat $kmemleak
		echo clear >$kmemleak
	else
		dmesg | awk -v mark="$2" -f "$splats"
	fi
}

echo "TAP version 13"
echo "1..${#bugs[@]}"
echo 1 >/proc/sys/kernel/hung_task_timeout_secs
for entry in "${bugs[@]}"; do
	bug=${entry%%:*} mark="watchers: ${entry%%:*} $$"
	echo "$mark" >/dev/kmsg
	modprobe blktap-watch-test bug="$bug"
	said=$(reports "$bug" "$mark")
	modprobe -r blktap-watch-test
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
exit $failed
