"""osmo data against a real S3 server: what arrives, what is said, what is left when something breaks."""
import json
import os
import pathlib
import pty
import random
import select
import shutil
import signal
import subprocess
import tempfile
import time

import harness

options = harness.arguments(__doc__)
import storage  # behind the path of its packages

MIB = 1 << 20
PART = 16 * MIB
c = harness.Checks()
work = pathlib.Path(tempfile.mkdtemp(prefix="osmo-data.", dir=os.environ.get("TMPDIR", "/tmp")))
s3 = storage.Storage()
client = harness.Client(options.bin, work / "client")
client.credentials({"s3://bucket": s3.config()})
random.seed(7)
large = random.randbytes(MIB) * 80  # five parts
large = b"".join(bytes([i]) + large[i * MIB + 1 : (i + 1) * MIB] for i in range(80))  # no two pieces alike


def data(*words, timeout=120, **environment):
    began = time.monotonic()
    answer = client.run("data", *words, timeout=timeout, **environment)
    if time.monotonic() - began > 5:
        print(f"    {time.monotonic() - began:.1f} s: {' '.join(words)}")
    return answer


def fresh(name):
    path = work / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def parts_of(log):
    """Numbers of the parts that the server has taken."""
    return sorted(int(r.query["partNumber"]) for r in log if r.method == "PUT" and "uploadId" in r.query and r.status == 200)


def test_round_trip():
    files = {f"d{i % 10}/file{i}": b"content of %d\n" % i * (i % 50) for i in range(1200)}
    files["big"] = large
    source = fresh("source")
    harness.write_tree(source, files)
    (source / "nothing in it").mkdir()
    code, out = data("upload", "s3://bucket/round/", f"{source}/*", "-b", str(work / "bench"))
    c.equal("upload of 1,201 files: " + out[-300:], code, 0)
    c.equal("all are there", s3.keys("round/"), {f"round/{name}": len(content) for name, content in files.items()})
    c.check("the large one as it was", s3.read("round/big") == large)
    c.has("it says how many", out, "Uploaded 1201 files")
    c.equal("the large one went in parts", parts_of(s3.relay.log), [1, 2, 3, 4, 5])
    bench = json.loads(next((work / "bench").glob("upload_objects_*.json")).read_text())
    c.equal("benchmark", (bench["total_number_of_files"], bench["total_bytes_transferred"]), (1201, sum(map(len, files.values()))))
    c.check("its times", bench["end_time_ms"] - bench["start_time_ms"] == bench["duration_ms"] and bench["average_mbps"] > 0, bench)
    target = fresh("target")
    code, out = data("download", "s3://bucket/round", str(target), "-T", "8")
    c.equal("download: " + out[-300:], code, 0)
    c.check("as it was", harness.read_tree(target) == files)
    before = len(s3.relay.log)
    code, out = data("download", "s3://bucket/round", str(target), "--resume")
    c.equal("again with --resume: " + out[-300:], code, 0)
    c.has("nothing is carried", out, "Downloaded 0 files, 0 B (1201 were there already)")
    c.equal("nothing is read", sum(r.answer for r in s3.relay.requests("GET", since=before) if r.path != "/bucket"), 0)
    (target / "d3/file3").write_bytes(b"content of 4\n" * 3)  # as long as it was
    code, out = data("download", "s3://bucket/round", str(target), "--resume")
    c.has("what differs is carried again: " + out[-200:], out, "Downloaded 1 files")
    c.check("as it was", harness.read_tree(target) == files)
    target = fresh("target")
    code, out = data("download", "s3://bucket/round/d1/file11", str(target))
    c.equal("one object", harness.read_tree(target), {"file11": files["d1/file11"]})
    code, out = data("download", "s3://bucket/no/such/thing", str(target))
    c.equal("nothing there is no failure: " + out, (code, "Downloaded 0 files" in out), (0, True))


def test_forms():
    source = fresh("source")
    harness.write_tree(source, {"top/a.txt": b"a", "top/sub/b.txt": b"b", "top/sub/c.bin": b"c", "single": b"s"})
    os.symlink("a.txt", source / "top/link")
    for words, wanted in (
        ([f"{source}/single"], {"single": 1}),
        ([f"{source}/top"], {"top/a.txt": 1, "top/sub/b.txt": 1, "top/sub/c.bin": 1, "top/link": 1}),
        ([f"{source}/top/*"], {"a.txt": 1, "sub/b.txt": 1, "sub/c.bin": 1, "link": 1}),
        ([f"{source}/top/*", f"{source}/single", "-x", "(sub/.*[.]txt|single)$"], {"sub/b.txt": 1, "single": 1}),
        ([f"{source}/top", "-x", "sub"], {}),
        ([f"{source}/top", "--regex", "top/s"], {"top/sub/b.txt": 1, "top/sub/c.bin": 1}),
    ):
        s3.clear()
        code, out = data("upload", "s3://bucket", *words)
        c.equal(f"upload {words}: {out}", (code, s3.keys()), (0, wanted))
    code, out = data("upload", "s3://bucket/x", str(source / "missing"))
    c.check("a file that is missing: " + out, code == 2 and "missing" in out)
    code, out = data("upload", "s3://bucket/x", str(source / "single"), "-x", "(")
    c.check("a regex that is none: " + out, code == 2 and "(" in out)
    code, out = data("upload", "bucket/x", str(source / "single"))
    c.check("an address that is none: " + out, code == 2 and "bucket/x" in out)


NAMES = ["with space", "100%", "%2F%41", "ü-ö-€-😀", "quote's\"", "back\\slash", "a?b#c&d=e+f", "semi;colon,comma", "-dash", ".hidden/.file",
         "x" * 200, "tab\there", "a dir/deep/er", "*", "tilde~!@$^()[]{}|`<>:", "\u00e9", "e\u0301"]


def test_names():
    s3.clear()
    files = {name: ("content of " + name).encode() for name in NAMES}
    source = fresh("source")
    harness.write_tree(source, files)
    code, out = data("upload", "s3://bucket/names ü/", f"{source}/*")
    c.equal("strange names go up: " + out, code, 0)
    c.equal("under these names", sorted(s3.keys()), sorted("names ü/" + name for name in files))
    target = fresh("target")
    code, out = data("download", "s3://bucket/names ü", str(target))
    c.equal("and come back: " + out, code, 0)
    c.check("unchanged", harness.read_tree(target) == files, sorted(harness.read_tree(target)))
    code, out = data("list", "s3://bucket/names ü", "-r", "-t", "json")
    c.equal("listed: " + out[:200], sorted(o["key"] for o in json.loads(out)), sorted("names ü/" + name for name in files))
    code, out = data("list", "s3://bucket/names ü", "-r")
    c.equal("a line each", len(out.splitlines()), len(files))
    code, out = data("delete", "s3://bucket/names ü")
    c.equal("deleted: " + out, (code, s3.keys()), (0, {}))
    # what others may have put there
    for key in ("evil/../../outside", "evil//double", "evil/a/./b", "evil/dir/"):
        s3.write(key, b"evil")
    s3.write("evil/good", b"good")
    target = fresh("target/inner/most".split("/")[0])
    (target / "inner").mkdir()
    code, out = data("download", "s3://bucket/evil", str(target / "inner"))
    c.check("a name that leads elsewhere fails: " + out, code == 2 and "outside" in out)
    c.check("and is not followed", not (target / "outside").exists() and not (work / "outside").exists())


def test_list():
    s3.clear()
    for key in ("top/a", "top/ab", "top/b/one", "top/b/two", "top/bc/three", "other"):
        s3.write(key, key.encode())
    def keys(*words):
        code, out = data("list", *words, "-t", "json")
        return [o.get("key", o.get("prefix")) for o in json.loads(out)] if not code else out

    c.equal("first level", sorted(keys("s3://bucket/top")), ["top/a", "top/ab", "top/b/", "top/bc/"])
    c.equal("everything", sorted(keys("s3://bucket", "-r")), ["other", "top/a", "top/ab", "top/b/one", "top/b/two", "top/bc/three"])
    c.equal("prefix", sorted(keys("s3://bucket/top", "--prefix", "a")), ["top/a", "top/ab"])
    c.equal("prefix with a slash", sorted(keys("s3://bucket", "-p", "top/b/t")), ["top/b/two"])
    c.equal("regex", sorted(keys("s3://bucket/top", "-r", "-x", "b/t|a$")), ["top/a", "top/b/two"])
    code, out = data("list", "s3://bucket/top", str(work / "list.txt"))
    c.equal("into a file: " + out, (code, len((work / "list.txt").read_text().splitlines())), (0, 4))
    code, out = data("list", "s3://bucket/top/b")
    line = out.splitlines()[0].split()
    c.check("date, size, name: " + out, len(line[0]) == 10 and line[2:] == ["9", "top/b/one"])
    code, out = data("list", "s3://bucket/none")
    c.equal("nothing: " + out, code, 0)
    for i in range(1150):
        s3.write(f"many/{i:04}", b"")
    c.equal("more than one page", len(keys("s3://bucket/many", "-r")), 1150)
    code, out = data("delete", "s3://bucket/many", "-x", "0[0-9]*[13579]$")
    c.equal("some are deleted: " + out, (code, len(s3.keys("many/"))), (0, 650))
    code, out = data("delete", "s3://bucket/many")
    c.equal("more than a batch: " + out, (code, len(s3.keys("many/"))), (0, 0))
    c.equal("nothing else", sorted(s3.keys()), ["other", "top/a", "top/ab", "top/b/one", "top/b/two", "top/bc/three"])
    code, out = data("delete", "s3://bucket/top/a")
    c.equal("one object, not what its name begins: " + out, (code, sorted(s3.keys("top/a"))), (0, ["top/ab"]))


def kill_when(process, question):
    """kill -9 as soon as it is true; False when the process ended before."""
    good = harness.eventually(60, lambda: question() or process.poll() is not None, 0.01)
    alive = process.poll() is None
    process.kill()
    process.communicate()
    return bool(good) and alive


def test_resume_upload():
    s3.clear()
    source = fresh("source")
    (source / "big").write_bytes(large)
    s3.relay.rate = 12 * MIB
    before = len(s3.relay.log)
    process = client.start("data", "upload", "s3://bucket/resume", f"{source}/*", "-T", "2")
    c.check("killed in the middle of an upload", kill_when(process, lambda: len(parts_of(s3.relay.log[before:])) >= 2))
    done = parts_of(s3.relay.log[before:])
    c.check(f"parts {done} are there, the object is not", 2 <= len(done) < 5 and not s3.keys())
    s3.relay.rate = 0
    time.sleep(0.3)  # what was on its way to the server
    done = parts_of(s3.relay.log[before:])
    code, out = data("upload", "s3://bucket/resume", f"{source}/*")
    c.equal("the second one ends well: " + out, code, 0)
    taken = parts_of(s3.relay.log[before:])
    c.equal(f"no part was sent twice ({done} before)", taken, [1, 2, 3, 4, 5])
    c.check("the content is equal", s3.read("resume/big") == large)
    c.equal("nothing begun is left", s3.uploads(), [])
    # another file under the name: what is there belongs to the first
    s3.relay.rate = 12 * MIB
    (source / "big").write_bytes(large[::-1])
    before = len(s3.relay.log)
    process = client.start("data", "upload", "s3://bucket/resume", f"{source}/*", "-T", "2")
    c.check("killed again", kill_when(process, lambda: len(parts_of(s3.relay.log[before:])) >= 2))
    s3.relay.rate = 0
    (source / "big").write_bytes(large)
    code, out = data("upload", "s3://bucket/resume", f"{source}/*")
    c.check("parts of another content are not used: " + out, code == 0 and s3.read("resume/big") == large)


def test_resume_download():
    s3.clear()
    s3.write("big", large)
    target = fresh("target")
    s3.relay.rate = 8 * MIB
    before = len(s3.relay.log)
    process = client.start("data", "download", "s3://bucket/big", str(target), "-T", "2")
    got = lambda: sum(r.answer for r in s3.relay.requests("GET", since=before))
    c.check("killed in the middle of a download", kill_when(process, lambda: got() > 34 * MIB))
    c.check("nothing has the name yet", not (target / "big").exists(), os.listdir(target))
    s3.relay.rate = 0
    time.sleep(0.3)
    first, before = got(), len(s3.relay.log)
    code, out = data("download", "s3://bucket/big", str(target), "--resume")
    c.equal("the second one ends well: " + out, code, 0)
    second = sum(r.answer for r in s3.relay.requests("GET", since=before))
    c.check("the content is equal", (target / "big").read_bytes() == large)
    c.equal("nothing else is left", os.listdir(target), ["big"])
    c.check(f"what was there is not read again: {first / MIB:.0f} and {second / MIB:.0f} MiB", second < len(large) - 24 * MIB)
    # changed meanwhile: what has come is of no use
    s3.relay.rate = 8 * MIB
    target = fresh("target")
    before = len(s3.relay.log)
    process = client.start("data", "download", "s3://bucket/big", str(target), "-T", "2")
    c.check("killed again", kill_when(process, lambda: got() > 34 * MIB))
    s3.relay.rate = 0
    s3.write("big", large[::-1])
    code, out = data("download", "s3://bucket/big", str(target), "--resume")
    c.check("an object that has changed is read anew: " + out, code == 0 and (target / "big").read_bytes() == large[::-1])


def test_credentials():
    s3.clear()
    s3.write("there", b"x" * 1000)
    s3.users["wrong"] = (s3.users["all"][0], "wrong-" + s3.users["all"][1])
    s3.users["unknown"] = ("AKIAUNKNOWN", "whatever-secret")
    source, target = fresh("source"), fresh("target")
    harness.write_tree(source, {"one": b"1", "two": b"2"})
    for user, words, good in (
        ("wrong", ("download", "s3://bucket/there"), False), ("unknown", ("download", "s3://bucket/there"), False),
        ("nobody", ("download", "s3://bucket/there"), False), ("reader", ("download", "s3://bucket/there"), True),
        ("wrong", ("upload", "s3://bucket/up"), False), ("reader", ("upload", "s3://bucket/up"), False), ("nobody", ("list", "s3://bucket"), False),
        ("reader", ("list", "s3://bucket"), True), ("reader", ("delete", "s3://bucket/there"), False), ("all", ("upload", "s3://bucket/up"), True),
    ):
        client.credentials({"s3://bucket": s3.config(user)})
        before = len(s3.relay.log)
        words += (str(target),) if words[0] == "download" else (f"{source}/*",) if words[0] == "upload" else ()
        code, out = data(*words)
        c.equal(f"{words[0]} as {user}: {out[-300:]}", code, 0 if good else 2)
        if not good:
            targets = [(r.method, r.target) for r in s3.relay.log[before:] if r.status == 403]
            c.check(f"what is refused is asked once: {targets}", targets and len(targets) == len(set(targets)))
            c.check("the address is named", "s3://bucket" in out or "bucket" in out)
            c.check("no secret is told", s3.users[user][1] not in out)
    c.equal("nothing partial is left", (sorted(os.listdir(target)), sorted(s3.keys())), (["there"], ["there", "up/one", "up/two"]))
    client.credentials({"s3://other": s3.config()})
    code, out = data("list", "gs://bucket")
    c.check("without a credential where one is needed: " + out, code == 2 and "gs://bucket" in out)
    # from the environment
    client.credentials({})
    environment = dict(AWS_ACCESS_KEY_ID=s3.users["reader"][0], AWS_SECRET_ACCESS_KEY=s3.users["reader"][1], AWS_ENDPOINT_URL=s3.relay.url,
                       OSMO_S3_ADDRESSING_STYLE="path", AWS_REGION="us-east-1")
    c.equal("those of the environment", data("list", "s3://bucket", **environment)[0], 0)
    client.credentials({"s3://bucket": s3.config(addressing_style=None)})
    c.equal("path style by the environment", data("list", "s3://bucket", AWS_S3_FORCE_PATH_STYLE="1")[0], 0)
    # several: the longest prefix counts
    client.credentials({"s3://bucket": s3.config("unknown"), "s3://bucket/up": s3.config("all")})
    c.equal("the longest prefix", (data("list", "s3://bucket/up")[0], data("list", "s3://bucket/u")[0]), (0, 2))


def test_check():
    def ask(user, access, **environment):
        client.credentials({"s3://bucket": s3.config(user)})
        code, out = data("check", "s3://bucket/some/where", "--access-type", access, **environment)
        return code, json.loads(out)["status"] if out.startswith("{") else out

    c.equal("all may read", ask("all", "READ"), (0, "pass"))
    c.equal("all may write", ask("all", "WRITE"), (0, "pass"))
    c.equal("all may delete", ask("all", "DELETE"), (0, "pass"))
    c.equal("a reader may read", ask("reader", "READ"), (0, "pass"))
    c.equal("nobody may", ask("nobody", "READ"), (0, "fail"))
    c.equal("a wrong key may not", ask("wrong", "READ"), (0, "fail"))
    c.equal("an unknown one may not write", ask("unknown", "WRITE"), (0, "fail"))
    c.equal("it is not asked where that is switched off", ask("nobody", "READ", OSMO_SKIP_DATA_AUTH="1"), (0, "pass"))
    client.credentials({})
    (work / "other.yaml").write_text(json.dumps({"auth": {"data": {"s3://bucket": s3.config()}}}))
    c.equal("another file of credentials", data("check", "s3://bucket", "-c", str(work / "other.yaml")), (0, '{"status":"pass"}\n'))
    client.credentials({"s3://bucket": s3.config(override_url="http://127.0.0.1:9")})
    code, out = data("check", "s3://bucket", "--retry-for", "1")
    c.check("what cannot be found out is a failure: " + out, code == 10 and "127.0.0.1:9" in out)
    client.credentials({"s3://bucket": s3.config()})


def test_storms():
    """A quarter of all requests is refused, some are cut off, some answers are lost; the server is away for a while, twice."""
    s3.clear()
    client.credentials({"s3://bucket": s3.config()})
    files = {f"f{i}": b"%d\n" % i * 1000 for i in range(150)}
    files["big"] = large
    source, target = fresh("source"), fresh("target")
    harness.write_tree(source, files)
    dice = random.Random(3)

    def storm(request):
        roll = dice.random()
        if "uploads" in request.query and roll >= 0.3:
            return None  # an upload whose name is lost can be ended by nobody
        return 503 if roll < 0.2 else 500 if roll < 0.25 else "close" if roll < 0.3 else "lose" if roll < 0.35 else None

    def away(seconds):
        s3.relay.stop()
        time.sleep(seconds)
        s3.relay.start()

    s3.relay.fault = storm
    code, out = data("upload", "s3://bucket/storm", f"{source}/*", timeout=200)
    s3.relay.fault = None
    c.equal("upload through a storm: " + out[-400:], code, 0)
    c.check("complete", s3.keys() == {"storm/" + k: len(v) for k, v in files.items()} and s3.read("storm/big") == large)
    c.equal("nothing begun is left", s3.uploads(), [])
    s3.relay.fault = storm
    code, out = data("download", "s3://bucket/storm", str(target), timeout=200)
    s3.relay.fault = None
    c.equal("download through a storm: " + out[-400:], code, 0)
    c.check("complete", harness.read_tree(target) == files)
    target = fresh("target")
    s3.relay.rate = 20 * MIB
    for name, words, question in (("upload", ("upload", "s3://bucket/restart", f"{source}/*"), lambda: len(parts_of(s3.relay.log[before:])) >= 1),
                                  ("download", ("download", "s3://bucket/storm", str(target)), lambda: len(s3.relay.log) > before + 20)):
        before = len(s3.relay.log)
        process = client.start("data", *words)
        harness.eventually(30, question, 0.01)
        away(1.5)
        out, err = process.communicate(timeout=120)
        c.equal(f"{name} over a restart: {(out + err)[-400:]}", process.returncode, 0)
    s3.relay.rate = 0
    c.check("complete", harness.read_tree(target) == files and s3.read("restart/big") == large)
    # a refusal in the middle fails, names the file, and the rest is not pretended to be there
    s3.relay.fault = lambda r: 403 if r.path.endswith("/f77") else None
    code, out = data("upload", "s3://bucket/denied", f"{source}/*")
    c.check("one file is refused: " + out[-300:], code == 2 and "f77" in out)
    target = fresh("target")
    s3.relay.fault = lambda r: 403 if r.path.endswith("/f77") and r.method == "GET" else None
    code, out = data("download", "s3://bucket/storm", str(target))
    s3.relay.fault = None
    c.check("one object is refused: " + out[-300:], code == 2 and "f77" in out)
    c.check("nothing half is left of it", not [n for n in os.listdir(target) if "f77" in n], os.listdir(target))
    s3.relay.fault = lambda r: 403 if r.query.get("partNumber") == "3" else None
    code, out = data("upload", "s3://bucket/part", f"{source}/big")
    s3.relay.fault = None
    c.check("one part is refused: " + out[-300:], code == 2 and "big" in out)
    c.equal("the object is not there", s3.keys("part/"), {})
    time.sleep(0.5)  # what was on its way to the server
    begun, = [u for u in s3.uploads() if u["Key"] == "part/big"]
    there = [p["PartNumber"] for p in s3.client.list_parts(Bucket="bucket", Key=begun["Key"], UploadId=begun["UploadId"]).get("Parts", [])]
    before = len(s3.relay.log)
    code, out = data("upload", "s3://bucket/part", f"{source}/big")
    c.equal("its parts are for the next attempt: " + out, (code, sorted(parts_of(s3.relay.log[before:]) + there), s3.keys("part/")),
            (0, [1, 2, 3, 4, 5], {"part/big": len(large)}))
    s3.relay.stop()
    code, out = data("list", "s3://bucket", "--retry-for", "2")
    s3.relay.start()
    c.check(f"storage that stays away: {out}", code == 10)


def test_progress():
    s3.clear()
    s3.write("big", large)
    s3.relay.rate = 40 * MIB
    code, out = data("download", "s3://bucket/big", str(fresh("target")), "-T", "1")
    lines = [line for line in out.splitlines() if "%|" in line]
    c.check(f"lines of progress: {out}", 2 <= len(lines) <= 12 and all("MiB/s" in line and "file_name=big" in line for line in lines))
    parent, child = pty.openpty()
    process = subprocess.Popen([client.osmo, "data", "download", "s3://bucket/big", str(fresh("target"))], stdin=subprocess.DEVNULL, stdout=child,
                               stderr=child, env={**client.environment, "TERM": "xterm"})
    os.close(child)
    seen = b""
    while True:
        ready, _, _ = select.select([parent], [], [], 60)
        try:
            piece = os.read(parent, 65536) if ready else b""
        except OSError:
            piece = b""
        if not piece:
            break
        seen += piece
    process.wait(10)
    s3.relay.rate = 0
    c.check(f"on a terminal it is redrawn: {seen!r}", seen.count(b"\r") >= 3 and seen.count(b"\n") == 1 and b"%" in seen)
    # Ctrl-C
    s3.relay.rate = 10 * MIB
    target = fresh("target")
    before = len(s3.relay.log)
    process = client.start("data", "download", "s3://bucket/big", str(target))
    harness.eventually(30, lambda: any(r.answer > MIB for r in s3.relay.requests("GET", since=before)), 0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    s3.relay.rate = 0
    c.equal("interrupted: " + out + err, (process.returncode, (target / "big").exists()), (3, False))
    (work / "big").write_bytes(large)
    s3.relay.rate = 10 * MIB
    before = len(s3.relay.log)
    process = client.start("data", "upload", "s3://bucket/interrupted", str(work / "big"), "-T", "2")
    harness.eventually(30, lambda: len(parts_of(s3.relay.log[before:])) >= 1, 0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    s3.relay.rate = 0
    c.equal("an upload that is told to end: " + out + err, (process.returncode, s3.keys("interrupted/")), (3, {}))
    code, out = data("upload", "s3://bucket/interrupted", str(work / "big"))
    c.check("and the same again: " + out, code == 0 and s3.read("interrupted/big") == large and not s3.uploads())


try:
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not options.only or options.only in name):
            began = time.monotonic()
            try:
                test()
            except Exception as e:  # the others still tell something
                c.check(f"{name} goes to its end", False, repr(e))
                s3.relay.fault, s3.relay.rate = None, 0
            print(f"--- {name}: {time.monotonic() - began:.1f} s", flush=True)
finally:
    if os.environ.get("OSMO_KEEP"):
        print(f"kept: {work}")
    else:
        shutil.rmtree(work, ignore_errors=True)
c.end()
