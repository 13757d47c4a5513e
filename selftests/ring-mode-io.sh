#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: stock kdbg
# timeout: 300
# In ring mode too what is read is what was written, for every kind of image.
export MODE=ring
exec "$(dirname "$0")/io-verify.sh" "$@"
