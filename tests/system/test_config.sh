# Configuration: pools from a file, reload on change and on SIGHUP, an invalid file keeps the old one and says why.
. "$(dirname "$0")/lib.sh"
config=$work/osmo.yaml
good() { cat > "$config.new" <<Y
pod_templates:
  ctrl: {spec: {containers: [{name: osmo-ctrl, resources: {requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 16Mi}}}]}}
  user: {spec: {containers: [{name: "{{USER_CONTAINER_NAME}}", resources: {requests: {cpu: "{{USER_CPU}}", memory: "{{USER_MEMORY}}", ephemeral-storage: "{{USER_STORAGE}}"}}}]}}
pools:
  $1:
    description: $2
    backend: default
    default_platform: cpu
    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 64Mi, USER_STORAGE: 64Mi}
    common_pod_template: [ctrl, user]
    platforms: {cpu: {description: plain}}
backends:
  default: {k8s_namespace: default}
Y
mv "$config.new" "$config"; }
good robotics first
start_service --config "$config" && login && start_backend || exit 1
check_has "the pool of the file" "$("$osmo" pool list)" robotics
out=$("$osmo" workflow submit "$root/examples/hello_world.yaml" --follow 2>&1); check_eq "runs in the only pool" "$?" 0
[[ $out == *"Status: COMPLETED"* ]] || echo "$out"
good robotics second
described() { [[ $("$osmo" pool list) == *"$1"* ]]; }
check "a changed file is taken" eventually 20 described second
echo 'pools: {robotics: {backend: default, bogus_key: [' > "$config"
kill -HUP "$service_pid"
complained() { grep -q "osmo.yaml" "$work/service.log"; }
check "a broken one is complained about" eventually 20 complained
check "and the old one stays" described second
good robotics third
kill -HUP "$service_pid"
check "SIGHUP takes the next good one" eventually 20 described third
