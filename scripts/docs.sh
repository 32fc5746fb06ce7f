#!/bin/sh
# Generates docs/api from the doc comments. With --check it only checks that docs/api is up to date: see
# test/api-reference/main.ts. TypeDoc needs an older TypeScript than the project, so it is installed in
# docs/node_modules.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."

stamp=docs/node_modules/.installed-lock
if ! cmp -s docs/package-lock.json "$stamp"; then
  if command -v npm >/dev/null 2>&1; then
    npm ci --prefix docs --no-audit --no-fund >&2
  else
    (cd docs && ../node_modules/.bin/bun install --frozen-lockfile >&2)
  fi
  cp docs/package-lock.json "$stamp"
fi
exec node_modules/.bin/bun test/api-reference/main.ts "$@"
