"""What tests use of a running test cluster: requests to its API server, waiting for things, images, faults.

    cluster = client.Cluster()              # the one of OSMO_KUBERNETES_DIR
    cluster.api.must("POST", "/api/v1/namespaces", {"metadata": {"name": "here"}})
    cluster.wait_for(lambda: cluster.pod("here", "a")["status"]["phase"] == "Running", "the pod runs")

Tests run inside the network of the cluster (see Cluster.enter), as run-tests starts them."""
import contextlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.parse

MERGE, STRATEGIC, JSON_PATCH, JSON = ("application/merge-patch+json", "application/strategic-merge-patch+json",
                                      "application/json-patch+json", "application/json")


class ApiError(Exception):
    def __init__(self, what, status, body):
        message = body.get("message") if isinstance(body, dict) else body
        super().__init__(f"{what}: {status} {message}")
        self.status, self.body = status, body


class Api:
    """An HTTP client for one identity; a connection for each request, so that faults of one leave nothing behind for the next."""

    def __init__(self, server, ca, token=None, certificate=None, key=None):
        self.url, self.ca, self.token = urllib.parse.urlsplit(server), ca, token
        self.context = ssl.create_default_context(cafile=ca)
        if certificate:
            self.context.load_cert_chain(certificate, key)

    def open(self, method, path, body=None, content_type=JSON, timeout=30):
        """The answer, unread, and its connection (close it)."""
        connection = http.client.HTTPSConnection(self.url.hostname, self.url.port, context=self.context, timeout=timeout)
        headers = {"Accept": "application/json"}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        if body is not None:
            headers["Content-Type"] = content_type
            body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        try:
            connection.request(method, path, body, headers)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def request(self, method, path, body=None, content_type=JSON, timeout=30):
        """Status and body: what the JSON is, or the text when it is none."""
        connection, answer = self.open(method, path, body, content_type, timeout)
        try:
            text = answer.read().decode("utf-8", "replace")
        finally:
            connection.close()
        if "json" in (answer.getheader("Content-Type") or ""):
            return answer.status, json.loads(text)
        return answer.status, text

    def must(self, method, path, body=None, content_type=JSON, accept=()):
        """The body of an answer of success, or of a status in `accept`."""
        status, answer = self.request(method, path, body, content_type)
        if status >= 300 and status not in accept:
            raise ApiError(f"{method} {path}", status, answer)
        return answer

    def watch(self, path, seconds=30):
        """The events of a watch, as they come, until the server ends it."""
        connection, answer = self.open("GET", path, timeout=seconds)
        with contextlib.closing(connection):
            if answer.status != 200:
                raise ApiError("GET " + path, answer.status, json.loads(answer.read()))
            for line in answer:
                if line.strip():
                    yield json.loads(line)


class Cluster:
    """A running cluster, found by the directory that it was started with."""

    def __init__(self, directory=None):
        self.directory = directory or os.environ["OSMO_KUBERNETES_DIR"]
        with open(os.path.join(self.directory, "cluster.json"), encoding="ascii") as f:
            facts = json.load(f)
        self.server, self.ca, self.mode, self.node = facts["server"], facts["ca"], facts["mode"], facts["node"]
        self.address, self.namespace_file, self.registry = facts["address"], facts["network"], facts["registry"]
        self.configs, self.tokens = facts["configs"], facts["tokens"]
        self.images = facts["store"]  # images.write() puts one there; pods name it REGISTRY/NAME
        self.busybox = self.registry + "/local/busybox:1"
        self.api = self.api_of("admin")

    def api_of(self, name=None, token=None):
        """By the name of one of the token users (admin, operator), or by any token."""
        return Api(self.server, self.ca, token=token or self.tokens[name])

    def enter(self):
        """Words in front of a command that is to run in the network of the cluster."""
        return ["nsenter", f"--net={self.namespace_file}", "--"]

    # The supervisor, which alone sees the processes and mounts of the cluster

    def control(self, action, **arguments):
        """Ask the supervisor; its answer's text."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(300)
            s.connect(os.path.join(self.directory, "control"))
            s.sendall(json.dumps({"action": action, **arguments}).encode() + b"\n")
            answer = json.loads(b"".join(iter(lambda: s.recv(65536), b"")))
        if not answer["ok"]:
            raise RuntimeError(f"{action}: {answer['text']}")
        return answer["text"]

    def pause(self, program):
        """SIGSTOP: connections stay, nothing answers."""
        self.control("signal", program=program, signal="STOP")

    def resume(self, program):
        self.control("signal", program=program, signal="CONT")

    def stop(self, program):
        """Ends it and leaves it down until start()."""
        self.control("stop", program=program)

    def start(self, program, *arguments):
        """With more arguments than usual, e.g. --max-requests-inflight=1."""
        self.control("start", program=program, arguments=list(arguments))

    def restart(self, program, *arguments, abruptly=True):
        self.control("stop", program=program, abruptly=abruptly)
        self.start(program, *arguments)

    def wait_api(self, seconds=60):
        def ready():
            try:
                return self.api.request("GET", "/readyz", timeout=5)[0] == 200
            except OSError:
                return False
        self.wait_for(ready, "the API server answers", seconds)

    def compact(self):
        """Forget everything but the newest revision: older resource versions are 410 from now on."""
        def call(path, body):
            connection = http.client.HTTPConnection("127.0.0.1", 2379, timeout=30)
            with contextlib.closing(connection):
                connection.request("POST", path, json.dumps(body), {"Content-Type": JSON})
                answer = connection.getresponse()
                text = answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"etcd {path}: {answer.status} {text[:200]}")
                return json.loads(text)
        revision = call("/v3/kv/range", {"key": "AA=="})["header"]["revision"]
        call("/v3/kv/compaction", {"revision": revision, "physical": True})
        return int(revision)

    def cut_connections(self, port=None):
        """Connections to the API server (or another port) are reset, new ones are not hindered."""
        port = port or urllib.parse.urlsplit(self.server).port
        return subprocess.run(["ss", "-K", "-t", "state", "established", f"( sport = :{port} or dport = :{port} )"],
                              capture_output=True, text=True, check=True).stdout

    @contextlib.contextmanager
    def firewall(self, rules, name="fault"):
        """nftables rules (the chains of a table) for as long as the block runs."""
        subprocess.run(["nft", "-f", "-"], input=f"table inet {name} {{\n{rules}\n}}\n", text=True, check=True)
        try:
            yield
        finally:
            subprocess.run(["nft", "delete", "table", "inet", name], check=True)

    # Waiting and objects

    def wait_for(self, condition, what, seconds=60, interval=0.1):
        """The first true value of the condition; the last failure is part of the error."""
        until, last = time.monotonic() + seconds, ""
        while True:
            try:
                found = condition()
                if found:
                    return found
            except (ApiError, KeyError, IndexError) as error:
                last = f" (last: {type(error).__name__}: {error})"
            if time.monotonic() > until:
                raise TimeoutError(f"waited {seconds} s in vain: {what}{last}")
            time.sleep(interval)

    def namespace(self, name):
        """Made if it is not there; pods can be made in it when this returns."""
        self.api.must("POST", "/api/v1/namespaces", {"metadata": {"name": name}}, accept=(409,))
        self.wait_for(lambda: self.api.must("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").get("secrets"),
                      f"the default service account of {name}")
        return name

    def pod(self, namespace, name):
        return self.api.must("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")

    def logs(self, namespace, name, container):
        return self.api.must("GET", f"/api/v1/namespaces/{namespace}/pods/{name}/log?container={container}")

    def token_of(self, namespace, account, seconds=3600):
        """A token of a service account, as pods get them."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        answer = self.api.must("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                                              "spec": {"expirationSeconds": seconds}})
        return answer["status"]["token"]

    def fake_nodes(self, count, prefix="fake", capacity=None, labels=None):
        """Nodes without a kubelet: pods can be bound to them and change only when a test writes their status."""
        capacity = capacity or {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "1000", "nvidia.com/gpu": "8"}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        names = [f"{prefix}-{i}" for i in range(count)]
        for name in names:
            self.api.must("POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **(labels or {})}}}, accept=(409,))
            conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake", "lastHeartbeatTime": now,
                           "lastTransitionTime": now}]
            self.api.must("PATCH", f"/api/v1/nodes/{name}/status", {"status": {
                "capacity": capacity, "allocatable": capacity, "conditions": conditions}}, MERGE)
            self.api.must("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": []}}, MERGE)
        return names

    def apply(self, path, namespace=None):
        """The objects of a YAML file: created, or replaced when they are there."""
        import yaml  # pylint: disable=import-outside-toplevel
        with open(path, encoding="utf-8") as f:
            documents = [d for d in yaml.safe_load_all(f) if d]
        for document in documents:
            for one in document.get("items", [document]) if document["kind"].endswith("List") else [document]:
                self.apply_object(one, namespace)

    def apply_object(self, one, namespace=None):
        path = self._path_of(one, namespace)
        status, answer = self.api.request("POST", path, one)
        if status == 409:
            target = path + "/" + one["metadata"]["name"]
            status, answer = self.api.request("PATCH", target, one, MERGE)
        if status >= 300:
            raise ApiError(f"applying {one['kind']} {one['metadata']['name']}", status, answer)
        return answer

    def _path_of(self, one, namespace):
        version, kind = one["apiVersion"], one["kind"]
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        for resource in self.api.must("GET", root)["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                if resource["namespaced"]:
                    return f"{root}/namespaces/{one['metadata'].get('namespace') or namespace or 'default'}/{resource['name']}"
                return f"{root}/{resource['name']}"
        raise RuntimeError(f"the API server knows no {kind} of {version}")
