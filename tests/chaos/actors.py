"""The processes of the chaos test and the ways to end them: services, backends, a PostgreSQL, a balancer before replicas."""
import asyncio
import base64
import http.client
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.parse


class Broken(Exception):
    """What the test cannot go on after."""


class Process:
    """A child that shall live until it is killed."""

    def __init__(self, name, log):
        self.name, self.log, self.child = name, log, None

    def spawn(self, args):
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def check(self):
        if self.child and self.child.poll() is not None:
            raise Broken("%s ended by itself with %s; its last words are in %s" % (self.name, self.child.returncode, self.log))

    def end(self, how):
        """Returns the exit status; SIGTERM has to be obeyed."""
        self.check()
        self.child.send_signal(how)
        try:
            code = self.child.wait(60)
        except subprocess.TimeoutExpired:
            raise Broken("%s did not end within 60 s of SIGTERM" % self.name)
        self.child = None
        if how == signal.SIGTERM and code != 0:
            raise Broken("%s ended with %d after SIGTERM" % (self.name, code))
        return code

    def slay(self):
        if self.child and self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.child = None


class Service(Process):
    def __init__(self, env, number):
        super().__init__("service %d" % number, os.path.join(env.work, "service%d.log" % number))
        self.env, self.port, self.data = env, 0, os.path.join(env.work, "data%d" % number)
        self.port_file = os.path.join(env.work, "port%d" % number)
        os.mkdir(self.data, 0o700)

    def lose_disk(self):
        shutil.rmtree(self.data)
        os.mkdir(self.data, 0o700)

    def master_key(self):
        """One file for all: a service that loses its disk must not lose the keys of the database."""
        path = os.path.join(self.env.work, "master-key.yaml")
        if not os.path.exists(path):
            key = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
            jwk = base64.b64encode(json.dumps({"kty": "oct", "k": key}).encode()).decode()
            with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as f:
                f.write("currentMek: key1\nmeks:\n  key1: %s\n" % jwk)
        return path

    def start(self):
        if os.path.exists(self.port_file):
            os.unlink(self.port_file)
        args = [os.path.join(self.env.bin, "osmo-service"), "--listen", "127.0.0.1:%d" % self.port, "--data-dir", self.data,
                "--port-file", self.port_file, "--config", self.env.config, "--master-key", self.master_key()]
        if self.env.database_url:
            args += ["--database", self.env.database_url]
        if self.env.balancer:
            args += ["--base-url", self.env.url, "--storage", os.path.join(self.env.work, "storage")]
        self.spawn(args)
        until = time.monotonic() + 60
        while not (os.path.exists(self.port_file) and os.path.getsize(self.port_file)):
            self.check()
            if time.monotonic() > until:
                raise Broken("%s did not serve within 60 s" % self.name)
            time.sleep(0.005)
        with open(self.port_file) as f:
            self.port = int(f.read())


class Backend(Process):
    def __init__(self, env):
        super().__init__("backend", os.path.join(env.work, "backend.log"))
        self.env, self.state = env, os.path.join(env.work, "backend")
        os.mkdir(self.state, 0o700)

    def start(self):
        program = "osmo-backend" if self.env.real else "tests/chaos/chaos-backend"
        args = [os.path.join(self.env.bin, program), "--service", self.env.url, "--name", "default", "--token-file",
                self.env.token_file(), "--state-dir", self.state]
        if self.env.real:
            args += ["--cluster", "local", "--cpu-overcommit", "100", "--hide", self.env.services[0].data, "--hide",
                     os.path.join(self.env.work, "storage")]
        else:
            args += ["--cluster", "chaos"]
        self.spawn(args)

    def forget(self):
        """The cluster comes back empty."""
        open(os.path.join(self.state, "wiped"), "w").close()


class Postgres:
    def __init__(self, env):
        self.tool, self.dir = os.path.join(env.top, "tests/pgsql-server"), os.path.join(env.work, "pgsql")
        out = subprocess.run([self.tool, "start", self.dir], stdout=subprocess.PIPE, check=False)
        if out.returncode == 77:
            raise SystemExit(77)
        if out.returncode:
            raise Broken("no private PostgreSQL")
        self.url = out.stdout.decode().strip()

    def rows(self, sql):
        out = subprocess.run(["psql", "-XAtq", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-c", sql, self.url], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, check=False)
        if out.returncode:
            raise Broken("psql: %s" % out.stderr.decode().strip())
        return [line.split("\t") for line in out.stdout.decode().splitlines()]

    def cut(self):
        self.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                  " AND datname = current_database()")

    def crash(self):
        if subprocess.run([self.tool, "restart", self.dir], stdout=subprocess.DEVNULL, check=False).returncode:
            raise Broken("PostgreSQL did not come back after a crash")

    def slay(self):
        subprocess.run([self.tool, "stop", self.dir], stdout=subprocess.DEVNULL, check=False)


class Sqlite:
    def __init__(self, path):
        self.path = path

    def rows(self, sql):
        db = sqlite3.connect("file:%s?mode=ro" % urllib.parse.quote(self.path), uri=True, timeout=10)
        try:
            return [["" if v is None else str(v) for v in row] for row in db.execute(sql)]
        finally:
            db.close()


class Balancer:
    """Connections go to a replica that lives, by chance; as a load balancer before several services does."""

    def __init__(self, seed):
        self.targets, self.rng, self.port = {}, random.Random("%s/balancer" % seed), 0
        self.loop, ready = asyncio.new_event_loop(), threading.Event()
        self.thread = threading.Thread(target=self._main, args=(ready,), daemon=True)
        self.thread.start()
        ready.wait()

    def _main(self, ready):
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()

    async def _serve(self, reader, writer):
        ports = list(self.targets.values())
        self.rng.shuffle(ports)
        for port in ports:
            try:
                up = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                continue
        else:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, up[1]), self._pump(up[0], writer))

    @staticmethod
    async def _pump(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()


class Client:
    """The HTTP API. Answers (status, object); (0, None) when there was no answer, so that nobody knows."""

    def __init__(self, env):
        self.env, self.jwt = env, None

    def once(self, method, path, body=None, timeout=20):
        url = urllib.parse.urlsplit(self.env.url)
        conn = http.client.HTTPConnection(url.hostname, url.port, timeout=timeout)
        try:
            headers = {"Content-Type": "application/json"}
            if self.jwt:
                headers["Authorization"] = "Bearer " + self.jwt
            conn.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = conn.getresponse()
            text = answer.read()
            return answer.status, text
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            conn.close()

    def login(self):
        with open(self.env.token_file()) as f:
            token = f.read().strip()
        status, text = self.once("POST", "/api/auth/jwt/access_token", {"token": token})
        if status == 200:
            self.jwt = json.loads(text)["token"]
        return status

    def call(self, method, path, body=None):
        status, text = self.once(method, path, body)
        if status == 401 and self.login() == 200:
            status, text = self.once(method, path, body)
        try:
            return status, json.loads(text) if text else None
        except ValueError:
            return status, text.decode("utf-8", "replace")
