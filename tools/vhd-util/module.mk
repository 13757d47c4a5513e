# SPDX-License-Identifier: GPL-2.0-only
TOOLS += build/bin/vhd-util
vhd-util-src := $(addprefix tools/vhd-util/,check.c coalesce.c create.c main.c \
	modify.c query.c repair.c resize.c set.c snapshot.c)
vhd-util-libs := -luuid
build/bin/vhd-util: $(vhd-util-src:%.c=build/%.o) build/lib/libvhd.a

# Tests that run on the host, as the unit tests do.
vhd-util-tests := $(addprefix build/selftests/unit-vhd-util-,bad-images commands qemu)
tests: $(vhd-util-tests)
$(vhd-util-tests): build/selftests/unit-vhd-util-%: tools/vhd-util/test/%.sh
	@mkdir -p $(@D)
	ln -sf ../../$< $@
