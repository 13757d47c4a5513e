# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# vhd-util needs no kernel module: its tests run on the host, with the assertions
# of the selftests. Each case has an empty directory, $DIR.
# shellcheck source=selftests/lib/blktap.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../../selftests/lib/blktap.sh"

# run_host_tests [CASE...]: all test_ functions.
run_host_tests() {
	local cases c n=0 failed=0 top

	mapfile -t cases < <(declare -F | sed -n 's/^declare -f test_//p')
	[ $# = 0 ] || cases=("$@")
	top=$(mktemp -d "${TMPDIR:-/tmp}/vhd-util.XXXXXX")
	echo "TAP version 13"
	echo "1..${#cases[@]}"
	for c in "${cases[@]}"; do
		DIR=$top/$c
		mkdir "$DIR"
		run_body "$c" "$top/log"
		case $VERDICT in
		0) echo "ok $((++n)) $c" ;;
		4) echo "ok $((++n)) $c # $(tail -1 "$top/log")" ;;
		*)
			sed 's/^/# /' "$top/log"
			echo "not ok $((++n)) $c"
			failed=1
			;;
		esac
		rm -rf "$DIR" "$top/log"
	done
	rm -rf "$top"
	exit $failed
}
