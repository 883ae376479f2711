# Large workflows through the whole service: submission, detail, list, cancellation, a run on the scripted cluster; and kill -9 in the
# middle of an insertion, after which the workflow is whole or was never there.
. "$(dirname "$0")/lib.sh"
tasks=20000
start_service && login || exit 1

write_tasks() { # name count
    printf 'workflow:\n  name: %s\n  resources: {default: {cpu: 1, memory: 64Mi, storage: 64Mi}}\n  tasks:\n' "$1"
    awk -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "  - {name: t%d, image: debian, command: [\"true\"]}\n", i }'
}
write_fan() { # name count: one task before all the others, one behind them
    printf 'workflow:\n  name: %s\n  tasks:\n  - {name: first, image: debian, command: ["true"]}\n' "$1"
    awk -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "  - {name: t%d, image: debian, command: [\"true\"], inputs: [{task: first}]}\n", i
        printf "  - name: last\n    image: debian\n    command: [\"true\"]\n    inputs:\n"
        for (i = 0; i < n; i++) printf "    - {task: t%d}\n", i }'
}
tasks_of() { "$osmo" workflow query "$1" -t json 2> /dev/null | grep -c '"task_uuid"'; }
ended() { [[ $(status_of "$1") == "$2" ]]; }
database_kib() { du -skc "$work"/data/osmo.db* 2> /dev/null | tail -n 1 | cut -f 1; }
grown() { (($(database_kib) >= $1)); }

# ---- kill -9 ----
write_tasks cut "$tasks" > "$work/cut.yaml"
absent=0 whole=0
for kib in 500 3000 6000 12000; do
    before=$(database_kib)
    "$osmo" workflow submit "$work/cut.yaml" -t json > "$work/cut.out" 2>&1 &
    client=$!
    eventually 30 grown $((before + kib))
    stop_one "$service_pid" KILL
    wait "$client"
    id=$(sed -n 's/^ *"name": "\(.*\)",*$/\1/p' "$work/cut.out" | head -n 1)
    start_service || exit 1
    next=cut-$((whole + 1))
    n=$(tasks_of "$next")
    if [[ $n == 0 ]]; then absent=$((absent + 1)); else whole=$((whole + 1)); fi
    check "killed after $kib KiB: $n tasks are there, all or none" test "$n" = 0 -o "$n" = "$tasks"
    [[ $id ]] && check_eq "killed after $kib KiB: what was answered is there" "$n" "$tasks"
    if command -v python3 > /dev/null && python3 -c 'import sqlite3' 2> /dev/null; then
        left=$(python3 - "$work/data/osmo.db" << 'P'
import sqlite3, sys
c = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True)
ask = lambda sql: c.execute(sql).fetchone()[0]
print(ask("SELECT COUNT(*) FROM tasks WHERE workflow_uuid NOT IN (SELECT uuid FROM workflows)"),
      ask("SELECT COUNT(*) FROM workflow_groups WHERE workflow_uuid NOT IN (SELECT uuid FROM workflows)"),
      ask("SELECT COUNT(*) FROM group_specs WHERE group_uuid NOT IN (SELECT uuid FROM workflow_groups)"),
      ask("SELECT COUNT(*) FROM submissions"))
P
        )
        check_eq "killed after $kib KiB: nothing half is left" "$left" "0 0 0 0"
    fi
done
echo "$absent submissions were cut off, $whole were complete"
check "some were cut off" test "$absent" -gt 0
check_has "the log tells of them" "$(< "$work/service.log")" "was cut off by the end of the service"

# ---- whole, read back, cancelled ----
write_tasks whole "$tasks" > "$work/whole.yaml"
check_eq "submitted" "$(submit "$work/whole.yaml")" whole-1
check_eq "every task is in the detail" "$(tasks_of whole-1)" "$tasks"
check_has "the list has it" "$("$osmo" workflow list -t json)" '"whole-1"'
"$osmo" workflow cancel whole-1 > /dev/null
check "cancelled to the last group" eventually 60 ended whole-1 FAILED_CANCELED
n=$("$osmo" workflow query whole-1 -t json | grep -c '"status": "FAILED_CANCELED"')
check_eq "the workflow, its groups and its tasks" "$n" $((2 * tasks + 1))

# ---- a run: fan-out and fan-in wider than one transaction takes ----
"$bin/osmo-backend" --service "$url" --name default --cluster scripted --token-file "$work/data/admin-token" --state-dir "$work/backend" \
    2>> "$work/backend.log" &
backend_pid=$!
write_fan fan 300 > "$work/fan.yaml"
check_eq "fan submitted" "$(submit "$work/fan.yaml")" fan-1
"$osmo" workflow wait fan-1 --timeout 120 --quiet > "$work/wait.out"
check_eq "fan: status" "$(tail -n 1 "$work/wait.out")" "Status: COMPLETED"
n=$("$osmo" workflow query fan-1 -t json | grep -c '"status": "COMPLETED"')
check_eq "the workflow, its groups and its tasks" "$n" $((2 * 302 + 1))
