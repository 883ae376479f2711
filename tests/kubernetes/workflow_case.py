"""What the tests of workflows share: a site for all tests of a program, and checks of how workflows and tasks ended."""
import sys
import time
import unittest

import client
import osmo_site


class Workflows(unittest.TestCase):
    """Sets up a site with a service and an operator for the cluster."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = client.Cluster()
        cls.site = osmo_site.Site(cls.cluster)
        cls.addClassCleanup(cls.site.close)
        cls.start()

    @classmethod
    def start(cls):
        cls.site.service()
        cls.site.kubernetes()

    def setUp(self):
        began = time.monotonic()
        self.addCleanup(lambda: print(f"{time.monotonic() - began:.1f} s", end=" ", file=sys.stderr))

    def run_workflow(self, spec, status, seconds=180, pool="kube"):
        """Submit and wait; returns the name."""
        name = self.site.submit(spec, pool)
        self.check(name, status, seconds)
        return name

    def check(self, name, status, seconds=180):
        answer = self.site.ended(name, seconds)
        if answer["status"] != status:
            self.fail(f"{name} is {answer['status']}, not {status}: {answer['failure_message']}\n"
                      f"{self.site.logs(name)[-3000:]}\n{self.site.state()}")

    def example(self, word):
        return f"{osmo_site.SOURCE}/examples/{word}.yaml"

    def pods(self, name):
        """The pods of a workflow that are still there."""
        path = f"/api/v1/namespaces/{osmo_site.WORKFLOWS}/pods?labelSelector=osmo.workflow_id%3D{name}"
        return self.cluster.api.must("GET", path)["items"]

    def settled(self, name):
        """The node has seen that all containers run. The kubelet of this release loses two minutes with a pod that is deleted before."""
        self.site.wait(lambda: all(any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"]["conditions"])
                                   for p in self.pods(name)), "its pods are ready")
        time.sleep(2)

    def leftovers(self):
        """Objects of workflows, by kind."""
        found = []
        for kind in ("pods", "secrets", "services", "configmaps"):
            path = f"/api/v1/namespaces/{osmo_site.WORKFLOWS}/{kind}?labelSelector=osmo.workflow_uuid"
            found += [f"{kind}/{o['metadata']['name']}" for o in self.cluster.api.must("GET", path)["items"]]
        return found

    def check_gone(self, seconds=60):
        self.cluster.wait_for(lambda: not self.leftovers(), "nothing of the workflows is left in the cluster", seconds)


def one_task(name, script, more=""):
    """A workflow of one task that runs a shell script; more: lines of the task."""
    indented = "".join(f"      {line}\n" for line in script.splitlines())
    return f"""workflow:
  name: {name}
  tasks:
  - name: only
    image: debian:12
    command: [sh, -c]
    args:
    - |
{indented}{more}"""
