import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from services.store.metrics import kind_of
from tests.store_process import StoreProcess, running_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    with running_store(tmp_path / "data") as process:
        yield process


def _metrics(store: StoreProcess) -> dict[str, float]:
    page = httpx2.get(f"{store.url}/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=")
    return {name: float(value) for name, value in re.findall(r"^([a-z].*) (\S+)$", page.text, re.MULTILINE)}


def _ask(store: StoreProcess, statement: str) -> int:
    return httpx2.post(store.url, content=statement).status_code


def test_statements_are_timed_by_kind(store):
    for statement in ("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO t VALUES (1), (2)",
                      "INSERT INTO t SELECT 3", "SELECT * FROM t", "WITH 1 AS one SELECT one"):  # fmt: skip
        assert _ask(store, statement) == 200
    found = _metrics(store)
    counts = {
        kind: found[f'llmops_query_duration_seconds_count{{kind="{kind}"}}'] for kind in ("select", "insert", "other")
    }
    assert counts == {"select": 2, "insert": 2, "other": 1}
    assert found['llmops_query_duration_seconds_bucket{kind="select",le="+Inf"}'] == 2
    assert 0 < found['llmops_query_duration_seconds_sum{kind="select"}'] < 60
    assert not any(value for name, value in found.items() if name.startswith("llmops_query_errors_total"))


def test_a_statement_that_waits_is_timed_with_its_wait(store):
    _ask(store, "SELECT sleep(0.6)")
    found = _metrics(store)
    assert found['llmops_query_duration_seconds_bucket{kind="select",le="0.5"}'] == 0
    assert found['llmops_query_duration_seconds_sum{kind="select"}'] > 0.6


def test_errors_are_counted_by_kind_and_status(store):
    assert _ask(store, "SELECT * FROM nowhere") == 404
    assert _ask(store, "SELECT throwIf(1)") == 500
    found = _metrics(store)
    assert found['llmops_query_errors_total{kind="select",status="404"}'] == 1
    assert found['llmops_query_errors_total{kind="select",status="500"}'] == 1
    assert found['llmops_query_duration_seconds_count{kind="select"}'] == 2


def test_the_disk_of_the_data_is_told(store):
    found = _metrics(store)
    assert 0 < found["llmops_store_disk_free_bytes"] < found["llmops_store_disk_total_bytes"]


def test_the_page_needs_no_password_and_is_not_for_web_pages(tmp_path):
    with running_store(tmp_path / "data", env={"SPANMILL_STORE_PASSWORD": "secret"}) as store:
        assert _ask(store, "SELECT 1") == 403
        assert _metrics(store)['llmops_query_errors_total{kind="other",status="500"}'] == 0
        assert httpx2.get(f"{store.url}/metrics", headers={"origin": "http://elsewhere"}).status_code == 403


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (b"-- why\nselect 1", "select"),
        (b"INSERT INTO t SELECT 1", "insert"),
        (b"", "other"),
        (b"DROP TABLE t", "other"),
    ],
)
def test_a_kind_is_that_of_the_first_keyword(statement, kind):
    assert kind_of(statement) == kind
