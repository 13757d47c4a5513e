# SPDX-License-Identifier: GPL-2.0-only
selftest-names := ring-nodes ring-mmap ring-device ring-io ring-messages ring-poll \
	ring-hostile ring-pages ring-recover layout-recover layout-grants layout-upcalls \
	layout-files layout-recall faults faults-memory fuzz-ring fuzz-calls control-channel netlink-requests \
	netlink-events
selftest-lib := $(wildcard selftests/lib/*.c)

TEST_PROGS += $(selftest-names:%=build/selftests/%)

define selftest
$1-src := selftests/$1.c $(selftest-lib)
$1-libs := -pthread -laio -lnl-genl-3 -lnl-3
$1-pkgs := libnl-genl-3.0
build/selftests/$1: $(patsubst %.c,build/%.o,selftests/$1.c $(selftest-lib))
endef
$(foreach n,$(selftest-names),$(eval $(call selftest,$n)))

# For the fuzzers: every ioctl that there is.
build/selftests/ioctls.inc: include/uapi/linux/blktap.h
	@mkdir -p $(@D)
	$(call quiet,GEN)sed -nE 's/^#define[[:space:]]+(BLKTAP_IOCTL_[A-Z0-9_]+).*/\1,/p' $< >$@
build/selftests/lib/fuzz.o: build/selftests/ioctls.inc
build/selftests/lib/fuzz.o: all-cppflags += -Ibuild/selftests

$(patsubst %.c,build/%.o,$(selftest-names:%=selftests/%.c) $(selftest-lib)): \
	all-cppflags += -D_GNU_SOURCE
