"""osmo data against Azurite, Microsoft's own server of the Blob API for tests (npm): what S3's test does not go through."""
import base64
import email.utils
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile

import harness

options = harness.arguments(__doc__)
ACCOUNT = "devstoreaccount1"
KEY = base64.b64encode(bytes(range(64))).decode()
c = harness.Checks()
work = pathlib.Path(tempfile.mkdtemp(prefix="osmo-azure.", dir=os.environ.get("TMPDIR", "/tmp")))
client = harness.Client(options.bin, work / "client")
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]


def start():
    program = pathlib.Path(options.site).parent / "azure/node_modules/azurite/dist/src/blob/main.js"
    process = subprocess.Popen(["node", str(program), "--silent", "--blobPort", str(port), "--location", str(work / "azurite"), "--disableProductStyleUrl"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**client.environment, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"})

    def listens():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    if not harness.eventually(30, listens):
        raise RuntimeError("azurite did not start")
    return process


def make_container(name):
    """By hand: the client of ours has no such command."""
    date = email.utils.formatdate(usegmt=True)
    text = "\n".join(["PUT"] + [""] * 11 + [f"x-ms-date:{date}", "x-ms-version:2021-08-06", f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"])
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers={
        "x-ms-date": date, "x-ms-version": "2021-08-06", "Content-Length": "0", "Authorization": f"SharedKey {ACCOUNT}:{signature}"})
    answer = connection.getresponse()
    if answer.status != 201:
        raise RuntimeError(f"{answer.status} {answer.read()}")


def connect(key):
    string = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    client.credentials({f"azure://{ACCOUNT}": {"access_key_id": "any", "access_key": string}})


def data(*words, **environment):
    return client.run("data", *words, timeout=180, **environment)


uri = f"azure://{ACCOUNT}/box"
azurite = start()
try:
    make_container("box")
    connect(KEY)
    random.seed(5)
    files = {f"d{i % 7}/file{i}": b"content %d\n" % i * (i % 40) for i in range(300)}
    files.update({name: name.encode() for name in ("with space", "100%", "ü-€-😀", "a?b#c&d=e+f", "quote's", "semi;colon")})
    files["big"] = random.randbytes(1 << 20) * 70
    source, target = work / "source", work / "target"
    harness.write_tree(source, files)
    code, out = data("upload", f"{uri}/set", f"{source}/*")
    c.equal("upload: " + out[-300:], code, 0)
    code, out = data("list", f"{uri}/set", "-r", "-t", "json")
    c.equal("all are there: " + out[:200], {o["key"]: o["size"] for o in json.loads(out)}, {f"set/{name}": len(d) for name, d in files.items()})
    azurite.terminate()
    azurite.wait(20)
    azurite = start()
    code, out = data("download", f"{uri}/set", str(target))
    c.equal("download, after a restart: " + out[-300:], code, 0)
    c.check("as it was", harness.read_tree(target) == files)
    code, out = data("download", f"{uri}/set", str(target), "--resume")
    # a blob of several blocks has no checksum to go by
    c.check("what has a checksum is not carried again: " + out, f"({len(files) - 1} were there already)" in out or f"({len(files)} were there already)" in out)
    code, out = data("check", uri, "-a", "WRITE")
    c.has("access", out, "pass")
    code, out = data("delete", f"{uri}/set", "-x", "d[0-5]/")
    c.equal("deleted by regex: " + out, code, 0)
    code, out = data("list", f"{uri}/set", "-t", "json")
    c.equal("the rest", sorted(o.get("key") or o["prefix"] for o in json.loads(out))[:2], ["set/100%", "set/a?b#c&d=e+f"])
    environment = {"AZURE_STORAGE_CONNECTION_STRING": json.loads((client.config / "config.yaml").read_text())["auth"]["data"][f"azure://{ACCOUNT}"]["access_key"]}
    client.credentials({})
    c.equal("the credential of the environment", data("list", uri, **environment)[0], 0)
    connect(base64.b64encode(b"wrong" * 12).decode())
    code, out = data("download", f"{uri}/set", str(work / "other"))
    c.check("a wrong key: " + out, code == 2 and "d3Jvbmd3" not in out)
    c.check("leaves nothing", not harness.read_tree(work / "other") if (work / "other").exists() else True)
    code, out = data("check", uri)
    c.has("and may not", out, '"fail"')
finally:
    azurite.terminate()
    azurite.wait(20)
    shutil.rmtree(work, ignore_errors=True)
c.end()
