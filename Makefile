# SPDX-License-Identifier: GPL-2.0-only
#
# make                   the kernel module, tapdisk and the tools
# make modules           the kernel module; KDIR=DIR names the kernel's build tree
# make install           tools, man pages, systemd's unit, under $(DESTDIR)$(PREFIX)
# make install-xen       hotplug script and systemd unit, for disks of Xen guests
# make modules_install   the module, under $(INSTALL_MOD_PATH)/lib/modules
# make check             every test; TEST="NAME..." and KERNEL="stock uml kdbg xen" choose
# make check-xen         those under Xen: guests with disks on taps
# make fuzz              the fuzzers for FUZZ_SECONDS (600) and with FUZZ_SEED
# make stress            all at once, on 16 taps, for STRESS_SECONDS (1800)
# make coverage          lines of the module that the tests on uml run; TEST chooses
# make demo              a VHD served as a disk, step by step, in a VM
# make bench             what it costs, beside other ways; SET="NAME..." chooses
# make shell             a shell in the same VM, module loaded
# make lint              compiler warnings, checkpatch, sparse, shellcheck, what is installed
# make debug-kernels     the debug kernels that tests run on, where not ready-made; with
#                        REBUILD=1 they are compiled in any case
# make clean             remove what was built, but not the fetched kernels
# make help              this text

# V=1 shows whole commands.
quiet = $(if $(V),,@echo "  $1	$@";)

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:

all: modules userspace

help:
	@sed -n '/^# make/,/^$$/s/^# \(.*\)/\1/p' Makefile

# --- userspace ---------------------------------------------------------------

CC := gcc
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
UNITDIR ?= $(PREFIX)/lib/systemd/system
XENSCRIPTDIR ?= /etc/xen/scripts
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
CFLAGS ?= -O2 -g

all-cflags = -std=gnu17 -Wall -Wextra -Werror -fPIE -D_FORTIFY_SOURCE=2 \
	-fstack-protector-strong -fstack-clash-protection -fcf-protection $(CFLAGS)
all-cppflags = -Iinclude/uapi -Iuserspace -DSBINDIR='"$(SBINDIR)"' -MMD -MP $(CPPFLAGS)
all-ldflags = -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)

# Each module.mk adds to TOOLS, LIBS and TEST_PROGS, and says NAME-src, NAME-libs
# (linker flags), NAME-pkgs (pkg-config packages whose headers it includes).
include tools/tap-ctl/client.mk userspace/libvhd/module.mk userspace/tapdisk-lite/module.mk \
	tools/tap-ctl/module.mk tools/vhd-util/module.mk selftests/module.mk

programs := $(TOOLS) $(TEST_PROGS)
names := $(notdir $(programs)) $(basename $(notdir $(LIBS)))
sources := $(sort $(foreach n,$(names),$($n-src)))

define package-flags
$($1-src:%.c=build/%.o): all-cppflags += $(shell pkg-config --cflags $($1-pkgs))
endef
$(foreach n,$(names),$(if $($n-pkgs),$(eval $(call package-flags,$n))))

userspace: $(TOOLS) $(LIBS)

$(programs):
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) $(all-ldflags) -o $@ $(filter %.o %.a,$^) $($(@F)-libs)

$(LIBS):
	@mkdir -p $(@D)
	@rm -f $@
	$(call quiet,AR)$(AR) rcs $@ $(filter %.o,$^)

build/%.o: %.c
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(all-cppflags) $(all-cflags) -c -o $@ $<

-include $(sources:%.c=build/%.d)

# A unit, readable by all whatever the umask.
install-unit = sed 's\#@SBINDIR@\#$(SBINDIR)\#g' $1 | \
	install -m 644 /dev/stdin $(DESTDIR)$(UNITDIR)/$(notdir $1)

install: userspace
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(MANDIR)/man8
	install $(TOOLS) $(DESTDIR)$(SBINDIR)
	install -m 644 $(wildcard Documentation/*.8) $(DESTDIR)$(MANDIR)/man8
	install -d $(DESTDIR)$(UNITDIR)
	$(foreach unit,$(UNITS),$(call install-unit,$(unit)) &&) true
	install -D -m 644 $(COMPLETIONS) $(DESTDIR)$(COMPLETIONDIR)/tap-ctl

install-xen:
	install -D tools/xen/block-blktap $(DESTDIR)$(XENSCRIPTDIR)/block-blktap
	install -d $(DESTDIR)$(UNITDIR)
	$(call install-unit,tools/xen/blktap-serve.service)

# --- kernel module -----------------------------------------------------------

# KERNEL names one of the fetched test kernels; else the running one is meant,
# where its headers are installed.
running := /lib/modules/$(shell uname -r)/build
KERNEL ?= $(if $(wildcard $(running)),,stock)
KDIR ?= $(if $(KERNEL),build/kernels/$(firstword $(KERNEL))/build,$(running))

# kbuild writes beside the sources: give each kernel a copy of them.
# (include/config/kernel.release of packaged headers is not what uname -r says.)
release = $(shell sed -n 's/.*UTS_RELEASE "\(.*\)"/\1/p' $(KDIR)/include/generated/utsrelease.h)
arch = $(if $(shell grep -s CONFIG_UML=y $(KDIR)/include/config/auto.conf),um)
kmod = build/kmod-$(release)$(addprefix -,$(arch))$(if $(GCOV),-gcov)
ksources = Kbuild $(shell find drivers include -name '*.[ch]' -o -name Kbuild)
# A warning is an error where we test; a user's kernel may come with another compiler.
strict = $(if $(KERNEL),UBSAN_SANITIZE=y KCFLAGS=-Werror BLKTAP_SELFTESTS=m) \
	$(addprefix GCOV_PROFILE=,$(GCOV))
kbuild = $(MAKE) -C $(KDIR) M=$(CURDIR)/$(kmod) KERNELRELEASE=$(release) \
	$(addprefix ARCH=,$(arch)) $(strict)

modules: $(KDIR)/Makefile
	@mkdir -p $(kmod)
	@cp -pu --parents $(ksources) $(kmod)
	+$(kbuild) modules

# Without a System.map, as beside packaged headers, kbuild leaves out depmod.
modules_install: modules
	+$(kbuild) modules_install
	$(if $(INSTALL_MOD_PATH),,depmod -a $(release))

build/kernels/%/build/Makefile:
	@scripts/deps build $(filter xen,$*)
	@scripts/fetch-kernel $*

$(running)/Makefile:
	@echo "no headers of the running kernel: install linux-headers-$$(uname -r)" >&2
	@false

debug-kernels:
	@scripts/fetch-kernel $(if $(REBUILD),--rebuild) uml kdbg

# --- tests -------------------------------------------------------------------

tests: $(TEST_PROGS)

# What selftests/vm/run boots KERNEL with.
vm: userspace modules build/vm/base.cpio build/vm/$(KERNEL).cpio build/vm/uml-xstate.so
vm: $(if $(filter xen,$(KERNEL)),build/vm/xen-initrd.cpio build/vm/xen.img)

build/vm/base.cpio: selftests/vm/rootfs selftests/vm/pack.sh selftests/vm/programs \
		selftests/vm/stub selftests/vm/stubs
	@scripts/deps vm
	$(call quiet,CPIO)selftests/vm/rootfs base $@

build/vm/%.cpio: selftests/vm/rootfs selftests/vm/modules build/kernels/%/build/Makefile
	$(call quiet,CPIO)selftests/vm/rootfs modules $* $@

build/vm/xen-initrd.cpio: selftests/xen/rootfs selftests/xen/initrd selftests/vm/pack.sh \
		build/kernels/xen/build/Makefile
	$(call quiet,CPIO)selftests/xen/rootfs initrd $@

build/vm/xen.img: build/vm/xen-initrd.cpio tools/xen/block-blktap selftests/xen/guest-init build/vm/base.cpio \
		build/vm/xen.cpio
	$(call quiet,EXT4)selftests/xen/rootfs disk $@ build/vm/base.cpio build/vm/xen.cpio

build/vm/%.so: selftests/vm/%.c
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(all-cflags) -D_GNU_SOURCE -fPIC -shared -o $@ $<

# Without KERNEL and TEST: all there are.
check: userspace tests
	+@scripts/check $(if $(filter command,$(origin KERNEL)),--kernel="$(KERNEL)") $(TEST)

check-xen:
	+@selftests/vm/run --brief --kernel=xen $(TEST)

chosen = $(if $(filter command,$(origin KERNEL)),$(KERNEL))

fuzz:
	+@FUZZ_SECONDS=$${FUZZ_SECONDS:-600} selftests/vm/run --kernel=$(or $(chosen),uml) fuzz-ring fuzz-calls

stress:
	+@STRESS_SECONDS=$${STRESS_SECONDS:-1800} selftests/vm/run --kernel=$(or $(chosen),stock) stress

coverage: userspace tests
	+@scripts/coverage $(TEST)

demo:
	+@selftests/demo/run

# Without SET: all there are.
bench:
	+@selftests/bench/run $(SET)

shell:
	+@selftests/vm/run --shell $(addprefix --kernel=,$(KERNEL))

lint: userspace tests
	+@scripts/lint

clean:
	rm -rf $(filter-out build/kernels,$(wildcard build/*))

.PHONY: all help userspace install install-xen modules modules_install debug-kernels tests vm \
	check check-xen fuzz stress coverage demo bench shell lint clean
