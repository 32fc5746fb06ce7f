#!/bin/sh
# Packs the package, installs it in a folder outside the repository, and uses it there as a new user would. Each check
# prints a line with what it showed. Needs npm, Node.js and access to npm's registry.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."
exec node_modules/.bin/bun test --timeout 60000 "$@" ./test/package/package.suite.ts
