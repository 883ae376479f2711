# The README's first command, on a built tree: its last line and exit code, for a good and for a failing workflow.
. "$(dirname "$0")/lib.sh"
[[ ${OSMO_SANITIZED-} ]] && { echo "the default build is tested by the default suite"; exit 0; }
out=$("$root/quickstart" 2>&1); check_eq "quickstart exits 0" "$?" 0
check_eq "last line" "$(tail -n 1 <<< "$out")" "Status: COMPLETED"
check_has "log lines" "$out" "["
cat > "$work/bad.yaml" <<'Y'
workflow:
  name: bad
  tasks: [{name: t, image: debian, command: [sh, -c, 'echo oops; exit 7']}]
Y
out=$("$root/quickstart" "$work/bad.yaml" 2>&1); check_eq "a failing workflow exits 1" "$?" 1
check_has "its cause is the last line" "$(tail -n 1 <<< "$out")" "Status: FAILED"
check_has "with the exit code" "$(tail -n 1 <<< "$out")" "7"
"$root/quickstart" /no/such.yaml > "$work/o" 2>&1; check_eq "a missing file exits 2" "$?" 2
out=$("$root/quickstart" --image "=$work/none" 2>&1); check_eq "a backend that cannot start: exits 1" "$?" 1
check_eq "its last line" "$(tail -n 1 <<< "$out")" "Status: FAILED (osmo-backend has ended)"
check_has "and why, before that" "$out" "$work/none"
