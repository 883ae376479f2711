#!/usr/bin/python3
"""One service with two backends at once: the cluster behind its firewall, and the machine of the service."""
import json
import signal
import subprocess
import unittest

import osmo_site
import workflow_case
from workflow_case import one_task

KUBE, LOCAL = "my-cluster", "default"


class Backends(workflow_case.Workflows):
    @classmethod
    def start(cls):
        cls.site.service(from_file=False)  # what comes from a file cannot be deleted
        cls.operator_config = cls.site.operator_config("osmo-scheduler", "node-labels")
        cls.site.kubernetes(KUBE, cls.operator_config)
        cls.site.local(LOCAL)
        cls.site.wait(lambda: cls.online(KUBE) and cls.online(LOCAL), "both backends are online")

    @classmethod
    def backends(cls):
        return {b["name"]: b for b in json.loads(cls.site.osmo("backend", "list", "-t", "json"))["backends"]}

    @classmethod
    def online(cls, name):
        return cls.backends().get(name, {}).get("online", False)

    def hello(self, pool):
        return self.site.submit(self.example("hello_world"), pool)

    def from_outside(self, address, ports):
        """The ports to which a connection comes about."""
        tries = {port: subprocess.Popen([*self.site.outside, "timeout", "3", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{port}"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
                 for port in ports}
        return [port for port, child in tries.items() if child.wait() == 0]

    def test_both(self):
        names = [self.hello(pool) for pool in ("kube", "default", "kube", "default")]
        for name in names:
            self.check(name, "COMPLETED")
        nodes = {self.site.tasks(n)["greet"]["node_name"] for n in names}
        self.assertEqual(len(nodes), 2)

    def test_nobody_comes_in(self):
        """The service reaches nothing on the cluster's side, on which workflows run all the same."""
        self.assertEqual(self.from_outside(osmo_site.SERVICE, [osmo_site.PORT]), [osmo_site.PORT])
        listening = subprocess.run(["ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
        ports = {line.split()[3].rsplit(":", 1)[1] for line in listening.splitlines()}
        self.assertIn("6443", ports)
        self.assertEqual(self.from_outside(osmo_site.GATEWAY, ports), [])
        self.check(self.hello("kube"), "COMPLETED")

    def stopped_one(self, stopped, pool, other_pool):
        """While one does nothing the other goes on; afterwards the first does what was left."""
        program = self.site.programs["backend-" + stopped]
        program.send(signal.SIGSTOP)
        try:
            waiting = self.hello(pool)
            for name in [self.hello(other_pool) for _ in range(4)]:
                self.check(name, "COMPLETED")
            self.assertIn(self.site.query(waiting)["status"], ("PENDING", "WAITING", "PROCESSING", "SCHEDULING"))
        finally:
            program.send(signal.SIGCONT)
        self.check(waiting, "COMPLETED")

    def test_cluster_stopped(self):
        self.stopped_one(KUBE, "kube", "default")

    def test_machine_stopped(self):
        self.stopped_one(LOCAL, "default", "kube")

    def test_removed_and_added(self):
        """Not while there is work; the cluster is empty then, and comes back as if it were new."""
        busy = self.site.submit(one_task("busy", "sleep 600"))
        self.site.running(busy)
        self.settled(busy)
        self.site.osmo("backend", "delete", KUBE, code=2)
        self.site.osmo("workflow", "cancel", busy)
        self.check(busy, "FAILED_CANCELED")
        self.check_gone()
        self.site.programs["backend-" + KUBE].stop()
        self.site.osmo("backend", "delete", KUBE)
        self.assertNotIn(KUBE, self.backends())
        self.check(self.hello("default"), "COMPLETED")
        self.site.kubernetes(KUBE, self.operator_config)
        self.site.wait(lambda: self.online(KUBE), "it is there again")
        self.check(self.hello("kube"), "COMPLETED")


if __name__ == "__main__":
    unittest.main(verbosity=2)
