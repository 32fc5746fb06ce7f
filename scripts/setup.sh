#!/bin/sh
# Installs what is missing for the demo and the tests: node_modules, with the bun binary, and liburing's runtime
# library. Needs npm or Bun. Does nothing if nothing is missing.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."

bun=node_modules/.bin/bun
stamp=node_modules/.installed-lock

if ! cmp -s package-lock.json "$stamp" || ! "$bun" --version >/dev/null 2>&1; then
  if command -v npm >/dev/null 2>&1; then
    npm ci --no-audit --no-fund
  elif command -v bun >/dev/null 2>&1; then
    bun install --frozen-lockfile
  else
    echo "setup: neither npm nor bun is on the PATH; install one of them first" >&2
    exit 1
  fi
  # If install scripts are switched off, the binary is not yet where the package's launcher expects it.
  if ! "$bun" --version >/dev/null 2>&1; then
    for binary in node_modules/@oven/bun-linux-*/bin/bun; do
      if "$binary" --version >/dev/null 2>&1; then cp -f "$binary" node_modules/bun/bin/bun.exe && break; fi
    done
  fi
  "$bun" --version >/dev/null || { echo "setup: node_modules/bun has no binary that runs on this machine" >&2; exit 1; }
  cp package-lock.json "$stamp"
fi

bun=$(pwd)/$bun

# Loads the library as bun-uring does.
has_liburing() {
  "$bun" -e 'require("bun:ffi").dlopen("liburing.so.2", { io_uring_setup: { args: ["u32", "u64"], returns: "i32" } })' >/dev/null 2>&1
}

[ "$(uname -s)" = Linux ] || { echo "setup: bun-uring runs on Linux, and this is $(uname -s)" >&2; exit 1; }
has_liburing && exit 0

if command -v apt-get >/dev/null 2>&1; then
  install="apt-get install --yes --no-install-recommends liburing2"
elif command -v dnf >/dev/null 2>&1; then
  install="dnf install --assumeyes liburing"
elif command -v apk >/dev/null 2>&1; then
  install="apk add liburing"
elif command -v pacman >/dev/null 2>&1; then
  install="pacman --sync --noconfirm liburing"
else
  echo "setup: liburing.so.2 (2.3 or newer) is missing, and there is no apt-get, dnf, apk or pacman to install it" >&2
  exit 1
fi
if [ "$(id -u)" != 0 ]; then
  echo "setup: liburing.so.2 (2.3 or newer) is missing. Install it, then run this again:" >&2
  echo "  sudo $install" >&2
  exit 1
fi
echo "setup: $install" >&2
case $install in
  apt-get*) DEBIAN_FRONTEND=noninteractive $install >&2 || { apt-get update >&2 && DEBIAN_FRONTEND=noninteractive $install >&2; } ;;
  *) $install >&2 ;;
esac
has_liburing || { echo "setup: liburing.so.2 is installed, but it does not load or is older than 2.3" >&2; exit 1; }
