#!/usr/bin/python3
"""The kubernetes driver does what every cluster driver has to: the table of tests/conformance/ on a real cluster, without KAI."""
import os
import subprocess
import unittest

import case


class Conformance(case.Case):
    def test_driver(self):
        program = os.path.join(os.environ["OSMO_BUILD"], "tests/conformance/conformance")
        namespace = self.namespace("conformance")
        done = subprocess.run([program, "kubernetes", "--namespace", namespace, "--image", self.cluster.busybox,
                               "kubeconfig=" + self.cluster.configs["admin"]], capture_output=True, text=True, timeout=900, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("ok kubernetes: gang", done.stdout)


if __name__ == "__main__":
    unittest.main()
