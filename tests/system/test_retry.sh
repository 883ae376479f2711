# Attempts: a task that fails twice and then succeeds, one whose retries are used up, and a group whose other task begins its command
# again in the pod it has when the lead is rescheduled. ATTEMPT comes from the pool's pod template: nothing else tells a task.
. "$(dirname "$0")/lib.sh"
cat > "$work/osmo.yaml" <<'Y'
workflow: {max_retry_per_task: 3}
pod_templates:
  ctrl: {spec: {containers: [{name: osmo-ctrl, resources: {requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 16Mi}}}]}}
  user: {spec: {containers: [{name: "{{USER_CONTAINER_NAME}}", env: [{name: ATTEMPT, value: "{{WF_RETRY_ID}}"}], resources: {requests: {cpu: 100m, memory: 16Mi, ephemeral-storage: 16Mi}}}]}}
pools:
  default:
    backend: default
    default_platform: cpu
    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 64Mi, USER_STORAGE: 64Mi}
    common_pod_template: [ctrl, user]
    platforms: {cpu: {description: plain}}
    default_exit_actions: {RESCHEDULE: '9'}
backends:
  default: {k8s_namespace: default}
Y
start_service --config "$work/osmo.yaml" && login && start_backend || exit 1

cat > "$work/again.yaml" <<'Y'
workflow:
  name: again
  tasks:
  - name: flaky
    image: debian
    command: [sh, -c, 'echo "attempt $ATTEMPT"; echo "$ATTEMPT" > {{output}}/attempt; [ "$ATTEMPT" -ge 2 ] || exit 3']
    exitActions: {RESCHEDULE: '3'}
  - name: after
    image: debian
    command: [sh, -c, 'echo "came from attempt $(cat {{input:0}}/attempt)"']
    inputs: [{task: flaky}]
Y
out=$("$osmo" workflow submit "$work/again.yaml" --follow 2>&1); code=$?
check_eq "the third attempt succeeds" "$code" 0
check_has "the workflow completes" "$(tail -n 1 <<< "$out")" "Status: COMPLETED"
for n in 0 1 2; do check_has "attempt $n is in the log" "$out" "attempt $n"; done
check_has "later attempts are marked in the log" "$out" "[flaky retry-2]"
check_has "what follows sees the output of the last one" "$out" "came from attempt 2"
json=$("$osmo" workflow query again-1 -t json)
check_has "the latest attempt is the one shown" "$json" '"retry_id": 2'
check_eq "earlier attempts are not" "$(grep -c RESCHEDULED <<< "$json")" 0
json=$("$osmo" workflow query again-1 --verbose -t json)
check_eq "all attempts on request" "$(grep -c '"status": "RESCHEDULED"' <<< "$json")" 2
check_has "they tell why" "$json" "retry 1 of at most 3"
log=$("$osmo" workflow logs again-1 -t flaky --retry-id 1 2>&1)
check_has "the log of one attempt" "$log" "attempt 1"
[[ $log != *"attempt 0"* && $log != *"attempt 2"* ]]; check_eq "and of no other" "$?" 0
check_has "error output of the first attempt" "$("$osmo" workflow logs again-1 --error -t flaky --retry-id 0 2>&1)" "attempt 0"

cat > "$work/never.yaml" <<'Y'
workflow:
  name: never
  tasks:
  - name: hopeless
    image: debian
    command: [sh, -c, 'echo "attempt $ATTEMPT"; exit 9']
Y
out=$("$osmo" workflow submit "$work/never.yaml" --follow 2>&1); code=$?
check_eq "used up retries fail the workflow" "$code" 20
check_has "the last attempt ran" "$out" "attempt 3"
check_has "the cause tells of the limit" "$(tail -n 1 <<< "$out")" "the retry limit max_retry_per_task of 3 is reached"
check_has "four attempts" "$("$osmo" workflow query never-1 -t json)" '"retry_id": 3'

# The lead fails once the other one runs, and ends well when it has seen the other one begin again.
# each attempt leaves its sibling the time to begin: nothing else tells one of the other
cat > "$work/group.yaml" <<'Y'
workflow:
  name: group
  groups:
  - name: g
    tasks:
    - name: boss
      lead: true
      image: debian
      command: [sh, -c, 'echo "boss $ATTEMPT"; sleep 3; [ "$ATTEMPT" -ge 1 ] || exit 9']
    - name: help
      image: debian
      command: [sh, -c, 'n=$(cat {{output}}/n 2>/dev/null || echo 0); n=$((n + 1)); echo $n > {{output}}/n; echo "help begins $n"; exec sleep 600']
Y
out=$("$osmo" workflow submit "$work/group.yaml" --follow 2>&1); code=$?
check_eq "the group completes" "$code" 0
check_has "the lead ran again" "$out" "[boss retry-1] boss 1"
check_has "the sibling began again" "$out" "[help] help begins 2"
json=$("$osmo" workflow query group-1 --verbose -t json)
check_eq "in the pod it had" "$(grep -c '"name": "help"' <<< "$json")" 1
