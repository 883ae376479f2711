# Two clusters at one service: one whose operator is stopped holds up nobody; a backend is changed, told of its tests, refused deletion while it
# has work, taken away and added again, also by another cluster.
. "$(dirname "$0")/lib.sh"
west_pid=
start_west() { # state directory
    mkdir -p "$1"
    "$bin/osmo-backend" --service "$url" --name west --cluster local --token-file "$work/west.token" --state-dir "$1" \
        --hide "$work/data" --hide "$OSMO_CONFIG_FILE_DIR" 2>> "$work/backend.log" &
    west_pid=$!
}
west_token() { # in a file, of a user of its own
    "$osmo" token set west -u operators -b west | sed -n 's/^Access token: //p' > "$work/west.token"
    chmod 600 "$work/west.token"
}
state_of() { "$osmo" backend list | awk -v name="$1" '$1 == name { print $2 }'; }
is() { [[ $(state_of "$1") == "$2" ]]; }
ends() { [[ $(status_of "$1") == "$2" ]]; }
write() { # file name command
    printf 'workflow:\n  name: %s\n  tasks:\n  - {name: t, image: none, command: [%s]}\n' "$2" "$3" > "$work/$1"
}
start_all || exit 1
"$osmo" user create operators -r osmo-backend > /dev/null
west_token
check "a token for the operator" test -s "$work/west.token" || exit 1
echo '{"backend": "west", "default_platform": "p", "common_pod_template": ["default_ctrl", "default_user"], "platforms": {"p": {}},
 "common_default_variables": {"USER_CPU": 1, "USER_GPU": 0, "USER_MEMORY": "64Mi", "USER_STORAGE": "64Mi"}}' |
    "$osmo" config update POOL west -f - > /dev/null; check_eq "a pool of the second backend" "$?" 0
start_west "$work/west"
check "both are heard of" eventually 30 eval 'is default ONLINE && is west ONLINE'
write quick.yaml quick '"true"'
write slow.yaml slow '"sleep", "600"'
id=$(submit "$work/quick.yaml" --pool west); check "the second one works" eventually 60 ends "$id" COMPLETED

# ---- configuration
echo '{"description": "in the west", "node_conditions": {"rules": {"Gpu.*": "False"}}}' | "$osmo" config update BACKEND west -f - > /dev/null
check_eq "a backend is changed" "$?" 0
check_has "and shown" "$("$osmo" backend show west)" '{"Gpu.*":"False"}'
out=$(echo '{"node_conditions": {"rules": {".*": "True|False"}}}' | "$osmo" config update BACKEND west -f - 2>&1)
check "rules that operators refuse are refused" test "$?" != 0
check_has "with the reason" "$out" "covers the condition Ready"
echo '{"description": "d", "cron_schedule": "0 3 * * *", "node_conditions": ["Gpu"], "common_pod_template": ["default_ctrl"]}' |
    "$osmo" config update BACKEND_TEST gpu -f - > /dev/null; check_eq "a test of nodes" "$?" 0
echo '{"tests": ["gpu"]}' | "$osmo" config update BACKEND west -f - > /dev/null; check_eq "that the backend runs" "$?" 0
out=$("$osmo" config delete BACKEND_TEST gpu 2>&1); check "it stays" test "$?" != 0
check_has "because of the backend" "$out" "run by backend west"

# ---- one is stopped
slow=$(submit "$work/slow.yaml" --pool west); check "something runs in the west" eventually 60 ends "$slow" RUNNING
kill -STOP "$west_pid"
for i in 1 2 3; do
    id=$(submit "$work/quick.yaml" --pool default); check "the other goes on ($i)" eventually 60 ends "$id" COMPLETED
done
kill -CONT "$west_pid"

# ---- and taken away
out=$("$osmo" backend delete west 2>&1); check "not while it has work" test "$?" != 0
check_has "which is named" "$out" "1 unfinished workflow"
stop_one "$west_pid"; west_pid=
out=$("$osmo" backend delete west --force 2>&1); check_eq "unless that is forced" "$?" 0
check_eq "its workflow has failed" "$(status_of "$slow")" FAILED
check_has "and says why" "$("$osmo" workflow query "$slow")" "backend west was deleted"
check_eq "it is not listed" "$(state_of west)" ""
check_eq "its token is gone" "$("$osmo" token list -u operators 2>/dev/null | grep -c west)" 0
start_west "$work/west"
check "and opens nothing" eventually 30 grep -q 'refused the token' "$work/backend.log"
stop_one "$west_pid"; west_pid=

# ---- and comes again, as another cluster
west_token
id=$(submit "$work/quick.yaml" --pool west)
start_west "$work/other"
check "the name is free for another cluster" eventually 60 is west ONLINE
check "what waited for it runs there" eventually 60 ends "$id" COMPLETED
check_eq "nothing of the former one is left" "$("$osmo" config show BACKEND west description)" '""'
stop_one "$west_pid"
for f in "$work"/west/pods/*/lock "$work"/other/pods/*/lock; do # what the first one was told to leave
    [[ -s $f ]] && pid=$(< "$f") && [[ $(tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null) == *"$work"* ]] && kill -KILL "$pid" 2>/dev/null
done
