"""What the charts render, and what they refuse; run by tests/charts/check."""
import base64
import json
import re
import shlex
import unittest

import yaml

from manifests import NAMESPACE, ROOT, helm, render

VALUES = sorted((ROOT / "tests/charts/values").glob("*.yaml"))
# ClusterRole and binding of the central nodes.
REVIEWS = "sorcha-node-reviews"
OWNED = {"get", "list", "watch", "create", "patch"}
# What is not always wanted.
DELETED = OWNED | {"delete"}
# (group, resource): verbs that the controller needs, no more.
NEEDED = {
    **{("sorcha.dev", kind): {"list", "watch"} for kind in ("sorchacentralnodes", "sorchapeers")},
    **{("sorcha.dev", f"{kind}/status"): {"patch"} for kind in ("sorchacentralnodes", "sorchapeers")},
    **{("sorcha.dev", f"{kind}/finalizers"): {"update"} for kind in ("sorchacentralnodes", "sorchapeers")},
    ("sorcha.dev", "sorchablueprints"): {"get", "list", "watch", "patch"},
    ("sorcha.dev", "sorchablueprints/status"): {"patch"},
    **{("", kind): OWNED for kind in ("services", "configmaps", "serviceaccounts")},
    ("", "secrets"): {"get", "list", "watch", "create", "update", "patch"},
    ("cert-manager.io", "certificates"): {"get", "create", "patch"},
    ("", "pods"): {"list", "watch"},
    ("", "persistentvolumeclaims"): {"get"},
    ("apps", "statefulsets"): OWNED,
    ("batch", "cronjobs"): DELETED,
    ("policy", "poddisruptionbudgets"): DELETED,
    ("networking.k8s.io", "networkpolicies"): OWNED,
    **{("rbac.authorization.k8s.io", kind): OWNED for kind in ("roles", "rolebindings")},
    ("events.k8s.io", "events"): {"create", "patch"},
}


def values(name):
    return ["--values", str(ROOT / f"tests/charts/values/{name}.yaml")]


def of_kind(manifests, *kinds):
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def hooks(manifest):
    return manifest["metadata"].get("annotations", {}).get("helm.sh/hook")


def is_drills(manifest):
    return manifest["metadata"]["labels"].get("app.kubernetes.io/component") == "drill"


def pod_specs(manifests):
    for manifest in of_kind(manifests, "Deployment", "Pod"):
        yield manifest["spec"]["template"]["spec"] if manifest["kind"] == "Deployment" else manifest["spec"]


class Definitions(unittest.TestCase):
    """charts/sorcha-crds"""

    def test_the_copy_is_fresh(self):
        for kept in sorted((ROOT / "crds").glob("*.yaml")):
            copy = ROOT / "charts/sorcha-crds/files" / kept.name
            stale = f"{copy.relative_to(ROOT)} is stale: run cp crds/*.yaml charts/sorcha-crds/files/"
            self.assertTrue(copy.exists() and copy.read_bytes() == kept.read_bytes(), stale)
        names = lambda folder: {file.name for file in (ROOT / folder).glob("*.yaml")}
        self.assertEqual(names("crds"), names("charts/sorcha-crds/files"))

    def test_what_is_rendered_is_what_the_files_say(self):
        rendered = {crd["metadata"]["name"]: crd for crd in render(chart="charts/sorcha-crds")}
        for kept in (ROOT / "crds").glob("*.yaml"):
            crd = yaml.safe_load(kept.read_text())
            self.assertEqual(rendered.pop(crd["metadata"]["name"])["spec"], crd["spec"])
        self.assertEqual(rendered, {})

    def test_they_outlive_the_release_whatever_the_values_say(self):
        args = ["--set-json", 'annotations={"helm.sh/resource-policy": "delete", "example.org/a": "b"}']
        for crd in render(*args, chart="charts/sorcha-crds"):
            self.assertEqual(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep")
            self.assertEqual(crd["metadata"]["annotations"]["example.org/a"], "b")

    def test_unknown_values_are_refused(self):
        done = helm("template", "a", "charts/sorcha-crds", "--set", "annotation.a=b")
        self.assertIn("'annotation' not allowed", done.stderr)


class Values(unittest.TestCase):
    """values.yaml and its schema"""

    def test_wrong_values_are_refused_with_the_reason(self):
        lines = (ROOT / "tests/charts/wrong-values.txt").read_text().splitlines()
        for line in lines:
            if line.startswith("#"):
                continue
            args, expected = line.split(" | ")
            with self.subTest(args):
                done = helm("template", "sorcha", "charts/sorcha", *shlex.split(args, posix=False))
                self.assertNotEqual(done.returncode, 0, "it was accepted")
                self.assertIn(expected, done.stderr)

    def test_times_that_do_not_go_together_are_refused_by_name(self):
        for setting, value in [("resync", "0s"), ("resync", "9s"), ("resync", "9999ms"), ("certificates.settle", "200h"), ("certificates.lifetime", "59s"),
                               ("certificates.caLifetime", "800h"), ("certificates.lifetime", "3000h")]:
            with self.subTest((setting, value)):
                done = helm("template", "sorcha", str(ROOT / "charts/sorcha"), "--namespace", NAMESPACE, "--set", f"controller.{setting}={value}")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"controller.{setting}", done.stderr)
        for setting, value in [("resync", "10s"), ("resync", "1h30m5s500ms"), ("resync", "0h010m"), ("certificates.settle", "120h"), ("log.filter", "info,[span{a=1}]=debug")]:
            with self.subTest((setting, value)):
                done = helm("template", "sorcha", str(ROOT / "charts/sorcha"), "--namespace", NAMESPACE, "--set-string", f"controller.{setting}={value}".replace(",", "\\,"))
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_value_is_in_the_schema_which_is_strict(self):
        schema = json.loads((ROOT / "charts/sorcha/values.schema.json").read_text())

        def check(path, value, field):
            field = {**schema["definitions"][field["$ref"].rsplit("/", 1)[1]], **field} if "$ref" in field else field
            if field.get("type") == "object" and "properties" in field and "description" not in field:
                self.assertIs(field.get("additionalProperties"), False, path)
                # What Helm and a parent chart put in.
                known = set(field["properties"]) - (set() if path else {"global", "enabled"})
                self.assertEqual(known, set(value), path)
                for key in known:
                    check(f"{path}.{key}", value[key], field["properties"][key])
            else:
                self.assertTrue(field.get("description"), f"{path} has no description")

        check("", yaml.safe_load((ROOT / "charts/sorcha/values.yaml").read_text()), schema)

    def test_every_value_is_set_by_a_file_of_values(self):
        def paths(value, path=""):
            yield path
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield from paths(inner, f"{path}.{key}")

        tried = {path for file in VALUES for path in paths(yaml.safe_load(file.read_text()))}
        known = set(paths(yaml.safe_load((ROOT / "charts/sorcha/values.yaml").read_text())))
        self.assertEqual(known - tried, set())

    def test_every_accepted_set_of_values_renders(self):
        for file in VALUES:
            with self.subTest(file.name):
                self.assertTrue(render("--values", str(file)))


class Objects(unittest.TestCase):
    """What is made"""

    def test_names_and_namespaces(self):
        for file in VALUES:
            manifests = render("--values", str(file))
            seen = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests]
            self.assertEqual(len(seen), len(set(seen)), f"{file.name}: a name twice")
            for manifest in manifests:
                clusterwide = manifest["kind"].startswith(("ClusterRole", "ValidatingAdmissionPolicy"))
                namespace = manifest["metadata"].get("namespace")
                self.assertEqual(clusterwide, namespace is None, (file.name, manifest["kind"]))

    def test_long_names_stay_valid(self):
        long = "r" * 53
        done = helm("template", long, "charts/sorcha", "--namespace", NAMESPACE, "--set", "demo.enabled=true")
        for manifest in yaml.safe_load_all(done.stdout):
            self.assertLessEqual(len(manifest["metadata"]["name"]), 63)
            for value in manifest["metadata"]["labels"].values():
                self.assertLessEqual(len(value), 63)

    def test_every_object_is_labelled(self):
        for file in VALUES:
            for manifest in render("--values", str(file)):
                labels = manifest["metadata"]["labels"]
                for key in ("name", "instance", "version", "part-of", "managed-by"):
                    self.assertIn(f"app.kubernetes.io/{key}", labels, (file.name, manifest["kind"]))

    def test_a_node_may_write_its_own_part_of_a_status_only(self):
        for file in VALUES:
            manifests = render("--values", str(file))
            policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(manifests, "ValidatingAdmissionPolicy")}
            bindings = {binding["spec"]["policyName"]: binding["spec"] for binding in of_kind(manifests, "ValidatingAdmissionPolicyBinding")}
            self.assertEqual(set(policies), set(bindings), file.name)
            if file.name in ("bare.yaml", "namespace.yaml", "watch-another-namespace.yaml"):
                self.assertEqual(policies, {}, file.name)
                continue
            resources = [policy["matchConstraints"]["resourceRules"][0]["resources"] for policy in policies.values()]
            self.assertCountEqual(resources, [["sorchapeers/status"], ["sorchacentralnodes/status"]])
            for name, policy in policies.items():
                self.assertEqual(policy["failurePolicy"], "Fail")
                self.assertEqual(bindings[name]["validationActions"], ["Deny"])
                part = "nodes" if "peers" in str(policy["matchConstraints"]) else "node"
                text = " ".join(rule["expression"] for rule in policy["validations"])
                self.assertEqual(text.count(f"key == '{part}'"), 2)
                # Every variable that is used is there.
                known = {variable["name"] for variable in policy["variables"]}
                self.assertEqual(set(re.findall(r"variables\.(\w+)", json.dumps(policy))) - known, set())

    def test_selectors_find_the_controller_and_nothing_else(self):
        for file in VALUES:
            manifests = render("--values", str(file))
            deployment = of_kind(manifests, "Deployment")[0]
            pods = deployment["spec"]["template"]["metadata"]["labels"]
            drill = of_kind(manifests, "Pod")[0]["metadata"]["labels"]
            selectors = [deployment["spec"]["selector"]["matchLabels"], of_kind(manifests, "Service")[0]["spec"]["selector"]]
            selectors += [pdb["spec"]["selector"]["matchLabels"] for pdb in of_kind(manifests, "PodDisruptionBudget")]
            for selector in selectors:
                self.assertLessEqual(selector.items(), pods.items())
                self.assertFalse(selector.items() <= drill.items(), "the drill's pod is selected, too")

    def test_pods_fit_the_restricted_standard(self):
        for file in VALUES:
            for spec in pod_specs(render("--values", str(file))):
                self.assertFalse({"hostNetwork", "hostPID", "hostIPC"} & set(spec))
                self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in spec["containers"]:
                    context = container["securityContext"]
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                    self.assertEqual(context["runAsUser"], 65532)
                    for key, wanted in (("runAsNonRoot", True), ("readOnlyRootFilesystem", True), ("allowPrivilegeEscalation", False)):
                        self.assertIs(context[key], wanted, key)
                for volume in spec.get("volumes", []):
                    self.assertIn("secret", volume)

    def test_the_controller_gets_its_settings(self):
        def args(*more):
            return of_kind(render(*more), "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]

        defaults = args()
        self.assertEqual(defaults[0], "run")
        for wanted in ("--node-image=localhost/sorcha:0.1.0", "--node-image-pull-policy=IfNotPresent", "--leader-elect=true",
                       f"--node-reviews-binding={REVIEWS}", "--lease-name=sorcha", f"--lease-namespace={NAMESPACE}", "--listen=0.0.0.0:8080",
                       "--resync=10m", "--ca-lifetime=8760h", "--certificate-lifetime=720h", "--certificate-settle=5m"):
            self.assertIn(wanted, defaults)
        self.assertFalse([arg for arg in defaults if arg.startswith("--namespace")])
        self.assertIn("--disruption-budgets=true", defaults)
        self.assertIn("--disruption-budgets=false", args(*values("bare")), "a cluster of one machine could not be drained")
        everything = args(*values("everything"))
        for wanted in ("--node-image=localhost/other/node:2", "--node-image-pull-policy=Never", "--listen=[::]:8080",
                       "--concurrency=4", "--resync=1h30m", "--ca-lifetime=4380h", "--certificate-lifetime=24h",
                       "--certificate-settle=2m", "--log=debug,kube=info", "--log-format=human", "--lease-seconds=30"):
            self.assertIn(wanted, everything)
        self.assertIn(f"--namespace={NAMESPACE}", args(*values("namespace")))
        for more in (values("namespace"), ("--set", "rbac.create=false")):
            self.assertFalse([arg for arg in args(*more) if arg.startswith("--node-reviews")], "it could not keep the binding")
        self.assertIn("--namespace=registers", args(*values("watch-another-namespace")))

    def test_a_digest_goes_before_the_tag(self):
        for spec in pod_specs(render(*values("everything"))):
            self.assertRegex(spec["containers"][0]["image"], r"^localhost/other/sorcha@sha256:[0-9a-f]{64}$")


class Rights(unittest.TestCase):
    """RBAC in both scopes"""

    @staticmethod
    def granted(role):
        granted = {}
        for rule in role["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    granted.setdefault((group, resource), set()).update(rule["verbs"])
        return granted

    def check(self, args, kind, namespace):
        manifests = [manifest for manifest in render(*args) if not is_drills(manifest)]
        role = next(r for r in of_kind(manifests, kind) if r["metadata"]["name"] == "sorcha")
        self.assertEqual(self.granted(role), NEEDED)
        self.assertEqual(role["metadata"].get("namespace"), namespace)
        leader = next(r for r in of_kind(manifests, "Role") if r["metadata"]["name"] == "sorcha-leader")
        self.assertEqual(set(self.granted(leader)), {("coordination.k8s.io", "leases")})
        self.assertEqual(leader["metadata"]["namespace"], NAMESPACE)
        pod = of_kind(manifests, "Deployment")[0]["spec"]["template"]["spec"]
        account = pod["serviceAccountName"]
        tokens = next(r for r in of_kind(manifests, "Role") if r["metadata"]["name"] == "sorcha-tokens")
        self.assertEqual(self.granted(tokens), {("", "serviceaccounts/token"): {"create"}})
        self.assertEqual(tokens["rules"][0]["resourceNames"], ["sorcha-publisher"], "not the controller's own")
        self.assertEqual(tokens["metadata"]["namespace"], NAMESPACE)
        for flag in ("--publisher-service-account=sorcha-publisher", f"--publisher-service-account-namespace={NAMESPACE}"):
            self.assertIn(flag, pod["containers"][0]["args"])
        for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding"):
            if binding["metadata"]["name"] == REVIEWS:
                self.assertNotIn("subjects", binding, "the controller keeps them, and an upgrade must not touch them")
                continue
            whose = {"sorcha-publisher": "sorcha-publisher", "sorcha-release": "sorcha-release"}.get(binding["metadata"]["name"], account)
            self.assertEqual(binding["subjects"], [{"kind": "ServiceAccount", "name": whose, "namespace": NAMESPACE}])
            bound = binding["roleRef"]["kind"], binding["metadata"].get("namespace"), binding["roleRef"]["name"]
            self.assertIn(bound, [(r["kind"], r["metadata"].get("namespace"), r["metadata"]["name"]) for r in of_kind(manifests, "Role", "ClusterRole")])
        return manifests

    def test_cluster_scope(self):
        manifests = self.check([], "ClusterRole", None)
        roles = {role["metadata"]["name"]: role for role in of_kind(manifests, "ClusterRole")}
        users = {f"sorcha-{name}" for name in ("view", "edit", "admin", "publisher")}
        self.assertEqual(set(roles), {"sorcha", REVIEWS, "sorcha-reviews-keeper", "sorcha-release"} | users)
        reviews = {("authentication.k8s.io", "tokenreviews"): {"create"}}
        self.assertEqual(self.granted(roles[REVIEWS]), reviews)
        keeper = roles["sorcha-reviews-keeper"]
        handed_on = {("authorization.k8s.io", "localsubjectaccessreviews"): {"create"}}
        bindings = {("rbac.authorization.k8s.io", "clusterrolebindings"): {"get", "patch"}}
        self.assertEqual(self.granted(keeper), reviews | handed_on | bindings)
        self.assertEqual([rule["resourceNames"] for rule in keeper["rules"] if "resourceNames" in rule], [[REVIEWS]])
        publisher = roles["sorcha-publisher"]
        self.assertEqual(self.granted(publisher), {("sorcha.dev", "sorchacentralnodes"): {"publish"}})
        self.assertIn("rbac.authorization.k8s.io/aggregate-to-admin", publisher["metadata"]["labels"])
        self.assertNotIn("rbac.authorization.k8s.io/aggregate-to-edit", publisher["metadata"]["labels"])
        for name in ("view", "edit", "admin"):
            labels = roles[f"sorcha-{name}"]["metadata"]["labels"]
            self.assertEqual(labels[f"rbac.authorization.k8s.io/aggregate-to-{name}"], "true")
            groups = {group for group, _ in self.granted(roles[f"sorcha-{name}"])}
            self.assertEqual(groups, {"sorcha.dev"})
        self.assertNotIn("rbac.authorization.k8s.io/aggregate-to-view", roles["sorcha-edit"]["metadata"]["labels"])
        for kind in ("sorchacentralnodes", "sorchapeers", "sorchablueprints"):
            for name, verbs in (("view", {"get", "list", "watch"}), ("edit", {"create", "update", "patch", "delete"}), ("admin", {"deletecollection"})):
                self.assertEqual(self.granted(roles[f"sorcha-{name}"])[("sorcha.dev", kind)], verbs)

    def test_the_publisher_may_publish_and_nothing_else(self):
        for args in ([], values("namespace"), values("watch-another-namespace")):
            manifests = render(*args)
            bound = [
                (binding["roleRef"]["kind"], binding["roleRef"]["name"])
                for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding")
                if any(subject["name"] == "sorcha-publisher" for subject in binding.get("subjects", []))
            ]
            self.assertEqual(len(bound), 1)
            (role,) = [r for r in of_kind(manifests, "Role", "ClusterRole") if (r["kind"], r["metadata"]["name"]) == bound[0]]
            self.assertEqual(self.granted(role), {("sorcha.dev", "sorchacentralnodes"): {"publish"}})
            self.assertNotIn("sorcha-publisher", [spec["serviceAccountName"] for spec in pod_specs(manifests)])

    def test_what_lets_blueprints_go_runs_after_the_controller(self):
        for args, namespace in (([], None), (values("watch-another-namespace"), "registers")):
            hooked = [m for m in render(*args) if m["metadata"]["name"] == "sorcha-release"]
            self.assertEqual({hooks(manifest) for manifest in hooked}, {"post-delete"})
            (job,) = of_kind(hooked, "Job")
            (deployment,) = of_kind(render(*args), "Deployment")
            (container,) = job["spec"]["template"]["spec"]["containers"]
            controller = deployment["spec"]["template"]["spec"]["containers"][0]
            for field in ("image", "imagePullPolicy"):
                self.assertEqual(container[field], controller[field], "nothing else is pulled")
            self.assertEqual(container["args"], ["release"] + ([f"--namespace={namespace}"] if namespace else []))
            (role,) = of_kind(hooked, "Role", "ClusterRole")
            self.assertEqual(self.granted(role), {("sorcha.dev", "sorchablueprints"): {"get", "list", "patch"}})
        self.assertEqual([m for m in render("--set", "release.enabled=false") if hooks(m) == "post-delete"], [])

    def test_namespace_scope_has_no_cluster_role(self):
        for name, namespace in (("namespace", NAMESPACE), ("watch-another-namespace", "registers")):
            manifests = self.check(values(name), "Role", namespace)
            self.assertEqual(of_kind(manifests, "ClusterRole", "ClusterRoleBinding"), [])

    def test_the_controller_reaches_central_nodes_of_the_namespaces_that_it_watches(self):
        for name, selector in (("defaults", {}), ("watch-another-namespace", {"matchLabels": {"kubernetes.io/metadata.name": "registers"}})):
            policy = next(p for p in of_kind(render(*values(name)), "NetworkPolicy") if p["metadata"]["name"] == "sorcha")
            (rule,) = [rule for rule in policy["spec"]["egress"] if rule["ports"][0]["port"] == 8443]
            (to,) = rule["to"]
            self.assertEqual(to["namespaceSelector"], selector)
            self.assertEqual(to["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "central-node")

    def test_the_drill_may_delete_three_pods_and_no_other(self):
        role = next(r for r in of_kind(render(*values("demo")), "Role") if is_drills(r))
        rule = next(rule for rule in role["rules"] if rule["resources"] == ["pods"])
        self.assertEqual((rule["resourceNames"], rule["verbs"]), (["n0-0", "n1-0", "n2-0"], ["get", "delete"]))
        role = next(r for r in of_kind(render(*values("namespace")), "Role") if is_drills(r))
        self.assertEqual({verb for rule in role["rules"] for verb in rule["verbs"]}, {"get", "list"})


class Demo(unittest.TestCase):
    """demo.enabled, and helm test with and without it"""

    def test_without_it_there_is_none_and_the_test_only_looks(self):
        manifests = render()
        self.assertEqual(of_kind(manifests, "SorchaCentralNode", "SorchaPeer", "Secret"), [])
        pod = of_kind(manifests, "Pod")[0]
        self.assertIn("--check-only", pod["spec"]["containers"][0]["args"])
        self.assertNotIn("volumes", pod["spec"])
        self.assertEqual([r for r in of_kind(manifests, "Role") if is_drills(r)], [])

    def test_three_central_nodes_share_one_server_and_peers_find_them(self):
        manifests = render(*values("demo"))
        centrals = of_kind(manifests, "SorchaCentralNode")
        self.assertEqual([c["metadata"]["name"] for c in centrals], ["n0", "n1", "n2"])
        self.assertEqual([c["spec"]["priority"] for c in centrals], [0, 1, 2])
        self.assertEqual([c["spec"]["hostname"] for c in centrals], [f"n{i}.sorcha.dev" for i in range(3)])
        self.assertEqual(len({json.dumps(c["spec"]["store"]) for c in centrals}), 1)
        self.assertEqual(centrals[0]["spec"]["store"]["mongodb"]["managed"]["authentication"], "Password")
        (peer,) = of_kind(manifests, "SorchaPeer")
        self.assertEqual((peer["metadata"]["name"], peer["spec"]["replicas"]), ("edge", 3))
        self.assertEqual({c["spec"]["network"] for c in centrals}, {peer["spec"]["network"]})

    def test_the_token_is_one_that_nodes_accept(self):
        (secret,) = of_kind(render(*values("demo")), "Secret")
        self.assertRegex(base64.b64decode(secret["data"]["tokens"]).decode(), r"^demo: [A-Za-z0-9]{40}\n$")

    def test_the_tokens_secret_is_the_one_that_everybody_names(self):
        for name, wanted in (("demo", "sorcha-demo-publishers"), ("namespace", "my-publishers")):
            manifests = render(*values(name))
            for central in of_kind(manifests, "SorchaCentralNode"):
                self.assertEqual(central["spec"]["publishers"]["tokensSecretRef"], {"name": wanted, "key": "tokens"})
            pod = of_kind(manifests, "Pod")[0]
            self.assertEqual(pod["spec"]["volumes"][0]["secret"]["secretName"], wanted)
        self.assertEqual(of_kind(render(*values("namespace")), "Secret"), [])

    def test_the_only_hook_of_a_test_is_a_pod(self):
        # helm test --logs takes every hook of a test for a pod. The others run after an uninstall.
        for name in ("defaults", "demo"):
            hooked = [(m["kind"], hooks(m)) for m in render(*values(name)) if hooks(m)]
            self.assertEqual([kind for kind, when in hooked if when == "test"], ["Pod"])
            self.assertEqual({when for _, when in hooked}, {"test", "post-delete"})


class Notes(unittest.TestCase):
    """What helm install prints"""

    def test_they_need_kubectl_and_helm_only_and_write_no_token_into_a_file(self):
        for chart in ("sorcha", "sorcha-crds"):
            text = (ROOT / "charts" / chart / "templates/NOTES.txt").read_text()
            commands = [line.strip() for line in text.splitlines() if line.startswith("  ")]
            self.assertTrue(commands)
            for command in commands:
                self.assertIn(command.split()[0], ("kubectl", "helm"), command)
                self.assertNotIn("> ", command)


class Alerts(unittest.TestCase):
    """PrometheusRule"""

    FUNCTIONS = {"min", "max", "sum", "by", "increase", "rate", "histogram_quantile", "absent", "unless", "offset", "on", "and", "or"}

    def rules(self, *args):
        (rule,) = of_kind(render("--set", "metrics.prometheusRule.enabled=true", *args), "PrometheusRule")
        return [alert for group in rule["spec"]["groups"] for alert in group["rules"]]

    @staticmethod
    def metrics():
        """Names as Prometheus sees them (node/src/telemetry/tests.rs holds the form of the nodes' ones)."""
        source = (ROOT / "crates/runtime/src/metrics/instruments.rs").read_text()
        names = {"up"}
        for call, name in re.findall(r'=\s+(millis|seconds|counter|count|version)\("([a-z.]+)"', source):
            name = name.replace(".", "_")
            if call == "counter":
                names.add(f"{name}_total")
            elif call in ("millis", "seconds"):
                unit = {"millis": "milliseconds", "seconds": "seconds"}[call]
                names |= {f"{name}_{unit}_{part}" for part in ("bucket", "sum", "count")}
            else:
                names.add(name)
        controller = "".join((ROOT / f"controller/src/{file}.rs").read_text() for file in ("metrics", "certificates"))
        return names | set(re.findall(r'"(sorcha_controller_[a-z_]+)"', controller))

    def test_only_metrics_that_there_are(self):
        known = self.metrics()
        self.assertLessEqual({"peer_connection_status", "peer_sync_failures_total", "peer_failover_duration_seconds_sum"}, known)
        for alert in self.rules("--set", "metrics.serviceMonitor.enabled=true"):
            bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|"[^"]*"|by \([^)]*\)', " ", alert["expr"])
            words = set(re.findall(r"[a-z_][a-z0-9_]*", bare)) - self.FUNCTIONS - {"h"}
            self.assertTrue(words and words <= known, f"{alert['alert']}: {words - known}")

    def test_labels_of_values_exist_in_the_source(self):
        source = "".join(file.read_text() for file in (ROOT / "crates/central/src").glob("*.rs"))
        for alert in self.rules():
            for value in re.findall(r'(?:reason|result)="([a-z_]+)"', alert["expr"]):
                self.assertIn(f'"{value}"', source, alert["alert"])

    def test_each_leads_to_a_part_of_the_operations_page(self):
        page = (ROOT / "docs/operations.md").read_text()
        anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).strip().replace(" ", "-") for h in re.findall(r"^#+ (.+)$", page, re.M)}
        for alert in self.rules():
            file, anchor = alert["annotations"]["runbook"].split("#")
            self.assertEqual(file, "docs/operations.md")
            self.assertIn(anchor, anchors, alert["alert"])
        linked = self.rules("--set", "metrics.prometheusRule.runbookBaseUrl=https://git.example.org/sorcha/")
        for alert in linked:
            self.assertTrue(alert["annotations"]["runbook_url"].startswith("https://git.example.org/sorcha/docs/operations.md#"))

    def test_the_operations_page_lists_each_with_its_severity_time_and_remedy(self):
        page = (ROOT / "docs/operations.md").read_text()
        rows = re.findall(r"^\| `(Sorcha\w+)` \| (\w+) \| .+, (?:for (\w+)|at once) \| \[[^]]+\]\(#([a-z-]+)\) \|$", page, re.M)
        alerts = self.rules("--set", "metrics.serviceMonitor.enabled=true")
        wanted = [(a["alert"], a["labels"]["severity"], a.get("for", ""), a["annotations"]["runbook"].split("#")[1]) for a in alerts]
        self.assertEqual(rows, wanted)

    def test_braces_for_prometheus_arrive(self):
        self.assertIn("{{ $labels.pod }}", self.rules()[1]["annotations"]["summary"])

    def test_names_are_unique_and_few_are_critical(self):
        alerts = self.rules()
        self.assertEqual(len({alert["alert"] for alert in alerts}), len(alerts))
        critical = {alert["alert"] for alert in alerts if alert["labels"]["severity"] == "critical"}
        known = {"SorchaNetworkUnreachable", "SorchaRegisterDamaged", "SorchaRegisterRefused", "SorchaPeerAhead"}
        self.assertEqual(critical, known)
        readme = (ROOT / "charts/sorcha/README.md").read_text()
        self.assertEqual({name for name in known if f"`{name}`" not in readme}, set())


if __name__ == "__main__":
    unittest.main()
