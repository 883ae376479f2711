#!/usr/bin/python3
"""No pod stays because of its finalizer, whatever happened to it: the kubernetes driver alone, on a real cluster."""
import os
import subprocess
import threading
import unittest

import case

FINALIZER = "osmo.nvidia.com/cleanup"
LABELS = {"osmo.task_uuid": "t", "osmo.workflow_uuid": "w"}


class Finalizers(case.Case):
    def hold(self, namespace):
        """The driver, until the test ends."""
        program = os.path.join(os.environ["OSMO_BUILD"], "tests/conformance/conformance")
        process = subprocess.Popen([program, "kubernetes", "--hold", "--namespace", namespace, "finalizer-patience-ms=1000",
                                    "kubeconfig=" + self.cluster.configs["admin"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(self.let_go, process)
        threading.Thread(target=process.stdout.read).start()  # nothing of it is of interest here

    def let_go(self, process):
        process.stdin.close()
        self.assertEqual(process.wait(60), 0)

    def finalized(self, namespace, name, node=None, **spec):
        if node:
            spec["nodeName"] = node
        container = {"name": "main", "image": self.cluster.busybox, "command": ["sh", "-c", "trap 'exit 3' TERM; sleep 600 & wait"]}
        self.cluster.api.must("POST", f"/api/v1/namespaces/{namespace}/pods", {
            "metadata": {"name": name, "labels": LABELS, "finalizers": [FINALIZER]},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "containers": [container], **spec}})

    def gone(self, namespace, name):
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self.cluster.wait_for(lambda: self.cluster.api.request("GET", path)[0] == 404, f"the pod {name} is gone", 90)

    def runs(self, namespace, name):
        self.cluster.wait_for(lambda: self.cluster.pod(namespace, name)["status"]["phase"] == "Running", f"the pod {name} runs")

    def test_deleted_by_others(self):
        """While it runs, before it has a node, and while no operator was there."""
        ns = self.namespace("finalizers")
        pods = f"/api/v1/namespaces/{ns}/pods"
        self.finalized(ns, "early", node=self.cluster.node)
        self.runs(ns, "early")
        self.cluster.api.must("DELETE", f"{pods}/early")
        self.hold(ns)
        self.finalized(ns, "running", node=self.cluster.node)
        self.finalized(ns, "waiting", schedulerName="nobody")
        self.finalized(ns, "stays", node=self.cluster.node)
        self.runs(ns, "running")
        self.runs(ns, "stays")
        self.cluster.api.must("DELETE", f"{pods}/running")
        self.cluster.api.must("DELETE", f"{pods}/waiting")
        for name in ("early", "running", "waiting"):
            self.gone(ns, name)
        self.assertIn(FINALIZER, self.cluster.pod(ns, "stays")["metadata"]["finalizers"])
        self.cluster.api.must("DELETE", f"{pods}/stays")
        self.gone(ns, "stays")

    def test_lost_node(self):
        """Nobody is there who could end its containers; the garbage collector deletes it when its node is gone."""
        ns = self.namespace("lost")
        self.hold(ns)
        self.cluster.fake_nodes(1, prefix="lost")
        self.finalized(ns, "orphan", node="lost-0")
        self.cluster.api.must("DELETE", "/api/v1/nodes/lost-0")
        self.gone(ns, "orphan")

    def test_namespace(self):
        """It goes with everything in it."""
        ns = self.namespace("ends")
        self.hold(ns)
        self.finalized(ns, "running", node=self.cluster.node)
        self.finalized(ns, "waiting", schedulerName="nobody")
        self.runs(ns, "running")
        self.cluster.api.must("DELETE", f"/api/v1/namespaces/{ns}")
        self.cluster.wait_for(lambda: self.cluster.api.request("GET", f"/api/v1/namespaces/{ns}")[0] == 404, "the namespace is gone", 120)

    def remove_namespace(self, name):
        """It may be gone already."""
        self.cluster.api.must("DELETE", f"/api/v1/namespaces/{name}", accept=(404, 409))


if __name__ == "__main__":
    unittest.main()
