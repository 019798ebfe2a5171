# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # view.sh: view
#
# Archives the NUL-terminated names on standard input as they are in the merged tree. As many
# names as one command line holds make one archive, so that hard links stay hard links.
[ "$(id -u)" = 0 ] || fail "archiving needs root on the device"
cd "$view" || exit
xargs -0 -r -s 1000000 tar -c -f - --no-recursion -- || fail "cannot archive the changes"
printf '@END\n'
