# shellcheck shell=sh
# What reads files and says what they are, for every verb but `list`.

# Runs a program for at most so many seconds, where that can be said.
bounded() {
    [ -n "$limit" ] || shift
    ${limit:+timeout} "$@"
}

# Runs a tool over names, one a line, as its last arguments; in several runs where they are too many for one.
over() {
    all=$1
    shift
    if [ "${#all}" -gt 30000 ]; then
        printf "%s\n" "$all" | tr "\n" "\0" | xargs -0 "$@"
    elif [ -n "$all" ]; then
        # shellcheck disable=SC2086
        "$@" $all
    fi
}

# What stat says of these files.
stats() {
    wanted=$1
    shift
    over "$wanted" stat "$@" 2>/dev/null
}

# What dd can: open without waiting, or at least count in bytes. Asked once, and not by who only lists.
ranges() {
    for flags in nonblock,skip_bytes,count_bytes skip_bytes,count_bytes ""; do
        [ -n "$flags" ] && dd if=/dev/null "iflag=$flags" count=0 2>/dev/null && return 0
    done
    return 0
}

# Bytes of a file that may not be one any more: from an offset, so many, or all for none. The last line of what it says by stderr tells
# how many they were, where dd does it.
piece() {
    case $flags in
        nonblock*) $alone dd if="$3" "iflag=$flags" skip="$1" ${2:+"count=$2"} bs=1048576 ;;
        *)
            [ -f "$3" ] || return 1
            if [ -n "$flags" ]; then
                bounded 3600 dd if="$3" "iflag=$flags" skip="$1" ${2:+"count=$2"} bs=1048576
            elif [ -z "$2" ]; then
                bounded 3600 cat "$3"
            elif [ "$1" = 0 ]; then
                bounded 3600 head -c "$2" "$3"
            else
                bounded 3600 tail -c "+$(($1 + 1))" "$3" | head -c "$2"
            fi
            ;;
    esac
}
