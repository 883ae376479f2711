"""A real S3 server for the tests, and what happens to one: wrong credentials, restarts, storms of 503, slow lines.

The server is moto (PyPI): of the S3 servers that come as a package it is the one that does multipart uploads with ListParts and
ListMultipartUploads, and that checks every signature by the code of Amazon's own library, against users and their policies. (npm's s3rver has no
ListParts and is not maintained any more.) It keeps everything in memory, so its restarts are played by the relay in front of it, which closes
all connections and refuses new ones; the relay also notes every request with its outcome, which is the server's log.
"""
import json
import logging
import socket
import threading
import time


class Request:
    """One request as the relay saw it. status 0: it was cut off."""

    def __init__(self, method, target, headers):
        self.method, self.target, self.headers = method, target, headers
        self.status = 0
        self.body = 0  # bytes of the request that came
        self.answer = 0  # bytes of the answer that went
        self.path, _, query = target.partition("?")
        self.query = dict(part.partition("=")[::2] for part in query.split("&") if part)

    def __repr__(self):
        return f"{self.method} {self.target} {self.status} {self.body}/{self.answer}"


class Stream:
    """A socket that is read by lines and by pieces."""

    def __init__(self, sock):
        self.sock, self.rest = sock, b""

    def line(self):
        while b"\n" not in self.rest:
            piece = self.sock.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            self.rest += piece
        line, _, self.rest = self.rest.partition(b"\n")
        return line.rstrip(b"\r")

    def some(self, limit):
        if not self.rest:
            self.rest = self.sock.recv(min(limit, 65536))
            if not self.rest:
                raise ConnectionError("closed")
        piece, self.rest = self.rest[:limit], self.rest[limit:]
        return piece

    def head(self):
        first, headers = self.line(), []
        while line := self.line():
            name, _, value = line.partition(b":")
            headers.append((name.decode("latin-1").lower(), value.strip().decode("latin-1"), line))
        return first, headers


class Relay:
    """In front of the server: notes requests, and does to them what `fault` says.

    fault(request) is asked with the lock held: None, a status to answer with, "close" (before the server sees it) or "lose" (the server's
    answer never arrives)."""

    def __init__(self, server_port):
        self.server_port = server_port
        self.log, self.fault, self.rate = [], None, 0  # rate: bytes a second in either direction, of each connection; 0 = all there is
        self.down = False
        self.lock = threading.Lock()
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        """The server goes: connections end, new ones are refused at once."""
        with self.lock:
            self.down = True
            self.listener.close()
            for sock in self.open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        # accept() of a closed socket goes on until somebody comes
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        except OSError:
            pass

    def start(self):
        with self.lock:
            self.down = False
            self.listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self._accept, daemon=True).start()

    def requests(self, method=None, status=None, since=0):
        with self.lock:
            return [r for r in self.log[since:] if (not method or r.method == method) and (status is None or r.status == status)]

    def _accept(self):
        listener = self.listener
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                if self.down:
                    sock.close()
                    return
                self.open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        server = None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = Stream(sock)
            while True:
                server = self._one(sock, client, server)
                if server is None:
                    return
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()
            if server:
                server.sock.close()

    def _copy(self, source, target, length, count):
        began, done = time.monotonic(), 0
        while done < length:
            piece = source.some(min(length - done, self.rate // 10 if self.rate else 65536) or 1)
            done += len(piece)
            if target:
                target.sendall(piece)
            count(len(piece))
            if self.rate:
                ahead = done / self.rate - (time.monotonic() - began)
                if ahead > 0:
                    time.sleep(ahead)

    def _one(self, sock, client, server):
        first, headers = client.head()
        method, target, _ = first.decode("latin-1").split(" ", 2)
        values = {name: value for name, value, _ in headers}
        request = Request(method, target, values)
        with self.lock:
            self.log.append(request)
            what = self.fault(request) if self.fault else None

        def came(n):
            request.body += n

        def went(n):
            request.answer += n

        length = int(values.get("content-length", 0))
        if what == "close":
            return None
        if "expect" in values:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if isinstance(what, int):
            self._copy(client, None, length, came)
            code = {503: "SlowDown", 500: "InternalError", 403: "AccessDenied"}[what]
            body = f"<Error><Code>{code}</Code><Message>Said by the relay.</Message></Error>".encode()
            sock.sendall(f"HTTP/1.1 {what} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                         + (b"" if method == "HEAD" else body))
            request.status = what
            return server or Stream(socket.create_connection(("127.0.0.1", self.server_port)))
        server = server or Stream(socket.create_connection(("127.0.0.1", self.server_port)))
        server.sock.sendall(first + b"\r\n" + b"".join(line + b"\r\n" for name, _, line in headers if name != "expect") + b"\r\n")
        self._copy(client, server.sock, length, came)
        status_line, answer = server.head()
        status = int(status_line.split()[1])
        given = {name: value for name, value, _ in answer}
        if what == "lose":
            return None
        sock.sendall(status_line + b"\r\n" + b"".join(line + b"\r\n" for _, _, line in answer) + b"\r\n")
        if method != "HEAD" and status not in (204, 304):
            if given.get("transfer-encoding") == "chunked":
                self._chunks(server, sock, went)
            else:
                self._copy(server, sock, int(given["content-length"]), went)
        request.status = status
        if values.get("connection", "").lower() == "close" or given.get("connection", "").lower() == "close":
            return None
        return server

    def _chunks(self, server, sock, went):
        while True:
            line = server.line()
            sock.sendall(line + b"\r\n")
            size = int(line.split(b";")[0], 16)
            self._copy(server, sock, size, went)
            sock.sendall(server.line() + b"\r\n")
            if not size:
                return


class Storage:
    """The server with a relay before it, a bucket, and three users: everything, only reading, nothing."""

    def __init__(self, bucket="bucket"):
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        import boto3
        import botocore.config
        import moto.settings
        from moto.server import ThreadedMotoServer

        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        port = self.server.get_host_and_port()[1]
        self.relay = Relay(port)
        self.bucket = bucket
        self.boto3, self.plain = boto3, botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
        iam = boto3.client("iam", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="root",
                           aws_secret_access_key="root")
        self.users = {}
        for name, actions in (("all", ["s3:*"]), ("reader", ["s3:GetObject", "s3:ListBucket", "s3:HeadBucket"]), ("nobody", ["sqs:*"])):
            iam.create_user(UserName=name)
            policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
            key = iam.create_access_key(UserName=name)["AccessKey"]
            self.users[name] = (key["AccessKeyId"], key["SecretAccessKey"])
        moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0  # from here on signatures count
        self.client = self.client_of("all", port)
        self.client.create_bucket(Bucket=bucket)

    def client_of(self, user, port=None):
        """Amazon's own client, past the relay."""
        key = self.users[user]
        return self.boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port or self.relay.server_port}", region_name="us-east-1",
                                 aws_access_key_id=key[0], aws_secret_access_key=key[1], config=self.plain)

    def keys(self, prefix=""):
        """key → size of all objects below it."""
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            found.update({o["Key"]: o["Size"] for o in page.get("Contents", [])})
        return found

    def read(self, key):
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def write(self, key, data):
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def uploads(self):
        """Multipart uploads that were begun and not ended."""
        return self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])

    def clear(self):
        for key in self.keys():
            self.client.delete_object(Bucket=self.bucket, Key=key)
        for upload in self.uploads():
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def config(self, user="all", **more):
        """An entry of config.yaml."""
        key = self.users[user]
        entry = {"access_key_id": key[0], "access_key": key[1], "region": "us-east-1", "override_url": self.relay.url,
                 "addressing_style": "path"}
        entry.update(more)
        return entry
