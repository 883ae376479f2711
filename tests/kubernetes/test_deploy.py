#!/usr/bin/python3
"""The operator as it is deployed: the manifests of packaging/kubernetes as render.sh prints them, the images of packaging/images, two
replicas in the cluster, a service outside of it."""
import base64
import contextlib
import http.client
import os
import subprocess
import tempfile
import unittest

import client
import osmo_site
import workflow_case
from workflow_case import one_task

RENDER = os.path.join(osmo_site.SOURCE, "packaging/kubernetes/render.sh")
NAME, USER, OPERATOR = "my-cluster", "cluster-operator", osmo_site.OPERATOR_NAMESPACE
DEPLOYMENT = f"/apis/apps/v1/namespaces/{OPERATOR}/deployments/osmo-backend"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{OPERATOR}/leases/osmo-backend-{NAME}"
SECRET = f"/api/v1/namespaces/{OPERATOR}/secrets/osmo-backend-token"


class Deploy(workflow_case.Workflows):
    @classmethod
    def start(cls):
        # whole processors are what a pool counts in: on a machine of two the operator's own pods leave none for tasks
        with open(os.path.join(cls.site.work, "osmo.yaml"), "w", encoding="utf-8") as config:
            config.write(osmo_site.CONFIG.format(registry=cls.cluster.registry, workflows=osmo_site.WORKFLOWS).replace("[default_cpu, ", "["))
        cls.site.service()
        cls.addClassCleanup(cls.undo)
        cls.site.osmo("user", "create", USER, "--roles", "osmo-backend")
        with tempfile.NamedTemporaryFile(mode="w", dir=cls.site.work) as token:
            token.write(cls.new_token("first"))
            token.flush()
            cls.apply("--token-file", token.name)
        cls.site.wait(lambda: cls.ready() == 2, "both replicas are ready", 180)

    @classmethod
    def undo(cls):
        for collection in (f"/apis/apps/v1/namespaces/{OPERATOR}/deployments", f"/api/v1/namespaces/{OPERATOR}/pods"):
            cls.cluster.api.must("DELETE", collection)
        osmo_site.no_rights(cls.cluster)

    @classmethod
    def new_token(cls, name):
        text = cls.site.osmo("token", "set", name, "--user", USER, "--backend", NAME)
        return text.split("Access token:")[1].strip()

    @classmethod
    def apply(cls, *options):
        """As the guide has it, but for the namespaces that are made first: an account that pods need is made behind them."""
        done = subprocess.run([RENDER, "--name", NAME, "--service", cls.site.url, "--image", f"{cls.cluster.registry}/osmo/backend:test",
                               "--with", "node-labels,node-tests,network-policy", *options], capture_output=True, text=True, check=True)
        for namespace in (OPERATOR, osmo_site.WORKFLOWS, osmo_site.NODE_TESTS):
            cls.cluster.namespace(namespace)
        with tempfile.NamedTemporaryFile(mode="w", dir=cls.site.work, suffix=".yaml") as file:
            file.write(done.stdout)
            file.flush()
            cls.cluster.apply(file.name)

    # What there is

    @classmethod
    def pods_of_operator(cls):
        """Those that are not on their way out."""
        path = f"/api/v1/namespaces/{OPERATOR}/pods?labelSelector=app.kubernetes.io%2Fname%3Dosmo-backend"
        return [p for p in cls.cluster.api.must("GET", path)["items"] if not p["metadata"].get("deletionTimestamp")]

    @classmethod
    def ready(cls):
        """How many replicas are ready, when all of them are of the newest template."""
        d = cls.cluster.api.must("GET", DEPLOYMENT)
        status = d["status"]
        current = status.get("observedGeneration") == d["metadata"]["generation"] and \
            status.get("updatedReplicas", 0) == status.get("replicas", 0)
        return status.get("readyReplicas", 0) if current else 0

    def holder(self):
        """Name of the pod that works, when there is one."""
        identity = self.cluster.api.must("GET", LEASE)["spec"].get("holderIdentity") or ""
        names = [p["metadata"]["name"] for p in self.pods_of_operator()]
        return next((n for n in names if identity.startswith(n)), None)

    @staticmethod
    def ask(pod, path):
        connection = http.client.HTTPConnection(pod["status"]["podIP"], 9464, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    # Tests

    def test_workflows(self):
        """By pods whose programs come from the runtime's image, also in a user's image that has no C library."""
        self.check(self.site.submit(self.example("hello_world"), "kube"), "COMPLETED")
        name = self.site.submit(one_task("client", "osmo --version; echo data > {{output}}/file").replace("debian:12", "busybox"))
        self.check(name, "COMPLETED")
        self.assertIn("osmo 0.", self.site.logs(name))

    def test_replicas(self):
        """Both answer their probes; the one that has the lease works, the other one says whom it stands by for."""
        working = self.site.wait(self.holder, "a replica has the lease")
        for pod in self.pods_of_operator():
            status, text = self.ask(pod, "/readyz")
            self.assertEqual(status, 200, text)
            self.assertEqual("stands by" in text, pod["metadata"]["name"] != working, text)
            self.assertEqual(self.ask(pod, "/healthz")[0], 200)
            metrics = self.ask(pod, "/metrics")[1]
            self.assertIn(f"osmo_backend_ready {int(pod['metadata']['name'] == working)}", metrics)

    def test_handover(self):
        """A task goes on while the replica that works is deleted, and the other one tells how it ended."""
        name = self.site.submit(one_task("long", "echo begun; sleep 25; echo ended"))
        self.site.running(name)
        before = self.holder()
        self.cluster.api.must("DELETE", f"/api/v1/namespaces/{OPERATOR}/pods/{before}")
        self.site.wait(lambda: (self.holder() or before) != before, "another replica works")
        self.check(name, "COMPLETED")
        self.assertIn("ended", self.site.logs(name))
        self.site.wait(lambda: self.ready() == 2, "there are two again", 120)

    def test_new_token(self):
        """Exchanged by writing the Secret, a restart, and deleting the old one."""
        self.cluster.api.must("PATCH", SECRET, {"data": {"token": base64.b64encode(self.new_token("second").encode()).decode()}}, client.MERGE)
        self.cluster.api.must("PATCH", DEPLOYMENT, {"spec": {"template": {"metadata": {"annotations": {"restarted": "1"}}}}}, client.MERGE)
        self.site.wait(lambda: self.ready() == 2, "both replicas are ready again", 180)
        self.site.osmo("token", "delete", "first", "--user", USER)
        self.check(self.site.submit(self.example("hello_world"), "kube"), "COMPLETED")

    def test_useless_address(self):
        """A service that tasks could not find says so when the operator comes, and nothing otherwise."""
        text = "tasks of backend my-cluster will look for this service at http://127.0.0.1:1,"
        service = self.site.programs["service"]
        self.assertNotIn("tasks of backend", service.tail(1000))
        service.stop()
        service = self.site.service("--base-url", "http://127.0.0.1:1")
        self.site.wait(lambda: text in service.tail(), "the service says it", 120)
        service.stop()
        self.site.service()

    def test_with_these_rights(self):
        """Nothing that the operator wanted was refused, here or in what ran before."""
        self.site.wait(lambda: self.ready() == 2, "both replicas are ready", 120)
        self.check(self.site.submit(self.example("hello_world"), "kube"), "COMPLETED")
        self.check_gone()
        for pod in self.pods_of_operator():
            log = self.cluster.logs(OPERATOR, pod["metadata"]["name"], "osmo-backend")
            self.assertNotIn("forbidden", log)
            self.assertNotIn("[ERROR]", log)
            if os.environ.get("OSMO_KEEP"):
                print(log)

    def test_restricted(self):
        """As the Pod Security Standard "restricted" wants it, which older clusters do not enforce, and with nothing to write to."""
        for pod in self.pods_of_operator():
            security, container = pod["spec"]["securityContext"], pod["spec"]["containers"][0]
            self.assertTrue(security["runAsNonRoot"] and security["runAsUser"] == 1001)
            self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
            own = container["securityContext"]
            self.assertTrue(own["readOnlyRootFilesystem"] and own["allowPrivilegeEscalation"] is False)
            self.assertEqual(own["capabilities"], {"drop": ["ALL"]})
            self.assertTrue(all(m.get("readOnly") for m in container["volumeMounts"]), container["volumeMounts"])
            self.assertEqual(pod["status"]["containerStatuses"][0]["restartCount"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
