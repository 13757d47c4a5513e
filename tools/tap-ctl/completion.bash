# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# Completion of tap-ctl for bash. The options are what `tap-ctl COMMAND --help` lists.

# _tap_ctl_help SED-SCRIPT [COMMAND...]: a part of the help
_tap_ctl_help() {
	local script=$1
	shift

	tap-ctl "$@" --help 2>/dev/null | sed -n "$script"
}

# _tap_ctl_field NAME: what tap-ctl list has for it
_tap_ctl_field() {
	tap-ctl list 2>/dev/null | cat | sed -n "s/\(.* \)\{0,1\}$1=\([^ ]*\).*/\2/p" | sort -u
}

# _tap_ctl_paths PATH: paths that continue it
_tap_ctl_paths() {
	local path

	compopt -o nospace
	while IFS= read -r path; do
		[ ! -d "$path" ] || path+=/
		COMPREPLY+=("$path")
	done < <(compgen -f -- "$1")
}

# _tap_ctl_image WORD: readline itself may take a colon for the start of a new word,
# and then wants to know what follows it only.
_tap_ctl_image() {
	compopt -o nospace
	case $1 in
	*:*) _tap_ctl_paths "${1#*:}"
	     [[ $COMP_WORDBREAKS == *:* ]] || COMPREPLY=("${COMPREPLY[@]/#/${1%%:*}:}") ;;
	*) mapfile -t COMPREPLY < <(compgen -W 'vhd: aio:' -- "$1") ;;
	esac
}

# _tap_ctl_value COMMAND OPTION WORD: false where the option takes no value
_tap_ctl_value() {
	local words=

	case $1:$2 in
	list:-f | list:--file | *:-d | *:--device) _tap_ctl_paths "$3" ;;
	*:-a | *:--image) _tap_ctl_image "$3" ;;
	*:-p | *:--pid | *:--tapdisk) words=$(_tap_ctl_field pid) ;;
	*:-m | *:--minor) words=$(_tap_ctl_field minor) ;;
	*:--mode) words='layout ring' ;;
	*:--on-timeout) words='wait fail' ;;
	*:--request-timeout) ;;
	list:-t | list:--type) words='vhd aio' ;;
	*:-t | *:--timeout | *:-s | *:--size | *:-n | *:--name) ;;
	*) return 1 ;;
	esac
	[ -z "$words" ] || mapfile -t COMPREPLY < <(compgen -W "$words" -- "$3")
}

_tap_ctl() {
	local words word list

	# Ours, not COMP_WORDS: an image is one word.
	read -r -a words <<<"${COMP_LINE:0:COMP_POINT}"
	[[ ${COMP_LINE:0:COMP_POINT} != *[[:space:]] ]] || words+=('')
	word=${words[-1]}
	words=("${words[@]:1:${#words[@]}-2}")
	COMPREPLY=()
	case ${words[*]} in
	'') list="$(_tap_ctl_help '/^Commands:/,/^$/s/^  \([a-z]*\).*/\1/p') --help --version" ;;
	pool) list='get set' ;;
	pool\ *) words=("${words[*]:0:2}" "${words[@]:2}") ;;
	esac
	if [ -z "${list:-}" ]; then
		! _tap_ctl_value "${words[0]}" "${words[-1]}" "$word" || return
		# shellcheck disable=SC2086,SC2016 # one word or two
		list=$(_tap_ctl_help '/^Options:/,$s/.*\(--[a-z-]*\).*/\1/p' ${words[0]})
	fi
	mapfile -t COMPREPLY < <(compgen -W "$list" -- "$word" | sort -u)
}

complete -F _tap_ctl tap-ctl
