import stat

import pytest
from typer.testing import CliRunner

from cli.contexts import chosen, config_file, read_contexts
from cli.exits import Exit, Failure
from cli.local.profile import Running, find_running
from cli.main import commands


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SPANMILL_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.delenv("SPANMILL_CONTEXT", raising=False)
    token = chosen.set("")
    yield
    chosen.reset(token)


def run(*arguments: str) -> None:
    result = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_a_context_keeps_what_was_given_and_what_is_given_later_is_laid_over_it(tmp_path):
    run("context", "set", "prod", "--flink", "http://f:1", "--brokers", "k:1", "--kafka", "protocol=SSL")
    run("context", "set", "prod", "--flink", "http://f:2", "--kafka", "ca=/ca.pem")
    chosen.set("prod")
    found = find_running(tmp_path)
    assert (found.flink, found.broker, found.topic) == ("http://f:2", "k:1", "spans.raw")
    assert found.kafka == {"protocol": "SSL", "ca": "/ca.pem"}


def test_the_file_is_for_its_owner_alone():
    run("context", "set", "prod", "--store-password", "secret")
    assert stat.S_IMODE(config_file().stat().st_mode) == 0o600


def test_what_runs_on_the_folder_goes_before_the_current_context_and_a_chosen_one_before_both(tmp_path):
    run("context", "set", "prod", "--flink", "http://prod:1")
    run("context", "set", "test", "--flink", "http://test:1")
    run("context", "use", "prod")
    assert find_running(tmp_path).flink == "http://prod:1"
    Running(1, "", "", "", "", "", "", {}, flink="http://here:1").save(tmp_path)
    assert find_running(tmp_path).flink == "http://here:1"
    chosen.set("test")
    assert find_running(tmp_path).flink == "http://test:1"


def test_a_context_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    run("context", "set", "prod", "--flink", "http://f:1")
    chosen.set("nope")
    with pytest.raises(Failure, match="no context 'nope'; there are: prod") as refused:
        find_running(tmp_path)
    assert refused.value.code is Exit.USAGE


def test_what_a_context_lacks_is_named_with_the_option_that_gives_it(tmp_path):
    run("context", "set", "prod", "--flink", "http://f:1")
    chosen.set("prod")
    with pytest.raises(Failure) as refused:
        find_running(tmp_path).require("flink", "broker", "savepoints")
    assert refused.value.what == "the context does not say: broker, savepoints"
    assert "--brokers ... --savepoints ..." in refused.value.hint


def test_secrets_are_not_shown():
    run("context", "set", "prod", "--store-password", "secret", "--kafka", "password=secret")
    result = CliRunner().invoke(commands, ["context", "show", "prod", "-o", "json"])
    assert "secret" not in result.output and "(hidden)" in result.output


def test_forgetting_the_current_context_leaves_none_current():
    run("context", "set", "prod", "--flink", "http://f:1")
    run("context", "use", "prod")
    run("context", "delete", "prod")
    run("context", "delete", "prod")
    assert read_contexts().current == "" and read_contexts().places == {}


def test_an_unknown_word_about_kafka_is_refused():
    result = CliRunner().invoke(commands, ["context", "set", "prod", "--kafka", "colour=red"])
    assert isinstance(result.exception, Failure) and "protocol" in result.exception.hint


def test_a_file_that_is_no_yaml_is_named():
    config_file().write_text("contexts: [")
    with pytest.raises(Failure, match="cannot be read"):
        read_contexts()
