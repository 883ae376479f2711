#!/usr/bin/env bash
# Large workflows: from the request to durable state (answer 200), with SQLite and, where it is installed, PostgreSQL.
# A fresh service and database for each row, so that the peak memory is of that submission alone.
set -u
. "$(dirname "$0")/../system/lib.sh"
size=$bin/tests/bench/size
row() { printf '| %-10s | %-6s | %7s | %9s | %9s | %8s | %8s | %9s |\n' "$@"; }
start_dev() {
    rm -rf "$work/data" "$work/port"
    mkdir -m 700 "$work/data"
    "$bin/osmo-service" --listen 127.0.0.1:0 --auth dev --data-dir "$work/data" --port-file "$work/port" --log-level ERROR \
        ${database:+--database "$database"} 2>> "$work/service.log" &
    service_pid=$!
    eventually 30 test -s "$work/port" || return 1
    port=$(< "$work/port")
}
database_kib() {
    if [[ $database ]]; then du -sk "$work/pg" | cut -f 1; else du -skc "$work"/data/osmo.db* | tail -n 1 | cut -f 1; fi
}
measure() { # name of the database, shape, tasks
    local ms rss got before after get_ms
    start_dev || return
    before=$(database_kib)
    read -r ms rss _ < <("$size" submit "$port" "$service_pid" "$2" "$3")
    after=$(database_kib)
    read -r get_ms _ got < <("$size" get "$port" "$service_pid" /api/workflow/size-1)
    if [[ -z ${ms-} ]]; then
        row "$1" "$2" "$3" failed "" "" "" ""
    else
        row "$1" "$2" "$3" "$ms" "$(awk -v n="$3" -v ms="$ms" 'BEGIN { printf "%.0f", n * 1000 / (ms ? ms : 1) }')" "$rss" \
            "$(((after - before) / 1024))" "${get_ms-failed}"
    fi
    stop_one "$service_pid"
    service_pid=
}
all() { # name of the database
    local n
    for n in 1000 10000 100000; do
        measure "$1" tasks "$n"
        [[ $database ]] && fresh_pgsql
    done
    for n in groups chain; do
        measure "$1" "$n" 100000
        [[ $database ]] && fresh_pgsql
    done
}
fresh_pgsql() {
    "$root/tests/pgsql-server" stop "$work/pg" > /dev/null 2>&1
    database=$("$root/tests/pgsql-server" start "$work/pg")
}
echo
echo "submission of one workflow, HTTP request to durable state; aim: 100000 tasks < 2000 ms; time and memory grow linearly"
row database shape tasks "submit ms" "tasks/s" "peak MiB" "disk MiB" "detail ms"
row ---------- ------ ------- --------- --------- -------- -------- ---------
all SQLite
mkdir -p "$work/pg" && chmod 711 "$work/pg"
if database=$("$root/tests/pgsql-server" start "$work/pg" 2> /dev/null); then
    all PostgreSQL
    "$root/tests/pgsql-server" stop "$work/pg" > /dev/null 2>&1
else
    echo "PostgreSQL is not installed: not measured"
fi
