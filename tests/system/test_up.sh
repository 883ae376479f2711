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
echo 'pools: [1' > "$work/broken.yaml"
timeout -k 5 60 "$osmo" up --data-dir "$work/up2" --listen 127.0.0.1:0 --config "$work/broken.yaml" > "$work/up2.log" 2>&1
check_eq "a service that cannot start ends it" "$?" 10
check_has "and is told" "$(< "$work/up2.log")" "osmo-service ended at once"
