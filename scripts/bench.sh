#!/bin/sh
# Installs the programs that the benchmarks compare bun-uring with, then runs the benchmarks: see bench/main.ts --help.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."
missing=
for program in gcc fio wrk; do command -v "$program" >/dev/null 2>&1 || missing="$missing $program"; done
[ -e /usr/include/liburing.h ] || missing="$missing liburing-dev"
if [ -n "$missing" ] && command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
  echo "bench: apt-get install$missing" >&2
  DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing libc6-dev >&2 ||
    { apt-get update >&2 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing libc6-dev >&2; }
fi
NODE_ENV=production exec node_modules/.bin/bun bench/main.ts "$@"
