#!/usr/bin/env python3
"""osmo-backend against an agent with the very libraries of OSMO 6.4 (uvicorn, websockets): the handshake and its extensions, pings
and their timeouts, messages that are too large, and every way in which such an agent goes. `test_agent.py --bin BUILD --site DIR`."""
import argparse
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATHS = ["listener/control", "listener/pod", "listener/node", "listener/event", "listener/heartbeat", "worker"]
DATA = PATHS[1:5]
LIMIT = 60  # seconds that only a fault reaches


class Broken(Exception):
    pass


class Agent:
    """The other side, in a process of its own: it can be stopped and killed."""

    def __init__(self, args, port, *options):
        env = dict(os.environ, PYTHONPATH=args.site, PYTHONDONTWRITEBYTECODE="1")
        self.seen, self.events, self.port = [], queue.Queue(), port
        self.child = subprocess.Popen([sys.executable, os.path.join(HERE, "agent.py"), "--port", str(port), *options], env=env,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.events.put(json.loads(line))
        self.events.put(None)

    def order(self, path, do, **more):
        self.child.stdin.write(json.dumps({"path": path, "do": do, **more}).encode() + b"\n")
        self.child.stdin.flush()

    def _next(self, until):
        try:
            event = self.events.get(timeout=max(0.01, until - time.monotonic()))
        except queue.Empty:
            raise Broken("did not happen")
        if event is None:
            raise Broken("the agent ended by itself")
        if event["event"] == "refused":
            raise Broken("the agent refuses: %s" % event)
        self.seen.append(event)
        return event

    def wait(self, count=1, since=0, limit=LIMIT, **want):
        """Until so many events like this came, counted from the index `since`; the last one of them."""
        until, at = time.monotonic() + limit, since
        while True:
            while at < len(self.seen):
                event = self.seen[at]
                at += 1
                if all(event.get(k) == v or (k == "body" and v.items() <= event.get(k, {}).items()) for k, v in want.items()):
                    count -= 1
                    if not count:
                        return event
            try:
                self._next(until)
            except Broken as e:
                raise Broken("%s: %s; seen last: %s" % (e, want, self.seen[-3:]))

    def wait_open(self, since=0, paths=PATHS):
        for path in paths:
            self.wait(event="open", path=path, since=since)
            self.wait(event="message", path=path, type="init", since=since)

    def now(self):
        """Everything that is here already, looked at; an index for `since`."""
        while True:
            try:
                event = self.events.get_nowait()
            except queue.Empty:
                return len(self.seen)
            if event:
                self.seen.append(event)

    def end(self, how=signal.SIGKILL):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.send_signal(how)
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()


class Operator:
    def __init__(self, args, port, tasks="tasks:\n  slow: {duration_ms: 3600000}\n"):
        self.dir = tempfile.mkdtemp(prefix="osmo-interop.")
        for name, text in (("script", tasks), ("token", "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ\n")):
            with open(os.path.join(self.dir, name), "w", opener=lambda n, f: os.open(n, f, 0o600)) as f:
                f.write(text)
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.child = subprocess.Popen([os.path.join(args.bin, "osmo-backend"), "--service", "http://127.0.0.1:%d" % port, "--name", "east",
                                       "--token-file", os.path.join(self.dir, "token"), "--cluster", "scripted", "--script",
                                       os.path.join(self.dir, "script"), "--state-dir", os.path.join(self.dir, "state")],
                                      stdout=self.log, stderr=self.log)

    def text(self):
        with open(self.log.name, errors="replace") as f:
            return f.read()

    def end(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGCONT)
            self.child.send_signal(signal.SIGTERM)
        try:
            code = self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise Broken("osmo-backend did not end within 20 s of SIGTERM")
        finally:
            self.log.close()
        if code:
            raise Broken("osmo-backend ended with %d" % code)
        shutil.rmtree(self.dir)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def job(number, task="quick"):
    labels = {"osmo.workflow_uuid": "w1", "osmo.group_uuid": "g1", "osmo.task_uuid": "u%d" % number, "osmo.task_name": task,
              "osmo.retry_id": "0"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p%d" % number, "labels": labels},
           "spec": {"containers": [{"name": "main"}, {"name": "osmo-ctrl"}]}}
    return {"super_type": "frontend", "job_type": "CreateGroup", "job_id": "j%d" % number, "job_uuid": "x", "backend": "east",
            "workflow_uuid": "w1", "user": "alice", "group_name": "g", "backend_k8s_timeout": 60, "scheduler_settings": {},
            "k8s_resources": [pod]}


def run_job(agent, number, task="quick", status="COMPLETED"):
    """One job and what becomes of its pod: everything works."""
    since = agent.now()
    agent.order("worker", "job", job=job(number, task))
    if agent.wait(event="message", path="worker", type="job_status", since=since)["body"]["status"] != "SUCCESS":
        raise Broken("the job failed")
    agent.wait(event="message", path="listener/pod", type="update_pod", since=since, body={"task_uuid": "u%d" % number, "status": status})


def handshake(args, *options):
    """The agent as it is configured: it would compress, and pings every 20 s."""
    port = free_port()
    agent, operator = Agent(args, port, *options), None
    try:
        operator = Operator(args, port)
        agent.wait_open()
        agent.wait(event="message", type="heartbeat")
        agent.wait(event="message", type="node_hash")
        for n in range(3):
            run_job(agent, n)
        if {e["length"] for e in agent.seen if e["event"] == "login"} != {43}:
            raise Broken("the token has another length")
        operator.end()
        operator = None
        for path in PATHS:
            agent.wait(event="closed", path=path)
    finally:
        finish(agent, operator)


def handshake_plain(args):
    handshake(args, "--no-deflate")


def pings(args):
    """Pings come often and are answered; when the operator is stopped they are not, and what was lost is told again."""
    port = free_port()
    agent, operator = Agent(args, port, "--ping", "1"), None
    try:
        operator = Operator(args, port)
        agent.wait_open()
        run_job(agent, 1)
        time.sleep(4)
        for path in PATHS:
            if sum(e["event"] == "open" and e["path"] == path for e in agent.seen[:agent.now()]) != 1:
                raise Broken("%s was connected again: a ping was not answered" % path)
        since = agent.now()
        operator.child.send_signal(signal.SIGSTOP)
        agent.order("worker", "job", job=job(2))
        for path in PATHS:
            agent.wait(event="closed", path=path, since=since)
        operator.child.send_signal(signal.SIGCONT)
        agent.wait_open(since)
        run_job(agent, 3)
    finally:
        finish(agent, operator)


def stopped_agent(args):
    """An agent that stands still and keeps its sockets open: the operator's own pings tell, and it finds the next agent."""
    port = free_port()
    agent, operator, second = Agent(args, port), None, None
    try:
        operator = Operator(args, port)
        agent.wait_open()
        agent.child.send_signal(signal.SIGSTOP)
        until = time.monotonic() + LIMIT
        while operator.text().count("is closed") < len(PATHS):
            if time.monotonic() > until:
                raise Broken("nothing tells of the agent that stands still")
            time.sleep(0.5)
        agent.end()
        second = Agent(args, port)
        second.wait_open()
        run_job(second, 1)
    finally:
        finish(second, None)
        finish(agent, operator)


def too_large(args):
    """16 MiB are taken on the worker's socket and 1 MiB on the others, more ends in 1009 and a new connection."""
    port = free_port()
    agent, operator = Agent(args, port), None
    try:
        operator = Operator(args, port)
        agent.wait_open()
        since = agent.now()
        agent.order("worker", "bytes", size=16 << 20)
        agent.wait(event="message", path="worker", type="job_status", since=since, body={"status": "FAILED_NO_RETRY"})
        for path, size in (("worker", (16 << 20) + 1), ("worker", 40 << 20), ("listener/control", (1 << 20) + 1)):
            since = agent.now()
            agent.order(path, "bytes", size=size)
            code = agent.wait(event="closed", path=path, since=since)["code"]
            if code != 1009:
                raise Broken("%d bytes on %s: closed with %s, not 1009" % (size, path, code))
            agent.wait_open(since, [path])
        run_job(agent, 1)
    finally:
        finish(agent, operator)


def closes(args):
    """A handler that raises, codes and reasons of its own, SIGTERM and SIGKILL: each time the operator is back."""
    port = free_port()
    agent, operator = Agent(args, port), None
    try:
        operator = Operator(args, port)
        agent.wait_open()
        number = 0
        for path in PATHS:
            since = agent.now()
            agent.order(path, "raise")
            agent.wait_open(since, [path])
        for code in (1000, 1001, 1011, 4000):
            since = agent.now()
            for path in PATHS:
                agent.order(path, "close", code=code, reason="because")
            agent.wait_open(since)
            number += 1
            run_job(agent, number)
        for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            agent.end(how)
            agent = Agent(args, port)
            agent.wait_open()
            agent.wait(event="message", type="node_hash")
            number += 1
            run_job(agent, number)
    finally:
        finish(agent, operator)


def lagging(args):
    """A job's pods come and go while connections are cut again and again: each end is told, in the end."""
    port = free_port()
    agent, operator = Agent(args, port), None
    try:
        operator = Operator(args, port, "tasks:\n  quick: {duration_ms: 20}\n")
        agent.wait_open()
        for number in range(40):
            since = agent.now()
            if number % 4 == 0:
                agent.order("listener/pod", "raise")
            agent.order("worker", "job", job=job(number))
            agent.wait(event="message", path="worker", type="job_status", since=since)
        for number in range(40):
            agent.wait(event="message", path="listener/pod", type="update_pod", body={"task_uuid": "u%d" % number, "status": "COMPLETED"})
    finally:
        finish(agent, operator)


def finish(agent, operator):
    failed = sys.exc_info()[0] is not None
    if agent:
        agent.end()
    if operator and failed:
        print("  osmo-backend said:\n    " + "\n    ".join(operator.text().splitlines()[-15:]))
    if operator:
        operator.end()


TESTS = [handshake, handshake_plain, pings, stopped_agent, too_large, closes, lagging]


def run(test, args, results):
    begun = time.monotonic()
    try:
        test(args)
        results.append((test.__name__, None, time.monotonic() - begun))
    except (Broken, OSError, KeyError, TypeError) as e:
        results.append((test.__name__, "%s: %s" % (type(e).__name__, e), time.monotonic() - begun))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", required=True, help="the build tree")
    p.add_argument("--site", required=True, help="where packages.sh installed to")
    p.add_argument("--only", help="one of: " + ", ".join(t.__name__ for t in TESTS))
    args = p.parse_args()
    results, wanted = [], [t for t in TESTS if not args.only or t.__name__ == args.only]
    threads = [threading.Thread(target=run, args=(t, args, results)) for t in wanted if t is stopped_agent]  # it waits for most of a minute
    for t in threads:
        t.start()
    for t in wanted:
        if t is not stopped_agent:
            run(t, args, results)
    for t in threads:
        t.join()
    for name, wrong, took in results:
        print("%s  %s (%.1f s)%s" % ("FAILED" if wrong else "passed", name, took, "\n        " + wrong if wrong else ""))
    return any(wrong for _, wrong, _ in results)


if __name__ == "__main__":
    sys.exit(main())
