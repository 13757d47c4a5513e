#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: uml
# timeout: 300
# In ring mode too filesystems survive unmount, destroy and re-create.
export MODE=ring
exec "$(dirname "$0")/filesystems.sh" "$@"
