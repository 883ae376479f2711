#!/usr/bin/env python3
"""Interactive access between OSMO 6.4 and us, with the very WebSocket library of its client: its client on a task of ours, our client on a
task whose runtime is its. `test_interactive.py --bin BUILD --site DIR`."""
import argparse
import asyncio
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

LIMIT = 60
SPEC = """workflow:
  name: talk
  tasks:
  - name: server
    image: debian:12
    command: [sh, -c]
    args: ["mkdir -p /osmo/run/workspace; python3 /tmp/echo.py & while :; do sleep 1; done"]
    files:
    - path: /tmp/echo.py
      contents: |
        import socket, threading
        def tcp():
            s = socket.create_server(("127.0.0.1", 7007), backlog=200)
            while True:
                c = s.accept()[0]
                threading.Thread(target=echo, args=(c,), daemon=True).start()
        def echo(c):
            while True:
                d = c.recv(65536)
                if not d:
                    return
                c.sendall(d)
        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        u.bind(("127.0.0.1", 7008))
        threading.Thread(target=tcp, daemon=True).start()
        print("echoes", flush=True)
        while True:
            d, a = u.recvfrom(65536)
            u.sendto(d, a)
"""
SCRIPT = "tasks:\n  server: {duration_ms: 3600000}\n"


class Broken(Exception):
    pass


def check(what, condition):
    if not condition:
        raise Broken(what)
    print("ok: " + what, flush=True)


class Site:
    """A service and a backend, and the client logged in."""

    def __init__(self, args, cluster):
        self.bin, self.dir, self.children = args.bin, tempfile.mkdtemp(prefix="osmo-interop."), []
        os.chmod(self.dir, 0o711)
        for name in ("data", "config", "state", "backend"):
            os.mkdir(os.path.join(self.dir, name), 0o700)
        self.env = dict(os.environ, OSMO_CONFIG_FILE_DIR=self.path("config"), OSMO_LOG_FILE_DIR=self.path("state"), TZ="UTC")
        self.start("osmo-service", "--listen", "127.0.0.1:0", "--data-dir", self.path("data"), "--port-file", self.path("port"))
        self.until("the service listens", lambda: os.path.exists(self.path("port")) and open(self.path("port")).read())
        self.url = "http://127.0.0.1:" + open(self.path("port")).read().strip()
        self.osmo("login", self.url, "--method", "token", "--token-file", self.path("data/admin-token"))
        self.token = re.search(r"id_token: *(\S+)", open(self.path("config/login.yaml")).read()).group(1)
        self.start("osmo-backend", "--service", self.url, "--name", "default", "--token-file", self.path("data/admin-token"), "--state-dir",
                   self.path("backend"), *cluster)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def start(self, program, *args):
        log = open(self.path(program + ".log"), "ab")
        self.children.append(subprocess.Popen([os.path.join(self.bin, program), *args], env=self.env, stdout=log, stderr=log))
        log.close()

    def until(self, what, condition):
        end = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > end:
                raise Broken("in %d s it did not happen that %s" % (LIMIT, what))
            time.sleep(0.05)

    def osmo(self, *args, **more):
        done = subprocess.run([os.path.join(self.bin, "osmo"), *args], env=self.env, capture_output=True, timeout=LIMIT, **more)
        if done.returncode:
            raise Broken("osmo %s: %s" % (" ".join(args), (done.stdout + done.stderr).decode()))
        return done.stdout.decode()

    def log(self, name):
        """What there is until now."""
        request = urllib.request.Request("%s/api/workflow/%s/logs?follow=false" % (self.url, name), headers={"Authorization": "Bearer " + self.token})
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return answer.read().decode()

    def running(self):
        name = re.search(r'"name": "([^"]*)"', self.osmo("workflow", "submit", self.write("spec.yaml", SPEC), "-t", "json")).group(1)
        self.until(name + " runs", lambda: '"status": "RUNNING"' in self.osmo("workflow", "query", name, "-t", "json"))
        return name

    def end(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
            child.wait(LIMIT)
        for f in os.listdir(self.path("backend/pods")) if os.path.isdir(self.path("backend/pods")) else []:
            try:
                os.kill(int(open(self.path("backend/pods/%s/lock" % f)).read()), signal.SIGKILL)
            except (OSError, ValueError):
                pass
        shutil.rmtree(self.dir, ignore_errors=True)

    def tell(self):
        for name in ("osmo-service.log", "osmo-backend.log"):
            print("--- " + name, open(self.path(name), errors="replace").read()[-4000:])


async def echo(port, size):
    """What goes in comes out."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent, got = hashlib.sha256(), hashlib.sha256()

    async def fill():
        left = size
        while left:
            piece = os.urandom(min(left, 60000))
            sent.update(piece)
            writer.write(piece)
            await writer.drain()
            left -= len(piece)

    filling, left = asyncio.ensure_future(fill()), size
    while left:
        piece = await asyncio.wait_for(reader.read(65536), LIMIT)
        if not piece:
            raise Broken("the connection ended %d bytes early" % left)
        got.update(piece)
        left -= len(piece)
    await filling
    writer.close()
    return sent.digest() == got.digest()


async def their_client(site):
    """Against a real task on the local cluster."""
    from upstream_user import Api, Refused, User
    name = await asyncio.to_thread(site.running)
    user = User(Api(site.url, site.token), name)
    await asyncio.to_thread(site.until, "the task echoes", lambda: "echoes" in site.log(name))

    async def talk(send, until):
        await until("$ ")
        await send(b"stty size; echo $((40 + 2))\n")
        await until("24 80")
        await until("42")
        await send(b'\0RESIZE:{"Rows":50,"Cols":132}')
        await send(b"stty size\n")
        await until("50 132")
        await send(b"sh -c 'echo run''ning; exec sleep 100'\n")
        await until("running\r\n")  # in the foreground, then
        await send(b"\x03")
        await send(b"echo interrupted\n")
        await until("interrupted\r\n")
        await send(b"exit 3\n")

    check("their exec: a shell, sizes, ^C, its end", "interrupted" in await user.shell("server", "/bin/sh", talk))
    forward = await user.forward("server", 7007)
    port = await forward.start()
    check("their port-forward: a megabyte there and back", await echo(port, 1 << 20))
    check("their port-forward: 20 connections at once", all(await asyncio.gather(*[echo(port, 50000) for _ in range(20)])))
    await forward.close()
    forward = await user.forward("server", 7008, udp=True)
    check("their UDP: an answer comes to whom it belongs", await forward.ask(("10.1.2.3", 4567), b"datagram") == (True, b"datagram"))
    await forward.close()
    try:
        await asyncio.to_thread(user.post, "exec/task", "nobody", entry_command="sh")
        check("their exec into a task that is not there is refused", False)
    except Refused as e:
        check("their exec into a task that is not there is 404", e.status == 404)
    await asyncio.to_thread(site.osmo, "workflow", "cancel", name)


def http_get(host, port, name):
    with socket.create_connection((host, port), LIMIT) as s:
        s.sendall(("GET /hello?a=%2F HTTP/1.1\r\nHost: " + name + "\r\nConnection: close\r\n\r\n").encode())
        answer = b""
        while True:
            piece = s.recv(65536)
            if not piece:
                return answer.decode()
            answer += piece


async def their_runtime(site):
    """Our client, and a ctrl that knows nothing but OSMO 6.4."""
    from upstream_user import Api, Ctrl
    name = await asyncio.to_thread(site.running)
    ctrl = Ctrl(Api(site.url, site.token), name, "server")
    await ctrl.connect()
    await ctrl.say("STDOUT", "a line")
    await asyncio.to_thread(site.until, "the line is in the log", lambda: "a line" in site.log(name))

    def ours():
        answer = subprocess.run([os.path.join(site.bin, "osmo"), "workflow", "exec", name, "server", "--entry", "echo from $((1 + 1)) shells"],
                                env=site.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT)
        return answer.stdout.decode()

    check("our exec: what their command says", "from 2 shells" in await asyncio.to_thread(ours))
    async def echoes(reader, writer):
        while True:
            data = await reader.read(65536)
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            self.transport.sendto(data, addr)

    async def page(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        text = b"you asked for " + head.split(b" ")[1]
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n" + text)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echoes, "127.0.0.1", 0)
    task_port = server.sockets[0].getsockname()[1]
    web = await asyncio.start_server(page, "127.0.0.1", 0)
    web_port = web.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    udp_port = transport.get_extra_info("sockname")[1]

    def free_port():
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    local = free_port()
    client = subprocess.Popen([os.path.join(site.bin, "osmo"), "workflow", "port-forward", name, "server", "--port", "%d:%d" % (local, task_port)],
                              env=site.env, stdout=subprocess.DEVNULL)
    await asyncio.to_thread(site.until, "our client listens", lambda: socket.socket().connect_ex(("127.0.0.1", local)) == 0)
    check("our port-forward: a megabyte there and back", await echo(local, 1 << 20))
    check("our port-forward: 20 connections at once", all(await asyncio.gather(*[echo(local, 50000) for _ in range(20)])))
    client.send_signal(signal.SIGINT)
    client.wait(LIMIT)

    local = free_port()
    client = subprocess.Popen([os.path.join(site.bin, "osmo"), "workflow", "port-forward", name, "server", "--udp", "--port",
                               "%d:%d" % (local, udp_port)], env=site.env, stdout=subprocess.DEVNULL)

    def ask():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(1)
            end = time.monotonic() + LIMIT
            while time.monotonic() < end:
                try:
                    s.connect(("127.0.0.1", local))
                    s.send(b"datagram")
                    return s.recv(100)
                except OSError:
                    time.sleep(0.1)

    check("our UDP: an answer", await asyncio.to_thread(ask) == b"datagram")
    client.send_signal(signal.SIGINT)
    client.wait(LIMIT)
    transport.close()

    text = await asyncio.to_thread(site.osmo, "workflow", "webserver", name, "server", "--port", str(web_port))
    host = re.search(r"https?://([^/:\s]+)", text).group(1)
    answer = await asyncio.to_thread(http_get, "127.0.0.1", int(site.url.rsplit(":", 1)[1]), host)
    check("our web server session: the path as it was", "you asked for /hello?a=%2F" in answer)
    check("our web server session: both cookies", answer.count("et-Cookie:") == 2 or answer.count("et-cookie:") == 2)
    await ctrl.close()
    server.close()
    web.close()
    await asyncio.to_thread(site.osmo, "workflow", "cancel", name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--site", required=True)
    args = parser.parse_args()
    sys.path[:0] = [args.site, os.path.dirname(os.path.abspath(__file__))]
    failures = 0
    for story, cluster in ((their_client, ["--cluster", "local"]), (their_runtime, ["--cluster", "scripted", "--script"])):
        if cluster[-1] == "--script":
            script = tempfile.NamedTemporaryFile("w", suffix=".yaml")
            script.write(SCRIPT)
            script.flush()
            cluster = cluster + [script.name]
        site = Site(args, cluster)
        try:
            asyncio.run(asyncio.wait_for(story(site), 300))
        except Exception as e:  # pylint: disable=broad-except
            failures += 1
            print("FAILED: %s: %s: %s" % (story.__name__, type(e).__name__, e), flush=True)
            site.tell()
        finally:
            site.end()
    print("%d failures" % failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
