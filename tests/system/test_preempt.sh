# Preemption on the local cluster: LOW tasks fill the machine's declared CPUs, a HIGH one takes the place of the one that came last, which
# ends FAILED_PREEMPTED, or begins again when its exit actions say so; NORMAL and HIGH ones never leave. Nobody leaves a pool for another.
. "$(dirname "$0")/lib.sh"
cat > "$work/osmo.yaml" <<'Y'
workflow: {max_retry_per_task: 3}
pod_templates:
  all:
    spec:
      containers:
      - {name: osmo-ctrl, resources: {requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 16Mi}}}
      - {name: "{{USER_CONTAINER_NAME}}", env: [{name: ATTEMPT, value: "{{WF_RETRY_ID}}"}],
         resources: {requests: {cpu: "{{USER_CPU}}", memory: 16Mi, ephemeral-storage: 16Mi}}}
pools:
  default: &pool
    backend: default
    default_platform: cpu
    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 64Mi, USER_STORAGE: 64Mi}
    common_pod_template: [all]
    platforms: {cpu: {description: plain}}
  other: *pool
backends:
  default: {k8s_namespace: default}
Y
start_service --config "$work/osmo.yaml" && login && start_backend --cpu-overcommit 4 || exit 1
cpus=$(($(getconf _NPROCESSORS_ONLN) * 4))

task() { # name cpus command exit-actions
    cat > "$work/$1.yaml" <<Y
workflow:
  name: $1
  resources: {default: {cpu: $2}}
  tasks: [{name: t, image: debian, command: [sh, -c, '$3']${4:+, exitActions: $4}}]
Y
}
is() { [[ $(status_of "$1") == "$2" ]]; }
says() { [[ $("$osmo" workflow explain "$1" 2>&1) == *"$2"* ]]; }
task low $((cpus * 3 / 8)) "echo \"attempt \$ATTEMPT\"; exec sleep 600"
task again $((cpus * 3 / 8)) "echo \"attempt \$ATTEMPT\"; [ \"\$ATTEMPT\" -ge 1 ] || exec sleep 600" "{RESCHEDULE: '3006'}"
task high $((cpus / 2)) "echo placed; sleep 2"
task firm $((cpus * 3 / 8)) "exec sleep 600"
task elsewhere $((cpus / 2)) "echo placed"

first=$(submit "$work/low.yaml" --pool default --priority LOW)
check "the first LOW runs" eventually 60 is "$first" RUNNING
second=$(submit "$work/low.yaml" --pool default --priority LOW)
check "the second LOW runs" eventually 60 is "$second" RUNNING
foreign=$(submit "$work/elsewhere.yaml" --pool other --priority HIGH)
check "a HIGH of another pool waits" eventually 60 says "$foreign" "fit: the scheduler has not placed task t: "
check_has "it lacks CPUs" "$("$osmo" workflow explain "$foreign")" "cpu"
high=$(submit "$work/high.yaml" --pool default --priority HIGH)
check "the HIGH one completes" eventually 60 is "$high" COMPLETED
check "who came last has left" eventually 60 is "$second" FAILED_PREEMPTED
check_eq "who came first has not" "$(status_of "$first")" RUNNING
check_has "and tells why" "$("$osmo" workflow explain "$second")" "PREEMPTED"
check_has "with the exit code for it" "$("$osmo" workflow query "$second" -t json)" '"exit_code": 3006'
check "the other pool has its turn" eventually 60 is "$foreign" COMPLETED

again=$(submit "$work/again.yaml" --pool default --priority LOW)
check "a LOW that would begin again runs" eventually 60 is "$again" RUNNING
high=$(submit "$work/high.yaml" --pool default --priority HIGH)
check "the next HIGH completes" eventually 60 is "$high" COMPLETED
check "the LOW has begun again and completes" eventually 60 is "$again" COMPLETED
check_has "in its second attempt" "$("$osmo" workflow logs "$again" 2>&1)" "attempt 1"
check_has "the first is on record" "$("$osmo" workflow query "$again" --verbose -t json)" '"status": "RESCHEDULED"'

"$osmo" workflow cancel "$first" > /dev/null
check "the first LOW is cancelled" eventually 60 is "$first" FAILED_CANCELED
one=$(submit "$work/firm.yaml" --pool default)
two=$(submit "$work/firm.yaml" --pool default --priority HIGH)
check "a NORMAL runs" eventually 60 is "$one" RUNNING
check "a HIGH runs" eventually 60 is "$two" RUNNING
high=$(submit "$work/high.yaml" --pool default --priority HIGH)
check "for a third there is no room" eventually 60 says "$high" "fit: the scheduler has not placed task t: "
check_eq "the NORMAL stays" "$(status_of "$one")" RUNNING
"$osmo" workflow cancel "$one" "$two" > /dev/null
check "and runs when there is" eventually 60 is "$high" COMPLETED
