# shellcheck shell=sh
# Reads what is asked, and does it.

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
case $verb in
    list) verb_list ;;
    hash) verb_hash ;;
    get) verb_get ;;
    put) verb_put ;;
    *) fail "unknown verb" ;;
esac
finish
