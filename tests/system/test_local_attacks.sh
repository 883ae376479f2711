# Who is on the same machine and is not the owner: a web page in the owner's browser, a name that leads here, another user, a task in its
# sandbox. None of them acts as the owner of an installation of `osmo up`; pages and names do not get into development mode either.
. "$(dirname "$0")/lib.sh"
((EUID == 0)) && other=(setpriv --reuid 65534 --regid 65534 --clear-groups --) # nobody else to be without root
mkdir -m 700 "$work/tmp"

# One request, byte for byte: method path host body header...
raw() {
    local method=$1 path=$2 host=$3 body=$4 h
    shift 4
    exec 9<> "/dev/tcp/127.0.0.1/$port" || return 1
    {
        printf '%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n' "$method" "$path" "$host"
        for h in "$@"; do printf '%s\r\n' "$h"; done
        [[ -z $body && $method == GET ]] || printf 'Content-Length: %d\r\n' "${#body}"
        printf '\r\n%s' "$body"
    } >&9
    timeout 20 cat <&9 | tr -d '\0'
    exec 9>&-
}
# No header of the answer lets a page of elsewhere read it, or send more.
check_closed() { # label, answer
    if grep -qi '^access-control-allow' <<< "$2"; then fail "$1"; else pass "$1"; fi
}
upgrade=("Upgrade: websocket" "Connection: Upgrade" "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" "Sec-WebSocket-Version: 13")
# What a browser lets a page of elsewhere send without asking first, and what it asks. Nothing may come of it.
attack_as_page() { # label, expected status of what needs an identity, Origin, Host
    local label=$1 want=$2 origin=$3 host=$4 out
    local page=("Origin: $origin" "Sec-Fetch-Site: cross-site" "Sec-Fetch-Mode: no-cors")
    out=$(raw GET /api/workflow "$host" "" "${page[@]}"); check_eq "$label: reading" "$(http_status <<< "$out")" "$want"
    check_closed "$label: no permission to read answers" "$out"
    out=$(raw POST /api/pool/default/workflow "$host" "$evil_body" "${page[@]}" "Content-Type: text/plain")
    check_eq "$label: a simple POST" "$(http_status <<< "$out")" "$want"
    out=$(raw POST /api/pool/default/workflow "$host" "file=x&b=y" "${page[@]}" "Content-Type: application/x-www-form-urlencoded")
    check_eq "$label: a form" "$(http_status <<< "$out")" "$want"
    out=$(raw POST "/api/workflow/$victim/cancel" "$host" "" "${page[@]}")
    check_eq "$label: a POST without a body" "$(http_status <<< "$out")" "$want"
    out=$(raw OPTIONS /api/pool/default/workflow "$host" "" "${page[@]}" "Access-Control-Request-Method: POST" \
        "Access-Control-Request-Headers: content-type,x-osmo-user")
    check_closed "$label: no leave for more" "$out"
    out=$(raw GET /api/agent/listener/pod/backend/default "$host" "" "${page[@]}" "${upgrade[@]}")
    check_eq "$label: a websocket of backends" "$(http_status <<< "$out")" "$want"
    out=$(raw GET "/api/logger/workflow/$victim/osmo_ctrl/t/retry_id/0" "$host" "" "${page[@]}" "${upgrade[@]}")
    check_eq "$label: a websocket of tasks" "$(http_status <<< "$out")" "$want"
}
evil_body='{"file": "workflow: {name: evil, tasks: [{name: t, image: debian, command: [id]}]}"}'

# ---- an installation of its owner ----
rmdir "$work/backend" && ln -s up/backend "$work/backend" # whatever happens, its pods end with the test
TMPDIR=$work/tmp "$osmo" up --data-dir "$work/up" --listen 127.0.0.1:0 > "$work/up.log" 2>&1 &
backend_pid=$!
is_up() { grep -q 'OSMO is up' "$work/up.log"; }
check "it comes up" eventually 60 is_up
port=$(< "$work/up/port") url=http://127.0.0.1:$port
cat > "$work/victim.yaml" <<'Y'
workflow:
  name: victim
  tasks: [{name: t, image: debian, command: [sleep, '600']}]
Y
victim=$(submit "$work/victim.yaml" --pool default)
check "the owner has a workflow" test -n "$victim"

attack_as_page "another site's page" 401 http://evil.example "127.0.0.1:$port"
attack_as_page "a page without an origin" 401 null "localhost:$port"
attack_as_page "a name that leads here" 401 http://evil.example:$port "evil.example:$port"
out=$(raw GET /api/configs/role "127.0.0.1:$port" "" "x-osmo-user: admin" "x-osmo-roles: osmo-admin" "x-osmo-allowed-pools: default")
check_eq "headers of a gateway prove nothing" "$(http_status <<< "$out")" 401
out=$(raw GET /api/auth/login "127.0.0.1:$port" "" "Origin: http://evil.example")
check_closed "open paths are not readable for pages" "$out"

# ---- another user of the machine ----
attack_as_user() {
    local found f secret places=("$work/up" "$work/tmp" "$OSMO_CONFIG_FILE_DIR" "$OSMO_LOG_FILE_DIR")
    "${other[@]}" test -x "$work"; check_eq "the other user gets as far as the directory above" "$?" 0
    found=$("${other[@]}" find "${places[@]}" -mindepth 1 2>/dev/null)
    check_eq "and sees nothing in data, login and logs" "$found" ""
    for f in "$work/up/admin-token" "$OSMO_CONFIG_FILE_DIR/login.yaml" "$work/up/master-key.yaml" "$work"/up/*.db* "$work/up/backend"; do
        [[ -e $f ]] || { fail "there is no $f"; continue; }
        "${other[@]}" test -r "$f" -o -w "$f"; check_eq "no access to ${f##*/}" "$?" 1
        [[ -d $f ]] || check_eq "whose mode is its owner's" "$(stat -c %a "$f" | cut -c2-)" 00
    done
    found=$("${other[@]}" bash -c "exec 9<> /dev/tcp/127.0.0.1/$port
        printf 'GET /api/workflow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&9
        head -n 1 <&9")
    check_eq "no service without a token" "$(http_status <<< "$found")" 401
    for secret in "$(< "$work/up/admin-token")" "$(sed -n 's/^ *id_token: *//p' "$OSMO_CONFIG_FILE_DIR/login.yaml")"; do
        check_eq "no secret in a command line" "$("${other[@]}" grep -lsaF -f - /proc/[0-9]*/cmdline <<< "$secret")" ""
    done
}
if ((EUID == 0)); then attack_as_user; else echo "not root: nobody to be another user with"; fi

# What listens: the service's port and nothing else; no sockets that everybody can reach by name.
processes() { pgrep -f -- "$work/up" ; }
sockets_of() { local p; for p in $(processes); do find "/proc/$p/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null; done | tr -dc '0-9\n' | sort -u; }
sockets_of > "$work/sockets"
awk '$4 == "0A" { print $10, $2 }' /proc/net/tcp /proc/net/tcp6 | sort | join - "$work/sockets" > "$work/listening"
check_eq "one port is open, at loopback" "$(cut -d ' ' -f 2 "$work/listening")" "$(printf '0100007F:%04X' "$port")"
check_eq "no abstract sockets" "$(awk '$8 ~ /^@/ { print $7, $8 }' /proc/net/unix | sort | join - "$work/sockets")" ""

# ---- a task in its sandbox, with a token of its own, and a network of its own where that is possible ----
# A service of somebody else that trusts whoever reaches it at loopback.
mkdir "$work/trusting" && echo trusted > "$work/trusting/index.html"
trusting=$((20000 + RANDOM % 10000))
busybox httpd -f -p "127.0.0.1:$trusting" -h "$work/trusting" &
trusting_pid=$!
trap 'stop_one "$trusting_pid"; finish; exit $?' EXIT
grep -q "each pod has a network of its own" "$work/up.log" && own_network=1 || own_network=
"$osmo" user create other > /dev/null || fail "a second user"
"$osmo" token list -t json > "$work/tokens"
gets="/api/auth/access_token /api/auth/user /api/auth/user/admin /api/auth/user/admin/access_token /api/credentials /api/configs/role
    /api/configs/pool /api/work/dead"
posts="/api/auth/access_token/mine /api/auth/user/admin/access_token/mine /api/workflow/$victim/cancel /api/workflow/$victim/tag
    /api/pool/default/workflow /api/auth/user /api/auth/user/other/roles /api/credentials/mine /api/profile/settings /api/auth/keys/rotate
    /api/storage/$victim/t"
puts="/api/configs/role/osmo-user /api/configs/pool/default /api/storage/$victim/t/stolen"
cat > "$work/attack.sh" <<A
trusting=$trusting
port=$port victim=$victim gets="$gets" posts="$posts" puts="$puts"
A
cat >> "$work/attack.sh" <<'A' # a template engine reads it: no brace before % or a hash sign
say() { echo "RESULT $1=$2"; }
call() { # method path [header...]: the status
    local method=$1 path=$2 h
    shift 2
    exec 9<> "/dev/tcp/127.0.0.1/$port" || { echo none; return; }
    {
        printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n' "$method" "$path" "$port"
        for h in "$@"; do printf '%s\r\n' "$h"; done
        [[ $method == GET ]] || printf 'Content-Type: application/json\r\nContent-Length: %d\r\n' "$(printf %s "$body" | wc -c)"
        printf '\r\n'
        [[ $method == GET ]] || printf %s "$body"
    } >&9
    head -n 1 <&9 | cut -d ' ' -f 2
    exec 9>&-
}
for f in $files; do
    cat "$f" > /dev/null 2>&1 && say "file:${f##*/}" readable || say "file:${f##*/}" closed
done
for d in $dirs; do say "dir:${d##*/}" "$(ls -A "$d" 2>/dev/null | head -n 3 | tr '\n' ' ')"; done
say others "$(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -c '[o]smo-service')"
( : > "$owned/new" ) 2>/dev/null && say write yes || say write no
say uids "$(tr -s ' \t' ' ' < /proc/self/status | sed -n 's/^CapEff: //p')"

say trusting "$(timeout 5 busybox wget -q -O - "http://127.0.0.1:$trusting/" 2>/dev/null)"
say abstract "$(grep -c ' @' /proc/net/unix)"
say address "$(busybox ip addr add 10.1.2.3/32 dev lo 2>&1 | grep -c 'not permitted')"
say packets "$(busybox arping -c 1 -w 1 127.0.0.1 2>&1 | grep -c 'not permitted')"

login=$(cat "$OSMO_CONFIG_FILE_DIR/login.yaml")
id=$(sed -n 's/^ *id_token: *//p' <<< "$login") refresh=$(sed -n 's/^ *refresh_token: *//p' <<< "$login")
me="Authorization: Bearer $id" body='{}'
say have "$(printf %s "$refresh" | wc -c)"
say own "$(call GET "/api/workflow/$WORKFLOW" "$me")"
say nobody "$(call GET /api/workflow)"
say name "$(call GET /api/workflow 'x-osmo-user: admin' 'x-osmo-roles: osmo-admin')"
for path in $gets; do
    say "GET$path" "$(call GET "$path" "$me" 'x-osmo-user: admin' 'x-osmo-roles: osmo-admin')"
done
for path in $posts; do say "POST$path" "$(call POST "$path?expires_at=2099-01-01" "$me")"; done
for path in $puts; do say "PUT$path" "$(call PUT "$path" "$me")"; done
say DELETE/api/auth/user/other "$(call DELETE /api/auth/user/other "$me")"
ws=('Upgrade: websocket' 'Connection: Upgrade' 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' 'Sec-WebSocket-Version: 13')
say agent "$(call GET /api/agent/listener/pod/backend/default "$me" "${ws[@]}")"
say logger "$(call GET "/api/logger/workflow/$victim/osmo_ctrl/t/retry_id/0" "$me" "${ws[@]}")"
body="{\"token\": \"$refresh\"}"
say exchange "$(call POST /api/auth/jwt/access_token)"
say foreign "$(call POST "/api/auth/jwt/refresh_token?workflow_id=$victim&group_name=t&task_name=t")"
A
indent() { sed 's/^/        /' "$1"; }
cat > "$work/attack.yaml" <<Y
workflow:
  name: attack
  tasks:
  - name: t
    image: debian
    command: [bash, /tmp/attack.sh]
    environment:
      WORKFLOW: '{{workflow_id}}'
      owned: '$work/up'
      files: '$OSMO_CONFIG_FILE_DIR/login.yaml $work/up/admin-token $work/up/master-key.yaml $work/up/osmo.db $work/up/port'
      dirs: '$work/up $OSMO_CONFIG_FILE_DIR $work/up/backend'
    files:
    - path: /tmp/attack.sh
      contents: |
$(indent "$work/attack.sh")
Y
attack=$(submit "$work/attack.yaml" --pool default)
"$osmo" workflow wait "$attack" --timeout 120 > "$work/wait.log" 2>&1; check_eq "the task ends" "$?" 0
"$osmo" workflow logs "$attack" > "$work/attack.log" 2>&1
result() { sed -n "s|.*RESULT $1=\(.*\)|\1|p" "$work/attack.log" | head -n 1; }
for f in login.yaml admin-token master-key.yaml osmo.db port; do check_eq "a task: $f" "$(result "file:$f")" closed; done
for d in up config backend; do check_eq "a task: the directory $d is empty" "$(result "dir:$d" | tr -d ' ')" ""; done
check_eq "a task: sees no process of the owner" "$(result others)" 0
check_eq "a task: writes nothing there" "$(result write)" no
check_eq "a task: has no capabilities" "$(result uids)" 0000000000000000
check_eq "a task: changes no addresses" "$(result address)" 1
check_eq "a task: sends no raw packets" "$(result packets)" 1
if [[ $own_network ]]; then
    check_eq "a task: other services at loopback" "$(result trusting)" ""
    check_eq "a task: abstract sockets of others" "$(result abstract)" 0
fi
check_eq "a task: has a token of its own" "$(result have)" 43
check_eq "a task: which reads its own workflow" "$(result own)" 200
check_eq "a task: is nobody without it" "$(result nobody)" 401
check_eq "a task: a name proves nothing" "$(result name)" 401
for path in $gets; do
    check_eq "a task: GET $path" "$(result "GET$path")" 403
done
for path in $posts; do check_eq "a task: POST $path" "$(result "POST$path")" 403; done
for path in $puts; do check_eq "a task: PUT $path" "$(result "PUT$path")" 403; done
check_eq "a task: DELETE of a user" "$(result DELETE/api/auth/user/other)" 403
check_eq "a task: the socket of backends" "$(result agent)" 403
check_eq "a task: the log of another task" "$(result logger)" 403
check_eq "a task: its refresh token is no access token" "$(result exchange)" 400
check_eq "a task: and not the one of another task" "$(result foreign)" 400
((failures)) && cat "$work/attack.log"
check_eq "the owner's workflow goes on" "$(status_of "$victim")" RUNNING
check_eq "the owner has the tokens that he had" "$("$osmo" token list -t json)" "$(< "$work/tokens")"
"$osmo" workflow cancel "$victim" > /dev/null; check_eq "until he stops it" "$?" 0
"$osmo" workflow wait "$victim" --timeout 60 > /dev/null 2>&1
kill -TERM "$backend_pid"; wait "$backend_pid"; check_eq "it ends" "$?" 0
unset port
backend_pid=

# ---- development mode believes names, but no pages ----
start_service --auth dev || exit 1
victim=none-1
attack_as_page "development: another site's page" 403 http://evil.example "127.0.0.1:$port"
attack_as_page "development: a page without an origin" 403 null "localhost:$port"
attack_as_page "development: a name that leads here" 403 http://evil.example:$port "evil.example:$port"
attack_as_page "development: a name that begins like this machine" 403 "http://localhost.evil.example:$port" "127.0.0.1.evil.example:$port"
out=$(raw POST /api/pool/default/workflow "localhost:$port" "$evil_body" "Content-Type: text/plain")
check_eq "development: a body that no program of ours sends" "$(http_status <<< "$out")" 403
check_eq "development: this machine's programs get in" "$(raw GET /api/workflow "localhost:$port" "" | http_status)" 200
