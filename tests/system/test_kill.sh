# kill -9 of the service, and of the backend, in the middle of a serial workflow: after a restart it ends COMPLETED with every task run exactly once.
. "$(dirname "$0")/lib.sh"
start_all || exit 1
marks=$work/marks
write_spec() {
    cat > "$work/serial.yaml" <<Y
workflow:
  name: $1
  tasks:
  - name: one
    image: debian
    command: [sh, -c, 'echo ran-one; sleep 2; echo one > {{output}}/f']
  - name: two
    image: debian
    command: [sh, -c, 'echo ran-two; cat {{input:0}}/f; sleep 2; echo two > {{output}}/f']
    inputs: [{task: one}]
  - name: three
    image: debian
    command: [sh, -c, 'echo ran-three; cat {{input:0}}/f {{input:1}}/f']
    inputs: [{task: one}, {task: two}]
Y
}
has_line() { "$osmo" workflow logs "$1" -n 100 2>/dev/null < /dev/null | timeout 2 grep -qm1 "$2"; }
is_running() { [[ $("$osmo" workflow query "$1" -t json 2>/dev/null) == *'"status": "RUNNING"'* ]]; }
task_running() { "$osmo" workflow query "$1" -t json 2>/dev/null | grep -A2 "\"name\": \"$2\"" | grep -q RUNNING; }

run_case() { # name, what to kill, task during which
    write_spec "$1"
    local id=$1-1 out code word n
    check_eq "$1 submitted" "$(submit "$work/serial.yaml")" "$id"
    "$osmo" workflow logs "$id" > "$work/$1.before" 2>&1 &
    local reader=$!
    check "$1: task $3 runs" eventually 60 task_running "$id" "$3"
    case $2 in
    service) stop_one "$service_pid" KILL; start_service || return ;;
    backend) stop_one "$backend_pid" KILL; start_backend ;;
    both) stop_one "$service_pid" KILL; stop_one "$backend_pid" KILL; start_service && start_backend || return ;;
    esac
    "$osmo" workflow wait "$id" --timeout 120 --quiet > "$work/wait.out"; code=$?
    check_eq "$1: wait exits 0" "$code" 0
    check_eq "$1: status" "$(tail -n 1 "$work/wait.out")" "Status: COMPLETED"
    kill "$reader" 2>/dev/null; wait "$reader" 2>/dev/null
    out=$("$osmo" workflow logs "$id")
    for word in ran-one ran-two ran-three; do
        n=$(grep -c "\] $word\$" <<< "$out")
        check_eq "$1: $word exactly once" "$n" 1
    done
    check_has "$1: data passed on" "$out" "[three] two"
}
run_case kill-service service one
run_case kill-service-late service two
run_case kill-backend backend one
run_case kill-backend-late backend two
run_case kill-both both two
