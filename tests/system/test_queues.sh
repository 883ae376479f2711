# What a pool may use at most reaches the local cluster: when the backend connects, when the configuration changes, and it is kept over
# restarts of both. GPUs are counted although this machine has none: the maximum is what a group is told of first.
. "$(dirname "$0")/lib.sh"
configure() { # maximum of the pool
    cat > "$work/new.yaml" <<Y
pod_templates:
  all:
    spec:
      containers:
      - {name: osmo-ctrl, resources: {requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 16Mi}}}
      - {name: "{{USER_CONTAINER_NAME}}", resources: {requests: {cpu: "{{USER_CPU}}", memory: 16Mi, ephemeral-storage: 16Mi}, limits: {nvidia.com/gpu: "{{USER_GPU}}"}}}
pools:
  default: &pool
    backend: default
    default_platform: cpu
    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 64Mi, USER_STORAGE: 64Mi}
    common_pod_template: [all]
    platforms: {cpu: {description: plain}}
  small:
    <<: *pool
    resources: {gpu: {guarantee: 0, maximum: $1}}
backends:
  default: {k8s_namespace: default}
Y
    mv "$work/new.yaml" "$work/osmo.yaml"
}
task() { # name gpus
    cat > "$work/$1.yaml" <<Y
workflow:
  name: $1
  resources: {default: {cpu: 1, gpu: $2}}
  tasks: [{name: t, image: debian, command: [sh, -c, 'echo ran']}]
Y
}
is() { [[ $(status_of "$1") == "$2" ]]; }
says() { [[ $("$osmo" workflow explain "$1" 2>&1) == *"$2"* ]]; }
has_queue() { grep -qs "\"limit\":$2" "$work/backend/objects/Queue/osmo-pool-default-$1.json"; }
told() { grep -c "knows its pools" "$work/service.log"; }

configure 2
start_service --config "$work/osmo.yaml" && login && start_backend || exit 1
check "the cluster has the pool's queue" eventually 60 has_queue small 2
check "and its parent" test -s "$work/backend/objects/Queue/osmo-default-default.json"
task plain 0
task large 3
plain=$(submit "$work/plain.yaml" --pool small)
check "who asks for no GPU runs" eventually 60 is "$plain" COMPLETED
large=$(submit "$work/large.yaml" --pool small --priority LOW)
check "a group over the maximum waits for it" eventually 60 says "$large" \
    "quota: the scheduler has not placed task t: queue osmo-pool-default-small has a maximum of 2 gpu, of which 0 are used and 3 asked"

configure 4
check "a new maximum reaches the cluster" eventually 60 has_queue small 4
check "the group lacks something else now" eventually 60 says "$large" "needs 3 gpu in all, the cluster has 0"
before=$(told)
stop_one "$backend_pid"
start_backend
plain=$(submit "$work/plain.yaml" --pool small)
check "a backend that connects again goes on" eventually 60 is "$plain" COMPLETED
check_eq "and is told nothing that it knows" "$(told)" "$before"

stop_one "$service_pid"
sed -i '/^  small:/,/resources: {gpu/d' "$work/osmo.yaml"
start_service --config "$work/osmo.yaml" || exit 1
gone() { [[ ! -e $work/backend/objects/Queue/osmo-pool-default-small.json ]]; }
check "the queue of a pool that is gone is removed" eventually 60 gone
