#!/bin/sh
# Runs the tests in every environment of test/compat/, and prints the table. Arguments go to test/compat/run.ts.
# Needs Debian and root: it installs emulators to boot other kernels, and file systems and an HTTP client for the tests.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."

sh scripts/tools.sh qemu-system-x86_64:qemu-system-x86 qemu-system-aarch64:qemu-system-arm cpio:cpio unshare:util-linux mkfs.btrfs:btrfs-progs mkfs.xfs:xfsprogs curl:curl
exec node_modules/.bin/bun test/compat/run.ts "$@"
