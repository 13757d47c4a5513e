#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# In ring mode too what is read is what was written, for every kind of image.
export MODE=ring
[ $# -gt 0 ] || set -- raw fixed chain_of_2 batched_submission buffered_with_fsync \
	mixed_reads_and_writes
exec "$(dirname "$0")/io-verify.sh" "$@"
