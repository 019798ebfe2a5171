# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # view.sh: view
#
# Unpacks the tar archive on standard input into the merged tree.
[ "$(id -u)" = 0 ] || fail "restoring needs root on the device"
cd "$view" || exit
tar -x -f - || fail "cannot unpack the backup: is the layer full?"
sync
printf '@END\n'
