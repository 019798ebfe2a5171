# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2015,SC2034,SC2154
#
# The kernel command line: docs/boot.md, "Parameters".

default_parameters() {
    root='' rootfstype='' rootoptions=noatime,nodiratime rootflags=''
    rootwait=no rootdelay=0
    rootrw='' rootrwfstype='' rootrwoptions=rw,noatime,mode=755 rootrwreset=no
    rootrwfallback=tmpfs rootrwtries=3 rootrwstale=warn rootrwwait=10
    rootshell=no panic=''
    init=/sbin/init rootinit=/sbin/init
}

# lower TEXT: sets $lowered. Only the letters, since tr would be a process.
lower() {
    lowered=$1
    for lower_pair in Aa Bb Cc Dd Ee Ff Gg Hh Ii Jj Kk Ll Mm Nn Oo Pp Qq Rr Ss Tt Uu Vv Ww Xx Yy Zz; do
        lower_to=${lower_pair#?} lower_from=${lower_pair%?}
        while :; do
            case $lowered in
                *"$lower_from"*) lowered=${lowered%%"$lower_from"*}$lower_to${lowered#*"$lower_from"} ;;
                *) break ;;
            esac
        done
    done
}

# number NAME VALUE DEFAULT: sets NAME to a plain decimal.
number() {
    number_value=$2
    while :; do # a leading zero would make it octal
        case $number_value in
            0?*) number_value=${number_value#0} ;;
            *) break ;;
        esac
    done
    case $number_value in
        '' | *[!0-9]* | ???????*)
            warn "$1=$2 is not a number: using $3"
            number_value=$3
            ;;
    esac
    eval "$1=\$number_value"
}

# choice NAME VALUE DEFAULT WORD...: sets NAME to one of the words.
choice() {
    choice_name=$1 choice_given=$2 choice_default=$3
    shift 3
    lower "$choice_given"
    for choice_word; do
        if [ "$lowered" = "$choice_word" ]; then
            eval "$choice_name=\$choice_word"
            return
        fi
    done
    warn "$choice_name=$choice_given is none of $*: using $choice_default"
    eval "$choice_name=\$choice_default"
}

# yes_no NAME VALUE: sets NAME to yes or no.
yes_no() {
    lower "$2"
    case $lowered in
        yes | 1 | true | on) eval "$1=yes" ;;
        no | 0 | false | off | '') eval "$1=no" ;;
        *)
            warn "$1=$2 is neither yes nor no: taken as no"
            eval "$1=no"
            ;;
    esac
}

set_parameter() { # NAME VALUE
    case $1 in
        root | rootfstype | rootoptions | rootflags | rootrw | rootrwfstype | rootrwoptions | panic)
            eval "$1=\$2"
            ;;
        init | rootinit) eval "$1=\${2:-/sbin/init}" ;;
        rootrwreset)
            lower "$2"
            if [ "$lowered" = mkfs ]; then rootrwreset=mkfs; else yes_no "$1" "$2"; fi
            ;;
        rootshell) yes_no "$1" "$2" ;;
        rootdelay) number "$1" "$2" 0 ;;
        rootrwwait) number "$1" "$2" 10 ;;
        rootrwtries) number "$1" "$2" 3 ;;
        rootwait) if [ -n "$2" ]; then number "$1" "$2" 10; else rootwait=yes; fi ;;
        rootrwfallback) choice "$1" "$2" tmpfs tmpfs reboot halt shell ;;
        rootrwstale) choice "$1" "$2" warn keep warn tmpfs reset ;;
    esac
}

# next_word: takes the first word of $rest into $word, quotes as the kernel takes
# them: a space between two of them does not end the word.
next_word() {
    rest=${rest#"${rest%%[! 	]*}"}
    word=${rest%%[ 	]*}
    while :; do
        next_word_quotes=$word next_word_open=no
        while :; do
            case $next_word_quotes in
                *\"*\"*) next_word_quotes=${next_word_quotes#*\"*\"} ;;
                *\"*) next_word_open=yes; break ;;
                *) break ;;
            esac
        done
        next_word_tail=${rest#"$word"}
        [ "$next_word_open" = yes ] && [ -n "$next_word_tail" ] || break
        # Up to the closing quote and what hangs on it.
        case $next_word_tail in
            *\"*)
                word=$word${next_word_tail%%\"*}\"
                next_word_tail=${rest#"$word"}
                word=$word${next_word_tail%%[ 	]*}
                ;;
            *) word=$rest ;;
        esac
    done
    rest=${rest#"$word"}
}

# unquote TEXT: sets $unquoted; a leading quote goes, and a trailing one with it.
unquote() {
    unquoted=$1
    case $unquoted in
        \"*)
            unquoted=${unquoted#\"}
            unquoted=${unquoted%\"}
            ;;
    esac
}

parse_cmdline() { # TEXT
    default_parameters
    rest=$1
    while next_word && [ -n "$word" ]; do
        case $word in
            --) break ;; # the rest is for init
            \"*)
                unquote "$word"
                word=$unquoted
                ;;
        esac
        case $word in
            *=*)
                unquote "${word#*=}"
                set_parameter "${word%%=*}" "$unquoted"
                ;;
            rootwait) set_parameter rootwait '' ;;
        esac
    done
}

read_cmdline() {
    cmdline=
    # A boot loader may hand over line breaks, which the kernel takes as blanks.
    while read -r cmdline_part || [ -n "$cmdline_part" ]; do
        cmdline="$cmdline $cmdline_part"
    done </proc/cmdline
    [ -n "$cmdline" ] || warn "/proc/cmdline is empty"
    parse_cmdline "$cmdline"
    # Without an initramfs init= names this script.
    [ "$mode" = initramfs ] || init=$rootinit
}
