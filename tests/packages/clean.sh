#!/usr/bin/env bash
# The packages of a release on machines that have nothing of ours: the static program in an empty root, and the Debian package on a fresh Debian that boots.
#
#   clean.sh DIRECTORY
#
# DIRECTORY: what `packaging/release.sh` made, with a static program and a Debian package. For root; the fresh Debian is made by debootstrap from the mirror
# that this machine uses, its packages are installed with that network, and it then boots by itself, without any, in systemd-nspawn. Nothing stays here.
# Exit code: 0; 77 if this machine cannot do it; else what failed is said.
set -euo pipefail

name=claude-session-sync

cannot() {
  printf 'no clean machine here: %s\n' "$*" >&2
  exit 77
}

step() { printf -- '-- %s\n' "$*"; }

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

empty_root() {
  step 'the static program in an empty root'
  local program
  program=$(find "$release" -maxdepth 1 -type f -name "$name-*-linux-musl")
  [ -f "$program" ] || fail "no static program in $release"
  mkdir "$work/empty"
  cp "$program" "$work/empty/$name"
  # The program alone: no C library, no shell, no /proc, no /tmp.
  local alone=(env -i HOME=/home "$(command -v chroot)" "$work/empty" "/$name")
  "${alone[@]}" --version
  "${alone[@]}" config init >/dev/null
  "${alone[@]}" config check
  "${alone[@]}" status >/dev/null
  # There is no token and no gh: that is said, and is no crash.
  local code=0
  "${alone[@]}" sync >"$work/sync" 2>&1 || code=$?
  { [ "$code" = 1 ] && grep -q 'gh auth login' "$work/sync"; } || fail "sync ended with $code: $(cat "$work/sync")"
}

fresh_debian() {
  step 'a fresh Debian'
  local mirror
  mirror=$(apt-cache policy | grep -oE 'https?://[^ ]+/debian( |$)' | head -n 1 | tr -d ' ')
  debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,man-db bookworm "$root" "${mirror:-http://deb.debian.org/debian}" \
    >"$work/debootstrap" 2>&1 || {
    tail -n 5 "$work/debootstrap" >&2
    cannot 'debootstrap cannot make a Debian'
  }
  cp "$release"/"$name"_*.deb "$root/root/"
  find "$root" -xdev -path "$root/var" -prune -o -type f -print | sort >"$work/before"
}

install_it() {
  step 'apt installs the package, with what it depends on'
  cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
  # No service may start in a root that is not booted.
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  chroot "$root" env DEBIAN_FRONTEND=noninteractive sh -c "apt-get update -qq && apt-get install -y -qq --no-install-recommends /root/*.deb" >"$work/apt" 2>&1 || {
    cat "$work/apt" >&2
    fail 'apt-get install'
  }
  rm "$root/usr/sbin/policy-rc.d"
  # As another user would see it.
  chroot "$root" useradd --create-home worker
  chroot "$root" runuser -u worker -- sh -c "cd && $name --version && man -w $name && man -w $name-sync" || fail 'program and manual pages'
  local file
  for file in bash-completion/completions/$name zsh/vendor-completions/_$name fish/vendor_completions.d/$name.fish; do
    [ -s "$root/usr/share/$file" ] || fail "no $file"
  done
}

# boot SCRIPT: the fresh Debian boots, runs the script as root once it is up, and goes down again.
boot() {
  mkdir -p "$root/inner"
  cp "$1" "$root/inner/script"
  rm -f "$root/inner/code"
  cat >"$root/etc/systemd/system/inner.service" <<'UNIT'
[Unit]
After=basic.target systemd-logind.service dbus.socket
Requires=dbus.socket
[Service]
Type=oneshot
ExecStart=/bin/bash -c '/bin/bash /inner/script >/inner/said 2>&1; echo $? >/inner/code'
ExecStopPost=/bin/systemctl exit
UNIT
  systemd-nspawn --quiet --directory="$root" --register=no --keep-unit --machine=clean --console=pipe --private-network --boot \
    systemd.unit=multi-user.target systemd.wants=inner.service >"$work/console" 2>&1 </dev/null || true
  [ -f "$root/inner/code" ] || {
    tail -n 20 "$work/console" >&2
    cannot 'it does not boot'
  }
  cat "$root/inner/said"
  [ "$(cat "$root/inner/code")" = 0 ] || fail "what ran on it ended with $(cat "$root/inner/code")"
}

cat_script() {
  cat <<'SCRIPT'
set -euo pipefail
name=claude-session-sync unit=claude-session-sync.service
fail() { printf 'FAILED: %s\n' "$*"; as_worker systemctl --user status --no-pager --full "$unit" || true; exit 1; }
uid=$(id -u worker)
as_worker() { runuser -u worker -- env -i HOME=/home/worker USER=worker PATH=/usr/bin:/bin XDG_RUNTIME_DIR="/run/user/$uid" LANG=C.UTF-8 "$@"; }
property() { as_worker systemctl --user show --property="$1" --value "$unit"; }
until_is() { for _ in $(seq 300); do [ "$("${@:2}")" = "$1" ] && return; sleep 0.1; done; fail "${*:2} is not $1"; }

loginctl enable-linger worker
until_is running as_worker systemctl --user is-system-running 2>/dev/null
[ "$(property ActiveState)$(property LoadState)" = inactiveloaded ] || fail 'the package started something, or its unit is not known'
mkdir -p /home/worker/.config/claude-session-sync
printf '[github]\nenabled = false\n' >/home/worker/.config/claude-session-sync/config.toml
chown -R worker /home/worker/.config

echo '-- the unit of the package'
as_worker systemctl --user enable --now --quiet "$unit"
[ "$(property ActiveState)" = active ] || fail 'it does not run'
as_worker $name service status || fail 'service status'
as_worker $name status >/dev/null || fail 'status'
as_worker systemctl --user disable --now --quiet "$unit"

echo '-- the service that the program installs'
as_worker $name service install
[ "$(property ActiveState)$(property UnitFileState)" = activeenabled ] || fail 'it does not run'
as_worker $name service uninstall
[ "$(property ActiveState)" = inactive ] || fail 'it still runs'
[ -z "$(find /home/worker/.config/systemd -type f -o -type l)" ] || fail 'units are left'

echo '-- removed while it runs'
as_worker systemctl --user start "$unit"
apt-get purge -y -qq "$name" >/dev/null 2>&1 || fail 'apt-get purge'
! command -v $name || fail 'the program is still there'
as_worker systemctl --user stop "$unit"
as_worker systemctl --user daemon-reload
[ "$(property LoadState)" = not-found ] || fail 'the unit is still known'
SCRIPT
}

nothing_left() {
  step 'what is left of it'
  local left
  left=$(find "$root" -xdev -path "$root/var" -prune -o -path "$root/home" -prune -o -name "*$name*" -print; find "$root/var/lib/dpkg" -name "$name*")
  left=$(printf '%s\n' "$left" | grep -v "^$root/root/" || true)
  [ -z "$left" ] || fail "left behind: $left"
}

[ $# = 1 ] || { sed -n '/^#   clean.sh/s/^# *//p' "$0" >&2 && exit 2; }
release=$(cd "$1" && pwd)
[ "$(id -u)" = 0 ] || cannot 'not root'
for program in debootstrap systemd-nspawn chroot; do command -v "$program" >/dev/null || cannot "$program is missing"; done
work=$(mktemp -d)
root=$work/debian
trap 'rm -rf --one-file-system "$work"' EXIT

empty_root
fresh_debian
install_it
cat_script >"$work/script"
boot "$work/script"
nothing_left
step 'done'
