# The simulator: a trace whose outcome can be worked out by hand, and files that are not understood.
. "$(dirname "$0")/lib.sh"
cat > "$work/trace.yaml" <<'Y'
grace: 10
nodes:
- {name: n, count: 2, cpu: 16, memory: 64Gi, gpu: 4}
queues:
- {name: owner, guarantee: {gpu: 4}}
- {name: guest, guarantee: {gpu: 4}}
gangs:
- {name: lent, queue: guest, priority: LOW, count: 2, pods: 4, cpu: 1, gpu: 1, memory: 1Gi, duration: 100}
- {name: mine, queue: owner, at: 50, pods: 4, cpu: 1, gpu: 1, memory: 1Gi, duration: 20}
- {name: huge, queue: owner, priority: LOW, at: 60, pods: 1, cpu: 99, memory: 1Gi}
Y
out=$("$bin/osmo-sim" --events "$work/trace.yaml"); check_eq "it exits 0" "$?" 0
events=$(grep -E '^[0-9]+ (place|evict|end) ' <<< "$out")
# lent-1 leaves at 60, mine runs from 60 to 80, lent-1 begins anew at 80
check_eq "what happens when" "$events" "0 place lent-0 on n-0 and others
0 place lent-1 on n-1 and others
50 evict lent-1 for mine-2: the queue of another gang takes back what is guaranteed to it
60 place mine-2 on n-1 and others
80 end mine-2
80 place lent-1 on n-1 and others
100 end lent-0
180 end lent-1"
check_has "waits" "$out" "longest 10"
check_has "makespan" "$out" "makespan (s)     180"
check_has "use" "$out" "GPU use          $(awk 'BEGIN { printf "%.1f", 100 * (4 * 100 + 4 * 60 + 4 * 20 + 4 * 100) / (180 * 8) }') %"
check_has "who was never placed, and why" "$out" "never placed     huge-3: needs 99 cpu in all, the cluster has 32"
check_eq "twice the same" "$("$bin/osmo-sim" "$work/trace.yaml" | grep -v scheduling)" "$(grep -vE '^[0-9]|scheduling' <<< "$out")"
echo 'nodes: [{name: n, memory: lots}]' > "$work/bad.yaml"
out=$("$bin/osmo-sim" "$work/bad.yaml" 2>&1); check_eq "a bad file exits 1" "$?" 1
check_has "and names the place" "$out" "line 1, column 27: memory is no quantity such as 512Gi"
"$bin/osmo-sim" > /dev/null 2>&1; check_eq "no file: usage" "$?" 2
