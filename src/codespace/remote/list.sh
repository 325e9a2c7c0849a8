# shellcheck shell=sh
# The verb `list`: what lies in the store, which clones there are, who is at work, and who visits.

# What a login shell says behind what its profile says. What the profile started may keep the pipe open for ever.
named_by_login() {
    while IFS= read -r said; do
        case $said in
            css-directory=*) printf "%s" "${said#*=}" && return 0 ;;
        esac
    done
}

# The claude directory, where none is given: what a login shell names, or a client that runs, or else the usual one.
find_claude() {
    case $claude in
        /*) return 0 ;;
    esac
    claude=$(sh -lc "printf \"\ncss-directory=%s\n\" \"\${CLAUDE_CONFIG_DIR:-}\"" </dev/null 2>/dev/null | named_by_login)
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
}

# What takes programs to find out: which tools these are, what time it is, and the claude directory.
find_out() {
    which_tools
    formats
    find_claude
    printf "%s %s %s\n" "$tools" "$(date +%s)" "$claude"
}

# Finds out whether a program can be told for how long to run: there may be no such tool, or an old one. How the request came may
# have shown that there is.
patience() {
    [ -n "$limit" ] || ! timeout 9 true 2>/dev/null || limit=yes
}

# What lies there, one thing a line: a regular file that may be of a session, with its inode, size and times; what is no file and no
# directory; a working directory that a transcript names, behind the project; and who visits, with the time of the last visit.
#
# GNU tools tell all of it in one walk, by stdout, which is whole if they end with 0. So that a grep that finds nothing does, it is
# given its own command line, too, where its pattern stands and fits itself.
walk_at_once() {
    [ -n "$projected$visited" ] || return 0
    (
        cd "$1" || exit 9
        find ${projected:+projects/.} ${visited:+.claude-session-sync/agents/.} \
        -name "*$nl*" -prune -printf "odd n ?\n" \
        -o -path "projects/./*/memory" ! -path "projects/./*/*/memory" -prune \
        -o -type f -path "projects/./*/*" -printf "%i %s %T@ %C@ %P\n" \
        -path "*.jsonl" ! -path "projects/./*/*/*" -exec grep --devices=skip -a -H -o -m 1 -E "$pattern" /proc/self/cmdline {} + \
        -o -type f -path ".claude-session-sync/agents/./$uuid" -printf "agent %T@ %P\n" \
        -o -type f -o -type d -o ! -path "projects/*" \
        -o -type l -printf "odd l %P\n" -o -type p -printf "odd p %P\n" -o -type s -printf "odd s %P\n" -o -printf "odd o %P\n" 2>/dev/null
    )
}

# Finds out what there is to find out. That takes about as long as a walk, so the walk is begun meanwhile, as if the claude directory
# were the usual one and the tools GNU. It counts if they are, and if it is whole.
look_around() {
    ahead=${claude:-${HOME:-}/.claude}
    walked=$(find_out | {
        places "$ahead"
        walk_at_once "$ahead" && printf "whole "
        IFS= read -r told && printf "%s" "$told"
    })
    # shellcheck disable=SC2086
    set -- $walked
    [ "$#" = 0 ] || shift "$(($# - 1))"
    told=${1:-}
    found=${told#whole }
    tools=${found%% *} found=${found#* }
    clock=${found%% *} claude=${found#* }
    case $claude in
        /.claude) claude= ;;
        /*) ;;
        *) claude= ;;
    esac
    [ -n "$claude" ] || fail "no home directory"
    formats
    places "$claude"
    if [ "$told" = "whole gnu $clock $ahead" ]; then
        walked=${walked%"$told"}
        walked=${walked%"$nl"}
        whole=yes
    fi
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
        case $nl$walked$nl in
            *"${nl}projects/./:waited:$nl"*) fail "a transcript in $projects cannot be opened" ;;
        esac
    fi
    [ -z "$visited" ] || walked=${walked%"$nl"}${walked:+$nl}$(visitors)
    walked=${walked%"$nl"}
}

# Puts what was walked over and is no file into `odd`, `cwds`, `agents`, of which there are few. Of the working directories of a project
# the first twenty are taken, without what was just said: where there are many sessions, that is nearly all there is.
sift() {
    odd="" cwds="" agents="" project="" cwd="" count=0 odds=0
    for line in $walked; do
        case $line in
            [0-9-]*) ;;
            "projects/./$project/"*":\"cwd\":$cwd") ;;
            projects/./*:\"cwd\":*)
                named=${line#projects/./}
                if [ "$project" != "${named%%/*}" ]; then
                    project=${named%%/*} cwd="" count=0
                fi
                named=${named#*:\"cwd\":}
                if [ "$cwd" != "$named" ] && [ "$count" -lt 20 ]; then
                    cwd=$named count=$((count + 1))
                    cwds="$cwds$project:\"cwd\":$cwd$nl"
                fi
                ;;
            "odd "*)
                odds=$((odds + 1))
                [ "$odds" -gt 200 ] || odd=$odd${line#odd }$nl
                ;;
            "agent "[1-9]*)
                note=${line#agent }
                agents="$agents${note%%[. ]*} ${note##* }$nl"
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

# Adds the clone that a directory lies in, with its remotes, to `roots`; once.
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
        [ "$remotes" -gt 200 ] || roots=$roots$remote$nl
    done
}

list_roots() {
    workspaces=/workspaces
    for line in $body; do
        case $line in
            "workspaces "*) workspaces=${line#* } ;;
        esac
    done
    roots="" seen="" resolved="" remotes=0
    set +f
    for line in "$workspaces"/* "$workspaces"/.??*; do
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

# The sessions that their user forgot, by any machine: one note each, written by a put.
list_forgotten() {
    [ -d "$own/forgotten" ] && [ ! -L "$own/forgotten" ] && cd "$own/forgotten" || return 0
    list_named
}

list_vault() {
    cd "$own/vault" && find . -type f -exec stat "$stat_flag" "$size $name" {} + 2>/dev/null | sed "s| \./| |"
}

registry() {
    set +f
    for registered in "$claude"/sessions/[0-9]*.json; do
        set -f
        [ -f "$registered" ] && entry "$registered"
    done
    set -f
}

# What a walk goes over, of what is there.
places() {
    own=$1/.claude-session-sync projects=$1/projects projected="" visited=""
    [ ! -d "$projects" ] || projected=yes
    [ ! -d "$own/agents" ] || visited=yes
}

verb_list() {
    four="[0-9a-f][0-9a-f][0-9a-f][0-9a-f]"
    uuid=$four$four-$four-$four-$four-$four$four$four
    pattern="\"cwd\":\"([^\"\]|[\].)*\""
    whole=
    look_around
    nearest
    [ -x "$near" ] || fail "cannot enter $near"
    [ ! -d "$claude/sessions" ] || { [ -r "$claude/sessions" ] && [ -x "$claude/sessions" ]; } || fail "cannot read $claude/sessions"
    [ -d "$projects" ] || { [ ! -e "$projects" ] && [ ! -L "$projects" ]; } || fail "$projects is no directory"
    # What takes long is done where it belongs in the answer, so that no silence is longer than it must be.
    item claude "$claude"
    replica_id
    item replica "$replica"
    item clock "$clock"
    days=
    [ ! -f "$claude/settings.json" ] || days=$(sed -n "s/.*\"cleanupPeriodDays\"[[:space:]]*:[[:space:]]*\([0-9]\{1,6\}\).*/\1/
t found
d
:found
p
q" "$claude/settings.json" 2>/dev/null)
    item retention "$days"
    if [ -d "$claude/sessions" ]; then
        entries=
        if holds "$claude/sessions" "[0-9]*.json"; then entries=$(registry); fi
        item live "registry${entries:+$nl$entries}"
    else
        item live none
    fi
    if [ -z "$whole" ]; then
        { [ "$tools" = gnu ] && walked=$(walk_at_once "$claude"); } || walk_in_turn
    fi
    for line in $body; do
        case $line in
            "agent "*[/.]*) ;;
            "agent "*) note_agent "${line#* }" ;;
        esac
    done
    # With the rest of what was walked over, which is told once more, sorted: to pick it out here takes longer than to send it. The other
    # side reads while it is sorted.
    item files "$walked"
    sift
    item odd "$odd"
    item cwds "$cwds"
    list_roots
    item roots "${roots%"$nl"}"
    # Most of the time there is none of these, and no copy of this shell is needed to see that.
    vault="" pushed="" forgotten=""
    if holds "$own/vault" "*"; then vault=$(list_vault); fi
    [ ! -f "$own/pushed" ] || pushed=$(list_pushed)
    [ ! -d "$own/forgotten" ] || forgotten=$(list_forgotten)
    item vault "$vault"
    item pushed "$pushed"
    item agents "$agents"
    item forgotten "$forgotten"
}
