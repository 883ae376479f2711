#!/usr/bin/env bash
# Logs from end to end, with real processes: tasks of the local cluster write lines of 128 bytes as fast as they can, through osmo_exec and osmo_ctrl
# to the service, which acknowledges what it has stored; then how long a line takes from the task to somebody who follows the log; then, inside
# the log store, how long it takes to come to line N of ten million. RUNS runs, medians. Aims are goals, not gates.
set -u
runs=${RUNS:-3} lines=${LINES_EACH:-1000000} tasks=${TASKS:-4}
. "$(dirname "$0")/../system/lib.sh"
row() { printf '| %-66s | %12s | %-12s |\n' "$1" "$2" "$3"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# From the start of the first task to the end of the last: a task ends when its last line is stored.
span_s() {
    "$osmo" workflow query "$1" -t json | awk -F'"' '
        function us(t) { gsub(/[-T:.]/, " ", t); split(t, p, " "); return mktime(p[1] " " p[2] " " p[3] " " p[4] " " p[5] " " p[6]) + ("0." p[7]) }
        $2 == "start_time" && $4 { t = us($4); if (t > start) start = t }
        $2 == "end_time" && $4 { t = us($4); if (t > end) end = t }
        END { printf "%.3f\n", end - start }'
}
cpu_s() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "/proc/$1/stat"; }

echo "machine: $(nproc) x $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1), load $(cut -d' ' -f1 /proc/loadavg)"
echo "built: $(gcc --version | head -n 1), $(sed -n "s/^CFLAGS = /CFLAGS /p" "$bin/Makefile"); $runs runs, medians"
start_all --cpu-overcommit 8 || exit 1

{
    printf 'workflow:\n  name: lines\n  resources: {default: {cpu: 1, memory: 64Mi, storage: 1Gi}}\n  tasks:\n'
    for ((i = 0; i < tasks; i++)); do
        printf '  - name: t%d\n    image: debian\n    command: [perl, -e, '"'"'$p = "x" x 119; printf("%%08d %%s\\n", $_, $p) for 1 .. %d'"'"']\n' "$i" "$lines"
    done
} > "$work/lines.yaml"
for ((run = 0; run < runs; run++)); do
    before=$(cpu_s "$service_pid")
    id=$(submit "$work/lines.yaml")
    status=$("$osmo" workflow wait "$id" --quiet | tail -n 1)
    [[ $status == "Status: COMPLETED" ]] || { echo "FAILED: $status"; exit 1; }
    seconds=$(span_s "$id")
    awk -v n=$((tasks * lines)) -v s="$seconds" -v a="$before" -v b="$(cpu_s "$service_pid")" 'BEGIN { printf "%.0f %.2f\n", n / s, (b - a) * 1e6 / n }'
done > "$work/rates"
row "figure" "measured" "aim"
row "------------------------------------------------------------------" "------------" "------------"
row "lines of 128 bytes from $tasks tasks to the store (per s)" "$(cut -d' ' -f1 "$work/rates" | median)" ">= 200000"
row "  CPU of the service for a line (us)" "$(cut -d' ' -f2 "$work/rates" | median)" ""

cat > "$work/ticks.yaml" <<'Y'
workflow:
  name: ticks
  tasks:
  - name: t
    image: debian
    command: [perl, '-MTime::HiRes=time,sleep', -e, '$| = 1; for (1 .. 4000) { printf("tick %.6f\n", time); sleep(0.001 + rand(0.002)) }']
Y
id=$(submit "$work/ticks.yaml")
"$osmo" workflow logs "$id" | perl -MTime::HiRes=time -ne '
    push @d, time - $1 if /tick ([0-9.]+)/;
    END { @d = sort { $a <=> $b } @d[20 .. $#d]; printf("%.2f %.2f %d\n", $d[@d / 2] * 1e3, $d[@d * 0.99] * 1e3, scalar @d) }' > "$work/latency"
read -r p50 p99 _ < "$work/latency"
row "from the task's write to the follower's screen: p50 (ms)" "$p50" ""
row "from the task's write to the follower's screen: p99 (ms)" "$p99" "< 20"
database=$("$root/tests/pgsql-server" start "$work/pgsql") || database=
"$bin/tests/bench/logseek" 10000000 ${database:+"$database"} | while IFS=$'\t' read -r what value aim; do row "$what" "$value" "$aim"; done
[[ -z $database ]] || "$root/tests/pgsql-server" stop "$work/pgsql"
