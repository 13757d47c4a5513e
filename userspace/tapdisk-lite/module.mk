# SPDX-License-Identifier: GPL-2.0-only
TOOLS += build/bin/tapdisk
tapdisk-engine := $(addprefix userspace/tapdisk-lite/,aio.c image.c image-aio.c \
	image-vhd.c loop.c util.c vhd-alloc.c vhd-bitmap.c vhd-commit.c vhd-flush.c \
	vhd-keep.c vhd-layout.c vhd-lookup.c vhd-release.c vhd-request.c vhd-trim.c)
tapdisk-src := $(tapdisk-engine) $(addprefix userspace/tapdisk-lite/,confine.c \
	confine-paths.c control.c main.c ring.c stats.c supervise.c tap.c) $(tap-ctl-client)
tapdisk-libs := -laio -lcap-ng -ljson-c -lseccomp -luuid -lnl-genl-3 -lnl-3
tapdisk-pkgs := libnl-genl-3.0 libnl-3.0
UNITS += userspace/tapdisk-lite/tapdisk-supervise.service
build/bin/tapdisk: $(tapdisk-src:%.c=build/%.o) build/lib/libvhd.a
build/userspace/tapdisk-lite/main.o: \
	all-cppflags += -DBLKTAP_VERSION='$(shell sed -n 's/^PACKAGE_VERSION=//p' dkms.conf)'

TEST_PROGS += build/selftests/unit-tapdisk-vhd
unit-tapdisk-vhd-src := $(tapdisk-engine) $(addprefix userspace/tapdisk-lite/test/,guest.c \
	kernel.c unit-tapdisk-vhd.c)
unit-tapdisk-vhd-libs := -laio -luuid -lcmocka
build/selftests/unit-tapdisk-vhd: $(unit-tapdisk-vhd-src:%.c=build/%.o) build/lib/libvhd.a

TEST_PROGS += build/selftests/unit-tapdisk-powercut
unit-tapdisk-powercut-src := $(tapdisk-engine) $(addprefix userspace/tapdisk-lite/test/,guest.c \
	kernel.c record.c unit-tapdisk-powercut.c)
unit-tapdisk-powercut-libs := -laio -luuid -lcmocka
build/selftests/unit-tapdisk-powercut: $(unit-tapdisk-powercut-src:%.c=build/%.o) \
	build/lib/libvhd.a

TEST_PROGS += build/selftests/unit-tapdisk-layout
unit-tapdisk-layout-src := $(tapdisk-engine) $(addprefix userspace/tapdisk-lite/test/,guest.c \
	kernel.c unit-tapdisk-layout.c)
unit-tapdisk-layout-libs := -laio -luuid -lcmocka
build/selftests/unit-tapdisk-layout: $(unit-tapdisk-layout-src:%.c=build/%.o) build/lib/libvhd.a

TEST_PROGS += build/selftests/unit-tapdisk-trim
unit-tapdisk-trim-src := $(tapdisk-engine) $(addprefix userspace/tapdisk-lite/test/,guest.c \
	kernel.c unit-tapdisk-trim.c)
unit-tapdisk-trim-libs := -laio -luuid -lcmocka
build/selftests/unit-tapdisk-trim: $(unit-tapdisk-trim-src:%.c=build/%.o) build/lib/libvhd.a

TEST_PROGS += build/selftests/unit-tapdisk-ring
unit-tapdisk-ring-src := $(tapdisk-engine) $(addprefix userspace/tapdisk-lite/,ring.c \
	test/guest.c test/kernel.c test/unit-tapdisk-ring.c)
unit-tapdisk-ring-libs := -laio -luuid -lcmocka
build/selftests/unit-tapdisk-ring: $(unit-tapdisk-ring-src:%.c=build/%.o) build/lib/libvhd.a

TEST_PROGS += build/selftests/unit-tapdisk-confine
unit-tapdisk-confine-src := $(tapdisk-engine) $(addprefix userspace/tapdisk-lite/,confine.c \
	confine-paths.c test/guest.c test/kernel.c test/unit-tapdisk-confine.c)
unit-tapdisk-confine-libs := -laio -lcap-ng -lcmocka -lseccomp -luuid
build/selftests/unit-tapdisk-confine: $(unit-tapdisk-confine-src:%.c=build/%.o) \
	build/lib/libvhd.a

TEST_PROGS += build/selftests/unit-vhd-change
unit-vhd-change-src := $(tapdisk-engine) $(addprefix userspace/tapdisk-lite/test/,guest.c \
	kernel.c unit-vhd-change.c)
unit-vhd-change-libs := -laio -luuid -lcmocka
build/selftests/unit-vhd-change: $(unit-vhd-change-src:%.c=build/%.o) build/lib/libvhd.a
