# SPDX-License-Identifier: GPL-2.0-only
TOOLS += build/bin/tap-ctl
tap-ctl-common := $(tap-ctl-client) $(addprefix tools/tap-ctl/,args.c image.c format.c)
tap-ctl-src := $(tap-ctl-common) $(addprefix tools/tap-ctl/,main.c node.c steps.c \
	list.c allocate.c create.c spawn.c attach.c open.c pause.c stats.c check.c pool.c \
	monitor.c recover.c set.c serve.c signals.c)
tap-ctl-pkgs := libnl-genl-3.0 libnl-3.0 json-c
tap-ctl-libs := -lnl-genl-3 -lnl-3 -ljson-c
build/bin/tap-ctl: $(tap-ctl-src:%.c=build/%.o)

TEST_PROGS += build/selftests/unit-tap-ctl
unit-tap-ctl-src := $(tap-ctl-common) tools/tap-ctl/test/unit-tap-ctl.c
unit-tap-ctl-pkgs := libnl-genl-3.0 libnl-3.0 json-c
unit-tap-ctl-libs := $(tap-ctl-libs) -lcmocka
build/selftests/unit-tap-ctl: $(unit-tap-ctl-src:%.c=build/%.o)

$(sort $(tap-ctl-src:%.c=build/%.o) $(unit-tap-ctl-src:%.c=build/%.o)): \
	all-cppflags += -D_GNU_SOURCE

build/tools/tap-ctl/main.o: \
	all-cppflags += -DBLKTAP_VERSION='$(shell sed -n 's/^PACKAGE_VERSION=//p' dkms.conf)'

COMPLETIONS += tools/tap-ctl/completion.bash

# A script among the unit tests, which are run from there.
tests: build/selftests/unit-netlink-spec
build/selftests/unit-netlink-spec: selftests/unit-netlink-spec
	@mkdir -p $(@D)
	@install $< $@
