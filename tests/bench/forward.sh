# A forwarded port (client, service, osmo_ctrl) against socat doing one hop, and a chain of three, on this machine in one run; and what idle
# connections cost (a task takes 384 of them). The server at the far end is the same program.
. "$(dirname "$0")/../system/lib.sh"
seconds=${OSMO_BENCH_SECONDS:-3} rounds=${OSMO_BENCH_ROUNDS:-10000} idle=${OSMO_BENCH_IDLE:-380}
forward=$bin/tests/bench/forward
command -v socat > /dev/null || { echo "socat, the peer, is not installed: apt-get install socat"; exit 1; }
start_all || exit 1
cat > "$work/s.yaml" <<'Y'
workflow:
  name: ports
  tasks: [{name: server, image: debian, command: [sh, -c, 'exec sleep 3600']}]
Y
id=$(submit "$work/s.yaml")
running() { [[ $(status_of "$id") == RUNNING ]]; }
eventually 60 running || exit 1
base=$((40000 + RANDOM % 10000))
"$osmo" workflow exec "$id" server --entry "sh -c 'cat > /osmo/run/forward; chmod +x /osmo/run/forward'" < "$forward" || exit 1
"$osmo" workflow exec "$id" server --entry "/osmo/run/forward serve 7007" < /dev/null > "$work/far.log" 2>&1 & pids=($!)
"$forward" serve "$base" & pids+=($!)
hop() { socat "TCP-LISTEN:$1,bind=127.0.0.1,fork,reuseaddr,nodelay" "TCP:127.0.0.1:$2,nodelay" & pids+=($!); }
hop $((base + 1)) "$base"
hop $((base + 2)) $((base + 1))
hop $((base + 3)) $((base + 2))
"$osmo" workflow port-forward "$id" server --port "$((base + 4)):7007" > "$work/forward.log" 2>&1 & client=$!
pids+=("$client")
trap 'kill "${pids[@]}" 2>/dev/null; finish; exit $?' EXIT
answers() { [[ $("$forward" rtt $((base + 4)) 1 2> /dev/null) ]] && [[ $("$forward" rtt $((base + 3)) 1 2> /dev/null) ]]; }
eventually 30 answers || { cat "$work/forward.log" "$work/far.log"; exit 1; }
row() { # name, port
    printf '%-34s %8s %8s %10s\n' "$1" "$("$forward" up "$2" "$seconds")" "$("$forward" down "$2" "$seconds")" "$("$forward" rtt "$2" "$rounds" | tr ' ' /)"
}
printf '%-34s %8s %8s %10s\n' "" "up MB/s" "down MB/s" "rtt us p50/p99"
row "direct" "$base"
row "socat, one hop" $((base + 1))
row "socat, three hops" $((base + 3))
row "osmo: client, service, osmo_ctrl" $((base + 4))

# ---- memory of idle connections
ctrl=
for p in $(pgrep osmo_ctrl); do
    [[ $(tr '\0' ' ' < "/proc/$p/cmdline") == *"$id"* && $(readlink "/proc/$p/exe") == *osmo_ctrl* ]] && ctrl=$p
done
rss() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status" 2> /dev/null; }
ulimit -n "$(ulimit -Hn)"
before=("$(rss "$client")" "$(rss "$service_pid")" "$(rss "$ctrl")")
mkfifo "$work/hold"
"$forward" hold $((base + 4)) "$idle" < "$work/hold" > "$work/held" 2>&1 & pids+=($!)
exec 8> "$work/hold"
held() { grep -q held "$work/held"; }
eventually 60 held || cat "$work/held"
after=("$(rss "$client")" "$(rss "$service_pid")" "$(rss "$ctrl")")
names=(client service osmo_ctrl)
for i in 0 1 2; do
    [[ ${before[i]} && ${after[i]} ]] && printf '%-10s %6d kB, with %d idle connections %6d kB: %d bytes each\n' "${names[i]}" "${before[i]}" "$idle" "${after[i]}" \
        $(((after[i] - before[i]) * 1024 / idle))
done
exec 8>&-
