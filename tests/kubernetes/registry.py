"""The container registry of a test cluster: what a node needs to pull the images of a store (images.py), over plain HTTP.
Repositories under private/ want a user and a password. A program of its own: registry.py STORE ADDRESS PORT"""
import base64
import http.server
import os
import re
import shutil
import sys

import images

USER, PASSWORD = "puller", "registry-password"  # of private/…
PATH = re.compile(r"/v2/([a-z0-9._/-]+)/(manifests|blobs)/([A-Za-z0-9._:-]+)$")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = None

    def refuse(self, status, code, message, **headers):
        body = f'{{"errors":[{{"code":"{code}","message":"{message}"}}]}}'.encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def allowed(self, repository):
        if not repository.startswith("private/"):
            return True
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return self.headers.get("Authorization") == expected

    def serve(self, path, kind, digest):
        with open(path, "rb") as f:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(os.fstat(f.fileno()).st_size))
            self.send_header("Docker-Content-Digest", digest)
            self.end_headers()
            if self.command != "HEAD":
                shutil.copyfileobj(f, self.wfile)

    def do_GET(self):  # noqa: N802 (the name is the base class's)
        path = self.path.split("?")[0]
        if path in ("/v2", "/v2/"):
            self.refuse(200, "OK", "")
            return
        asked = PATH.match(path)
        if not asked or ".." in path:
            self.refuse(404, "UNSUPPORTED", "no such path")
            return
        repository, kind, reference = asked.groups()
        if not self.allowed(repository):
            self.refuse(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate='Basic realm="test registry"')
            return
        try:
            if kind == "manifests" and not reference.startswith("sha256:"):
                with open(os.path.join(self.store, "tags", repository, reference), encoding="ascii") as f:
                    reference = f.read()
            media = images.MANIFEST if kind == "manifests" else "application/octet-stream"
            self.serve(os.path.join(self.store, "blobs", reference), media, reference)
        except FileNotFoundError:
            self.refuse(404, "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN", "not found")

    do_HEAD = do_GET


def main():
    Handler.store = sys.argv[1]
    http.server.ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), Handler).serve_forever()


if __name__ == "__main__":
    main()
