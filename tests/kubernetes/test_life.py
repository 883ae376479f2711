#!/usr/bin/python3
"""The life of operators: two replicas of which one works, whatever ends the one that does; and tests of nodes by a real DaemonSet."""
import http.client
import json
import os
import signal
import subprocess
import unittest

import osmo_site
import workflow_case
from workflow_case import one_task

NAME = "my-cluster"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{osmo_site.OPERATOR_NAMESPACE}/leases/osmo-backend-{NAME}"
PORTS = {"first": 9471, "second": 9472}
TESTS = f"namespaces/{osmo_site.NODE_TESTS}"
CONDITION = "osmo.nvidia.com/"

NODE_TESTS = """backend_tests:
  resources:
    description: what a node has
    cron_schedule: '0 0 1 1 *'
    test_timeout: 2m
    node_conditions: [MemoryLessThanTotal, GpuIncorrectMode]
    common_pod_template: [node-test]
  silent:
    description: whose pods tell nothing
    cron_schedule: '0 0 1 1 *'
    test_timeout: 30s
    node_conditions: [NobodyTellsIt]
    common_pod_template: [node-test-silent]
"""
POD_TEMPLATES = """  node-test: &node-test
    spec:
      automountServiceAccountToken: true
      containers:
      - name: test
        image: '{registry}/osmo/backend:test'
        command: [/usr/libexec/osmo/osmo-node-test, resource, --gpu_count=0, --nic_count=0, --memory=1Mi, --storage=1Ki, --max_retries=0]
        env:
        - name: OSMO_NODE_NAME
          valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}
        - {{name: OSMO_NODE_CONDITION_PREFIX, value: osmo.nvidia.com/}}
  node-test-silent:
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {{name: test, image: '{registry}/local/busybox:1', command: [sleep, '3600']}}
"""


class Life(workflow_case.Workflows):
    @classmethod
    def start(cls):
        registry = cls.cluster.registry
        config = osmo_site.CONFIG.format(registry=registry, workflows=osmo_site.WORKFLOWS)
        config = config.replace("description: the cluster,", "description: the cluster, tests: [resources, silent],")
        with open(os.path.join(cls.site.work, "osmo.yaml"), "w", encoding="utf-8") as file:
            file.write(config + POD_TEMPLATES.format(registry=registry) + NODE_TESTS)
        cls.site.service()
        cls.kubeconfig = cls.site.operator_config("osmo-scheduler", "node-labels", "node-tests")
        cls.addClassCleanup(osmo_site.no_rights, cls.cluster)
        cls.cluster.api.must("DELETE", LEASE, accept=(404,))
        for name in PORTS:
            cls.replica(name)

    @classmethod
    def replica(cls, name):
        cls.site.add(name, [
            os.path.join(osmo_site.BUILD, "osmo-backend"), "--service", cls.site.url, "--name", NAME, "--cluster", "kubernetes",
            "--namespace", osmo_site.WORKFLOWS, "--kubeconfig", cls.kubeconfig, "--token-file", cls.site.token_file,
            "--lease", f"osmo-backend-{NAME}", "--agent-namespace", osmo_site.OPERATOR_NAMESPACE,
            "--health-listen", f"127.0.0.1:{PORTS[name]}", "--enable-node-label-update", "--test-image", f"{cls.cluster.registry}/osmo/backend:test"],
            False, {"POD_NAME": name})

    @staticmethod
    def ask(name, path):
        connection = http.client.HTTPConnection("127.0.0.1", PORTS[name], timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError as e:
            return 0, str(e)
        finally:
            connection.close()

    def works(self, name):
        """Whether the replica is connected to the service."""
        status, text = self.ask(name, "/readyz")
        return status == 200 and text.startswith("connected")

    def stands_by(self, name):
        status, text = self.ask(name, "/readyz")
        return status == 200 and "stands by" in text

    def roles(self):
        """(the one that works, the one that stands by), when it is so."""
        for one, other in (("first", "second"), ("second", "first")):
            if self.works(one) and self.stands_by(other):
                return one, other
        return None

    def settled(self):
        return self.site.wait(self.roles, "one replica works and the other stands by", 90)

    def holder(self):
        return self.cluster.api.must("GET", LEASE)["spec"]["holderIdentity"]

    # Replicas

    def test_one_works(self):
        one, other = self.settled()
        self.assertTrue(self.holder().startswith(one + "_"))
        self.assertIn(f"stands by: {self.holder()} holds the lease", self.ask(other, "/readyz")[1])
        self.assertEqual(self.ask(one, "/healthz"), (200, "ok\n"))
        self.assertEqual(self.ask(other, "/healthz"), (200, "ok\n"))
        self.check(self.site.submit(one_task("counted", "true")), "COMPLETED")
        metrics = self.ask(one, "/metrics")[1]
        for word in ("kb_event_watch_count{event_type=\"node\"", "backend_listener_queue_length{queue_type=\"pod_send_queue\"",
                     "backend_job_execution_time_count{job_type=\"CreateGroup\""):
            self.assertIn(word, metrics)
        self.assertIn("osmo_backend_ready 0", self.ask(other, "/metrics")[1])
        # what the cluster says of itself goes to the service with the heartbeats
        self.site.wait(lambda: "placed by osmo-backend" in self.site.osmo("backend", "show", NAME), "the service knows how it works", 60)

    def test_killed(self):
        """Its lease ends by itself; what it had begun is done by the other one."""
        one, other = self.settled()
        name = self.site.submit(one_task("killed", "echo begun; sleep 5; echo ended"))
        self.site.running(name)
        self.site.programs[one].stop(signal.SIGKILL)
        queued = self.site.submit(one_task("queued", "true")) # nobody is there to begin it
        self.site.wait(lambda: self.works(other), "the other replica works", 90)
        self.assertTrue(self.holder().startswith(other + "_"))
        self.check(name, "COMPLETED")
        self.check(queued, "COMPLETED")
        self.replica(one)
        self.assertEqual(self.settled(), (other, one))
        self.check_gone()

    def test_handover(self):
        """The lease is given back, so nobody waits for its end."""
        one, other = self.settled()
        before = self.cluster.api.must("GET", LEASE)["spec"]["leaseTransitions"]
        name = self.site.submit(one_task("handover", "echo begun; sleep 5; echo ended"))
        self.site.running(name)
        self.assertEqual(self.site.programs[one].stop(), 0)
        self.site.wait(lambda: self.works(other), "the other replica works", 30)
        self.assertEqual(self.cluster.api.must("GET", LEASE)["spec"]["leaseTransitions"], before + 1)
        self.check(name, "COMPLETED")
        self.replica(one)
        self.settled()

    def test_paused(self):
        """One that slept too long finds that it has the lease no more, and stands by, as the process that it was."""
        one, other = self.settled()
        program = self.site.programs[one]
        program.send(signal.SIGSTOP)
        self.site.wait(lambda: self.works(other), "the other replica works", 90)
        program.send(signal.SIGCONT)
        self.assertEqual(self.settled(), (other, one))
        self.assertIsNone(program.child.poll())
        self.check(self.site.submit(self.example("hello_world"), "kube"), "COMPLETED")

    def test_api_server_away(self):
        """Nobody can know who has the lease: nobody works until the API server answers again."""
        one, other = self.settled()
        self.cluster.pause("apiserver")
        try:
            self.site.wait(lambda: not self.works(one) and not self.works(other), "nobody works", 60)
            for name in PORTS:
                self.site.wait(lambda n=name: "cannot be had" in self.ask(n, "/readyz")[1], f"{name} says why it stands by", 30)
                self.assertTrue(self.stands_by(name))
                self.assertEqual(self.ask(name, "/healthz")[0], 200)
        finally:
            self.cluster.resume("apiserver")
        self.settled()
        self.check(self.site.submit(self.example("hello_world"), "kube"), "COMPLETED")

    # What the cluster refuses

    def test_quota(self):
        """The words of the API server reach the user, and what could be made before goes again."""
        path = f"/api/v1/namespaces/{osmo_site.WORKFLOWS}/resourcequotas"
        self.settled()
        self.cluster.api.must("POST", path, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
        self.addCleanup(self.cluster.api.must, "DELETE", path + "/none")
        self.cluster.wait_for(lambda: "pods" in self.cluster.api.must("GET", path + "/none").get("status", {}).get("hard", {}),
                              "the quota counts", 60)
        answer = self.site.ended(self.site.submit(one_task("quota", "true")))
        self.assertEqual(answer["status"], "FAILED_SERVER_ERROR")
        message = json.dumps(answer)
        self.assertIn("exceeded quota: none", message)
        self.assertIn("creating Pod", message)
        self.check_gone()

    def test_node_labels(self):
        self.settled()
        self.cluster.wait_for(lambda: self.cluster.api.must("GET", "/api/v1/nodes/node-1")["metadata"]["labels"].get(CONDITION + "verified")
                              == "True", "the node is labelled", 60)

    # Tests of nodes

    def run_test(self, name):
        """Begin it now; returns the status of its job."""
        api = self.cluster.api

        def cron_job():
            for version in ("v1", "v1beta1"):
                status, answer = api.request("GET", f"/apis/batch/{version}/{TESTS}/cronjobs/{name}")
                if status == 200:
                    return answer
            return None
        cron = self.site.wait(cron_job, f"there is a CronJob {name}", 60)
        job = f"/apis/batch/v1/{TESTS}/jobs"
        api.must("DELETE", f"{job}/{name}-now?propagationPolicy=Background", accept=(404,))
        api.must("POST", job, {"metadata": {"name": f"{name}-now"}, "spec": cron["spec"]["jobTemplate"]["spec"]})

        def ended():
            status = api.must("GET", f"{job}/{name}-now").get("status", {})
            return status if status.get("succeeded") or status.get("failed") else None
        answer = self.site.wait(ended, f"the test {name} ends", 180)
        self.addCleanup(api.must, "DELETE", f"{job}/{name}-now?propagationPolicy=Background", accept=(404,))
        return answer

    def conditions(self):
        node = self.cluster.api.must("GET", "/api/v1/nodes/node-1")
        return {c["type"]: c for c in node["status"]["conditions"] if c["type"].startswith(CONDITION)}

    def check_no_daemon_sets(self):
        path = f"/apis/apps/v1/{TESTS}/daemonsets"
        self.cluster.wait_for(lambda: not self.cluster.api.must("GET", path)["items"], "the DaemonSet is gone", 60)

    def test_nodes(self):
        self.settled()
        self.assertEqual(self.run_test("resources").get("succeeded"), 1)
        found = self.conditions()
        self.assertEqual(found[CONDITION + "MemoryLessThanTotal"]["status"], "False")
        self.assertEqual(found[CONDITION + "GpuIncorrectMode"]["status"], "True") # it has no GPU
        self.assertEqual(found[CONDITION + "GpuIncorrectMode"]["reason"], "LabelDiffers")
        self.check_no_daemon_sets()

    def test_nodes_that_tell_nothing(self):
        self.settled()
        self.assertEqual(self.run_test("silent").get("failed"), 1)
        found = self.conditions()[CONDITION + "NobodyTellsIt"]
        self.assertEqual((found["status"], found["reason"]), ("Unknown", "DaemonSetTimeout"))
        self.check_no_daemon_sets()

    def validate(self, mode, *options, code=0, config=None):
        """Run a validator from here."""
        if config is not None:
            path = os.path.join(self.site.work, mode + ".yaml")
            with open(path, "w", encoding="utf-8") as file:
                file.write(config)
            options += ("--config_file", path)
        done = subprocess.run([os.path.join(osmo_site.BUILD, "osmo-node-test"), mode, "--kubeconfig",
                               os.path.join(self.cluster.directory, "admin.kubeconfig"), "--node-name", "node-1",
                               "--node_condition_prefix", CONDITION, "--max_retries", "0", "--exit_after_validation", *options],
                              capture_output=True, text=True, timeout=120, env=self.site.environment)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def told(self, name):
        condition = self.conditions()[CONDITION + name]
        return condition["status"], condition["reason"]

    def test_resource(self):
        small = ("--gpu_count=0", "--nic_count=0", "--memory=1Mi", "--storage=1Ki")
        self.validate("resource", *small)
        self.assertEqual(self.told("MemoryLessThanTotal"), ("False", "EnoughAllocatable"))
        since = self.conditions()[CONDITION + "MemoryLessThanTotal"]["lastTransitionTime"]
        self.assertIn("Ready", [c["type"] for c in self.cluster.api.must("GET", "/api/v1/nodes/node-1")["status"]["conditions"]])
        self.validate("resource", *small)
        self.assertEqual(self.conditions()[CONDITION + "MemoryLessThanTotal"]["lastTransitionTime"], since)
        self.validate("resource", "--memory", "1000Ti", "--memory_condition_name", "Forgetful")
        self.assertEqual(self.told("Forgetful"), ("True", "LessAllocatable"))
        self.assertEqual(self.told("GpuLessThanTotal")[0], "True")
        self.assertIn("is no quantity", self.validate("resource", "--memory", "much", code=2))
        self.assertIn("nodes \"nowhere\" not found", self.validate("resource", "--node_name", "nowhere", code=1))
        self.assertIn("must end in osmo.nvidia.com/", self.validate("resource", "--node_condition_prefix", "x/", code=2))

    def test_connection(self):
        registry = f"http://{self.cluster.registry}/v2/"
        self.validate("connection", config=f"- url: {registry}\n- {{url: 'http://127.0.0.1:9/', timeout: 2, condition_name: Nothing}}\n")
        self.assertEqual(self.told("ServiceConnectionTestFailure"), ("False", "AllReachable"))
        self.assertEqual(self.told("Nothing"), ("True", "NotReachable"))
        self.validate("connection", config=f"- {{url: '{registry}', expected_status_code: 418}}\n")
        self.assertEqual(self.told("ServiceConnectionTestFailure"), ("True", "NotReachable"))
        self.assertIn("entry 1 has no url", self.validate("connection", config="- {}\n", code=2))

    def test_lfs(self):
        pod = ("--namespace", osmo_site.NODE_TESTS, "--image", self.cluster.busybox)
        self.validate("lfs", *pod, config="- {emptyDir: {}, mountPath: /mnt/scratch}\n")
        self.assertEqual(self.told("LFSMountFailure"), ("False", "Mounted"))
        self.validate("lfs", *pod, "--timeout_seconds", "3", config="- {persistentVolumeClaim: {claimName: none}, mountPath: /mnt/none}\n")
        self.assertEqual(self.told("LFSMountFailure"), ("True", "NotMounted"))
        path = f"/api/v1/{TESTS}/pods/lfs-test-node-1"
        self.cluster.wait_for(lambda: self.cluster.api.request("GET", path)[0] == 404, "the pod of the test is gone", 60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
