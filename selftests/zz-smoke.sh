#!/bin/bash
set -x
cd $SCRATCH
vhd-util create -n a.vhd -s 64
tap-ctl create -a vhd:$PWD/a.vhd; echo rc=$?
tap-ctl list
cat /sys/class/blktap2/blktap0/debug
ls -la /dev/td* /dev/xen/blktap-2
mkfs.ext4 -q /dev/tda; echo rc=$?
mkdir -p m; mount /dev/tda m && echo hello > m/x
tap-ctl stats -m 0
P=$(cat /sys/class/blktap2/blktap0/task)
tap-ctl destroy -p $P -m 0; echo rc=$?
umount m
fio --name=v --filename=/dev/tda --rw=randrw --bsrange=512-1M --bs_unaligned=0 --blockalign=512 --size=32M --verify=crc32c --direct=1 --ioengine=libaio --iodepth=32 --output-format=terse | cut -c1-80
cat /sys/class/blktap2/blktap0/debug
tap-ctl pause -p $P -m 0; echo rc=$?
tap-ctl list
vhd-util snapshot -n b.vhd -p a.vhd; echo rc=$?
tap-ctl unpause -p $P -m 0 -a vhd:$PWD/b.vhd; echo rc=$?
tap-ctl list
tap-ctl destroy -p $P -m 0; echo rc=$?
tap-ctl list
vhd-util check -n b.vhd
