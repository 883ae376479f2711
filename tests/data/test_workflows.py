"""Workflows whose data is in a real S3 server: inputs, outputs and KPIs of tasks, failures that name the file, credentials that are refused
before anything runs, and logs that are read from the archive."""
import os
import re
import sqlite3
import time

import harness

options = harness.arguments(__doc__)
import storage  # behind the path of its packages

MIB = 1 << 20
c = harness.Checks()
s3 = storage.Storage()
site = harness.Site(options.bin)
site.cluster_options = ["--relay", f"127.0.0.1:{s3.relay.port}"]  # the storage listens on this machine's loopback only


def credential(user="all", **more):
    entry = s3.config(user, **more)
    entry["endpoint"] = more.get("endpoint", "s3://bucket/data")
    return entry


def settings(**workflow):
    return {"workflow": {"workflow_data": {"credential": credential(), "base_url": "https://look.example/at", "data_timeout": 1}, **workflow}}


def set_credential(name, user, endpoint):
    e = s3.config(user)
    pairs = [f"{key}={e[key]}" for key in ("access_key_id", "access_key", "region", "override_url", "addressing_style")]
    return site.run("credential", "set", name, "--type", "DATA", "--payload", f"endpoint={endpoint}", *pairs)


def task(name, script, **more):
    return {"name": name, "image": "debian", "command": ["sh", "-c", script], **more}


def workflow(name, *tasks):
    return {"name": name, "tasks": list(tasks)}


def rows(sql, *values):
    with sqlite3.connect(f"file:{site.directory}/data/osmo.db?mode=ro", uri=True, timeout=20) as db:
        return db.execute(sql, values).fetchall()


def said(log, who, text):
    return [line for line in log.splitlines() if f"[{who}]" in line and text in line]


def test_credentials():
    """Before anything runs."""
    code, out = set_credential("bad", "nobody", "s3://bucket")
    c.check("one that may nothing is not taken: " + out, code != 0 and "s3://bucket" in out and s3.users["nobody"][1] not in out)
    c.check("nor kept here", not (site.config / "config.yaml").exists() or "s3://bucket" not in (site.config / "config.yaml").read_text())
    s3.client.create_bucket(Bucket="readonly")
    code, out = set_credential("reading", "reader", "s3://readonly")
    c.equal("one that may read is: " + out, code, 0)
    name, out = site.submit(workflow("nowrite", task("t", "true", outputs=[{"url": "s3://readonly/out"}])))
    c.check("writing with it is refused at submission: " + out, not name and "s3://readonly/out" in out and "task t" in out)
    code, out = set_credential("lab", "all", "s3://bucket")
    c.equal("one that may everything: " + out, code, 0)
    s3.relay.stop()
    name, out = site.submit(workflow("away", task("t", "true", outputs=[{"url": "s3://bucket/away"}, {"url": "s3://bucket/{{workflow_id}}/x"}])))
    code, refused = set_credential("lab", "all", "s3://bucket")
    s3.relay.start()
    c.check("storage that is away is a warning at submission: " + out, name and "s3://bucket/away" in out)
    c.check("and refuses a credential: " + refused, code != 0 and "disable_data_validation" in refused)
    code, out = site.run("data", "list", "s3://bucket")
    c.equal("osmo data has it too: " + out, code, 0)


def test_whole():
    name, status, log = site.finish(workflow(
        "whole",
        task("maker", "cd {{output}} && cat {{input:0}}/one.txt {{input:1}}/two.txt && ls -R {{input:0}} && ls {{input:1}} {{input:2}} && mkdir sub && "
             "echo a > a.txt && echo b > b.bin && echo c > sub/c.txt && head -c 70000000 /dev/zero | tr '\\0' x > big && echo '{\"k\": 1}' > sub/kpi.json && "
             "ln -s a.txt link && ln -s /etc/hostname outside",
             inputs=[{"url": "s3://bucket/in"}, {"url": "s3://bucket/in", "regex": "t[a-z]{1,3}[.]txt"}, {"url": "s3://bucket/nothing/here"}],
             outputs=[{"url": "s3://bucket/results/{{workflow_id}}", "regex": "(a|sub/.{1,2}txt)"}, {"url": "s3://bucket/all"}],
             kpis=[{"index": "k", "path": "sub/kpi.json"}]),
        task("taker", "cd {{input:0}} && cat a.txt sub/c.txt && wc -c < big && ls", inputs=[{"task": "maker"}])), 180)
    c.equal("it completes: " + log[-2500:], status, "COMPLETED")
    c.check("inputs arrived", said(log, "maker", "input one.txt") and "input two.txt" in log)
    c.check("the regex chose", "three.bin" in log and len(said(log, "maker", "two.txt")) >= 2)
    c.check("nothing there is a warning", "s3://bucket/nothing/here" in log and "Warning" in log)
    c.equal("the output by regex, with a comma in it", sorted(s3.keys("results/")), [f"results/{name}/a.txt", f"results/{name}/sub/c.txt"])
    c.equal("the whole output", sorted(s3.keys("all/")), ["all/a.txt", "all/b.bin", "all/big", "all/link", "all/sub/c.txt", "all/sub/kpi.json"])
    mine = sorted(key.split("/", 3)[3] for key in s3.keys(f"data/{name}/maker/"))
    c.equal("what goes to the next task, with the KPI", mine, ["a.txt", "b.bin", "big", "link", "sub/c.txt", "sub/kpi.json"])
    c.check("a link that leads outside is left out and named", "outside" in log and "left out" in log)
    c.check("the next task has it", said(log, "taker", "70000000") and said(log, "taker", "] a") and said(log, "taker", "] c"))
    c.equal("where people look at it", site.query(name).get("outputs"), f"https://look.example/at/{name}")
    c.check("in order", 0 <= log.find("to {{input:0}}") < log.find("to {{input:1}}") < log.find("All inputs gathered") < log.find("All outputs uploaded"))
    c.check("no secret is in the log", s3.users["all"][1] not in log)
    code, out = site.run("workflow", "spec", name)
    c.check("nor in the specification", s3.users["all"][1] not in out)
    uuid = site.query(name)["uuid"]
    told = rows("SELECT task, io_type, url, files, bytes FROM task_io WHERE workflow_uuid = ? ORDER BY start_us", uuid)
    c.check(f"inputs are noted: {told}", {("maker", "INPUT", "s3://bucket/in", 4), ("maker", "INPUT", "s3://bucket/nothing/here", 0)} <= {r[:4] for r in told})
    c.check("outputs too", {("maker", "OUTPUT", "s3://bucket/all", 6), ("maker", "OUTPUT", f"s3://bucket/data/{name}/maker", 6)} <= {r[:4] for r in told})
    c.check("with their sizes", any(r[2] == "s3://bucket/all" and r[4] > 70000000 for r in told))
    maker = site.tasks(name)["maker"]
    c.check(f"the times of the task: {maker}", maker["input_download_start_time"] and maker["output_upload_start_time"])
    # KPIs alone: the task has an output of its own and nobody behind it
    name, status, log = site.finish(workflow("kpi", task("t", "mkdir {{output}}/k && echo 1 > {{output}}/k/one.json && echo 2 > {{output}}/other",
                                                         outputs=[{"url": "s3://bucket/kpiout"}], kpis=[{"index": "1", "path": "k/one.json"}, {"index": "2", "path": "none.json"}])))
    c.equal("KPIs: " + log[-1500:], (status, sorted(s3.keys(f"data/{name}/"))), ("COMPLETED", [f"data/{name}/t/k/one.json"]))
    c.check("one that is missing is a warning", "none.json" in log)


def test_tutorials():
    """OSMO's own, where they are at hand (OSMO_TUTORIAL_SPECS)."""
    specs = os.environ.get("OSMO_TUTORIAL_SPECS")
    if not specs:
        return
    s3.client.create_bucket(Bucket="my-bucket")
    for key in ("data/one.txt", "data/two.jpg", "models/m.pt"):
        s3.client.put_object(Bucket="my-bucket", Key=key, Body=b"x")
    c.equal("a credential for their bucket", set_credential("tutorial", "all", "s3://my-bucket")[0], 0)
    for name in ("data_download", "data_upload", "data_filter"):
        with open(os.path.join(specs, name + ".yaml"), encoding="utf-8") as file:
            words = ["--set", "storage_url=s3://my-bucket"] if name == "data_filter" else []
            workflow_id, status, log = site.finish(file.read(), 120, *words)
        c.equal(f"tutorial {name}: " + log[-1500:], status, "COMPLETED")


def test_failures():
    s3.write("secret/file", b"x")
    s3.relay.fault = lambda r: 403 if r.path == "/bucket/secret/file" and r.method == "GET" else None
    name, status, log = site.finish(workflow("nodown", task("t", "echo ran", inputs=[{"url": "s3://bucket/secret"}])))
    s3.relay.fault = None
    c.equal("a download that fails, fails the task: " + log[-1500:], (status, site.tasks(name)["t"]["exit_code"]), ("FAILED", 2010))
    c.check("the file is named", "failed: file:" in log and not said(log, "t", "ran"))
    s3.relay.fault = lambda r: 403 if r.path == "/bucket/secret/file" and r.method == "GET" else None
    name, status, log = site.finish(workflow("several", task("t", "echo ran", inputs=[{"url": u} for u in (
        "s3://bucket/in", "s3://bucket/secret", "s3://bucket/in", "s3://bucket/in", "s3://bucket/in", "s3://bucket/in")])))
    s3.relay.fault = None
    c.equal("one of several that fails: " + log[-1500:], (status, site.tasks(name)["t"]["exit_code"]), ("FAILED", 2010))
    c.check("it is named, nothing else fails", log.count("failed:") == 1 and "{{input:1}} failed" in log and "All inputs gathered" not in log)
    s3.relay.fault = lambda r: 403 if r.path.endswith("/up/f7") and r.method == "PUT" else None
    name, status, log = site.finish(workflow("noup", task("t", "cd {{output}}; for i in 1 2 3 4 5 6 7 8 9; do echo $i > f$i; done; echo ran",
                                                          outputs=[{"url": "s3://bucket/up"}])))
    s3.relay.fault = None
    c.equal("an upload that fails, fails the task: " + log[-1500:], (status, site.tasks(name)["t"]["exit_code"]), ("FAILED", 2012))
    c.check("the file is named", re.search(r"\bf7\b", log) and said(log, "t", "ran"))
    # storage that is busy and then away for a while costs time only
    storm = [0]

    def fault(request):
        storm[0] += 1
        return 503 if storm[0] % 3 else None

    s3.relay.fault = fault
    submitted, out = site.submit(workflow("storm", task("t", "cp -r {{input:0}}/. {{output}}", inputs=[{"url": "s3://bucket/in"}],
                                                        outputs=[{"url": "s3://bucket/stormout"}])))
    harness.eventually(60, lambda: s3.keys("stormout/"))
    s3.relay.fault = None
    site.run("workflow", "wait", submitted, "--timeout", "90", "--quiet")
    c.equal("busy storage is waited for", (site.status(submitted), len(s3.keys("stormout/"))), ("COMPLETED", 4))


def test_checkpoint():
    name, status, log = site.finish(workflow("ckpt", task(
        "t", "mkdir -p /tmp/ck/sub && for i in 1 2 3 4 5 6; do echo $i > /tmp/ck/step; echo $i > /tmp/ck/sub/file$i; echo no > /tmp/ck/skip; sleep 0.5; done",
        checkpoint=[{"path": "/tmp/ck", "url": "s3://bucket/ckpt/{{workflow_id}}", "frequency": "1s", "regex": ".*(step|file.)$"}])))
    c.equal("a task with checkpoints: " + log[-1500:], status, "COMPLETED")
    there = s3.keys(f"ckpt/{name}")
    c.check(f"what it had at its end is there: {sorted(there)}", any(k.endswith("sub/file6") for k in there) and not any("skip" in k for k in there))
    step = [k for k in there if k.endswith("step")]
    c.check("as it was then", step and s3.read(step[0]) == b"6\n")
    uploads = [r for r in s3.relay.requests("PUT", 200) if r.path.endswith("/step")]
    c.check(f"and some time before, too: {len(uploads)}", 2 <= len(uploads) <= 8)


def test_cancel():
    s3.write("slow", b"x" * (30 * MIB))
    s3.relay.rate = MIB
    before = len(s3.relay.log)
    name, out = site.submit(workflow("cancelled", task("t", "echo ran", inputs=[{"url": "s3://bucket/slow"}])))
    c.check("it downloads", harness.eventually(30, lambda: any(r.answer > 100000 for r in s3.relay.requests("GET", since=before))))
    site.run("workflow", "cancel", name)
    site.run("workflow", "wait", name, "--timeout", "60", "--quiet")
    c.check(f"cancelled in the middle of a download it ends: {site.status(name)}", "CANCEL" in site.status(name))
    s3.relay.rate = 0


def test_access():
    """What submission does not ask, osmo_ctrl asks before it begins."""
    site.stop(site.service)
    site.configure(settings(credential_config={"disable_data_validation": ["s3"]}))
    site.start_service()
    code, out = set_credential("reading", "reader", "s3://readonly")
    name, status, log = site.finish(workflow("late", task("t", "echo ran", outputs=[{"url": "s3://readonly/out"}])))
    c.equal("it is not begun: " + log[-1500:], (status, site.tasks(name)["t"]["exit_code"]), ("FAILED", 2014))
    c.check("and says why", "s3://readonly/out" in log and not said(log, "t", "ran"))
    code, out = set_credential("gone", "all", "s3://nosuchbucket")
    name, status, log = site.finish(workflow("nobucket", task("t", "echo ran", inputs=[{"url": "s3://nosuchbucket/in"}])))
    c.equal("a bucket that is not there: " + log[-1000:], (status, site.tasks(name)["t"]["exit_code"]), ("FAILED", 2014))


def test_keyless():
    """The site gives its pods the login of the storage, the configuration has none."""
    site.stop(site.service)
    key = s3.users["all"]
    env = [{"name": "AWS_ACCESS_KEY_ID", "value": key[0]}, {"name": "AWS_SECRET_ACCESS_KEY", "value": key[1]}]
    where = {"endpoint": "s3://bucket/keyless", "override_url": s3.relay.url, "addressing_style": "path", "region": "us-east-1"}
    site.configure({"workflow": {"workflow_data": {"credential": where, "data_timeout": 1}},
                    "pod_templates": {"login": {"spec": {"containers": [{"name": "osmo-ctrl", "env": env}]}}},
                    "pools": {"default": {"backend": "default", "default_platform": "default", "common_pod_template": ["login"],
                                          "platforms": {"default": {"description": "d"}}}}})
    site.start_service()
    name, status, log = site.finish(workflow("keyless", task("one", "echo handed > {{output}}/on"), task("two", "cat {{input:0}}/on", inputs=[{"task": "one"}])))
    c.equal("without keys in the configuration: " + log[-1500:], (status, list(s3.keys("keyless/"))), ("COMPLETED", [f"keyless/{name}/one/on"]))
    c.check("the data is handed on", said(log, "two", "handed"))


def archived(name):
    return f"archive/{name}/workflow_events.txt" in s3.keys(f"archive/{name}/")


def test_archive():
    site.stop(site.service)
    site.configure(settings(workflow_log={"credential": credential(endpoint="s3://bucket/archive"), "keep_local": 0}))
    site.start_service()
    s3.relay.fault = lambda r: 503 if "/archive/" in r.path or "archive" in r.query.get("prefix", "") else None
    name, status, log = site.finish(workflow("talk", task("t", "seq 1 20000 | sed 's/^/line /'; echo the-end", outputs=[{"url": "s3://bucket/talkout"}])))
    c.equal("it completes", status, "COMPLETED")
    local = site.directory / "data" / "logs" / name
    time.sleep(2)
    c.check("while the archive is away nothing is lost", local.exists() and "the-end" in site.run("workflow", "logs", name, "-n", "3")[1])
    c.check("and nothing said to be archived", not archived(name))
    s3.relay.fault = None
    c.check("it is written when it is back", harness.eventually(120, lambda: archived(name), 0.3), s3.keys("archive/"))
    c.check("the local copy goes", harness.eventually(90, lambda: not local.exists() or not os.listdir(local), 0.3), os.listdir(local) if local.exists() else "")
    before = len(s3.relay.log)
    code, again = site.run("workflow", "logs", name)
    c.check("the log is read from the archive", again == log and len(s3.relay.log) > before, f"{len(again)} and {len(log)} bytes: {again[-300:]}")
    c.has("its end too", site.run("workflow", "logs", name, "-n", "3")[1], "the-end")
    c.check("and events", site.run("workflow", "events", name)[0] == 0)
    c.equal("its files", sorted(k.split("/")[-1] for k in s3.keys(f"archive/{name}/"))[:2], ["task_logs_t_0.txt", "workflow_events.txt"])
    s3.relay.stop()
    code, out = site.run("workflow", "logs", name, timeout=90)
    c.check("an archive that is away is told of: " + out[-300:], "line 1" not in out and "archive" in out and "workflow_log" in out)
    s3.relay.start()
    c.check("and read again", site.run("workflow", "logs", name)[1] == log)
    site.configure(settings(workflow_log={"credential": credential(endpoint="s3://bucket/archive"), "keep_local": 0, "delete_with_workflow": True},
                            retention="1s"))
    c.check("at the end of its retention the archive goes too", harness.eventually(90, lambda: not s3.keys(f"archive/{name}/"), 0.3),
            s3.keys("archive/"))
    c.check("and the workflow", harness.eventually(30, lambda: site.run("workflow", "query", name)[0] != 0, 0.3))


try:
    for name in ("one.txt", "two.txt", "three.bin", "deep/four.txt"):
        s3.write("in/" + name, ("input " + name).encode())
    site.configure(settings())
    site.start_all()
    for name, test in list(globals().items()):
        if name.startswith("test_") and (not options.only or options.only in name or name == "test_credentials"):
            began = time.monotonic()
            try:
                test()
            except Exception as e:  # the others still tell something
                c.check(f"{name} goes to its end", False, repr(e))
                s3.relay.fault, s3.relay.rate = None, 0
            print(f"--- {name}: {time.monotonic() - began:.1f} s", flush=True)
finally:
    if site.close(c.failures > 0) and not c.failures:
        c.failures += 1
c.end()
