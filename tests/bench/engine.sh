#!/usr/bin/env bash
# Throughput and latency of the engine as rows of a table: medians over RUNS runs. SQLite with synchronous=FULL, and PostgreSQL with
# fsync on where it is installed. Everything that is counted is committed. Aims are goals, not gates.
set -u
runs=${RUNS:-3}
. "$(dirname "$0")/../system/lib.sh"
engine=$bin/tests/bench/engine
row() { printf '| %-58s | %12s | %-14s |\n' "$1" "$2" "$3"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
column() { awk -v c="$1" '{ print $c }' "$2" | median; }
# repeat NAME COMMAND...: its lines of RUNS runs in $work/NAME
repeat() {
    local name=$1 i
    shift
    : > "$work/$name"
    for ((i = 0; i < runs; i++)); do "$@" >> "$work/$name" || exit 1; done
}
fresh() { # nothing of the measurement before it
    rm -rf "$work/engine"
    mkdir -m 700 "$work/engine"
    [[ -z ${database-} ]] || psql -q "$database" -c 'DROP SCHEMA public CASCADE; CREATE SCHEMA public' 2> /dev/null
}
own() { # what it measures, then its arguments: an engine of its own, on $database or a new SQLite file
    local what=$1
    shift
    fresh
    "$engine" "$what" "${database:-sqlite:$work/engine/osmo.db}" "$work/engine" "$@"
}
submissions() { # connections [same]
    "$engine" submit "$port" "$(sed -n 's/^ *id_token: *//p' "$OSMO_CONFIG_FILE_DIR/login.yaml")" "${SECONDS_EACH:-5}" "$@"
}
figures() { # name of the database
    start_service --log-level ERROR && login || exit 1
    repeat distinct submissions 64
    repeat same submissions 64 same
    repeat one submissions 1
    stop_all
    repeat single own transitions 1000 10
    repeat latency own latency 1000 200 10
    [[ $1 == SQLite ]] && own memory 300 100 > "$work/memory" && own restart "${RESTART_WORKFLOWS:-20}" 10000 > "$work/restart"
    row "$1: one-task submissions, 64 connections (per s)" "$(column 1 "$work/distinct")" ">= 5000"
    row "  p50 / p99 (ms)" "$(column 2 "$work/distinct") / $(column 3 "$work/distinct")" ""
    row "  all of one name (per s)" "$(column 1 "$work/same")" ""
    row "  one connection (per s)" "$(column 1 "$work/one")" ""
    row "$1: transitions, 1000 workflows x 10 tasks (per s)" "$(column 1 "$work/single")" ">= 30000"
    row "$1: pod event to readable, 1000 live: p50 (ms)" "$(column 2 "$work/latency")" ""
    row "  p99 (ms)" "$(column 3 "$work/latency")" "< 20"
    [[ $1 == SQLite ]] || return 0
    row "$1: memory of a running task, 30000 of them (bytes)" "$(< "$work/memory")" ""
    row "$1: restart with $((${RESTART_WORKFLOWS:-20} * 10000)) live tasks (ms)" "$(< "$work/restart")" "< 5000 of 1e6"
}
echo "machine: $(nproc) x $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), load $(cut -d' ' -f1 /proc/loadavg); $(sed -n "s/^CFLAGS = /CFLAGS /p" "$bin/Makefile"); $runs runs, medians"
row "figure" "measured" "aim"
row "----------------------------------------------------------" "------------" "--------------"
figures SQLite
mkdir "$work/pgsql"
if database=$(PGSQL_FSYNC=on "$root/tests/pgsql-server" start "$work/pgsql"); then
    figures PostgreSQL
    "$root/tests/pgsql-server" stop "$work/pgsql"
fi
