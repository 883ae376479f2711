# Several services on one PostgreSQL, each with a data directory of its own and one storage directory in common, behind a relay that
# stands for what is in front of them in a real installation. What one does the others show at once; one is killed (-9) and its data
# directory deleted, and nothing is lost: its work goes on within its lease, and the logs written through it are read whole.
. "$(dirname "$0")/lib.sh"
database=$("$root/tests/pgsql-server" start "$work/pgsql") || { fail "a private PostgreSQL"; exit 1; }
"$bin/tests/system/relay" "$work/front.port" "$work/front.targets" 2>> "$work/relay.log" &
front_pid=$!
"$bin/tests/system/relay" "$work/agent.port" "$work/agent.targets" 2>> "$work/relay.log" &
agent_pid=$!
check "the relays listen" eventually 10 test -s "$work/front.port" -a -s "$work/agent.port"
front=http://127.0.0.1:$(< "$work/front.port") agent=http://127.0.0.1:$(< "$work/agent.port")
declare -A replica_pid replica_url
mkdir -m 700 "$work/storage"

replica_start() { # number
    local key=()
    [[ -s $work/master-key.yaml ]] && key=(--master-key "$work/master-key.yaml") # the one that the first of them made
    mkdir -p -m 700 "$work/replica$1"
    rm -f "$work/port$1"
    "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/replica$1" --storage "$work/storage" --database "$database" --workers 12 \
        --base-url "$front" --port-file "$work/port$1" "${key[@]}" 2>> "$work/service$1.log" &
    replica_pid[$1]=$!
    eventually 60 test -s "$work/port$1" || { tail -n 20 "$work/service$1.log"; fail "replica $1 starts"; exit 1; }
    [[ -s $work/master-key.yaml ]] || cp "$work/replica$1/master-key.yaml" "$work/master-key.yaml" || exit 1
    replica_url[$1]=http://127.0.0.1:$(< "$work/port$1")
    [[ -s $work/data/admin-token ]] || cp "$work/replica$1/admin-token" "$work/data/admin-token" || exit 1
    mkdir -m 700 -p "$work/config$1"
    OSMO_CONFIG_FILE_DIR=$work/config$1 "$osmo" login "${replica_url[$1]}" --method token --token-file "$work/data/admin-token" > "$work/login.log" 2>&1 ||
        { cat "$work/login.log"; fail "log in to replica $1"; }
}
at() { local n=$1; shift; OSMO_CONFIG_FILE_DIR=$work/config$n "$osmo" "$@"; } # through one replica
replica_stop() { stop_one "${replica_pid[$1]}" "${2:-TERM}"; }
targets() { local n; for n in "${@:2}"; do echo "${replica_url[$n]##*:}"; done > "$work/$1.new" && mv "$work/$1.new" "$work/$1.targets"; }
stop_everything() {
    local n
    stop_one "$backend_pid"; backend_pid=
    for n in "${!replica_pid[@]}"; do replica_stop "$n"; done
    stop_one "$front_pid"; stop_one "$agent_pid"
    "$root/tests/pgsql-server" stop "$work/pgsql"
    ((failures)) && for n in 1 2 3; do [[ -f $work/service$n.log ]] && { echo "--- service$n.log"; tail -n 40 "$work/service$n.log"; }; done
}
trap 'stop_everything; finish; exit $?' EXIT

# name seconds: two tasks that wait for each other, and one behind them that reads their data
spec() {
    cat > "$work/$1.yaml" <<Y
workflow:
  name: $1
  groups:
  - name: pair
    tasks:
    - {name: left, image: debian, lead: true, command: [sh, -c, 'echo ran-left; for i in 1 2 3 4 5; do echo tick \$i; sleep $2; done; echo data > {{output}}/f']}
    - {name: right, image: debian, command: [sh, -c, 'echo ran-right; sleep $2']}
  - name: behind
    tasks:
    - {name: last, image: debian, command: [sh, -c, 'cat {{input:0}}/f; echo ran-last'], inputs: [{task: left}]}
Y
}
send() { spec "$2" "$3"; at "$1" workflow submit "$work/$2.yaml" -t json | sed -n 's/^ *"name": "\(.*\)",*$/\1/p' | head -n 1; }
has_line() { at "$1" workflow logs "$2" -n 100 2>/dev/null < /dev/null | timeout 2 grep -qm1 "$3"; }
logged() { [[ -f $1 ]] && grep -q "$2" "$1"; }

# replica id: it is COMPLETED, and its log is whole and in order
whole() {
    local out word
    timeout 120 env OSMO_CONFIG_FILE_DIR="$work/config$1" "$osmo" workflow wait "$2" --timeout 100 --quiet > "$work/wait.out"
    check_eq "$2 through replica $1: ends" "$(tail -n 1 "$work/wait.out")" "Status: COMPLETED"
    out=$(at "$1" workflow logs "$2")
    for word in ran-left ran-right ran-last data; do check_eq "$2 through replica $1: $word once" "$(grep -c "\] $word\$" <<< "$out")" 1; done
    check_eq "$2 through replica $1: ticks" "$(sed -n 's/^.*\[left\] tick //p' <<< "$out" | tr -d '\n')" 12345
}

replica_start 1
replica_start 2
targets front 1 2
targets agent 1
url=$agent start_backend

# What happens through replica 1 is seen at once through replica 2, by followers of the log and of the status.
id=$(send 1 seen 0.8)
check_eq "submitted through 1" "$id" seen-1
at 2 workflow logs "$id" > "$work/follow.log" 2>&1 &
follower=$!
at 2 workflow wait "$id" --timeout 100 --quiet > "$work/follow.status" 2>&1 &
waiter=$!
check "a follower at 2 gets lines while it runs" eventually 60 logged "$work/follow.log" 'tick 1'
check "the follower's log ends" wait "$follower"
check "the waiter ends" wait "$waiter"
check_eq "the follower has the whole log" "$(sed -n 's/^.*\[left\] tick //p' "$work/follow.log" | tr -d '\n')" 12345
check_eq "the waiter has the status" "$(tail -n 1 "$work/follow.status")" "Status: COMPLETED"
whole 1 "$id"
whole 2 "$id"

# Through both at a time; a cancel through the other one.
ids=()
for i in 1 2 3 4 5 6; do ids+=("$(send $((i % 2 + 1)) "both$i" 0.8)"); done
id=$(send 1 stopped 60)
check "$id runs" eventually 60 has_line 2 "$id" 'tick 1'
at 2 workflow cancel "$id" > "$work/cancel.out" 2>&1
check "$id is cancelled through 2" eventually 30 bash -c "OSMO_CONFIG_FILE_DIR='$work/config1' '$osmo' workflow query $id -t json | grep -q FAILED_CANCELED"
for id in "${ids[@]}"; do whole 2 "$id"; done

# Replica 1, which the backend and half of the tasks are connected to, is killed, and its data directory deleted.
id=$(send 1 killed 3)
check "$id runs" eventually 60 has_line 2 "$id" 'tick 1'
replica_stop 1 KILL
unset 'replica_pid[1]'
rm -rf "$work/replica1"
targets front 2
targets agent 2
more=$(send 2 after 0.8)
whole 2 "$id"
whole 2 "$more"
whole 2 seen-1

# A third one comes, and sees what the first has left.
replica_start 3
targets front 2 3
whole 3 seen-1
whole 3 killed-1
# The connections of one backend may be to several of them: what one of its connections reports, the others act on.
targets agent 2 3
stop_one "$backend_pid"
url=$agent start_backend
id=$(send 3 third 0.8)
whole 2 "$id"

# One that is stopped in order takes nothing with it.
id=$(send 3 leaves 2)
check "$id runs" eventually 60 has_line 2 "$id" 'tick 1'
replica_stop 3
check_eq "replica 3 stops with 0" "$?" 0
unset 'replica_pid[3]'
targets front 2
whole 2 "$id"

# What replicas tell each other is for replicas only.
port=${replica_url[2]##*:}
check_eq "an unsigned message" "$(http_request POST /api/internal/replica '{"hints":[["all"]]}' | http_status)" 401

# Three of them, of which one after the other is killed or stopped in order, loses its directory and comes back, while work goes on.
[[ ${OSMO_SOAK-} ]] || exit 0
replica_start 1
replica_start 3
targets front 1 2 3
targets agent 1 2 3
ids=()
for ((turn = 0; turn < 20; turn++)); do
    for i in 1 2 3; do ids+=("$(send "$i" "soak$turn-$i" 0.8)"); done
    n=$((RANDOM % 3 + 1))
    replica_stop "$n" "$((RANDOM % 2 ? 9 : 15))"
    rm -rf "$work/replica$n"
    replica_start "$n"
    targets front 1 2 3
    targets agent 1 2 3
done
for i in "${!ids[@]}"; do whole $((i % 3 + 1)) "${ids[i]}"; done
