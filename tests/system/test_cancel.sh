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
sleeping() { pgrep -fx 'sleep 987654' > /dev/null; }
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
# more memory than is free: it stays in the queue, says why, and can be cancelled there
most=$(api GET /api/resources | sed -n 's/.*"platform_allocatable_fields":{"default":{"default":{[^}]*"memory":"\([0-9]*\)Ki".*/\1/p')
check "the node says what it has" test -n "$most"
for name in holder waiter; do
    cat > "$work/$name.yaml" <<Y
workflow:
  name: $name
  resources: {default: {memory: $((most * 3 / 5))Ki}}
  tasks: [{name: t, image: debian, command: [sleep, "987654"]}]
Y
done
holder=$(submit "$work/holder.yaml")
check "the holder runs" eventually 60 sleeping
id=$(submit "$work/waiter.yaml")
check_has "more memory than is free: accepted" "$id" waiter-
"$osmo" workflow wait "$id" --timeout 2 --quiet > /dev/null 2>&1; check_eq "wait times out with 124" "$?" 124
check_has "events tell why it waits" "$(timeout 3 "$osmo" workflow events "$id")" "memory"
"$osmo" workflow cancel "$id" > /dev/null
"$osmo" workflow wait "$id" --timeout 60 --quiet > "$work/w"
check_has "a queued one is cancelled" "$(tail -n 1 "$work/w")" "FAILED_CANCELED"
"$osmo" workflow cancel "$holder" > /dev/null
check "the holder is gone" eventually 30 not_sleeping
# cancelled at any moment of its start, a pod leaves nothing behind: no sandbox waits for a word that never comes
for i in {1..20}; do
    id=$(submit "$work/long.yaml")
    read -rt "0.0$((i % 10))" <> <(:) || true
    "$osmo" workflow cancel "$id" > /dev/null
    "$osmo" workflow wait "$id" --timeout 60 --quiet > /dev/null
done
no_pods() { ! ls "$work"/backend/pods/*/lock > /dev/null 2>&1; }
# a sandbox that nobody watches any more: neither a supervisor nor the sandbox's own outer half is its parent
no_sandboxes() {
    local pid parent
    for pid in $(pgrep -f 'bwrap --args'); do
        parent=$(sed -n 's/^PPid:\t//p' "/proc/$pid/status" 2>/dev/null) || continue
        [[ -z $parent || $(cat "/proc/$parent/comm" 2>/dev/null) =~ ^(osmo-pod-superv|bwrap) ]] || return 1
    done
}
check "their pods are gone" eventually 60 no_pods
check "their sandboxes are gone" eventually 30 no_sandboxes
