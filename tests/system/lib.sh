# Helpers of the system tests: start and stop a real service and a real local backend in a private directory, run the client, check.
# shellcheck shell=bash
set -u
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${OSMO_BUILD:-$root/build}
work=$(mktemp -d "${TMPDIR:-/tmp}/osmo-test.XXXXXX")
chmod 711 "$work"
export OSMO_CONFIG_FILE_DIR=$work/config OSMO_LOG_FILE_DIR=$work/state TZ=UTC
mkdir -m 700 "$OSMO_CONFIG_FILE_DIR" "$OSMO_LOG_FILE_DIR" "$work/data" "$work/backend"
service_pid= backend_pid= url= port= database= failures=0
osmo=$bin/osmo

pass() { echo "ok: $1"; }
fail() { echo "FAILED: $1"; failures=$((failures + 1)); }
check() { local what=$1; shift; if "$@"; then pass "$what"; else fail "$what"; fi; }
check_eq() { if [[ $2 == "$3" ]]; then pass "$1"; else fail "$1: got '$2', expected '$3'"; fi; }
check_has() { if [[ $2 == *"$3"* ]]; then pass "$1"; else fail "$1: '$3' is not in: ${2:0:2000}"; fi; }

# Wait up to $1 seconds for a command to succeed. Only for things that have no event to wait for.
eventually() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < until)) || return 1
        read -rt 0.05 <> <(:) || true
    done
}

start_service() { # extra flags
    rm -f "$work/port"
    "$bin/osmo-service" --listen "127.0.0.1:${port:-0}" --data-dir "$work/data" --port-file "$work/port" ${database:+--database "$database"} "$@" \
        2>> "$work/service.log" &
    service_pid=$!
    local until=$((SECONDS + 60))
    while [[ ! -s $work/port ]]; do
        kill -0 "$service_pid" 2>/dev/null && ((SECONDS < until)) || { echo "osmo-service did not start"; tail -n 20 "$work/service.log"; return 1; }
        read -rt 0.02 <> <(:) || true
    done
    port=$(< "$work/port")
    url=http://127.0.0.1:$port
}
login() { "$osmo" login "$url" --method token --token-file "$work/data/admin-token" > "$work/login.log" 2>&1 || { cat "$work/login.log"; return 1; }; }
start_backend() { # extra flags
    "$bin/osmo-backend" --service "$url" --name default --cluster local --token-file "$work/data/admin-token" --state-dir "$work/backend" \
        --hide "$work/data" --hide "$OSMO_CONFIG_FILE_DIR" "$@" 2>> "$work/backend.log" &
    backend_pid=$!
}
start_all() { start_service && login && start_backend "$@"; }
stop_one() { # pid, signal
    [[ -n $1 ]] || return 0
    kill "-${2:-TERM}" "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}
stop_all() {
    stop_one "$backend_pid"; backend_pid=
    stop_one "$service_pid"; local code=$?
    service_pid=
    return "$code"
}
# Supervisors that outlive a killed backend belong to this test: end them by the pids they left.
stop_pods() {
    local f pid
    for f in "$work"/backend/pods/*/lock; do
        [[ -s $f ]] && pid=$(< "$f") && [[ $(tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null) == *"$work"* ]] && kill -KILL "$pid" 2>/dev/null
    done
}
finish() {
    stop_all
    stop_pods
    if ((failures)); then
        echo "--- service.log"; tail -n 40 "$work/service.log" 2>/dev/null
        echo "--- backend.log"; tail -n 40 "$work/backend.log" 2>/dev/null
    fi
    if grep -aE 'AddressSanitizer|LeakSanitizer|runtime error:|ThreadSanitizer' "$work"/*.log 2>/dev/null | head -n 20 | grep .; then
        echo "FAILED: a sanitizer complained"; failures=$((failures + 1))
    fi
    [[ ${OSMO_KEEP-} ]] && echo "kept: $work" || rm -rf "$work"
    echo "$failures failures"
    ((failures == 0))
}
trap 'finish; exit $?' EXIT
trap 'exit 130' INT TERM

submit() { "$osmo" workflow submit "$@" -t json | sed -n 's/^ *"name": "\(.*\)",*$/\1/p' | head -n 1; }
status_of() { "$osmo" workflow query "$1" -t json | sed -n 's/^  "status": "\(.*\)",*$/\1/p' | head -n 1; }
api() { # method path [body]: status code on the last line
    local token
    token=$(sed -n 's/^ *id_token: *//p' "$OSMO_CONFIG_FILE_DIR/login.yaml")
    http_request "$1" "$2" "${3-}" "Authorization: Bearer $token"
}
# A request over bash's own sockets, so that the tests need no HTTP client beside ours.
http_request() { # method path body header...
    local method=$1 path=$2 body=$3 h
    shift 3
    exec 9<> "/dev/tcp/127.0.0.1/$port" || return 1
    {
        printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n' "$method" "$path" "$port"
        for h in "$@"; do printf '%s\r\n' "$h"; done
        [[ $method == GET ]] || printf 'Content-Type: application/json\r\nContent-Length: %d\r\n' "$(printf %s "$body" | wc -c)"
        printf '\r\n%s' "$body"
    } >&9
    cat <&9
    exec 9>&-
}
http_status() { sed -n '1s/^HTTP\/1.1 \([0-9]*\).*/\1/p'; }
tutorial_specs=${OSMO_TUTORIAL_SPECS-} # a directory with the tutorial specs of OSMO, where there is one
