"""Whether the chart is valid with every kind of values: against the schemas of Kubernetes, against its own
schema of values, and against what docs/kubernetes.md promises (no more rights than needed, no variable that is
a setting of what `kubectl exec` runs)."""

import json
import pathlib
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

RENDER, CHART, MANIFEST = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
# The oldest that the chart is for and that there is a schema of, and the newest.
VERSIONS = ["1.25", "1.37"]
# What there is no schema of: a definition of somebody else's.
FOREIGN = {"PodMonitor"}

# Values that are to be valid, and what they must lead to.
GOOD = {
    "as it comes": {},
    "privileged": {"privileged": True},
    "all": {
        "image": {"repository": "registry.example/perisco", "tag": "1"},
        "imagePullSecrets": [{"name": "pull"}],
        "config": {"namespace": ["shop"], "port": [8080, "9000-9010"], "snaplen": 4096, "both-ends": True},
        "metrics": {"service": {"enabled": True}, "podMonitor": {"enabled": True, "labels": {"a": "b"}}},
        "criSocket": "/run/containerd/containerd.sock",
        "serviceAccount": {"name": "other", "annotations": {"a": "b"}},
        "priorityClassName": "system-node-critical",
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "affinity": {"nodeAffinity": {}},
        "extraArgs": ["--verbose"],
        "extraEnv": [{"name": "A", "value": "b"}],
        "appArmor": "",
        "nameOverride": "recorder",
    },
    "flight recorder": {"ring": {"enabled": True, "keep": ["2GiB", "24h"], "trigger": ["status >= 500"]}},
    "ring without triggers": {"ring": {"enabled": True}},
    "without the API": {"rbac": {"create": False}, "serviceAccount": {"create": False}},
}
BAD = [
    {"imagee": {}},
    {"metrics": {"port": "9464"}},
    {"config": {"output": "/x"}},
    {"config": {"metrics": ":1"}},
    {"config": {"rotate_size": "1MB"}},
    {"config": {"ring": "/x"}},
    {"ring": {"enabled": True, "keep": []}},
    {"data": {"hostPath": "relative"}},
    {"capabilities": ["cap_bpf"]},
]
MAY = {("", "pods"), ("", "services"), ("", "nodes"), ("discovery.k8s.io", "endpointslices")}
NEEDED = {"BPF", "PERFMON", "NET_ADMIN", "SYS_PTRACE", "SYS_RESOURCE"}


def render(values):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        done = subprocess.run([RENDER, CHART, "perisco", "watch", file.name], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def merged(defaults, values):
    if not (isinstance(defaults, dict) and isinstance(values, dict)):
        return values
    return {**defaults, **{key: merged(defaults.get(key), value) for key, value in values.items()}}


def validate(objects):
    for one in objects:
        if one["kind"] in FOREIGN:
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(one, version, strict=True)


def promised(name, values, objects):
    by_kind = {}
    for one in objects:
        assert one["kind"] not in by_kind, f"{name}: two of {one['kind']}"
        by_kind[one["kind"]] = one
    daemon, settings = by_kind["DaemonSet"], by_kind["ConfigMap"]["data"]["perisco.toml"]
    template = daemon["spec"]["template"]
    pod, container = template["spec"], template["spec"]["containers"][0]
    chosen = daemon["spec"]["selector"]["matchLabels"]
    assert chosen.items() <= template["metadata"]["labels"].items()
    assert pod["hostPID"] is True and pod["enableServiceLinks"] is False and not pod.get("hostNetwork")
    # What the agent is told, what is exec'd beside it is not.
    assert container["args"][:2] == ["record", "--config=/etc/perisco/perisco.toml"]
    told = [one["name"] for one in container["env"] if one["name"].startswith("PERISCO_")]
    assert told == ["PERISCO_NODE_NAME"], told
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    writable = {key for key, mount in mounts.items() if not mount.get("readOnly")}
    assert writable <= {"data", "tmp", "cri"}, writable
    assert ("cri" in mounts) == bool(values.get("criSocket"))
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    if values.get("privileged"):
        assert security["privileged"] is True and "capabilities" not in security
        assert "allowPrivilegeEscalation" not in security, "the API refuses it beside privileged"
    else:
        assert security["privileged"] is False and security["allowPrivilegeEscalation"] is False
        assert security["capabilities"]["drop"] == ["ALL"]
        ring = values.get("ring", {})
        becomes = {"SETUID", "SETGID", "SETPCAP"} if ring.get("enabled") and ring.get("trigger") else set()
        assert set(security["capabilities"]["add"]) == NEEDED | becomes
    lines = [line.split(" = ")[0] for line in settings.splitlines()]
    assert len(lines) == len(set(lines)), settings
    assert ("ring" in lines) == bool(values.get("ring", {}).get("enabled")) != ("output" in lines), settings
    assert not ("ring" in lines and {"rotate-size", "adopt"} & set(lines)), settings
    port = container["ports"][0]
    assert f'metrics = "0.0.0.0:{port["containerPort"]}"' in settings.splitlines(), settings
    for probe, path in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]:
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
    account = pod["serviceAccountName"]
    if values.get("rbac", {}).get("create", True):
        for rule in by_kind["ClusterRole"]["rules"]:
            asked = {(group, resource) for group in rule["apiGroups"] for resource in rule["resources"]}
            assert asked <= MAY and set(rule["verbs"]) == {"get", "list", "watch"}, rule
        binding = by_kind["ClusterRoleBinding"]
        assert binding["roleRef"]["name"] == by_kind["ClusterRole"]["metadata"]["name"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "watch"}]
        assert pod["automountServiceAccountToken"] is True
    else:
        assert "ClusterRole" not in by_kind and pod["automountServiceAccountToken"] is False
    if "Service" in by_kind:
        service = by_kind["Service"]
        assert service["spec"]["selector"] == chosen
        # PERISCO_PORT would be a setting.
        assert service["metadata"]["name"] != "perisco"
    for one in objects:
        namespaced = not one["kind"].startswith("Cluster")
        assert one["metadata"].get("namespace") == ("watch" if namespaced else None), one["kind"]


defaults = yaml.safe_load((CHART / "values.yaml").read_text())
schema = json.loads((CHART / "values.schema.json").read_text())
jsonschema.Draft7Validator.check_schema(schema)
checker = jsonschema.Draft7Validator(schema)
assert set(schema["properties"]) - {"global"} == set(defaults), "values.yaml and its schema name the same"
for name, values in GOOD.items():
    checker.validate(merged(defaults, values))
    objects = render(values)
    validate(objects)
    promised(name, values, objects)
for values in BAD:
    assert not checker.is_valid(merged(defaults, values)), f"{values} must not be valid"
applied = list(yaml.safe_load_all(MANIFEST.read_text()))
validate([one for one in applied if one])
# The check itself: what is wrong is found.
try:
    validate([merged(applied[-1], {"metadata": {"nam": "x"}})])
    raise SystemExit("kubernetes-validate takes everything")
except kubernetes_validate.ValidationError:
    pass
print(f"the chart is valid: {len(GOOD)} sets of values, schemas of Kubernetes {' and '.join(VERSIONS)}")
