#!/bin/sh
# Runs the type check, the linter and the tests. Arguments go to `bun test`.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."
bun=node_modules/.bin/bun
"$bun" node_modules/.bin/tsc
"$bun" node_modules/.bin/biome check --error-on-warnings .
"$bun" test --timeout 60000 "$@"
