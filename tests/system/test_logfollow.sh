# Following a log while the service (which has the logger) and the backend are killed (-9) and restarted: the client goes on where it was, and what it
# prints is the whole log, every line once and in order. Then what can be asked for: streams, lines by number, expressions, times, events for a browser.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
cat > "$work/ticks.yaml" <<'Y'
workflow:
  name: ticks
  tasks:
  - name: talker
    image: debian
    command: [perl, -e, '$| = 1; for $i (1 .. 4000) { print "tick $i\n"; print STDERR "oops $i\n" if $i % 100 == 0; select(undef, undef, undef, 0.001) } print "a\rb\n"']
Y
id=$(submit "$work/ticks.yaml")
check_eq "submitted" "$id" ticks-1
"$osmo" workflow logs "$id" > "$work/followed" 2>&1 &
follower=$!
"$osmo" workflow logs "$id" --stream stderr -t talker > "$work/errors" 2>&1 &
errors=$!
reached() { grep -q "tick $1\$" "$work/followed"; }
check "lines arrive" eventually 60 reached 200
stop_one "$service_pid" KILL
start_service || exit 1
check "more arrive after the service was killed" eventually 60 reached 1200
stop_one "$backend_pid" KILL
start_backend
check "and after the backend was" eventually 60 reached 2000
stop_one "$service_pid"
start_service || exit 1
check "and after an orderly restart" eventually 60 reached 3000
"$osmo" workflow wait "$id" --timeout 100 --quiet > "$work/wait.out"
check_eq "completed" "$(tail -n 1 "$work/wait.out")" "Status: COMPLETED"
check "the follower ends" wait "$follower"
check "the other one, too" wait "$errors"
"$osmo" workflow logs "$id" > "$work/whole"
check "what was followed is the log" cmp "$work/followed" "$work/whole"
check_eq "every line once and in order" "$(sed -n 's/^.*tick \([0-9]*\)$/\1/p' "$work/whole" | awk '$1 != NR { bad = 1 } END { print bad + 0, NR }')" "0 4000"
check_eq "of stderr, too" "$(sed -n 's/^.*oops \([0-9]*\)$/\1/p' "$work/errors" | tr '\n' ' ')" "$(seq -s ' ' 100 100 4000) "

logs() { "$osmo" workflow logs "$id" "$@" | tail -n +2; } # without its heading
check_eq "line by number" "$(logs -t talker --stream stdout --from-line 3990 | sed 's/^.*\] //' | head -n 2 | tr '\n' ' ')" "tick 3990 tick 3991 "
check_eq "as they were written" "$(logs --stream stdout -n 1 | tr '\r' '~')" "$(logs --stream stdout -n 1 | sed 's/a.b$/a~b/')"
check_eq "expression" "$(logs --grep 'tick 39[0-9]9$' | wc -l)" 10
check_eq "an age" "$(logs --since 1h | wc -l) $(logs --since 2000-01-01T00:00:00Z --no-follow | wc -l)" "$(logs | wc -l) $(logs | wc -l)"
check_eq "nothing is that young" "$(logs --since 2100-01-01T00:00:00Z)" ""
check_has "a mistake is told" "$(logs --since nonsense 2>&1)" "how long ago"
check_has "events" "$("$osmo" workflow events "$id" --grep talker --no-follow)" "[talker]"
sse() { api GET "/api/workflow/$id/logs?task_name=talker&format=sse&$1" | tr -d '\r'; }
check_has "events for a browser" "$(sse 'stream=stdout&from_line=4000')" "id: 4000
data: "
check_has "they tell the end" "$(sse 'stream=stdout&from_line=4000')" "event: end"
