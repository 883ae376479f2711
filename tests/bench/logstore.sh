#!/usr/bin/env bash
# The log store's throughput: segments, and chunks in a private PostgreSQL with fsync on where it is installed.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d /tmp/osmo-bench-XXXXXX) && chmod 755 "$work" || exit 1
trap '"$root/tests/pgsql-server" stop "$work" 2>/dev/null; rm -rf "$work"' EXIT
echo "machine: $(nproc) x $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), load $(cut -d' ' -f1 /proc/loadavg)"
database=$(PGSQL_FSYNC=on "$root/tests/pgsql-server" start "$work") || database=
"$OSMO_BUILD/tests/bench/logstore" "${SECONDS_EACH:-3}" ${database:+"$database"}
