#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# In ring mode too a tap pauses under load, and snapshots lose nothing.
export MODE=ring
exec "$(dirname "$0")/pause-under-load.sh" "$@"
