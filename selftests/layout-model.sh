#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The maps of layout mode say what a naive model says, after any operations.
# kernels: stock uml
# timeout: 300

ops=1000000
# Every access is checked in a debug kernel, every instruction emulated in a VM.
[ "$(uname -m)" = x86_64 ] && grep -q hypervisor /proc/cpuinfo && ops=200000

modprobe blktap-layout-test ops=$ops ${LAYOUT_SEED:+seed=$LAYOUT_SEED}
status=$?
dmesg | grep 'layout-test:' | tail -1
[ $status = 0 ] || echo "repeat: LAYOUT_SEED=... as above" >&2
modprobe -r blktap-layout-test
exit $status
