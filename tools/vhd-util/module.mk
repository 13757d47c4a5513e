# SPDX-License-Identifier: GPL-2.0-only
TOOLS += build/bin/vhd-util
vhd-util-src := $(addprefix tools/vhd-util/,check.c create.c main.c query.c snapshot.c)
vhd-util-libs := -luuid
build/bin/vhd-util: $(vhd-util-src:%.c=build/%.o) build/lib/libvhd.a
