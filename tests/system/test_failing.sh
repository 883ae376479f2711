# A failing task ends FAILED with its exit code and cause; what depends on it ends FAILED_UPSTREAM; the client exits 20.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
cat > "$work/fail.yaml" <<'Y'
workflow:
  name: failing
  tasks:
  - name: breaks
    image: debian
    command: [sh, -c, 'echo before the end; exit 3']
  - name: never
    image: debian
    command: [sh, -c, 'echo must not run']
    inputs:
    - task: breaks
  - name: other
    image: debian
    command: [sh, -c, 'echo independent']
Y
out=$("$osmo" workflow submit "$work/fail.yaml" --follow 2>&1); code=$?
check_eq "exit code of --follow" "$code" 20
check_has "last line tells status and cause" "$(tail -n 1 <<< "$out")" "Status: FAILED"
check_has "the cause names the task" "$(tail -n 1 <<< "$out")" "breaks"
check_has "the cause names the exit code" "$(tail -n 1 <<< "$out")" "3"
check_has "its output is in the log" "$out" "[breaks] before the end"
check_has "the independent task ran" "$out" "[other] independent"
[[ $out != *"must not run"* ]]; check_eq "the dependent task did not run" "$?" 0
json=$("$osmo" workflow query failing-1 -t json)
check_has "downstream is FAILED_UPSTREAM" "$json" FAILED_UPSTREAM
check_has "exit code in the answer" "$json" '"exit_code": 3'
check_has "exit code of upstream failure" "$json" '"exit_code": 3000'
"$osmo" workflow wait failing-1 --quiet > "$work/wait.out"; check_eq "wait exits 20" "$?" 20
cat > "$work/missing.yaml" <<'Y'
workflow:
  name: missing
  tasks:
  - {name: nope, image: debian, command: [/no/such/program]}
  - {name: killed, image: debian, command: [sh, /tmp/k.sh], files: [{path: /tmp/k.sh, contents: 'kill -9 $$'}]}
Y
out=$("$osmo" workflow submit "$work/missing.yaml" --follow 2>&1)
check_has "a missing program is named" "$out" "/no/such/program"
json=$("$osmo" workflow query missing-1 -t json)
check_has "127 for a missing program" "$json" '"exit_code": 127'
check_has "137 for SIGKILL" "$json" '"exit_code": 137'
check_has "error logs exist" "$("$osmo" workflow logs failing-1 --error -t breaks 2>&1)" "before the end"
