# After a session with logins, tokens, credentials, a workflow that uses them and both rotations of keys, none of the secrets is in the
# database, in a log, in the audit log, or in the memory of the service as a core file would hold it; on both databases.
. "$(dirname "$0")/lib.sh"
hex() { od -An -v -tx1 | tr -d ' \n'; }
bytes_of() { local text; text=$(tr -- '-_' '+/'); while ((${#text} % 4)); do text+="="; done; base64 -d <<< "$text"; }

generic=generic-value-$(head -c 12 /dev/urandom | hex) pass=registry-pass-$(head -c 12 /dev/urandom | hex)
wrong=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d =)

# Every form that a secret is given to the service or gives out in, one a line: "NAME HEX".
secrets() {
    local f line n=0 jwk
    for f in "$work/data/admin-token" "$work/bob.token"; do echo "$(basename "$f") $(tr -d '\n' < "$f" | hex)"; done
    while read -r line; do
        n=$((n + 1))
        jwk=$(base64 -d <<< "$line")
        echo "master-key-$n $(sed -n 's/.*"k": *"\([^"]*\)".*/\1/p' <<< "$jwk" | tr -d '\n' | bytes_of | hex)"
        echo "master-key-file-$n $(printf %s "$line" | hex)"
    done < <(sed -n 's/^  "[^"]*": //p' "$work/data/master-key.yaml")
    echo "credential $(printf %s "$generic" | hex)"
    echo "registry-password $(printf %s "$pass" | hex)"
    echo "refused-token $(printf %s "$wrong" | hex)"
    while read -r f; do # of tasks: read backwards, so that the task data that they wrote is nothing to find
        n=$((n + 1))
        echo "task-token-$n $(rev "$f" | sed -n 's/^ *refresh_token: *//p' | tr -d '"\n' | hex)"
        echo "task-jwt-$n $(rev "$f" | sed -n 's/^ *id_token: *//p' | cut -d. -f3 | tr -d '"\n' | hex)"
    done < <(find "$work/data/storage" -name login.rev)
    for f in "$work"/jwt.*; do echo "$(basename "$f") $(tr -d '\n' < "$f" | cut -d. -f3 | hex)"; done
}
keep_jwt() { sed -n 's/^ *id_token: *//p' "$1/login.yaml" > "$work/jwt.$2"; }

# Where other services could have a copy of the file, the new key is the operator's to add.
add_master_key() {
    "$osmo" keys rotate master > "$work/o" 2>&1; check_eq "the operator is asked for a key" "$?" 2
    check_has "and where" "$(< "$work/o")" "add another key to $work/data/master-key.yaml"
    local jwk key
    key=$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d =)
    jwk=$(printf '{"kty":"oct","k":"%s"}' "$key" | base64 -w 0)
    sed -i -e 's/^currentMek:.*/currentMek: "key2"/' -e "\$a\\  \"key2\": $jwk" "$work/data/master-key.yaml"
}

specification() {
    cat > "$work/secret.yaml" <<'Y'
workflow:
  name: secret
  tasks:
  - name: user
    image: alpine
    command: [sh, -c, 'echo "the value has $(printf %s "$VALUE" | wc -c) characters"; busybox rev /osmo/login/config/login.yaml > {{output}}/login.rev']
    credentials: {mine: {VALUE: key}}
Y
}

session() {
    login; check_eq "the administrator logs in" "$?" 0
    keep_jwt "$OSMO_CONFIG_FILE_DIR" admin
    mkdir -m 700 -p "$work/bob"
    "$osmo" user create bob --roles osmo-user > /dev/null; check_eq "a user" "$?" 0
    "$osmo" token set laptop --user bob -t json | sed -n 's/^ *"token": "\(.*\)",*$/\1/p' > "$work/bob.token"
    check_eq "with a token" "$(tr -d '\n' < "$work/bob.token" | wc -c)" 43
    OSMO_CONFIG_FILE_DIR=$work/bob "$osmo" login "$url" --method token --token-file "$work/bob.token" > /dev/null; check_eq "who logs in" "$?" 0
    keep_jwt "$work/bob" bob
    check_eq "a token that nobody has is refused" "$(http_request POST /api/auth/jwt/access_token "{\"token\":\"$wrong\"}" | http_status)" 400
    printf %s "$generic" | "$osmo" credential set mine --type GENERIC --payload-file key=- > "$work/o" 2>&1; check_eq "a credential" "$?" 0
    printf %s "$pass" | "$osmo" credential set reg --type REGISTRY --payload registry=127.0.0.1:9 username=maya --payload-file auth=- > "$work/o" 2>&1
    check_eq "one for a registry" "$?" 0
    check_has "credentials are listed" "$("$osmo" credential list)" mine
    specification
    out=$("$osmo" workflow submit "$work/secret.yaml" --follow 2>&1); check_eq "a workflow that uses it" "$?" 0
    check_has "has it" "$out" "the value has ${#generic} characters"
    OSMO_CONFIG_FILE_DIR=$work/bob "$osmo" pool list > /dev/null; check_eq "the user looks at pools" "$?" 0
    "$osmo" keys rotate signing > /dev/null; check_eq "another signing key" "$?" 0
    check_eq "two are published, as long as was asked for" "$(http_request GET /api/auth/keys "" | grep -o '"n":"[^"]*"' | awk '{ print length($0) - 6 }' | tr '\n' ' ')" "512 512 "
    [[ $database ]] && add_master_key
    "$osmo" keys rotate master > "$work/o" 2>&1; check_eq "another master key" "$?" 0
    "$osmo" pool list > /dev/null; check_eq "the former token is still good" "$?" 0
    out=$("$osmo" workflow submit "$work/secret.yaml" --follow 2>&1); check_eq "and the credential" "$?" 0
    kill -HUP "$service_pid"
    login; keep_jwt "$OSMO_CONFIG_FILE_DIR" again
    stop_one "$backend_pid"; backend_pid=
}

search() { # what, arguments of needles...
    local what=$1 code
    shift
    secrets > "$work/secrets"
    "$bin/tests/system/needles" "$@" < "$work/secrets" > "$work/found" 2>&1
    code=$?
    check_eq "$what" "$code" 0
    ((code)) && grep -v '^\.' "$work/found" | head -n 60
    return "$code"
}

run() { # name of the database
    cat > "$work/osmo.yaml" <<'Y'
service: {service_auth: {signing_key_bits: 3072}}
workflow: {credential_config: {disable_registry_validation: ["127.0.0.1:9"]}} # there is none to ask
Y
    start_service --config "$work/osmo.yaml" || exit 1
    login && start_backend --image "alpine=$rootfs" || exit 1
    session
    # The search itself can fail: a secret that is known to be there is found.
    printf 'a-word-of-the-log %s\n' "$(printf 'serving http' | hex)" | "$bin/tests/system/needles" "$work/service.log" > /dev/null; check_eq "the search finds" "$?" 1
    # What was shown once at the first start is for the administrator.
    sed -i "s/^$(< "$work/data/admin-token")\$/(the access token)/" "$work/service.log"
    check_eq "$1: what is looked for" "$(secrets | sed 's/-[0-9]* .*//; s/ .*//' | sort -u | tr '\n' ' ')" \
        "admin-token bob.token credential jwt.admin jwt.again jwt.bob master-key master-key-file refused-token registry-password task-jwt task-token "
    if ((EUID)); then echo "the memory of the service is for root alone to look into"
    elif grep -qE 'lib[at]san' "/proc/$service_pid/maps"; then echo "no search in memory that a sanitizer manages"
    else search "$1: memory" -p "$service_pid"; fi
    search "$1: logs" "$work/service.log" "$work/backend.log" "$work/data/audit.jsonl"
    stop_all
    mapfile -t files < <(find "$work/data" "${pgsql_files[@]}" -type f ! -name admin-token ! -name master-key.yaml ! -path '*/storage/*')
    search "$1: database and other files" "${files[@]}"
}

. "$root/tests/system/specs.sh"
rootfs=$(busybox_rootfs)
pgsql_files=()
run "SQLite"
if database=$("$root/tests/pgsql-server" start "$work/pgsql"); then
    rm -rf "$work/data" "$work/backend" "$work"/jwt.*
    mkdir -m 700 "$work/data" "$work/backend"
    : > "$work/service.log"
    pgsql_files=("$work/pgsql")
    run "PostgreSQL"
    "$root/tests/pgsql-server" stop "$work/pgsql"
fi
