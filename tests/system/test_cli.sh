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
out=$("$osmo" workflow validate "$root/examples/hello_world.yaml"); check_eq "validate exits 0" "$?" 0
check_eq "validate" "$out" "The workflow passed validation"
check_has "validate as JSON" "$("$osmo" workflow validate "$root/examples/hello_world.yaml" -t json)" '    "logs": "The workflow passed validation"'
"$osmo" workflow validate "$root/examples/hello_world.yaml" --pool ghost > "$work/o" 2>&1; check_eq "validate in a pool there is not" "$?" 2
check_has "named" "$(< "$work/o")" "ghost"
"$osmo" workflow validate "$id" > "$work/o" 2>&1; check_eq "validate wants a file" "$?" 1
check_eq "validating stores nothing" "$("$osmo" workflow list -t json | grep -c '"overview"')" 1
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
check_has "validate does too" "$("$osmo" workflow validate "$work/local.yaml" --dry-run --set n=7 word=a --set-string n=x=y)" "local-x=y"
out=$(cd / && "$osmo" workflow validate "$work/local.yaml" --set n=7 --set word=a --set-env A=b=c D=e --label team=arm cost=low); check_eq "a template and its local file" "$?" 0
check_eq "are valid" "$out" "The workflow passed validation"
"$osmo" workflow validate "$work/local.yaml" > "$work/o" 2>&1; check_eq "the local file is a template of its own" "$?" 1
check_has "without default-values" "$(< "$work/o")" "word"
"$osmo" workflow validate "$work/local.yaml" --set word=a --label team > "$work/o" 2>&1; check_eq "a label without value" "$?" 1
check_has "is named" "$(< "$work/o")" "team"
mv "$work/script.sh" "$work/script.kept"
"$osmo" workflow validate "$work/local.yaml" --set word=a > "$work/o" 2>&1; check_eq "local file missing" "$?" 1
check_has "local file named" "$(< "$work/o")" "$work/script.sh"
printf '\377\376' > "$work/script.sh"
"$osmo" workflow validate "$work/local.yaml" --set word=a > "$work/o" 2>&1; check_eq "local file not UTF-8" "$?" 1
check_has "local file named again" "$(< "$work/o")" "script.sh is not UTF-8"
"$osmo" workflow validate "$work/script.sh" > "$work/o" 2>&1; check_eq "spec not UTF-8" "$?" 1
check_has "spec named" "$(< "$work/o")" "script.sh is not UTF-8"
mv "$work/script.kept" "$work/script.sh"
out=$("$osmo" workflow submit "$work/local.yaml" --follow --set n=7 --set-string word=home --label team=arm --set-env GREETING=a=b 2>&1); check_eq "local file and variables" "$?" 0
check_has "its text ran" "$out" "from a local file home"
check_has "labels are kept" "$("$osmo" workflow list -n local-7)" "team=arm"
cat > "$work/half.yaml" <<'Y'
workflow:
  name: half
  labels: {team: arm}
  tasks:
  - name: good
    image: debian
    command: [sh, -c, 'echo kept > {{output}}/f']
  - name: bad
    image: debian
    command: [sh, -c, 'cat {{input:0}}/f; exit 3']
    inputs: [{task: good}]
Y
half=$(submit "$work/half.yaml" --priority LOW); "$osmo" workflow wait "$half" --quiet > "$work/w"
check_has "half of it failed" "$(< "$work/w")" "task bad failed with exit code 3"
again=$("$osmo" workflow restart "$half" -t json | sed -n 's/^ *"name": "\(.*\)",*$/\1/p'); check_eq "restart" "$again" "half-2"
"$osmo" workflow wait "$again" --quiet > "$work/w"; check_has "what failed ran again" "$(< "$work/w")" "task bad failed with exit code 3"
check_has "with what the other had made" "$("$osmo" workflow logs "$again")" "kept"
out=$("$osmo" workflow spec "$again"); check_has "its input is of the earlier one" "$out" "half-1:good"
check_eq "which did not run again" "$(grep -c 'echo kept' <<< "$out")" 0
check_has "labels and priority are kept" "$("$osmo" workflow list -n half-2)" "team=arm"
check_has "priority of the restarted" "$("$osmo" workflow list -n half-2 -t json)" '"priority": "LOW"'
"$osmo" workflow restart "$id" > "$work/o" 2>&1; check_eq "a completed workflow is not restarted" "$?" 2
check_has "and told why" "$(< "$work/o")" "COMPLETED"
{ printf 'workflow:\n  name: wide\n  tasks: [{name: t, image: debian, command: [echo]}]\n'; yes '  # padding, as a generated file may have a lot of it, and nobody minds' | head -c 66000000; echo; } > "$work/wide.yaml"
check_eq "a file of 66 MB is accepted" "$("$osmo" workflow validate "$work/wide.yaml")" "The workflow passed validation"
yes '  # and more' | head -c 2000000 >> "$work/wide.yaml"
"$osmo" workflow validate "$work/wide.yaml" > "$work/o" 2>&1; check_eq "one above 64 MiB is not" "$?" 1
check_has "the file is named" "$(< "$work/o")" "wide.yaml"
"$osmo" workflow > "$work/o" 2>&1; check_eq "a noun alone is a usage error" "$?" 2
"$osmo" > "$work/o"; check_eq "the bare program prints help" "$?" 0
"$osmo" workflow submit --help | grep -q -- --follow; check_eq "help of a command" "$?" 0
"$osmo" logout > /dev/null
"$osmo" workflow list > "$work/o" 2>&1; check_eq "logged out" "$?" 2
check_has "and told what to do" "$(< "$work/o")" "osmo login"
login
cat > "$work/listed.yaml" <<'Y'
workflow:
  name: listed
  labels: {team: robots, rig: arm-7}
  resources: {default: {cpu: 2, memory: 1Gi}}
  tasks:
  - name: one
    image: debian
    command: [sleep, "300"]
  - name: two
    image: debian
    command: [sleep, "300"]
Y
listed=$(submit "$work/listed.yaml"); check_has "submitted with labels" "$listed" "listed-"
running() { [[ $("$osmo" task list -s RUNNING -w listed | grep -c " RUNNING ") == 2 ]]; }
check "two tasks are listed as running" eventually 60 running
out=$("$osmo" task list -w listed)
check_has "task list head" "$(head -n 1 <<< "$out")" "User"
check_has "task list node column" "$(head -n 1 <<< "$out")" "Node"
check_has "task list verbose" "$("$osmo" task list -v -w listed | tail -n 1)" "Total"
check_eq "task list as JSON" "$("$osmo" task list -w listed -t json | grep -c '"task_name"')" 2
check_eq "first of two" "$("$osmo" task list -w listed -c 1 -o desc | wc -l)" 3
check_eq "sums by user, pool and priority" "$("$osmo" task list -S -w listed | wc -l)" 5
check_has "sum of cpu" "$("$osmo" task list -S -w listed -t json)" '"cpu": 4'
check_has "sums by workflow" "$("$osmo" task list -W -w listed)" "$listed"
check_eq "no finished task" "$("$osmo" task list -s FAILED -w listed)" "There are no tasks to view."
"$osmo" task list -s SLEEPING > "$work/o" 2>&1; check_eq "a status there is not" "$?" 2
"$osmo" task list -p default -n here > "$work/o" 2>&1; check_eq "pool or node" "$?" 2
listed() { "$osmo" workflow list -t json "$@" | grep -c '"overview"'; }
check_eq "label" "$(listed --label team=robots)" 1
check_eq "label with alternatives and a wildcard" "$(listed --label 'team=(humans|robots)' --label 'rig=arm-*')" 1
check_eq "another value" "$(listed --label 'team=humans')" 0
check_eq "without the label" "$(listed -n listed --no-label team)" 0
check_eq "name, pool, priority, status" "$(listed -n list -p default --priority NORMAL -s RUNNING)" 1
check_eq "before it was there" "$(listed -n listed --submitted-before 2020-01-01)" 0
check_eq "after it was there" "$(listed -n listed --submitted-after 2020-01-01)" 1
check_eq "with a tag" "$(listed --tags robots)" 0
"$osmo" workflow list --label 'team=(a|' > "$work/o" 2>&1; check_eq "a bad selector" "$?" 1
check_has "and what is wrong with it" "$(< "$work/o")" "no ')'"
"$osmo" workflow list -u ghost > "$work/o" 2>&1; check_eq "a user there is not" "$?" 2
check_has "named too" "$(< "$work/o")" "ghost"
"$osmo" workflow list -a -u me > "$work/o" 2>&1; check_eq "all users or some" "$?" 2
"$osmo" workflow cancel "$listed" > /dev/null
"$osmo" workflow wait "$listed" --quiet > "$work/o"; check_has "and it is over" "$(< "$work/o")" "FAILED_CANCELED"
