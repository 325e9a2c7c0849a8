# shellcheck shell=sh
# The far side of one visit. It travels as the one argument of `exec sh -c`, hence: no apostrophe and no two backslashes in a
# row anywhere in this file, and no exclamation mark but before a space or an equals sign. It is one file because it is one argument.
# Names, numbers and bytes come by stdin.
#
#   in:   VERB NONCE / the claude directory / the body up to its end; by stdin, but for a listing of nothing in particular, which comes
#         as one more argument
#   out:  css1 NONCE / items: KIND LENGTH and exactly that many bytes / end NONCE
#
# Promises: hash and get make no mutating system call, and list none below projects/: where an earlier put made a place of ours,
# it notes there who visits, and nothing else. Put leaves nothing but <claude>/.claude-session-sync/, and never replaces what is
# not, by inode, size and times, what its token says. What may have become a pipe since it was looked at is opened so that nothing
# waits for it, or for so long. Here-documents are not used (some shells write a file).
set -uf
LC_ALL=C
export LC_ALL
umask 077
unset CDPATH
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

# Finds out whether a program can be told for how long to run: there may be no such tool, or an old one. How the request came may
# have shown it.
patience() {
    [ -n "$limit" ] || [ -z "$unasked" ] || ! timeout 9 true 2>/dev/null || limit=yes
    unasked=
}

# Runs a program for at most so many seconds, where that can be said.
bounded() {
    [ -n "$limit" ] || shift
    ${limit:+timeout} "$@"
}

# Which tools are these: GNU, busybox or BSD.
tools() {
    case $(stat -c "%i %.9Y" / 2>/dev/null) in
        [0-9]*" "*[0-9].[0-9]*) set -- %.9Y %.9Z ;;
        [0-9]*) set -- %Y %Z ;;
        *) set -- ;;
    esac
    if [ "$#" = 2 ]; then
        stat_flag=-c modified=$1 changed=$2
        inode=%i size=%s name=%n device=%d links=%h
    else
        stat_flag=-f
        inode=%i size=%z modified=%Fm changed=%Fc name=%N device=%d links=%l
    fi
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

# The digests of files of ours.
digests() {
    if command -v sha256sum >/dev/null 2>&1; then over "$1" sha256sum 2>/dev/null; else over "$1" shasum -a 256 2>/dev/null; fi
}

# The same of files of the store, in their order. One that cannot be opened keeps all of them waiting, but not for long: then each is
# read alone.
digests_of_store() {
    if command -v sha256sum >/dev/null 2>&1; then
        hashed=$(over "$1" ${limit:+timeout} ${limit:+20} sha256sum 2>/dev/null)
    else
        hashed=$(over "$1" shasum -a 256 2>/dev/null)
    fi && printf "%s\n" "$hashed" && return 0
    ranges
    for path in $1; do
        case $nl$hashed$nl in
            *"  $path$nl"*)
                sum=$nl$hashed$nl
                sum=${sum%%"  $path$nl"*}
                printf "%s  %s\n" "${sum##*"$nl"}" "$path"
                ;;
            *)
                sum=$([ ! -f "$path" ] || piece 0 "" "$path" 2>/dev/null | digest)
                [ -z "$sum" ] || printf "%s  %s\n" "${sum%% *}" "$path"
                ;;
        esac
    done
}

digest() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi
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

# What stat says of these files.
stats() {
    wanted=$1
    shift
    over "$wanted" stat "$@" 2>/dev/null
}

nearest() {
    near=$claude
    until [ -d "$near" ]; do
        near=${near%/*}
        [ -n "$near" ] || near=/
    done
}

# What stands before the share in use, in the last line. The name of the device may hold blanks, and so may the way to it.
free_kib() {
    nearest
    disk=$(df -Pk "$near" 2>/dev/null) || return 0
    IFS=" "
    # shellcheck disable=SC2086
    set -- ${disk##*"$nl"}
    IFS=$nl
    while [ "$#" -gt 2 ]; do
        case $2 in
            [0-9]*% | -)
                if [ "$1" -ge 0 ] 2>/dev/null; then printf "%s" "$1" && return 0; fi
                ;;
        esac
        shift
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

# The text of a small file, without a process.
slurp() {
    text=
    while IFS= read -r slurped || [ -n "$slurped" ]; do
        text=$text$slurped$nl
    done 2>/dev/null <"$1"
}

# A registry entry as `<session> <updatedAt> <status>`, if its process lives. Overwritten in place by the client, so a torn one
# is read once more; one that stays torn counts by its pid alone.
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
    [ -n "$session" ] || return 0
    case $text in
        *"}$nl") ;;
        *) recorded= ;;
    esac
    if [ -n "$recorded" ] && [ -n "$began" ] && [ "$recorded" != "$began" ]; then
        return 0
    fi
    printf "%s %s %s\n" "$session" "$updated" "$status"
}

registry() {
    set +f
    for registered in "$claude"/sessions/[0-9]*.json; do
        set -f
        [ -f "$registered" ] && entry "$registered"
    done
    set -f
}

# Whether a session is live, asked before its file is replaced: no process is started for an entry that does not name it.
live() {
    [ -d "$claude/sessions" ] || return 1
    { [ -r "$claude/sessions" ] && [ -x "$claude/sessions" ]; } || return 0
    set +f
    for registered in "$claude"/sessions/[0-9]*.json; do
        set -f
        [ -f "$registered" ] || continue
        slurp "$registered"
        case $text in
            *"$1"*"}$nl") ;;
            *"}$nl") continue ;;
        esac
        case $(entry "$registered") in
            "$1 "*) return 0 ;;
        esac
    done
    set -f
    return 1
}

# ---- list

find_claude() {
    case $claude in
        /*) return 0 ;;
    esac
    claude=$nl$(sh -lc "printf \"\ncss-directory=%s\n\" \"\${CLAUDE_CONFIG_DIR:-}\"" </dev/null 2>/dev/null)
    claude=${claude##*"${nl}css-directory="}
    claude=${claude%%"$nl"*}
    case $claude in
        /*) return 0 ;;
    esac
    set +f
    for process in /proc/[0-9]*; do
        command=
        { IFS= read -r command <"$process/comm"; } 2>/dev/null
        case $command in
            claude) ;;
            node | bun)
                case $(tr "\0" " " 2>/dev/null <"$process/cmdline") in
                    *claude*) ;;
                    *) continue ;;
                esac
                ;;
            *) continue ;;
        esac
        [ "$(stat "$stat_flag" %u "$process" 2>/dev/null)" = "$(id -u)" ] || continue
        claude=$(tr "\0" "\n" 2>/dev/null <"$process/environ" | sed -n "s/^CLAUDE_CONFIG_DIR=//p" | head -n 1)
        case $claude in
            /*) [ -d "$claude" ] && break ;;
        esac
        claude=
    done
    set -f
    [ -n "$claude" ] || claude=${HOME:-}/.claude
    [ "$claude" != /.claude ] || fail "no home directory"
}

# What lies there, one thing a line: a regular file that may be of a session, with its inode, size and times; what is no file and no
# directory; a working directory that a transcript names, behind the project; and who visits, with the time of the last visit.
#
# GNU tools tell all of it in one walk, which is whole if they end with 0. So that a grep that finds nothing does, it is given its own
# command line, too, where its pattern stands and fits itself.
walk_at_once() {
    [ "$modified" = %.9Y ] || return 1
    walked=$(cd "$claude" || exit 9
        find ${projected:+projects/.} ${visited:+.claude-session-sync/agents/.} \
        -name "*$nl*" -prune -printf "odd n ?\n" \
        -o -path "projects/./*/memory" ! -path "projects/./*/*/memory" -prune \
        -o -type f -path "projects/./*/*" -printf "%i %s %T@ %C@ %P\n" \
        -path "*.jsonl" ! -path "projects/./*/*/*" -exec grep --devices=skip -a -H -o -m 1 -E "$pattern" /proc/self/cmdline {} + \
        -o -type f -path ".claude-session-sync/agents/./$uuid" -printf "agent %T@ %P\n" \
        -o -type f -o -type d -o ! -path "projects/*" \
        -o -type l -printf "odd l %P\n" -o -type p -printf "odd p %P\n" -o -type s -printf "odd s %P\n" -o -printf "odd o %P\n" 2>/dev/null)
}

# The last line is the exit code of find: a walk that failed is not a walk.
walk() {
    cd "$projects" && find . -name "*$nl*" -prune -exec printf "odd n ?%.0s\n" {} + \
        -o "(" -path "./*/memory" ! -path "./*/*/memory" ")" -prune \
        -o -type f -path "./*/*" -exec stat "$stat_flag" "$inode $size $modified $changed $name" {} + \
        -o -type l -exec printf "odd l %s\n" {} + -o -type p -exec printf "odd p %s\n" {} + -o -type s -exec printf "odd s %s\n" {} + \
        -o ! -type f ! -type d -exec printf "odd o %s\n" {} +
    printf "walked %s\n" "$?"
}

# The same as at once, by any tools.
walk_in_turn() {
    patience
    walked=
    if [ -n "$projected" ]; then
        walked=$(walk | sed "s| \./| |")
        case $walked in
            *"walked 0") ;;
            *) walked=$(walk | sed "s| \./| |") ;;
        esac
        case $walked in
            *"walked 0") walked=${walked%walked 0}$(working_directories) ;;
            *) fail "cannot list $projects" ;;
        esac
        case $walked in
            *projects/./:waited:) fail "a transcript in $projects cannot be opened" ;;
        esac
    fi
    [ -z "$visited" ] || walked=${walked%"$nl"}${walked:+$nl}$(visitors)
    walked=${walked%"$nl"}
}

# Puts what was walked over and is no file into `odd`, `cwds`, `agents`, of which there are few. Of the working directories of a project
# the first twenty are taken, without what was just said: where there are many sessions, that is nearly all there is.
sift() {
    project="" cwd="" count=0 odds=0
    for line in $walked; do
        case $line in
            [0-9-]*) ;;
            "projects/./$project/"*":\"cwd\":$cwd") ;;
            projects/./*:\"cwd\":*)
                line=${line#projects/./}
                if [ "$project" != "${line%%/*}" ]; then
                    project=${line%%/*} cwd="" count=0
                fi
                line=${line#*:\"cwd\":}
                if [ "$cwd" != "$line" ] && [ "$count" -lt 20 ]; then
                    cwd=$line count=$((count + 1))
                    cwds="$cwds$project:\"cwd\":$cwd$nl"
                fi
                ;;
            "odd "*)
                odds=$((odds + 1))
                [ "$odds" -gt 200 ] || odd=$odd${line#odd }$nl
                ;;
            "agent "[1-9]*)
                line=${line#agent }
                agents="$agents${line%%[. ]*} ${line##* }$nl"
                ;;
        esac
    done
    # More than 64 of them, the newest of which are enough, are not shorter.
    if [ "${#agents}" -gt 2500 ]; then agents=$(printf "%s" "$agents" | sort -rn | head -n 64); fi
    odd=${odd%"$nl"} cwds=${cwds%"$nl"} agents=${agents%"$nl"}
}

working_directories() {
    if grep --devices=skip x /dev/null 2>/dev/null || [ "$?" = 1 ]; then
        set -- grep --devices=skip
    else
        # One that was killed has said nothing of the others.
        set -- sh -c "${limit:+timeout 45} grep \"\$@\"; [ \$? -lt 124 ] || printf \"%s\n\" projects/./:waited:" sh
    fi
    cd "$claude" && find projects/. -name "*$nl*" -prune -o -type d -path "projects/./*/*" -prune -o -type f -path "projects/./*/*.jsonl" \
        -exec "$@" -a -H -o -m 1 -E "$pattern" {} +
}

visitors() {
    cd "$own/agents" || return 0
    notes=$(list_named)
    # shellcheck disable=SC2086
    [ -z "$notes" ] || stat "$stat_flag" "agent $modified $name" $notes 2>/dev/null
}

# The remotes that a configuration of git names, origin first. No git is needed, nor any program.
remotes_in() {
    remote=
    while IFS=" $tab" read -r line || [ -n "$line" ]; do
        case $line in
            "[remote \""*"\"]"*)
                remote=${line#*\"}
                remote=${remote%%\"*}
                ;;
            "["*) remote= ;;
            url*)
                trim "${line#url}"
                case $trimmed in
                    =*) trim "${trimmed#=}" ;;
                    *) continue ;;
                esac
                case $remote in
                    "") ;;
                    origin) first=$first$at$tab$trimmed$nl ;;
                    *) others=$others$at$tab$trimmed$nl ;;
                esac
                ;;
        esac
    done <"$1"
}

# A text without the blanks around it.
trim() {
    trimmed=$1
    while :; do
        case $trimmed in
            [[:space:]]*) trimmed=${trimmed#?} ;;
            *[[:space:]]) trimmed=${trimmed%?} ;;
            *) return 0 ;;
        esac
    done
}

# The clone that a directory lies in, with its remotes; once.
root() {
    at=$1
    case $at in
        /*) ;;
        *) return 0 ;;
    esac
    [ -d "$at" ] || return 0
    until [ -e "$at/.git" ]; do
        at=${at%/*}
        [ -n "$at" ] || return 0
    done
    case "$nl$seen$nl" in
        *"$nl$at$nl"*) return 0 ;;
    esac
    seen=$seen$nl$at
    at=$(cd "$at" && pwd -P) || return 0
    case "$nl$resolved$nl" in
        *"$nl$at$nl"*) return 0 ;;
    esac
    resolved=$resolved$nl$at
    case $at in
        *"$nl"* | *"$tab"*) return 0 ;;
    esac
    git=$at/.git
    if [ -f "$git" ]; then
        IFS= read -r git <"$git"
        git=${git#gitdir: }
        case $git in
            /*) ;;
            *) git=$at/$git ;;
        esac
        git=${git%/worktrees/*}
    fi
    first="" others=""
    [ ! -f "$git/config" ] || remotes_in "$git/config" 2>/dev/null
    [ -n "$first$others" ] || first=$at$tab$nl
    for remote in $first$others; do
        remotes=$((remotes + 1))
        [ "$remotes" -gt 200 ] || printf "%s\n" "$remote"
    done
}

list_roots() {
    workspaces=/workspaces
    for line in $body; do
        case $line in
            "workspaces "*) workspaces=${line#* } ;;
        esac
    done
    seen="" resolved="" remotes=0
    set +f
    for line in "$workspaces"/*; do
        set -f
        [ -e "$line/.git" ] && root "$line"
    done
    set -f
    for line in $body; do
        case $line in
            "root "*) root "${line#* }" ;;
        esac
    done
    for line in $cwds; do
        line=${line#*:*:?}
        root "${line%?}"
    done
}

# The files here that have an id for their name: at most ten thousand.
list_named() {
    count=0
    set +f
    for note in $uuid; do
        set -f
        if [ "$count" -lt 10000 ] && [ -f "$note" ] && [ ! -L "$note" ]; then
            count=$((count + 1))
            printf "%s\n" "$note"
        fi
    done
    set -f
}

# Who visits leaves an empty file of its name, so that the others can count the machines that may keep this one awake. Made only
# where a put has been: a listing alone leaves no directory behind. Without it the rule merely counts one machine less.
note_agent() {
    [ -n "$1" ] && [ -d "$own" ] && [ ! -L "$own" ] && [ ! -L "$own/agents" ] && [ ! -L "$own/agents/$1" ] || return 0
    { [ -d "$own/agents" ] || mkdir "$own/agents"; } 2>/dev/null && touch "$own/agents/$1" 2>/dev/null
}

# The sessions that their user forgot, by any machine: one note each, written by a put.
list_forgotten() {
    [ -d "$own/forgotten" ] && [ ! -L "$own/forgotten" ] && cd "$own/forgotten" || return 0
    list_named
}

list_vault() {
    set +f
    for object in "$own/vault"/*; do
        set -f
        # Most of the time there is none, and no process is needed to see that.
        [ -e "$object" ] || [ -L "$object" ] || return 0
        cd "$own/vault" && find . -type f -exec stat "$stat_flag" "$size $name" {} + 2>/dev/null | sed "s| \./| |"
        return 0
    done
}

# What is not in the form of a note was not written by a put.
list_pushed() {
    [ -f "$own/pushed" ] && [ ! -L "$own/pushed" ] || return 0
    tail -n 2000 "$own/pushed" 2>/dev/null | sed -n "/ 0[0-9]/d
/^[1-9][0-9]\{0,18\} [0-9]\{1,19\} [0-9]\{1,18\}\(\.[0-9]\{1,9\}\)\{0,1\}\$/p"
}

verb_list() {
    find_claude
    own=$claude/.claude-session-sync
    projects=$claude/projects
    nearest
    [ -x "$near" ] || fail "cannot enter $near"
    [ ! -d "$claude/sessions" ] || { [ -r "$claude/sessions" ] && [ -x "$claude/sessions" ]; } || fail "cannot read $claude/sessions"
    for line in $body; do
        case $line in
            "agent "*[/.]*) ;;
            "agent "*) note_agent "${line#* }" ;;
        esac
    done
    [ -d "$projects" ] || { [ ! -e "$projects" ] && [ ! -L "$projects" ]; } || fail "$projects is no directory"
    # What takes long is done where it belongs in the answer, so that no silence is longer than it must be.
    item claude "$claude"
    replica_id
    item replica "$replica"
    item clock "$(date +%s)"
    days=
    [ ! -f "$claude/settings.json" ] || days=$(sed -n "s/.*\"cleanupPeriodDays\"[[:space:]]*:[[:space:]]*\([0-9]\{1,6\}\).*/\1/
t found
d
:found
p
q" "$claude/settings.json" 2>/dev/null)
    item retention "$days"
    if [ -d "$claude/sessions" ]; then
        item live "$(printf "registry\n" && registry)"
    else
        item live none
    fi
    four="[0-9a-f][0-9a-f][0-9a-f][0-9a-f]"
    uuid=$four$four-$four-$four-$four-$four$four$four
    pattern="\"cwd\":\"([^\"\]|[\].)*\""
    walked="" projected="" visited="" odd="" cwds="" agents=""
    [ ! -d "$projects" ] || projected=yes
    [ ! -d "$own/agents" ] || visited=yes
    [ -z "$projected$visited" ] || walk_at_once || walk_in_turn
    sift
    # With the rest of what was walked over, which is told once more, sorted: to pick it out here takes longer than to send it.
    item files "$walked"
    item odd "$odd"
    item cwds "$cwds"
    item roots "$(list_roots)"
    # Most of the time there is none of these, and no copy of this shell is needed to see that.
    vault="" pushed="" forgotten=""
    [ ! -d "$own/vault" ] || vault=$(list_vault)
    [ ! -f "$own/pushed" ] || pushed=$(list_pushed)
    [ ! -d "$own/forgotten" ] || forgotten=$(list_forgotten)
    item vault "$vault"
    item pushed "$pushed"
    item agents "$agents"
    item forgotten "$forgotten"
}

# ---- hash

# The paths behind this word of the request (and, but for `w`, a number), or behind two numbers: those that can be read.
readable() {
    for line in $body; do
        case $line in
            "$1"*) ;;
            *) continue ;;
        esac
        path=${line#* }
        [ "$1" = "w " ] || path=${path#* }
        if [ -f "$path" ] && [ -r "$path" ]; then printf "%s\n" "$path"; fi
    done
}

# What the tools say comes in the order in which it was asked, without what they could not read.
hash_whole() {
    paths=$(readable "w ")
    # shellcheck disable=SC2046
    set -- $([ -z "$paths" ] || digests_of_store "$paths")
    for line in $body; do
        case $line in
            "w "*) path=${line#w } ;;
            *) continue ;;
        esac
        case ${1:-} in
            [0-9a-f]*"  $path")
                printf "w %s %s\n" "${1%% *}" "$path"
                shift
                ;;
            *) printf "x %s\n" "$path" ;;
        esac
    done
}

hash_parts() {
    paths=$(readable "h ")
    [ -z "$paths" ] || ranges
    # shellcheck disable=SC2046
    set -- $(stats "$paths" -L "$stat_flag" "$size $name")
    for line in $body; do
        case $line in
            "h "*) line=${line#h } ;;
            *) continue ;;
        esac
        length=${line%% *} path=${line#* } sum=
        case ${1:-} in
            *" $path")
                [ "${1%% *}" -lt "$length" ] || sum=$(piece 0 "$length" "$path" 2>/dev/null | digest)
                shift
                ;;
        esac
        if [ -n "$sum" ]; then printf "h %s %s %s\n" "$length" "${sum%% *}" "$path"; else printf "x %s\n" "$path"; fi
    done
}

verb_hash() {
    cd "$claude" || fail "cannot enter $claude"
    item hashes "$(hash_whole && hash_parts)"
}

# ---- get

# A range, in the length that was announced: of a file that became shorter, or a pipe, zeros stand for what is missing. Who asked
# proves what it gets, so this costs that file and not the visit.
send() {
    [ "$2" != 0 ] || return 0
    # The shell that reads what dd says becomes dd: of each file that is sent, this saves a copy of a shell that knows all of them.
    { told=$(alone="exec" && piece "$1" "$2" "$3" 2>&1 >&3); } 3>&1
    told=${told##*"$nl"}
    case $told in
        *" byte"*) told=${told%% *} ;;
        "dd: "*) told=0 ;;
    esac
    if [ "$told" -lt "$2" ] 2>/dev/null; then head -c "$(($2 - told))" </dev/zero; fi
}

verb_get() {
    cd "$claude" || fail "cannot enter $claude"
    ranges
    paths=$(readable "")
    # shellcheck disable=SC2046
    set -- $(stats "$paths" -L "$stat_flag" "$size $name")
    for line in $body; do
        offset=${line%% *}
        line=${line#* }
        length=${line%% *}
        path=${line#* }
        available=-1
        case ${1:-} in
            *" $path")
                available=${1%% *}
                shift
                ;;
        esac
        if [ $((offset + length)) -le "$available" ]; then
            printf "data %s\n" "$length"
            send "$offset" "$length" "$path"
        else
            printf "gone 0\n"
        fi
    done
}

# ---- put
# The plan goes through four steps, each of which reads lines and prints lines with the last fields filled in:
#   number, operation, session, token, size, digest, path, staged file, vault name, verdict (ok so far, or the outcome)

# Takes a line apart; IFS is a space while it does.
fields() {
    number=$1 operation=$2 session=$3 token=$4 length=$5 sum=$6 path=$7 staged=$8 vault=$9
    shift 9
    verdict=$*
}

row() {
    IFS=" "
    # shellcheck disable=SC2086
    fields $1
    IFS=$nl
}

clean() {
    cd / && rm -rf "$stage"
    [ -z "$abroad" ] || find "$projects/" -name ".css-$nonce-*" -exec rm -f {} + 2>/dev/null
}

take_lock() {
    locked=
    command -v flock >/dev/null 2>&1 || return 0
    trouble=$( (: >>"$own/lock") 2>&1) || fail "cannot open $own/lock: $(reason "$trouble")"
    exec 9>>"$own/lock"
    waited=0
    until flock -n 9; do
        waited=$((waited + 1))
        [ "$waited" -le 20 ] || fail "another writer holds $own/lock"
        sleep 1
    done
    locked=yes
}

# Whether a directory on the way to a path below projects/ is a symbolic link.
linked() {
    rest=$1 way=$projects
    while :; do
        case $rest in
            */*) ;;
            *) return 1 ;;
        esac
        way=$way/${rest%%/*}
        rest=${rest#*/}
        [ ! -L "$way" ] || return 0
    done
}

# Why a tool failed: its first line that is no account of a dd that went well (the later ones say that it gave up), unless the disk is
# full, which not every tool says.
reason() {
    room=$(free_kib)
    case $1 in
        *"o space left"* | *"uota exceeded"*) room=0 ;;
    esac
    if [ "${room:-64}" -lt 64 ]; then
        printf "disk full: %s KiB free" "$(free_kib)"
    else
        for why in $1; do
            case $why in
                *" records in" | *" records out" | *" copied, "*) ;;
                *) printf "%.1000s" "$why" && return 0 ;;
            esac
        done
    fi
}

build() {
    for line in $plan; do
        case $line in
            "file "*) ;;
            *) continue ;;
        esac
        IFS=" "
        # shellcheck disable=SC2086
        set -- $line
        IFS=$nl
        staged=data/$2 verdict=ok
        if linked "$9"; then
            verdict="failed symlink"
        elif [ ! -f "$staged" ]; then
            verdict=bad
        elif [ "$5" = 0 ]; then
            :
        elif [ ! -f "$projects/$9" ] || [ -L "$projects/$9" ]; then
            verdict=changed
        else
            staged=new/$2
            [ -n "${flags+asked}" ] || ranges
            if ! trouble=$({ { piece 0 "$5" "$projects/$9" && cat "data/$2"; } >"$staged" && touch -r "data/$2" "$staged"; } 2>&1); then
                verdict=changed
                [ -z "$trouble" ] || verdict="failed $(reason "$trouble")"
                rm -f "$staged"
            fi
        fi
        printf "%s %s %s %s %s %s %s %s - %s\n" "$2" "$3" "$4" "$6" "$7" "$8" "$9" "$staged" "$verdict"
    done
}

# Of each line that the second word picks, what the first word says, as the tools will print it.
each() {
    for line in $lines; do
        row "$line"
        case $2 in
            "$verdict" | "$operation") ;;
            *) continue ;;
        esac
        case $1 in
            staged) printf "%s\n" "$staged" ;;
            sum) printf "%s  %s\n" "$sum" "$staged" ;;
            size) printf "%s %s\n" "$length" "$staged" ;;
            path) printf "./%s\n" "$path" ;;
            token) printf "%s ./%s\n" "$token" "$path" ;;
            vault) [ "$vault" = - ] || printf "%s\n" "$vault" ;;
        esac
    done
}

# Equal texts settle all files at once.
inspect() {
    staged=$(each staged ok)
    sums_asked=$(each sum ok)
    sizes_asked=$(each size ok)
    sums=$(digests "$staged")
    sizes=$(stats "$staged" "$stat_flag" "$size $name")
    tokens_asked=$(each token r)
    tokens=$([ -z "$tokens_asked" ] || [ ! -d "$projects" ] || { cd "$projects" && stats "$(each path r)" "$stat_flag" "$inode:$size:$modified:$changed $name"; })
    now=
}

sound() {
    { [ "$sums" = "$sums_asked" ] || case "$nl$sums$nl" in *"$nl$2  $3$nl"*) ;; *) false ;; esac } &&
        { [ "$sizes" = "$sizes_asked" ] || case "$nl$sizes$nl" in *"$nl$1 $3$nl"*) ;; *) false ;; esac }
}

unchanged() {
    [ "$tokens" = "$tokens_asked" ] || case "$nl$tokens$nl" in *"$nl$1 ./$2$nl"*) ;; *) false ;; esac
}

# Written less than 120 s ago, where there is no registry to ask.
fresh() {
    [ ! -d "$claude/sessions" ] || return 1
    written=${1#*:*:}
    written=${written%%[.:]*}
    [ -n "$now" ] || now=$(date +%s)
    written=$((now - written))
    [ "$written" -lt 120 ] && [ "$written" -ge -120 ]
}

# Makes durable what was written: before a name is given, its bytes, and before one is reported, the name. What is reported is
# remembered, and what is remembered and then missing counts as deleted by its user: no power cut may take it. Where the tool can,
# only the disks that matter are waited for, and what they say is heard.
settle() {
    trouble=$(sync -f "$own" ${abroad:+"$projects"} 2>&1) && return 0
    case $trouble in
        *"nput/output error"* | *"I/O error"* | *"o space left"* | *"uota exceeded"*) return 1 ;;
    esac
    sync
}

# The lines, where this verdict has become a failure.
doubt() {
    why=$(reason "$trouble")
    for line in $lines; do
        case $line in
            *" $1") printf "%s failed %s\n" "${line% "$1"}" "$why" ;;
            *) printf "%s\n" "$line" ;;
        esac
    done
}

# Whether a session lies in another project directory than this one: another machine put it there since we looked, and one id has one
# directory.
elsewhere() {
    set +f
    for other in "$projects"/*/"$1.jsonl"; do
        set -f
        [ "$other" = "$projects/$2/$1.jsonl" ] || { [ ! -e "$other" ] && [ ! -L "$other" ]; } || return 0
    done
    set -f
    return 1
}

# A second name for the old file, or a copy where a second name is refused.
keep() {
    if ! ln "$1" "$own/vault/$2" 2>/dev/null; then
        if ! cp -p "$1" "$own/vault/$2" || [ "$(stat "$stat_flag" "$size" "$own/vault/$2")" != "$3" ]; then
            rm -f "$own/vault/$2"
            return 1
        fi
    fi
}

# Its vault name is dropped again where the file was not displaced after all, or is a second name of something that never was that
# file: what a link led to, in the place of a directory, for a moment.
keep_not() {
    [ "$1" != - ] || return 0
    kept=$(stat "$stat_flag" "$links $inode" "$own/vault/$1" 2>/dev/null)
    case $kept in
        *" $(stat "$stat_flag" "$inode" "$2" 2>/dev/null)") rm -f "$own/vault/$1" ;;
        *" $3" | "1 "*) ;;
        *) rm -f "$own/vault/$1" ;;
    esac
}

# Where this is, whatever was put in its place since. What bash remembers of its way is no proof of it.
physical() {
    if [ -n "${BASH_VERSION:-}" ]; then env pwd -P; else pwd -P; fi
}

# Makes the directory of a path below projects/ and goes there, each step from within the one above, so that no link leads elsewhere. Where
# projects/ leads to another device, the staged file must stand there before it can be given its name.
bring_near() {
    cd "$projects" && way=$(physical) && rest=$2 || return 1
    [ "$way" != / ] || way=
    while :; do
        case $rest in
            */*) ;;
            *) break ;;
        esac
        step=./${rest%%/*}
        rest=${rest#*/}
        way=$way/${step#./}
        [ -d "$step" ] || mkdir "$step" || [ -d "$step" ] || return 1
        if ! cd "$step" 2>/dev/null || [ "$(physical)" != "$way" ]; then
            printf "symlink\n"
            return 1
        fi
    done
    [ -z "$abroad" ] || cp -p "$stage/$3" "./.css-$nonce-$1"
}

prepare() {
    for line in $lines; do
        IFS=" "
        # shellcheck disable=SC2086
        set -- $line
        shift 9
        verdict=$*
        # shellcheck disable=SC2086
        set -- $line
        IFS=$nl
        target=$projects/$7 vault=- old=${4#*:}
        old=${old%%:*}
        if [ "$verdict" = ok ] && ! sound "$5" "$6" "$8"; then
            case "$nl$sums$nl" in
                *"  $8$nl"*) verdict=bad ;;
                *) verdict="failed cannot read what was staged" ;;
            esac
        fi
        case $verdict in
            ok | bad) if [ "$2" = r ] && ! unchanged "$4" "$7"; then verdict=changed; fi ;;
        esac
        if [ "$verdict" != ok ]; then
            :
        elif [ -e "$own/forgotten/$3" ]; then
            verdict="failed forgotten there"
        elif live "$3" || { [ "$2" = r ] && fresh "$4"; }; then
            verdict=live
        elif [ "$2" = c ] && { [ -e "$target" ] || [ -L "$target" ] || elsewhere "$3" "${7%%/*}"; }; then
            verdict=exists
        elif { [ -n "$abroad" ] || [ ! -d "${target%/*}" ]; } && ! trouble=$(bring_near "$1" "$7" "$8" 2>&1); then
            verdict="failed $(reason "$trouble")"
        elif [ "$2" = r ]; then
            vault=${6#????????????????}
            vault=$3.$old.${6%"$vault"}.$nonce-$1
            if ! trouble=$(keep "$target" "$vault" "$old" 2>&1); then
                vault=- verdict="failed $(reason "$trouble")"
            fi
        fi
        printf "%s %s %s %s %s %s %s %s %s %s\n" "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$vault" "$verdict"
    done
}

# Goes into the directory of a path below projects/ and stays there, whatever takes its place: no link led there.
enter() {
    cd "$projects/${1%/*}" 2>/dev/null && [ "$(physical)" = "$real/${1%/*}" ]
}

# Everything that could have happened since is asked again, and then the name is given.
install() {
    real=$(cd "$projects" 2>/dev/null && physical)
    [ "$real" != / ] || real=
    for line in $lines; do
        IFS=" "
        # shellcheck disable=SC2086
        set -- $line
        shift 9
        verdict=$*
        # shellcheck disable=SC2086
        set -- $line
        IFS=$nl
        target=./${7##*/} ready=$stage/$8
        [ -z "$abroad" ] || ready=./.css-$nonce-$1
        if [ "$verdict" = ok ]; then
            if linked "$7" || ! enter "$7"; then
                verdict="failed symlink"
            elif live "$3"; then
                verdict=live
            elif [ "$2" = r ]; then
                found=$(stat "$stat_flag" "$links $inode:$size:$modified" "$target" "$own/vault/$9" 2>/dev/null)
                seen=${found%%"$nl"*} kept=${found#*"$nl"}
                if [ "${seen#* }" != "${4%:*}" ]; then
                    verdict=changed
                elif [ "${kept#1 }" = "$kept" ] && [ "${kept#* "${4%%:*}":}" = "$kept" ]; then
                    # A second name, but not of this file; a copy has one name.
                    verdict=changed
                elif trouble=$(mv -f "$ready" "$target" 2>&1); then
                    verdict="done"
                fi
            elif [ -e "$target" ] || [ -L "$target" ]; then
                verdict=exists
            elif trouble=$(ln "$ready" "$target" 2>&1); then
                verdict="done"
            elif [ -e "$target" ]; then
                verdict=exists
            elif trouble=$(mv -n "$ready" "$target" 2>&1) && [ ! -e "$ready" ]; then
                verdict="done"
            fi
            [ "$verdict" != ok ] || verdict="failed $(reason "$trouble")"
            [ "$verdict" = "done" ] || keep_not "$9" "$projects/$7" "${4%%:*}"
        fi
        printf "%s %s %s %s %s %s %s %s %s %s\n" "$1" "$2" "$3" "$4" "$5" "$6" "$7" "$8" "$9" "$verdict"
    done
}

# How each line ended. What stat says comes in the order of the lines, without what is not there any more.
report() {
    # shellcheck disable=SC2046
    set -- $(cd "$projects" && stats "$(each path "done")" "$stat_flag" "$inode $size $modified $changed $name")
    for line in $lines; do
        row "$line"
        case $verdict:${1:-} in
            "done:"*" ./$path")
                printf "%s done %s\n" "$number" "${1% ./"$path"}"
                shift
                ;;
            "done:"*) printf "%s failed vanished\n" "$number" ;;
            *) printf "%s %s\n" "$number" "$verdict" ;;
        esac
    done
    # What was displaced may have grown since it was looked at.
    # shellcheck disable=SC2046
    set -- $(cd "$own/vault" && stats "$(each vault "done")" "$stat_flag" "$size $name")
    for line in $lines; do
        row "$line"
        token=${token#*:}
        case $verdict:${1:-} in
            "done:"*" $vault")
                [ "${1%% *}" = "${token%%:*}" ] || printf "%s grew %s %s\n" "$number" "$vault" "${1%% *}"
                shift
                ;;
        esac
    done
}

# A vault object goes only at the size that the plan names.
drop() {
    case $nl$plan in
        *"${nl}drop "*) ;;
        *) return 0 ;;
    esac
    asked=$(printf "%s\n" "$plan" | sed -n "s|^drop \([^ /.][^ /]*\) \([0-9]*\)\$|\1 \2|p" | sort -u)
    [ -n "$asked" ] || return 0
    found=$(cd "$own/vault" && stats "$(printf "%s\n" "$asked" | sed "s/ .*//")" "$stat_flag" "$name $size")
    found=$(printf "%s\n" "$asked" "$found" | sort | uniq -d | sed "s/ .*//")
    if [ -n "$found" ]; then
        printf "%s\n" "$found" | tr "\n" "\0" | (cd "$own/vault" && xargs -0 rm -f)
        printf "%s\n" "$found" | sed "s/.*/drop & done/"
    fi
    asked=$(printf "%s\n" "$asked" | sed "s/ .*//")
    printf "%s\n" "$asked" "$found" | sort | uniq -u | sed "/^\$/d
s/.*/drop & kept/"
}

# What a put left that was killed: it goes once it is older than a day. Where sessions are to be forgotten, their ids given, who holds
# the lock also clears away what waits for it and holds bytes of theirs, which its plan says: that would bring them back.
sweep() {
    set +f
    for other in "$own/stage"/*; do
        set -f
        if [ "$other" = "$stage" ] || [ -L "$other" ] || [ ! -d "$other" ]; then continue; fi
        if [ -z "$ids" ] || [ -z "$locked" ] || { [ -f "$other/plan" ] && ! grep -q -F "$ids" "$other/plan"; }; then
            [ -n "$(find "$other" -prune -mtime +0)" ] || continue
        fi
        rm -rf "$other"
        [ ! -d "$projects" ] || find "$projects/" -name ".css-${other##*/}-*" -exec rm -f {} +
    done
    set -f
    [ -z "$ids" ] || [ ! -d "$projects" ] || find "$projects/" -type f -name ".css-????????????????????????????????-*" -ctime +0 -exec rm -f {} +
}

# Where there is no registry to ask: whether one of the transcripts was written less than 120 s ago.
young() {
    [ -n "$1" ] && [ ! -d "$claude/sessions" ] || return 1
    for written in $(cd "$projects" && stats "$(printf "%s\n" "$1" | sed -n "/\.jsonl\$/p")" "$stat_flag" "$inode:$size:$modified"); do
        if fresh "$written"; then return 0; fi
    done
    return 1
}

# Removes names below projects/. They come from a walk that follows no link, and a link among them goes as a link.
erase() {
    if [ -n "$1" ]; then
        printf "%s\n" "$1" | tr "\n" "\0" | (cd "$projects" && xargs -0 rm -rf) || return 1
    fi
    set +f
    for object in "$own/vault/$2".*; do
        set -f
        if [ -e "$object" ] || [ -L "$object" ]; then rm -rf "$object" || return 1; fi
    done
    set -f
}

# A session that its user forgot goes from every project directory and from the vault, unless it is open; the note that it was
# forgotten comes last, so that half a removal is done again.
forget() {
    asked=$(printf "%s\n" "$plan" | sed -n "s/^forget \([0-9a-f-]\{36\} [0-9TZ:.-]\{20,40\}\)\$/\1/p")
    [ -n "$asked" ] || return 0
    ids=$(printf "%s\n" "$asked" | sed "s/ .*//")
    now=$(date +%s) walked=yes lies=
    if [ -d "$projects" ]; then
        lies=$(cd "$projects" && find . -name "*$nl*" -prune -o -path "./*/*" -prune -name "????????-????-????-????-????????????*" -print) || walked=
    fi
    sweep 2>/dev/null
    noting=$({ [ -d "$own/forgotten" ] || mkdir "$own/forgotten"; } 2>&1)
    for line in $asked; do
        id=${line%% *}
        names=$(printf "%s\n" "$lies" | sed -n "s|^\(\./[^/]*/$id\)\$|\1|p
s|^\(\./[^/]*/$id\.jsonl\)\$|\1|p")
        kept=$(set +f && printf "%s" "$own/vault/$id".*)
        verdict=noted
        if [ -n "$names" ] || [ "$kept" != "$own/vault/$id.*" ]; then verdict=removed; fi
        if [ -L "$own/vault" ] || [ -L "$own/forgotten" ] || [ -L "$own/forgotten/$id" ] || [ -d "$own/forgotten/$id" ]; then
            verdict="failed symlink"
        elif [ -z "$walked" ]; then
            verdict="failed cannot list $projects"
        elif live "$id" || young "$names"; then
            verdict=live
        elif [ -n "$noting" ]; then
            verdict="failed $(reason "$noting")"
        elif ! trouble=$({ erase "$names" "$id" && printf "%s\n" "${line#* }" >"$stage/note" && mv -f "$stage/note" "$own/forgotten/$id"; } 2>&1); then
            verdict="failed $(reason "$trouble")"
        fi
        printf "forget %s %s\n" "$id" "$verdict"
    done
    sync
}

# The id of this store, written once; a file that holds none (a power cut) is replaced.
name_replica() {
    replica_id
    [ -n "$1" ] && [ -z "$replica" ] || return 0
    named=yes
    printf "%s" "$1" >replica-id && ln replica-id "$own/replica-id" 2>/dev/null && return 0
    replica_id
    [ -n "$replica" ] || mv -f replica-id "$own/replica-id" || fail "cannot write $own/replica-id"
}

# What was installed, as it is now: so every agent can tell what is pushed from what the user writes. The newest are enough; a note
# that is lost costs one visit.
note_pushed() {
    case $outcomes in
        *" done "*) ;;
        *) return 0 ;;
    esac
    [ ! -d "$own/pushed" ] || return 0
    {
        list_pushed
        for line in $outcomes; do
            case $line in
                [0-9]*" done "*)
                    line=${line#* done }
                    printf "%s\n" "${line% *}"
                    ;;
            esac
        done
    } | tail -n 2000 >"$stage/pushed" && mv -f "$stage/pushed" "$own/pushed"
}

# What the plan says of all files, before the first of them.
preface() {
    needed="" identity="" visitor=""
    for line in $plan; do
        case $line in
            "need "*) needed=${line#need } ;;
            "replica "*) identity=${line#replica } ;;
            "agent "*[/.]*) ;;
            "agent "*) visitor=${line#agent } ;;
            "file "*) return 0 ;;
        esac
    done
}

verb_put() {
    own=$claude/.claude-session-sync
    projects=$claude/projects
    stage=$own/stage/$nonce
    abroad=
    [ ! -L "$own" ] || fail "$own is a symbolic link"
    trouble=$({ { [ -d "$own/stage" ] && [ -d "$own/vault" ]; } || mkdir -p "$own/stage" "$own/vault"; } 2>&1 && mkdir "$stage" "$stage/new" 2>&1) ||
        fail "cannot make $stage: $trouble"
    trap clean EXIT
    trap "exit 1" HUP INT TERM PIPE
    cd "$stage" || fail "cannot enter $stage"
    if ! trouble=$(bounded 21600 tar -xof - 2>&1); then
        fail "cannot unpack: $(reason "$trouble")"
    fi
    [ -f plan ] || fail "the archive holds no plan"
    plan=$(cat plan 2>&1) || fail "cannot read the plan: $(reason "$plan")"
    preface
    [ -z "$needed" ] || available=$(free_kib)
    [ -z "$needed" ] || [ "${available:-$needed}" -ge "$needed" ] 2>/dev/null || fail "disk full: $available KiB free at $claude, $needed needed"
    take_lock
    named=
    name_replica "$identity"
    note_agent "$visitor"
    lines="" ids=""
    sweep 2>/dev/null
    forgets=
    case "$nl$plan" in
        *"${nl}forget "*) forgets=$(forget) ;;
    esac
    case "$nl$plan" in
        *"${nl}file "*)
            trouble=$([ -d "$projects" ] || mkdir -p "$projects" 2>&1) || fail "cannot make $projects: $trouble"
            devices=$(stat -L "$stat_flag" "$device" "$projects" "$stage")
            [ "$devices" = "${devices%%"$nl"*}$nl${devices%%"$nl"*}" ] || abroad=yes
            lines=$(build)
            inspect
            lines=$(prepare)
            case "$lines$nl" in
                *" ok$nl"*) settle || lines=$(doubt ok) ;;
            esac
            lines=$(install)
            rm -rf "$stage/data" "$stage/new"
            [ -z "$abroad" ] || find "$projects/" -name ".css-$nonce-*" -exec rm -f {} +
            ;;
    esac
    case "$named$lines$nl" in
        yes* | *" done$nl"*) settle || lines=$(doubt "done") ;;
    esac
    outcomes=$(
        [ -z "$lines" ] || report
        drop
        [ -z "$forgets" ] || printf "%s\n" "$forgets"
    )
    replica_id
    note_pushed 2>/dev/null
    clean
    trap - EXIT
    item replica "$replica"
    item outcomes "$outcomes"
}

# Takes apart what was asked: its first line, the directory, and what it is about.
take_apart() {
    body=${request#*"$nl"}
    request=${request%%"$nl"*}
    claude=${body%%"$nl"*}
    body=${body#"$claude"}
    body=${body#"$nl"}
    body=${body%"$nl"}
}

# What came as an argument is all of it: bytes may follow a command only after one more way there and back.
#
# Whose line went dead without an end keeps nothing waiting here for ever. A child reads two lines, and all of the body but that of a
# put; a directory that was cut short would name another one, so nothing is done for it.
limit="" unasked="" body=""
if [ "$#" -gt 0 ]; then
    request=$1 unasked=yes
    take_apart
elif request=$(timeout 600 sh -c "IFS= read -r first && IFS= read -r second && printf \"%s\n%s\" \"\$first\" \"\$second\" &&
    if [ \"\${first%% *}\" = list ]; then printf \"\n\" && while IFS= read -r line; do printf \"%s\n\" \"\$line\"; done
    elif [ \"\${first%% *}\" != put ]; then printf \"\n\" && cat; fi && printf ." 2>/dev/null); then
    limit=yes
    request=${request%.}
    take_apart
else
    case $? in
        124 | 143) exit 1 ;;
    esac
    # There is no such tool, or an old one, or nothing to be read.
    IFS= read -r request && IFS= read -r claude || exit 0
    case $request in
        "put "*) ;;
        *) body=$(cat) ;;
    esac
fi
verb=${request%% *}
nonce=${request#* }
printf "\ncss1 %s\n" "$nonce"
tools
case $verb in
    list) verb_list ;;
    hash) verb_hash ;;
    get) verb_get ;;
    put) verb_put ;;
    *) fail "unknown verb" ;;
esac
finish
