"""The manifests of each overlay, rendered by kustomize, against the schemas of Kubernetes and of the operator."""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyflink
import pytest
from pyflink.pyflink_gateway_server import KEY_ENV_JAVA_OPTS, read_from_config
from ruamel.yaml import YAML

from cli.main import commands
from pipelines.flink.settings import ACCOUNTS, SETTINGS, ObserveSettings, defaults
from services.alerts.settings import Settings as AlertSettings
from services.budget.settings import Settings as BudgetSettings
from services.gateway.settings import Settings
from tests.deploy import crds

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
FLINK_CONF = ROOT / "flink-conf" / "cluster.yaml"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
# The operator writes this one from spec.jobManager.resource; only a standalone cluster waits for its TaskManagers.
NOT_IN_APPLICATION_MODE = {"jobmanager.memory.process.size", "resourcemanager.standalone.start-up-time"}
FOLDERS = ("high-availability.storageDir", "execution.checkpointing.dir", "execution.checkpointing.savepoint-dir")

# Name of the Deployment, prefix of its variables, its settings, seconds that it may take to stop.
SERVICES = [
    ("gateway", "SPANMILL_GATEWAY_", Settings, Settings.model_fields["delivery_timeout_s"].default + 2),
    (
        "budget-service",
        "SPANMILL_BUDGET_",
        BudgetSettings,
        BudgetSettings.model_fields["decision_timeout_s"].default + 1,
    ),
]

Manifest = dict[str, Any]


@pytest.fixture(scope="session")
def kustomize() -> str:
    if not shutil.which("go"):
        pytest.skip("kustomize is built with Go, which is not installed")
    tool = subprocess.run([KUBERNETES / "tools" / "kustomize"], capture_output=True, text=True, timeout=280)
    assert tool.returncode == 0, tool.stderr
    return tool.stdout.strip()


def _render(kustomize: str, folder: Path) -> list[Manifest]:
    built = subprocess.run([kustomize, "build", folder], capture_output=True, text=True, timeout=60)
    assert built.returncode == 0, built.stderr
    return list(YAML(typ="safe").load_all(built.stdout))


@pytest.fixture(scope="session", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, kustomize: str) -> list[Manifest]:
    return _render(kustomize, KUBERNETES / "overlays" / request.param)


@pytest.fixture(params=sorted(SETTINGS))
def job(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def base(kustomize: str) -> list[Manifest]:
    return _render(kustomize, KUBERNETES / "base")


def _of(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    """The one of a kind and a name, to which a ConfigMap's digest may be added."""
    named = re.compile(re.escape(name) + "(-[a-z0-9]{10})?") if name else re.compile(".*")
    (found,) = [m for m in manifests if m["kind"] == kind and named.fullmatch(m["metadata"]["name"])]
    return found


def _pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pod template of everything that runs pods."""
    return {m["metadata"]["name"]: m["spec"]["template"] for m in manifests if "template" in m.get("spec", {})} | {
        m["metadata"]["name"]: m["spec"]["podTemplate"] for m in manifests if m["kind"] == "FlinkDeployment"
    }


def test_each_manifest_is_one_that_the_api_server_takes(manifests: list[Manifest]):
    assert {m["kind"] for m in manifests} >= {"Deployment", "FlinkDeployment", "Job", "NetworkPolicy", "Service"}
    assert [fault for manifest in manifests for fault in crds.refused(manifest)] == []


def test_the_example_of_a_savepoint_is_one_that_the_api_server_takes(manifests: list[Manifest]):
    example = YAML(typ="safe").load(KUBERNETES / "examples" / "savepoint.yaml")
    assert crds.refused(example) == []
    assert example["spec"]["jobReference"]["name"] == _of(manifests, "FlinkDeployment", "observe")["metadata"]["name"]


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", "spec.replicas", "two"),
        ("Deployment", "spec.template.spec.containers.0.readynessProbe", {}),
        ("NetworkPolicy", "spec.ingres", []),
        ("FlinkDeployment", "spec.flinkVersion", "v9_9"),
        ("FlinkDeployment", "spec.job.upgradeMood", "savepoint"),
        ("FlinkDeployment", "spec.taskManager.resource.cpus", 1),
        ("FlinkDeployment", "spec.podTemplate.spec.containers.0.volumeMounts.0.mountpath", "/x"),
        ("FlinkDeployment", "spec.podTemplate.spec.containers.0.name", None),
    ],
)
def test_a_planted_fault_is_found(base: list[Manifest], kind: str, path: str, value: Any):
    planted: Any = copy.deepcopy(next(m for m in base if m["kind"] == kind))
    *way, last = path.split(".")
    at = planted
    for step in way:
        at = at[int(step)] if step.isdecimal() else at[step]
    at[last] = value
    assert crds.refused(planted) != []


def test_the_job_runs_with_the_flink_options_of_the_cluster_profile(manifests: list[Manifest], job: str):
    flink = _of(manifests, "FlinkDeployment", job)["spec"]["flinkConfiguration"]
    profile = {key: str(value) for key, value in YAML(typ="safe").load(FLINK_CONF).items()}
    wanted = {key: value for key, value in profile.items() if key not in NOT_IN_APPLICATION_MODE}
    assert {key: flink.get(key) for key in wanted} == wanted
    assert flink["taskmanager.numberOfTaskSlots"] == "1"
    assert flink["high-availability.type"] == "kubernetes"
    opens = read_from_config(KEY_ENV_JAVA_OPTS, "", str(Path(pyflink.__file__).parent / "conf"))
    assert flink["env.java.opts.all"] == opens
    schemes = {flink[key].split(":")[0] for key in FOLDERS}
    assert len(schemes) == 1, "state and savepoints must lie where the new pods find them"


def test_the_memory_of_a_process_is_the_sum_of_its_parts(manifests: list[Manifest], job: str):
    spec = _of(manifests, "FlinkDeployment", job)["spec"]
    flink = spec["flinkConfiguration"]
    parts = ("task.heap.size", "task.off-heap.size", "managed.size", "network.max")
    own = sum(_mebibytes(flink[f"taskmanager.memory.{part}"]) for part in parts) + 128 + 128 + 256
    process = _mebibytes(spec["taskManager"]["resource"]["memory"])
    assert process - own == max(192, process // 10)  # Flink's default overhead of the JVM
    profile = YAML(typ="safe").load(FLINK_CONF)["jobmanager.memory.process.size"]
    python = flink["jobmanager.memory.off-heap.size"]
    assert _mebibytes(spec["jobManager"]["resource"]["memory"]) == _mebibytes(profile) + _mebibytes(python)


def _mebibytes(text: str) -> int:
    assert text.endswith("m")
    return int(text[:-1])


def test_the_job_takes_its_settings_and_they_fit_its_slots(manifests: list[Manifest], job: str):
    spec = _of(manifests, "FlinkDeployment", job)["spec"]
    volumes = {v["name"]: v.get("configMap", {}).get("name") for v in spec["podTemplate"]["spec"]["volumes"]}
    mounts = {m["mountPath"]: m["name"] for m in spec["podTemplate"]["spec"]["containers"][0]["volumeMounts"]}
    file = Path(spec["job"]["args"][spec["job"]["args"].index("--settings") + 1])
    config = _of(manifests, "ConfigMap", f"spanmill-{job}")
    assert volumes[mounts[str(file.parent)]] == config["metadata"]["name"]
    given = json.loads(config["data"][file.name])
    settings = SETTINGS[job].model_validate(given)
    assert settings.parallelism == spec["job"]["parallelism"]
    assert not isinstance(settings, ObserveSettings) or settings.buckets % settings.parallelism == 0
    place = {"brokers", "store_url", "parallelism", "buckets"}
    assert {k: v for k, v in given.items() if k not in place} == {
        k: v for k, v in defaults(ROOT / "jobs" / f"{job}.yaml", "cluster").items() if k not in place
    }
    assert settings.store_url == _of(manifests, "ConfigMap", "spanmill-store")["data"]["SPANMILL_STORE_URL"]
    gateway = _of(manifests, "ConfigMap", "spanmill-gateway")["data"]
    assert settings.brokers == gateway["SPANMILL_GATEWAY_BROKERS"]


def test_the_program_of_the_job_is_in_the_image_and_in_this_repository(manifests: list[Manifest], job: str):
    spec = _of(manifests, "FlinkDeployment", job)["spec"]["job"]
    assert spec["entryClass"] == "org.apache.flink.client.python.PythonDriver"
    assert spec["upgradeMode"] == "savepoint"
    program = Path(spec["args"][spec["args"].index("-py") + 1])
    assert program.is_relative_to("/opt/spanmill/lib/python3.11/site-packages")
    assert program.stem == job
    assert (ROOT / program.relative_to("/opt/spanmill/lib/python3.11/site-packages")).is_file()
    jar = Path(spec["jarURI"].removeprefix("local://"))
    assert jar.parent == Path("/opt/flink/opt")
    assert (Path(pyflink.__file__).parent / "opt" / jar.name).is_file()


def test_services_and_migration_take_their_settings(manifests: list[Manifest]):
    for service, prefix, kind, _ in (*SERVICES, ("alerts", "SPANMILL_ALERTS_", AlertSettings, 0)):
        env = _environment(manifests, _of(manifests, "Deployment", service))
        names = {name.removeprefix(prefix).lower() for name in env}
        assert names <= set(kind.model_fields)
        assert names >= {name for name, field in kind.model_fields.items() if field.is_required()}
    migrate = _of(manifests, "Job", "migrate")
    assert migrate["spec"]["template"]["spec"]["containers"][0]["command"] == ["spanmill", "migrate"]
    assert "migrate" in [
        command.name or getattr(command.callback, "__name__", "") for command in commands.registered_commands
    ]
    wanted = {"SPANMILL_CONTROL_URL", "SPANMILL_STORE_URL", "SPANMILL_STORE_USER", "SPANMILL_STORE_PASSWORD"}
    wanted |= {"SPANMILL_BROKERS", "SPANMILL_KAFKA"}
    assert set(_environment(manifests, migrate)) == wanted


def _environment(manifests: list[Manifest], manifest: Manifest) -> dict[str, Any]:
    """Name -> value, None for one of a Secret. A ConfigMap that is named must be there."""
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    found: dict[str, Any] = {one["name"]: one.get("value") for one in container.get("env", [])}
    for source in container.get("envFrom", []):
        found |= _of(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found


def test_no_secret_is_in_a_config_map_or_in_a_value(manifests: list[Manifest]):
    assert not [m for m in manifests if m["kind"] == "Secret"]
    for config in (m for m in manifests if m["kind"] == "ConfigMap"):
        text = json.dumps(config["data"])
        assert not re.search(r"passw|secret|token|://[^/\"]*:[^/\"]*@", text, re.IGNORECASE), config["metadata"]["name"]
    starters = {m: _of(manifests, "FlinkDeployment", m)["spec"]["jobManager"]["podTemplate"] for m in SETTINGS}
    for name, pod in (*_pods(manifests).items(), *starters.items()):
        for one in pod["spec"]["containers"][0].get("env", []):
            assert "valueFrom" in one, f"{name}: {one['name']} belongs into a ConfigMap or a Secret"
    for job, starter in starters.items():
        assert {one["name"] for one in starter["spec"]["containers"][0]["env"]} == set(ACCOUNTS.values())
        flink = _of(manifests, "FlinkDeployment", job)["spec"]["flinkConfiguration"]
        assert not [key for key in flink if re.search(r"passw|secret|access.?key", key, re.IGNORECASE)]


def test_every_image_is_the_one_of_this_version(manifests: list[Manifest]):
    images = {c["image"] for pod in _pods(manifests).values() for c in pod["spec"]["containers"] if "image" in c}
    images |= {m["spec"]["image"] for m in manifests if m["kind"] == "FlinkDeployment"}
    assert len(images) == 1
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version and images.pop().endswith(f"spanmill:{version[1]}")


def test_every_pod_is_restricted(manifests: list[Manifest]):
    pods = _pods(manifests)
    assert set(pods) == {"alerts", "gateway", "budget-service", "migrate", "observe", "budget"}
    for pod in pods.values():
        context = pod["spec"]["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 9999)
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert _of(manifests, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_only_the_services_for_applications_are_open_to_all(manifests: list[Manifest]):
    policies = {m["metadata"]["name"]: m["spec"] for m in manifests if m["kind"] == "NetworkPolicy"}
    assert policies["closed"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    to_all = [name for name, spec in policies.items() for rule in spec.get("ingress", []) if "from" not in rule]
    assert sorted(to_all) == ["budget-service-open", "gateway-open"]
    for name, ports in (("gateway-open", [4317, 4318]), ("budget-service-open", [4319, 4320])):
        assert [port["port"] for port in policies[name]["ingress"][0]["ports"]] == ports


@pytest.mark.parametrize(("name", "prefix", "kind", "most"), SERVICES, ids=[service[0] for service in SERVICES])
def test_a_service_is_probed_where_it_answers(
    manifests: list[Manifest], name: str, prefix: str, kind: Any, most: float
):
    deployment = _of(manifests, "Deployment", name)["spec"]
    container = deployment["template"]["spec"]["containers"][0]
    source = (ROOT / container["command"][-1].replace(".", "/") / "http.py").read_text()
    for probe in ("readinessProbe", "livenessProbe"):
        assert f'Route("{container[probe]["httpGet"]["path"]}"' in source
    ports = {port["name"].rpartition("-")[2]: port["containerPort"] for port in container["ports"]}
    scraped = int(_environment(manifests, _of(manifests, "Deployment", name))[f"{prefix}METRICS_PORT"])
    assert ports == {form: kind.model_fields[f"{form}_port"].default for form in ("grpc", "http")} | {
        "metrics": scraped
    }
    service = _of(manifests, "Service", name)["spec"]
    open_to_all = {port["name"] for port in container["ports"]} - {"metrics"}
    assert {port["targetPort"] for port in service["ports"]} == open_to_all
    budget = _of(manifests, "PodDisruptionBudget", name)["spec"]
    assert service["selector"] == budget["selector"]["matchLabels"] == deployment["selector"]["matchLabels"]
    assert budget["minAvailable"] < deployment["replicas"], "a node must be able to be drained"
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] > pause + most
