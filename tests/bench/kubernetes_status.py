"""From a pod that runs to a task that is RUNNING, through everything: the API server, osmo-backend, osmo-service with its SQLite store,
and a follower of the workflow. For tests/bench/kubernetes.py, inside of the network of the cluster. The nodes have no kubelets: what these
would write is written here, one pod after another.

    pushed   as many workflows of one task; each has a follower of its status (what `osmo workflow wait` does), who is told at once
    polled   one workflow of as many tasks; the task is asked for again and again, so each time is late by up to one round of asking
    stored   the start time that the service keeps for the task: when it decided, before the commit

All times are of one clock, the machine's."""
import datetime
import http.client
import json
import os
import queue
import selectors
import socket
import sys
import threading
import time

import client
import osmo_site

PER_SECOND = 20
WAIT_S = 120
PAUSE_S = 0.001  # between two questions for the same task: without it, asking would be a third of the machine's work
PODS = f"/api/v1/namespaces/{osmo_site.WORKFLOWS}/pods"


class Kubelets:
    """Those of all nodes, over one connection."""

    def __init__(self, cluster):
        self.cluster, self.api = cluster, cluster.api
        self.headers = {"Content-Type": client.STRATEGIC, "Accept": "application/json", "Authorization": "Bearer " + self.api.token}
        self.connection = http.client.HTTPSConnection(self.api.url.hostname, self.api.url.port, context=self.api.context, timeout=30)

    def pods(self, workflows, number):
        """All pods of the workflows, when they are there and have nodes."""
        def bound():
            found = [p for p in self.api.must("GET", PODS + "?labelSelector=osmo.workflow_id")["items"]
                     if p["metadata"]["labels"]["osmo.workflow_id"] in workflows and p["spec"].get("nodeName")]
            return found if len(found) == number else None
        return self.cluster.wait_for(bound, f"{number} pods have nodes", WAIT_S)

    @staticmethod
    def status(pod, runs):
        """What a kubelet writes when the init containers begin, and when all containers run."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        begun, not_begun = {"running": {"startedAt": now}}, {"waiting": {"reason": "PodInitializing"}}
        over = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}}

        def states(kind, state):
            return [{"name": c["name"], "image": c["image"], "imageID": c["image"], "ready": runs, "restartCount": 0, "state": state}
                    for c in pod["spec"].get(kind, [])]
        conditions = [{"type": kind, "status": str(runs), "lastTransitionTime": now}
                      for kind in ("Initialized", "ContainersReady", "Ready")]
        return json.dumps({"status": {"phase": "Running" if runs else "Pending", "startTime": now, "podIP": "10.1.2.3",
                                      "conditions": conditions, "containerStatuses": states("containers", begun if runs else not_begun),
                                      "initContainerStatuses": states("initContainers", over if runs else not_begun)}})

    def write(self, pod, runs):
        """When it was sent, and when it was answered."""
        path, text = f"{PODS}/{pod['metadata']['name']}/status", self.status(pod, runs)
        since = time.time()
        self.connection.request("PATCH", path, text, self.headers)
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"PATCH {path}: {answer.status} {body[:300]}")
        return since, time.time()


class Service:
    """As a user's programs see it."""

    def __init__(self, site):
        with open(os.path.join(site.work, "config", "login.yaml"), encoding="utf-8") as f:
            token = next(line.split(":", 1)[1].strip().strip("\"'") for line in f if line.strip().startswith("id_token:"))
        self.headers = {"Authorization": "Bearer " + token, "Accept": "application/json"}
        self.connection = self.connect()

    @staticmethod
    def connect():
        return http.client.HTTPConnection(osmo_site.SERVICE, osmo_site.PORT, timeout=60)

    def get(self, path):
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {body}")
        return body

    def tasks(self, workflow):
        return [task for group in self.get(f"/api/workflow/{workflow}")["groups"] for task in group["tasks"]]


class Followers:
    """A stream for each workflow, all read by one thread. told: workflow -> when its line came."""

    def __init__(self, service, workflows):
        self.told, self.selector, self.expected = {}, selectors.DefaultSelector(), len(workflows)
        head = "".join(f"{k}: {v}\r\n" for k, v in service.headers.items())
        for workflow in workflows:
            s = socket.create_connection((osmo_site.SERVICE, osmo_site.PORT), 60)
            s.sendall(f"GET /api/workflow/{workflow}/watch HTTP/1.1\r\nHost: {osmo_site.SERVICE}\r\n{head}\r\n".encode())
            text = s.recv(65536)
            while b'"status"' not in text:
                more = s.recv(65536)
                if not more or not text.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"following {workflow}: {text[:300]}")
                text += more
            self.selector.register(s, selectors.EVENT_READ, workflow)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def sent(self, pod):
        """Nothing to do: they are told."""

    def read(self):
        until = time.monotonic() + WAIT_S
        while len(self.told) < self.expected and time.monotonic() < until:
            for key, _ in self.selector.select(1):
                text, now = key.fileobj.recv(65536), time.time()
                if b'"RUNNING"' in text:
                    self.told[key.data] = now
                if not text or b'"RUNNING"' in text:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()

    def wait(self):
        self.thread.join()

    def of(self, pod):
        return self.told[pod["metadata"]["labels"]["osmo.workflow_id"]]


class Asker:
    """Asks for the oldest task that is not RUNNING yet, over one connection. told: task -> when the answer said so."""

    def __init__(self, site, workflow):
        self.service, self.workflow, self.told, self.rounds = Service(site), workflow, {}, []
        self.waiting = queue.Queue()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def sent(self, pod):
        self.waiting.put(pod["metadata"]["labels"]["osmo.task_name"])

    def read(self):
        for task in iter(self.waiting.get, None):
            path, until = f"/api/workflow/{self.workflow}/task/{task}", time.monotonic() + WAIT_S
            before = None
            while task not in self.told and time.monotonic() < until:
                status, now = self.service.get(path)["status"], time.time()
                if before:
                    self.rounds.append(now - before)
                before = now
                if status == "RUNNING":
                    self.told[task] = now
                else:
                    time.sleep(PAUSE_S)

    def wait(self):
        self.waiting.put(None)
        self.thread.join()

    def of(self, pod):
        return self.told[pod["metadata"]["labels"]["osmo.task_name"]]


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


def row(what, values, row_of):
    row_of(f"{what}, p50 / p99, n {len(values)}", f"{percentile(values, 0.5):.1f} / {percentile(values, 0.99):.1f} ms")


def spec(name, number):
    tasks = "".join(f"  - {{name: t{i}, image: debian, command: [sleep, '3600']}}\n" for i in range(number))
    return f"workflow:\n  name: {name}\n  tasks:\n{tasks}"


def seconds_of(text):
    """Of a time of the service: UTC, with microseconds."""
    moment = datetime.datetime.fromisoformat(text.rstrip("Z"))
    return moment.replace(tzinfo=moment.tzinfo or datetime.timezone.utc).timestamp()


def measure(site, kubelets, how, workflows, pods, row_of):
    """Lets the pods run one after another."""
    service = Service(site)
    for pod in pods:
        kubelets.write(pod, False)
    site.wait(lambda: all(t["status"] == "INITIALIZING" for w in workflows for t in service.tasks(w)), "all tasks initialize", WAIT_S)
    follower = Followers(service, workflows) if how == "pushed" else Asker(site, workflows[0])
    times, due = [], time.monotonic()
    for pod in pods:
        time.sleep(max(0, due - time.monotonic()))
        due += 1 / PER_SECOND
        follower.sent(pod)
        times.append(kubelets.write(pod, True))
    follower.wait()
    if len(follower.told) < len(pods):
        missing = len(pods) - len(follower.told)
        raise RuntimeError(f"{missing} of {len(pods)} tasks are not told to be RUNNING within {WAIT_S} s\n{site.state()}")
    started = {(w, t["name"]): t["start_time"] for w in workflows for t in service.tasks(w)}
    labels = [p["metadata"]["labels"] for p in pods]
    stored = [seconds_of(started[label["osmo.workflow_id"], label["osmo.task_name"]]) for label in labels]
    what = "task RUNNING, workflows of 1 task, a follower is told" if how == "pushed" else "task RUNNING, one workflow, its task asked for"
    row("pod Running sent to the API -> " + what, [follower.of(p) - t[0] for p, t in zip(pods, times)], row_of)
    row("  from the API server's answer", [follower.of(p) - t[1] for p, t in zip(pods, times)], row_of)
    row("  until the start time that is stored (decided, not committed)", [s - t[0] for s, t in zip(stored, times)], row_of)
    row("  the API server's own part: sent -> answered", [t[1] - t[0] for t in times], row_of)
    if how == "polled":
        row("  resolution: between two answers for the same task", follower.rounds, row_of)


def bench(cluster, number, row_of):
    """row_of(figure, measured) prints a row."""
    sys.setswitchinterval(0.0005)  # the thread that is told must not wait for the other one
    site = osmo_site.Site(cluster, with_images=False)
    try:
        site.service()
        site.kubernetes()
        site.wait(lambda: "ONLINE" in site.osmo("backend", "list"), "the backend is online", WAIT_S, site.programs["backend-my-cluster"])
        kubelets = Kubelets(cluster)
        for how, each, count in (("pushed", 1, number), ("polled", number, 1)):
            workflows = [site.submit(spec(f"{how}-{i}", each)) for i in range(count)]
            measure(site, kubelets, how, workflows, kubelets.pods(set(workflows), number), row_of)
    finally:
        site.close()
