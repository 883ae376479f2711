#!/usr/bin/env python3
"""An agent with the WebSocket libraries of OSMO 6.4, for test_agent.py: what comes in is told on stdout, one JSON object a line,
what is to be done comes on stdin the same way. Messages are taken, acknowledged and refused as that agent does."""
import argparse
import asyncio
import json
import sys
import uuid
import zlib

import uvicorn

PREFIX = "/api/agent/"
KEYS = {
    "init": {"k8s_uid", "k8s_namespace", "version", "node_condition_prefix"},
    "logging": {"type", "text", "workflow_uuid"},
    "update_pod": {"workflow_uuid", "task_uuid", "retry_id", "container", "node", "pod_ip", "message", "status", "exit_code", "backend",
                   "conditions"},
    "monitor_pod": {"workflow_uuid", "task_uuid", "retry_id", "message"},
    "pod_conditions": {"workflow_uuid", "task_uuid", "retry_id", "conditions"},
    "pod_event": {"pod_name", "reason", "message", "timestamp"},
    "resource": {"hostname", "available", "conditions", "processed_fields", "allocatable_fields", "label_fields", "taints"},
    "resource_usage": {"hostname", "usage_fields", "non_workflow_usage_fields"},
    "delete_resource": {"resource"},
    "node_hash": {"node_hashes"},
    "heartbeat": {"time"},
    "pod_log": {"text", "task", "retry_id", "mask"},
    "job_status": {"status", "message"},
}


def tell(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Connection:
    def __init__(self, path, send):
        self.path, self.send, self.orders, self.init = path, send, asyncio.Queue(), False

    async def take(self, text):
        message = json.loads(text)
        kind, body = message["type"], message["body"]
        if set(message) != {"type", "body", "uuid"} or kind not in KEYS or set(body) - KEYS[kind]:
            tell(event="refused", path=self.path, text=text)
            raise ValueError("a message that nobody knows")
        if not self.init and kind not in ("init", "logging"):
            tell(event="refused", path=self.path, text=text)
            raise ValueError("a message before INIT")
        tell(event="message", path=self.path, type=kind, body=body)
        if self.init and self.path.startswith("listener/") and self.path != "listener/control":
            await self.say({"type": "ack", "body": {"uuid": message["uuid"]}, "uuid": uuid.uuid4().hex})
        self.init = self.init or kind == "init"

    async def say(self, message):
        await self.send({"type": "websocket.send", "text": json.dumps(message)})

    async def obey(self, order):
        if order["do"] == "raise":
            raise RuntimeError("as if a database had failed")
        if order["do"] == "close":
            await self.send({"type": "websocket.close", "code": order["code"], "reason": order.get("reason", "")})
        elif order["do"] == "job":
            await self.send({"type": "websocket.send", "bytes": zlib.compress(json.dumps(order["job"]).encode())})
        elif order["do"] == "bytes":
            await self.send({"type": "websocket.send", "bytes": bytes(order["size"])})
        else:
            await self.say(order["message"])

    async def talk(self, receive):
        incoming = asyncio.ensure_future(receive())
        orders = asyncio.ensure_future(self.orders.get())
        try:
            while True:
                await asyncio.wait([incoming, orders], return_when=asyncio.FIRST_COMPLETED)
                if incoming.done():
                    event = incoming.result()
                    if event["type"] == "websocket.disconnect":
                        tell(event="closed", path=self.path, code=event.get("code"))
                        return
                    if event.get("text") is not None:
                        await self.take(event["text"])
                    incoming = asyncio.ensure_future(receive())
                elif orders.done():
                    await self.obey(orders.result())
                    orders = asyncio.ensure_future(self.orders.get())
        finally:
            incoming.cancel()
            orders.cancel()


class Agent:
    def __init__(self):
        self.open = {}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await self.login(receive, send)
        elif scope["type"] == "websocket":
            await self.serve(scope, receive, send)

    async def login(self, receive, send):
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        token = json.loads(body)["token"]
        good = len(token) in (43, 64)
        answer = {"token": "a.b.c", "expires_at": 1900000000} if good else {"message": "no", "error_code": "USER"}
        tell(event="login", length=len(token))
        await send({"type": "http.response.start", "status": 200 if good else 422, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    async def serve(self, scope, receive, send):
        path = scope["path"]
        assert (await receive())["type"] == "websocket.connect"
        headers = {k.decode(): v.decode() for k, v in scope["headers"]}
        if not path.startswith(PREFIX) or not path.endswith("/backend/east") or headers.get("authorization") != "Bearer a.b.c":
            tell(event="refused", path=path, text="no such endpoint, or nobody")
            await send({"type": "websocket.close"})
            return
        c = Connection(path[len(PREFIX):-len("/backend/east")], send)
        await send({"type": "websocket.accept"})
        tell(event="open", path=c.path, offered=headers.get("sec-websocket-extensions", ""))
        self.open[c.path] = c
        if c.path == "worker":
            await c.say({"type": "heartbeat"})
        if c.path == "listener/control":
            await c.say({"type": "node_conditions", "body": {"rules": None}, "uuid": uuid.uuid4().hex})
        try:
            await c.talk(receive)
        finally:
            if self.open.get(c.path) is c:
                del self.open[c.path]

    async def orders(self):
        reader = asyncio.StreamReader(limit=1 << 26)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            order = json.loads(line)
            if order["path"] in self.open:
                self.open[order["path"]].orders.put_nowait(order)


async def main():
    p = argparse.ArgumentParser()
    p.add_argument("--port", type=int, required=True)
    p.add_argument("--ping", type=float, default=20, help="seconds between pings, and until one is given up")
    p.add_argument("--no-deflate", action="store_true")
    args = p.parse_args()
    agent = Agent()
    server = uvicorn.Server(uvicorn.Config(agent, host="127.0.0.1", port=args.port, ws="websockets", http="h11", log_level="critical",
                                           ws_ping_interval=args.ping, ws_ping_timeout=args.ping, lifespan="off",
                                           ws_per_message_deflate=not args.no_deflate, timeout_graceful_shutdown=2))
    orders = asyncio.ensure_future(agent.orders())
    await server.serve()
    orders.cancel()


if __name__ == "__main__":
    asyncio.run(main())
