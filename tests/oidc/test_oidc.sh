# Logging in by an OpenID provider of others: PKCE, device grant, password grant, roles by mapping, renewal, exchanged keys, foreign tokens.
. "$(dirname "$0")/../system/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
provider_pid= idp=
stop_provider() { [[ -z $provider_pid ]] || { kill "$provider_pid" 2>/dev/null; wait "$provider_pid" 2>/dev/null; }; }
trap 'stop_provider; finish; exit $?' EXIT

start_provider() {
    (cd "$bin/oidc" && exec node "$here/provider.mjs" "$work/provider.port") > "$work/provider.log" 2>&1 &
    provider_pid=$!
    eventually 60 test -s "$work/provider.port" || { echo "the provider did not start"; cat "$work/provider.log"; return 1; }
    idp=http://127.0.0.1:$(< "$work/provider.port")
}
fetch() { node -e 'fetch(process.argv[1]).then(async (r) => process.stdout.write(await r.text()))' "$1"; } # GET
# What the provider gives for a password to a client: its identity token.
token_for() { # client user
    node -e 'const [url, client_id, username] = process.argv.slice(1);
        fetch(url, { method: "POST", body: new URLSearchParams({ grant_type: "password", client_id, username, password: "secret of tests",
            scope: "openid offline_access profile" }) }).then(async (r) => process.stdout.write((await r.json()).id_token))' "$idp/token" "$1" "$2"
}
kept() { sed -n "s/^ *$1: *//p" "$OSMO_CONFIG_FILE_DIR/login.yaml"; } # a line of login.yaml
as_admin() { OSMO_CONFIG_FILE_DIR=$work/admin "$osmo" "$@"; }

start_provider || exit 1
cat > "$work/service.yaml" <<Y
service:
  service_auth:
    login_info:
      browser_endpoint: $idp/auth
      browser_client_id: osmo-browser
      device_endpoint: $idp/device/auth
      device_client_id: osmo-device
      token_endpoint: $idp/token
      logout_endpoint: $idp/session/end
    providers:
    - name: test
      issuer: $idp
      audience: [osmo-browser, osmo-device]
Y
start_service --config "$work/service.yaml" || exit 1
mkdir -m 700 "$work/admin"
as_admin login "$url" --method token --token-file "$work/data/admin-token" > "$work/admin.log" || { cat "$work/admin.log"; exit 1; }
start_backend

# ---- a role of ours for a role of theirs ----
admin_token=$(sed -n 's/^ *id_token: *//p' "$work/admin/login.yaml")
role='{"configs": {"name": "robot-lab", "description": "the lab", "external_roles": ["team-a"], "policies": [{"actions": ["workflow:*"],
 "resources": ["pool/default"]}, {"actions": ["pool:List", "resources:Read", "profile:*"], "resources": ["*"]}]}}'
out=$(http_request PUT /api/configs/role/robot-lab "$role" "Authorization: Bearer $admin_token")
check_eq "the administrator makes a role" "$(http_status <<< "$out")" 200

# ---- PKCE: the browser is a program that fills in the provider's forms ----
mkdir "$work/path"
cat > "$work/path/xdg-open" <<X
#!/bin/sh
[ -z "\$OSMO_LOGIN_TOKEN" ] || echo "the browser got a secret" > "$work/leak"
exec node "$here/browser.mjs" "\$1" "\$(cat "$work/person")" > "$work/browser.log" 2>&1
X
chmod +x "$work/path/xdg-open"
pkce() { # user, further options
    echo "$1" > "$work/person"
    shift
    PATH=$work/path:$PATH DISPLAY=:0 OSMO_LOGIN_TOKEN=x timeout 60 "$osmo" login "$url" "$@" > "$work/login.log" 2>&1
}
pkce maya; check_eq "login by PKCE, which is the default" "$?" 0
((failures)) && { cat "$work/login.log" "$work/browser.log"; exit 1; } # nothing else would go on
check_has "welcome" "$(< "$work/login.log")" "Welcome maya"
check_has "the address is printed" "$(< "$work/login.log")" "$idp/auth?response_type=code&client_id=osmo-browser&redirect_uri=http%3A%2F%2Flocalhost%3A"
check_has "the page in the end" "$(< "$work/browser.log")" "this window may be closed"
check "the browser's environment has no secret" test ! -e "$work/leak"
check_eq "login.yaml is private" "$(stat -c %a "$OSMO_CONFIG_FILE_DIR/login.yaml")" 600
check_eq "it names the client" "$(kept client_id)" osmo-browser
check_eq "and where to renew" "$(kept refresh_url)" "$idp/token"
check_eq "it is no token of OSMO" "$(kept osmo_token)" false
known() { "$osmo" profile list > "$work/profile" 2>&1; } # the provider's keys may be on their way
check "the service knows the caller" eventually 30 known
check_has "by name" "$(< "$work/profile")" maya
check_has "with the mapped role" "$(< "$work/profile")" robot-lab
if grep -q osmo-admin "$work/profile"; then fail "and no other: $(< "$work/profile")"; else pass "and no other"; fi
if grep -qF -e "$(kept refresh_token)" "$work/login.log" "$work/service.log"; then fail "tokens are not printed"; else pass "tokens are not printed"; fi

cat > "$work/hello.yaml" <<'Y'
workflow:
  name: hello
  tasks: [{name: t, image: debian, command: [echo, hello]}]
Y
name=$(submit "$work/hello.yaml" --pool default)
check "maya submits" test -n "$name"
"$osmo" workflow wait "$name" --timeout 90 > "$work/wait.log" 2>&1; check_eq "it completes" "$?" 0
check_has "it is maya's" "$("$osmo" workflow query "$name" -t json)" '"submitted_by": "maya"'
check_eq "maya is no administrator" "$(api GET /api/configs/role | http_status)" 403

pkce nobody; check_eq "somebody without a role logs in" "$?" 0
"$osmo" workflow submit "$work/hello.yaml" --pool default > "$work/refused" 2>&1; check_eq "and may not submit" "$?" 2
check_has "because of that" "$(< "$work/refused")" "Error code: 403"
pkce --cancel; check_eq "who cancels at the provider is not logged in" "$?" 2
check_has "and reads why" "$(< "$work/login.log")" "the identity provider refused the login"
check_eq "the login before stays" "$(kept username)" nobody
pkce maya --callback-port "$port"; check_eq "a port that is taken" "$?" 10
check_has "is named" "$(< "$work/login.log")" "choose another one with --callback-port"

# ---- renewal: short lives, several commands at once, other keys and another algorithm ----
fetch "$idp/-/life?IdToken=4" > /dev/null
pkce maya; check_eq "a login for four seconds" "$?" 0
claims() { kept id_token | cut -d . -f "$1" | tr -- -_ +/ | base64 -d 2>/dev/null; } # the second part; the first is the header
expires() { [[ $(claims 2) =~ \"exp\":([0-9]+) ]] && exp=${BASH_REMATCH[1]}; }
expired() { ((EPOCHSECONDS > exp)); }
check "which has an end" expires
check "it expires" eventually 20 expired
before=$(kept refresh_token)
fetch "$idp/-/life?IdToken=600" > /dev/null
commands=()
for i in 1 2 3 4; do
    "$osmo" profile list > "$work/at-once.$i" 2>&1 &
    commands+=("$!")
done
codes=
for i in "${commands[@]}"; do wait "$i"; codes+=" $?"; done
check_eq "four commands at once renew it once" "$codes" " 0 0 0 0"
[[ $codes == " 0 0 0 0" ]] || cat "$work"/at-once.*
if [[ $(kept refresh_token) != "$before" ]]; then pass "the new refresh token is kept"; else fail "the new refresh token is kept"; fi
fetch "$idp/-/life?IdToken=4" > /dev/null
pkce maya
expires
check "another one expires" eventually 20 expired
fetch "$idp/-/roll?alg=ES256" > /dev/null
fetch "$idp/-/life?IdToken=600" > /dev/null
check "keys and algorithm of the provider change" eventually 60 known
check_has "the token has the other algorithm" "$(claims 1)" '"ES256"'

# ---- tokens that are not for us ----
good=$(token_for osmo-device maya) foreign=$(token_for other maya)
bearer() { http_request GET /api/profile/settings "" "Authorization: Bearer $1" | http_status; }
check_eq "a token for us" "$(bearer "$good")" 200
check_eq "of another audience" "$(bearer "$foreign")" 401
check_eq "with another signature" "$(bearer "${good%??????}AAAAAA")" 401
# the same claims, signed by somebody else who calls himself the provider
forged=$(node -e 'const { generateKeyPairSync, sign } = require("node:crypto");
    const [head, claims] = process.argv[1].split("."), { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const signature = sign("sha256", `${head}.${claims}`, { key: privateKey, dsaEncoding: "ieee-p1363" });
    process.stdout.write(`${head}.${claims}.${signature.toString("base64url")}`);' "$good")
check_eq "signed by somebody else" "$(bearer "$forged")" 401

# ---- the device grant: the code is entered elsewhere ----
"$osmo" login "$url" --method code > "$work/login.log" 2>&1 &
pid=$!
check "a code is shown" eventually 30 grep -q 'enter the code' "$work/login.log"
code=$(sed -n 's/^Go to .* and enter the code //p' "$work/login.log")
address=$(sed -n 's/^Go to \(.*\) and enter the code .*/\1/p' "$work/login.log")
node "$here/browser.mjs" "$address" root "$code" > "$work/browser.log" 2>&1
check_has "the provider is content" "$(tail -n 1 "$work/browser.log")" "Sign-in Success"
wait "$pid"; check_eq "login by the device grant" "$?" 0
check_has "welcome again" "$(< "$work/login.log")" "Welcome root"
check "the service knows this one too" eventually 30 known

# ---- the password grant ----
echo 'secret of tests' > "$work/password"
"$osmo" login "$url" --method password --username maya --password-file "$work/password" > "$work/login.log" 2>&1; check_eq "login by password" "$?" 0
check "which works" eventually 30 known
# typed at a terminal, which does not show it
prompted() { grep -q 'Password: ' "$work/typed"; }
: > "$work/typed"
{ eventually 30 prompted && echo 'secret of tests'; eventually 30 grep -q Welcome "$work/typed"; } |
    timeout 60 script -qec "'$osmo' login '$url' --method password --username maya" /dev/null > "$work/typed" 2>&1
check_has "a password that is typed" "$(< "$work/typed")" "Welcome maya"
if grep -q 'secret of tests' "$work/typed"; then fail "is not shown"; else pass "is not shown"; fi
"$osmo" login "$url" --method password --username maya --password wrong > "$work/login.log" 2>&1; check_eq "a wrong one" "$?" 2
check_has "is said so" "$(< "$work/login.log")" "invalid_grant"

# ---- the end ----
out=$("$osmo" logout); check_eq "logout" "$?" 0
check_has "tells where the provider ends its session" "$out" "$idp/session/end"
check "the login is gone" test ! -e "$OSMO_CONFIG_FILE_DIR/login.yaml"
"$osmo" profile list > "$work/o" 2>&1; check_eq "nobody is logged in" "$?" 2
stop_provider; provider_pid=
OSMO_LOGIN_PASSWORD=x "$osmo" login "$url" --method password --username maya > "$work/login.log" 2>&1; check_eq "no provider, no login" "$?" 10
