#!/bin/sh
# npm runs this before it packs, to build dist/ from lib/ and to replace package.json by the one for users, and again
# after it has packed, to restore package.json.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."
case ${1-} in
  before) sh scripts/setup.sh && exec node_modules/.bin/bun scripts/pack.ts ;;
  after) mv -f .packing/package.json package.json && rm -rf .packing ;;
  *) echo "usage: pack.sh before | after" >&2; exit 2 ;;
esac
