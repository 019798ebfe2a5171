# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2154 # view.sh: lower upper view. The caller assigns: scope mount_points
#
# Prints what the controller needs to tell the user's layer from the base:
#   @N names in the merged tree    @O names in upper    @U and @L records of upper (@W: merged) and lower
#   @H checksums of regular files in both    @D what `ls` cannot show or checksums would take long for
#   @X extended attributes, where there is a getfattr
# Names are NUL-terminated; `ls` prints one line per name, sorted. BusyBox applets of a stock
# Buildroot suffice: there is no stat, no find -printf, no getfattr to count on.
QUOTING_STYLE=escape # What else GNU ls would print raw.
export QUOTING_STYLE mount_points
# By its path: a BusyBox shell may take its own applet for it.
if /usr/bin/getfattr --version >/dev/null 2>&1; then
	getfattr='/usr/bin/getfattr -h -d -m - -e hex --absolute-names'
	printf '@G gnu\n'
elif command -v getfattr >/dev/null; then
	getfattr='getfattr -h -d'
	printf '@G busybox\n'
else
	getfattr=
fi
export getfattr

# Run by xargs on batches of names.
# shellcheck disable=SC2016
records='t=$1; shift; printf "@%s %d\n" "$t" $#; printf "%s\0" "$@"; ls -linsd --full-time -- "$@" 2>/dev/null; :'
# shellcheck disable=SC2016
directories='for f do if [ -d "$f" ] && [ ! -L "$f" ]; then printf "%s\0" "$f"; fi; done'
# A name that neither layer has under it came with a directory that was renamed.
# shellcheck disable=SC2016
listed='printf "%s\0" "$@" >&3
for f do
	for t in "$lower" "$upper"; do if [ -e "$t/$f" ] || [ -L "$t/$f" ]; then continue 2; fi; done
	case " $mount_points " in *" $f "*) ;; *) echo "$f" ;; esac
done'
# shellcheck disable=SC2016
common='for f do
	if [ -f "$f" ] && [ ! -L "$f" ] && [ -f "$lower/$f" ] && [ ! -L "$lower/$f" ]; then printf "%s\0" "$f"; fi
done'
# shellcheck disable=SC2016
checksums='printf "@H %d\n" $#; printf "%s\0" "$@"
for t in "$lower" "$view"; do cd "$t" && sha256sum -- "$@" 2>/dev/null; printf "\0"; done; printf "\n"'
# Files of one size, of which the first difference ends the reading.
# shellcheck disable=SC2016
contents='size() { ls -lnd -- "$1" | { read -r _ _ _ _ bytes _; echo "$bytes"; }; }
for f do
	[ "$(size "$f")" = "$(size "$lower/$f")" ] || continue
	printf "@D %d\n%s\0" 1 "$f"
	if cmp -s -- "$lower/$f" "$f"; then printf "same\0same\0\n"; else printf "\0differs\0\n"; fi
done'
# Both targets of symbolic links, unless `ls` shows all of the batch as they are.
# shellcheck disable=SC2016
targets='case $(ls -nd -- "$@" 2>/dev/null) in
*["?\\"]* | *[!" -~
"]*)
	printf "@D %d\n" $#
	for f do
		printf "%s\0" "$f"; readlink -n -- "$lower/$f" 2>/dev/null
		printf "\0"; readlink -n -- "$f"; printf "\0"
	done
	printf "\n" ;;
esac'
# shellcheck disable=SC2016
attributes='t=$1; shift; printf "@X %s %d\n" "$t" $#; printf "%s\0" "$@"; $getfattr -- "$@" 2>/dev/null; printf "\0\n"'

# Where to look: at what the upper layer holds; at everything where the kernel renamed directories
# by redirect_dir, so that the layer alone does not say where.
tree=$upper
all() { cd "$tree" && find . -xdev "$@" -print0; }
children() { xargs -0 -r sh -c 'find "$@" -xdev -maxdepth 1 -print0' sh; }
redirects() {
	[ -z "$getfattr" ] || all -type d | (cd "$upper" && xargs -0 -r "${getfattr%% *}" -h -n trusted.overlay.redirect -- 2>/dev/null) |
		sed -n '/^trusted/p' # BusyBox's names each directory.
}
if [ "$scope" = upper ]; then
	printf '@N\n'
	exec 3>&1
	moved=$(all -type d | (cd "$view" && children) | xargs -0 -r sh -c "$listed" sh; redirects)
	exec 3>&-
	printf '\0\n'
	[ -z "$moved" ] || scope=all
fi
if [ "$scope" = all ]; then
	tree=$view
	printf '@W\n@O\n'
	(cd "$upper" && find . -xdev -print0)
	printf '\0\n'
fi

all | (cd "$tree" && xargs -0 -r sh -c "$records" sh U)
all -type d | (cd "$lower" && xargs -0 -r sh -c "$directories" sh | children | xargs -0 -r sh -c "$records" sh L)
# 64 MiB and more are read only when the size says that the file might be unchanged.
all -type f -size -131073 | (cd "$tree" && xargs -0 -r sh -c "$common" sh | xargs -0 -r sh -c "$checksums" sh)
all -type f -size +131072 | (cd "$tree" && xargs -0 -r sh -c "$common" sh | xargs -0 -r sh -c "$contents" sh)
all -type l | (cd "$tree" && xargs -0 -r -n 64 sh -c "$targets" sh)

if [ -n "$getfattr" ]; then
	(cd "$upper" && find . -xdev -print0 | xargs -0 -r sh -c "$attributes" sh U)
	all | (cd "$lower" && xargs -0 -r sh -c "$attributes" sh L)
	[ "$scope" = upper ] || all | (cd "$view" && xargs -0 -r sh -c "$attributes" sh M)
fi
