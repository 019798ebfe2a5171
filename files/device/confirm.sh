# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # common.sh: rfs. The caller assigns: option
#
# Prints what the status says before and after overlay-confirm, if that is to be run: option is
# one of its options, empty for a plain confirmation, or `look` to change nothing.
command -v overlay-confirm >/dev/null || fail "the base has no overlay-confirm: is it made by this collection?"
printf '@before\n'
cat "$rfs/status"
if [ "$option" != look ]; then
	# shellcheck disable=SC2086 # Empty is no option.
	overlay-confirm $option >/dev/null || exit
	printf '@after\n'
	cat "$rfs/status"
fi
