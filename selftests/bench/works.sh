# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# How it is measured: fio, direct libaio without time stamps of single I/Os.

# work NAME: sets JOB, KIB (of an I/O) and COUNT, enough that a millisecond means little.
work() {
	case $1 in
	r4k-*) JOB=(--rw=randread) ;;
	w4k-*) JOB=(--rw=randwrite) ;;
	*-read) JOB=(--rw=read) ;;
	*-write) JOB=(--rw=write) ;;
	esac
	case $1 in
	?4k-1) KIB=4 COUNT=8000 JOB+=(--iodepth=1) ;;
	?4k-32) KIB=4 COUNT=10000 JOB+=(--iodepth=32) ;;
	?4k-32b) KIB=4 COUNT=10000 JOB+=(--iodepth=32 --iodepth_batch=16
		--iodepth_batch_complete_min=16) ;;
	64k-*) KIB=64 COUNT=3000 JOB+=(--iodepth=8) ;;
	1m-*) KIB=1024 COUNT=400 JOB+=(--iodepth=8) ;;
	fresh-write) KIB=1024 COUNT=$MIB JOB+=(--iodepth=8 --end_fsync=1) ;;
	esac
	# How many pages of a large buffer happen to be neighbours would be worth 10 %.
	[ "$KIB" = 4 ] || JOB+=(--iomem=mmaphuge)
}

# What is slow is measured with fewer I/Os. Fresh images are for one work alone.
fits() { # WORK TARGET
	case $1:$2 in
	fresh-write:fresh-*) return 0 ;;
	fresh-write:* | *:fresh-*) return 1 ;;
	*write:chain* | w4k*:chain*) return 1 ;;
	esac
}

count_for() { # TARGET
	[[ $1 != fresh-* ]] || return 0
	COUNT=$((COUNT * SCALE / 100))
	case $1 in
	nbd-*) COUNT=$((COUNT / 4)) ;;
	ring-*) COUNT=$((COUNT / 2)) ;;
	esac
}

counters() {
	[ -z "$MINOR" ] || tap-ctl list --json -m "$MINOR" | tr -d ' \n' |
		sed 's/.*"counters":\({[^}]*}\).*/\1/'
}

# fio itself has the samples taken, right before and after the I/O. The I/O is done
# twice, for the kernel may have other things to do as well; new images are new once.
run_job() { # NAME
	local jobs=(--name=first)

	[ "$1" = fresh-write ] || jobs+=(--name=second --stonewall)
	fio --filename="$DEV" --direct=1 --ioengine=libaio "${JOB[@]}" --size="${MIB}M" \
		--bs="${KIB}k" --io_size="$((COUNT * KIB))k" --thread --norandommap \
		--randrepeat=1 --gtod_reduce=1 --exec_prerun="$BLKTAP_SELFTESTS/bench/sample" \
		--exec_postrun="$BLKTAP_SELFTESTS/bench/sample" --output-format=terse \
		--terse-version=3 "${jobs[@]}"
}

# Prints: result CLOCK BACKING TARGET WORK ERROR KIB-OF-ONE KIB MILLISECONDS BEFORE
# AFTER, of the quicker run. A tap's counters before and after have a line of their own.
measure() { # WORK TARGET
	local said counted where="$CLOCK $BACKING $2 $1"

	work "$1"
	count_for "$2"
	sync
	counted=$(counters)
	said=$(run_job "$1" 2>&1)
	awk -F';' -v head="result $where" -v kib="$KIB" '
		$1 != 3 { said = said "\n" $0; next }
		{ error += $5 }
		best == "" || $9 + $50 < ms { best = $3; done = $6 + $47; ms = $9 + $50 }
		END {
			if (best == "") {
				print "bench: no result from fio:" said
				exit 1
			}
			getline before <(best ".prerun.txt")
			getline after <(best ".postrun.txt")
			print head, error + 0, kib, done, ms, before, after
		}
	' <<<"$said" || return
	[ -z "$MINOR" ] || echo "counters $where $counted $(counters)"
}
