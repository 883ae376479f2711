#!/usr/bin/python3
"""Mixed workflows on a real cluster while its API server is restarted, paused, cut off, made to forget and made to refuse, and while
operator and service are killed: nothing may be lost, run twice, stay or be told wrongly. Workflows, model and checks are those of
tests/chaos. Runs inside the network of a full cluster; `faults.py --help` tells the rest."""
import argparse
import contextlib
import http.client
import os
import random
import signal
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "chaos")]

import actors  # noqa: E402
import chaos  # noqa: E402
import checks  # noqa: E402
import client  # noqa: E402
import osmo_site  # noqa: E402
import shapes  # noqa: E402
from actors import Broken  # noqa: E402

# How often of a hundred; at the start each is met once, in an order by chance.
PATH = "/api/v1/namespaces/" + osmo_site.WORKFLOWS
WEIGHTS = {"restart": 12, "pause": 10, "cut": 14, "reject": 10, "compact": 10, "storm": 8, "operator": 16, "operator-pause": 4,
           "service": 8, "both": 6, "link": 2}
CONFIG = """
workflow:
  max_retry_per_task: %(retries)d
  workflow_log: {credential: {endpoint: 'file://%(archive)s'}}
  credential_config: {disable_registry_validation: ['%(registry)s']}
  backend_images: {init: '%(registry)s/osmo/runtime:test', client: '%(registry)s/osmo/runtime:test'}
pod_templates:
  small:
    spec:
      containers:
      - name: osmo-ctrl
        resources: {requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 1Mi}}
      - name: "{{USER_CONTAINER_NAME}}"
        env: [{name: ATTEMPT, value: "{{WF_RETRY_ID}}"}, {name: WORKFLOW, value: "{{WF_ID}}"}]
        resources: {requests: {cpu: 10m, memory: 16Mi, ephemeral-storage: 1Mi}}
        volumeMounts: [{name: shared, mountPath: /chaos}]
      volumes: [{name: shared, hostPath: {path: %(shared)s}}]
pools:
  default:
    backend: my-cluster
    default_platform: cpu
    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 64Mi, USER_STORAGE: 64Mi}
    common_pod_template: [default_ctrl, default_user, small]
    platforms: {cpu: {description: the node}}
    default_exit_actions: {%(actions)s}
backends:
  my-cluster: {description: the cluster, k8s_namespace: %(namespace)s}
"""


class Checked:
    """A program of the site, for the checks of tests/chaos."""

    def __init__(self, program):
        self.program, self.log = program, program.log

    def check(self):
        child = self.program.child
        if child and child.poll() is not None:
            raise Broken("%s ended by itself with %s:\n%s" % (self.program.name, child.returncode, self.program.tail(20)))


class Env:
    """Everything of one run, in the words of tests/chaos."""
    real, wiped = True, False

    def __init__(self, args):
        self.seed, self.bin = args.seed, osmo_site.BUILD
        self.cluster = client.Cluster()
        self.site = osmo_site.Site(self.cluster)
        self.url, self.shared = self.site.url, os.path.join(self.site.work, "shared")
        self.archive = os.path.join(self.site.work, "archive")
        os.mkdir(self.shared)
        os.chmod(self.shared, 0o755)
        with open(os.path.join(self.shared, "starts"), "w", encoding="ascii"):
            pass
        os.chmod(os.path.join(self.shared, "starts"), 0o666)
        with open(os.path.join(self.site.work, "osmo.yaml"), "w", encoding="utf-8") as f:
            f.write(CONFIG % {"retries": shapes.RETRIES, "archive": self.archive, "registry": self.cluster.registry, "shared": self.shared,
                              "actions": ", ".join("%s: '%s'" % kv for kv in shapes.POOL_ACTIONS.items()),
                              "namespace": osmo_site.WORKFLOWS})
        shapes.IMAGE = self.cluster.registry + "/library/debian:12"
        self.service = self.site.service()
        self.db = actors.Sqlite(os.path.join(self.site.work, "data", "osmo.db"))
        self.client = actors.Client(self)
        self.operator = self.site.kubernetes()
        self.reader = self.cluster.api_of(token=self.cluster.token_of(osmo_site.OPERATOR_NAMESPACE, "osmo-backend", 7200))

    def token_file(self):
        return self.site.token_file

    def processes(self):
        return [Checked(p) for p in self.site.programs.values()]

    def serving(self):
        """A connection is enough: the service listens last of all."""
        return self.client.once("GET", "/health", timeout=2)[0] != 0

    def close(self):
        """The cluster is for other tests too: a fault that was not over is over now."""
        for p in self.site.programs.values():
            if p.child:
                p.send(signal.SIGCONT)
        try:
            self.cluster.restart("apiserver")
            self.cluster.wait_api()
            self.cluster.wait_for(self._node_ready, "the node is ready again", 120)
        finally:
            self.site.close()

    def _node_ready(self):
        node = self.cluster.api.must("GET", "/api/v1/nodes/" + self.cluster.node)
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
        return ready and not node["spec"].get("taints")


class Flood:
    """Clients that want more of the API server than it gives while it may serve a few requests only: some ask and ask, one takes its
    time for what it writes. They are nobody privileged, whom it would serve all the same."""

    def __init__(self, api, askers=4):
        self.api, self.over, self.refused = api, threading.Event(), 0
        self.threads = [threading.Thread(target=self._until_over, args=(f,), daemon=True) for f in [self._ask] * askers + [self._hold]]
        for t in self.threads:
            t.start()

    def _until_over(self, act):
        while not self.over.is_set():
            try:
                act()
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.1)

    def _ask(self):
        status, _ = self.api.request("GET", PATH + "/pods", timeout=5)
        self.refused += status == 429

    def _hold(self):
        """A request whose body comes slowly takes one of the places all the time."""
        connection = http.client.HTTPSConnection(self.api.url.hostname, self.api.url.port, context=self.api.context, timeout=5)
        with contextlib.closing(connection):
            connection.putrequest("POST", PATH + "/secrets")
            for header in (("Authorization", "Bearer " + self.api.token), ("Content-Type", "application/json"), ("Content-Length", "99")):
                connection.putheader(*header)
            connection.endheaders(b"{")
            self.over.wait(1.5)
        self.over.wait(0.2)

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join()


class Faults:
    """What can be done, and how often it was; each returns when it is over."""

    def __init__(self, env, rng):
        self.env, self.rng, self.cluster, self.counts, self.refused = env, rng, env.cluster, {}, 0

    def perform(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1
        getattr(self, what.replace("-", "_"))()

    def _pause(self, low, high):
        time.sleep(self.rng.uniform(low, high))

    def restart(self):
        self.cluster.stop("apiserver")
        self._pause(0, 4)
        self.cluster.start("apiserver")
        self.cluster.wait_api()

    def pause(self):
        self.cluster.pause("apiserver")
        self._pause(5, 20)
        self.cluster.resume("apiserver")

    def cut(self):
        """A few times, for what has just come back."""
        for _ in range(self.rng.randint(1, 4)):
            self.cluster.cut_connections()
            self._pause(0, 1)

    def reject(self):
        """Nobody gets through, not even to be told no: refused, or without an answer."""
        how = self.rng.choice(["reject with tcp reset", "drop"])
        with self.cluster.firewall("chain output { type filter hook output priority 0; tcp dport 6443 %s; }" % how):
            self.cluster.cut_connections()
            self._pause(1, 8)

    def compact(self):
        """The operator stands still while what it has seen last is forgotten."""
        operator = self.env.operator
        operator.send(signal.SIGSTOP)
        self._pause(0.5, 2)
        self.cluster.compact()
        self.cluster.restart("apiserver")  # whose cache of changes would do instead
        self.cluster.wait_api()
        operator.send(signal.SIGCONT)

    def storm(self):
        """One reader and one writer at a time, and others are quicker: 429 for most."""
        self.cluster.restart("apiserver", "--feature-gates=APIPriorityAndFairness=false", "--max-requests-inflight=1",
                             "--max-mutating-requests-inflight=1")
        self.cluster.wait_api()
        flood = Flood(self.env.reader)
        self._pause(8, 14)
        flood.end()
        self.refused += flood.refused
        self.cluster.restart("apiserver")
        self.cluster.wait_api()

    def link(self):
        """Between operator and service."""
        self.cluster.cut_connections(osmo_site.PORT)

    def operator(self):
        self.env.operator.stop(signal.SIGKILL)
        self._pause(0, 3)
        self.env.operator.start()

    def operator_pause(self):
        self.env.operator.send(signal.SIGSTOP)
        self._pause(1, 8)
        self.env.operator.send(signal.SIGCONT)

    def service(self):
        self.env.service.stop(signal.SIGKILL)
        self._pause(0, 2)
        self._service_back()

    def both(self):
        self.env.service.stop(signal.SIGKILL)
        self.env.operator.stop(signal.SIGKILL)
        self._pause(0, 2)
        self.env.operator.start()
        self._service_back()

    def _service_back(self):
        self.env.service.start()
        until = time.monotonic() + 60
        while not self.env.serving():
            Checked(self.env.service).check()
            if time.monotonic() > until:
                raise Broken("the service did not serve within 60 s")
            time.sleep(0.05)


class Submitter(chaos.Submitter):
    """As many as wanted, steadily."""

    def __init__(self, env, rate, most):
        super().__init__(env, rate)
        self.most = most

    def _submit(self):
        if len(self.workflows) < self.most:
            super()._submit()
        else:
            self.over.set()


def plan(seed, most, soak):
    """[(gap, what)]: the same for the same seed."""
    rng, steps, seconds = random.Random("%s/faults" % seed), [], 0.0
    first = list(WEIGHTS)
    rng.shuffle(first)
    while (seconds < soak) if soak else (len(steps) < most):
        what = first.pop() if first else rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        steps.append((rng.uniform(1, 7), what))
        seconds += steps[-1][0] + 8
    return steps


def leftovers(cluster):
    """Objects of workflows that are still in the cluster."""
    found = []
    for kind in ("pods", "secrets", "services", "configmaps"):
        path = "%s/%s?labelSelector=osmo.workflow_uuid" % (PATH, kind)
        found += ["%s/%s" % (kind, o["metadata"]["name"]) for o in cluster.api.must("GET", path)["items"]]
    return found


def check_cluster(env, found, seconds):
    """Pods need a while to be gone after their workflow has ended."""
    until = time.monotonic() + seconds
    while left := leftovers(env.cluster):
        if time.monotonic() > until:
            break
        time.sleep(0.5)
    for one in left:
        found.add("an object left in the cluster", one)


def run(env, args, found):
    steps = plan(env.seed, args.faults, args.soak)
    print("seed %s, %d faults: %s" % (env.seed, len(steps), " ".join("%.1f:%s" % s for s in steps[:20])), flush=True)
    begun = time.monotonic()
    most = args.workflows if not args.soak else 1 << 30
    env.client.login()
    faults = Faults(env, random.Random("%s/lengths" % env.seed))
    submitter = Submitter(env, args.rate, most)
    submitter.start()
    for gap, what in steps:
        time.sleep(gap)
        for p in env.processes():
            p.check()
        if submitter.broken:
            raise submitter.broken
        at = time.monotonic()
        faults.perform(what)
        if args.verbose:
            print("  %6.1f s  %s (%.1f s)" % (at - begun, what, time.monotonic() - at), flush=True)
    submitter.over.set()
    submitter.join(90)
    if submitter.broken or submitter.is_alive():
        raise submitter.broken or Broken("the submitter did not end")
    over = time.monotonic()
    chaos.wait_settled(env, args.settle)
    settled = time.monotonic()
    check_cluster(env, found, 60)
    stored = checks.Stored(env.db)
    checks.check_logs(env, submitter.workflows, stored, found)
    for program in (env.operator, env.service):
        code = program.stop()
        if code:
            found.add("an end that is not clean", "%s: %d\n%s" % (program.name, code, program.tail(10)))
    checks.check_ends(env, submitter.workflows, stored, found)
    checks.check_rows(env.db, found)
    starts = checks.check_starts(env, submitter.workflows, stored, found)
    checks.check_sanitizers(env, found)
    statuses = {}
    for row in stored.workflows.values():
        statuses[checks.STATUS[int(row[3])]] = statuses.get(checks.STATUS[int(row[3])], 0) + 1
    print("%d faults in %.0f s (%s; %d requests refused with 429)" % (
        len(steps), over - begun, ", ".join("%d %s" % (n, w) for w, n in sorted(faults.counts.items())), faults.refused))
    print("settled after %.1f s more; %d submissions, %d stored, %d attempts begun" % (
        settled - over, len(submitter.workflows), len(stored.workflows), starts))
    print("  " + ", ".join("%d %s" % (n, s) for s, n in sorted(statuses.items())))


def read_arguments(words):
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seed", default=os.environ.get("SEED") or str(random.SystemRandom().randrange(10 ** 6)), help="SEED=")
    p.add_argument("--faults", type=int, default=int(os.environ.get("FAULTS") or 14), help="FAULTS=")
    p.add_argument("--workflows", type=int, default=16)
    p.add_argument("--rate", type=float, default=0.12, help="submissions a second")
    p.add_argument("--soak", type=float, default=float(os.environ.get("SOAK_SECONDS") or 0), metavar="SECONDS",
                   help="as long as this, not a number of faults")
    p.add_argument("--settle", type=float, default=150, help="seconds without any progress until all has to be at rest")
    p.add_argument("--verbose", action="store_true")
    return p.parse_args(words)


def main(words=None):
    args = read_arguments(words)
    signal.signal(signal.SIGTERM, chaos.interrupted)
    found = checks.Findings()
    with contextlib.closing(Env(args)) as env:
        try:
            run(env, args, found)
        except Broken as e:
            found.add("broken", str(e))
        if found.lines:
            os.environ["OSMO_KEEP"] = "1"
            print(env.site.state())
    found.show()
    if found.lines:
        print("again with: SEED=%s" % args.seed)
    return 1 if found.lines else 0


if __name__ == "__main__":
    sys.exit(main())
