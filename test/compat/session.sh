#!/bin/sh
# What runs in each environment, for outcome.ts to read: session.sh BUN all|CODE. CODE is that of the error where io_uring is refused.
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
