#!/usr/bin/env bash
# The role of packaging/ansible against a real `systemd --user`, from nothing to nothing. Run by in-user-manager.sh.
#
#   ansible.sh PLAYBOOK_PROGRAM ROLES PROGRAM
#
# PLAYBOOK_PROGRAM: ansible-playbook. ROLES: the directory of the role. PROGRAM: what it installs.
set -euo pipefail

playbook=$1 program=$3
export ANSIBLE_ROLES_PATH=$2 ANSIBLE_NOCOLOR=1 ANSIBLE_LOCALHOST_WARNING=0
# Fewer processes for each task.
ANSIBLE_PYTHON_INTERPRETER=$(command -v python3) ANSIBLE_PIPELINING=1
export ANSIBLE_PYTHON_INTERPRETER ANSIBLE_PIPELINING
# Ansible refuses to start where Python would read files in another encoding.
export LC_ALL=C.UTF-8
unit=claude-session-sync.service
units=$HOME/.config/systemd/user
config=$HOME/.config/claude-session-sync/config.toml
installed=$HOME/.local/bin/claude-session-sync
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step() { printf -- '-- %s\n' "$*"; }

fail() {
  printf 'FAILED: %s\n' "$*"
  cat "$work/said" 2>/dev/null || true
  systemctl --user status --no-pager --full "$unit" || true
  exit 1
}

property() { systemctl --user show --property="$1" --value "$unit"; }

# play EXPECTED BOOTSTRAP_USE [OPTION…]: runs the playbook; EXPECTED is how many tasks changed something: a number, `some`, or `failed`.
play() {
  local expected=$1 purpose=$2 code=0 changed
  shift 2
  "$playbook" -i 'localhost,' -c local -e "bootstrap_use=$purpose" "$@" "$work/play.yml" >"$work/said" 2>&1 || code=$?
  changed=$(sed -n 's/.* changed=\([0-9]*\).*/\1/p' "$work/said")
  printf 'changed=%s, exit %s\n' "$changed" "$code"
  case $expected in
  failed) [ "$code" != 0 ] || fail 'this should have failed' ;;
  some) if [ "$code" != 0 ] || [ "$changed" = 0 ]; then fail 'something should have changed'; fi ;;
  *) if [ "$code" != 0 ] || [ "$changed" != "$expected" ]; then fail "$expected tasks should have changed something"; fi ;;
  esac
}

# What lies in the home, but for Ansible's own.
home() { find "$HOME" -mindepth 1 -name .ansible -prune -o ! -name . -print | sort; }

cat >"$work/play.yml" <<'END'
- hosts: all
  gather_subset: [min]
  vars:
    claude_session_sync_enabled: "{{ bootstrap_use == 'work' }}"
  roles: [claude_session_sync]
END
# No pass of this agent goes anywhere.
cat >"$work/one.yml" <<'END'
claude_session_sync_config: |
  [github]
  enabled = false
END
sed 's/enabled = false/&\n\n  [notify]\n  enabled = false/' "$work/one.yml" >"$work/two.yml"
sed 's/enabled = false/no such key = 1/' "$work/one.yml" >"$work/wrong.yml"
from_here=(-e "claude_session_sync_binary=$program" -e "@$work/one.yml")

step 'on a machine that is not for work, nothing'
before=$(home)
play 0 home "${from_here[@]}"
[ "$(home)" = "$before" ] || fail 'something lies in the home'

step 'check mode says that something would change, and changes nothing'
play some work --check "${from_here[@]}"
[ "$(home)" = "$before" ] || fail 'check mode changed the home'

step 'two sources, no source and an address without a checksum are refused'
play failed work "${from_here[@]}" -e "claude_session_sync_url=file://$program"
play failed work
play failed work -e "claude_session_sync_url=file://$program"

step 'the first run'
play some work "${from_here[@]}"
[ "$(property ActiveState)$(property UnitFileState)" = activeenabled ] || fail 'the agent does not run'
grep -q 'RUNNING HANDLER' "$work/said" && grep -q 'changed: .*Restart' "$work/said" && fail 'it was started twice'
"$installed" --version
pid=$(property MainPID)

step 'the second run changes nothing'
play 0 work "${from_here[@]}"
play 0 work --check "${from_here[@]}"
PATH=$PATH:/elsewhere play 0 work "${from_here[@]}"
[ "$(property MainPID)" = "$pid" ] || fail 'it was started again'

step 'another configuration restarts it'
play some work "${from_here[@]}" -e "@$work/two.yml"
[ "$(property MainPID)" != "$pid" ] || fail 'it was not started again'
grep -q notify "$config" || fail 'the configuration is not the new one'
pid=$(property MainPID)

step 'a wrong configuration is refused, and the one before stays'
play failed work "${from_here[@]}" -e "@$work/wrong.yml"
grep -q 'no such key' "$work/said" || fail 'it was not said what is wrong'
grep -q notify "$config" || fail 'the configuration is another one'
[ "$(property MainPID)" = "$pid" ] || fail 'it was started again'

step 'another program restarts it, from an address'
cp "$program" "$work/other"
printf 'x' >>"$work/other"
from_there=(-e "claude_session_sync_url=file://$work/other" -e "@$work/two.yml")
play failed work "${from_there[@]}" -e "claude_session_sync_checksum=sha256:$(printf '0%.0s' {1..64})"
sum=$(sha256sum "$work/other" | cut -d' ' -f1)
play some work "${from_there[@]}" -e "claude_session_sync_checksum=sha256:$sum"
[ "$(property MainPID)" != "$pid" ] || fail 'it was not started again'
cmp "$work/other" "$installed" || fail 'the program is not the new one'
play 0 work "${from_there[@]}" -e "claude_session_sync_checksum=sha256:$sum"
rm "$installed"
play some work "${from_here[@]}" -e "@$work/two.yml"

step 'a program of another version is refused'
play failed work "${from_here[@]}" -e claude_session_sync_version=99.0.0

step 'what was stopped, disabled or edited by hand is mended'
systemctl --user stop "$unit"
play 1 work "${from_here[@]}" -e "@$work/two.yml"
systemctl --user disable --quiet "$unit"
play 1 work "${from_here[@]}" -e "@$work/two.yml"
sed -i 's/^Nice=.*/Nice=3/' "$units/$unit"
play 1 work "${from_here[@]}" -e "@$work/two.yml"
[ "$(property ActiveState)$(property UnitFileState)" = activeenabled ] || fail 'the agent does not run'

step 'no longer for work'
pid=$(property MainPID)
play some home --check
[ "$(property MainPID)" = "$pid" ] || fail 'check mode ended it'
play some home
[ "$(property LoadState)" = not-found ] || fail 'the manager still knows it'
if kill -0 "$pid" 2>/dev/null; then fail 'the agent still runs'; fi
left=$(find "$units" "$installed" ! -type d 2>/dev/null || true)
[ -z "$left" ] || fail "left behind: $left"
[ -f "$config" ] || fail 'the configuration is gone'
[ -d "$HOME/.local/share/claude-session-sync" ] || fail 'the data are gone'
play 0 home

step 'gone without the role: the agent is ended, and what is left of the unit goes, too'
play some work "${from_here[@]}"
rm "$installed"
pid=$(property MainPID)
kill -0 "$pid"
play some home
if kill -0 "$pid" 2>/dev/null; then fail 'the agent still runs'; fi
left=$(find "$units" ! -type d)
[ -z "$left" ] || fail "left behind: $left"
step 'a program that a package brings stays where it is'
packaged=(-e claude_session_sync_program_managed=false -e "claude_session_sync_program=$program")
play some work "${packaged[@]}"
[ "$(property ActiveState)" = active ] || fail 'it does not run'
[ ! -e "$installed" ] || fail 'it was installed'
play 0 work "${packaged[@]}"
play some home "${packaged[@]}"
[ "$(property LoadState)" = not-found ] || fail 'the manager still knows it'
[ -x "$program" ] || fail 'the program is gone'
step 'done'
