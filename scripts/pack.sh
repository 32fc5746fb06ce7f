#!/bin/sh
# Makes dist/, which is what users get of lib/, and the package.json that goes with it: run by npm before it packs, and to put package.json back after that.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."
case ${1-} in
  before) sh scripts/setup.sh && exec node_modules/.bin/bun scripts/pack.ts ;;
  after) mv -f .packing/package.json package.json && rm -rf .packing ;;
  *) echo "usage: pack.sh before | after" >&2; exit 2 ;;
esac
