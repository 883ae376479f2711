#!/usr/bin/python3
"""What the manifests allow an operator: exactly what is written here, asked of the API server for every resource that it has. That it is
enough is what the tests of workflows show, for they run with it."""
import http.client
import json
import unittest

import client
import osmo_site

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
ELSEWHERE = "kube-system"

# namespace or "" for the whole cluster -> resource -> verbs
BASE = {
    "": {"nodes": "list watch", "pods": "list watch"},
    osmo_site.WORKFLOWS: {"pods": "get list watch create patch delete", "pods/log": "get", "secrets": "list create delete",
                          "services": "list create delete", "events": "list watch"},
    osmo_site.OPERATOR_NAMESPACE: {"leases.coordination.k8s.io": "create"},
    osmo_site.NODE_TESTS: {},
    ELSEWHERE: {},
}
ADDONS = {
    "osmo-scheduler": {osmo_site.WORKFLOWS: {"pods/binding": "create", "pods/status": "patch",
                                             "configmaps": "get list watch create update delete"}},
    "node-labels": {"": {"nodes": "patch"}},
    "node-tests": {osmo_site.NODE_TESTS: {"configmaps": "list create update delete", "cronjobs.batch": "list create update delete"}},
    "kai": {"": {"queues.scheduling.run.ai": "get list create update delete", "topologies.kai.scheduler": "get list create update delete"},
            osmo_site.WORKFLOWS: {"podgroups.scheduling.run.ai": "list create delete"}},
}
NODE_TEST = {"": {"nodes": "get", "nodes/status": "patch"},
             osmo_site.NODE_TESTS: {"daemonsets.apps": "get create delete", "pods": "list watch delete"}}
# kinds that this cluster does not have, but others
FOREIGN = [("scheduling.run.ai", "podgroups", True), ("scheduling.run.ai", "queues", False), ("kai.scheduler", "topologies", False)]


def merged(*tables):
    result = {}
    for table in tables:
        for namespace, resources in table.items():
            for resource, verbs in resources.items():
                result.setdefault(namespace, {}).setdefault(resource, set()).update(verbs.split())
    return result


class Rights(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = client.Cluster()
        api = cls.cluster.api  # one connection for thousands of questions
        cls.connection = http.client.HTTPSConnection(api.url.hostname, api.url.port, context=api.context, timeout=60)
        cls.addClassCleanup(cls.connection.close)

    def resources(self):
        """(group, resource with its subresource, whether it is in namespaces) of everything that the API server has."""
        api, found = self.cluster.api, [("", r) for r in self.cluster.api.must("GET", "/api/v1")["resources"]]
        for group in api.must("GET", "/apis")["groups"]:
            for version in group["versions"]:
                found += [(group["name"], r) for r in api.must("GET", "/apis/" + version["groupVersion"])["resources"]]
        return sorted({(group, r["name"], r["namespaced"]) for group, r in found}) + FOREIGN

    def allowed(self, user, groups, group, resource, verb, namespace, name=""):
        attributes = {"group": group, "verb": verb, "namespace": namespace, "name": name}
        attributes["resource"], _, attributes["subresource"] = resource.partition("/")
        self.connection.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", json.dumps({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups, "resourceAttributes": attributes}}),
            {"Content-Type": client.JSON, "Authorization": "Bearer " + self.cluster.tokens["admin"]})
        return json.loads(self.connection.getresponse().read())["status"]["allowed"]

    def table(self, namespace, account):
        """All that the account may do and a nobody may not, as BASE has it."""
        groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        user, result = f"system:serviceaccount:{namespace}:{account}", {}
        for group, resource, namespaced in self.resources():
            full = resource if not group else ".".join((resource.split("/")[0], group)) + resource[len(resource.split("/")[0]):]
            # what is allowed in the whole cluster is not told again for each namespace
            for where in ("",) + (tuple(BASE)[1:] if namespaced else ()):
                for verb in VERBS:
                    if where and verb in result.get("", {}).get(full, ()):
                        continue
                    if self.allowed(user, groups, group, resource, verb, where) and \
                            not self.allowed("nobody", ["system:authenticated"], group, resource, verb, where):
                        result.setdefault(where, {}).setdefault(full, set()).add(verb)
        return result

    def check(self, expected, namespace=osmo_site.OPERATOR_NAMESPACE, account="osmo-backend"):
        self.maxDiff = None
        self.assertEqual(self.table(namespace, account), self.seen(expected))

    @staticmethod
    def seen(table):
        """As table() tells it: verbs of the whole cluster are not repeated."""
        result = {}
        for namespace, resources in table.items():
            for resource, verbs in resources.items():
                rest = verbs - table.get("", {}).get(resource, set()) if namespace else verbs
                if rest:
                    result.setdefault(namespace, {})[resource] = rest
        return result

    def apply(self, *addons):
        osmo_site.rights(self.cluster, *addons)
        self.addCleanup(osmo_site.no_rights, self.cluster)

    def test_base(self):
        self.apply()
        self.check(merged(BASE))

    def test_addons(self):
        self.apply(*ADDONS)
        self.check(merged(BASE, *ADDONS.values()))

    def test_node_tests(self):
        """What tests nodes is another account."""
        self.apply("node-tests")
        self.check(merged(NODE_TEST), osmo_site.NODE_TESTS, "osmo-node-test")

    def test_one_lease_and_one_namespace(self):
        """The names that some rules have."""
        self.apply()
        user, groups = f"system:serviceaccount:{osmo_site.OPERATOR_NAMESPACE}:osmo-backend", ["system:authenticated"]
        for name, expected in (("osmo-backend-my-cluster", True), ("another", False)):
            for verb in ("get", "update"):
                self.assertEqual(self.allowed(user, groups, "coordination.k8s.io", "leases", verb, osmo_site.OPERATOR_NAMESPACE, name),
                                 expected)
        for name, expected in (("kube-system", True), ("default", False)):
            self.assertEqual(self.allowed(user, groups, "", "namespaces", "get", "", name), expected)

    def test_refused(self):
        """With its own token, not only by asking."""
        self.apply(*ADDONS)
        api = self.cluster.api_of(token=self.cluster.token_of(osmo_site.OPERATOR_NAMESPACE, "osmo-backend"))
        w = f"/api/v1/namespaces/{osmo_site.WORKFLOWS}"
        for method, path, body in (("GET", w + "/secrets/any", None), ("GET", "/api/v1/secrets", None),
                                   ("GET", f"/api/v1/namespaces/{ELSEWHERE}/secrets", None),
                                   ("GET", f"/api/v1/namespaces/{ELSEWHERE}/configmaps", None),
                                   ("DELETE", f"/api/v1/namespaces/{ELSEWHERE}/pods/any", None), ("DELETE", "/api/v1/nodes/any", None),
                                   ("POST", w + "/pods/any/exec?command=sh", None), ("POST", w + "/serviceaccounts", {}),
                                   ("POST", "/api/v1/namespaces", {"metadata": {"name": "any"}}),
                                   ("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{osmo_site.WORKFLOWS}/roles", {}),
                                   ("DELETE", w + "/pods", None)):
            self.assertEqual(api.request(method, path, body)[0], 403, f"{method} {path}")

    def test_tasks_have_no_token(self):
        """What runs in the pods of workflows cannot speak to the API server."""
        self.apply()
        account = self.cluster.api.must("GET", f"/api/v1/namespaces/{osmo_site.WORKFLOWS}/serviceaccounts/default")
        self.assertIs(account.get("automountServiceAccountToken"), False)
        self.assertEqual(self.table(osmo_site.WORKFLOWS, "default"), {})


if __name__ == "__main__":
    unittest.main(verbosity=2)
