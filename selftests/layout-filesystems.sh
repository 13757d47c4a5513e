#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: uml
# timeout: 600
# In layout mode too filesystems survive unmount, destroy and re-create.
export MODE=layout
exec "$(dirname "$0")/filesystems.sh" "$@"
