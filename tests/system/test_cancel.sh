# Cancel: a running workflow, a waiting one, a finished one; the processes are gone afterwards.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
cat > "$work/long.yaml" <<'Y'
workflow:
  name: long
  tasks:
  - {name: sleeper, image: debian, command: [sh, -c, 'echo started; exec sleep 987654']}
  - {name: after, image: debian, command: [sh, -c, 'echo never'], inputs: [{task: sleeper}]}
Y
sleeping() { pgrep -f 'sleep 987654' > /dev/null; }
not_sleeping() { ! sleeping; }
id=$(submit "$work/long.yaml")
check "it runs" eventually 60 sleeping
out=$("$osmo" workflow cancel "$id" -m "changed my mind"); check_eq "cancel exits 0" "$?" 0
check_has "cancel names the workflow" "$out" "$id"
"$osmo" workflow wait "$id" --timeout 60 --quiet > "$work/w"; check_eq "wait exits 20" "$?" 20
check_has "status and cause" "$(tail -n 1 "$work/w")" "Status: FAILED_CANCELED"
check_has "the message is kept" "$(tail -n 1 "$work/w")" "changed my mind"
check "the process is gone" eventually 30 not_sleeping
out=$("$osmo" workflow cancel "$id" 2>&1)
check_has "cancelling a finished one is refused" "$out" "Error"
check_has "its log ends" "$("$osmo" workflow logs "$id")" "[sleeper] started"
# more memory than the machine has: it stays in the queue, says why, and can be cancelled there
cat > "$work/huge.yaml" <<'Y'
workflow:
  name: huge
  resources: {default: {memory: 4000Gi}}
  tasks: [{name: t, image: debian, command: [true]}]
Y
id=$(submit "$work/huge.yaml")
if [[ -n $id ]]; then
    "$osmo" workflow wait "$id" --timeout 2 --quiet > /dev/null 2>&1; check_eq "wait times out with 124" "$?" 124
    check_has "events tell why it waits" "$(timeout 3 "$osmo" workflow events "$id")" "memory"
    "$osmo" workflow cancel "$id" > /dev/null
    "$osmo" workflow wait "$id" --timeout 60 --quiet > "$work/w"
    check_has "a queued one is cancelled" "$(tail -n 1 "$work/w")" "FAILED_CANCELED"
fi
