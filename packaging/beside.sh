#!/usr/bin/env bash
# What a package installs beside the program, made by the program itself.
#
#   beside.sh PROGRAM INSTALLED DIRECTORY
#
# PROGRAM: runs on this machine. INSTALLED: its path where the package puts it. DIRECTORY: gets man/*.1, completions/ (under the names that the shells look
# for) and systemd/claude-session-sync.service, a user unit for all users.
set -euo pipefail

program=$1 installed=$2 directory=$3
here=$(cd "$(dirname "$0")" && pwd)

mkdir -p "$directory"/{man,completions/{bash,zsh,fish},systemd}
"$program" man --out "$directory/man" >/dev/null
"$program" completions bash >"$directory/completions/bash/claude-session-sync"
"$program" completions zsh >"$directory/completions/zsh/_claude-session-sync"
"$program" completions fish >"$directory/completions/fish/claude-session-sync.fish"

# The manager's own variables hold; lines for systemd 254 stay closed, because the package may meet an older one.
sed -e '/^@ENVIRONMENT@$/d' -e "s|@PROGRAM@|$installed|" "$here/systemd/claude-session-sync.service" >"$directory/systemd/claude-session-sync.service"
if grep -q '@[A-Z]*@ ' "$directory/systemd/claude-session-sync.service"; then
  echo "beside.sh: the unit has something that is not filled in" >&2
  exit 1
fi
