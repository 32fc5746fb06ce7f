#!/bin/sh
# Runs in each environment, and prints what outcome.ts parses: session.sh BUN all|CODE. CODE is the expected error code
# in an environment that refuses io_uring.
bun=$1
suite=$2
cd "$(dirname "$0")/../.." || exit 1
echo "@probe $("$bun" test/compat/print-probe.ts)"
if [ "$suite" = all ]; then
  "$bun" test --timeout 120000 || echo "@tests failed"
  echo "@example $("$bun" examples/checksum.ts --json README.md "$bun" 2>/dev/null | tr -d '\n')"
else
  BUN_URING_REFUSED=$suite "$bun" test --timeout 60000 ./test/refused/refused.suite.ts || echo "@tests failed"
fi
echo "@end"
