#!/bin/sh
# Runs the tests in every environment of test/compat/, and prints the table. Arguments go to test/compat/run.ts.
# Needs Debian, as root: emulators to boot other kernels with, file systems and a client to test with, and apt-get to fetch those.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."

missing=
for pair in qemu-system-x86_64:qemu-system-x86 qemu-system-aarch64:qemu-system-arm cpio:cpio unshare:util-linux mkfs.btrfs:btrfs-progs mkfs.xfs:xfsprogs curl:curl; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || { echo "compat: Debian's packages$missing are missing, and root with apt-get is needed to install them" >&2; exit 1; }
  echo "compat: apt-get install$missing" >&2
  install="apt-get install --yes --no-install-recommends$missing"
  DEBIAN_FRONTEND=noninteractive $install >&2 || { apt-get update >&2 && DEBIAN_FRONTEND=noninteractive $install >&2; }
fi
exec node_modules/.bin/bun test/compat/run.ts "$@"
