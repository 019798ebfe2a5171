# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# An ELF program's loader and libraries: looked at when they may not be the base's own.

loader_is_there() {
    resolve "$loader" || return
    line=
    [ ! -f "$newroot$resolved" ] || [ ! -x "$newroot$resolved" ] ||
        first_line "$newroot$resolved"
    case $line in
        ?ELF*) ;;
        *)
            cause="its loader $loader is missing or broken"
            return 1
            ;;
    esac
}

# libraries_load: only a layer with libraries of its own can spoil them; then the loader
# itself is asked. One that does not know --list refuses the base, too.
libraries_load() {
    for runs_directory in lib lib64 lib32 usr/lib usr/lib64 usr/lib32; do
        [ ! -d "$upper/$runs_directory" ] || break
        runs_directory=
    done
    [ -n "$runs_directory" ] || return 0
    chroot "$newroot" "$loader" --list "$runs_program" >/dev/null 2>"$rfs/.error" ||
        ! chroot "$rfs/ro" "$loader" --list "$runs_program" >/dev/null 2>&1 || {
        first_error "$rfs/.error"
        return 1
    }
}

# read_loader FILE: sets $loader to the ELF program interpreter, empty if static. The
# first kilobyte nearly always holds all that is asked for.
read_loader() {
    loader='' elf_file=$1
    elf_words 0 1024
    elf_start=$elf
    # shellcheck disable=SC2086
    set -- $elf
    [ $# -ge 16 ] || {
        cause="$resolved is cut short"
        return 1
    }
    # Magic number, then byte order and class. In a big-endian pair the low word is second.
    case $1,$2 in
        464c457f,????0102) elf_big=0 elf_size=14 elf_count=$((0x${15} & 65535)) ;;
        464c457f,????0101) elf_big=0 elf_size=8 elf_count=$((0x${12} & 65535)) ;;
        7f454c46,0202????) elf_big=1 elf_size=14 elf_count=$((0x${15} >> 16)) ;;
        7f454c46,0102????) elf_big=1 elf_size=8 elf_count=$((0x${12} >> 16)) ;;
        *)
            cause="$resolved is for another machine"
            return 1
            ;;
    esac
    if [ $elf_size = 8 ]; then
        elf_headers=$((0x$8))
    elif [ $elf_big = 0 ]; then
        elf_headers=$((0x$9))
    else
        elf_headers=$((0x${10}))
    fi
    if [ $((elf_headers + elf_count * elf_size * 4)) -le $(($# * 4)) ]; then
        shift $((elf_headers / 4))
    else
        elf_words "$elf_headers" $((elf_count * elf_size * 4))
        # shellcheck disable=SC2086
        set -- $elf
    fi
    while [ "$elf_count" -gt 0 ] && [ $# -ge $elf_size ]; do
        if [ "$1" = 00000003 ]; then # PT_INTERP
            elf_interpreter "$@"
            return
        fi
        shift $elf_size
        elf_count=$((elf_count - 1))
    done
}

# elf_words OFFSET COUNT: sets $elf to numbers of four bytes in this machine's order,
# which is the program's as well, if it can run.
elf_words() {
    elf=$(od -An -v -tx4 -j "$1" -N "$2" "$elf_file" 2>/dev/null)
}

# elf_interpreter WORD...: sets $loader to what the segment of this header holds.
elf_interpreter() {
    if [ "$elf_size" = 14 ]; then
        shift "$elf_big"
        elf_offset=$((0x$3)) elf_length=$((0x$9))
    else
        elf_offset=$((0x$2)) elf_length=$((0x$5))
    fi
    elf_skip=$((elf_offset % 4))
    # shellcheck disable=SC2086
    set -- $elf_start
    if [ $((elf_offset + elf_length)) -le $(($# * 4)) ]; then
        shift $((elf_offset / 4))
    else
        elf_words $((elf_offset - elf_skip)) $((elf_length + elf_skip))
        # shellcheck disable=SC2086
        set -- $elf
    fi
    # From numbers to characters without a process: through a file.
    elf_text=
    for elf_word; do
        for elf_shift in 0 8 16 24; do
            [ "$elf_big" = 0 ] || elf_shift=$((24 - elf_shift))
            elf_byte=$((0x$elf_word >> elf_shift & 255))
            if [ "$elf_skip" -gt 0 ]; then
                elf_skip=$((elf_skip - 1))
                continue
            fi
            [ $elf_byte != 0 ] || break 2
            elf_text=$elf_text\\$((elf_byte / 64))$((elf_byte / 8 % 8))$((elf_byte % 8))
        done
    done
    # shellcheck disable=SC2059
    printf "$elf_text\n" >"$rfs/.loader"
    read -r loader <"$rfs/.loader"
}
