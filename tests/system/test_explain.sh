# Why a workflow waits and what failed first: backend never there, too large for now, dependency, backend offline, failure.
. "$(dirname "$0")/lib.sh"
start_service && login || exit 1
explain() { "$osmo" workflow explain "$@" 2>&1; }
says() { [[ $(explain "$1") == *"$2"* ]]; }
sleeping() { pgrep -fx 'sleep 987652' > /dev/null; }
not_sleeping() { ! sleeping; }

cat > "$work/chain.yaml" <<'Y'
workflow:
  name: chain
  tasks:
  - {name: first, image: debian, command: [sh, -c, 'echo started; exec sleep 987652']}
  - {name: second, image: debian, command: [sh, -c, 'echo never'], inputs: [{task: first}]}
Y
chain=$(submit "$work/chain.yaml")
check_has "no backend yet" "$(explain "$chain")" "backend default of the pool has never connected to this service"
check_has "in one line" "$(explain "$chain")" "In short    : workflow $chain is PENDING: group first-group: backend default"
start_backend
check "it runs" eventually 60 sleeping
out=$(explain "$chain")
check_has "dependency" "$out" "dependency: waits for group first-group (RUNNING) to complete"
check_has "when it is ended" "$out" "exec_timeout of first-group: the group fails if it still runs then"

# As much memory as the node gives: the second one waits for the first.
most=$(api GET /api/resources | sed -n 's/.*"platform_allocatable_fields":{"default":{"default":{[^}]*"memory":"\([0-9]*\)Ki".*/\1/p')
check "the node says what it has" test -n "$most"
for name in holder waiter; do
    cat > "$work/$name.yaml" <<Y
workflow:
  name: $name
  resources: {default: {memory: $((most * 3 / 5))Ki}}
  tasks: [{name: t, image: debian, command: [sleep, "987652"]}]
Y
done
holder=$(submit "$work/holder.yaml")
check "the holder runs" eventually 60 says "$holder" "RUNNING"
waiter=$(submit "$work/waiter.yaml")
check "too large for now" eventually 60 says "$waiter" "fit: the scheduler has not placed task t: "
check_has "memory is what it lacks" "$(explain "$waiter")" "memory"
check_has "until when it waits" "$(explain "$waiter")" "queue_timeout of t-group"
json=$(explain "$waiter" -t json)
check_has "as JSON" "$json" '"reason": "fit"'
check_has "as JSON, the next thing" "$json" '"what": "queue_timeout"'

stop_one "$backend_pid" TERM
backend_pid=
check "backend offline" eventually 30 says "$waiter" "backend_offline: backend default is offline"
start_backend
check "it is back" eventually 30 says "$waiter" "fit: the scheduler has not placed task t: "
"$osmo" workflow cancel "$holder" "$waiter" "$chain" > /dev/null
check "nothing is left" eventually 60 not_sleeping
check_has "cancelled" "$(explain "$chain")" "FAILED_CANCELED"

cat > "$work/fail.yaml" <<'Y'
workflow:
  name: failing
  tasks:
  - {name: breaks, image: debian, command: [sh, -c, 'echo it broke >&2; exit 3']}
  - {name: never, image: debian, command: ["true"], inputs: [{task: breaks}]}
Y
id=$(submit "$work/fail.yaml")
"$osmo" workflow wait "$id" --timeout 60 --quiet > /dev/null
out=$(explain "$id")
check_has "what failed first" "$out" "task breaks ended first: FAILED with exit code 3: "
check_has "its evidence" "$out" "it broke"
check_has "its log" "$out" "/api/workflow/$id/logs?task_name=breaks&retry_id=0"
check_has "as JSON" "$(explain "$id" -t json)" '"exit_code": 3'
explain nobody-1 > /dev/null; check_eq "an unknown workflow" "$?" 2
check_has "nothing was given up" "$("$osmo" work list)" "No work item ran out of attempts."
out=$("$osmo" work retry 4711 2>&1); check "no such item" test $? -ne 0
check_has "which one" "$out" "work item 4711 is not one that ran out of attempts"
out=$("$osmo" work retry some 2>&1); check_eq "no number" "$?" 2
check_has "all of none" "$("$osmo" work retry all)" "0 work items are tried again."
check_has "as JSON" "$("$osmo" work list -t json)" '"items": []'
