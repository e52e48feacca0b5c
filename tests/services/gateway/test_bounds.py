import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.gateway.disk import DiskGuard
from services.gateway.inflight import InFlight
from services.gateway.rates import Rates
from services.gateway.settings import Settings
from services.shared.addresses import is_loopback
from services.shared.answers import Refusal, Refused
from services.shared.settings import settings_of

REQUIRED = {"brokers": "127.0.0.1:1", "control_url": "sqlite:///x.db"}


def test_bytes_in_flight_are_bounded_and_come_back() -> None:
    inflight = InFlight(100)
    with inflight.hold() as first, inflight.hold() as second:
        first.grow(60)
        second.grow(40)
        with pytest.raises(Refused) as caught:
            second.grow(1)
        assert caught.value.refusal is Refusal.UNAVAILABLE
        assert caught.value.retry_after_s > 0
        assert inflight.bytes == 100
    assert inflight.bytes == 0


def test_an_organisation_above_its_rate_waits_and_the_others_do_not() -> None:
    now = [0.0]
    rates = Rates(per_second=10, burst=100, now=lambda: now[0])
    rates.check("acme")
    rates.spend("acme", 150)
    with pytest.raises(Refused) as caught:
        rates.check("acme")
    assert (caught.value.refusal, caught.value.retry_after_s) == (Refusal.THROTTLED, 5)
    rates.check("globex")
    now[0] = 5.1
    rates.check("acme")


def test_a_rate_of_zero_sets_no_limit() -> None:
    rates = Rates(per_second=0, burst=1, now=lambda: 0.0)
    rates.spend("acme", 10**9)
    rates.check("acme")


def test_a_full_disk_is_named_and_looked_at_once_a_second(tmp_path: Path) -> None:
    now = [0.0]
    free = shutil.disk_usage(tmp_path).free
    guard = DiskGuard(tmp_path, free * 2, lambda: now[0])
    with pytest.raises(Refused, match=str(tmp_path)) as caught:
        guard.check()
    assert caught.value.refusal is Refusal.UNAVAILABLE
    guard._min_free_bytes = 0
    now[0] = 0.9
    with pytest.raises(Refused):
        guard.check()
    now[0] = 1.0
    guard.check()


def test_a_folder_that_is_gone_counts_as_full(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="gone"):
        DiskGuard(tmp_path / "gone", 0, lambda: 0.0).check()


def test_without_a_folder_nothing_is_guarded() -> None:
    DiskGuard(None, 2**62, lambda: 0.0).check()


def test_the_environment_is_above_the_file_and_the_file_above_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.json"
    file.write_text(json.dumps({**REQUIRED, "http_port": 1, "grpc_port": 2, "limits": {"spans_per_request": 7}}))
    monkeypatch.setenv("SPANMILL_GATEWAY_HTTP_PORT", "3")
    settings = settings_of(Settings, file)
    assert (settings.http_port, settings.grpc_port, settings.topic) == (3, 2, "spans.raw")
    assert settings.limits.spans_per_request == 7
    assert settings.limits.body_bytes == 20 * 2**20


@pytest.mark.parametrize("wrong", [{"http_prot": 1}, {"key_ttl_s": 61}, {"brokers": None}])
def test_a_wrong_setting_is_refused(tmp_path: Path, wrong: dict) -> None:
    file = tmp_path / "gateway.json"
    file.write_text(json.dumps({**REQUIRED, **wrong}))
    with pytest.raises(ValidationError):
        settings_of(Settings, file)


def test_a_settings_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        settings_of(Settings, tmp_path / "none.json")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_settings_that_are_refused_print_no_password(tmp_path):
    file = tmp_path / "gateway.json"
    kafka = {"protocol": "SASL_SSL", "password": "hunter2"}
    file.write_text(json.dumps({"brokers": "b:1", "control_url": "postgresql://u:hunter2@c/d", "kafka": kafka}))
    with pytest.raises(ValidationError) as caught:
        settings_of(Settings, file)
    assert "kafka" in str(caught.value)
    assert "hunter2" not in str(caught.value)
