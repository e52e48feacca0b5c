"""`spanmill job … --target kubernetes`, and `render`.

There is no API server here: tests/cli/jobs/fake_kubectl.py stands in for kubectl, the server and the Flink Kubernetes
Operator, and moves a status as the operator's documentation and source say. The real ones are unrun. Broker, store and
the job's client process are stand-ins too: what they do is tested where they are used on a session cluster.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from cli.contexts import chosen
from cli.exits import Exit, Failure
from cli.jobs import kubectl as kubectl_module
from cli.jobs import operated
from cli.jobs.kubernetes import GO_ON, Site, Start, digest, marked, render, snapshot
from cli.main import commands
from pipelines.flink.settings import ObserveSettings, load_application
from tests.deploy import crds

ROOT = Path(__file__).parents[3]
BASE = ROOT / "deploy" / "kubernetes" / "base"
FAKE = Path(__file__).with_name("fake_kubectl.py")
GRAPH = {"uids": ["spans", "traces"], "states": {"traces": {"fold": 1}}, "max_parallelism": 128}
SITE = Site("spanmill:1", "llm", "s3://bucket/observe/checkpoints", "s3://bucket/observe/savepoints")
SETTINGS = json.loads((BASE / "observe.json").read_text())
SAVEPOINT = "s3://bucket/observe/savepoints/savepoint-"


class FakeClient:
    """Answers as the job's client process does, with the graph of the class."""

    graph: dict[str, Any] = GRAPH

    def ask(self, op: str, **_: Any) -> dict[str, Any]:
        assert op == "graph", "nothing else is asked of the client on Kubernetes"
        return self.graph


class FakeClock:
    """Time passes when somebody sleeps, so that a slow machine times nothing out."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


class Cluster:
    """The folder of the fake kubectl, and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(commands, ["job", *arguments])
        if result.exception and not isinstance(result.exception, Failure | SystemExit):
            raise result.exception
        return result

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """What the command prints as JSON."""
        result = self.run(*arguments, "-o", "json")
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)

    def done(self, *arguments: str) -> dict[str, Any]:
        """The first row of it."""
        return self.rows(*arguments)[0]

    def failure(self, *arguments: str) -> Failure:
        result = self.run(*arguments)
        assert isinstance(result.exception, Failure), result.output
        return result.exception

    def wrong(self, **said: Any) -> None:
        (self.folder / "operator.json").write_text(json.dumps(said))

    def _lines(self, name: str) -> list[dict[str, Any]]:
        file = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def calls(self) -> list[dict[str, Any]]:
        return self._lines("calls")

    @property
    def changes(self) -> list[str]:
        """Verb and kinds of each call that changes something, in order."""
        return [f"{call['verb']} {_kinds(call)}" for call in self.calls if call["verb"] not in ("get", "logs")]

    @property
    def runs(self) -> list[tuple[str, str | None]]:
        """(image, savepoint it began with) of each start of the job."""
        return [(run["image"], run["from"]) for run in self._lines("runs")]

    @property
    def deployment(self) -> dict[str, Any]:
        return json.loads((self.folder / "flinkdeployment-observe.json").read_text())

    def history(self) -> list[tuple[int, str, str, str]]:
        rows = json.loads(self.run("history", "observe", "-o", "json").stdout)
        return [(row["revision"], row["state"], row["code"], row["savepoint"]) for row in rows]


def _kinds(call: dict[str, Any]) -> str:
    if call["verb"] == "apply":
        return " ".join(item["kind"] for item in call["given"]["items"])
    return call["words"][0].split(".")[0]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    programs, folder = tmp_path / "bin", tmp_path / "cluster"
    programs.mkdir()
    folder.mkdir()
    program = programs / "kubectl"
    program.write_text(f"#!{sys.executable} -IS\n{FAKE.read_text()}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("FAKE_KUBECTL", str(folder))
    monkeypatch.setenv("SPANMILL_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("SPANMILL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SPANMILL_CONTEXT", "prod")
    monkeypatch.setattr(kubectl_module, "time", FakeClock())
    monkeypatch.setattr(operated, "surroundings", lambda running, settings: (4, (), ("0009_more",)))
    monkeypatch.setattr(operated, "migrate_store", lambda running, say: say("store: applied 0009_more"))

    @contextmanager
    def client(*_: Any) -> Iterator[FakeClient]:
        yield FakeClient()

    monkeypatch.setattr(operated, "job_client", client)
    token = chosen.set("")
    said = ["--target", "kubernetes", "--namespace", "llm", "--image", "spanmill:1", "--brokers", "k:9092"]
    said += ["--store", "http://ch:8123", "--store-user", "writer", "--store-password", "hunter2"]
    said += ["--kafka", "password=hunter2", "--control", f"sqlite:///{tmp_path}/control.db"]
    said += ["--checkpoints", SITE.checkpoints, "--savepoints", SITE.savepoints]
    assert CliRunner().invoke(commands, ["context", "set", "prod", *said]).exit_code == 0
    yield Cluster(folder)
    chosen.reset(token)


# --- render


@pytest.mark.parametrize("start", [GO_ON, Start("s3://b/sp-1", lost=True), Start(fresh=True)])
def test_what_is_rendered_the_api_server_takes(start: Start) -> None:
    manifests = marked(render("observe", SETTINGS, SITE, start), 3, "ab" * 32)
    manifests += [snapshot("observe", "llm", "observe-1"), snapshot("observe", "llm", "observe-2", "checkpoint")]
    assert [fault for manifest in manifests for fault in crds.refused(manifest)] == []


def test_the_place_of_the_base_renders_the_base() -> None:
    base = YAML(typ="safe").load(BASE / "observe.yaml")
    flink = base["spec"]["flinkConfiguration"]
    folders = (flink["execution.checkpointing.dir"], flink["execution.checkpointing.savepoint-dir"])
    config, deployment = render("observe", SETTINGS, Site(base["spec"]["image"], "llm", *folders))
    volume = base["spec"]["podTemplate"]["spec"]["volumes"][0]
    assert volume["configMap"]["name"] == "spanmill-observe"
    volume["configMap"]["name"] = config["metadata"]["name"]
    assert deployment["spec"] == base["spec"]
    assert json.loads(config["data"]["observe.json"]) == SETTINGS


def test_the_settings_are_mounted_where_the_job_reads_them(tmp_path: Path) -> None:
    config, deployment = render("observe", {**SETTINGS, "parallelism": 4}, SITE)
    job, pod = deployment["spec"]["job"], deployment["spec"]["podTemplate"]["spec"]
    assert job["parallelism"] == 4
    (name,) = config["data"]
    read = Path(job["args"][job["args"].index("--settings") + 1])
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == str(read.parent)]
    (volume,) = [one for one in pod["volumes"] if one["name"] == mount["name"]]
    assert (volume["configMap"]["name"], read.name) == (config["metadata"]["name"], name)
    (tmp_path / name).write_text(config["data"][name])
    settings = load_application(ObserveSettings, tmp_path / name, {"SPANMILL_STORE_PASSWORD": "x"})
    assert (settings.parallelism, settings.store_password) == (4, "x")


def test_other_settings_are_another_deployment_and_the_same_are_not() -> None:
    same, again, other = (
        render("observe", settings, SITE) for settings in (SETTINGS, dict(SETTINGS), {**SETTINGS, "horizon_s": 900})
    )
    assert same == again
    assert digest(same) == digest(again) != digest(other)
    assert same[1]["spec"] != other[1]["spec"], "the operator would see no change"


def test_secrets_are_not_rendered_even_when_they_are_among_the_settings() -> None:
    settings = ObserveSettings.model_validate({**SETTINGS, "store_user": "writer", "store_password": "hunter2"})
    assert "hunter2" not in json.dumps(render("observe", settings.model_dump(mode="json"), SITE))
    with pytest.raises(Failure, match="store_url holds a password"):
        render("observe", {**SETTINGS, "store_url": "https://writer:hunter2@ch:8443"}, SITE)


def test_render_prints_yaml_of_the_context_and_of_the_command_line(cluster: Cluster) -> None:
    asked = ["--set", "horizon_s=900", "--parallelism", "4", "--namespace", "other", "--image", "spanmill:2"]
    result = cluster.run("render", "observe", *asked, "--from", "s3://b/sp-1", "--savepoint", "before")
    assert result.exit_code == 0 and cluster.calls == [] and "hunter2" not in result.stdout
    config, deployment, taken = YAML(typ="safe").load_all(result.stdout)
    assert [fault for manifest in (config, deployment, taken) for fault in crds.refused(manifest)] == []
    assert {one["metadata"]["namespace"] for one in (config, deployment, taken)} == {"other"}
    settings = json.loads(config["data"]["observe.json"])
    assert (settings["horizon_s"], settings["brokers"], settings["store_url"]) == (900, "k:9092", "http://ch:8123")
    spec = deployment["spec"]
    assert (spec["image"], spec["job"]["parallelism"], spec["job"]["upgradeMode"]) == ("spanmill:2", 4, "savepoint")
    assert spec["job"]["initialSavepointPath"] == "s3://b/sp-1" and spec["job"]["savepointRedeployNonce"] > 0
    assert spec["flinkConfiguration"]["high-availability.storageDir"] == "s3://bucket/observe/ha"
    assert (taken["kind"], taken["metadata"]["name"]) == ("FlinkStateSnapshot", "before")
    assert (
        result.stdout
        == cluster.run("render", "observe", *asked, "--from", "s3://b/sp-1", "--savepoint", "before").stdout
    )


def test_a_session_has_no_manifests_and_a_place_must_name_its_folders_and_image(cluster: Cluster) -> None:
    refused = cluster.failure("render", "observe", "--target", "session")
    assert (refused.code, refused.hint) == (Exit.USAGE, "spanmill job render observe --target kubernetes")
    CliRunner().invoke(commands, ["context", "set", "prod", "--image", "", "--savepoints", ""])
    lacking = cluster.failure("render", "observe")
    assert (lacking.code, lacking.what) == (Exit.USAGE, "the context does not say: savepoints, image")


# --- deploy, upgrade, and back


def test_a_deployment_is_applied_in_order_and_waits_for_a_checkpoint(cluster: Cluster) -> None:
    row = cluster.done("deploy", "observe")
    assert (row["state"], row["code"], row["flink_job"]) == ("running", "spanmill:1", "0a" * 16)
    assert cluster.changes == [
        "apply ConfigMap FlinkDeployment", "apply FlinkStateSnapshot", "delete flinkstatesnapshots",
    ]  # fmt: skip
    applied = [item for call in cluster.calls if call["verb"] == "apply" for item in call["given"]["items"]]
    assert [fault for item in applied for fault in crds.refused(item)] == []
    assert "checkpoint" in applied[2]["spec"] and "hunter2" not in json.dumps(applied)
    assert {call["namespace"] for call in cluster.calls} == {"llm"}
    assert cluster.deployment["metadata"]["annotations"]["spanmill-revision"] == "1"
    assert cluster.runs == [("spanmill:1", None)]


def test_the_same_spec_twice_changes_nothing(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    # the store needs nothing any more
    before = cluster.changes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operated, "surroundings", lambda running, settings: (4, (), ()))
        assert cluster.done("deploy", "observe")["revision"] == 1
        assert cluster.run("plan", "observe", "--exit-code").exit_code == 0
    assert cluster.changes == before
    assert cluster.run("plan", "observe", "--exit-code").exit_code == Exit.CHANGES


def test_other_folders_are_a_change_though_the_spec_is_the_same(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    CliRunner().invoke(commands, ["context", "set", "prod", "--checkpoints", "s3://other/observe/checkpoints"])
    rows = json.loads(cluster.run("plan", "observe", "-o", "json").stdout)
    assert [row["subject"] for row in rows] == ["table", "manifest"]


def test_an_upgrade_records_the_savepoint_that_the_operator_took(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    lines = json.loads(cluster.run("plan", "observe", "--image", "spanmill:2", "-o", "json").stdout)
    assert [(line["subject"], line["old"], line["new"]) for line in lines][0] == ("code", "spanmill:1", "spanmill:2")
    row = cluster.done("upgrade", "observe", "--image", "spanmill:2", "--parallelism", "4")
    assert (row["revision"], row["state"], row["parallelism"]) == (2, "running", 4)
    assert cluster.history() == [
        (2, "running", "spanmill:2", ""), (1, "stopped", "spanmill:1", SAVEPOINT + "1"),
    ]  # fmt: skip
    assert cluster.runs == [("spanmill:1", None), ("spanmill:2", SAVEPOINT + "1")]


@pytest.mark.parametrize(
    ("trouble", "said"), [("failing", "gave up (FAILED): ImagePullBackOff"), ("stuck", "not well within 12 s")]
)
def test_a_revision_that_is_not_well_is_taken_back(cluster: Cluster, trouble: str, said: str) -> None:
    cluster.run("deploy", "observe")
    cluster.wrong(**{trouble: ["spanmill:2"]})
    failure = cluster.failure(
        "upgrade", "observe", "--image", "spanmill:2", "--set", "horizon_s=900", "--timeout", "12"
    )
    assert failure.code is Exit.FAILED
    assert said in failure.what and failure.what.endswith("revision 1 runs again")
    assert cluster.runs == [
        ("spanmill:1", None), ("spanmill:2", SAVEPOINT + "1"), ("spanmill:1", SAVEPOINT + "1"),
    ]  # fmt: skip
    assert [row[:2] for row in cluster.history()] == [(2, "failed"), (1, "running")]
    again = cluster.deployment
    assert again["metadata"]["annotations"]["spanmill-revision"] == "1"
    first = next(call["given"]["items"][1] for call in cluster.calls if call["verb"] == "apply")
    beginning = {"initialSavepointPath", "savepointRedeployNonce"}
    assert (
        again["spec"] | {"job": {k: v for k, v in again["spec"]["job"].items() if k not in beginning}} == first["spec"]
    )
    assert [fault for call in cluster.calls if call["verb"] == "apply" for item in call["given"]["items"]
            for fault in crds.refused(item)] == []  # fmt: skip
    # and a good one goes on from there
    cluster.wrong()
    assert cluster.done("upgrade", "observe", "--image", "spanmill:3")["revision"] == 3
    assert cluster.runs[-1] == ("spanmill:3", SAVEPOINT + "2")


def test_a_revision_without_checkpoints_is_not_well(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    cluster.wrong(refused=["checkpoint"])
    failure = cluster.failure("upgrade", "observe", "--image", "spanmill:2")
    assert "no checkpoint could be taken: disk full" in failure.what
    assert "revision 1 could not be started again either" in failure.what


def test_a_first_deployment_that_does_not_come_up_is_ended_with_5_when_time_is_up(cluster: Cluster) -> None:
    cluster.wrong(stuck=["spanmill:1"])
    failure = cluster.failure("deploy", "observe", "--timeout", "12")
    assert failure.code is Exit.TIMED_OUT and "deployed, the job is created" in failure.what
    assert cluster.changes == ["apply ConfigMap FlinkDeployment", "patch flinkdeployments"]
    assert cluster.deployment["spec"]["job"] | {"state": "suspended"} == cluster.deployment["spec"]["job"]
    assert [row[:2] for row in cluster.history()] == [(1, "failed")]
    cluster.wrong()
    assert cluster.done("deploy", "observe")["revision"] == 2
    assert cluster.runs[-1] == ("spanmill:1", None)
    assert cluster.deployment["spec"]["job"]["upgradeMode"] == "savepoint", "the next upgrade must keep the state"


# --- refusals


def test_changed_buckets_are_refused_with_4(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    before = cluster.changes
    for verb in ("plan", "deploy", "upgrade"):
        failure = cluster.failure(verb, "observe", "--set", "buckets=16")
        assert failure.code is Exit.REFUSED and "buckets: breaking" in failure.what
    assert cluster.changes == before


def test_state_that_the_new_graph_has_no_reader_for_is_refused_unless_it_is_given_up(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.run("deploy", "observe")
    monkeypatch.setattr(FakeClient, "graph", {**GRAPH, "uids": ["spans"], "states": {}})
    assert cluster.failure("upgrade", "observe").hint == "--allow-lost-state traces"
    assert cluster.done("upgrade", "observe", "--allow-lost-state", "traces")["revision"] == 2
    assert cluster.deployment["spec"]["job"]["allowNonRestoredState"] is True


def test_what_somebody_else_deployed_is_left_alone(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    file = cluster.folder / "flinkdeployment-observe.json"
    theirs = json.loads(file.read_text())
    del theirs["metadata"]["annotations"]
    file.write_text(json.dumps(theirs))
    before = cluster.changes
    failure = cluster.failure("deploy", "observe", "--image", "spanmill:2")
    assert failure.code is Exit.REFUSED and "not deployed with this command" in failure.what
    assert cluster.changes == before


def test_a_stale_plan_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    cluster.run("plan", "observe", "--out", str(tmp_path / "plan.json"))
    cluster.run("deploy", "observe")
    failure = cluster.failure("deploy", "observe", "--image", "spanmill:2", "--plan", str(tmp_path / "plan.json"))
    assert failure.code is Exit.REFUSED and "stale" in failure.what


def test_one_operator_at_a_time(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        operated, "migrate_store", lambda running, say: seen.append(cluster.failure("deploy", "observe"))
    )
    cluster.done("deploy", "observe")
    assert seen[0].code is Exit.REFUSED and "is changing the job 'observe'" in seen[0].what


def test_without_kubectl_or_a_server_it_is_6_and_without_the_operator_4(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.wrong(down=True)
    for verb in ("plan", "deploy", "status", "logs", "savepoint", "stop"):
        assert cluster.failure(verb, "observe").code is Exit.CANNOT_CONNECT, verb
    assert "10.0.0.1:6443 was refused" in cluster.failure("list").what
    cluster.wrong(unknown=True)
    failure = cluster.failure("deploy", "observe")
    assert failure.code is Exit.REFUSED and "install the Flink Kubernetes Operator" in failure.hint
    monkeypatch.setenv("PATH", "")
    failure = cluster.failure("deploy", "observe")
    assert failure.code is Exit.CANNOT_CONNECT and "kubectl is not on PATH" in failure.what
    assert shutil.which("kubectl") is None


# --- stop, savepoint, rollback, and what they say


def test_a_stopped_job_goes_on_from_its_savepoint(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    row = cluster.done("stop", "observe")
    assert (row["state"], row["savepoint"]) == ("stopped", SAVEPOINT + "1")
    assert cluster.run("stop", "observe").exit_code == 0
    assert cluster.failure("upgrade", "observe").code is Exit.REFUSED
    assert cluster.done("status", "observe")["lifecycle"] == "suspended"
    row = cluster.done("deploy", "observe", "--image", "spanmill:2")
    assert row["started_from"] == SAVEPOINT + "1"
    assert cluster.runs == [("spanmill:1", None), ("spanmill:2", SAVEPOINT + "1")]


def test_a_stopped_job_begins_anew_when_asked_and_keeps_its_state_from_then_on(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    assert cluster.failure("deploy", "observe", "--fresh").code is Exit.REFUSED
    cluster.run("stop", "observe")
    cluster.done("deploy", "observe", "--fresh", "--set", "buckets=16")
    assert cluster.runs[-1] == ("spanmill:1", None)
    assert cluster.deployment["spec"]["job"]["upgradeMode"] == "savepoint"
    cluster.done("upgrade", "observe", "--image", "spanmill:2", "--set", "buckets=16")
    assert cluster.runs[-1] == ("spanmill:2", SAVEPOINT + "2")


def test_a_savepoint_is_a_snapshot_that_stays(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    assert cluster.done("savepoint", "observe")["savepoint"] == SAVEPOINT + "1"
    assert cluster.changes[-1] == "apply FlinkStateSnapshot"
    cluster.wrong(refused=["savepoint"])
    assert "no savepoint could be taken: disk full" in cluster.failure("savepoint", "observe").what


def test_rollback_goes_by_a_new_savepoint_when_the_old_code_can_read_it(cluster: Cluster) -> None:
    cluster.run("deploy", "observe")
    cluster.run("upgrade", "observe", "--image", "spanmill:2", "--set", "horizon_s=900")
    row = cluster.done("rollback", "observe")
    assert (row["revision"], row["code"], row["state"]) == (3, "spanmill:1", "running")
    assert cluster.runs[-1] == ("spanmill:1", SAVEPOINT + "2")
    assert cluster.history()[1] == (2, "stopped", "spanmill:2", SAVEPOINT + "2")


def test_rollback_goes_to_the_old_savepoint_when_the_old_code_cannot_read_a_new_one(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeClient, "graph", {**GRAPH, "uids": ["spans"], "states": {}})
    cluster.run("deploy", "observe")
    monkeypatch.setattr(FakeClient, "graph", GRAPH)
    cluster.run("upgrade", "observe", "--image", "spanmill:2")
    assert cluster.done("rollback", "observe", "--to", "1")["started_from"] == SAVEPOINT + "1"
    assert cluster.runs[-1] == ("spanmill:1", SAVEPOINT + "1")
    assert cluster.history()[1] == (2, "stopped", "spanmill:2", SAVEPOINT + "2"), "nothing is lost: it was kept first"


def test_status_list_and_logs_say_what_the_cluster_says(cluster: Cluster) -> None:
    assert cluster.failure("status", "observe").code is Exit.REFUSED
    assert {row["job"]: row["state"] for row in cluster.rows("list")} == dict.fromkeys(
        ("budget", "observe"), "not deployed"
    )
    cluster.run("deploy", "observe")
    row = cluster.done("status", "observe")
    assert (row["revision"], row["state"], row["lifecycle"], row["image"]) == (1, "running", "stable", "spanmill:1")
    [row] = [row for row in cluster.rows("list") if row["job"] == "observe"]
    assert (row["state"], row["revision"]) == ("running", 1)
    lines = cluster.run("logs", "observe", "-n", "7").stdout.splitlines()
    selected = "app=observe,type=flink-native-kubernetes 7"
    assert lines[0] == f"[pod/observe-7d9f/flink-main-container] {selected}" and len(lines) == 2
