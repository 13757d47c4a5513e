# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What is measured. target_up NAME sets DEV to the file or device to be read and
# written, and MINOR where that is a tap. Images have a little more than MIB MiB:
# programs differ in how they round a VHD's size.
IMAGES=/mnt/images
IMAGE_MIB=$((MIB + 4))

try() { "$@" || { echo "bench: failed: $*" >&2; return 1; }; }

# --- backing: two devices, one with a filesystem, one for images without --------------

null_up() { # NAME IRQMODE NANOSECONDS
	local dir=/sys/kernel/config/nullb/$1

	mkdir "$dir" && echo $((2 * IMAGE_MIB + 128)) >"$dir/size" &&
		echo 512 >"$dir/blocksize" && echo 1 >"$dir/memory_backed" &&
		echo "$2" >"$dir/irqmode" && echo "$3" >"$dir/completion_nsec" &&
		echo 1 >"$dir/power"
}

# RAM disks get their memory when they are first written to: not while we measure.
# Without a journal: its commits come with the clock, not with the I/O.
backing_up() { # NAME
	case $1 in
	brd)
		try modprobe brd rd_nr=2 rd_size=$(((2 * IMAGE_MIB + 128) * 1024)) || return
		FS=/dev/ram0 BLOCK=/dev/ram1
		;;
	null)
		try null_up bench0 0 0 && try null_up bench1 0 0 || return
		FS=/dev/bench0 BLOCK=/dev/bench1
		;;
	latency)
		try null_up bench0 2 100000 && try null_up bench1 2 100000 || return
		FS=/dev/bench0 BLOCK=/dev/bench1
		;;
	esac
	touch_all "$FS" && touch_all "$BLOCK" || return
	mkdir -p "$IMAGES"
	try mke2fs -q -t ext4 -O ^has_journal -E lazy_itable_init=0,nodiscard "$FS" &&
		try mount -t ext4 -o noatime "$FS" "$IMAGES" &&
		write_zeroes "$IMAGES/raw" "$IMAGE_MIB"
}

touch_all() { # DEVICE
	write_zeroes "$1" $((2 * IMAGE_MIB + 128))
}

write_zeroes() { # FILE MIB
	try dd if=/dev/zero of="$1" bs=1M count="$2" oflag=direct status=none
}

# --- taps ---------------------------------------------------------------------

tap_up() { # MODE IMAGE
	local list

	DEV=$(try tap-ctl create -a "$2" --mode="$1") || return
	MINOR=${DEV##*tapdev}
	list=$(tap-ctl list -m "$MINOR") && PID=${list#pid=} && PID=${PID%% *}
}

tap_down() {
	try tap-ctl destroy -p "$PID" -m "$MINOR"
	MINOR=
}

# Every sector of the device, once: what layout mode can know it knows then.
warm() {
	try dd if="$DEV" of=/dev/null bs=1M count="$MIB" iflag=direct status=none
}

# --- images -------------------------------------------------------------------

make_dynamic() { # FILE
	try vhd-util create -n "$1" -s $IMAGE_MIB
}

# The file system leaves its blocks marked unwritten: they are to be written once.
make_fixed() { # FILE
	try vhd-util create -n "$1" -s $IMAGE_MIB -r
}

make_allocated() { # FILE
	make_dynamic "$1" && tap_up layout "vhd:$1" &&
		write_zeroes "$DEV" "$MIB" && tap_down
}

# The blocks' data is spread over all images of the chain in turn.
make_chain() { # DEPTH: leaves the leaf's name in LEAF
	local depth=$1 i block

	for ((i = 0; i < depth; i++)); do
		LEAF=$IMAGES/chain$i.vhd
		if [ "$i" = 0 ]; then
			make_dynamic "$LEAF"
		else
			try vhd-util snapshot -n "$LEAF" -p "$IMAGES/chain$((i - 1)).vhd"
		fi || return
		tap_up layout "vhd:$LEAF" || return
		for ((block = i; block < MIB / 2; block += depth)); do
			try dd if=/dev/zero of="$DEV" bs=2M count=1 seek=$block \
				oflag=direct status=none || return
		done
		tap_down
	done
}

# --- targets ------------------------------------------------------------------

loop_up() { # FILE
	modprobe loop
	DEV=$(try losetup -f --show --direct-io=on "$1")
}

nbd_up() { # FORMAT FILE
	local sectors=0

	modprobe nbd nbds_max=1 max_part=0
	DEV=/dev/nbd0
	try qemu-nbd --fork -c $DEV -f "$1" --cache=none --aio=native "$2" || return
	while [ "$sectors" = 0 ]; do
		read -r sectors </sys/block/nbd0/size
	done
}

linear_up() {
	echo "0 $((IMAGE_MIB * 2048)) linear $BLOCK 0" | try dmsetup create linear
	DEV=/dev/mapper/linear
	[ -e $DEV ] || try dmsetup mknodes
}

target_up() { # NAME
	local vhd=$IMAGES/image.vhd

	MINOR='' PID=''
	case $1 in
	file) DEV=$IMAGES/raw ;;
	loop) loop_up "$IMAGES/raw" ;;
	nbd-raw) nbd_up raw "$IMAGES/raw" ;;
	nbd-vhd) make_allocated "$vhd" && nbd_up vpc "$vhd" ;;
	ring-raw) tap_up ring "aio:$IMAGES/raw" ;;
	ring-vhd) make_allocated "$vhd" && tap_up ring "vhd:$vhd" ;;
	raw) tap_up layout "aio:$IMAGES/raw" ;;
	fixed) make_fixed "$vhd" && tap_up layout "vhd:$vhd" && write_zeroes "$DEV" "$MIB" ;;
	dynamic) make_allocated "$vhd" && tap_up layout "vhd:$vhd" && warm ;;
	chain*) make_chain "${1#chain}" && tap_up layout "vhd:$LEAF" && warm ;;
	block) DEV=$BLOCK ;;
	linear) linear_up ;;
	block-raw) tap_up layout "aio:$BLOCK" ;;
	fresh-file) DEV=$IMAGES/sparse && try truncate -s ${IMAGE_MIB}M "$DEV" ;;
	fresh-loop) try truncate -s ${IMAGE_MIB}M "$IMAGES/sparse" && loop_up "$IMAGES/sparse" ;;
	fresh-nbd) make_dynamic "$vhd" && nbd_up vpc "$vhd" ;;
	fresh-ring) make_dynamic "$vhd" && tap_up ring "vhd:$vhd" ;;
	fresh-dynamic) make_dynamic "$vhd" && tap_up layout "vhd:$vhd" ;;
	*) echo "bench: no such target: $1"; return 1 ;;
	esac || return
	[ ! -b "$DEV" ] || no_scheduler
}

no_scheduler() {
	local name

	name=$(try lsblk -dno KNAME "$DEV") || return
	[ ! -e "/sys/block/$name/queue/scheduler" ] ||
		echo none >"/sys/block/$name/queue/scheduler"
}

target_down() {
	case $DEV in
	/dev/loop*) losetup -d "$DEV" ;;
	/dev/nbd*) qemu-nbd -d "$DEV" >/dev/null; rmmod nbd ;;
	/dev/mapper/*) dmsetup remove linear ;;
	esac
	[ -z "$MINOR" ] || tap_down
	rm -f "$IMAGES"/*.vhd "$IMAGES/sparse"
}
