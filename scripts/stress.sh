#!/bin/sh
# Repeats what the tests do thousands of times. Each part prints one line of figures. Arguments are names of parts, such
# as "soak"; the default is all of them. BUN_URING_TEST_SEED repeats a run. BUN_URING_SOAK_SECONDS is the duration of
# the soak test: by default 600, or 60 if CI is set.
set -eu
CDPATH= cd -- "$(dirname -- "$0")/.."
[ $# -gt 0 ] || set -- slots memlock late-landing terminate dropped calls soak
for part do
  set -- "$@" "./test/stress/$part.stress.ts"
  shift
done
exec node_modules/.bin/bun test --timeout 60000 "$@"
