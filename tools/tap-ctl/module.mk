# SPDX-License-Identifier: GPL-2.0-only
TOOLS += build/bin/tap-ctl
tap-ctl-src := $(addprefix tools/tap-ctl/,main.c args.c report.c client.c message.c \
	taps.c image.c node.c tapdisk.c steps.c format.c list.c allocate.c create.c \
	spawn.c attach.c open.c pause.c stats.c check.c pool.c monitor.c)
tap-ctl-pkgs := libnl-genl-3.0 libnl-3.0 json-c
tap-ctl-libs := -lnl-genl-3 -lnl-3 -ljson-c
build/bin/tap-ctl: $(tap-ctl-src:%.c=build/%.o)
