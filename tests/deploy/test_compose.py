"""deploy/compose.yaml against the Compose Specification's schema, and against the project that it starts."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from pydantic_settings import BaseSettings
from ruamel.yaml import YAML

from cli.local.flink import FlinkFolder
from pipelines.flink.settings import SETTINGS, defaults
from pipelines.jars import locked
from schemas.topics import MAX_RECORD_BYTES
from services.alerts.settings import Settings as AlertSettings
from services.budget.settings import Settings as BudgetSettings
from services.gateway.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ONE_SHOT = {"migrate", "deploy", "deploy-budget"}
# Options of the single machine, which has no network between its processes, or of its files.
NOT_HERE = {"env.java.home", "env.java.opts.all", "env.java.opts.taskmanager", "io.tmp.dirs", "rest.port"}
NOT_HERE |= {"taskmanager.host"}

Project = dict[str, Any]


@pytest.fixture(scope="module")
def project() -> Project:
    return YAML(typ="safe").load(DEPLOY / "compose.yaml")


def _faults(project: Project) -> list[str]:
    schema = json.loads((Path(__file__).parent / "schemas" / "compose-spec.json").read_text())
    return [f"{error.json_path}: {error.message[:200]}" for error in Draft7Validator(schema).iter_errors(project)]


def test_the_file_is_one_that_compose_takes(project: Project):
    assert _faults(project) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [("services.gateway.helthcheck", {}), ("services.kafka.restart", 3), ("networks.inside.intern", True)],
)
def test_a_planted_fault_is_found(project: Project, path: str, value: Any):
    planted: Any = copy.deepcopy(project)
    *way, last = path.split(".")
    at = planted
    for step in way:
        at = at[step]
    at[last] = value
    assert _faults(planted) != []


def test_what_a_service_names_is_there(project: Project):
    services = project["services"]
    for name, service in services.items():
        for other, wanted in service.get("depends_on", {}).items():
            ends = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            assert (other in services, wanted["condition"]) == (True, ends), name
            assert "healthcheck" in services[other] or other in ONE_SHOT
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in project["volumes"], name
        for network in service["networks"]:
            assert network in project["networks"], name
        for config in service.get("configs", []):
            assert (DEPLOY / project["configs"][config["source"]]["file"]).is_file(), name
        assert set(service.get("secrets", [])) <= set(project["secrets"]), name


def test_whatever_stays_up_is_looked_after(project: Project):
    for name, service in project["services"].items():
        if name not in ONE_SHOT:
            assert "healthcheck" in service and service["restart"] == "unless-stopped", name


def test_only_the_services_for_applications_listen_beyond_this_machine(project: Project):
    ports = {name: service["ports"] for name, service in project["services"].items() if "ports" in service}
    assert ports == {
        "gateway": ["4317:4317", "4318:4318"],
        "budget-service": ["4319:4319", "4320:4320"],
        "jobmanager": ["127.0.0.1:8081:8081"],
    }
    assert project["networks"]["inside"] == {"internal": True}
    for name, service in project["services"].items():
        assert ("outside" in service["networks"]) == (name in {*ports, "alerts"}), name


def test_passwords_come_from_outside(project: Project):
    secret = {path: value for path, value in _leaves(project) if re.search("passw|secret|token|key", path[-1], re.I)}
    assert secret
    for path, value in secret.items():
        assert re.match(r"\$\{SPANMILL_[A-Z]+_PASSWORD:\?|/run/secrets/", str(value)), path
    assert not [path for path, value in _leaves(project) if re.search(r"://[^/\s]+:[^/\s]+@", str(value))]


def _leaves(part: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The path of keys to each scalar that is not in a list, and the scalar."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _leaves(value, *path, key)
    elif not isinstance(part, list):
        yield path, part


def test_our_own_containers_are_of_one_image_without_rights(project: Project):
    ours = {n: s for n, s in project["services"].items() if s["image"].startswith("spanmill:")}
    workers = {"taskmanager-1", "taskmanager-2", "taskmanager-3"}
    assert set(ours) == {"gateway", "budget-service", "alerts", *ONE_SHOT, "zookeeper", "jobmanager", *workers}
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for name, service in ours.items():
        assert version and service["image"] == f"spanmill:{version[1]}", name
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name


def test_other_images_are_pinned_to_a_release(project: Project):
    images = {s["image"] for s in project["services"].values()} - {project["services"]["gateway"]["image"]}
    assert len(images) == 3
    for image in images:
        assert re.fullmatch(r"[a-z/-]+:\d+(\.\d+)+", image), image
    kafka = next(jar.coordinate for jar in locked("broker") if ":kafka_2.13:" in jar.coordinate)
    assert f"apache/kafka:{kafka.rsplit(':', 1)[1]}" in images


def test_the_broker_keeps_what_the_gateway_lets_in(project: Project):
    broker = project["services"]["kafka"]["environment"]
    assert broker["KAFKA_MESSAGE_MAX_BYTES"] == broker["KAFKA_REPLICA_FETCH_MAX_BYTES"] == MAX_RECORD_BYTES
    assert broker["KAFKA_LOG_FLUSH_INTERVAL_MESSAGES"] == 1
    migrate = project["services"]["migrate"]  # makes the topics
    assert migrate["environment"]["SPANMILL_BROKERS"] in broker["KAFKA_ADVERTISED_LISTENERS"]


def test_flink_is_told_what_the_profile_on_one_machine_tells_it(project: Project, tmp_path: Path):
    single = FlinkFolder(tmp_path, 8081, 2181, "hashmap")._options()
    cluster = YAML(typ="safe").load(ROOT / "flink-conf" / "cluster.yaml")
    place = set(single) - set(cluster) - NOT_HERE
    for name in ("jobmanager", "taskmanager-1", "taskmanager-2", "taskmanager-3"):
        start, *options = project["services"][name]["command"]
        assert start == "start-foreground"
        assert {option.removeprefix("-D").split("=")[0] for option in options} == place


@pytest.mark.parametrize(
    ("name", "kind"), [("gateway", Settings), ("budget-service", BudgetSettings), ("alerts", AlertSettings)]
)
def test_the_services_take_their_settings(project: Project, name: str, kind: type[BaseSettings]):
    env = project["services"][name]["environment"]
    prefix = f"SPANMILL_{name.split('-')[0].upper()}_"
    names = {n.removeprefix(prefix).lower() for n in env if n.startswith("SPANMILL_")}
    assert {n for n, field in kind.model_fields.items() if field.is_required()} <= names <= set(kind.model_fields)
    assert env[f"{prefix}BROKERS"] == project["services"]["migrate"]["environment"]["SPANMILL_BROKERS"]


def test_the_jobs_take_their_settings_and_there_are_slots_for_them(project: Project):
    slots = 0
    for job, service in (("observe", "deploy"), ("budget", "deploy-budget")):
        deploy = project["services"][service]
        assert deploy["profiles"] == ["deploy"] and deploy["restart"] == "no"
        assert f"--python=/opt/spanmill/lib/python3.11/site-packages/jobs/{job}.py" in deploy["command"]
        assert f"/etc/spanmill/{job}.json" in deploy["command"]
        given = json.loads((DEPLOY / "compose" / f"{job}.json").read_text())
        settings = SETTINGS[job].model_validate(given)
        slots += settings.parallelism
        environment = project["services"]["migrate"]["environment"]
        assert settings.brokers == environment["SPANMILL_BROKERS"]
        assert settings.store_url == environment["SPANMILL_STORE_URL"]
        profile = defaults(ROOT / "jobs" / f"{job}.yaml", "cluster")
        assert {k: v for k, v in given.items() if k in profile} == profile
    assert slots == len([name for name in project["services"] if name.startswith("taskmanager")])
