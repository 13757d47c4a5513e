# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Load and verification by fio. Sizes are in MiB.

fio_seed() {
	cat "$DIR/fio.seed" 2>/dev/null || echo 4711
}

# What is written from now on differs, in its place and in each byte's neighbourhood: what
# was there before, and should have been overwritten, does not pass for it. (A checksum in
# each block would not tell, nor the seed in fio's header: it takes that as it finds it.)
fio_reseed() {
	echo $(($(fio_seed) + 1)) >"$DIR/fio.seed.new"
	mv "$DIR/fio.seed.new" "$DIR/fio.seed"
}

# run_fio NAME OPTION...: prints fio's output only if it fails.
run_fio() {
	local name=$1
	shift

	fio --name="$name" --output="$DIR/fio.$name" --group_reporting \
		--ioengine=libaio --randrepeat=1 --allrandrepeat=1 --randseed="$(fio_seed)" \
		--verify=pattern --verify_pattern="%o\"$(fio_seed)\"" \
		--verify_fatal=1 --verify_dump=0 --verify_backlog=0 "$@" ||
		fail "fio $name: $(tail -25 "$DIR/fio.$name")"
}

# The same job writes, verifies at once, and can be verified again later.
fio_job() { # DEVICE MIB
	echo --filename="$1" --size="$2M" --rw=randwrite --direct=1 \
		--bssplit=512/5:4k/45:16k/20:64k/20:256k/6:1m/4 --bs_unaligned=0 \
		--blockalign=512 --iodepth=32
}

# fio_write DEVICE MIB [OPTION...]
fio_write() {
	local dev=$1 mib=$2
	shift 2

	# shellcheck disable=SC2046 # words of the job
	run_fio write $(fio_job "$dev" "$mib") --do_verify=1 "$@"
}

# fio_verify DEVICE MIB [OPTION...]: what fio_write wrote last, with the same options.
fio_verify() {
	local dev=$1 mib=$2
	shift 2

	# shellcheck disable=SC2046 # words of the job
	run_fio verify $(fio_job "$dev" "$mib") --verify_only "$@"
}
