#!/usr/bin/python3
"""Workflows on a real cluster behind a firewall: how they run, how they end, and that they say why."""
import time
import unittest

import osmo_site
import workflow_case
from workflow_case import one_task


class Runs(workflow_case.Workflows):
    """Everything that a user sees of workflows that work."""

    def test_hello_world(self):
        name = self.run_workflow(self.example("hello_world"), "COMPLETED")
        self.assertIn(f"Hello from {name}", self.site.logs(name))
        task = self.site.tasks(name)["greet"]
        self.assertEqual((task["exit_code"], task["node_name"]), (0, self.cluster.node))

    def test_serial(self):
        """Data goes from task to task, through the service."""
        name = self.run_workflow(self.example("serial"), "COMPLETED")
        self.assertIn("sum of squares: 55", self.site.logs(name))

    def test_parallel(self):
        name = self.run_workflow(self.example("parallel"), "COMPLETED")
        text = self.site.logs(name)
        for word in ("red", "green", "blue"):
            self.assertIn(f"{word} ends", text)

    def test_group(self):
        name = self.run_workflow(self.example("group"), "COMPLETED")
        self.assertIn("the captain is done", self.site.logs(name))

    def test_group_communication(self):
        """Tasks of a group know each other's address by name."""
        name = self.run_workflow(self.example("group_communication"), "COMPLETED")
        text = self.site.logs(name)
        self.assertIn("server: received client", text)
        self.assertIn("client: server says: welcome, client", text)

    def test_combination(self):
        self.run_workflow(self.example("combination_complex"), "COMPLETED", 240)

    def test_tokens(self):
        self.run_workflow(self.example("tokens"), "COMPLETED")

    def test_private_image(self):
        """A registry credential becomes a pull secret."""
        repository = f"{self.cluster.registry}/private/debian:12"
        spec = one_task("private", "echo came in").replace("debian:12", repository)
        self.site.osmo("credential", "set", "ours", "--type", "REGISTRY", "--payload", f"registry={self.cluster.registry}",
                       "username=puller", "auth=registry-password")
        name = self.run_workflow(spec, "COMPLETED")
        self.assertIn("came in", self.site.logs(name))


class Ends(workflow_case.Workflows):
    """Failures have their true cause."""

    def ends(self, spec, status, task_status, *texts, task="only", seconds=180):
        """Runs it; its task ended so, with these texts in the message. Returns the task."""
        name = self.run_workflow(spec, status, seconds)
        found = self.site.tasks(name)[task]
        self.assertEqual(found["status"], task_status, found)
        for text in texts:
            self.assertIn(text, found["failure_message"] or "")
        return found

    def test_exit_actions(self):
        name = self.run_workflow(self.example("failing"), "FAILED")
        tasks = self.site.tasks(name)
        self.assertEqual((tasks["broken"]["status"], tasks["broken"]["exit_code"]), ("FAILED", 3))
        self.assertEqual(tasks["needs-broken"]["status"], "FAILED_UPSTREAM")
        self.assertEqual(tasks["independent"]["status"], "COMPLETED")

    def test_reschedule(self):
        """A new pod for each attempt."""
        name = self.run_workflow(one_task("again", 'echo "attempt $ATTEMPT"; test "$ATTEMPT" -ge 1 || exit 9',
                                          "    exitActions: {RESCHEDULE: '9'}\n"), "COMPLETED")
        text = self.site.logs(name)
        self.assertIn("attempt 0", text)
        self.assertIn("attempt 1", text)
        self.assertEqual(self.site.tasks(name)["only"]["retry_id"], 1)

    def test_image_pull(self):
        image = f"{self.cluster.registry}/no/such:1"
        self.ends(one_task("pull", "true").replace("debian:12", image), "FAILED", "FAILED_IMAGE_PULL", image)

    def test_out_of_memory(self):
        task = self.ends(one_task("hungry", "perl -e '$x = \"a\" x (1 << 20); push @l, $x . $_ for 1 .. 4096'"), "FAILED_EVICTED",
                         "FAILED_EVICTED", "OOM")
        self.assertEqual(task["exit_code"], 3004)

    def test_exec_timeout(self):
        spec = one_task("slow", "sleep 600").replace("  tasks:", "  timeout: {exec_timeout: 8s}\n  tasks:")
        name = self.run_workflow(spec, "FAILED_EXEC_TIMEOUT")
        self.site.wait(lambda: not self.pods(name), "its pod is gone")

    def test_cancel(self):
        name = self.site.submit(one_task("cancelled", "echo begun; sleep 600"))
        self.site.wait(lambda: self.site.logged(name, "begun"), "it runs")
        self.settled(name)
        self.site.osmo("workflow", "cancel", name)
        self.check(name, "FAILED_CANCELED")
        self.site.wait(lambda: not self.pods(name), "its pod is gone")

    def test_start_error(self):
        """A command that is not in the image."""
        spec = one_task("nothing", "true").replace("[sh, -c]", "[/no/such/program]")
        name = self.run_workflow(spec, "FAILED")
        self.assertNotEqual(self.site.tasks(name)["only"]["exit_code"], 0)
        self.assertIn("/no/such/program", self.site.logs(name) + str(self.site.tasks(name)))

    def test_drain(self):
        """A node is drained: tasks on it end with that cause, and run again elsewhere when they may."""
        c, node = self.cluster, self.cluster.node
        name = self.site.submit(one_task("drained", 'echo "attempt $ATTEMPT"; test "$ATTEMPT" -ge 1 || sleep 600',
                                         "    exitActions: {RESCHEDULE: '3001,3004'}\n"))
        self.site.wait(lambda: self.site.logged(name, "attempt 0"), "it runs")
        self.settled(name)
        c.api.must("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, "application/merge-patch+json")
        try:
            for pod in self.pods(name):
                path = f"/api/v1/namespaces/{osmo_site.WORKFLOWS}/pods/{pod['metadata']['name']}/eviction"
                c.api.must("POST", path, {"apiVersion": "policy/v1beta1", "kind": "Eviction",
                                          "metadata": {"name": pod["metadata"]["name"], "namespace": osmo_site.WORKFLOWS},
                                          "deleteOptions": {"gracePeriodSeconds": 2}})
            self.site.wait(lambda: self.site.tasks(name)["only"]["retry_id"] == 1, "a second attempt", 90)
            first = next(t for g in self.site.query(name)["groups"] for t in g["tasks"] if t["retry_id"] == 0)
            self.assertIn("drain", first["failure_message"])
            self.site.wait(lambda: "True" not in self.site.osmo("resource", "list", "--pool", "kube"), "the node is not offered", 30)
        finally:
            c.api.must("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}, "application/merge-patch+json")
        self.check(name, "COMPLETED", 180)

    def test_nothing_left(self):
        began = time.monotonic()
        self.check_gone()
        print(f"everything was cleaned up {time.monotonic() - began:.1f} s later")


if __name__ == "__main__":
    unittest.main(verbosity=2)
