# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # view.sh: view
#
# Deletes the NUL-terminated names on standard input from the merged tree.
cd "$view" || exit
xargs -0 -r rm -rf -- || fail "cannot delete what the backup deletes"
printf '@END\n'
