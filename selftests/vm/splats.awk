# SPDX-License-Identifier: GPL-2.0-only
#
# From a kernel log, the reports after the line that contains `mark`: each from
# its first line up to 40 lines on, after the last line that named a case.

# The kernel's own, and known: UML flushes its TLB outside RCU; a checker without memory
# switches itself off.
function known(report) {
	return report ~ /^[^\n]*suspicious RCU usage/ && report ~ /force_flush_all/ ||
		report ~ /^[^\n]*ODEBUG: Out of memory/
}

function flush() {
	if (report != "" && !known(report))
		print place report
	report = ""
}

BEGIN {
	start = "WARNING|(^|[^A-Z_])BUG|Oops|KASAN|UBSAN|ODEBUG|[Kk]ernel panic|" \
		"possible (circular|recursive|irq lock|deadlock|unsafe)|" \
		"inconsistent lock|suspicious RCU|sleeping function|" \
		"blocked for more than|hung_task|soft lockup|hard LOCKUP|rcu.*detected.*stall|" \
		"general protection|page fault for address|unreferenced object|" \
		"refcount_t|scheduling while atomic|workqueue lockup"
}

!seen {
	seen = index($0, mark)
	next
}

/blktap selftest / {
	flush()
	left = 0
	place = $0 "\n"
	next
}

$0 ~ start || (left == 0 && /Call Trace/) {
	flush()
	left = 40
}

left > 0 {
	report = report (report == "" ? "" : "\n") $0
	left--
}

END { flush() }
