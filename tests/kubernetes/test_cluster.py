#!/usr/bin/python3
"""The test cluster itself: what all the other tests here stand on."""
import threading
import time
import unittest

import case
import client


class Cluster(case.Case):
    def test_pod(self):
        """An init container, a secret as a volume, logs, the exit code; the image comes from the registry each time."""
        c, ns = self.cluster, self.namespace("pod")
        c.api.must("POST", f"/api/v1/namespaces/{ns}/secrets", {"metadata": {"name": "s"}, "stringData": {"key": "of the secret"}})
        volume = {"name": "v", "secret": {"secretName": "s"}}
        self.pod(ns, "a", "cat /s/key; exit 7", init="echo first", volumes=[volume], mounts=[{"name": "v", "mountPath": "/s"}])
        state = self.ended(ns, "a")
        self.assertEqual((state["exitCode"], state["reason"]), (7, "Error"))
        self.assertEqual(c.logs(ns, "a", "init").strip(), "first")
        self.assertEqual(c.logs(ns, "a", "main"), "of the secret")

    def test_running(self):
        ns = self.namespace("running")
        self.pod(ns, "a", "sleep 600")
        self.cluster.wait_for(lambda: self.cluster.pod(ns, "a")["status"]["phase"] == "Running", "the pod runs")
        self.cluster.api.must("DELETE", f"/api/v1/namespaces/{ns}/pods/a", {"gracePeriodSeconds": 1})
        self.cluster.wait_for(lambda: self.cluster.api.request("GET", f"/api/v1/namespaces/{ns}/pods/a")[0] == 404, "it is gone")

    def test_missing_image(self):
        ns = self.namespace("image")
        self.pod(ns, "a", "true", image=self.cluster.registry + "/no/such:1")
        text = self.cluster.wait_for(lambda: self.cluster.pod(ns, "a")["status"]["containerStatuses"][0]["state"]["waiting"].get("message"),
                                     "the pull fails")
        self.assertIn("no/such:1", text)

    def test_out_of_memory(self):
        ns = self.namespace("memory")
        self.pod(ns, "a", "x=a; while true; do x=$x$x; done", resources={"limits": {"memory": "24Mi"}})
        state = self.ended(ns, "a")
        self.assertEqual((state["exitCode"], state["reason"]), (137, "OOMKilled"))

    def test_names(self):
        """Pods of a headless Service find each other; a token finds the API server by its address inside."""
        c, ns = self.cluster, self.namespace("names")
        c.api.must("POST", f"/api/v1/namespaces/{ns}/services", {"metadata": {"name": "group"}, "spec": {
            "clusterIP": "None", "selector": {"group": "one"}}})
        self.pod(ns, "a", "sleep 600", labels={"group": "one"}, hostname="a", subdomain="group")
        self.pod(ns, "b", f"until ping -c 1 a.group.{ns}.svc.cluster.local; do sleep 0.2; done; ping -c 1 nobody.group || echo none; "
                          "test -s /var/run/secrets/kubernetes.io/serviceaccount/token && nc -w 5 $KUBERNETES_SERVICE_HOST 443 < /dev/null")
        self.assertEqual(self.ended(ns, "b")["exitCode"], 0, c.logs(ns, "b", "main"))
        self.assertIn("none", c.logs(ns, "b", "main"))

    def test_rights(self):
        """A user without a binding may nothing, a service account what its role says."""
        c, ns = self.cluster, self.namespace("rights")
        pods = f"/api/v1/namespaces/{ns}/pods"
        self.assertEqual(c.api_of("operator").request("GET", pods)[0], 403)
        self.assertEqual(c.api_of(token="wrong").request("GET", pods)[0], 401)
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]}
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "r"},
                   "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
                   "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": ns}]}
        for one in (role, binding, role):
            c.apply_object(one, ns)
        api = c.api_of(token=c.token_of(ns, "default"))
        c.wait_for(lambda: api.request("GET", pods)[0] == 200, "the binding counts")
        self.assertEqual(api.request("DELETE", pods + "/x")[0], 403)

    def test_compaction(self):
        c, ns = self.cluster, self.namespace("compaction")
        old = c.api.must("GET", f"/api/v1/namespaces/{ns}/pods")["metadata"]["resourceVersion"]
        self.pod(ns, "a", "true")
        c.compact()
        status, body = c.api.request("GET", f"/api/v1/namespaces/{ns}/pods?resourceVersion={old}&resourceVersionMatch=Exact&limit=1")
        self.assertEqual((status, body["reason"]), (410, "Expired"))

    def test_faults(self):
        """The API server answers nothing while it is paused, watches end when connections are cut."""
        c = self.cluster
        c.pause("apiserver")
        try:
            with self.assertRaises(OSError):
                c.api.request("GET", "/version", timeout=1)
        finally:
            c.resume("apiserver")
        c.wait_api()
        ended = threading.Event()

        def watch():
            try:
                for _ in c.api.watch("/api/v1/namespaces?watch=1"):
                    started.set()
            except OSError:
                pass
            ended.set()
        started = threading.Event()
        threading.Thread(target=watch, daemon=True).start()
        self.assertTrue(started.wait(30))
        c.cut_connections()
        self.assertTrue(ended.wait(20))
        with c.firewall("chain input { type filter hook input priority 0; tcp dport 6443 drop; }"):
            with self.assertRaises(OSError):
                c.api.request("GET", "/version", timeout=1)
        c.wait_api()

    def test_fake_nodes(self):
        """Pods get to nodes that nobody runs, and their status is what a test writes."""
        c, ns = self.cluster, self.namespace("fake")
        node, = c.fake_nodes(1, "fake-of-test")
        try:
            self.pod(ns, "a", "true", nodeSelector={"kubernetes.io/hostname": node}, tolerations=[{"operator": "Exists"}])
            c.wait_for(lambda: c.pod(ns, "a")["spec"].get("nodeName") == node, "the pod is bound")
            c.api.must("PATCH", f"/api/v1/namespaces/{ns}/pods/a/status", {"status": {"phase": "Running"}}, client.MERGE)
            self.assertEqual(c.pod(ns, "a")["status"]["phase"], "Running")
        finally:
            c.api.must("DELETE", f"/api/v1/nodes/{node}")

    def test_restart(self):
        """The API server ends and comes back with other flags; what was stored is still there."""
        c, ns = self.cluster, self.namespace("restart")
        began = time.monotonic()
        c.restart("apiserver", "--v=2")
        c.wait_api()
        self.assertEqual(c.api.must("GET", f"/api/v1/namespaces/{ns}")["metadata"]["name"], ns)
        print(f"the API server was away for {time.monotonic() - began:.1f} s")
        c.restart("apiserver")
        c.wait_api()


if __name__ == "__main__":
    unittest.main(verbosity=2)
