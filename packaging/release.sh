#!/usr/bin/env bash
# Makes what a release consists of, into one directory: for every target that can be built here an archive and the bare program, on Linux the Debian
# package, the source, the formula that names it, and SHA256SUMS over all of it.
#
#   release.sh [--base-url URL] [--program TARGET=FILE] DIRECTORY
#
#   --base-url URL          where these files will lie; the formula says so (https://downloads.example)
#   --program TARGET=FILE   take this program instead of building one; no Debian package then
#
# Linux: a static program by musl, if `rustup target add` brought that target and musl-gcc (Debian: musl-tools) is there; else one of this machine's C library,
# and that is said. macOS: each of the two targets that rustup has. The same source and tools give the same archives: times come from the last commit.
set -euo pipefail
cd "$(dirname "$0")/.."

name=claude-session-sync
base=https://downloads.example
prebuilt=
while [ $# -gt 1 ]; do
  case $1 in
  --base-url) base=${2%/} ;;
  --program) prebuilt=$2 ;;
  *) break ;;
  esac
  shift 2
done
if [ $# != 1 ] || [ "${1#-}" != "$1" ]; then
  sed -n '/^#   release.sh/s/^# *//p' "$0" >&2
  exit 2
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
mkdir -p "$1"
out=$(cd "$1" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
built=${CARGO_TARGET_DIR:-target}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH

say() { printf '== %s\n' "$*"; }

sums() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

has_target() { rustup target list --installed 2>/dev/null | grep -qx "$1"; }

# The targets that can be built here, one a line.
targets() {
  local host target
  host=$(rustc -vV | sed -n 's/^host: //p')
  case $host in
  *-apple-darwin)
    for target in aarch64-apple-darwin x86_64-apple-darwin; do
      if [ "$target" = "$host" ] || has_target "$target"; then echo "$target"; fi
    done
    ;;
  *-linux-*)
    target=${host%%-*}-unknown-linux-musl
    if has_target "$target" && command -v musl-gcc >/dev/null; then
      echo "$target"
    else
      say "no static program: for $target both \`rustup target add $target\` and musl-gcc are needed; this one needs the C library of $host" >&2
      echo "$host"
    fi
    ;;
  *) echo "$host" ;;
  esac
}

# build TARGET: the program lies in the target directory then.
build() {
  local compiler="CC_${1//-/_}"
  case $1 in *-linux-musl) export "$compiler=musl-gcc" ;; esac
  cargo build --locked --profile dist --bin "$name" --target "$1"
}

# Whether a program runs on this machine: what lies beside it is made by the program itself, any that runs.
runs() { [ "$("$1" --version 2>/dev/null)" = "$name $version" ]; }

# archive DIRECTORY FILE: the same bytes from the same files, where GNU tar is.
archive() {
  local options=()
  if tar --version | grep -q GNU; then options=(--sort=name --owner=0 --group=0 --numeric-owner "--mtime=@$SOURCE_DATE_EPOCH"); fi
  tar -C "$work" ${options[@]+"${options[@]}"} -cf - "$1" | gzip -9n >"$2"
}

# pack TARGET PROGRAM: archive and bare program.
pack() {
  local target=$1 program=$2 directory=$name-$version-$1
  mkdir "$work/$directory"
  cp "$program" "$work/$directory/$name"
  cp README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$work/$directory/"
  cp -R "$work/beside/man" "$work/beside/completions" "$work/$directory/"
  chmod -R u=rwX,go=rX "$work/$directory"
  archive "$directory" "$out/$directory.tar.gz"
  cp "$work/$directory/$name" "$out/$directory"
  say "$target: $directory.tar.gz and $directory"
}

# debian TARGET PROGRAM: by cargo-deb, from what is built already.
debian() {
  if ! command -v cargo-deb >/dev/null; then
    say 'no Debian package: cargo-deb is missing (cargo install cargo-deb)'
    return
  fi
  rm -rf "$built/$1/dist/beside"
  cp -R "$work/beside" "$built/$1/dist/beside"
  gzip -9n "$built/$1/dist/beside/man"/*.1
  cargo deb --locked --no-build --profile dist --target "$1" --output "$out" >/dev/null
  say "$1: $(cd "$out" && ls "${name}_$version"-*.deb)"
}

# The source as it was committed, and the formula that builds it.
source_and_formula() {
  if ! git rev-parse --git-dir >/dev/null 2>&1; then
    say 'no source and no formula: this is no clone'
    return
  fi
  local file=$name-$version.tar.gz sum
  if [ -n "$(git status --porcelain)" ]; then say 'what is not committed is not in the source' >&2; fi
  git archive --format=tar --prefix="$name-$version/" HEAD | gzip -9n >"$out/$file"
  sum=$(sums "$out/$file" | cut -d' ' -f1)
  sed -e "s|^  homepage \".*\"|  homepage \"$base\"|" -e "s|^  url \".*\"|  url \"$base/$file\"|" -e "s|^  sha256 \".*\"|  sha256 \"$sum\"|" \
    -e '/^  # .* fills in where the source is/d' packaging/homebrew/$name.rb >"$out/$name.rb"
  say "source: $file; formula: $name.rb"
}

if [ -n "$prebuilt" ]; then
  list=${prebuilt%%=*}
else
  list=$(targets)
  for target in $list; do build "$target"; done
fi
path_of() { if [ -n "$prebuilt" ]; then echo "${prebuilt#*=}"; else echo "$built/$1/dist/$name"; fi; }

for target in $list; do
  if runs "$(path_of "$target")"; then packaging/beside.sh "$(path_of "$target")" "/usr/bin/$name" "$work/beside"; fi
done
if [ ! -d "$work/beside" ]; then
  echo "release.sh: no program of version $version runs on this machine, so there are no manual pages" >&2
  exit 1
fi
for target in $list; do
  pack "$target" "$(path_of "$target")"
  case $target in *-linux-*) if [ -z "$prebuilt" ]; then debian "$target"; fi ;; esac
done
source_and_formula
(cd "$out" && rm -f SHA256SUMS && sums -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" SHA256SUMS)
say "SHA256SUMS in $out"
