#!/usr/bin/python3
"""The Kubernetes client of libosmo-backend (osmo/backend/kube.h) against a real API server: every verb, every kind of answer."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
import unittest

import case

CODES = {0: "ok", -1: "invalid", -2: "not found", -3: "exists", -4: "denied", -5: "unauthenticated", -6: "conflict", -7: "limit", -8: "busy",
         -9: "timeout", -10: "unavailable", -11: "io", -20: "gone"}
MERGE, STRATEGIC, JSON_PATCH = 1, 2, 3
GROUP = "tests.example.org/v1"


class Probe:
    """One client, in a process of its own, that does what it is told."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([os.path.join(os.environ["OSMO_BUILD"], "tests/kubernetes/kube_probe"), *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.opened = self.answer()[:2]

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def answer(self):
        """Code, text, and the lines before them."""
        lines = []
        for line in self.process.stdout:
            if line.startswith("= "):
                code, _, text = line[2:].rstrip("\n").partition(" ")
                return CODES[int(code)], text, lines
            lines.append(line.rstrip("\n"))
        raise EOFError("the probe ended")

    def send(self, verb, kind="Pod", api="v1", **rest):
        self.process.stdin.write(json.dumps({"verb": verb, "apiVersion": api, "kind": kind, **rest}) + "\n")
        self.process.stdin.flush()

    def __call__(self, verb, kind="Pod", api="v1", **rest):
        self.send(verb, kind, api, **rest)
        return self.answer()

    def must(self, verb, kind="Pod", api="v1", **rest):
        """The objects."""
        code, text, lines = self(verb, kind, api, **rest)
        if code != "ok":
            raise AssertionError(f"{verb} {kind}: {code} {text}")
        return [json.loads(line[line.index("+ ") + 2:]) for line in lines if "+ " in line]


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"test": "yes"}}, "data": data}


class Client(case.Case):
    def probe(self, *arguments):
        p = Probe(*(arguments or (self.cluster.configs["admin"],)))
        self.addCleanup(p.close)
        return p

    def directory(self):
        path = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, path)
        return path

    def map(self, p, verb, ns, name, **rest):
        return p(verb, "ConfigMap", namespace=ns, name=name, **rest)

    def test_objects(self):
        p, ns = self.probe(), self.namespace("objects")
        made, = p.must("create", "ConfigMap", namespace=ns, body=config_map("a", x="1"))
        self.assertEqual(self.map(p, "create", ns, None, body=config_map("a"))[0], "exists")
        got, = p.must("get", "ConfigMap", namespace=ns, name="a")
        self.assertEqual(got["metadata"]["uid"], made["metadata"]["uid"])
        made["data"]["x"] = "2"
        replaced, = p.must("replace", "ConfigMap", namespace=ns, name="a", body=made)
        self.assertEqual(replaced["data"]["x"], "2")
        code, text, _ = self.map(p, "replace", ns, "a", body=made)
        self.assertEqual(code, "conflict")
        self.assertIn("the object has been modified", text)
        for kind, body in ((MERGE, {"data": {"y": "3"}}), (STRATEGIC, {"data": {"z": "4"}}),
                           (JSON_PATCH, [{"op": "replace", "path": "/data/x", "value": "5"}])):
            p.must("patch", "ConfigMap", namespace=ns, name="a", type=kind, body=body, manager="osmo test")
        got, = p.must("get", "ConfigMap", namespace=ns, name="a")
        self.assertEqual(got["data"], {"x": "5", "y": "3", "z": "4"})
        self.assertIn("osmo test", {m["manager"] for m in got["metadata"]["managedFields"]})
        code, text, _ = self.map(p, "get", ns, "b")
        self.assertEqual((code, text), ("not found", 'configmaps "b" not found'))
        self.assertEqual(self.map(p, "remove", ns, "a", uid="00000000-0000-0000-0000-000000000000")[0], "conflict")
        p.must("remove", "ConfigMap", namespace=ns, name="a", uid=made["metadata"]["uid"], propagation="Background")
        self.assertEqual(self.map(p, "remove", ns, "a")[0], "not found")

    def test_bad_objects(self):
        p, ns = self.probe(), self.namespace("bad")
        code, text, _ = p("create", namespace=ns, body={"metadata": {"name": "Not_A_Name"}, "spec": {"containers": []}})
        self.assertEqual(code, "invalid")
        self.assertIn("spec.containers", text)
        self.assertEqual(p("create", namespace=ns, body={"spec": {"containers": "none"}})[0], "invalid")
        self.assertEqual(p("create", namespace="no-such-namespace-here", body=config_map("a"), kind="ConfigMap")[0], "not found")
        self.assertEqual(p("get", namespace=ns, name="..")[0], "invalid")
        code, text, _ = p("create", "Secret", namespace=ns, body={"metadata": {"name": "s"}, "data": {"key": "hunter2!!"}})
        self.assertEqual(code, "invalid")
        self.assertNotIn("hunter2", text)

    def test_list(self):
        """Pages, selectors, and a continue token that expires half way."""
        p, ns = self.probe(), self.namespace("list")
        for i in range(7):
            p.must("create", "ConfigMap", namespace=ns, body=config_map(f"m{i}"))
        for page in (1, 2, 3, 7, 0):
            code, text, lines = p("list", "ConfigMap", namespace=ns, labels="test=yes", page=page)
            self.assertEqual((code, text), ("ok", ""))
            names = [json.loads(line[2:])["metadata"]["name"] for line in lines if line.startswith("+ ")]
            self.assertEqual(names, [f"m{i}" for i in range(7)])
            version = int(lines[-1].split()[1])
        self.assertEqual(len(p.must("list", "ConfigMap", namespace=ns, labels="test in (yes),test!=no", fields="metadata.name=m3")), 1)
        self.assertEqual(p.must("list", "ConfigMap", namespace=ns, labels="test=no"), [])
        self.assertEqual(len(p.must("list", "ConfigMap", namespace=ns, labels="test=yes", version=str(version), page=4)), 7)
        self.assertGreaterEqual(len(p.must("list", "ConfigMap", labels="test=yes", version="0")), 7)
        self.assertGreaterEqual(len(p.must("list", "Node")), 1 if self.cluster.mode == "full" else 0)
        # the removal of a collection: what the selector does not meet stays
        p.must("create", "ConfigMap", namespace=ns, body={"metadata": {"name": "other"}})
        p.must("remove", "ConfigMap", namespace=ns, labels="test=yes")
        self.assertNotIn("m1", [m["metadata"]["name"] for m in p.must("list", "ConfigMap", namespace=ns)])
        self.assertEqual(self.map(p, "get", ns, "other")[0], "ok")
        self.assertEqual(p("remove", "ConfigMap")[0], "invalid")
        self.assertEqual(p("remove", "Node")[0], "invalid")

    def test_expired(self):
        """410 as an event (of a watch from before the server's start) and as a status (of a continue token)."""
        p, ns = self.probe(), self.namespace("expired")
        old = p.must("create", "ConfigMap", namespace=ns, body=config_map("a"))[0]["metadata"]["resourceVersion"]
        new = p.must("create", "ConfigMap", namespace=ns, body=config_map("b"))[0]["metadata"]["resourceVersion"]
        self.assertEqual(p.must("watch", "ConfigMap", namespace=ns, version=old, count=1, seconds=30)[0]["metadata"]["resourceVersion"], new)
        self.cluster.restart("apiserver")
        self.cluster.wait_api()
        code, text, lines = p("watch", "ConfigMap", namespace=ns, version=old, seconds=30)
        self.assertEqual((code, lines), ("gone", []))
        self.assertIn("too old resource version", text)
        self.expire_between_pages(p, ns)

    def expire_between_pages(self, p, ns):
        """The reader of the first page takes its time, and everything is compacted meanwhile."""
        code, text, lines = None, "", []
        done = threading.Event()
        for i in range(300):
            p.must("create", "ConfigMap", namespace=ns, body=config_map(f"large-{i}", x="x" * 2000))

        def compact():
            n = 0
            while not done.is_set():
                n += 1
                self.cluster.api.must("POST", f"/api/v1/namespaces/{ns}/configmaps", config_map(f"c{n}"))
                self.cluster.compact()
        thread = threading.Thread(target=compact)
        thread.start()
        try:
            for _ in range(50):
                code, text, lines = p("list", "ConfigMap", namespace=ns, page=1)
                if code != "ok":
                    break
        finally:
            done.set()
            thread.join()
        self.assertEqual(code, "gone")
        self.assertIn("continue", text)
        self.assertTrue(lines)

    def test_watch(self):
        p, ns = self.probe(), self.namespace("watch")
        version = p("list", "ConfigMap", namespace=ns)[2][-1].split()[1]
        p.send("watch", "ConfigMap", namespace=ns, version=version, labels="test=yes", count=3, seconds=60)
        path = f"/api/v1/namespaces/{ns}/configmaps"
        self.cluster.api.must("POST", path, config_map("a", text="line\nline \u00e9 \"}"))
        self.cluster.api.must("POST", path, {"metadata": {"name": "unlabelled"}})
        self.cluster.api.must("PATCH", path + "/a", {"data": {"b": "c"}}, "application/merge-patch+json")
        self.cluster.api.must("DELETE", path + "/a")
        code, text, lines = p.answer()
        self.assertEqual((code, text), ("ok", ""))
        self.assertEqual([line.split()[0] for line in lines], ["ADDED", "MODIFIED", "DELETED"])
        objects = [json.loads(line.split("+ ", 1)[1]) for line in lines]
        self.assertEqual(objects[0]["data"]["text"], "line\nline \u00e9 \"}")
        self.assertEqual({o["metadata"]["name"] for o in objects}, {"a"})
        # the server ends it, and says before how far everything was told
        bookmarks = p.must("watch", "ConfigMap", namespace=ns, version=version, labels="test=no", seconds=8, bookmarks=True)
        self.assertTrue([b for b in bookmarks if b["kind"] == "ConfigMap" and not b["metadata"].get("name")
                         and int(b["metadata"]["resourceVersion"]) > 0])

    def test_later_kind(self):
        """A definition that comes after the client looked for it, and is there still when the server was restarted."""
        p, crds, name = self.probe(), "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "things.tests.example.org"

        def crd(scope):
            return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}, "spec": {
                "group": "tests.example.org", "scope": scope, "names": {"plural": "things", "kind": "Thing", "singular": "thing"},
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}

        def found():
            code, _, lines = p("discover", "Thing", GROUP)
            return code == "ok" and json.loads(lines[0][2:])
        api, ns = self.cluster.api, self.namespace("kind")
        self.assertEqual(p("discover", "Thing", GROUP)[0], "not found")
        self.assertEqual(p("create", "Thing", GROUP, namespace=ns, body={})[0], "not found")
        api.must("POST", crds, crd("Namespaced"))
        self.addCleanup(api.must, "DELETE", f"{crds}/{name}", accept=(404,))
        self.assertEqual(self.cluster.wait_for(found, "the kind is found"), {"path": "/apis/" + GROUP, "plural": "things", "namespaced": 1})
        for i in range(3):
            p.must("create", "Thing", GROUP, namespace=ns, body={"apiVersion": GROUP, "kind": "Thing", "metadata": {"name": f"t{i}"}, "x": i})
        self.assertEqual([t["x"] for t in p.must("list", "Thing", GROUP, namespace=ns, page=2)], [0, 1, 2])
        self.assertEqual(p("patch", "Thing", GROUP, namespace=ns, name="t1", type=STRATEGIC, body={})[0], "invalid")  # no such patch for these
        self.assertEqual(p("discover", "Deployment", "v1")[0], "not found")
        self.assertEqual(p("discover", "Pod", "no.such.group/v1")[0], "not found")
        # a server that is starting does not know it yet, and says so: that is not believed
        self.cluster.restart("apiserver")
        self.assertEqual(self.probe()("discover", "Thing", GROUP)[0], "ok")
        self.cluster.wait_api()

    def test_logs(self):
        if self.cluster.mode != "full":
            self.skipTest("nobody runs pods here")
        p, ns = self.probe(), self.namespace("logs")
        self.pod(ns, "a", "for i in 1 2 3 4; do echo line $i; done")
        self.ended(ns, "a")
        self.assertEqual(p("logs", namespace=ns, name="a", container="main"), ("ok", "", [f"line {i}" for i in (1, 2, 3, 4)]))
        self.assertEqual(p("logs", namespace=ns, name="a", tail=2)[2], ["line 3", "line 4"])
        code, text, _ = p("logs", namespace=ns, name="a", container="none")
        self.assertEqual(code, "invalid")
        self.assertIn("container none is not valid", text)
        self.assertEqual(p("logs", namespace=ns, name="b")[0], "not found")

    # Who we are

    def write(self, name, text, mode=0o600):
        with open(name, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, mode)) as f:
            f.write(text)
        return name

    def config(self, user, **cluster):
        entry = {"server": self.cluster.server, "certificate-authority": self.cluster.ca, **cluster}
        return self.write(os.path.join(self.directory(), "config"), json.dumps({
            "clusters": [{"name": "c", "cluster": entry}], "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}))

    def test_identities(self):
        """A certificate, tokens, a plugin, somebody without rights, somebody unknown."""
        ns = self.namespace("who")
        token = self.cluster.tokens["admin"]
        plugin = self.write(os.path.join(self.directory(), "plugin"), "#!/bin/sh\nprintf '%s' '" + json.dumps({
            "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": token}}) + "'\n", 0o700)
        with open(self.cluster.ca, "rb") as f:
            ca = {"certificate-authority": None, "certificate-authority-data": base64.b64encode(f.read()).decode()}
        good = [self.cluster.configs["admin"], self.cluster.configs["admin-token"], self.config({"token": token}, **ca),
                self.config({"tokenFile": self.write(os.path.join(self.directory(), "token"), token)}),
                self.config({"exec": {"command": plugin, "apiVersion": "client.authentication.k8s.io/v1"}}),
                self.config({"token": token}, **{"certificate-authority": None, "insecure-skip-tls-verify": True}),
                self.config({"token": token}, **{"tls-server-name": "kubernetes.default.svc"}),
                self.config({"token": token, "as": "somebody", "as-groups": ["system:masters"]})]
        for path in good:
            p = self.probe(path)
            self.assertEqual(p.opened, ("ok", ""))
            self.assertEqual(p("list", "ConfigMap", namespace=ns)[0], "ok")
        self.assertEqual(self.probe(self.config({"token": "wrong"}))("get", name="a", namespace=ns)[0], "unauthenticated")
        code, text, _ = self.probe(self.cluster.configs["operator"])("list", "Secret", namespace=ns)
        self.assertEqual(code, "denied")
        self.assertIn("cannot list resource \"secrets\"", text)
        code, text, _ = self.probe(self.config({"token": token, "as": "nobody"}))("list", "Secret", namespace=ns)
        self.assertEqual(code, "denied")
        self.assertIn('User "nobody" cannot list', text)
        code, text, _ = self.probe(self.config({"token": token}, **{"tls-server-name": "other.example.org"}))("list", namespace=ns)
        self.assertEqual(code, "io")
        self.assertIn("is not believed to be itself", text)

    def test_service_account(self):
        """As in a pod; its token is replaced, and the server stops to take the old one."""
        ns, path = self.namespace("account"), self.directory()
        api = self.cluster.api
        roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}"
        api.must("POST", roles + "/roles", {"metadata": {"name": "r"}, "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]})
        api.must("POST", roles + "/rolebindings", {"metadata": {"name": "r"}, "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": ns}]})
        shutil.copy(self.cluster.ca, os.path.join(path, "ca.crt"))
        self.write(os.path.join(path, "namespace"), ns)
        self.write(os.path.join(path, "token"), self.cluster.token_of(ns, "default"))
        p = self.probe("--in-cluster", self.cluster.address, "6443", path)
        self.assertEqual(p.opened, ("ok", ""))
        self.cluster.wait_for(lambda: p("list", "ConfigMap", namespace=ns)[0] == "ok", "the role binding counts")
        self.assertEqual(p("list", "Secret", namespace=ns)[0], "denied")
        self.write(os.path.join(path, "token"), "no-longer-good")
        self.assertEqual(p("list", "ConfigMap", namespace=ns)[0], "ok")  # the one in memory is
        p = self.probe("--in-cluster", self.cluster.address, "6443", path)
        self.assertEqual(p("list", "ConfigMap", namespace=ns)[0], "unauthenticated")
        self.write(os.path.join(path, "token"), self.cluster.token_of(ns, "default"))
        self.assertEqual(p("list", "ConfigMap", namespace=ns)[0], "ok")


if __name__ == "__main__":
    unittest.main(verbosity=2)
