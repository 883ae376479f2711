# Authentication: nothing without a token, tokens are exchanged, dev mode is explicit and loopback only.
. "$(dirname "$0")/lib.sh"
start_service || exit 1
check_eq "the token file is private" "$(stat -c %a "$work/data/admin-token")" 600
check_eq "the token has 43 characters" "$(tr -d '\n' < "$work/data/admin-token" | wc -c)" 43
check_eq "401 without a token" "$(http_request GET /api/workflow "" | http_status)" 401
check_eq "401 with a wrong token" "$(http_request GET /api/workflow "" "Authorization: Bearer abc.def.ghi" | http_status)" 401
check_eq "x-osmo-user alone proves nothing" "$(http_request GET /api/workflow "" "x-osmo-user: admin" "x-osmo-roles: osmo-admin" | http_status)" 401
check_eq "health is open" "$(http_request GET /health "" | http_status)" 200
check_eq "version is open" "$(http_request GET /api/version "" | http_status)" 200
check_has "keys are published" "$(http_request GET /api/auth/keys "")" '"kty"'
check_eq "a bad access token is refused" "$(http_request POST /api/auth/jwt/access_token '{"token":"0123456789012345678901234567890123456789012"}' | http_status)" 400
check_eq "a short one too" "$(http_request POST /api/auth/jwt/access_token '{"token":"x"}' | http_status)" 400
login; check_eq "login with the token" "$?" 0
check_eq "login.yaml is private" "$(stat -c %a "$OSMO_CONFIG_FILE_DIR/login.yaml")" 600
check_has "who am I" "$("$osmo" profile list)" "osmo-admin"
check_eq "a websocket needs a token" "$(http_request GET /api/agent/listener/pod/backend/default "" "Upgrade: websocket" "Connection: Upgrade" "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" "Sec-WebSocket-Version: 13" | http_status)" 401
token=$(< "$work/data/admin-token")
grep -qF -e "$token" "$work/service.log"; first=$?
stop_all
: > "$work/service.log"
start_service || exit 1
login; check_eq "the token survives a restart" "$?" 0
grep -qF -e "$token" "$work/service.log"; check_eq "the token is printed only once" "$?" 1
grep -aqF -e "$token" "$work/data"/*.db "$work/data"/*.db-wal 2>/dev/null; check_eq "the database holds no clear token" "$?" 1
stop_all
start_service --auth dev || exit 1
"$osmo" login "$url" --method dev --username maya > /dev/null
check_has "dev mode trusts the name" "$("$osmo" profile list)" "maya"
check_eq "dev mode: foreign origin" "$(http_request GET /api/workflow "" "x-osmo-user: maya" "Origin: http://evil.example" | http_status)" 403
dev_host() { exec 9<> "/dev/tcp/127.0.0.1/$port"; printf 'GET /api/workflow HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n' >&9; head -n 1 <&9 | http_status; exec 9>&-; }
check_eq "dev mode: foreign host" "$(dev_host)" 403
