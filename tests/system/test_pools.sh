# Pools and roles through the API: an administrator makes a pool and a role for it; who has the role submits there and nowhere else, and sees
# nothing else. What was made survives restarts, the cluster is told of it, and a pool in use stays.
. "$(dirname "$0")/lib.sh"
as() { # config directory, command…
    local dir=$1
    shift
    OSMO_CONFIG_FILE_DIR=$dir "$osmo" "$@"
}
start_all || exit 1
admin=$OSMO_CONFIG_FILE_DIR

# ---- a pool
cat > "$work/robotics.json" <<'J'
{"description": "Robots", "backend": "default", "default_platform": "cpu", "resources": {"gpu": {"maximum": 2}},
 "common_default_variables": {"USER_CPU": 1, "USER_GPU": 0, "USER_MEMORY": "64Mi", "USER_STORAGE": "64Mi"},
 "common_resource_validations": ["default_cpu", "default_memory", "default_storage"],
 "common_pod_template": ["default_ctrl", "default_user"], "platforms": {"cpu": {"description": "no GPU"}}}
J
check_has "what is built in" "$("$osmo" config list)" "POOL          default"
out=$("$osmo" config update POOL robotics --file "$work/robotics.json" -d "for robots" -t one two 2>&1); check_eq "a pool is made" "$?" 0
check_eq "and says so" "$out" "Pool robotics is made."
check_has "it is listed" "$("$osmo" config list POOL)" "robotics   Robots"
check_eq "names as JSON" "$("$osmo" config list pool -t json | tr -d ' \n')" '{"POOL":["default","robotics"]}'
check_has "it is shown" "$("$osmo" config show POOL robotics)" '"default_platform": "cpu"'
check_has "deeper" "$("$osmo" config show POOL robotics platforms cpu description)" "no GPU"
check_has "with what follows" "$("$osmo" config show POOL robotics -v)" '"parsed_pod_template"'
has_queue() { grep -qs '"limit":2' "$work/backend/objects/Queue/osmo-pool-default-robotics.json"; }
check "the cluster is told of its queue" eventually 30 has_queue
echo '{enable_maintenance: true}' | "$osmo" config update POOL robotics -f - > /dev/null; check_eq "a part in YAML from standard input" "$?" 0
check_has "is laid over it" "$("$osmo" pool list)" "MAINTENANCE"
echo '{"enable_maintenance": false}' | "$osmo" config update POOL robotics -f - > /dev/null
check_has "and the rest stays" "$("$osmo" config show POOL robotics description)" "Robots"

# ---- mistakes change nothing
out=$(echo '{"common_pod_template": ["gone"]}' | "$osmo" config update POOL robotics -f - 2>&1); code=$?
check_eq "a template that is not there: exit code" "$code" 1
check_has "the member is named" "$out" "pools.robotics.common_pod_template: refers to 'gone'"
out=$("$osmo" config show POOL robotics 2>&1); check_has "nothing is changed" "$out" "default_ctrl"
out=$("$osmo" config show POOL nobody 2>&1); check_eq "a pool that is not there" "$?" 2
out=$("$osmo" config show TEAPOT 2>&1); check_eq "a type that is not there" "$?" 2
check_has "names those there are" "$out" "POOL, ROLE, BACKEND"
out=$("$osmo" config update BACKEND -f "$work/robotics.json" 2>&1); check_eq "backends are not written all at once" "$?" 2
out=$("$osmo" config show POOL:3 2>&1); check_has "no revisions" "$out" "no revisions"
out=$("$osmo" config delete POOL nobody 2>&1); check_eq "deleting what is not there" "$?" 2

# ---- the editor
cat > "$work/editor" <<'E'
#!/bin/bash
sed -i 's/"Robots"/"All robots"/' "$1"
E
cat > "$work/breaker" <<'E'
#!/bin/bash
echo '{"backend": 7}' > "$1"
E
chmod +x "$work/editor" "$work/breaker"
VISUAL= EDITOR=$work/editor TMPDIR=$work "$osmo" config update POOL robotics > /dev/null; check_eq "the editor" "$?" 0
check_has "its text counts" "$("$osmo" config show POOL robotics description)" "All robots"
check_eq "an unchanged text changes nothing" "$(VISUAL='' EDITOR=true TMPDIR=$work "$osmo" config update POOL robotics)" "Nothing was changed."
out=$(VISUAL='' EDITOR=$work/breaker TMPDIR=$work "$osmo" config update POOL robotics 2>&1); check_eq "a text that is refused" "$?" 1
kept=$(sed -n 's/^Your text is in \(.*\); correct.*/\1/p' <<< "$out")
check "is not lost" test -s "$kept"
out=$(VISUAL='' EDITOR=false TMPDIR=$work "$osmo" config update POOL robotics 2>&1); check_has "an editor that fails" "$out" "nothing is changed"

# ---- a role, and who has it
out=$("$osmo" config set ROLE team pool 2>&1); check_eq "which pool?" "$?" 2
check_eq "a role is made" "$("$osmo" config set ROLE team pool --field robotics)" "Role team permits workflows in pool robotics."
out=$("$osmo" config set ROLE team pool --field default 2>&1); check_has "once" "$out" "exists already"
check_has "shown" "$("$osmo" config show ROLE team policies 0 resources)" "pool/robotics"
"$osmo" config set ROLE osmo-robo pool > /dev/null
check_has "by its name alone: all that begin so" "$("$osmo" config show ROLE osmo-robo)" '"pool/robo*"'
out=$("$osmo" config delete ROLE osmo-admin 2>&1); check_eq "the administrator's stays" "$?" 2
"$osmo" user create maya --roles team > /dev/null; check_eq "a user with the role" "$?" 0
"$osmo" token set ci --user maya -t json | sed -n 's/^ *"token": "\(.*\)",*$/\1/p' | tr -d '\n' > "$work/maya-token"
mkdir -m 700 "$work/maya"
as "$work/maya" login "$url" --method token --token-file "$work/maya-token" > /dev/null; check_eq "the user logs in" "$?" 0
out=$(as "$work/maya" workflow submit "$root/examples/hello_world.yaml" --pool robotics --follow 2>&1); check_eq "runs in the pool of the role" "$?" 0
check_has "to its end" "$out" "COMPLETED"
out=$(as "$work/maya" workflow submit "$root/examples/hello_world.yaml" --pool default 2>&1); check_eq "in no other" "$?" 2
check_has "and is told why" "$out" "pool/default"
out=$(as "$work/maya" config update POOL robotics -f "$work/robotics.json" 2>&1); check_eq "writes no pools" "$?" 2
out=$(as "$work/maya" config list 2>&1); check_eq "and reads none" "$?" 2
out=$(as "$work/maya" profile list)
check_has "the profile has the pool" "$out" "- robotics"
[[ $out != *"- default"* ]]; check_eq "and no other" "$?" 0
check_has "and the role" "$out" "- team"
check_eq "the default pool" "$(as "$work/maya" profile set pool robotics)" "The default pool is robotics."
as "$work/maya" profile set notifications email true > /dev/null
check_has "notifications" "$(as "$work/maya" profile list)" "email: true"
out=$(as "$work/maya" profile set notifications pigeon true 2>&1); check_eq "no pigeons" "$?" 2

# ---- restarts
stop_one "$service_pid"
start_service || exit 1
check_has "pools survive" "$("$osmo" config list)" "robotics"
check_has "roles too" "$("$osmo" config show ROLE team)" "pool/robotics"

# ---- a pool in use
cat > "$work/long.yaml" <<'Y'
workflow:
  name: long
  tasks: [{name: t, image: debian, command: [sleep, '600']}]
Y
id=$(as "$work/maya" workflow submit "$work/long.yaml" -t json | sed -n 's/^ *"name": "\(.*\)",*$/\1/p' | head -n 1)
check "a workflow that goes on" test -n "$id"
out=$("$osmo" config delete POOL robotics 2>&1); check_eq "its pool is not deleted" "$?" 2
check_has "and why" "$out" "1 unfinished workflow"
out=$("$osmo" config rename POOL robotics robots 2>&1); check_eq "nor renamed" "$?" 2
"$osmo" workflow cancel "$id" > /dev/null
ended() { [[ $(status_of "$id") == FAILED_CANCELED ]]; }
check "until it is ended" eventually 60 ended
check_eq "renamed" "$("$osmo" config rename POOL robotics robots)" "Pool robotics is robots now."
gone() { [[ ! -e $work/backend/objects/Queue/osmo-pool-default-robotics.json && -e $work/backend/objects/Queue/osmo-pool-default-robots.json ]]; }
check "and so is its queue" eventually 30 gone
check_eq "deleted" "$("$osmo" config delete POOL robots)" "Pool robots is deleted."
check_eq "with its role" "$("$osmo" config delete ROLE team)" "Role team is deleted."
out=$(as "$work/maya" workflow list 2>&1); check_eq "and what came with it" "$?" 2

# ---- a configuration from a file is changed there
stop_one "$service_pid"
printf 'pools: {mine: {backend: default, platforms: {p: {}}}}\n' > "$work/osmo.yaml"
start_service --config "$work/osmo.yaml" || exit 1
check_eq "409" "$(api PUT /api/configs/pool/x '{"configs":{"backend":"default"}}' | http_status)" 409
out=$("$osmo" config delete POOL mine 2>&1); check_has "says where" "$out" "comes from a file"
