#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: uml
# timeout: 600
# A layout is recalled and granted anew under load, and snapshots lose nothing.
export MODE=layout
exec "$(dirname "$0")/pause-under-load.sh" "$@"
