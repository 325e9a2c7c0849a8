# shellcheck shell=sh
# The far side of one visit: what every verb needs. Behind it go list.sh, bytes.sh, read.sh, prepare.sh, install.sh, forget.sh and
# end.sh. Together they travel as the one argument of `exec sh -c`, hence: no apostrophe and no two backslashes in a row anywhere in
# these files, and no exclamation mark but before a space or an equals sign. Names, numbers and bytes come by stdin.
#
#   in:   VERB NONCE / the claude directory / the body / an empty line, and behind that the archive of a put; by stdin, but for a
#         listing of nothing in particular that comes first, as one more argument
#   out:  css1 NONCE / items: KIND LENGTH and exactly that many bytes / end NONCE
#
# Behind an answer, the next request is waited for.
#
# Promises: hash and get make no mutating system call, and list none below projects/: where an earlier put made a place of ours,
# it notes there who visits, and nothing else. Put leaves nothing but <claude>/.claude-session-sync/, and never replaces what is
# not, by inode, size and times, what its token says. What may have become a pipe since it was looked at is opened so that nothing
# waits for it, or for so long. Here-documents are not used (some shells write a file).
set -uf
LC_ALL=C
export LC_ALL
umask 077
unset CDPATH GREP_OPTIONS TAR_OPTIONS flags
nl="
"
tab="	"
alone=""
# Lines are what is split throughout; fields only where IFS is set to a space for one command.
IFS=$nl

item() {
    printf "%s %s\n%s" "$1" "${#2}" "$2"
}

finish() {
    printf "end %s\n" "$nonce"
    exit 0
}

fail() {
    item fail "$1"
    finish
}

# Which tools are these.
which_tools() {
    case $(stat -c "%i %.9Y" / 2>/dev/null) in
        [0-9]*" "*[0-9].[0-9]*) tools=gnu ;;
        [0-9]*) tools=busybox ;;
        *) tools=bsd ;;
    esac
}

# How their stat is asked.
formats() {
    case $tools in
        gnu) modified=%.9Y changed=%.9Z ;;
        busybox) modified=%Y changed=%Z ;;
        *) modified=%Fm changed=%Fc ;;
    esac
    case $tools in
        gnu | busybox) stat_flag=-c inode=%i size=%s name=%n device=%d links=%h ;;
        *) stat_flag=-f inode=%i size=%z name=%N device=%d links=%l ;;
    esac
}

nearest() {
    near=$claude
    until [ -d "$near" ]; do
        near=${near%/*}
        [ -n "$near" ] || near=/
    done
}

# The id of this store, if it has one, becomes `replica`.
replica_id() {
    replica=
    { [ ! -f "$own/replica-id" ] || IFS= read -r replica <"$own/replica-id"; } 2>/dev/null
    case $replica in
        ????????-????-????-????-????????????) ;;
        *) replica= ;;
    esac
}

# Whether a process has this pid and is no zombie. `began` becomes its start time, where /proc tells.
alive() {
    began=
    if [ -r /proc/self/stat ]; then
        { IFS= read -r process <"/proc/$1/stat"; } 2>/dev/null || return 1
        IFS=" "
        # shellcheck disable=SC2086
        set -- ${process##*) }
        IFS=$nl
        case ${1:-} in
            Z | X) return 1 ;;
        esac
        began=${20:-}
    else
        ps -o lstart= -p "$1" >/dev/null 2>&1
    fi
}

# Whether there is anything of such a name in a directory.
holds() {
    set +f
    for held in "$1"/$2; do
        set -f
        [ -e "$held" ] || [ -L "$held" ]
        return
    done
}

# The text of a small file, without a process.
slurp() {
    text=
    while IFS= read -r slurped || [ -n "$slurped" ]; do
        text=$text$slurped$nl
    done 2>/dev/null <"$1"
}

# A registry entry as `<session> <updatedAt> <status>`, if its process lives. Overwritten in place by the client, so a torn one
# is read once more; one that stays torn counts by its pid alone. Fails where such a one is young and does not say whose it is.
entry() {
    pid=${1##*/}
    pid=${pid%.json}
    case $pid in
        *.*) return 0 ;;
    esac
    alive "$pid" || return 0
    slurp "$1"
    case $text in
        *"}$nl") ;;
        *) slurp "$1" ;;
    esac
    session="" recorded="" updated=0 status=-
    for field in $(printf "%s" "$text" | sed -n "
h
s/.*\"sessionId\"[[:space:]]*:[[:space:]]*\"\([0-9a-f-]\{36\}\)\".*/i\1/p
g
s/.*\"procStart\"[[:space:]]*:[[:space:]]*\"\{0,1\}\([0-9]\{1,20\}\).*/p\1/p
g
s/.*\"updatedAt\"[[:space:]]*:[[:space:]]*\"\{0,1\}\([0-9]\{1,18\}\).*/u\1/p
g
s/.*\"status\"[[:space:]]*:[[:space:]]*\"\([A-Za-z_-]\{1,32\}\)\".*/s\1/p"); do
        case $field in
            i*) session=${field#i} ;;
            p*) recorded=${field#p} ;;
            u*) updated=${field#u} ;;
            s*) status=${field#s} ;;
        esac
    done
    case $text in
        *"}$nl") ;;
        *) recorded= ;;
    esac
    if [ -z "$session" ]; then
        case $text in
            *"}$nl") return 0 ;;
        esac
        [ -z "$(find "$1" -mmin -3 2>/dev/null)" ]
        return
    fi
    if [ -n "$recorded" ] && [ -n "$began" ] && [ "$recorded" != "$began" ]; then
        return 0
    fi
    printf "%s %s %s\n" "$session" "$updated" "$status"
}

# Who visits leaves an empty file of its name, so that the others can count the machines that may keep this one awake. Made only
# where a put has been: a listing alone leaves no directory behind. Without it the rule merely counts one machine less.
note_agent() {
    [ -n "$1" ] && [ -d "$own" ] && [ ! -L "$own" ] && [ ! -L "$own/agents" ] && [ ! -L "$own/agents/$1" ] || return 0
    { [ -d "$own/agents" ] || mkdir "$own/agents"; } 2>/dev/null && touch "$own/agents/$1" 2>/dev/null
}

# What is not in the form of a note was not written by a put.
list_pushed() {
    [ -f "$own/pushed" ] && [ ! -L "$own/pushed" ] || return 0
    tail -n 2000 "$own/pushed" 2>/dev/null | sed -n "/ 0[0-9]/d
/^[1-9][0-9]\{0,18\} [0-9]\{1,19\} [0-9]\{1,18\}\(\.[0-9]\{1,9\}\)\{0,1\}\$/p"
}
