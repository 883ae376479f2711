"""What each program of a test cluster is started with. Versions and flags are those of the Debian packages (Kubernetes 1.20)."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NODE, BRIDGE, ADDRESS, PODS = "node-1", "cni0", "10.203.0.1", "10.203.0.0/16"
SERVICES, SERVICE = "10.96.0.0/16", "10.96.0.1"
PORT = 6443
SERVER = f"https://{ADDRESS}:{PORT}"
SERVER_NAMES = ("IP:127.0.0.1", f"IP:{ADDRESS}", f"IP:{SERVICE}", "DNS:localhost", "DNS:kubernetes.default.svc", "DNS:kubernetes")
REGISTRY_PORT = 5000
REGISTRY = f"{ADDRESS}:{REGISTRY_PORT}"  # any other registry name is served by it too


class Paths:
    """Where a cluster keeps what: `state` is in memory and only its own processes see it, the rest is everybody's."""

    def __init__(self, directory, programs):
        self.directory, self.programs = directory, programs
        self.state = os.path.join(directory, "state")
        self.certificates = os.path.join(directory, "certificates")
        self.logs = os.path.join(directory, "logs")
        self.registry = os.path.join(directory, "registry")
        self.control = os.path.join(directory, "control")
        self.containerd = os.path.join(self.state, "containerd.sock")

    def certificate(self, name):
        return os.path.join(self.certificates, name)

    def program(self, name):
        return os.path.join(self.programs, name)

    def config(self, name):
        return os.path.join(self.directory, name + ".kubeconfig")


def etcd(p):
    return [p.program("etcd"), "--name=test", f"--data-dir={p.state}/etcd", "--listen-client-urls=http://127.0.0.1:2379",
            "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380",
            "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=test=http://127.0.0.1:2380",
            "--quota-backend-bytes=4294967296", "--logger=zap", "--log-level=warn"]


def apiserver(p):
    return [p.program("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379", f"--secure-port={PORT}", "--bind-address=0.0.0.0",
            f"--advertise-address={ADDRESS}", "--insecure-port=0", f"--tls-cert-file={p.certificate('apiserver.crt')}",
            f"--tls-private-key-file={p.certificate('apiserver.key')}", f"--client-ca-file={p.certificate('ca.crt')}",
            f"--token-auth-file={p.certificate('tokens.csv')}", "--authorization-mode=Node,RBAC",
            f"--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={p.certificate('accounts.pub')}",
            f"--service-account-signing-key-file={p.certificate('accounts.key')}", f"--service-cluster-ip-range={SERVICES}",
            f"--kubelet-client-certificate={p.certificate('kubelet-client.crt')}",
            f"--kubelet-client-key={p.certificate('kubelet-client.key')}", "--kubelet-preferred-address-types=InternalIP",
            "--allow-privileged=true", "--profiling=false", "--v=1"]


def scheduler(p):
    return [p.program("kube-scheduler"), f"--kubeconfig={p.config('scheduler')}", "--leader-elect=false", "--port=0",
            "--bind-address=127.0.0.1", f"--cert-dir={p.state}/scheduler", "--v=1"]


def controllers(p, node):
    # the nodes of a cluster without a kubelet never report: nobody shall find them dead
    return [p.program("kube-controller-manager"), f"--kubeconfig={p.config('controllers')}", "--leader-elect=false", "--port=0",
            "--bind-address=127.0.0.1", f"--cert-dir={p.state}/controllers", f"--root-ca-file={p.certificate('ca.crt')}",
            f"--service-account-private-key-file={p.certificate('accounts.key')}", "--use-service-account-credentials=true",
            "--controllers=*" + ("" if node else ",-nodelifecycle"), "--concurrent-gc-syncs=10",
            "--node-monitor-period=2s", "--node-monitor-grace-period=20s", "--v=1"]


def containerd(p):
    config = os.path.join(p.state, "containerd.toml")
    text = f'''version = 2
root = "{p.state}/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "{p.containerd}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{REGISTRY}/pause:1"
  restrict_oom_score_adj = true
  max_container_log_line_size = 262144
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{p.state}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."*"]
    endpoint = ["http://{REGISTRY}"]
'''
    os.makedirs(os.path.join(p.state, "cni"), exist_ok=True)
    with open(config, "w", encoding="ascii") as f:
        f.write(text)
    network = {"cniVersion": "0.4.0", "name": "pods", "plugins": [
        {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True,
         "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
    with open(os.path.join(p.state, "cni", "10-pods.conflist"), "w", encoding="ascii") as f:
        json.dump(network, f)
    return [p.program("containerd"), "--config", config]


def kubelet(p, groups):
    config = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cgroupDriver": "cgroupfs",
              "cgroupRoot": "/" + groups, "oomScoreAdj": 0, "failSwapOn": False, "enforceNodeAllocatable": [],
              "makeIPTablesUtilChains": False, "resolvConf": "", "clusterDNS": [ADDRESS], "clusterDomain": "cluster.local",
              "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True},
                                 "x509": {"clientCAFile": p.certificate("ca.crt")}},
              "authorization": {"mode": "Webhook"}, "evictionHard": {"memory.available": "50Mi"}, "imageGCHighThresholdPercent": 100,
              "maxPods": 500, "registryPullQPS": 0, "eventRecordQPS": 0, "kubeAPIQPS": 200, "kubeAPIBurst": 400,
              "serializeImagePulls": False, "nodeStatusUpdateFrequency": "4s", "volumePluginDir": f"{p.state}/volume-plugins",
              "staticPodPath": ""}
    path = os.path.join(p.state, "kubelet.json")
    with open(path, "w", encoding="ascii") as f:
        json.dump(config, f)
    return [p.program("kubelet"), f"--config={path}", f"--kubeconfig={p.config('kubelet')}", f"--root-dir={p.state}/kubelet",
            f"--cert-dir={p.state}/kubelet-pki", "--container-runtime=remote",
            f"--container-runtime-endpoint=unix://{p.containerd}", f"--node-ip={ADDRESS}", f"--hostname-override={NODE}", "--v=1"]


def names(p):
    return [sys.executable, os.path.join(HERE, "names.py"), SERVER, p.certificates, ADDRESS]


def registry(p):
    return [sys.executable, os.path.join(HERE, "registry.py"), p.registry, ADDRESS, str(REGISTRY_PORT)]


# The address of the API server inside the cluster, without a proxy on the node.
SERVICE_RULES = f'''table ip cluster {{
  chain prerouting {{ type nat hook prerouting priority dstnat; ip daddr {SERVICE} tcp dport 443 dnat to {ADDRESS}:{PORT}; }}
  chain output {{ type nat hook output priority -100; ip daddr {SERVICE} tcp dport 443 dnat to {ADDRESS}:{PORT}; }}
}}
'''
