#!/usr/bin/python3
"""A real Kubernetes cluster for tests, in namespaces of its own, ended completely when this program ends.

    cluster.py up --dir DIR [--mode full|control] [--with-parent]    run one until SIGTERM; prints READY when it can be used
    cluster.py env --dir DIR                                         its environment, for a shell
    cluster.py ctl --dir DIR ACTION [PROGRAM] [ARGUMENT…]            signal faults: pause, resume, stop, start, restart; status; ctr

full has a node that runs pods (containerd, kubelet); control has none, for tests with nodes and pods whose status the tests write.
The programs come from build.sh. Everything of the cluster lies in DIR: cluster.json, *.kubeconfig, env, logs."""
import argparse
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time

import certificates
import client
import components
import images
import isolation

HERE = os.path.dirname(os.path.abspath(__file__))
START_SECONDS = 180  # for each step of the start, on a busy machine; a quiet one needs 20 for all of them


def say(text):
    print(f"cluster: {text}", file=sys.stderr, flush=True)


class Failed(Exception):
    pass


class Supervisor:
    """The first process of the cluster: starts the others, starts again what dies, serves the control socket. Never returns."""

    def __init__(self, paths, mode, groups):
        self.p, self.mode, self.groups = paths, mode, groups
        self.running, self.commands, self.wanted, self.last_start = {}, {}, set(), {}

    def spawn(self, name, argv, extra=()):
        self.commands[name] = argv
        self.wanted.add(name)
        self.last_start[name] = time.monotonic()
        environment = {"PATH": f"{self.p.programs}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.p.state, "GOTRACEBACK": "single"}
        with open(os.path.join(self.p.logs, name + ".log"), "ab") as log:
            self.running[name] = subprocess.Popen([*argv, *extra], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.p.state,
                                                  env=environment, start_new_session=True)

    def reap(self):
        """Children that ended, ours and the orphans that became ours."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for name, child in list(self.running.items()):
                if child.pid == pid:
                    child.returncode = os.waitstatus_to_exitcode(status)
                    del self.running[name]
                    if name in self.wanted:
                        say(f"{name} ended ({child.returncode})")

    def tail(self, name, lines=15):
        try:
            with open(os.path.join(self.p.logs, name + ".log"), encoding="utf-8", errors="replace") as f:
                return "".join("    " + line for line in f.readlines()[-lines:])
        except OSError:
            return ""

    def wait(self, name, check, what):
        """Until the check is true; the end of the program, or too much time, is an error with the end of its log."""
        until = time.monotonic() + START_SECONDS
        while True:
            self.reap()
            try:
                if check():
                    return
            except (OSError, client.ApiError, KeyError, ValueError):
                pass
            if name not in self.running:
                raise Failed(f"{name} ended before {what}; the end of {self.p.logs}/{name}.log:\n{self.tail(name)}")
            if time.monotonic() > until:
                raise Failed(f"{what}: not within {START_SECONDS} s; the end of {self.p.logs}/{name}.log:\n{self.tail(name)}")
            time.sleep(0.05)

    @staticmethod
    def connects(address):
        with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_STREAM) as s:
            s.settimeout(2)
            return s.connect_ex(address) == 0

    def start_control_plane(self, api):
        self.spawn("etcd", components.etcd(self.p))
        if self.mode == "full":
            images.basic(self.p.registry)
            self.spawn("registry", components.registry(self.p))
            self.spawn("containerd", components.containerd(self.p))
        self.wait("etcd", lambda: self.connects(("127.0.0.1", 2379)), "etcd listens")
        self.spawn("apiserver", components.apiserver(self.p))
        if self.mode == "full":
            self.wait("containerd", lambda: self.connects(self.p.containerd), "containerd listens")
            self.wait("registry", lambda: self.connects((components.ADDRESS, components.REGISTRY_PORT)), "the registry listens")
        self.wait("apiserver", lambda: api.request("GET", "/readyz", timeout=10)[0] == 200, "the API server is ready")
        self.spawn("scheduler", components.scheduler(self.p))
        self.spawn("controllers", components.controllers(self.p, self.mode == "full"))
        self.spawn("names", components.names(self.p))

    def ctr(self, arguments):
        done = subprocess.run([self.p.program("ctr"), "--address", self.p.containerd, "-n", "k8s.io", *arguments],
                              capture_output=True, text=True, timeout=280, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Failed(f"ctr {' '.join(arguments)}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def start(self, api):
        began = time.monotonic()
        self.start_control_plane(api)
        say(f"the API server is ready after {time.monotonic() - began:.1f} s")
        if self.mode == "full":
            self.spawn("kubelet", components.kubelet(self.p, self.groups))
            self.wait("kubelet", lambda: any(c["type"] == "Ready" and c["status"] == "True" for c in
                      api.must("GET", f"/api/v1/nodes/{components.NODE}")["status"]["conditions"]), "the node is ready")
            self.wait("controllers", lambda: not api.must("GET", f"/api/v1/nodes/{components.NODE}")["spec"].get("taints"),
                      "the node has no taints")
        self.wait("controllers", lambda: api.must("GET", "/api/v1/namespaces/default/serviceaccounts/default").get("secrets"),
                  "the default service account exists")
        say(f"ready after {time.monotonic() - began:.1f} s")

    # After the start

    def serve(self, listener):
        ready, wake = socket.socketpair()
        for s in (ready, wake, listener):
            s.setblocking(False)
        signal.set_wakeup_fd(wake.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        selector = selectors.DefaultSelector()
        selector.register(ready, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)
        while True:
            self.reap()
            due = [n for n in self.wanted if n not in self.running]
            for name in [n for n in due if time.monotonic() - self.last_start[n] > 1]:
                self.spawn(name, self.commands[name])
            for key, _ in selector.select(1 if due else None):
                if key.fileobj is ready:
                    ready.recv(4096)
                else:
                    self.answer(listener.accept()[0])

    def answer(self, connection):
        with connection:
            try:
                connection.settimeout(10)
                with connection.makefile("rb") as lines:
                    asked = json.loads(lines.readline(1 << 20))
                ok, text = True, self.do(asked)
            except (Failed, OSError, KeyError, ValueError, AttributeError, subprocess.SubprocessError) as error:
                ok, text = False, f"{type(error).__name__}: {error}"
            try:
                connection.settimeout(10)
                connection.sendall(json.dumps({"ok": ok, "text": text}).encode())
            except OSError:
                pass

    def do(self, asked):
        action = asked["action"]
        if action == "status":
            return {name: name in self.running for name in self.commands}
        if action == "ctr":
            return self.ctr(asked["arguments"])
        name = asked["program"]
        if name not in self.commands:
            raise Failed(f"no program {name}: there are {', '.join(self.commands)}")
        if action == "signal":
            self.running[name].send_signal(getattr(signal, "SIG" + asked["signal"]))
        elif action == "stop":
            self.end(name, asked.get("abruptly", True))
        elif action == "start":
            if name not in self.running:
                self.spawn(name, self.commands[name], asked.get("arguments", ()))
        else:
            raise Failed(f"no action {action}")
        return "done"

    def end(self, name, abruptly):
        self.wanted.discard(name)
        child = self.running.get(name)
        if child is None:
            return
        child.send_signal(signal.SIGKILL if abruptly else signal.SIGTERM)
        child.send_signal(signal.SIGCONT)
        until = time.monotonic() + 60
        while name in self.running:
            self.reap()
            if time.monotonic() > until:
                child.kill()
            time.sleep(0.01)


def inside(paths, mode, groups, size, network):
    """The life of the first process inside."""
    os.setsid()
    isolation.die_with_parent()
    for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(paths.control)
    os.chmod(paths.control, 0o600)
    isolation.private_mounts(paths.state, size)
    isolation.bridge(components.BRIDGE, f"{components.ADDRESS}/16")
    subprocess.run(["nft", "-f", "-"], input=components.SERVICE_RULES, text=True, check=True)
    tokens = certificates.make_all(paths.certificates, components.SERVER, components.NODE, components.SERVER_NAMES)
    configs = certificates.kubeconfigs(paths.certificates, paths.directory, components.SERVER, tokens)
    api = client.Api(components.SERVER, paths.certificate("ca.crt"), token=tokens["admin"])
    supervisor = Supervisor(paths, mode, groups)
    supervisor.start(api)
    listener.listen(16)
    facts = {"server": components.SERVER, "address": components.ADDRESS, "ca": paths.certificate("ca.crt"), "mode": mode,
             "node": components.NODE if mode == "full" else None, "network": network, "registry": components.REGISTRY,
             "store": paths.registry, "configs": configs, "tokens": tokens}
    certificates.write_private(os.path.join(paths.directory, "env"), environment(paths.directory, configs, network))
    certificates.write_private(os.path.join(paths.directory, "cluster.json"), json.dumps(facts, indent=1) + "\n")
    print("READY", flush=True)
    supervisor.serve(listener)


def environment(directory, configs, network):
    return "".join(f"{k}={v}\n" for k, v in (("KUBECONFIG", configs["admin"]), ("OSMO_KUBERNETES_DIR", directory),
                                             ("NETNS", network), ("OPERATOR_KUBECONFIG", configs["operator"])))


def tidy(directory, everything):
    """What earlier clusters left in the directory; the logs only when a new one starts."""
    for name in ("state", "certificates", "registry") + (("logs",) if everything else ()):
        shutil.rmtree(os.path.join(directory, name), ignore_errors=True)
    for name in os.listdir(directory):
        if name in ("env", "cluster.json", "control", "network") or name.endswith(".kubeconfig"):
            os.unlink(os.path.join(directory, name))


def programs():
    done = subprocess.run([os.path.join(HERE, "build.sh")], stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
                          preexec_fn=lambda: isolation.die_with_parent(signal.SIGTERM))
    if done.returncode:
        sys.exit(1)
    return done.stdout.strip().splitlines()[-1]


def up(arguments):
    directory = os.path.abspath(arguments.dir)
    if directory.startswith(("/run/", "/var/lib/", "/var/log/", "/proc/")) or len(directory) > 80:
        sys.exit(f"cluster: {directory} cannot be its directory: the cluster has its own files there, or the path is over 80 characters")
    if os.geteuid():
        sys.exit("cluster: it needs root, for namespaces and containers")
    if arguments.with_parent:
        isolation.die_with_parent(signal.SIGTERM)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(f"another cluster runs in {directory}: waiting for its end")
        fcntl.flock(lock, fcntl.LOCK_EX)
    groups = isolation.make_groups("osmo-kubernetes-")
    tidy(directory, True)
    paths = components.Paths(directory, arguments.programs or programs())
    os.makedirs(paths.logs)
    stopping = []
    child = 0

    def stop(number, _):
        stopping.append(number)
        if child:
            os.kill(child, signal.SIGKILL)

    network = os.path.join(directory, "network")
    os.symlink(f"/proc/{os.getpid()}/ns/net", network)
    try:
        isolation.leave_network_and_processes()
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, stop)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                inside(paths, arguments.mode, groups, arguments.memory, network)
            except (Failed, RuntimeError, OSError, subprocess.SubprocessError) as error:
                say(f"did not start: {error}")
            finally:
                sys.stderr.flush()
                os._exit(code)
        if stopping:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    finally:
        isolation.remove_groups(groups)
        tidy(directory, False)
    sys.exit(0 if stopping else 1)


def control(arguments):
    cluster = client.Cluster(os.path.abspath(arguments.dir))
    action, rest = arguments.action, arguments.arguments
    if action in ("status", "ctr"):
        answer = cluster.control(action, arguments=rest)
        print(answer if isinstance(answer, str) else json.dumps(answer))
    elif action in ("pause", "resume", "stop", "start", "restart") and rest:
        getattr(cluster, action)(*rest)
    else:
        sys.exit(__doc__)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("up", "env", "ctl"):
        sub = commands.add_parser(name)
        sub.add_argument("--dir", required=True)
        if name == "up":
            sub.add_argument("--mode", choices=("full", "control"), default="full")
            sub.add_argument("--programs", help="the directory of the programs, instead of the one that build.sh makes")
            sub.add_argument("--memory", default="4g", help="what the state may use at the most")
            sub.add_argument("--with-parent", action="store_true", help="end when the process that started this one ends")
        elif name == "ctl":
            sub.add_argument("action")
            sub.add_argument("arguments", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.command == "up":
        up(arguments)
    elif arguments.command == "ctl":
        control(arguments)
    else:
        with open(os.path.join(arguments.dir, "env"), encoding="ascii") as f:
            print(f.read(), end="")


if __name__ == "__main__":
    main()
