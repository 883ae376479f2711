"""What the tests of data share: checks that count, the client, and a whole OSMO in a private directory."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time


class Checks:
    def __init__(self):
        self.failures = 0

    def check(self, what, good, detail=""):
        if good:
            print(f"ok: {what}", flush=True)
        else:
            self.failures += 1
            print(f"FAILED: {what}: {str(detail)[:3000]}", flush=True)
        return good

    def equal(self, what, got, wanted):
        return self.check(what, got == wanted, f"got {got!r}, expected {wanted!r}")

    def has(self, what, text, part):
        return self.check(what, part in text, f"{part!r} is not in: {text}")

    def end(self):
        print(f"{self.failures} failures")
        sys.exit(1 if self.failures else 0)


def eventually(seconds, question, pause=0.05):
    """For what has no event to wait for."""
    until = time.monotonic() + seconds
    while True:
        answer = question()
        if answer or time.monotonic() > until:
            return answer
        time.sleep(pause)


def read_tree(folder):
    """relative path → bytes of all files below it."""
    found = {}
    for directory, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, os.fsencode(folder)).decode("utf-8", "surrogateescape")] = file.read()
    return found


def write_tree(folder, files):
    for name, data in files.items():
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


class Client:
    """osmo with a configuration of its own, and nothing of ours in its environment."""

    def __init__(self, programs, directory):
        self.osmo = os.path.join(programs, "osmo")
        self.directory = pathlib.Path(directory)
        self.config = self.directory / "config"
        self.config.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "AZURE_", "OSMO_"))}
        self.environment.update(OSMO_CONFIG_FILE_DIR=str(self.config), OSMO_LOG_FILE_DIR=str(self.directory / "state"), TZ="UTC",
                                HOME=str(self.directory))

    def credentials(self, entries):
        """JSON is YAML."""
        (self.config / "config.yaml").write_text(json.dumps({"auth": {"data": entries}}))

    def start(self, *words, **environment):
        return subprocess.Popen([self.osmo, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**self.environment, **environment})

    def run(self, *words, timeout=120, **environment):
        """Exit status, and both outputs together."""
        process = self.start(*words, **environment)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            return 124, out + err
        return process.returncode, out + err


class Site(Client):
    """A service, a backend of the local cluster and a client that is logged in."""

    def __init__(self, programs):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="osmo-data.", dir=os.environ.get("TMPDIR", "/tmp")))
        directory.chmod(0o711)
        super().__init__(programs, directory)
        self.programs, self.service, self.backend, self.port, self.cluster_options = programs, None, None, 0, []
        for name in ("data", "backend", "state"):
            (directory / name).mkdir(mode=0o700, exist_ok=True)
        self.token = directory / "data" / "admin-token"

    def configure(self, settings):
        (self.directory / "osmo.yaml").write_text(json.dumps(settings))

    def _spawn(self, program, *words):
        log = open(self.directory / f"{program}.log", "ab")
        return subprocess.Popen([os.path.join(self.programs, program), *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                env=self.environment)

    def start_service(self):
        port_file = self.directory / "port"
        port_file.unlink(missing_ok=True)
        self.service = self._spawn("osmo-service", "--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.directory / "data"),
                                   "--port-file", str(port_file), "--config", str(self.directory / "osmo.yaml"))
        started = eventually(60, lambda: port_file.exists() and port_file.read_text().strip() or self.service.poll() is not None)
        if not started or self.service.poll() is not None:
            raise RuntimeError("osmo-service did not start: " + (self.directory / "osmo-service.log").read_text()[-2000:])
        self.port = int(port_file.read_text())
        self.url = f"http://127.0.0.1:{self.port}"

    def start_all(self):
        self.start_service()
        code, out = self.run("login", self.url, "--method", "token", "--token-file", str(self.token))
        if code:
            raise RuntimeError(out)
        self.start_backend()

    def start_backend(self):
        self.backend = self._spawn("osmo-backend", "--service", self.url, "--name", "default", "--cluster", "local", "--token-file",
                                   str(self.token), "--state-dir", str(self.directory / "backend"), "--hide", str(self.directory / "data"),
                                   "--hide", str(self.config), *self.cluster_options)

    def stop(self, process, how=signal.SIGTERM):
        if process and process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self, failed):
        self.stop(self.backend)
        self.stop(self.service)
        for lock in (self.directory / "backend").glob("pods/*/lock"):
            pid = lock.read_text().strip()
            try:
                if pid and str(self.directory) in pathlib.Path("/proc", pid, "cmdline").read_text():
                    os.kill(int(pid), signal.SIGKILL)
            except (OSError, ValueError):
                pass
        for log in self.directory.glob("*.log"):
            text = log.read_text(errors="replace")
            if any(word in text for word in ("AddressSanitizer", "LeakSanitizer", "runtime error:")):
                print(f"FAILED: a sanitizer complained in {log.name}: {text[-3000:]}")
                failed = True
            if failed:
                print(f"--- {log.name}\n{text[-4000:]}")
        if os.environ.get("OSMO_KEEP"):
            print(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
        return failed

    def submit(self, spec, *words):
        """spec: a text, or what is below workflow:"""
        path = self.directory / "spec.yaml"
        path.write_text(spec if isinstance(spec, str) else "workflow: " + json.dumps(spec))  # JSON is YAML
        code, out = self.run("workflow", "submit", str(path), "-t", "json", *words)
        if code:
            return None, out
        return json.loads(out[out.index("{"):])["name"], out

    def finish(self, spec, timeout=120, *words):
        """id, status, log"""
        name, out = self.submit(spec, *words)
        if not name:
            return None, "NOT SUBMITTED", out
        self.run("workflow", "wait", name, "--timeout", str(timeout), "--quiet", timeout=timeout + 20)
        return name, self.status(name), self.run("workflow", "logs", name)[1]

    def query(self, name):
        code, out = self.run("workflow", "query", name, "-t", "json")
        return json.loads(out[out.index("{"):]) if not code else {}

    def status(self, name):
        return self.query(name).get("status")

    def tasks(self, name):
        return {task["name"]: task for group in self.query(name).get("groups", []) for task in group["tasks"]}


def arguments(description):
    import argparse

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--bin", required=True, help="the build directory")
    parser.add_argument("--site", required=True, help="where the packages are")
    parser.add_argument("--only", help="a part of the names of the functions to run")
    options = parser.parse_args()
    sys.path.insert(0, options.site)
    return options
