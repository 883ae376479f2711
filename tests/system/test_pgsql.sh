# On PostgreSQL: kill -9 of the service and a restart of the database server in the middle of a workflow lose nothing, and a
# second service on the same database with task data of its own is refused.
. "$(dirname "$0")/lib.sh"
database=$("$root/tests/pgsql-server" start "$work/pgsql") || { fail "a private PostgreSQL"; exit 1; }
start_all || exit 1
marks() { # name
    cat > "$work/$1.yaml" <<Y
workflow:
  name: $1
  tasks:
  - {name: one, image: debian, command: [sh, -c, 'echo ran-one; sleep 3']}
  - {name: two, image: debian, command: [sh, -c, 'echo ran-two; sleep 1'], inputs: [{task: one}]}
Y
}
task_running() { "$osmo" workflow query "$1" -t json 2>/dev/null | grep -A2 '"name": "one"' | grep -q RUNNING; }
finish_well() { # id
    "$osmo" workflow wait "$1" --timeout 120 --quiet > "$work/w"; check_eq "$1: wait exits 0" "$?" 0
    check_eq "$1: status" "$(tail -n 1 "$work/w")" "Status: COMPLETED"
    local out word
    out=$("$osmo" workflow logs "$1")
    for word in ran-one ran-two; do check_eq "$1: $word once" "$(grep -c "\] $word\$" <<< "$out")" 1; done
}
marks killed
id=$(submit "$work/killed.yaml")
check "$id: it runs" eventually 60 task_running "$id"
stop_one "$service_pid" KILL
start_service || exit 1
finish_well "$id"

marks dbrestart
id=$(submit "$work/dbrestart.yaml")
check "$id: it runs" eventually 60 task_running "$id"
check "the server crashes and comes back" "$root/tests/pgsql-server" restart "$work/pgsql"
finish_well "$id"

mkdir -m 700 "$work/second"
out=$(timeout 60 "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/second" --database "$database" 2>&1)
check "a second service is refused" test $? -ne 0 -a $? -ne 124
check_has "it says why" "$out" "give all of them one directory that they share, with --storage"
stop_all
"$root/tests/pgsql-server" stop "$work/pgsql"
