# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # common.sh: rfs state directory. The caller assigns: action request
#
# Requests a reset by a file that says $request, or withdraws it: action=cancel.
[ -d "$rfs/quarantine/state" ] && state=$rfs/quarantine/state
command -v overlay-reset >/dev/null || fail "the base has no overlay-reset: is it made by this collection?"
if [ "$action" = cancel ]; then
	if [ -e "$state/reset" ]; then
		overlay-reset --directory "$directory" --cancel >/dev/null || exit 1
		printf '@changed\n'
	fi
elif [ ! -e "$state/reset" ] || [ "$(cat "$state/reset"; echo .)" != "$request." ]; then
	set --
	while IFS= read -r line; do
		case $line in
		keep=*) set -- "$@" --keep "${line#keep=}" ;;
		mkfs=yes) set -- "$@" --mkfs ;;
		esac
	done <<END
$request
END
	overlay-reset --directory "$directory" "$@" >/dev/null || exit 1
	printf '@changed\n'
fi
