"""Commands on a store and a control database elsewhere, as they are given in a deployment, which has no data folder."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.control import ELSEWHERE
from cli.exits import Failure
from cli.kafka import Brokers
from cli.local.broker import Broker
from cli.main import commands
from pipelines.store import StoreSettings, connect
from tests.store_process import StoreProcess, running_store

PASSWORD = "SPANMILL_STORE_PASSWORD"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory):
    with running_store(tmp_path_factory.mktemp("store") / "data", env={PASSWORD: "secret"}) as store:
        yield store


def _migrate(store_url: str, folder: Path, *options: str) -> list[dict]:
    arguments = ["migrate", "--store-url", store_url, "--control-url", f"sqlite:///{folder / 'control.db'}"]
    result = CliRunner().invoke(commands, [*arguments, *options, "-o", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_both_schemas_are_brought_up_to_date_by_url_with_the_account_of_the_environment(
    locked: StoreProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(PASSWORD, "secret")
    rows = _migrate(locked.url, tmp_path)
    assert {row["state"] for row in rows} == {"applied"}
    assert {row["schema"] for row in rows} == {"store", "control"}
    assert _migrate(locked.url, tmp_path) == rows
    with connect(StoreSettings(locked.url, password="secret")) as client:
        assert client.command("EXISTS TABLE spans") == 1


def test_the_topic_is_made_on_brokers_elsewhere(
    locked: StoreProcess, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(PASSWORD, "secret")
    monkeypatch.setenv("SPANMILL_BROKERS", broker.address)
    assert _migrate(locked.url, tmp_path, "--status")[0]["state"] == "pending"
    row = {"schema": "topic", "migration": "spans.raw", "state": "applied", "note": None}
    assert _migrate(locked.url, tmp_path, "--partitions", "3")[0]["migration"] == "spans.raw"
    assert Brokers(broker.address).partitions("spans.raw") == 3
    assert _migrate(locked.url, tmp_path, "--partitions", "5")[0] == row
    assert Brokers(broker.address).partitions("spans.raw") == 5


@pytest.mark.parametrize("account", ["{", '{"protocol": "SASL_SSL", "password": "hunter2"}'])
def test_an_account_of_kafka_that_is_none_is_refused_and_not_printed(tmp_path: Path, monkeypatch, account: str):
    monkeypatch.setenv("SPANMILL_BROKERS", "nowhere:9092")
    monkeypatch.setenv("SPANMILL_KAFKA", account)
    with pytest.raises(Failure, match="SPANMILL_KAFKA is wrong") as caught:
        _migrate("http://127.0.0.1:1", tmp_path)
    assert "hunter2" not in caught.value.what


def test_a_store_that_refuses_the_account_is_named(
    locked: StoreProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(PASSWORD, "wrong")
    with pytest.raises(Failure, match="refuses"):
        _migrate(locked.url, tmp_path)


def test_a_store_that_does_not_answer_is_named(tmp_path: Path):
    with pytest.raises(Failure, match="http://127.0.0.1:1 does not answer"):
        _migrate("http://127.0.0.1:1", tmp_path)


def test_organisations_and_keys_are_kept_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(ELSEWHERE, f"sqlite:///{tmp_path / 'control.db'}")
    run = CliRunner()
    for arguments in (["org", "create", "acme"], ["key", "create", "acme", "--name", "ci"]):
        result = run.invoke(commands, [*arguments, "--data", str(tmp_path / "nowhere")], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert "acme" in run.invoke(commands, ["org", "list", "--data", str(tmp_path / "nowhere")]).stdout
    assert not (tmp_path / "nowhere").exists()
