"""Both charts with hostile text for every value and everything that Helm fills in: each is refused by its name, or what is
rendered is valid. Many values share a rendering: helm names all that the schema refuses at once."""
import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

from manifests import ROOT, NAMESPACE, faults, helm, load, render

CHART, DEFINITIONS = ROOT / "charts/sorcha", ROOT / "charts/sorcha-crds"
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
EVERYTHING = yaml.safe_load((ROOT / "tests/charts/values/everything.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

NOT_TEXT = ["0", "123", "-1", "+1", "1.5", "1e3", "1E-3", "0x10", "0o7", "012", "0b1", "1_000", ".5", ".inf", ".NaN", "~", "null", "Null",
            "true", "True", "false", "yes", "no", "on", "off", "y", "n", "2001-01-01", "12:30:45", "=", "<<"]
NOT_A_NAME = ["", " ", "-", "-a", "a-", ".a", "a.", "a..b", "a.b", "1a", "A", "a_b", "a+b", "1.0.0+build", "a/b", "a@b", "a,b", "é", "日本", "\\",
              "$(A)", "a" * 63, "a" * 64, "a" * 254, "a" * 5000, "a." * 100 + "a", "0" * 300]
NOT_YAML = ["a: b", "a:b", "a: {b: c}", ": ", "a #b", "#", "{{", "{{ .Release.Name }}", "{{ fail \"x\" }}", "- x", "*a", "&a", "!x", "!!int 1", "|", ">",
            "%a", "@a", "`a`", "'", '"', "a'b", 'a"b', "a\nb", "a\n", "\na: b", "a\n---\nkind: Pod", "a\tb", "a\u2028b", "a\u0007b", "a\u0000b",
            "[", "]", "{", "}", "[a]", "{a: b}", "? a", "a" + " " * 200 + "b"]
NOT_SCALAR = [0, 1, -1, 1.5, 1e9, 10**15, True, False, {}, {"a": "b"}, {"a": 1}, [], ["a"], [1], [{}]]
HOSTILE = NOT_TEXT + NOT_A_NAME + NOT_YAML + NOT_SCALAR
# Null takes these away; elsewhere it is the default, or refused.
MAY_GO = "resources."


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path


def containers(value, path=()):
    if path and isinstance(value, (dict, list)):
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []:
        yield from containers(inner, (*path, key))


def replaced(values, changes):
    values = copy.deepcopy(values)
    for path, hostile in changes.items():
        place = values
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = hostile
    return values


def pointer(path):
    return "/" + "/".join(str(key).replace("~", "~0").replace("/", "~1") for key in path)


def dotted(path):
    return ".".join(str(key) for key in path if not isinstance(key, int))


def quoted(key):
    """As the schema's messages quote a key."""
    return "'" + json.dumps(str(key), ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


def named(path, message):
    """Whether helm's message, of the schema or of the chart, says which value it is."""
    place, parent = re.escape(pointer(path)), re.escape(pointer(path[:-1]) if path[:-1] else "")
    own = rf"at '{place}(/[^']*)?'"
    by_parent = rf"at '{parent}': .*{re.escape(quoted(path[-1]))}"
    return bool(re.search(f"{own}|{by_parent}", message)) or ("execution error" in message and dotted(path) in message)


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.work)
        (cls.work / "rendered").mkdir()
        cls.count = 0

    def template(self, values, *args, chart=CHART, release="sorcha", namespace=NAMESPACE):
        file = self.work / "values.yaml"
        file.write_text(json.dumps(values))
        return helm("template", release, str(chart), "--namespace", namespace, "--values", str(file), *args)

    def check(self, done, of):
        """That what is rendered is valid; kubeconform looks at it at the end."""
        self.assertEqual(done.returncode, 0, f"{of}: {done.stderr}")
        try:
            manifests = load(done.stdout)
        except yaml.YAMLError as error:
            self.fail(f"{of}: no YAML: {error}")
        found = [fault for manifest in manifests for fault in faults(manifest)]
        self.assertEqual(found, [], of)
        type(self).count += 1
        (self.work / f"rendered/{self.count}.yaml").write_text(f"# {str(of)[:20000]!r}\n{done.stdout}")
        return manifests

    def sift(self, changes, render, within=0):
        """Takes out of the changes what is refused by name, until the rest is rendered; what is left, and the rendering."""
        changes = dict(changes)
        while True:
            done = render(changes)
            if done.returncode == 0:
                return changes, done
            refused = [path for path in changes if named(path[within:], done.stderr)]
            self.assertTrue(refused, f"refused without a name, with {changes}: {done.stderr[:3000]}")
            if "execution error" in done.stderr:
                refused = [max(refused, key=lambda path: len(dotted(path)))]
            for path in refused:
                del changes[path]

    def try_all(self, base, paths, hostile, **options):
        for value in hostile:
            changes = {path: value for path in paths}
            with self.subTest(repr(value)[:80]):
                left, done = self.sift(changes, lambda now: self.template(replaced(base, now), **options))
                self.check(done, {dotted(path): value for path, value in left.items()})

    def nulls(self, render, prefix=()):
        whole = self.check(render({}), "the defaults")
        places = [*leaves(DEFAULTS), *containers(DEFAULTS)]
        places = [path for path in places if not any(isinstance(key, int) for key in path) and not f"{dotted(path)}.".startswith(MAY_GO)]
        for depth in range(1, 1 + max(map(len, places))):
            changes = {(*prefix, *path): None for path in places if len(path) == depth}
            left, done = self.sift(changes, render, len(prefix))
            self.assertEqual(self.check(done, left), whole, f"null for {sorted(map(dotted, left))} changes what is made")

    def conform(self):
        kubeconform, schemas = os.environ.get("KUBECONFORM"), os.environ.get("SCHEMAS")
        if not kubeconform:
            self.skipTest("KUBECONFORM and SCHEMAS are not set: run tests/charts/check tests")
        location = schemas + "/{{.ResourceKind}}{{.KindSuffix}}.json"
        done = subprocess.run([kubeconform, "-strict", "-schema-location", location, str(self.work / "rendered")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr)[:5000])


class Values(Hostile):
    """Each value of values.yaml, and within those that hold objects each field."""

    def test_every_value_is_refused_by_name_or_rendered_validly(self):
        self.try_all(EVERYTHING, list(leaves(EVERYTHING)), HOSTILE)
        self.conform()

    def test_every_value_of_scope_namespace_is_refused_by_name_or_rendered_validly(self):
        changes = {("scope",): "Namespace", ("watchNamespace",): "registers", ("demo", "enabled"): False}
        paths = [("watchNamespace",), ("nameOverride",), ("fullnameOverride",), ("serviceAccount", "name"), ("metrics", "podMonitor", "interval")]
        self.try_all(replaced(EVERYTHING, changes), paths, NOT_TEXT + NOT_A_NAME)
        self.conform()

    def test_what_holds_values_is_no_text_number_or_list(self):
        places = list(containers(EVERYTHING))
        for depth in range(1, 1 + max(map(len, places))):
            self.try_all(EVERYTHING, [path for path in places if len(path) == depth], [1, True, "", "a", "a: b", {}, {"a": "b"}, [], ["a"], [{}]])
        self.conform()

    def test_every_key_is_refused_by_name_or_rendered_validly(self):
        maps = {("podLabels",), ("podAnnotations",), ("nodeSelector",), ("service", "annotations"), ("serviceAccount", "annotations")}
        maps |= {("metrics", monitor, "labels") for monitor in ("serviceMonitor", "podMonitor", "prometheusRule")}
        maps |= {("resources", which) for which in ("requests", "limits")}
        own = ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component", "helm.sh/chart", "kubectl.kubernetes.io/default-container"]
        for key in [text for text in HOSTILE if isinstance(text, str)] + own:
            with self.subTest(repr(key)[:80]):
                if len(key) > 1024:
                    continue  # YAML itself has no such key.
                value = {path: {key: "1"} for path in maps}
                left, done = self.sift(value, lambda now: self.template(replaced(EVERYTHING, now)))
                self.check(done, left)
        self.conform()

    def test_null_is_the_default_or_refused_by_name(self):
        self.nulls(lambda changes: self.template(replaced(DEFAULTS, changes)))

    def test_null_takes_limits_away(self):
        done = self.template({"resources": {"limits": None, "requests": {"cpu": None}}})
        deployment = next(m for m in self.check(done, "no limits") if m["kind"] == "Deployment")
        resources = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]
        self.assertEqual(set(resources), {"requests"})
        self.assertEqual(set(resources["requests"]), {"memory", "ephemeral-storage"})

    def test_annotations_of_the_definitions(self):
        texts = [text for text in HOSTILE if isinstance(text, str)]
        by_key = {("annotations", f"a{index}"): text for index, text in enumerate(HOSTILE)}
        # YAML itself has no longer keys; the messages write others than these in a way of their own.
        plain = [text for text in texts if len(text) < 1024 and text.isprintable() and "\\" not in text]
        by_text = {("annotations", text): "a" for text in plain}
        for changes in (by_key, by_text):
            template = lambda now: self.template({"annotations": {path[1]: value for path, value in now.items()}}, chart=DEFINITIONS)
            left, done = self.sift(changes, template)
            self.check(done, left)
            self.assertGreater(len(left), 10, "nearly everything is refused")
        self.check(self.template({"annotations": None}, chart=DEFINITIONS), "null")
        self.conform()


class BuiltIns(Hostile):
    """Release, namespace, versions and name of the charts, version of Kubernetes."""

    RELEASES = ["0", "123", "1e3", "0x10", "012", "true", "false", "null", "no", "y", "on", "a", "1a", "a-b", "a.b", "1.5", "0.1", "2001-01-01", "sorcha", "my-sorcha",
                "sorcha.dev", "7-sorcha", "sorcha-2", "a" * 53, "a" * 52 + "b", "a" * 38 + "-" + "b" * 14, "a" * 26 + "." + "b" * 26, "sorcha" + "-" * 40 + "a"]
    NAMESPACES = ["0", "123", "1e3", "0x10", "true", "null", "no", "a" * 63]
    APP_VERSIONS = ["1e3", "0.1.0+build.5", "true", "null", "~", "0x10", "", " ", "a: b", "v1 #x", "'", '"', "1.0\n", "x" * 300, "é", "{{ .Values }}", "-", "+", "1." + "+" * 100]
    VERSIONS = ["0.1.0+build.5", "1.2.3-rc.1+" + "a" * 80, "1.0.0-" + "a" * 80, "0.0.0-0"]

    def copy(self, chart, **fields):
        """A chart with other fields in its Chart.yaml."""
        place = self.work / "charts" / chart.name
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(chart, place)
        file = place / "Chart.yaml"
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **fields}))
        return place

    def test_releases_have_valid_names_that_are_their_own(self):
        names = {}
        for index, release in enumerate(self.RELEASES):
            with self.subTest(release):
                namespace = self.NAMESPACES[index % len(self.NAMESPACES)]
                manifests = self.check(self.template({"demo": {"enabled": True}}, release=release, namespace=namespace), (release, namespace))
                (deployment,) = [m for m in manifests if m["kind"] == "Deployment"]
                self.assertEqual(deployment["metadata"]["namespace"], namespace)
                names.setdefault(deployment["metadata"]["name"], []).append(release)
                self.check(self.template({}, release=release, namespace=namespace, chart=DEFINITIONS), release)
        self.assertEqual([releases for releases in names.values() if len(releases) > 1], [])
        self.conform()

    def test_a_namespace_that_is_none_is_refused(self):
        for namespace in ["a.b", "A", "a b", "a: b", "a" * 64, "-a", "{{", "a\nb", '"', "é"]:
            with self.subTest(namespace):
                done = self.template({}, namespace=namespace)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("namespace", done.stderr)

    def test_versions_become_labels_and_tags(self):
        for index, app_version in enumerate(self.APP_VERSIONS):
            version = self.VERSIONS[index % len(self.VERSIONS)]
            with self.subTest((version, app_version)):
                chart = self.copy(CHART, version=version, appVersion=app_version)
                self.check(self.template({"image": {"tag": "1"}}, chart=chart), (version, app_version))
                done = self.template({}, chart=chart)
                if done.returncode:
                    self.assertIn("image.tag", done.stderr)
                else:
                    self.check(done, (version, app_version))
                self.check(self.template({}, chart=self.copy(DEFINITIONS, version=version, appVersion=app_version)), version)
        self.conform()

    def test_versions_of_kubernetes(self):
        for version in ["1.34.0", "v1.34.4+k3s1", "v1.34.4-gke.100", "v1.34.4-eks-1a2b3c4", "1.35.0-alpha.1"]:
            with self.subTest(version):
                self.check(self.template({}, "--kube-version", version), version)
        self.assertIn("1.33", self.template({}, "--kube-version", "1.33.9").stderr)


class Subchart(Hostile):
    """Both charts as dependencies of another one."""

    # What other charts define, `helm create sorcha` among them.
    HELPERS = "".join('{{- define "%s.%s" -}}{{ fail "the parent\'s own" }}{{- end }}\n' % (chart, name) for chart in ("sorcha", "sorcha-crds")
                      for name in ("name", "fullname", "chart", "labels", "selectorLabels", "serviceAccountName", "image", "labelValue", "validate"))

    def parent(self, name="parent", dependencies=(("sorcha", None), ("sorcha-crds", None))):
        place = self.work / name
        shutil.rmtree(place, ignore_errors=True)
        (place / "templates").mkdir(parents=True)
        entries = []
        for chart, alias in dependencies:
            if not (place / "charts" / chart).exists():
                shutil.copytree(ROOT / "charts" / chart, place / "charts" / chart)
            entries.append({"name": chart, "version": "0.1.0", "condition": f"{alias or chart}.enabled", **({"alias": alias} if alias else {})})
        chart = {"apiVersion": "v2", "name": name, "version": "1.0.0", "dependencies": entries}
        (place / "Chart.yaml").write_text(yaml.safe_dump(chart))
        (place / "templates/_helpers.tpl").write_text(self.HELPERS)
        return place

    @staticmethod
    def by_name(manifests):
        return sorted(manifests, key=lambda m: (m["kind"], m["metadata"]["name"]))

    def test_a_condition_decides_and_nothing_else_changes(self):
        alone = self.by_name([*render(), *render(chart=DEFINITIONS)])
        for name in ("parent", "sorcha"):
            with self.subTest(name):
                chart = self.parent(name)
                values = {"sorcha": {"enabled": True}, "sorcha-crds": {"enabled": True}, "global": {"imageRegistry": "example.org", "a": None}}
                self.assertEqual(self.by_name(self.check(self.template(values, chart=chart), name)), alone)
                values = {"sorcha": {"enabled": False}, "sorcha-crds": {"enabled": False}}
                self.assertEqual(self.check(self.template(values, chart=chart), name), [])

    def test_copies_under_aliases_keep_apart(self):
        aliases = [None, "a", "second", "2nd_Copy", "2nd-copy", "true", "1e3", "_", "B" * 80, "B" * 79 + "C"]
        chart = self.parent("many", [("sorcha", alias) for alias in aliases])
        values = {alias or "sorcha": {"scope": "Namespace", "watchNamespace": f"n{index}"} for index, alias in enumerate(aliases)}
        manifests = self.check(self.template(values, chart=chart, release="a-sorcha-second"), aliases)
        names = [(m["kind"], m["metadata"].get("namespace"), m["metadata"]["name"]) for m in manifests]
        self.assertEqual(len(names), len(set(names)))
        pods = [m["spec"]["template"]["metadata"]["labels"] for m in manifests if m["kind"] == "Deployment"]
        for service in (m for m in manifests if m["kind"] == "Service"):
            selected = [labels for labels in pods if service["spec"]["selector"].items() <= labels.items()]
            self.assertEqual(len(selected), 1, service["spec"]["selector"])

    def test_null_is_the_default_or_refused_by_name(self):
        chart = self.parent()
        base = {"sorcha": {**DEFAULTS, "enabled": True}}
        self.nulls(lambda changes: self.template(replaced(base, changes), chart=chart), prefix=("sorcha",))


if __name__ == "__main__":
    unittest.main()
