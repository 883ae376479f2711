#!/usr/bin/env python3
"""The chaos test: workflows of many kinds run while services, backends and database connections are killed at random
moments; afterwards everything has to have come to an end that the model allows. `chaos.py --help` tells the rest."""
import argparse
import heapq
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

import checks
from actors import Backend, Balancer, Broken, Client, Postgres, Service, Sqlite
from shapes import POOL_ACTIONS, RETRIES, Workflow

# What there is, what is killed and how often of a hundred, seconds between two kills at most, submissions a second. Scripted
# pods (of tests/chaos/cluster.c) are many and quick, real ones are processes with logs and data. "lost": with its disk.
REPLICAS = {"replica-0": 22, "replica-1": 20, "replica-2": 20, "replica-1-lost": 10, "replica-0-term": 6}
MODES = {
    "sqlite": dict(weights={"service": 50, "service-term": 10, "backend": 28, "both": 12}, gap=1.6, rate=6.0),
    "pgsql": dict(weights={"service": 36, "service-term": 8, "backend": 24, "both": 8, "connections": 18, "database": 6},
                  gap=1.6, rate=6.0, pgsql=True),
    "replicas": dict(weights={**REPLICAS, "backend": 12, "connections": 8, "database": 2}, gap=1.8, rate=6.0, pgsql=True,
                     replicas=3),
    "wiped": dict(weights={"service": 30, "backend": 20, "both": 10, "cluster": 40}, gap=2.5, rate=4.0, wiped=True),
    "local": dict(weights={"service": 50, "service-term": 10, "backend": 30, "both": 10}, gap=3.0, rate=1.0, real=True),
    "local-replicas": dict(weights={**REPLICAS, "backend": 22}, gap=3.0, rate=1.0, real=True, pgsql=True, replicas=3),
}

CONFIG = """
workflow: {max_retry_per_task: %d, workflow_log: {credential: {endpoint: 'file://%s'}}}
pod_templates:
  ctrl: {spec: {containers: [{name: osmo-ctrl, resources: {requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 16Mi}}}]}}
  user:
    spec:
      containers:
      - name: "{{USER_CONTAINER_NAME}}"
        env: [{name: ATTEMPT, value: "{{WF_RETRY_ID}}"}, {name: WORKFLOW, value: "{{WF_ID}}"}]
        resources: {requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 16Mi}}
        %s
      %s
pools:
  default:
    backend: default
    default_platform: cpu
    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 64Mi, USER_STORAGE: 64Mi}
    common_pod_template: [ctrl, user]
    platforms: {cpu: {description: plain}}
    default_exit_actions: {%s}
backends:
  default: {k8s_namespace: default}
"""


class Env:
    """Everything of one run."""

    def __init__(self, args):
        self.top, self.bin, self.mode, self.seed = args.top, args.bin, args.mode, args.seed
        self.kind = MODES[args.mode]
        self.real, self.wiped = self.kind.get("real", False), self.kind.get("wiped", False)
        self.work = tempfile.mkdtemp(prefix="osmo-chaos.")
        os.chmod(self.work, 0o711)
        self.shared, self.archive = os.path.join(self.work, "shared"), os.path.join(self.work, "archive")
        os.mkdir(self.shared)
        os.close(os.open(os.path.join(self.shared, "starts"), os.O_CREAT | os.O_WRONLY))
        os.chmod(os.path.join(self.shared, "starts"), 0o666)  # every workflow is a user of its own
        self.config = os.path.join(self.work, "osmo.yaml")
        self._write_config()
        self.database_url, self.postgres, self.balancer = None, None, None
        if self.kind.get("pgsql"):
            self.postgres = Postgres(self)
            self.database_url = self.postgres.url
        if self.kind.get("replicas"):
            self.balancer = Balancer(self.seed)
        self.services = [Service(self, i) for i in range(self.kind.get("replicas", 1))]
        self.backend = Backend(self)
        self.db = self.postgres or Sqlite(os.path.join(self.services[0].data, "osmo.db"))
        self.client = Client(self)

    def _write_config(self):
        actions = ", ".join("%s: '%s'" % kv for kv in POOL_ACTIONS.items())
        mount = "volumeMounts: [{name: shared, mountPath: /chaos}]" if self.real else ""
        volume = "volumes: [{name: shared, hostPath: {path: %s}}]" % self.shared if self.real else ""
        with open(self.config, "w") as f:
            f.write(CONFIG % (RETRIES, self.archive, mount, volume, actions))

    @property
    def url(self):
        return "http://127.0.0.1:%d" % (self.balancer.port if self.balancer else self.services[0].port)

    def token_file(self):
        return os.path.join(self.services[0].data, "admin-token")

    def start_service(self, number):
        self.services[number].start()
        if self.balancer:
            self.balancer.targets[number] = self.services[number].port

    def stop_service(self, number, how):
        if self.balancer:
            self.balancer.targets.pop(number, None)
        self.services[number].end(how)

    def processes(self):
        return self.services + [self.backend]

    def close(self, keep):
        for p in self.processes():
            p.slay()
        if self.real:
            end_pods(self.backend.state)
        if self.postgres:
            self.postgres.slay()
        if keep:
            print("kept: " + self.work)
        else:
            shutil.rmtree(self.work, ignore_errors=True)


def end_pods(state):
    """Supervisors that outlive a killed backend: by the process ids that they left, when they are still ours."""
    for folder, _, files in os.walk(os.path.join(state, "pods")):
        if "lock" not in files:
            continue
        try:
            with open(os.path.join(folder, "lock")) as f:
                pid = int(f.read().split()[0])
            with open("/proc/%d/cmdline" % pid) as f:
                if state in f.read():
                    os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            continue


class Submitter(threading.Thread):
    """Submits at a steady rate and cancels what shall be cancelled; remembers what was answered."""

    def __init__(self, env, rate):
        super().__init__(daemon=True)
        self.env, self.rate = env, rate
        self.workflows, self.cancels, self.over, self.broken = [], [], threading.Event(), None
        self.client = Client(env)

    def run(self):
        try:
            while self.client.login() != 200:
                time.sleep(0.05)
            due = time.monotonic()
            while not self.over.is_set() or self.cancels:
                now = time.monotonic()
                if self.cancels and self.cancels[0][0] <= now:
                    self._cancel(heapq.heappop(self.cancels)[2])
                elif not self.over.is_set() and due <= now:
                    due = max(due + 1 / self.rate, now - 1)
                    self._submit()
                else:
                    wakes = [due] if not self.over.is_set() else []
                    wakes += [self.cancels[0][0]] if self.cancels else []
                    time.sleep(max(0, min(0.2, min(wakes) - now)))
        except Exception as e:  # the main thread tells
            self.broken = e

    def _submit(self):
        w = Workflow(self.env.seed, len(self.workflows), self.env.real, self.env.wiped)
        self.workflows.append(w)
        status, answer = self.client.call("POST", "/api/pool/default/workflow", {"file": w.spec()})
        w.id = w.name + "-1"
        if status == 200:
            w.accepted, w.id = True, answer["name"]
        elif status and status < 500 and status != 429:
            raise Broken("submission refused: %d %s\n%s" % (status, answer, w.spec()))
        if w.cancel_after is not None:
            heapq.heappush(self.cancels, (time.monotonic() + w.cancel_after, len(self.workflows), w))

    def _cancel(self, w):
        status, answer = self.client.call("POST", "/api/workflow/%s/cancel?message=chaos" % w.id)
        if status == 200:
            w.cancel = "must"
        elif status in (400, 404, 409):  # finished before, or never stored
            w.cancel = "no"
        else:
            w.cancel = "may"


def plan(seed, mode, kills, soak):
    """[(gap, what, pause before it comes back)]: the same for the same seed."""
    rng, weights, gap = random.Random("%s/kills" % seed), MODES[mode]["weights"], MODES[mode]["gap"]
    steps, seconds = [], 0.0
    while (seconds < soak) if soak else (sum(2 if s[1] == "both" else 1 for s in steps) < kills):
        step = (rng.uniform(0.05, gap), rng.choices(list(weights), list(weights.values()))[0],
                rng.choice([0, 0, 0.05, 0.2, 0.5, 1.0]))
        steps.append(step)
        seconds += step[0] + step[2] + 0.15
    return steps


def perform(env, what, pause):
    if what == "connections":
        env.postgres.cut()
        return 1
    if what == "database":
        env.postgres.crash()
        return 1
    services = [int(what.split("-")[1])] if what.startswith("replica") else [0] if what.startswith(("service", "both")) else []
    backend = what in ("backend", "both", "cluster")
    how = signal.SIGTERM if what.endswith("term") else signal.SIGKILL
    for n in services:
        env.stop_service(n, how)
    if backend:
        env.backend.end(signal.SIGKILL)
    if what == "cluster":
        env.backend.forget()
    if what.endswith("lost"):
        env.services[services[0]].lose_disk()
    time.sleep(pause)
    for n in services:
        env.start_service(n)
    if backend:
        env.backend.start()
    return len(services) + backend


def wait_settled(env, seconds):
    until, last = time.monotonic() + seconds, None
    while True:
        for p in env.processes():
            p.check()
        left = env.db.rows(checks.UNSETTLED)[0]
        if left == ["0", "0", "0", "0"]:
            return
        if left != last:
            last = left
        elif time.monotonic() > until:
            print("not settled after %d s: %s workflows unfinished, %s not archived, %s work items, %s submissions" % (
                seconds, *left))
            return
        time.sleep(0.2)


def wait_gone(env, seconds):
    """A group has ended when its pods are told to: they have their grace period."""
    until = time.monotonic() + seconds
    while env.real and checks.pods_left(env) and time.monotonic() < until:
        time.sleep(0.2)


def run(env, args, found):
    steps = plan(env.seed, env.mode, args.kills, args.soak)
    print("mode %s, seed %s, %d steps: %s" % (env.mode, env.seed, len(steps), " ".join(
        "%.2f:%s/%.2f" % s for s in (steps if args.schedule else steps[:6]))), flush=True)
    begun = time.monotonic()
    for n in range(len(env.services)):
        env.start_service(n)
    env.client.login()
    env.backend.start()
    submitter = Submitter(env, args.rate or env.kind["rate"])
    submitter.start()
    kills = 0
    for gap, what, pause in steps:
        time.sleep(gap)
        for p in env.processes():
            p.check()
        if submitter.broken:
            raise submitter.broken
        kills += perform(env, what, pause)
    submitter.over.set()
    submitter.join(60)
    if submitter.broken or submitter.is_alive():
        raise submitter.broken or Broken("the submitter did not end")
    killed = time.monotonic()
    wait_settled(env, args.settle)
    settled = time.monotonic()
    stored = checks.Stored(env.db)
    checks.check_logs(env, submitter.workflows, stored, found)
    wait_gone(env, 30)
    env.backend.end(signal.SIGTERM)
    for n in range(len(env.services)):
        env.stop_service(n, signal.SIGTERM)
    checks.check_ends(env, submitter.workflows, stored, found)
    checks.check_rows(env.db, found)
    starts = checks.check_starts(env, submitter.workflows, stored, found)
    checks.check_cluster(env, found)
    checks.check_sanitizers(env, found)
    statuses = {}
    for row in stored.workflows.values():
        statuses[checks.STATUS[int(row[3])]] = statuses.get(checks.STATUS[int(row[3])], 0) + 1
    print("%d kills in %.0f s, settled after %.1f s more; %d submissions, %d accepted, %d stored, %d attempts begun" % (
        kills, killed - begun, settled - killed, len(submitter.workflows), sum(w.accepted for w in submitter.workflows),
        len(stored.workflows), starts))
    print("  " + ", ".join("%d %s" % (n, s) for s, n in sorted(statuses.items())))


def read_arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--mode", choices=sorted(MODES), default="sqlite")
    p.add_argument("--seed", default=os.environ.get("SEED") or str(random.SystemRandom().randrange(10 ** 6)), help="SEED=")
    p.add_argument("--kills", type=int, default=int(os.environ.get("KILLS") or 100), help="KILLS=")
    p.add_argument("--soak", type=float, default=0, metavar="SECONDS", help="as long as this, not a number of kills")
    p.add_argument("--rate", type=float, default=0, help="submissions a second")
    p.add_argument("--settle", type=float, default=120, help="seconds until all has to be at rest")
    p.add_argument("--schedule", action="store_true", help="print the whole schedule")
    p.add_argument("--bin", required=True, help="the build tree")
    p.add_argument("--top", default=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    p.add_argument("--keep", action="store_true", help="keep the directory also when all is well")
    return p.parse_args()


def interrupted(number, frame):
    raise KeyboardInterrupt


def conduct(args, work):
    """Does the work in an environment that is cleared away; ends the program with what was found."""
    env, found, keep = Env(args), checks.Findings(), True
    try:
        work(env, args, found)
        keep = args.keep or bool(found.lines)
    except Broken as e:
        found.add("broken", str(e))
    finally:
        env.close(keep)
    found.show()
    if found.lines:
        print("again with: SEED=%s, mode %s" % (env.seed, env.mode))
    sys.exit(1 if found.lines else 0)


def main():
    args = read_arguments()
    args.bin = os.path.abspath(args.bin)
    signal.signal(signal.SIGTERM, interrupted)
    conduct(args, run)


if __name__ == "__main__":
    main()
