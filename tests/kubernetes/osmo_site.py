"""An OSMO around a test cluster: a service in a network of its own, behind whose firewall it sees nothing of the cluster, operators in the
cluster's network and local backends beside the service, and the client that a user has.

    outside (service, client, local backend)   10.204.0.1 --- 10.204.0.2   the cluster's network (operator, pods)
                                                  <- connections only go this way <-"""
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import certificates
import client
import images

SERVICE, GATEWAY, LINK = "10.204.0.1", "10.204.0.2", "up0"
PORT = 8000
SOURCE = os.environ.get("OSMO_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("OSMO_BUILD") or os.path.join(SOURCE, "build")
MANIFESTS = os.path.join(SOURCE, "packaging/kubernetes/backend")
OPERATOR_NAMESPACE, WORKFLOWS, NODE_TESTS = "osmo-operator", "osmo-workflows", "osmo-test"
_libc = ctypes.CDLL(None, use_errno=True)

# Nothing comes in that nobody inside has asked for; what leaves has the gateway's address.
FIREWALL = f"""table inet site {{
  chain input {{ type filter hook input priority 0; iifname "{LINK}" ct state established,related accept; iifname "{LINK}" drop; }}
  chain forward {{ type filter hook forward priority 0; iifname "{LINK}" ct state established,related accept; iifname "{LINK}" drop; }}
}}
table ip site_addresses {{ chain leaving {{ type nat hook postrouting priority 100; oifname "{LINK}" masquerade; }}
}}
"""

# Requests are small, so that the two processors of a build machine are enough for several pods; limits are what the spec says.
# ATTEMPT: nothing else tells a task how often it was tried.
CONFIG = """workflow:
  max_retry_per_task: 3
  credential_config: {{disable_registry_validation: ['{registry}']}}
  backend_images: {{init: '{registry}/osmo/runtime:test', client: '{registry}/osmo/runtime:test'}}
backends:
  my-cluster: {{description: the cluster, k8s_namespace: {workflows}}}
  default: {{description: the machine of the service}}
pools:
  kube: &pool
    backend: my-cluster
    default_platform: cpu
    common_default_variables: {{USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 64Mi, USER_STORAGE: 64Mi}}
    common_resource_validations: [default_cpu, default_memory, default_storage]
    common_pod_template: [default_ctrl, default_user, small]
    platforms: {{cpu: {{description: any node}}}}
  default: {{<<: *pool, backend: default}}
pod_templates:
  small:
    spec:
      containers:
      - name: '{{{{USER_CONTAINER_NAME}}}}'
        env: [{{name: ATTEMPT, value: '{{{{WF_RETRY_ID}}}}'}}]
        resources: {{requests: {{cpu: 20m, memory: 16Mi, ephemeral-storage: 1Mi}}}}
      - {{name: osmo-ctrl, resources: {{requests: {{cpu: 20m, memory: 16Mi, ephemeral-storage: 1Mi}}}}}}
"""


POOL = {"backend": "my-cluster", "default_platform": "cpu", "common_pod_template": ["default_ctrl", "default_user"],
        "common_default_variables": {"USER_CPU": 0, "USER_GPU": 0, "USER_MEMORY": "64Mi", "USER_STORAGE": "64Mi"},
        "platforms": {"cpu": {"description": "any node"}}}


def _die_with_parent():
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, **more)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-800:]} {done.stdout.strip()[-400:]}")
    return done.stdout


class Program:
    """One of ours, with its log in the work directory."""

    def __init__(self, site, name, words, outside, environment=None):
        self.name, self.log = name, os.path.join(site.work, name + ".log")
        self.words = [*(site.outside if outside else []), *words]
        self.environment = {**site.environment, **(environment or {})}
        self.child = None

    def start(self):
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                                          preexec_fn=_die_with_parent)
        return self

    def send(self, number):
        self.child.send_signal(number)

    def stop(self, number=signal.SIGTERM):
        if self.child is None:
            return None
        self.child.send_signal(number)
        self.child.send_signal(signal.SIGCONT)
        try:
            code = self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            code = self.child.wait()
        self.child = None
        return code

    def tail(self, lines=40):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-lines:])


def version():
    """Of this tree; images have it by default."""
    with open(os.path.join(SOURCE, "configure.ac"), encoding="utf-8") as f:
        return re.search(r"^AC_INIT\(\[[^]]*\], \[([^]]*)\]", f.read(), re.M).group(1)


def runtime_image(cluster):
    """The images of the in-pod programs and of the operator, of the tree that was built; made once for each cluster."""
    name = "osmo/runtime:test"
    if images.exists(cluster.images, name):
        return
    with tempfile.TemporaryDirectory(prefix="osmo-image.") as scratch:
        tree = os.path.join(scratch, "tree")
        run("make", "-s", "-C", BUILD, "install", "prefix=/usr", f"DESTDIR={tree}")
        run(os.path.join(SOURCE, "packaging/images/build.sh"), "--destdir", tree, "--rootfs", os.path.join(scratch, "roots"),
            "--rsync", os.path.join(BUILD, "test-rsync"), "runtime", "backend")
        for image in ("runtime", "backend"):
            images.write(cluster.images, f"osmo/{image}:test", images.tree(os.path.join(scratch, "roots", image)),
                         environment=("PATH=/usr/bin",))
            images.alias(cluster.images, f"osmo/{image}:test", f"osmo/{image}:{version()}")


def rights(cluster, *addons):
    """What the manifests give to an operator."""
    for file in ("namespaces", "service-accounts", "priority-classes", "rbac", "usage"):
        cluster.apply(os.path.join(MANIFESTS, file + ".yaml"))
    for addon in addons:
        cluster.apply(os.path.join(MANIFESTS, "addons", addon, "rbac.yaml"))
    for namespace in (OPERATOR_NAMESPACE, WORKFLOWS, NODE_TESTS):
        cluster.namespace(namespace)


def wipe(cluster):
    """No objects of workflows of earlier sites: their service is gone, nobody else would remove them."""
    api, root = cluster.api, f"/api/v1/namespaces/{WORKFLOWS}"
    for kind in ("pods", "secrets", "services", "configmaps"):
        for one in api.must("GET", f"{root}/{kind}?labelSelector=osmo.workflow_uuid")["items"]:
            path = f"{root}/{kind}/{one['metadata']['name']}"
            api.must("PATCH", path, {"metadata": {"finalizers": None}}, client.MERGE, accept=(404,))
            api.must("DELETE", path + "?gracePeriodSeconds=0", accept=(404,))


def no_rights(cluster):
    """Takes it away again, with all addons."""
    for kind, where in (("clusterroles", ""), ("clusterrolebindings", ""), *((k, f"namespaces/{n}/") for k in ("roles", "rolebindings")
                        for n in (OPERATOR_NAMESPACE, WORKFLOWS, NODE_TESTS))):
        path = f"/apis/rbac.authorization.k8s.io/v1/{where}{kind}"
        for one in cluster.api.must("GET", path)["items"]:
            if one["metadata"]["name"].startswith(("osmo-backend", "osmo-node-test")):
                cluster.api.must("DELETE", path + "/" + one["metadata"]["name"])


class Site:
    """Everything of OSMO for the tests of one program; close() ends it."""

    def __init__(self, cluster, with_images=True):
        self.cluster, self.programs, self.networks = cluster, {}, []
        self.work = tempfile.mkdtemp(prefix="osmo-site.")
        os.chmod(self.work, 0o711)
        for name in ("data", "config", "state", "specs"):
            os.mkdir(os.path.join(self.work, name), 0o700)
        self.environment = {"PATH": os.environ["PATH"], "HOME": self.work, "TZ": "UTC", "LANG": "C.UTF-8",
                            "OSMO_CONFIG_FILE_DIR": os.path.join(self.work, "config"),
                            "OSMO_LOG_FILE_DIR": os.path.join(self.work, "state")}
        self.url = f"http://{SERVICE}:{PORT}"
        self.token_file = os.path.join(self.work, "data", "admin-token")
        self._network()
        if with_images:  # nothing runs in the pods of a cluster without kubelets
            runtime_image(cluster)
        wipe(cluster)

    def _network(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that close() is called
        self._no_network()  # of a test that was killed
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=_die_with_parent)
        file = f"/proc/{self.holder.pid}/ns/net"
        here = os.readlink("/proc/self/ns/net")
        until = time.monotonic() + 10
        while os.readlink(file) == here and time.monotonic() < until:
            time.sleep(0.01)
        self.outside = ["nsenter", f"--net={file}", "--"]
        run("ip", "link", "add", LINK, "type", "veth", "peer", "name", "down0", "netns", str(self.holder.pid))
        run("ip", "address", "add", f"{GATEWAY}/24", "dev", LINK)
        run("ip", "link", "set", LINK, "up")
        for words in (("address", "add", f"{SERVICE}/24", "dev", "down0"), ("link", "set", "down0", "up"), ("link", "set", "lo", "up")):
            run(*self.outside, "ip", *words)
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as f:
            f.write("1")
        subprocess.run(["nft", "-f", "-"], input=FIREWALL, text=True, check=True)

    @staticmethod
    def _no_network():
        for table in (("inet", "site"), ("ip", "site_addresses")):
            subprocess.run(["nft", "delete", "table", *table], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", LINK], check=False, capture_output=True)

    def close(self):
        for program in reversed(list(self.programs.values())):
            program.stop()
        self._no_network()
        self.holder.kill()
        self.holder.wait()
        if os.environ.get("OSMO_KEEP"):
            print("kept:", self.work)
        else:
            shutil.rmtree(self.work, ignore_errors=True)

    def add(self, name, words, outside, environment=None):
        self.programs[name] = Program(self, name, words, outside, environment)
        return self.programs[name].start()

    # The programs

    def service(self, *options, from_file=True):
        """With the test's own osmo.yaml or CONFIG, or with what is built in and a pool kube that is made through the API."""
        config, port_file = os.path.join(self.work, "osmo.yaml"), os.path.join(self.work, "port")
        if from_file:
            if not os.path.exists(config):
                with open(config, "w", encoding="utf-8") as f:
                    f.write(CONFIG.format(registry=self.cluster.registry, workflows=WORKFLOWS))
            options = ("--config", config, *options)
        if os.path.exists(port_file):
            os.unlink(port_file)
        service = self.add("service", [os.path.join(BUILD, "osmo-service"), "--listen", f"{SERVICE}:{PORT}", "--base-url", self.url,
                                       "--data-dir", os.path.join(self.work, "data"), "--port-file", port_file, *options], True)
        self.wait(lambda: os.path.exists(port_file) and os.path.getsize(port_file), "the service serves", 60, service)
        self.osmo("login", self.url, "--method", "token", "--token-file", self.token_file)
        if not from_file:
            pool = os.path.join(self.work, "specs", "pool.json")
            with open(pool, "w", encoding="ascii") as f:
                json.dump(POOL, f)
            self.osmo("config", "update", "POOL", "kube", "--file", pool)
        return service

    def operator_config(self, *addons):
        """The kubeconfig of an operator that may what the manifests say."""
        rights(self.cluster, *addons)
        path = os.path.join(self.work, "operator.kubeconfig")
        certificates.kubeconfig(path, self.cluster.server, self.cluster.ca, "osmo-backend",
                                token=self.cluster.token_of(OPERATOR_NAMESPACE, "osmo-backend", 7200))
        return path

    def kubernetes(self, name="my-cluster", kubeconfig=None, *options):
        state = os.path.join(self.work, "backend-" + name)
        os.makedirs(state, mode=0o700, exist_ok=True)
        return self.add("backend-" + name, [
            os.path.join(BUILD, "osmo-backend"), "--service", self.url, "--name", name, "--cluster", "kubernetes", "--namespace", WORKFLOWS,
            "--kubeconfig", kubeconfig or self.operator_config("osmo-scheduler", "node-labels"), "--token-file", self.token_file,
            "--state-dir", state, *options], False)

    def local(self, name="default", *options):
        state = os.path.join(self.work, "backend-" + name)
        os.makedirs(state, mode=0o700, exist_ok=True)
        return self.add("backend-" + name, [
            os.path.join(BUILD, "osmo-backend"), "--service", self.url, "--name", name, "--cluster", "local", "--token-file",
            self.token_file, "--state-dir", state, "--cpu-overcommit", "100", "--hide", os.path.join(self.work, "data"), *options], True)

    # The user

    def osmo(self, *words, code=0, **more):
        done = subprocess.run([*self.outside, os.path.join(BUILD, "osmo"), *words], capture_output=True, text=True,
                              env=self.environment, stdin=subprocess.DEVNULL, timeout=120, **more)
        if code is not None and done.returncode != code:
            raise AssertionError(f"osmo {' '.join(words)}: exit {done.returncode}: {done.stdout[-1500:]} {done.stderr[-1500:]}")
        return done.stdout

    def submit(self, spec, pool="kube", *options):
        """The workflow's name; spec is a file, or the text of one."""
        if "\n" in spec:
            handle, path = tempfile.mkstemp(dir=os.path.join(self.work, "specs"), suffix=".yaml")
            with open(handle, "w", encoding="utf-8") as f:
                f.write(spec)
            spec = path
        return json.loads(self.osmo("workflow", "submit", spec, "--pool", pool, "-t", "json", *options))["name"]

    def query(self, name):
        return json.loads(self.osmo("workflow", "query", name, "-t", "json", "--verbose"))

    def tasks(self, name):
        """The newest attempt of each task, by its name."""
        found = {}
        for group in self.query(name)["groups"]:
            for task in group["tasks"]:
                if task["name"] not in found or task.get("retry_id", 0) >= found[task["name"]].get("retry_id", 0):
                    found[task["name"]] = task
        return found

    def ended(self, name, seconds=180):
        """The query of a workflow that has ended."""
        def done():
            answer = self.query(name)
            return answer if answer["status"] == "COMPLETED" or answer["status"].startswith("FAILED") else None
        return self.wait(done, f"{name} ends", seconds)

    def running(self, name, seconds=120):
        return self.wait(lambda: self.query(name)["status"] == "RUNNING", f"{name} runs", seconds)

    def logs(self, name, *options):
        return self.osmo("workflow", "logs", name, *options)

    def logged(self, name, text):
        """Whether a running workflow has printed the text. The client follows its log: it is ended after a while."""
        words = [*self.outside, "timeout", "2", os.path.join(BUILD, "osmo"), "workflow", "logs", name]
        done = subprocess.run(words, capture_output=True, text=True, env=self.environment, stdin=subprocess.DEVNULL)
        return text in done.stdout

    def wait(self, condition, what, seconds=60, program=None):
        until = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            if program and program.child.poll() is not None:
                raise RuntimeError(f"{program.name} ended with {program.child.returncode}:\n{program.tail()}")
            if time.monotonic() > until:
                raise TimeoutError(f"waited {seconds} s in vain: {what}\n{self.state()}")
            time.sleep(0.1)

    def state(self):
        """What helps to understand a failure."""
        text = [f"--- {p.name}\n{p.tail(25)}" for p in self.programs.values()]
        pods = self.cluster.api.must("GET", f"/api/v1/namespaces/{WORKFLOWS}/pods")["items"]
        text += [f"--- pod {p['metadata']['name']}, deleted {p['metadata'].get('deletionTimestamp')}, {p['metadata'].get('finalizers')}: "
                 f"{json.dumps(p['status'])[:1500]}" for p in pods[:6]]
        return "\n".join(text)
