#!/usr/bin/env python3
"""A web server in a task, opened in headless Chromium through the router: a page, what it loads, what it posts, cookies, a WebSocket.
`test_browser.py --bin BUILD [--browser PROGRAM]`."""
import argparse
import re
import subprocess
import sys
import tempfile

from test_interactive import Broken, LIMIT, Site, check

SERVER = '''
import base64, hashlib, http.server, struct, threading
DONE = threading.Event()
PAGE = b"""<!doctype html><title>A page</title><script>
const done = [];
async function all() {
    const said = await (await fetch("/said?who=a%2Fb", {method: "POST", body: "x".repeat(300000)})).text();
    done.push("post " + said, "cookies " + document.cookie.split("; ").sort().join("+"));
    const parts = await Promise.all([...Array(30).keys()].map(async i => (await (await fetch("/part/" + i)).text())));
    done.push("parts " + parts.join(""));
    const ws = new WebSocket("ws://" + location.host + "/talk", ["osmo-test"]);
    ws.onmessage = e => { done.push("socket " + ws.protocol + " " + e.data); ws.close(); };
    ws.onopen = () => ws.send("hello");
    ws.onclose = () => { document.body.textContent = "RES" + "ULT " + done.join("|") + " END"; fetch("/done"); };
}
all().catch(e => { document.body.textContent = "broke: " + e; fetch("/done"); });
</script><body>waiting</body><img src="/wait">"""  # a page is there when its images are

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, kind="text/plain", headers=()):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/talk":
            return self.talk()
        if self.path == "/wait":
            DONE.wait(30)
            return self.answer(b"")
        if self.path == "/done":
            DONE.set()
            return self.answer(b"")
        if self.path.startswith("/part/"):
            return self.answer(self.path[6:].encode() + b";")
        self.answer(PAGE, "text/html", [("Set-Cookie", "first=1"), ("Set-Cookie", "second=2")])

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(("%s %d" % (self.path, len(body))).encode())

    def talk(self):
        digest = hashlib.sha1((self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: "
                         + base64.b64encode(digest) + b"\\r\\nSec-WebSocket-Protocol: osmo-test\\r\\n\\r\\n")
        head = self.rfile.read(2)
        mask = self.rfile.read(4)
        text = bytes(c ^ mask[i % 4] for i, c in enumerate(self.rfile.read(head[1] & 127)))
        self.wfile.write(struct.pack("BB", 0x81, len(text) + 5) + b"echo " + text)
        self.close_connection = True
        self.rfile.read(6)

server = http.server.ThreadingHTTPServer(("127.0.0.1", 7009), Handler)
print("serves", flush=True)
server.serve_forever()
'''


def spec():
    text = "".join("        " + line + "\n" for line in SERVER.splitlines())
    return ("workflow:\n  name: web\n  tasks:\n  - name: server\n    image: debian:12\n    command: [python3, /tmp/server.py]\n    files:\n"
            "    - path: /tmp/server.py\n      contents: |\n" + text)


def story(site, browser):
    name = re.search(r'"name": "([^"]*)"', site.osmo("workflow", "submit", site.write("web.yaml", spec()), "-t", "json")).group(1)
    site.until("the server serves", lambda: "serves" in site.log(name))
    url = re.search(r"https?://\S+", site.osmo("workflow", "webserver", name, "server", "--port", "7009")).group(0)
    with tempfile.TemporaryDirectory() as profile:
        seen = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + profile, "--timeout=40000",
                               "--dump-dom", url], capture_output=True, timeout=LIMIT)
    page = seen.stdout.decode()
    found = re.search(r"RESULT (.*) END", page)
    if not found:
        raise Broken("%s shows %s %s" % (url, page[-500:], seen.stderr.decode()[-500:]))
    parts = dict(p.split(" ", 1) for p in found.group(1).split("|"))
    check("a page whose script posts 300,000 bytes; the path keeps its escapes", parts["post"] == "/said?who=a%2Fb 300000")
    check("two cookies", parts["cookies"] == "first=1+second=2")
    check("thirty requests at once", parts["parts"] == "".join("%d;" % i for i in range(30)))
    check("a WebSocket with its protocol", parts["socket"] == "osmo-test echo hello")
    site.osmo("workflow", "cancel", name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--browser", default="chromium-headless-shell")
    args = parser.parse_args()
    site, failures = Site(args, ["--cluster", "local"]), 0
    try:
        story(site, args.browser)
    except Exception as e:  # pylint: disable=broad-except
        failures = 1
        print("FAILED: %s: %s" % (type(e).__name__, e))
        site.tell()
    finally:
        site.end()
    print("%d failures" % failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
