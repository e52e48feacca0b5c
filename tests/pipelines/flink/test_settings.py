import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.flink.settings import ObserveSettings, defaults, load_application, load_local

SPEC = Path(__file__).parents[3] / "jobs" / "observe.yaml"
ASKED = {"brokers": "b:1", "store_url": "http://s:1", "folder": "/data"}


def _load(tmp_path, asked):
    (tmp_path / "settings.json").write_text(json.dumps(asked))
    return load_local(ObserveSettings, SPEC, tmp_path / "settings.json")[0]


def test_the_settings_file_is_laid_over_the_spec(tmp_path):
    settings = _load(tmp_path, ASKED | {"quiet_gap_s": 0.5, "limits": {"trace_spans": 10}})
    assert (settings.topic, settings.database, settings.quiet_gap_s) == ("spans.raw", "spanmill", 0.5)
    assert (settings.limits.trace_spans, settings.limits.name_bytes) == (10, 1_024)


@pytest.mark.parametrize("missing", sorted(ASKED))
def test_a_missing_setting_is_named(tmp_path, missing):
    asked = {key: value for key, value in ASKED.items() if key != missing}
    with pytest.raises(ValidationError, match=missing):
        _load(tmp_path, asked)


@pytest.mark.parametrize(
    "wrong", [{"colour": "red"}, {"buckets": 0}, {"buckets": 129}, {"parallelism": 0}, {"quiet_gap_s": 0}]
)
def test_a_setting_that_is_unknown_or_out_of_range_is_refused(tmp_path, wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        _load(tmp_path, ASKED | wrong)


@pytest.fixture
def application_file(tmp_path):
    file = tmp_path / "application.json"
    file.write_text(json.dumps(defaults(SPEC, "cluster") | {"brokers": "b:1", "store_url": "http://s:1"}))
    return file


def test_on_a_cluster_accounts_come_from_the_environment(application_file):
    account = {"protocol": "SASL_SSL", "username": "u", "password": "p"}
    environment = {"SPANMILL_STORE_USER": "me", "SPANMILL_STORE_PASSWORD": "x", "SPANMILL_KAFKA": json.dumps(account)}
    settings = load_application(ObserveSettings, application_file, environment)
    assert (settings.store.user, settings.store.password) == ("me", "x")
    assert (settings.kafka.protocol, settings.kafka.password) == ("SASL_SSL", "p")
    assert load_application(ObserveSettings, application_file, {}).store.user == "default"


@pytest.mark.parametrize("wrong", ["{", '{"protocol": "SASL_SSL"}', '{"colour": "red"}'])
def test_an_account_that_cannot_be_read_is_refused(application_file, wrong):
    with pytest.raises(ValidationError):
        load_application(ObserveSettings, application_file, {"SPANMILL_KAFKA": wrong})


@pytest.mark.parametrize("wrong", [{"kafka": {"protocol": "SASL_SSL", "password": "hunter2"}}, {"buckets": 0}])
def test_a_refusal_prints_no_password(tmp_path, wrong):
    with pytest.raises(ValidationError) as caught:
        _load(tmp_path, ASKED | {"store_password": "hunter2"} | wrong)
    assert "hunter2" not in str(caught.value)
