# Two services on one PostgreSQL: tokens that one made count at the other, and what is taken away at one counts no more at the other.
. "$(dirname "$0")/lib.sh"
database=$("$root/tests/pgsql-server" start "$work/pgsql") || { fail "a private PostgreSQL"; exit 1; }
mkdir -m 700 "$work/storage" "$work/one" "$work/two"
one_pid= two_pid=
trap 'stop_one "$one_pid"; stop_one "$two_pid"; "$root/tests/pgsql-server" stop "$work/pgsql"; finish; exit $?' EXIT
start() { # name
    "$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/$1" --storage "$work/storage" --database "$database" --port-file "$work/$1.port" \
        --master-key "$work/one/master-key.yaml" 2>> "$work/service.log" &
}
"$bin/osmo-service" --listen 127.0.0.1:0 --data-dir "$work/one" --storage "$work/storage" --database "$database" --port-file "$work/one.port" \
    2>> "$work/service.log" &
one_pid=$!
check "the first starts" eventually 60 test -s "$work/one.port"
start two
two_pid=$!
check "the second starts" eventually 60 test -s "$work/two.port"
declare -A ports=([one]=$(< "$work/one.port") [two]=$(< "$work/two.port"))
at() { port=${ports[$1]}; shift; "$@"; }
jwt_for() { http_request POST /api/auth/jwt/access_token "{\"token\":\"$1\"}" | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p'; }
ask() { http_request GET "$1" "" "Authorization: Bearer $2" | http_status; } # path token
is() { [[ $(ask "$2" "$3") == "$1" ]]; }
admin() { "$osmo" "$@" > /dev/null; }

url=http://127.0.0.1:${ports[one]}
cp "$work/one/admin-token" "$work/data/admin-token"
login || exit 1
admin user create maya -r osmo-user osmo-admin
make() { "$osmo" token set "$1" --user maya -r "$2" 2> /dev/null | sed -n 's/^Access token: //p'; }
laptop=$(make laptop osmo-user) desk=$(make desk osmo-admin) phone=$(make phone osmo-user)
for t in laptop desk phone; do declare "jwt_$t=$(at one jwt_for "${!t}")"; done
for n in one two; do
    check_eq "$n takes the JWT" "$(at $n ask /api/workflow "$jwt_laptop")" 200
    check_eq "$n takes the access token itself" "$(at $n ask /api/workflow "$laptop")" 200
    check_eq "$n takes the administrator's" "$(at $n ask /api/configs/role "$jwt_desk")" 200
    check_eq "$n takes the third" "$(at $n ask /api/workflow "$jwt_phone")" 200
done
admin token delete laptop --user maya
check_eq "a deleted token is refused where it was deleted" "$(at one ask /api/workflow "$jwt_laptop")" 401
check "and at the other" at two eventually 20 is 401 /api/workflow "$jwt_laptop"
check_eq "itself too" "$(at two ask /api/workflow "$laptop")" 401
admin user update maya --remove-roles osmo-admin
check_eq "a role that was taken away" "$(at one ask /api/configs/role "$jwt_desk")" 403
check "at the other" at two eventually 20 is 403 /api/configs/role "$jwt_desk"
check_eq "others go on" "$(at two ask /api/workflow "$jwt_phone")" 200
admin user delete maya --force
check_eq "a user who was deleted" "$(at one ask /api/workflow "$jwt_phone")" 401
check "at the other" at two eventually 20 is 401 /api/workflow "$jwt_phone"
