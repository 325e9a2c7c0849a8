#!/usr/bin/env bash
# The service in a real `systemd --user`, from its installation to its removal. Run by in-user-manager.sh.
#
#   scenario.sh PROGRAM EXTRA_PATH ARRIVES PASSES
#
# PROGRAM: the program, installed in the home. EXTRA_PATH: what PATH begins with (a stand-in of gh). ARRIVES: the file that the first pass brings home.
# PASSES: how many passes must be seen in the log. $HOME holds a configuration with a schedule of seconds, and the key `every` in a line of its own.
set -euo pipefail

program=$1 arrives=$3 passes=$4
export PATH=$2:$PATH
unit=claude-session-sync.service
units=$HOME/.config/systemd/user
config=$HOME/.config/claude-session-sync/config.toml
logs=$HOME/.local/state/claude-session-sync/log

step() { printf -- '-- %s\n' "$*"; }

fail() {
  printf 'FAILED: %s\n' "$*"
  systemctl --user status --no-pager --full "$unit" || true
  journalctl --no-pager -n 40 || true
  cat "$logs"/*.log 2>/dev/null | tail -n 40 || true
  exit 1
}

# wait_for WHAT COMMAND…: until the command succeeds.
wait_for() {
  local what=$1 left=600
  shift
  until "$@" >/dev/null 2>&1; do
    [ $((left -= 1)) -gt 0 ] || fail "waited in vain: $what"
    sleep 0.05
  done
}

property() { systemctl --user show --property="$1" --value "$unit"; }
logged() { cat "$logs"/*.log 2>/dev/null | grep -c -- "$1" || true; }
logged_more() { [ "$(logged "$1")" -gt "$2" ]; }
has_passes() { [ "$(logged 'pass ended')" -ge "$passes" ]; }
# Another process, which is ready.
is_back() { [ "$(property MainPID)" -gt 0 ] && [ "$(property MainPID)" != "$1" ] && [ "$(property ActiveState)" = active ]; }

step 'shorter times, as a user would set them'
mkdir -p "$units/$unit.d"
printf '[Service]\nWatchdogSec=3s\nRestartSec=200ms\n' >"$units/$unit.d/short.conf"

step 'install'
"$program" service install || fail 'install'
[ "$(property ActiveState)" = active ] || fail 'not active after the installation'
[ "$(property NotifyAccess)$(property Type)" = mainnotify ] || fail 'the manager did not wait for READY'
[ "$(property UnitFileState)" = enabled ] || fail 'not enabled'
wait_for 'a status text' test -n "$(property StatusText)"
printf 'READY seen; it says: %s\n' "$(property StatusText)"

step 'install again changes nothing'
pid=$(property MainPID)
said=$("$program" service install)
grep -q 'is as it should be' <<<"$said" || fail "the unit was written again: $said"
[ "$(property MainPID)" = "$pid" ] || fail 'it was started again'

step 'systemd-analyze'
verified=$(systemd-analyze --user verify "$units/$unit" 2>&1) || fail "verify: $verified"
[ -z "$verified" ] || fail "verify: $verified"
systemd-analyze --user security --no-pager "$unit" | tail -n 1

step 'passes by the schedule'
wait_for 'the session comes home' test -s "$arrives"
wait_for "$passes passes" has_passes

step 'status'
"$program" service status || fail 'status'
"$program" service status --json | grep -q "\"agreement\":\"same\".*\"pid\":$pid" || fail 'status --json'

step 'the watchdog ends a stopped process'
kill -STOP "$pid"
wait_for 'it comes back after SIGSTOP' is_back "$pid"
journalctl --no-pager --user-unit "$unit" | grep 'Watchdog timeout' || fail 'that was not the watchdog'
pid=$(property MainPID)

step 'kill -9'
kill -KILL "$pid"
wait_for 'it comes back after SIGKILL' is_back "$pid"
pid=$(property MainPID)

step 'reload'
read=$(logged 'configuration read')
sed -i 's/^every = .*/every = "*\/3 * * * * *"/' "$config"
systemctl --user reload "$unit" || fail 'reload'
wait_for 'the configuration is read again' logged_more 'configuration read' "$read"

step 'a broken configuration while it runs'
wrong=$(logged 'configuration is wrong')
cp "$config" "$config.good"
echo 'no such key = 1' >>"$config"
systemctl --user reload "$unit"
wait_for 'the mistake is told' logged_more 'configuration is wrong' "$wrong"
ended=$(logged 'pass ended')
wait_for 'passes go on with the one before' logged_more 'pass ended' "$ended"
[ "$(property MainPID)" = "$pid" ] || fail 'it did not survive a broken configuration'

step 'a broken configuration at a start, mended while it runs'
"$program" service restart || fail 'a restart with a broken configuration'
pid=$(property MainPID)
[ "$(property ActiveState)" = active ] || fail 'it does not wait'
ended=$(logged 'pass ended')
mv "$config.good" "$config"
wait_for 'passes go on once it is mended' logged_more 'pass ended' "$ended"
[ "$(property MainPID)" = "$pid" ] || fail 'mending took a new process'

step 'the log of a pass'
cat "$logs"/*.log | grep -B1 'pass ended' | tail -n 2

step 'stop and start'
"$program" service stop || fail 'stop'
[ "$(property ActiveState)$(property Result)" = inactivesuccess ] || fail 'not ended well'
code=0
"$program" service status >/dev/null || code=$?
[ "$code" = 4 ] || fail "status of an agent that does not run: exit $code"
"$program" service start || fail 'start'
pid=$(property MainPID)

step 'uninstall leaves nothing'
rm -r "$units/$unit.d"
"$program" service uninstall || fail 'uninstall'
[ "$(property LoadState)" = not-found ] || fail 'the manager still knows it'
if kill -0 "$pid" 2>/dev/null; then fail 'the agent still runs'; fi
left=$(find "$units" "$XDG_RUNTIME_DIR/claude-session-sync" ! -type d 2>/dev/null || true)
[ -z "$left" ] || fail "left behind: $left"
[ -f "$config" ] || fail 'the configuration is gone'
[ -s "$arrives" ] || fail 'the session is gone'
step 'done'
