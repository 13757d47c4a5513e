#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# The maps of layout mode say what a naive model says, after any operations.
# kernels: uml
# timeout: 600

modprobe blktap-layout-test ops="${LAYOUT_OPS:-200000}" \
	${LAYOUT_SEED:+seed="$LAYOUT_SEED"}
status=$?
dmesg | grep 'layout-test:' | tail -1
[ $status = 0 ] || echo "repeat: LAYOUT_SEED=... as above" >&2
modprobe -r blktap-layout-test
exit $status
