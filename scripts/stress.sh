#!/bin/sh
# Everything that the tests do, thousands of times: each part prints one line of figures. Arguments name parts, "soak"; default all.
# BUN_URING_TEST_SEED repeats a run; BUN_URING_SOAK_SECONDS says how long the soak test is: 600 by default, and where CI is set 60.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."
[ $# -gt 0 ] || set -- slots memlock late-landing terminate dropped calls soak
for part do
  set -- "$@" "./test/stress/$part.stress.ts"
  shift
done
exec node_modules/.bin/bun test --timeout 60000 "$@"
