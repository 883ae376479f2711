# A cluster that is wiped, one that ends what nobody saw, and a backend that does not return for longer than its policy waits: what is
# stored and what is in the cluster converge.
. "$(dirname "$0")/lib.sh"
config=$work/config.yaml
printf 'service:\n  backend_offline: {after: 30s, action: fail}\n' > "$config"
start_service --config "$config" && login && start_backend || exit 1
explain() { "$osmo" workflow explain "$@" 2>&1; }
sleeping() { pgrep -fx "sleep $1" > /dev/null; }
awake() { ! sleeping "$1"; }
has_status() { [[ $(status_of "$1") == "$2" ]]; }
is_over() { [[ $(status_of "$1") == FAILED* ]]; }
no_pods() { ! compgen -G "$work/backend/pods/*/lock" > /dev/null; }
write_spec() { # name, seconds
    cat > "$work/$1.yaml" <<Y
workflow:
  name: $1
  tasks:
  - {name: first, image: debian, command: [sh, -c, 'echo started; exec sleep $2']}
  - {name: second, image: debian, command: [sh, -c, 'echo never'], inputs: [{task: first}]}
Y
}

# The pods and their state are gone while nobody looks.
write_spec wiped 987661
id=$(submit "$work/wiped.yaml")
check "it runs" eventually 60 sleeping 987661
stop_one "$backend_pid" KILL
stop_pods
check "its processes are gone" eventually 30 awake 987661
rm -rf "$work"/backend/pods/*
start_backend
check "a wiped cluster ends its workflows" eventually 30 is_over "$id"
check_has "and says so" "$(explain "$id")" "is gone from cluster default: it was deleted outside of OSMO, or the cluster was reset"
check_has "its log ends" "$(timeout 20 "$osmo" workflow logs "$id")" "started"
check_has "what depends on it" "$("$osmo" workflow query "$id" -t json)" FAILED_UPSTREAM

# The end that nobody saw.
cat > "$work/unseen.yaml" <<'Y'
workflow: {name: unseen, tasks: [{name: t, image: debian, command: [sh, -c, 'echo started; sleep 3.0987; exit 7']}]}
Y
id=$(submit "$work/unseen.yaml")
check "it runs unseen" eventually 60 has_status "$id" RUNNING
stop_one "$backend_pid" KILL
check "it ends unseen" eventually 30 bash -c "! pgrep -fx 'sleep 3.0987' > /dev/null"
start_backend
check "its end is brought" eventually 30 is_over "$id"
check_has "with its exit code" "$(explain "$id")" "exit code 7"

# The backend does not return: what was handed to it fails, what was not waits.
write_spec lost 987662
id=$(submit "$work/lost.yaml")
check "it runs before the loss" eventually 60 sleeping 987662
"$osmo" workflow logs "$id" > "$work/followed" 2>&1 &
follower=$!
stop_one "$backend_pid" KILL
backend_pid=
cat > "$work/waiting.yaml" <<'Y'
workflow: {name: waiting, tasks: [{name: t, image: debian, command: ["true"]}]}
Y
waiting=$(submit "$work/waiting.yaml")
check "explain says what will be" eventually 20 bash -c "'$osmo' workflow explain '$id' 2>&1 | grep -q 'offline policy: fail after 30s'"
check "it is given up" eventually 90 is_over "$id"
check_has "and says why" "$(explain "$id")" "backend default has not been heard of since "
check "followers end" eventually 60 bash -c "! kill -0 $follower 2>/dev/null"
wait "$follower" 2>/dev/null
check_has "with what there was" "$(< "$work/followed")" started
check_has "the cleanup is a dead letter" "$("$osmo" work list)" "backend default has not been heard of since "
check_eq "what was not handed out waits" "$(status_of "$waiting")" PENDING
check "the pod goes on meanwhile" sleeping 987662
start_backend
check "its leftovers are removed" eventually 60 awake 987662
check "what waited is done" eventually 60 has_status "$waiting" COMPLETED
check "no dead letters are left" eventually 30 bash -c "'$osmo' work list | grep -q 'No work item ran out of attempts.'"
check "no pods are left" eventually 60 no_pods
check "what was given up stays so" is_over "$id"

# The scripted cluster forgets its pods when it ends: to the service that is a reset.
stop_all
rm -rf "$work/data" "$work/backend"
mkdir -m 700 "$work/data" "$work/backend"
printf 'tasks:\n  t: {duration_ms: 3600000}\n' > "$work/script.yaml"
start_service --config "$config" && login && start_backend --cluster scripted --script "$work/script.yaml" || exit 1
id=$(submit "$work/waiting.yaml")
check "it runs in the script" eventually 60 has_status "$id" RUNNING
stop_one "$service_pid" KILL
start_service --config "$config" || exit 1
check "the service comes back to it" eventually 30 grep -q "backend default has 1 pods: .* 0 are missing" "$work/service.log"
check "and it goes on" has_status "$id" RUNNING
stop_one "$backend_pid" KILL
start_backend --cluster scripted --script "$work/script.yaml"
check "the script begins anew" eventually 30 is_over "$id"
check_has "and nothing is left of it" "$(explain "$id")" "or the cluster was reset"
