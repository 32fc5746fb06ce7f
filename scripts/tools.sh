#!/bin/sh
# Installs the Debian packages of missing commands. Each argument is COMMAND:PACKAGE. If one is missing, this needs
# Debian and root.
set -eu
missing=
for pair do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || { echo "tools: the Debian packages$missing are missing; installing them needs root and apt-get" >&2; exit 1; }
echo "tools: apt-get install$missing" >&2
install="apt-get install --yes --no-install-recommends$missing"
DEBIAN_FRONTEND=noninteractive $install >&2 || { apt-get update >&2 && DEBIAN_FRONTEND=noninteractive $install >&2; }
