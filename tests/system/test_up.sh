# osmo up: service and backend together, logged in, stopped by one signal.
. "$(dirname "$0")/lib.sh"
"$osmo" up --data-dir "$work/up" --listen 127.0.0.1:0 > "$work/up.log" 2>&1 &
up=$!
is_up() { grep -q 'OSMO is up' "$work/up.log"; }
check "it comes up" eventually 60 is_up
out=$("$osmo" workflow submit "$root/examples/hello_world.yaml" --follow 2>&1); check_eq "hello_world" "$?" 0
kill -TERM "$up"; wait "$up"; check_eq "SIGTERM ends it with 0" "$?" 0
((failures)) && cat "$work/up.log"
pgrep -f "$work/up" > /dev/null; check_eq "nothing is left running" "$?" 1
