#!/usr/bin/env bash
# Runs a script inside a real `systemd --user` with a journal and a session bus, and takes all of it down again.
#
#   [MANAGER_USER=NAME] [MANAGER_HOME=DIR] in-user-manager.sh SCRIPT [ARGUMENT…]
#
# For root on a machine with a cgroup v2 tree; process 1 need not be systemd. Manager, journal and script live in mount, process, IPC and cgroup
# namespaces of their own, so that several runs do not meet, and the machine keeps nothing. The network is the machine's. MANAGER_USER (root) must exist;
# MANAGER_HOME, by default an empty directory that goes with the run, must belong to that user.
# Exit code: the script's; 77 if this machine cannot do it.
set -euo pipefail

cannot() {
  printf 'no user manager here: %s\n' "$*" >&2
  exit 77
}

# Before the namespaces: a control group for all that follows, so that it can become the root of a control group namespace.
outside() {
  [ "$(id -u)" = 0 ] || cannot 'not root'
  local program
  for program in /lib/systemd/systemd /lib/systemd/systemd-journald systemctl dbus-daemon unshare setpriv; do
    command -v "$program" >/dev/null || cannot "$program is missing"
  done
  local tree mounted='' code=0
  tree=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
  if [ -z "$tree" ]; then
    mounted=$(mktemp -d)
    mount -t cgroup2 cgroup2 "$mounted" || cannot 'cgroup v2 cannot be mounted'
    tree=$mounted
  fi
  group=$tree/user-manager-$$
  mkdir "$group" || cannot "no control group can be made in $tree"
  (
    echo "$BASHPID" >"$group/cgroup.procs"
    exec env INSIDE=1 unshare --mount --cgroup --pid --ipc --uts --fork --mount-proc --kill-child=KILL bash "$0" "$@"
  ) || code=$?
  # The last processes leave a moment after the namespace ended.
  local left=100
  until find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || [ $((left -= 1)) = 0 ]; do sleep 0.05; done
  if [ -n "$mounted" ]; then umount "$mounted" && rmdir "$mounted"; fi
  exit "$code"
}

# wait_for SECONDS COMMAND…: until the command succeeds.
wait_for() {
  local left=$(($1 * 50))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $((left -= 1)) -gt 0 ] || return 1
    sleep 0.02
  done
}

as_user() {
  if [ "$uid" = 0 ]; then "$@"; else setpriv --reuid="$uid" --regid="$(id -g "$user")" --init-groups "$@"; fi
}

inside() {
  user=${MANAGER_USER:-root}
  uid=$(id -u "$user")
  mount --make-rprivate /
  umount -l /sys/fs/cgroup 2>/dev/null || true
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  # journald takes a message's user unit from this path.
  local slice=/sys/fs/cgroup/user.slice/user-$uid.slice/user@$uid.service
  mkdir -p "$slice" /sys/fs/cgroup/init.scope /sys/fs/cgroup/system.slice/systemd-journald.service
  echo $$ >/sys/fs/cgroup/init.scope/cgroup.procs
  # What sshd needs of /run stays reachable: it was started outside.
  mount -t tmpfs -o mode=755 tmpfs /run
  mount -t tmpfs -o mode=755 tmpfs /var/log
  mkdir -p /run/systemd/system /run/systemd/journal /run/lock /var/log/journal "/run/user/$uid" /run/home
  local home=${MANAGER_HOME:-/run/home}
  chown "$user" /run/home "/run/user/$uid" "$slice" "$slice"/cgroup.{procs,subtree_control,threads}
  chmod 700 "/run/user/$uid"
  # As after the boot's flush: only then a plain user has a journal that he may read.
  touch /run/systemd/journal/flushed

  (
    echo "$BASHPID" >/sys/fs/cgroup/system.slice/systemd-journald.service/cgroup.procs
    exec /lib/systemd/systemd-journald
  ) >/dev/null 2>&1 &
  local journal=$!
  wait_for 10 test -S /run/systemd/journal/stdout || cannot 'journald does not start'

  # Nothing of the caller's environment: neither the manager's units nor the script may depend on it.
  local clean=(env -i HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/sh LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    XDG_RUNTIME_DIR="/run/user/$uid" DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$uid/bus")
  (
    cd /
    echo "$BASHPID" >"$slice/cgroup.procs"
    as_user "${clean[@]}" /lib/systemd/systemd --user --log-target=journal
  ) </dev/null >/dev/null 2>&1 &
  local manager=$! code=0
  # shellcheck disable=SC2317  # called by wait_for
  is_up() { as_user "${clean[@]}" systemctl --user is-system-running | grep -qE '^(running|degraded)$'; }
  wait_for 20 is_up || cannot 'systemd --user does not start'

  as_user "${clean[@]}" bash "$@" </dev/null || code=$?
  as_user "${clean[@]}" systemctl --user exit 2>/dev/null || true
  # shellcheck disable=SC2317  # called by wait_for
  gone() { ! kill -0 "$manager"; }
  wait_for 10 gone || true
  kill -TERM "$journal" 2>/dev/null || true
  exit "$code"
}

if [ "${INSIDE:-}" = 1 ]; then inside "$@"; else outside "$@"; fi
