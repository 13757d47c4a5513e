#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: uml
# In ring mode too filesystems survive unmount, destroy and re-create.
export MODE=ring
[ $# -gt 0 ] || set -- ext4_on_a_chain xfs_on_dynamic fstrim_on_raw \
	synced_files_survive_a_killed_tapdisk
exec "$(dirname "$0")/filesystems.sh" "$@"
