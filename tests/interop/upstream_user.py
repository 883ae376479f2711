"""What the client and the in-pod runtime of OSMO 6.4 do for exec, port-forward and rsync, with the WebSocket library that its client uses:
`User` is the side of the client, `Ctrl` that of osmo_ctrl with osmo_exec. For test_interactive.py."""
import asyncio
import fcntl
import json
import os
import pty
import socket
import struct
import termios
import urllib.error
import urllib.parse
import urllib.request
import uuid

import websockets


async def carry(ws, reader, writer, most):
    """Both ways, until the first of them ends."""
    async def up():
        while True:
            data = await reader.read(most)
            if not data:
                return
            await ws.send(data)

    async def down():
        async for data in ws:
            writer.write(data)
            await writer.drain()

    both = [asyncio.ensure_future(up()), asyncio.ensure_future(down())]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for t in both:
        t.cancel()


class Refused(Exception):
    """An HTTP answer that is no 200."""

    def __init__(self, status, text):
        super().__init__("%d %s" % (status, text))
        self.status = status


class Api:
    def __init__(self, url, token):
        self.url, self.token = url, token

    def headers(self, cookie=""):
        h = {"Authorization": "Bearer " + self.token, "x-osmo-client-version": "6.4.0"}
        if cookie:
            h["Cookie"] = cookie
        return h

    def call(self, method, path, query=()):
        url = self.url + path + ("?" + urllib.parse.urlencode(query) if query else "")
        request = urllib.request.Request(url, method=method, headers=self.headers())
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read()), answer.headers
        except urllib.error.HTTPError as e:
            raise Refused(e.code, e.read().decode())

    def cookie(self):
        """The client asks the router for one before each connection, and gives it back attributes and all."""
        return ", ".join(self.call("GET", "/api/router/version")[1].get_all("Set-Cookie") or [])

    def dial(self, info, path):
        # no limit on what is waited for: pings of 20 s, frames of 1 MiB, deflate offered, as that library does by itself
        return websockets.connect(info["router_address"] + path, extra_headers=self.headers(info["cookie"]))


class User:
    def __init__(self, api, workflow):
        self.api, self.workflow = api, workflow

    def post(self, kind, task, **query):
        return self.api.call("POST", "/api/workflow/%s/%s/%s" % (self.workflow, kind, task), query)[0]

    def client(self, kind, info, key=None):
        return self.api.dial(info, "/api/router/%s/%s/client/%s" % (kind, self.workflow, key or info["key"]))

    async def shell(self, task, entry, talk):
        """Opens a session; `talk` gets a function that sends and one that reads until a text came. What came until the end."""
        info = await asyncio.to_thread(self.post, "exec/task", task, entry_command=entry)
        async with self.client("exec", info) as ws:
            await ws.send(json.dumps({"Rows": 24, "Cols": 80}).encode())
            seen = bytearray()

            async def until(text):
                while text.encode() not in seen:
                    piece = await asyncio.wait_for(ws.recv(), 30)
                    if not isinstance(piece, bytes):
                        raise Refused(0, "a text frame: this client would not know what to do with it")
                    seen.extend(piece)

            await talk(ws.send, until)
            try:
                while True:
                    seen.extend(await asyncio.wait_for(ws.recv(), 30))
            except websockets.ConnectionClosed:
                return seen.decode(errors="replace")

    async def forward(self, task, port, udp=False):
        """One forwarded port; the local end."""
        info = (await asyncio.to_thread(self.post, "portforward", task, task_ports=port, use_udp=udp))[0]
        control = await self.client("portforward", info)
        return (UdpForward if udp else TcpForward)(self, info, control)

    async def rsync(self, task):
        info = await asyncio.to_thread(self.post, "rsync/task", task)
        control = await self.client("rsync", info)
        return TcpForward(self, info, control, "rsync")


class TcpForward:
    """A listener whose connections each get a session of their own, under a key that the client makes up."""

    def __init__(self, user, info, control, kind="portforward"):
        self.user, self.info, self.control, self.kind, self.tasks = user, info, control, kind, set()

    async def start(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        key, cookie = "PORTFORWARD-" + uuid.uuid4().hex, await asyncio.to_thread(self.user.api.cookie)
        await self.control.send(json.dumps({"key": key, "cookie": cookie}).encode())
        info = dict(self.info, cookie=cookie)
        async with self.user.client(self.kind, info, key) as ws:
            await carry(ws, reader, writer, 4096)
        writer.close()

    async def close(self):
        self.server.close()
        await self.control.close()


class UdpForward:
    """Datagrams as frames: four bytes of address, two of port, payload."""

    def __init__(self, user, info, control):
        self.user, self.info, self.control = user, info, control

    async def ask(self, source, payload):
        head = socket.inet_aton(source[0]) + struct.pack(">H", source[1])
        await self.control.send(head + payload)
        answer = await asyncio.wait_for(self.control.recv(), 30)
        return answer[:6] == head, answer[6:]

    async def close(self):
        await self.control.close()


class Ctrl:
    """osmo_ctrl as far as actions go; commands run here, ports are those of this machine."""

    def __init__(self, api, workflow, task, retry=0):
        self.api, self.workflow, self.task, self.retry = api, workflow, task, retry
        self.actions, self.running = asyncio.Queue(), set()

    async def connect(self):
        path = "/api/logger/workflow/%s/osmo_ctrl/%s/retry_id/%d" % (self.workflow, self.task, self.retry)
        self.logger = await websockets.connect(self.api.url.replace("http", "ws", 1) + path, extra_headers=self.api.headers(), compression=None)
        self._go(self._read())

    def _go(self, work):
        task = asyncio.ensure_future(work)
        self.running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task):
        self.running.discard(task)
        if not task.cancelled() and task.exception():
            print("the runtime: %r" % task.exception(), flush=True)

    async def say(self, kind, text, **more):
        """Twice encoded, one line a frame."""
        line = {"Source": self.task, "Time": "2026-01-02T03:04:05.678901234Z", "Text": text, "IOType": kind, **more}
        await self.logger.send(json.dumps(json.dumps(line)))

    async def _read(self):
        async for message in self.logger:
            if isinstance(message, bytes):  # in a text frame an action is not seen
                action = json.loads(message)
                self.actions.put_nowait(action)
                self._go(getattr(self, "_" + action["action"])(action))

    def backend(self, kind, info, key=None):
        return self.api.dial(dict(info, router_address=info.get("router_address") or self.router),
                             "/api/router/%s/%s/backend/%s" % (kind, self.workflow, key or info["key"]))

    async def _exec(self, action):
        async with self.backend("exec", action) as ws:
            size = json.loads(await ws.recv())
            pid, fd = pty.fork()
            if pid == 0:
                os.execlp("sh", "sh", "-c", action["entry_command"])
            fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size["Rows"], size["Cols"], 0, 0))
            loop = asyncio.get_running_loop()

            async def out():
                while True:
                    try:
                        data = await loop.run_in_executor(None, os.read, fd, 1024)
                    except OSError:
                        return
                    await ws.send(data)

            async def into():
                async for data in ws:
                    os.write(fd, data)

            both = [asyncio.ensure_future(out()), asyncio.ensure_future(into())]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for t in both:
                t.cancel()
        os.close(fd)
        os.waitpid(pid, 0)

    async def _portforward(self, action):
        self.router = action["router_address"]
        async with self.backend("portforward", action) as control:
            if action["use_udp"]:
                await self._datagrams(control, action["task_port"])
                return
            async for message in control:
                self._go(self._connection(json.loads(message), action["task_port"]))

    async def _webserver(self, action):
        self.router = action["router_address"]
        async with self.backend("webserver", action) as control:
            async for message in control:
                self._go(self._connection(json.loads(message), action["task_port"]))

    async def _connection(self, info, port):
        async with self.backend("portforward", info) as ws:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)

            await carry(ws, reader, writer, 32768)
            writer.close()

    async def _datagrams(self, control, port):
        loop = asyncio.get_running_loop()
        async for message in control:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.setblocking(False)
                s.connect(("127.0.0.1", port))
                await loop.sock_sendall(s, message[6:])
                await control.send(message[:6] + await asyncio.wait_for(loop.sock_recv(s, 32762), 30))

    async def close(self):
        for t in list(self.running):
            t.cancel()
        await self.logger.close()
