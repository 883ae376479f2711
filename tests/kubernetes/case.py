"""What the tests over a test cluster share: namespaces that are gone afterwards, and short ways to pods."""
import os
import sys
import time
import unittest

import client


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = client.Cluster()

    def setUp(self):
        began = time.monotonic()
        self.addCleanup(lambda: print(f"{time.monotonic() - began:.1f} s", end=" ", file=sys.stderr))

    def namespace(self, word):
        """One of its own for the test."""
        name = f"t-{word}-{os.getpid()}"
        self.cluster.namespace(name)
        self.addCleanup(self.remove_namespace, name)
        return name

    def remove_namespace(self, name):
        """Asked for, not waited for: pods end at once."""
        api = self.cluster.api
        api.must("DELETE", f"/api/v1/namespaces/{name}/pods?gracePeriodSeconds=0")
        api.must("DELETE", f"/api/v1/namespaces/{name}", accept=(404, 409))

    def pod(self, namespace, name, script, image=None, init=None, labels=None, volumes=(), mounts=(), resources=None, **spec):
        """A pod that runs a shell script in its container main, another before in init."""
        image = image or self.cluster.busybox
        containers = [{"name": "main", "image": image, "imagePullPolicy": "Always", "command": ["sh", "-c", script],
                       "volumeMounts": list(mounts), "resources": resources or {}}]
        spec.update(restartPolicy="Never", containers=containers, volumes=list(volumes))
        if init:
            spec["initContainers"] = [{"name": "init", "image": image, "imagePullPolicy": "Always", "command": ["sh", "-c", init]}]
        return self.cluster.api.must("POST", f"/api/v1/namespaces/{namespace}/pods",
                                     {"metadata": {"name": name, "labels": labels or {}}, "spec": spec})

    def ended(self, namespace, name, seconds=90):
        """How the container main ended."""
        self.cluster.wait_for(lambda: self.cluster.pod(namespace, name)["status"]["phase"] in ("Succeeded", "Failed"),
                              f"the pod {name} ends", seconds)
        return self.cluster.pod(namespace, name)["status"]["containerStatuses"][0]["state"]["terminated"]
