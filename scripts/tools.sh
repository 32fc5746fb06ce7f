#!/bin/sh
# Installs the Debian packages of commands that are missing; each argument is COMMAND:PACKAGE. Needs Debian, as root, where one is.
set -eu
missing=
for pair do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || { echo "tools: Debian's packages$missing are missing, and root with apt-get is needed to install them" >&2; exit 1; }
echo "tools: apt-get install$missing" >&2
install="apt-get install --yes --no-install-recommends$missing"
DEBIAN_FRONTEND=noninteractive $install >&2 || { apt-get update >&2 && DEBIAN_FRONTEND=noninteractive $install >&2; }
