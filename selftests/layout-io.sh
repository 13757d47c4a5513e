#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# kernels: uml
# timeout: 900
# In layout mode too what is read is what was written, for every kind of image.
export MODE=layout
exec "$(dirname "$0")/io-verify.sh" "$@"
