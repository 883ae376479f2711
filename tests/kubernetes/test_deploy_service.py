#!/usr/bin/python3
"""The service in a cluster, by the manifests of packaging/kubernetes/service and the image of packaging/images; and that an API server
takes every manifest of packaging/kubernetes."""
import contextlib
import glob
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import yaml

import client
import images
import osmo_site

MANIFESTS = os.path.join(osmo_site.SOURCE, "packaging/kubernetes")
NAMESPACE, POD = "osmo", "osmo-service-0"
OWNER = 1001  # of the programs in the image
NOT_HERE = ("kustomize.config.k8s.io", "monitoring.coreos.com")  # no kinds of the API server


def documents(*parts):
    with open(os.path.join(MANIFESTS, *parts), encoding="utf-8") as f:
        return [d for d in yaml.safe_load_all(f) if d]


class Service(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = client.Cluster()
        cls.work = tempfile.mkdtemp(prefix="osmo-service.")
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        os.chmod(cls.work, 0o755)
        volume = os.path.join(cls.work, "volume")
        os.mkdir(volume, 0o700)
        os.chown(volume, OWNER, OWNER)
        cls.push_image()
        cls.addClassCleanup(cls.undo)
        for file in ("namespace", "settings", "service"):
            for one in documents("service/common", file + ".yaml"):
                cls.cluster.apply_object(one)
        cls.cluster.namespace(NAMESPACE)
        cls.cluster.apply_object({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "osmo-service"}, "spec": {
            "capacity": {"storage": "100Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": volume},
            "claimRef": {"namespace": NAMESPACE, "name": "data-osmo-service-0"}}})
        for one in documents("service/sqlite/stateful-set.yaml"):
            one["spec"]["template"]["spec"]["containers"][0]["image"] = cls.cluster.registry + "/osmo/service:test"
            cls.cluster.apply_object(one)

    @classmethod
    def push_image(cls):
        tree, roots = os.path.join(cls.work, "tree"), os.path.join(cls.work, "roots")
        osmo_site.run("make", "-s", "-C", osmo_site.BUILD, "install", "prefix=/usr", f"DESTDIR={tree}")
        osmo_site.run(os.path.join(osmo_site.SOURCE, "packaging/images/build.sh"), "--destdir", tree, "--rootfs", roots, "service")
        images.write(cls.cluster.images, "osmo/service:test", images.tree(os.path.join(roots, "service")))
        shutil.rmtree(tree)
        shutil.rmtree(roots)

    @classmethod
    def undo(cls):
        for path in (f"/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets/osmo-service", f"/api/v1/namespaces/{NAMESPACE}",
                     "/api/v1/persistentvolumes/osmo-service"):
            cls.cluster.api.must("DELETE", path, accept=(404, 409))
        cls.cluster.wait_for(lambda: cls.cluster.api.request("GET", f"/api/v1/namespaces/{NAMESPACE}")[0] == 404, "the service is gone", 120)

    def ready(self, not_uid=None):
        """The pod, once it is ready."""
        def found():
            pod = self.cluster.pod(NAMESPACE, POD)
            is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
            return pod if is_ready and pod["metadata"]["uid"] != not_uid else None
        return self.cluster.wait_for(found, "the service is ready", 120)

    def ask(self, pod, path):
        connection = http.client.HTTPConnection(pod["status"]["podIP"], 8000, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def osmo(self, *words):
        environment = {**os.environ, "OSMO_CONFIG_FILE_DIR": os.path.join(self.work, "login")}
        os.makedirs(environment["OSMO_CONFIG_FILE_DIR"], mode=0o700, exist_ok=True)
        return subprocess.run([os.path.join(osmo_site.BUILD, "osmo"), *words], env=environment, capture_output=True, text=True,
                              check=True, stdin=subprocess.DEVNULL, timeout=60).stdout

    def login(self, pod, token):
        with tempfile.NamedTemporaryFile(mode="w", dir=self.work) as file:
            file.write(token)
            file.flush()
            self.osmo("login", f"http://{pod['status']['podIP']}:8000", "--method", "token", "--token-file", file.name)

    def test_service(self):
        """Ready, configured by the ConfigMap, and after its end there again with all that it had."""
        pod = self.ready()
        self.assertEqual(self.ask(pod, "/health")[0], 200)
        self.assertEqual(self.ask(pod, "/api/pool")[0], 401)
        lines = self.cluster.logs(NAMESPACE, POD, "osmo-service").splitlines()
        token = lines[next(i for i, line in enumerate(lines) if "access token of admin" in line) + 1]
        self.login(pod, token)
        self.assertIn("my-cluster", self.osmo("config", "show", "POOL", "default"))
        self.osmo("user", "create", "somebody", "--roles", "osmo-user")
        self.cluster.api.must("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}")
        pod = self.ready(pod["metadata"]["uid"])
        self.login(pod, token)
        self.assertIn("somebody", self.osmo("user", "list"))

    def test_manifests(self):
        """Each is taken as it is, as far as the API server has its kind."""
        api, namespaces = self.cluster.api, set()
        for word in ("osmo-operator", "osmo-workflows", "osmo-test"):
            if api.request("GET", f"/api/v1/namespaces/{word}")[0] == 404:
                self.cluster.namespace(word)
                namespaces.add(word)
        files = sorted(glob.glob(os.path.join(MANIFESTS, "**", "*.yaml"), recursive=True))
        self.assertGreater(len(files), 20)
        for file in files:
            for one in documents(file):
                if one["apiVersion"].split("/")[0] in NOT_HERE:
                    continue
                path, name = self.cluster._path_of(one, None), one["metadata"]["name"]  # pylint: disable=protected-access
                status, answer = api.request("POST", path + "?dryRun=All", one)
                self.assertIn(status, (201, 409), f"{file}: {one['kind']} {name}: {json.dumps(answer)[:600]}")
        for word in namespaces:
            api.must("DELETE", f"/api/v1/namespaces/{word}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
