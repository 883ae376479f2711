# Tokens of backends from a directory: a real operator signs in with one, which is exchanged for another while everything runs, and taken away.
. "$(dirname "$0")/lib.sh"
new_token() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }
first=$(new_token) second=$(new_token) third=$(new_token)
mkdir -p "$work/tokens/default/..1" "$work/tokens/west"
new_token > "$work/tokens/west/token"
printf '%s\n' "$first" > "$work/tokens/default/..1/token"
ln -s ..1 "$work/tokens/default/..data"
version=1
swap() { # token [previous-token]: as a new version of a projected Secret
    version=$((version + 1))
    mkdir "$work/tokens/default/..$version"
    printf '%s\n' "$1" > "$work/tokens/default/..$version/token"
    [[ -z ${2-} ]] || printf '%s\n' "$2" > "$work/tokens/default/..$version/previous-token"
    ln -s "..$version" "$work/tokens/default/..data_tmp"
    mv -T "$work/tokens/default/..data_tmp" "$work/tokens/default/..data"
}
backend_token() { (umask 077; printf '%s\n' "$1" > "$work/token.new"); mv "$work/token.new" "$work/token"; }
exchange() { http_request POST /api/auth/jwt/access_token "{\"token\":\"$1\"}" | http_status; }
run_one() { # name: a workflow goes through
    printf 'workflow:\n  name: %s\n  tasks:\n  - {name: t, image: none, command: ["true"]}\n' "$1" > "$work/$1.yaml"
    id=$(submit "$work/$1.yaml")
    eventually 60 eval '[[ $(status_of "$id") == COMPLETED ]]'
}
closed() { (($(grep -c 'connection to .* is closed (4000' "$work/backend.log") >= $1)); }

start_service --backend-token-dir "$work/tokens" && login || exit 1
backend_token "$first"
"$bin/osmo-backend" --service "$url" --name default --cluster local --token-file "$work/token" --state-dir "$work/backend" \
    --hide "$work/data" --hide "$OSMO_CONFIG_FILE_DIR" --hide "$work/tokens" --hide "$work/token" 2>> "$work/backend.log" &
backend_pid=$!
check "a workflow runs at a backend that signed in by the directory" run_one one

swap "$second" "$first"
check_eq "the previous token counts while they are exchanged" "$(exchange "$first")" 200
check_eq "the new one too" "$(exchange "$second")" 200
check "the operator goes on" run_one two
backend_token "$second"
swap "$second"
check_eq "without being named the previous token counts no more" "$(exchange "$first")" 400
check "the sessions it opened are closed" eventually 90 closed 1
check "the operator has signed in by the new token" run_one three

swap "$third"
check_eq "a token that was taken away is refused" "$(exchange "$second")" 400
check "its sessions are closed" eventually 90 closed 7
check "the operator says so" eventually 30 grep -q 'refused the token' "$work/backend.log"
check_eq "and does not knock more often than it may" "$(grep -c 'HTTP 429' "$work/backend.log")" 0
backend_token "$third"
check "and comes back with the next one, without a restart" run_one four

stop_one "$backend_pid"; backend_pid=
"$bin/osmo-backend" --service "$url" --name default --cluster local --token-file "$work/tokens/west/token" --state-dir "$work/backend" \
    2>> "$work/other.log" &
other_pid=$!
check "another backend's token opens nothing" eventually 30 grep -q 'HTTP 403' "$work/other.log"
stop_one "$other_pid"
for t in "$first" "$second" "$third"; do
    grep -qF -e "$t" "$work/service.log" "$work/backend.log" "$work/data/audit.jsonl"; check_eq "no token in a log" "$?" 1
done
