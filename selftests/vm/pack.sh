# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the makers of archives for VMs share.

# words FILE: its words without the comments
words() { sed 's/^#.*//' "$1" | tr -s ' \t' '\n' | grep .; }

pack() { # DIRECTORY OUT.cpio
	(cd "$1" && find . -mindepth 1 | sort | cpio --quiet -o -H newc -R 0:0) >"$2.new"
	mv "$2.new" "$2"
}

copy() { # FILE DIRECTORY: the file under its own name, links followed
	[ -e "$2$1" ] || { mkdir -p "$2${1%/*}" && cp -L "$1" "$2$1"; }
}

library_paths() { # from what ldd says
	sed -nE 's/^\t([^ ]+ => )?(\/[^ ]+) .*/\2/p' | sort -u
}

library_of() { # PROGRAM NAME...: the paths of those of its libraries
	local program=$1
	shift

	ldd "$program" | library_paths | grep -F "$(printf '/%s\n' "$@")"
}

# module_files ROOT VERSION NAME...: those modules and what they depend on, in the
# order to load them; built-in and absent ones are left out.
module_files() {
	local root=$1 version=$2 name
	shift 2

	[ -e "$root/lib/modules/$version/modules.dep" ] || depmod -b "$root" "$version"
	for name; do
		modprobe -d "$root" -S "$version" --show-depends "$name" 2>/dev/null |
			sed -n 's/^insmod \([^ ]*\).*/\1/p'
	done | awk '!seen[$0]++'
}
