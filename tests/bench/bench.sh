#!/usr/bin/env bash
# The figures of the main job as a table: medians over RUNS runs, with machine, versions and settings. Aims are goals, not gates.
set -u
runs=${RUNS:-5}
. "$(dirname "$0")/../system/lib.sh"
measure=$bin/tests/bench/measure
row() { printf '| %-58s | %12s | %-14s |\n' "$1" "$2" "$3"; }
# microseconds between two ISO times of a workflow
span_ms() {
    local json from to
    json=$("$osmo" workflow query "$1" -t json)
    from=$(sed -n 's/^  "submit_time": "\(.*\)",*$/\1/p' <<< "$json")
    to=$(sed -n 's/^  "end_time": "\(.*\)",*$/\1/p' <<< "$json")
    awk -v a="$(date -ud "${from}Z" +%s.%6N)" -v b="$(date -ud "${to}Z" +%s.%6N)" 'BEGIN { printf "%.1f\n", (b - a) * 1000 }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

echo "machine: $(nproc) x $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), $(awk '/MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), $(. /etc/os-release; echo "$PRETTY_NAME"), Linux $(uname -r)"
echo "built: $(gcc --version | head -n 1), $(sed -n "s/^CFLAGS = /CFLAGS /p" "$bin/Makefile"); SQLite, group commit, synchronous=FULL; $runs runs, medians"
free_port=$((20000 + RANDOM % 20000))
read -r start_ms start_rss < <("$measure" start "$runs" "$free_port" "$bin/osmo-service" --listen "127.0.0.1:$free_port" --data-dir "$work/cold" --log-level ERROR)
start_all --cpu-overcommit "${OVERCOMMIT:-8}" || exit 1
read -r cli_ms cli_rss < <("$measure" exec $((runs * 4)) "$osmo" version)
hello=$(for ((i = 0; i < runs + 1; i++)); do
    id=$(submit "$root/examples/hello_world.yaml")
    "$osmo" workflow wait "$id" --quiet > /dev/null || exit 1
    ((i)) && span_ms "$id"
done | median)
{
    printf 'workflow:\n  name: many\n  resources: {default: {cpu: 1, memory: 64Mi, storage: 64Mi}}\n  tasks:\n'
    for ((i = 0; i < 200; i++)); do printf '  - {name: t%d, image: debian, command: ["true"]}\n' "$i"; done
} > "$work/many.yaml"
many=$(for ((i = 0; i < (runs + 1) / 2; i++)); do
    id=$(submit "$work/many.yaml")
    "$osmo" workflow wait "$id" --quiet > /dev/null || exit 1
    span_ms "$id"
done | median)
echo
row "figure" "measured" "aim"
row "----------------------------------------------------------" "------------" "--------------"
row "osmo-service: exec to first 200 on /health (ms)" "$start_ms" "< 100"
row "osmo-service: resident memory when idle (MiB)" "$start_rss" "< 30"
row "hello_world: submit to COMPLETED (ms)" "$hello" "< 300"
row "osmo version: wall (ms)" "$cli_ms" "< 10"
row "osmo version: peak memory (MiB)" "$cli_rss" "< 8"
row "200 x true, one workflow: submit to COMPLETED (ms)" "$many" ""
row "  tasks per second, each a sandboxed pod of 3 containers" "$(awk -v m="$many" 'BEGIN { printf "%.1f", 200000 / m }')" "> 50"
row "  peers, 500 x true: Slurm 22.05 / Snakemake 7.21 (per s)" "61 / 42" "bare processes"
