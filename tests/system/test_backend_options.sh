# Options and variables of osmo-backend and osmo-node-test: the names that OSMO's programs have are understood, mistakes are told in one line
# with the remedy; and the probes of an operator at work.
. "$(dirname "$0")/lib.sh"
unset KUBERNETES_SERVICE_HOST KUBECONFIG
export HOME=$work
refuse() { # what, expected exit code, text expected, command...
    local what=$1 want=$2 text=$3 out code
    shift 3
    out=$("$@" 2>&1 < /dev/null); code=$?
    check_eq "$what: exit code" "$code" "$want"
    check_has "$what: text" "$out" "$text"
    check_eq "$what: lines" "$(grep -c . <<< "$out")" 1
}
backend() { "$bin/osmo-backend" --service http://127.0.0.1:9 "$@"; }
tests() { OSMO_NODE_NAME=n OSMO_NODE_CONDITION_PREFIX=osmo.nvidia.com/ "$bin/osmo-node-test" "$@"; }
cluster=(--cluster kubernetes --kubeconfig "$work/none")

refuse "no way to a cluster" 1 "cannot read $work/.kube/config" backend --cluster kubernetes
refuse "no kubeconfig" 1 "cannot read $work/none" backend "${cluster[@]}"
refuse "a lease without a cluster" 2 "--lease is for --cluster kubernetes" backend --lease x
refuse "no such driver" 1 "there is no cluster driver \"mesos\"" backend --cluster mesos
refuse "login by password" 2 "no login by \"password\"" backend --login_method password
refuse "neither true nor false" 2 "true or false, not maybe" backend --enable_node_label_update=maybe
refuse "nowhere to listen" 1 "write ADDRESS:PORT" backend --cluster scripted --state-dir "$work/s" --health-listen 9464
refuse "no template" 1 "--test-cronjob-template" backend "${cluster[@]}" --test_runner_cronjob_spec_file "$work/none"
refuse "a bad variable" 2 "ENABLE_NODE_LABEL_UPDATE is true or false, not perhaps" env ENABLE_NODE_LABEL_UPDATE=perhaps "$bin/osmo-backend" --host http://x
refuse "no service" 2 "--service URL is needed" "$bin/osmo-backend"

refuse "no mode" 2 "the mode must be runner, resource, connection or lfs" tests
refuse "no such option" 2 "there is no option --bogus" tests resource --bogus 1
refuse "not a number" 2 "--max_retries needs a number" tests resource --max_retries many
refuse "no node" 2 "--node_name (or OSMO_NODE_NAME) is needed" env -u OSMO_NODE_NAME "$bin/osmo-node-test" resource
refuse "no prefix" 2 "must end in osmo.nvidia.com/" tests resource --node_condition_prefix mine/
refuse "no cluster" 2 "there is no way to the cluster" tests resource
refuse "no test" 2 "--backend_test_name (BACKEND_TEST_NAME) and --namespace" tests runner
refuse "no file" 1 "$work/none" tests runner --backend_test_name t --namespace n --read_from_osmo false --read_from_file "$work/none"
echo '{"node_conditions": ["A"], "parsed_pod_template": {"spec": {}}, "test_timeout": "soon"}' > "$work/test.json"
refuse "no time" 2 'the time "soon" is none' tests runner --backend_test_name t --namespace n --read_from_file "$work/test.json"
real=$bin/.libs/osmo-node-test # what libtool's script would start, under a name of its own
[[ -x $real ]] || real=$bin/osmo-node-test
as() { LD_LIBRARY_PATH=$bin/.libs bash -c 'exec -a "$0" "$@"' "/usr/bin/$1" "$real"; }
refuse "by another name" 2 "--node_name" as connection_validator
refuse "by the runner's" 2 "--backend_test_name" as backend_test_runner

# An operator under the names of OSMO's, with probes.
start_service && login || exit 1
health=$((20000 + $$ % 20000))
BACKEND=default METRICS_PROMETHEUS_PORT=$health "$bin/osmo-backend" --host "$url" --cluster scripted --namespace ns --token_file "$work/data/admin-token" \
    --login_method token --log_level ERROR --metrics_otel_enable true --state-dir "$work/backend" --script /dev/null 2>> "$work/backend.log" &
backend_pid=$!
ask() { exec 7<> "/dev/tcp/127.0.0.1/$health" && printf 'GET %s HTTP/1.1\r\n\r\n' "$1" >&7 && cat <&7; exec 7>&-; } 2> /dev/null
is_ready() { [[ $(ask /readyz) == "HTTP/1.1 200 "* ]]; }
check "the operator becomes ready" eventually 60 is_ready
check_has "healthz" "$(ask /healthz)" "HTTP/1.1 200 OK"
check_has "metrics" "$(ask /metrics)" 'backend_message_transmission_count{event_type="heartbeat",namespace="ns"}'
check_has "the service knows it" "$("$osmo" backend list)" default
stop_one "$service_pid"; service_pid=
is_not_ready() { [[ $(ask /readyz) == "HTTP/1.1 503 "*"not connected to $url"* ]]; }
check "without the service it is not ready" eventually 60 is_not_ready
check_has "but alive" "$(ask /healthz)" "HTTP/1.1 200 OK"
kill "$backend_pid"; wait "$backend_pid"; check_eq "it ends well" $? 0
backend_pid=
