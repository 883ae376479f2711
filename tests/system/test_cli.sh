# The client's outputs: tables, JSON, exit codes, resubmission, templates, local files.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
check_has "version" "$("$osmo" version)" "OSMO service version: 6.4.0"
check_has "version as JSON" "$("$osmo" version -t json)" '"major": "6"'
check_eq "empty list" "$("$osmo" workflow list)" "There are no workflows to view."
out=$("$osmo" workflow submit "$root/examples/hello_world.yaml"); check_eq "submit exits 0" "$?" 0
check_has "submit prints the id" "$out" "Workflow ID        - "
id=$(sed -n 's/^Workflow ID  *- //p' <<< "$out")
"$osmo" workflow wait "$id" --quiet > "$work/w"; check_eq "wait" "$(< "$work/w")" "Status: COMPLETED"
check_has "list head" "$("$osmo" workflow list | head -n 1)" "User"
check_has "list row" "$("$osmo" workflow list)" "$id"
check_has "list by status" "$("$osmo" workflow list -s COMPLETED)" "$id"
check_eq "list by another status" "$("$osmo" workflow list -s FAILED)" "There are no workflows to view."
check_has "query" "$("$osmo" workflow query "$id")" "COMPLETED"
check_has "spec" "$("$osmo" workflow spec "$id")" "workflow:"
check_has "logs of a finished one" "$("$osmo" workflow logs "$id")" "["
check_has "events" "$("$osmo" workflow events "$id")" "["
check_has "pool list" "$("$osmo" pool list)" "ONLINE"
check_has "pool list as JSON" "$("$osmo" pool list -t json)" '"node_sets"'
check_has "resource list" "$("$osmo" resource list)" "default"
check_has "validate" "$("$osmo" workflow validate "$root/examples/hello_world.yaml")" ""
again=$(submit "$id"); check_has "resubmit by id" "$again" "-2"
"$osmo" workflow wait "$again" --quiet > "$work/w"; check_eq "it completes too" "$(< "$work/w")" "Status: COMPLETED"
echo 'echo from a local file {{ word }}' > "$work/script.sh"
cat > "$work/local.yaml" <<'Y'
workflow:
  name: local-{{ n }}
  tasks:
  - name: t
    image: debian
    command: [sh, /tmp/script.sh]
    environment: {GREETING: none}
    files: [{path: /tmp/script.sh, localpath: script.sh}]
default-values: {n: 1, word: x}
Y
check_has "dry run renders" "$("$osmo" workflow submit "$work/local.yaml" --dry-run --set n=7)" "local-7"
out=$("$osmo" workflow submit "$work/local.yaml" --follow --set n=7 --set-string word=home --label team=arm --set-env GREETING=a=b 2>&1); check_eq "local file and variables" "$?" 0
check_has "its text ran" "$out" "from a local file home"
check_has "labels are kept" "$("$osmo" workflow list -n local-7)" "team=arm"
"$osmo" workflow > "$work/o" 2>&1; check_eq "a noun alone is a usage error" "$?" 2
"$osmo" > "$work/o"; check_eq "the bare program prints help" "$?" 0
"$osmo" workflow submit --help | grep -q -- --follow; check_eq "help of a command" "$?" 0
"$osmo" logout > /dev/null
"$osmo" workflow list > "$work/o" 2>&1; check_eq "logged out" "$?" 2
check_has "and told what to do" "$(< "$work/o")" "osmo login"
