# Bad input: one clear line that names the thing and the remedy, the documented exit code or status, and nothing half done.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
refuse() { # what, expected exit code, text expected, command...
    local what=$1 want=$2 text=$3 out code
    shift 3
    out=$("$@" 2>&1 < /dev/null); code=$?
    check_eq "$what: exit code" "$code" "$want"
    check_has "$what: text" "$out" "$text"
}
spec() { printf '%s\n' "$1" > "$work/bad.yaml"; }
refuse "missing file" 1 "/no/such/file.yaml" "$osmo" workflow submit /no/such/file.yaml
spec $'workflow:\n  name: [x'; refuse "invalid YAML" 1 "line" "$osmo" workflow submit "$work/bad.yaml"
spec $'workflow:\n  name: x\n  bogus: 1\n  tasks: [{name: a, image: i, command: [x]}]'; refuse "unknown key" 1 "bogus" "$osmo" workflow submit "$work/bad.yaml"
spec $'workflow:\n  name: x\n  tasks: [{name: a, image: i, command: [x]}]'; refuse "unknown pool" 2 "nopool" "$osmo" workflow submit "$work/bad.yaml" --pool nopool
spec $'workflow:\n  name: x\n  tasks:\n  - {name: a, image: i, command: [x], inputs: [{task: b}]}\n  - {name: b, image: i, command: [x], inputs: [{task: a}]}'
refuse "cyclic reference" 1 "b" "$osmo" workflow submit "$work/bad.yaml"
spec $'workflow:\n  name: x\n  tasks:\n  - {name: a, image: i, command: [x], inputs: [{task: ghost}]}'; refuse "unknown task" 2 "ghost" "$osmo" workflow submit "$work/bad.yaml"
spec $'workflow:\n  name: x-{{ nothing }}\n  tasks: [{name: a, image: i, command: [x]}]'; refuse "undefined variable" 1 "nothing" "$osmo" workflow submit "$work/bad.yaml"
spec $'jobs:\n  name: x'; refuse "no workflow section" 2 "jobs" "$osmo" workflow submit "$work/bad.yaml"
spec $'workflow:\n  name: x\n  tasks: [{name: a, image: i, command: [x], credentials: {hf: /x}}]'; refuse "missing credential" 1 "hf" "$osmo" workflow submit "$work/bad.yaml"
spec $'workflow:\n  name: x\n  tasks: [{name: a, image: i, command: [x], privileged: true}]'; refuse "not allowed" 1 "privileged" "$osmo" workflow validate "$work/bad.yaml"
spec $'workflow:\n  name: x\n  resources: {default: {memory: 10GB}}\n  tasks: [{name: a, image: i, command: [x]}]'; refuse "bad size" 1 "10GB" "$osmo" workflow validate "$work/bad.yaml"
spec $'workflow:\n  name: x\n  bogus: 1\n  tasks: [{name: a, image: i, command: [x], colour: red}]'
refuse "all findings: the first" 1 "bogus: unknown key (line 3" "$osmo" workflow validate "$work/bad.yaml"
refuse "all findings: the second" 1 "colour: unknown key (line 4" "$osmo" workflow validate "$work/bad.yaml"
refuse "restart of an unknown workflow" 2 "ghost-99" "$osmo" workflow restart ghost-99
refuse "unknown option" 2 "--bogus" "$osmo" workflow submit --bogus x
refuse "unknown command" 2 "frobnicate" "$osmo" frobnicate
refuse "unknown workflow" 2 "ghost-99" "$osmo" workflow query ghost-99
check_eq "nothing half done" "$("$osmo" workflow list -t json | tr -d ' \n')" '{"workflows":[]}'
too_large() {
    exec 9<> "/dev/tcp/127.0.0.1/$port"
    printf "POST /api/pool/default/workflow HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 999999999999\r\n\r\n" "$(sed -n "s/^ *id_token: *//p" "$OSMO_CONFIG_FILE_DIR/login.yaml")" >&9
    head -n 1 <&9 | http_status
    exec 9>&-
}
check_eq "413 for an oversized body" "$(too_large)" 413
check_eq "404 for an unknown route" "$(api GET /api/nothing | http_status)" 404
check_eq "405 for a wrong method" "$(api POST /api/version '{}' | http_status)" 405
check_eq "422 for a wrong body" "$(api POST /api/pool/default/workflow '{"file": 5}' | http_status)" 422
refuse "port in use" 1 "in use" "$bin/osmo-service" --listen "127.0.0.1:$port" --data-dir "$work/other"
refuse "locked database" 1 "in use" "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/data"
if ((EUID != 0)); then refuse "no permission" 1 "/proc/osmo" "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir /proc/osmo; fi
refuse "impossible data directory" 1 "/proc/osmo" "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir /proc/osmo
printf 'pools: [1' > "$work/bad-config.yaml"
refuse "broken configuration" 1 "bad-config.yaml" "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/other" --config "$work/bad-config.yaml"
refuse "unknown role" 1 "juggler" "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/other" --roles core,juggler
refuse "dev mode off loopback" 2 "loopback" "$bin/osmo-service" --listen 0.0.0.0:0 --data-dir "$work/other" --auth dev
refuse "and at a name that only looks like it" 2 "loopback" "$bin/osmo-service" --listen 127.evil.example:0 --data-dir "$work/other" --auth dev
refuse "second backend on one state" 1 "$work/backend" "$bin/osmo-backend" --service "$url" --cluster local --state-dir "$work/backend" --token-file "$work/data/admin-token"
stop_all
refuse "service down" 10 "127.0.0.1:$port" "$osmo" workflow list
refuse "version without a service" 0 "OSMO client version:  6.4.0" "$osmo" version
