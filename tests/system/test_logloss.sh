# A task prints 200,000 numbered lines while the service is killed (-9) and restarted twice: afterwards every line is in the log exactly once and in
# order, and the workflow is COMPLETED. Then the same for a flood that fills the spool while the service is away: the writer waits, nothing is lost.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
lines_in() { "$osmo" workflow logs "$1" 2>/dev/null | grep -c "\] $2"; }
has_lines() { (($(lines_in "$1" "$2") >= $3)); }

# numbers task pattern count: what is wrong with the numbered lines, "" when nothing is
wrong_lines() {
    "$osmo" workflow logs "$1" > "$work/$1.log" || { echo "cannot read the log"; return; }
    sed -n "s/^.*\] $2 \([0-9]*\).*$/\1/p" "$work/$1.log" | awk -v want="$3" '
        $1 != NR && !bad { printf "line %d holds number %s", NR, $1; bad = 1 }
        END { if (!bad && NR != want) printf "%d lines instead of %d", NR, want }'
}

cat > "$work/lines.yaml" <<'Y'
workflow:
  name: lines
  tasks:
  - name: talker
    image: debian
    command: [awk, 'BEGIN { for (i = 1; i <= 200000; i++) { print "number", i; if (i % 10000 == 0) { fflush(); system("sleep 0.2") } } }']
Y
id=$(submit "$work/lines.yaml")
check_eq "submitted" "$id" lines-1
check "the first lines arrive" eventually 60 has_lines "$id" number 1
stop_one "$service_pid" KILL
start_service || exit 1
check "more lines arrive after the first restart" eventually 60 has_lines "$id" number 60000
stop_one "$service_pid" KILL
start_service || exit 1
"$osmo" workflow wait "$id" --timeout 240 --quiet > "$work/wait.out"
check_eq "ends" "$(tail -n 1 "$work/wait.out")" "Status: COMPLETED"
check_eq "every line once and in order" "$(wrong_lines "$id" number 200000)" ""

# The flood takes minutes: it runs with OSMO_SOAK=1. That the writer waits at the spool's limit is also seen by tests/unit/test_spool.
[[ ${OSMO_SOAK-} ]] || exit 0

# About 300 MB in lines of 10 kB: more than the 256 MB of the spool, most of it while nobody listens.
cat > "$work/flood.yaml" <<'Y'
workflow:
  name: flood
  tasks:
  - name: talker
    image: debian
    command: [awk, 'BEGIN { pad = "x"; while (length(pad) < 10000) pad = pad pad; print "begin"; fflush(); system("sleep 1");
      for (i = 1; i <= 30000; i++) print "piece", i, pad; print "end" }']
Y
id=$(submit "$work/flood.yaml")
check "the flood begins" eventually 60 has_lines "$id" begin 1
stop_one "$service_pid" KILL
spool_is_full() { # the spool has no name: it is a deleted file of osmo_ctrl
    local link
    for link in $(find /proc/[0-9]*/fd -lname '*/.osmo_ctrl_spool (deleted)' 2>/dev/null); do
        (($(stat -Lc %s "$link" 2>/dev/null || echo 0) > 256 << 20)) && return 0
    done
    return 1
}
check "the spool fills while the service is away" eventually 120 spool_is_full
start_service || exit 1
"$osmo" workflow wait "$id" --timeout 400 --quiet > "$work/wait.out"
check_eq "flood ends" "$(tail -n 1 "$work/wait.out")" "Status: COMPLETED"
check_eq "every piece once and in order" "$(wrong_lines "$id" piece 30000)" ""
