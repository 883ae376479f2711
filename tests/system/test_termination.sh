# A pod that is told to end: the command hears it, its last words and (unless it was cancelled) its outputs still leave.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
cat > "$work/s.yaml" <<'Y'
workflow:
  name: ending
  tasks:
  - name: gentle
    image: debian
    command: [sh, -c, 'trap "echo saving; echo kept > {{output}}/kept; exit 0" TERM; echo ready; while :; do sleep 0.05; done']
Y
not() { ! "$@"; }
supervisors() { pgrep -f "osmo-pod-supervisor.*$work/backend"; }
logged() { timeout 2 "$osmo" workflow logs "$1" 2> /dev/null | grep -q "$2"; } # those of a running task do not end
ended() { [[ $(status_of "$1") == F* || $(status_of "$1") == C* ]]; }

# ---- as an eviction does it: nobody has told the service
id=$(submit "$work/s.yaml")
check "the command is ready" eventually 60 logged "$id" ready
mapfile -t pids < <(supervisors)
check "it has a supervisor" test "${#pids[@]}" -gt 0
kill -TERM "${pids[@]}"
check "the workflow ends" eventually 60 ended "$id"
log=$("$osmo" workflow logs "$id")
check_has "its last words" "$log" "[gentle] saving"
check_has "its output is uploaded" "$log" "Uploaded 1 file"
check_has "and osmo_ctrl says why it ends" "$log" "osmo_ctrl ends with code 1"
check_has "2001" "$("$osmo" workflow query "$id" -t json)" '"exit_code": 2001'
check "the output is there" find "$work/data" -path "*$id*" -name kept -print -quit

# ---- cancelled: the same words, no output
id=$(submit "$work/s.yaml")
check "the next command is ready" eventually 60 logged "$id" ready
"$osmo" workflow cancel "$id" > /dev/null
check "no process is left" eventually 30 not supervisors
log=$("$osmo" workflow logs "$id")
check_has "its last words, too" "$log" "[gentle] saving"
check "its output is nobody's" not grep -q "Uploaded" <<< "$log"
