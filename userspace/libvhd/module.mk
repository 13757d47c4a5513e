# SPDX-License-Identifier: GPL-2.0-only
LIBS += build/lib/libvhd.a
libvhd-src := $(addprefix userspace/libvhd/,bat.c chain.c check.c coalesce.c \
	create.c error.c file.c format.c io.c locator.c lock.c open.c orphan.c parent.c resize.c \
	utf16.c write.c)
build/lib/libvhd.a: $(libvhd-src:%.c=build/%.o)
$(libvhd-src:%.c=build/%.o): all-cppflags += -D_GNU_SOURCE

TEST_PROGS += build/selftests/unit-vhd
unit-vhd-src := $(addprefix userspace/libvhd/test/,chain.c create.c format.c \
	fuzz.c image.c main.c open.c)
unit-vhd-libs := -lcmocka -luuid
build/selftests/unit-vhd: $(unit-vhd-src:%.c=build/%.o) build/lib/libvhd.a
$(unit-vhd-src:%.c=build/%.o): all-cppflags += -D_GNU_SOURCE
