#!/usr/bin/env python3
"""The loss test of logs: many tasks write numbered lines to stdout and stderr while service (which has the logger) and backend are killed at random
moments. Afterwards every line has to be in the log exactly once, and those of each stream of each task in order; the same for a client that has
followed the log all the time. `logloss.py --help` tells the rest."""
import argparse
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import chaos
import checks
from actors import Broken

# A quarter goes to stderr. Whole pieces, so that a line is never cut by the task itself.
SCRIPT = r"""
my ($lines, $seconds) = @ARGV;
srand(%d + $ENV{NUMBER});
my ($out, $err, $piece) = (0, 0, 100);
my $pad = "x" x 60;
for (my $n = 0; $n < $lines; $n += $piece) {
    my ($o, $e) = ("", "");
    for (1 .. $piece) {
        if (rand() < 0.25) { $e .= sprintf("err %%07d %%s\n", ++$err, $pad) } else { $o .= sprintf("out %%07d %%s\n", ++$out, $pad) }
    }
    syswrite(STDOUT, $o);
    syswrite(STDERR, $e);
    select(undef, undef, undef, $seconds * $piece / $lines * 2 * rand()) if $seconds;
}
syswrite(STDOUT, "wrote $out $err\n");
"""
LINE = re.compile(rb"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(t\d+)\] (out|err) (\d{7}) x{60}$")
WROTE = re.compile(rb"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(t\d+)\] wrote (\d+) (\d+)$")


def specification(args):
    lines = ["workflow:", "  name: loss", "  tasks:"]
    for i in range(args.tasks):
        lines += ["  - name: t%d" % i, "    image: debian", "    environment: {NUMBER: '%d'}" % i, "    command: [perl, -e]", "    args:", "    - |"]
        lines += ["      " + line for line in (SCRIPT % (args.number % 10 ** 6)).strip().splitlines()]
        lines += ["    - '%d'" % args.lines, "    - '%g'" % args.seconds]
    return "\n".join(lines) + "\n"


class Osmo:
    """The client, which follows the log over every break."""

    def __init__(self, env):
        self.program = os.path.join(env.bin, "osmo")
        self.folder = os.path.join(env.work, "client")
        os.mkdir(self.folder, 0o700)
        self.env = dict(os.environ, OSMO_CONFIG_FILE_DIR=self.folder, OSMO_LOG_FILE_DIR=self.folder, TZ="UTC")
        self.run("login", env.url, "--method", "token", "--token-file", env.token_file())

    def run(self, *args):
        out = subprocess.run([self.program, *args], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if out.returncode:
            raise Broken("osmo %s: %s" % (args[0], out.stdout.decode()))
        return out.stdout

    def follow(self, workflow, path):
        with open(path, "wb") as out:
            return subprocess.Popen([self.program, "workflow", "logs", workflow], env=self.env, stdout=out, stderr=subprocess.STDOUT)


def check(what, lines, args, found):
    """Every line once, in order for each stream of each task."""
    last, wrote, strange = {}, {}, 0
    for line in lines:
        m = LINE.match(line)
        if m:
            key, number = (m.group(1), m.group(2)), int(m.group(3))
            if number != last.get(key, 0) + 1:
                found.add(what + ": lines out of order, lost or repeated", "%s %s: %d after %d" % (
                    key[0].decode(), key[1].decode(), number, last.get(key, 0)))
            last[key] = number
            continue
        m = WROTE.match(line)
        if m:
            wrote[m.group(1)] = wrote.get(m.group(1), []) + [(int(m.group(2)), int(m.group(3)))]
        elif b" out " in line or b" err " in line:
            strange += 1
    if strange:
        found.add(what + ": lines that no task wrote so", str(strange))
    total = 0
    for i in range(args.tasks):
        task = b"t%d" % i
        got = (last.get((task, b"out"), 0), last.get((task, b"err"), 0))
        total += sum(got)
        if wrote.get(task) != [got] or sum(got) != args.lines:
            found.add(what + ": not what the task says", "%s: %s instead of %s" % (task.decode(), got, wrote.get(task)))
    return total


def kill_until(env, args, over):
    """By the plan, until the tasks have ended."""
    kills, n = 0, 0
    while not over.is_set():
        for gap, what, pause in chaos.plan("%s/%d" % (env.seed, n), env.mode, 20, 0):
            if over.wait(gap * args.gap):
                break
            for p in env.processes():
                p.check()
            kills += chaos.perform(env, what, pause)
        n += 1
    return kills


def wait_finished(env, workflow, args, over, state):
    """In a thread of its own: the service is away now and then."""
    client = chaos.Client(env)
    client.login()
    until = time.monotonic() + args.limit
    while time.monotonic() < until and not over.is_set():
        status, answer = client.call("GET", "/api/workflow/" + workflow)
        if status == 200 and answer["status"] not in ("PENDING", "WAITING", "RUNNING"):
            state["status"] = answer["status"]
            break
        over.wait(0.5)
    over.set()


def run(env, args, found):
    for n in range(len(env.services)):
        env.start_service(n)
    env.backend.start()
    osmo = Osmo(env)
    spec = os.path.join(env.work, "loss.yaml")
    with open(spec, "w") as f:
        f.write(specification(args))
    osmo.run("workflow", "submit", spec)
    begun = time.monotonic()
    followed = os.path.join(env.work, "followed")
    follower = osmo.follow("loss-1", followed)
    over, state = threading.Event(), {}
    waiter = threading.Thread(target=wait_finished, args=(env, "loss-1", args, over, state), daemon=True)
    waiter.start()
    try:
        kills = kill_until(env, args, over)
        waiter.join(60)
        written = time.monotonic()
        if state.get("status") != "COMPLETED":
            found.add("the workflow", str(state.get("status", "did not end in time")))
        follower.wait(120)
    except subprocess.TimeoutExpired:
        found.add("the follower", "did not end")
    finally:
        if follower.poll() is None:
            follower.kill()
            follower.wait()
    whole = check("the log", osmo.run("workflow", "logs", "loss-1").splitlines(), args, found)
    with open(followed, "rb") as f:
        check("followed", (line.rstrip(b"\n") for line in f), args, found)
    for n in range(len(env.services)):
        env.stop_service(n, signal.SIGTERM)
    env.backend.end(signal.SIGTERM)
    checks.check_sanitizers(env, found)
    print("%d kills in %.0f s; %d lines of %d tasks, each twice looked at; ended %.1f s after the last" % (
        kills, written - begun, whole, args.tasks, time.monotonic() - written))


def read_arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--mode", choices=["local", "local-replicas"], default="local")
    p.add_argument("--seed", default=os.environ.get("SEED") or str(random.SystemRandom().randrange(10 ** 6)), help="SEED=")
    p.add_argument("--tasks", type=int, default=50)
    p.add_argument("--lines", type=int, default=20000, help="of each task")
    p.add_argument("--seconds", type=float, default=45, help="that a task takes to write them, about")
    p.add_argument("--gap", type=float, default=1.0, help="how much longer than usual it is between two kills")
    p.add_argument("--limit", type=float, default=600, help="seconds until the workflow has to be finished")
    p.add_argument("--bin", required=True, help="the build tree")
    p.add_argument("--top", default=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    p.add_argument("--keep", action="store_true", help="keep the directory also when all is well")
    args = p.parse_args()
    args.number = random.Random("%s/tasks" % args.seed).randrange(10 ** 6)
    return args


def main():
    args = read_arguments()
    args.bin = os.path.abspath(args.bin)
    signal.signal(signal.SIGTERM, chaos.interrupted)
    print("mode %s, seed %s, %d tasks of %d lines" % (args.mode, args.seed, args.tasks, args.lines), flush=True)
    chaos.conduct(args, run)


if __name__ == "__main__":
    main()
