#!/usr/bin/python3
# Cluster: control
"""The kubernetes driver where the kinds of KAI exist: objects are these, not ConfigMaps, and nobody but KAI places pods."""
import os
import subprocess
import unittest

import case

KINDS = (("scheduling.run.ai", "v2alpha2", "PodGroup", "podgroups", "Namespaced"), ("scheduling.run.ai", "v2", "Queue", "queues", "Cluster"),
         ("kai.scheduler", "v1alpha1", "Topology", "topologies", "Cluster"))
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Kai(case.Case):
    def define(self, group, version, kind, plural, scope):
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        name = f"{plural}.{group}"
        self.cluster.api.must("POST", DEFINITIONS, {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
            "spec": {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                     "versions": [{"name": version, "served": True, "storage": True, "schema": schema}]}})
        self.addCleanup(self.cluster.api.must, "DELETE", f"{DEFINITIONS}/{name}")
        where = f"/apis/{group}/{version}/{plural}"
        self.cluster.wait_for(lambda: self.cluster.api.request("GET", where)[0] == 200, f"{kind} is served")

    def run_driver(self, namespace, *cases):
        program = os.path.join(os.environ["OSMO_BUILD"], "tests/conformance/conformance")
        chosen = [word for name in cases for word in ("--case", name)]
        done = subprocess.run([program, "kubernetes", "--namespace", namespace, *chosen, "scheduler=kai",
                               "kubeconfig=" + self.cluster.configs["admin"]], capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_kinds(self):
        namespace = self.namespace("kai")
        code, text = self.run_driver(namespace, "bad")
        self.assertEqual(code, 1)
        self.assertIn("the KAI scheduler is not installed", text)
        for kind in KINDS:
            self.define(*kind)
        code, text = self.run_driver(namespace, "bad", "objects", "queues")
        self.assertEqual(code, 0, text)
        self.assertIn("ok kubernetes: queues", text)
        maps = self.cluster.api.must("GET", f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=osmo.kind")
        self.assertEqual(maps["items"], [])


if __name__ == "__main__":
    unittest.main()
