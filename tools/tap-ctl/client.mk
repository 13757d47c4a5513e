# SPDX-License-Identifier: GPL-2.0-only
# What tap-ctl and tapdisk --supervise share.
tap-ctl-client := $(addprefix tools/tap-ctl/,report.c client.c message.c taps.c tapdisk.c \
	orphan.c)
