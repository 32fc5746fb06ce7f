#!/bin/sh
# Packs the package, installs it in a folder outside of the repository, and uses it there as a stranger would: each check prints a line with what it showed.
# Needs npm and Node.js, and npm's registry.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."
exec node_modules/.bin/bun test --timeout 60000 "$@" ./test/package/package.suite.ts
