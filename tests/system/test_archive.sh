# The archive: what a finished workflow leaves there, with its secrets masked; kill -9 of the service in the middle of a large copy;
# a place that cannot be written to, which becomes a dead letter and is archived after `osmo work retry`; retention.
. "$(dirname "$0")/lib.sh"
archive=$work/archive
secret=hunter2-$RANDOM$RANDOM-secret
configure() { # keys of workflow_log, keys of workflow
    cat > "$work/osmo.yaml" <<Y
workflow: {workflow_log: {credential: {endpoint: 'file://$archive'}${1:+, $1}}${2:+, $2}}
Y
}
is_there() { [[ -e $1 ]]; }
is_gone() { [[ ! -e $1 ]]; }
archived() { [[ -e $archive/$1/workflow_events.txt && -z $(find "$archive/$1" -name '.osmo-part-*') ]]; }
# Everything of the workflow was written; what is still told about it comes from the database.
settled() { [[ $("$osmo" workflow explain "$1" -t json 2>/dev/null) == *'"next": []'* ]]; }

# What works is said for what does not.
cat > "$work/osmo.yaml" <<Y
workflow: {workflow_log: {credential: {endpoint: 'ftp://bucket/logs', access_key_id: a, access_key: b}}}
Y
out=$(timeout 60 "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/data" --config "$work/osmo.yaml" 2>&1)
check "storage of another kind is refused" test $? -ne 0 -a $? -ne 124
check_has "by the name of the key" "$out" "workflow.workflow_log.credential.endpoint"
check_has "with what works" "$out" "file:///ABSOLUTE/DIRECTORY"

configure "attempts: 2"
start_service --config "$work/osmo.yaml" && login && start_backend || exit 1

# ---- the tree of a workflow, and reading it ----
cat > "$work/tree.yaml" <<'Y'
workflow:
  name: tree
  tasks:
  - name: good
    image: debian
    command: [sh, -c, 'echo "from good"; echo "[$MY_PASSWORD]" | wc -c']
    environment: {MY_PASSWORD: "{{pass}}", PLAIN: plain-value}
  - name: bad
    image: debian
    command: [sh, -c, 'echo "from bad"; echo "why it broke" >&2; exit 3']
default-values: {pass: none}
Y
id=$(submit "$work/tree.yaml" --set "pass=$secret")
"$osmo" workflow wait "$id" --timeout 60 --quiet > /dev/null
check "$id: it is archived" eventually 60 settled "$id"
check_eq "the files" "$(cd "$archive/$id" && echo *)" \
    "bad_error_logs.txt task_logs_bad_0.txt task_logs_good_0.txt templated_workflow_spec.yaml workflow_events.txt workflow_logs.idx workflow_logs.tasks workflow_logs.txt workflow_spec.yaml"
check_eq "none of them has the secret" "$(grep -rlaF -e "$secret" "$archive" | wc -l)" 0
check_has "masked is what it was" "$(cat "$archive/$id/workflow_spec.yaml")" "MY_PASSWORD: [MASKED]"
check_has "and nothing else" "$(cat "$archive/$id/workflow_spec.yaml")" "PLAIN: plain-value"
spec=$("$osmo" workflow spec "$id")
check_has "as it is shown" "$spec" "MY_PASSWORD: [MASKED]"
[[ $spec != *"$secret"* ]]; check_eq "without the secret" "$?" 0
check_has "the log of a task" "$(cat "$archive/$id/task_logs_good_0.txt")" "[good] from good"
check_has "its error log" "$(cat "$archive/$id/bad_error_logs.txt")" "why it broke"
reads() { # everything a user can ask about a log
    local q
    for q in "" "-t good" "-t bad" "-n 2" "-t bad -n 1" "--error" "--error -t bad" "--error -t bad -n 1"; do
        echo "== $q"
        # shellcheck disable=SC2086
        "$osmo" workflow logs "$id" $q 2>&1
    done
    "$osmo" workflow events "$id"
    "$osmo" workflow spec "$id"
    "$osmo" workflow spec "$id" --template
}
before=$(reads)
check_has "the log is read" "$before" "[good] from good"
check_has "the banner too" "$before" "Cause: task bad failed with exit code 3"
check "the log store has its copy" test -s "$work/data/logs/$id/workflow_logs.txt"
configure "keep_local: 0, attempts: 2"
check "until it has been kept long enough" eventually 90 is_gone "$work/data/logs/$id"
check_eq "the archive reads the same" "$(reads)" "$before"
again=$(submit "$id")
"$osmo" workflow wait "$again" --timeout 60 --quiet > /dev/null
check_eq "submitted again it has its secret" "$("$osmo" workflow logs "$again" -t good | sed -n 's/.*\] //p' | grep '^[0-9]*$')" "$((${#secret} + 3))"

# ---- kill -9 in the middle ----
cat > "$work/large.yaml" <<'Y'
workflow:
  name: large
  tasks:
  - {name: talker, image: debian, command: [sh, -c, 'yes "$(head -c 20000 /dev/zero | tr "\0" x)" | head -n 8000; echo the-end']}
Y
id=$(submit "$work/large.yaml")
"$osmo" workflow wait "$id" --timeout 300 --quiet > /dev/null
check "$id: a copy is on its way" eventually 60 eval 'compgen -G "$archive/$id/.osmo-part-*" > /dev/null'
stop_one "$service_pid" KILL
[[ -e $archive/$id/workflow_events.txt ]]; check_eq "and not at its end" "$?" 1
start_service --config "$work/osmo.yaml" || exit 1
check "it is done after the restart" eventually 120 settled "$id"
check "nothing half is left" archived "$id"
check_eq "the whole log" "$(wc -c < "$archive/$id/task_logs_talker_0.txt")" "$(grep -ac '' < "$archive/$id/task_logs_talker_0.txt" | awk '{print ($1 - 1) * (20 + 9 + 20001) + 20 + 9 + 8}')"
check_has "to its end" "$(tail -n 1 "$archive/$id/workflow_logs.txt")" "the-end"
check_eq "every line" "$(grep -c xxxxxxxx "$archive/$id/workflow_logs.txt")" 8000
check_has "it is read" "$("$osmo" workflow logs "$id" -n 1)" "the-end"

# ---- a place that cannot be written to ----
mv "$archive" "$archive.away"
: > "$archive" # the tests may run as root, whom permissions do not stop
cat > "$work/stuck.yaml" <<'Y'
workflow:
  name: stuck
  tasks: [{name: t, image: debian, command: [sh, -c, 'echo from-stuck']}]
Y
id=$(submit "$work/stuck.yaml")
"$osmo" workflow wait "$id" --timeout 60 --quiet > /dev/null
is_dead() { [[ $("$osmo" work list) == *archive_workflow* ]]; }
check "$id: archiving it is given up" eventually 60 is_dead
out=$("$osmo" work list)
check_has "for which workflow" "$out" "$id"
check_has "where" "$out" "$archive"
check_has "and what to do" "$out" "a directory is needed there"
check_has "it is explained" "$("$osmo" workflow explain "$id")" "osmo work retry"
check_has "the log is not lost" "$("$osmo" workflow logs "$id")" "from-stuck"
rm "$archive"
mv "$archive.away" "$archive"
check_has "tried again" "$("$osmo" work retry all)" "1 work item"
check "and archived" eventually 60 settled "$id"
check_has "with its log" "$(cat "$archive/$id/workflow_logs.txt")" "from-stuck"

# ---- retention ----
configure "keep_local: 0" "retention: 1s"
unknown() { [[ $("$osmo" workflow query "$id" 2>&1) == *"$id"*"not"* ]] || ! "$osmo" workflow query "$id" > /dev/null 2>&1; }
check "the workflow is deleted" eventually 120 unknown
check_has "its archive stays" "$(cat "$archive/$id/workflow_logs.txt")" "from-stuck"
stop_all; check_eq "the service ends well" "$?" 0
