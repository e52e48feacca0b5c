"""What the documents show runs as it stands."""

import os
import re
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from integration_tests.product import SPANMILL, spanmill
from integration_tests.traffic import capture, renamed, trace_ids
from schemas.arrow import DEAD_LETTERS

ROOT = Path(__file__).parent.parent
TABLES, METRICS, README, OPERATIONS = (
    (ROOT / name).read_text() for name in ("docs/tables.md", "docs/metrics.md", "README.md", "docs/operations.md")
)
STATEMENTS = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", TABLES + METRICS, re.DOTALL)
    for statement in re.sub(r"^--.*\n", "", block, flags=re.MULTILINE).split(";")
    if statement.strip()
]
QUERIES = re.findall(r'spanmill sql "([^"]+)"', TABLES + README + OPERATIONS)


def test_the_documents_show_queries():
    assert len(STATEMENTS) >= 9
    assert len(QUERIES) >= 3


@pytest.mark.parametrize("statement", [*STATEMENTS, *QUERIES])
def test_a_query_of_the_documents_runs(product, statement):
    done = spanmill("sql", statement, "--data", str(product.data))
    assert done.returncode == 0, done.stderr


def test_dead_letters_are_replayed_as_the_documents_say(product, tmp_path):
    """A request that was refused by an older version, say, is taken now."""
    [body] = [renamed(part, "replayed") for part in capture("pydantic-ai/agent")]
    letter = dict.fromkeys(DEAD_LETTERS.names, "") | {
        "org": "local", "step": "decode", "received_at": datetime(2026, 3, 1, tzinfo=UTC),
        "partition": 0, "offset": 0, "position": 0, "raw": body,
    }  # fmt: skip
    product.store.insert_arrow("dead_letters_data", pa.Table.from_pylist([letter], DEAD_LETTERS))
    [snippet] = re.findall(r"```sh\n(spanmill sql .*?base64 -d.*?)```", OPERATIONS, re.DOTALL)
    (tmp_path / "spanmill").write_text(f'#!/bin/sh\nexec {shlex.join(SPANMILL)} "$@"\n')
    (tmp_path / "spanmill").chmod(0o755)
    found = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "SPANMILL_DATA": str(product.data)}
    done = subprocess.run(
        ["bash", "-c", snippet], cwd=tmp_path, env=os.environ | found, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    product.caught_up()
    ids = sorted(trace_ids(body))
    assert {
        row["trace_id"]
        for row in product.rows("SELECT trace_id FROM spans WHERE trace_id IN {ids:Array(String)}", ids=ids)
    } == set(ids)
