# Timeouts and refusals end to end: a task that runs too long is killed and says why; one that waits too long for room too;
# what fits no node is refused at once, with the size of the largest.
. "$(dirname "$0")/lib.sh"
start_all || exit 1

cat > "$work/exec.yaml" <<'Y'
workflow:
  name: exec
  timeout: {exec_timeout: 2s}
  tasks:
  - {name: slow, image: debian, command: [sh, -c, 'echo started; exec sleep 987653']}
Y
sleeping() { pgrep -f 'sleep 987653' > /dev/null; }
not_sleeping() { ! sleeping; }
id=$(submit "$work/exec.yaml")
check "it runs" eventually 60 sleeping
"$osmo" workflow wait "$id" --timeout 60 --quiet > "$work/w"; check_eq "wait exits 20" "$?" 20
check_has "status" "$(tail -n 1 "$work/w")" "FAILED_EXEC_TIMEOUT"
check_has "cause" "$(tail -n 1 "$work/w")" "group slow-group ran longer than its exec_timeout of 2s"
check "the process is gone" eventually 30 not_sleeping
check_has "what it said before is in the log" "$("$osmo" workflow logs "$id")" "[slow] started"

# As much memory as the node gives: the second one waits for the first.
most=$(api GET /api/resources | sed -n 's/.*"platform_allocatable_fields":{"default":{"default":{[^}]*"memory":"\([0-9]*\)Ki".*/\1/p')
check "the node says what it has" test -n "$most"
hold() { # name, timeout
    cat > "$work/$1.yaml" <<Y
workflow:
  name: $1
  timeout: {queue_timeout: $2}
  resources: {default: {memory: $((most * 3 / 5))Ki}}
  tasks:
  - {name: t, image: debian, command: [sh, -c, 'exec sleep 987653']}
Y
}
hold holder 60s; hold waiter 2s
first=$(submit "$work/holder.yaml")
check "the holder runs" eventually 60 sleeping
second=$(submit "$work/waiter.yaml")
"$osmo" workflow wait "$second" --timeout 60 --quiet > "$work/w"; check_eq "the waiter fails" "$?" 20
check_has "status" "$(tail -n 1 "$work/w")" "FAILED_QUEUE_TIMEOUT"
check_has "cause" "$(tail -n 1 "$work/w")" "waited for resources longer than its queue_timeout of 2s"
check_has "the holder is not touched" "$(status_of "$first")" "RUNNING"
"$osmo" workflow cancel "$first" > /dev/null
"$osmo" workflow wait "$first" --timeout 60 --quiet > "$work/w"
check "nothing is left" eventually 30 not_sleeping

cat > "$work/huge.yaml" <<'Y'
workflow:
  name: huge
  resources: {default: {memory: 900000Gi}}
  tasks: [{name: t, image: debian, command: ["true"]}]
Y
out=$("$osmo" workflow submit "$work/huge.yaml" 2>&1); check "the huge one is refused" test $? -ne 0
check_has "what is too large" "$out" "memory 900000Gi is more than"
check_has "how large the largest node is" "$out" "the largest of 1, node"

cat > "$work/why.yaml" <<'Y'
workflow:
  name: why
  tasks: [{name: nope, image: debian, command: [no-such-command]}]
Y
id=$(submit "$work/why.yaml")
"$osmo" workflow wait "$id" --timeout 60 --quiet > "$work/w"
check_eq "the cause says each thing once" "$(tail -n 1 "$work/w")" \
    "Status: FAILED (task nope failed with exit code 127: cannot run 'no-such-command': No such file or directory)"
