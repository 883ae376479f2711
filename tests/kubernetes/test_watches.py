#!/usr/bin/python3
# Cluster: control
"""What the kubernetes driver tells of pods while the API server is restarted, forgets its history, or is away: everything, once."""
import os
import queue
import signal
import subprocess
import threading
import unittest

import case

LABELS = {"osmo.task_uuid": "t", "osmo.workflow_uuid": "w"}


class Watches(case.Case):
    def setUp(self):
        self.ns = self.namespace(self._testMethodName.replace("_", "-"))
        program = os.path.join(os.environ["OSMO_BUILD"], "tests/conformance/conformance")
        self.driver = subprocess.Popen([program, "kubernetes", "--hold", "--namespace", self.ns, "usage=namespace",
                                        "kubeconfig=" + self.cluster.configs["admin"]],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told = queue.Queue()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.driver.stdout:
            if line[1:].startswith("pod-"):  # not those of nodes
                self.told.put(line.strip())

    def tearDown(self):
        self.driver.send_signal(signal.SIGCONT)
        self.driver.stdin.close()
        self.assertEqual(self.driver.wait(60), 0)
        self.reader.join()
        self.driver.stdout.close()
        self.cluster.wait_api()

    def expect(self, *lines):
        """These are told next, in any order."""
        got = [self.told.get(timeout=90) for _ in lines]
        self.assertEqual(sorted(got), sorted(lines))

    def make(self, name):
        self.cluster.api.must("POST", f"/api/v1/namespaces/{self.ns}/pods", {
            "metadata": {"name": name, "labels": LABELS}, "spec": {
                "schedulerName": "nobody", "automountServiceAccountToken": False, "containers": [{"name": "c", "image": "none"}]}})

    def touch(self, name):
        self.cluster.api.must("PATCH", f"/api/v1/namespaces/{self.ns}/pods/{name}", {"metadata": {"annotations": {"x": os.urandom(4).hex()}}},
                              "application/merge-patch+json")

    def remove(self, name):
        self.cluster.api.must("DELETE", f"/api/v1/namespaces/{self.ns}/pods/{name}?gracePeriodSeconds=0")

    def test_restart(self):
        self.make("pod-a")
        self.expect("+pod-a")
        self.cluster.restart("apiserver")
        self.cluster.wait_api()
        self.touch("pod-a")
        self.make("pod-b")
        self.expect("~pod-a", "+pod-b")

    def test_cut(self):
        self.make("pod-a")
        self.expect("+pod-a")
        for _ in range(3):
            self.cluster.cut_connections()
            self.touch("pod-a")
            self.expect("~pod-a")

    def test_forgotten_history(self):
        """It was stopped, and the server has forgotten what happened meanwhile."""
        for name in ("pod-a", "pod-b", "pod-c", "pod-d"):
            self.make(name)
        self.expect("+pod-a", "+pod-b", "+pod-c", "+pod-d")
        self.driver.send_signal(signal.SIGSTOP)
        self.cluster.restart("apiserver")
        self.cluster.wait_api()
        self.remove("pod-a")
        self.remove("pod-b")
        self.make("pod-b")
        self.touch("pod-c")
        self.make("pod-e")
        self.cluster.compact()
        self.cluster.restart("apiserver")
        self.cluster.wait_api()
        self.driver.send_signal(signal.SIGCONT)
        self.expect("-pod-a", "-pod-b", "+pod-b", "~pod-c", "+pod-e")
        self.touch("pod-d")
        self.expect("~pod-d")

    def test_pause(self):
        """The server does not answer for a while."""
        self.make("pod-a")
        self.expect("+pod-a")
        self.cluster.pause("apiserver")
        try:
            self.assertRaises(queue.Empty, self.told.get, timeout=3)
        finally:
            self.cluster.resume("apiserver")
        self.cluster.wait_api()
        self.touch("pod-a")
        self.expect("~pod-a")


if __name__ == "__main__":
    unittest.main()
