#!/usr/bin/env bash
# Prints the manifests of backend/ with the values of one cluster, for kubectl apply -f - or a repository. Needs bash and coreutils only.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
help="Usage: packaging/kubernetes/render.sh --name NAME --service URL [OPTION]... | kubectl apply -f -
Manifests of osmo-backend for one cluster.

  --name NAME                name of the backend, as pools of the service name it
  --service URL              the service, as pods of this cluster reach it
  --image IMAGE              image of the operator (osmo/backend:0.1.0)
  --scheduler WHICH          kai, or osmo: the operator places pods itself (osmo)
  --with ADDON[,ADDON]       node-labels, node-tests, network-policy, pod-monitor
  --without PART[,PART]      leave out namespaces, priority-classes or usage: they are there already, or not wanted
  --operator-namespace NS    where the operator runs (osmo-operator)
  --workflow-namespace NS    where tasks run (osmo-workflows)
  --test-namespace NS        where nodes are tested (osmo-test)
  --replicas N               of the operator (2)
  --log-level LEVEL          DEBUG, INFO, WARNING or ERROR (INFO)
  --token-file FILE          access token of the backend: makes its Secret as well, so keep the output to yourself
  --ca-file FILE             PEM certificates of a private authority: for the operator, and a ConfigMap osmo-ca for tasks
  --help"
usage() { echo "render.sh: $*; see packaging/kubernetes/render.sh --help" >&2; exit 2; }

declare -A value=([name]='' [service]='' [image]=osmo/backend:0.1.0 [scheduler]=osmo [with]='' [without]='' [operator-namespace]=osmo-operator
    [workflow-namespace]=osmo-workflows [test-namespace]=osmo-test [replicas]=2 [log-level]=INFO [token-file]='' [ca-file]='')
while (($#)); do
    [[ $1 != --help && $1 != -h ]] || { echo "$help"; exit 0; }
    key=${1#--}
    [[ $1 == --* && -v value[$key] ]] || usage "unknown argument '$1'"
    (($# > 1)) || usage "$1 needs a value"
    value[$key]=$2
    shift 2
done

label='^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'
[[ ${value[name]} && ${value[service]} ]] || usage "--name and --service are needed"
for key in name operator-namespace workflow-namespace test-namespace; do
    [[ ${value[$key]} =~ $label && ${#value[$key]} -le 50 ]] ||
        usage "--$key is lower-case letters, digits and -, up to 50 of them, not '${value[$key]}'"
done
[[ ${value[service]} =~ ^https?://[^/[:space:]\"\']+$ ]] || usage "--service is http(s)://HOST[:PORT], not '${value[service]}'"
[[ ${value[image]} =~ ^[A-Za-z0-9][-A-Za-z0-9._/:@]*$ ]] || usage "--image is no name of an image: '${value[image]}'"
[[ ${value[replicas]} =~ ^[0-9]{1,2}$ ]] || usage "--replicas is a number, not '${value[replicas]}'"
[[ ${value[scheduler]} == kai || ${value[scheduler]} == osmo ]] || usage "--scheduler is kai or osmo, not '${value[scheduler]}'"
[[ ${value[log-level]} =~ ^(DEBUG|INFO|WARNING|ERROR)$ ]] || usage "--log-level is DEBUG, INFO, WARNING or ERROR, not '${value[log-level]}'"
for key in token-file ca-file; do
    [[ -z ${value[$key]} || -r ${value[$key]} ]] || usage "--$key: ${value[$key]} cannot be read"
done

files=()
for part in namespaces service-accounts rbac usage priority-classes settings deployment; do
    [[ ,${value[without]}, == *",$part,"* ]] || files+=("$here/backend/$part.yaml")
done
for part in ${value[without]//,/ }; do
    [[ $part =~ ^(namespaces|priority-classes|usage)$ ]] || usage "--without has namespaces, priority-classes and usage, not '$part'"
done
[[ ${value[scheduler]} == kai ]] && addons=(kai) || addons=(osmo-scheduler)
for part in ${value[with]//,/ }; do
    [[ $part =~ ^(node-labels|node-tests|network-policy|pod-monitor)$ ]] || usage "there is no addon '$part'"
    addons+=("$part")
done
for part in "${addons[@]}"; do
    for file in "$here/backend/addons/$part"/*.yaml; do [[ $file == */kustomization.yaml ]] || files+=("$file"); done
done

# All names at once, so that a value is never taken for another name.
old=(osmo-operator osmo-workflows osmo-test my-cluster https://osmo.example.com osmo/backend:0.1.0 "replicas: 2" "OSMO_SCHEDULER: auto" "OSMO_LOG_LEVEL: INFO")
new=("${value[operator-namespace]}" "${value[workflow-namespace]}" "${value[test-namespace]}" "${value[name]}" "${value[service]}"
    "${value[image]}" "replicas: ${value[replicas]}" "OSMO_SCHEDULER: ${value[scheduler]}" "OSMO_LOG_LEVEL: ${value[log-level]}")
if [[ ${value[ca-file]} ]]; then
    old+=("SSL_CERT_FILE: /etc/ssl/certs/ca-certificates.crt")
    new+=("SSL_CERT_FILE: /etc/osmo/ca/ca.crt")
fi
if [[ ,${value[without]}, == *,usage,* ]]; then
    old+=("OSMO_USAGE: cluster")
    new+=("OSMO_USAGE: namespace")
fi
if [[ " ${addons[*]} " == *" node-labels "* ]]; then
    old+=('ENABLE_NODE_LABEL_UPDATE: "false"')
    new+=('ENABLE_NODE_LABEL_UPDATE: "true"')
fi
text=
for file in "${files[@]}"; do text+="---"$'\n'"$(< "$file")"$'\n'; done
for i in "${!old[@]}"; do text=${text//"${old[i]}"/$'\x01'$i$'\x02'}; done
for i in "${!old[@]}"; do text=${text//$'\x01'$i$'\x02'/"${new[i]}"}; done
printf '%s' "$text"

if [[ ${value[token-file]} ]]; then
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: osmo-backend-token\n  namespace: %s\ndata:\n  token: %s\n' \
        "${value[operator-namespace]}" "$(tr -d '\r\n' < "${value[token-file]}" | base64 -w 0)"
fi
if [[ ${value[ca-file]} ]]; then
    for key in operator-namespace workflow-namespace; do
        printf -- '---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: osmo-ca\n  namespace: %s\ndata:\n  ca.crt: |\n' "${value[$key]}"
        while IFS= read -r line || [[ $line ]]; do printf '    %s\n' "$line"; done < "${value[ca-file]}"
    done
fi
