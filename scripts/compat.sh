#!/bin/sh
# Runs the tests in every environment of test/compat/, and prints the table. Arguments go to test/compat/run.ts.
# Needs Debian, as root: emulators to boot other kernels with, file systems and a client to test with, and apt-get to fetch those.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."

sh scripts/tools.sh qemu-system-x86_64:qemu-system-x86 qemu-system-aarch64:qemu-system-arm cpio:cpio unshare:util-linux mkfs.btrfs:btrfs-progs mkfs.xfs:xfsprogs curl:curl
exec node_modules/.bin/bun test/compat/run.ts "$@"
