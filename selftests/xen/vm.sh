# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For selftests/vm/run: boots Xen, with the stock kernel as domain 0. Domain 0's
# console is Xen's; its terminal is the second serial port.
# shellcheck disable=SC2154 # the variables are run's

# Emulated, with more CPUs, Xen is slower; with SMAP a PV domain does not get far; and
# without eager-fpu domains get each other's AVX registers.
vm_xen() {
	local args=() append

	append="rootdisk=/dev/vda console=hvc0 loglevel=5 panic=-1 log_buf_len=4M VMTTY=ttyS1 mitigations=off"
	append+=" init_on_alloc=0 audit=0 apparmor=0 cryptomgr.notests random.trust_cpu=1"
	read -r -a args < <("$here/accel")
	args=("${args[@]/#max/max,-smap,-smep}")
	exec "${keeper[@]}" qemu-system-x86_64 "${args[@]}" -machine pc \
		-m "$mem" -smp "$cpus" -nodefaults -no-reboot -display none -monitor none \
		-kernel "$top/build/kernels/xen/image" \
		-append "dom0_mem=1024M,max:1024M com1=115200,8n1 console=com1 loglvl=info \
guest_loglvl=info spec-ctrl=no,eager-fpu=yes xpti=0 bootscrub=0" \
		-initrd "$top/build/kernels/xen/vmlinux $append,$tmp/boot" \
		-drive "file=$top/build/vm/xen.img,if=virtio,format=raw,snapshot=on" \
		-chardev "file,id=console,path=$tmp/console,append=on" -serial chardev:console \
		-chardev "stdio,id=terminal,signal=off" -serial chardev:terminal
}
