"""What the documents show runs as it stands."""

import re
from pathlib import Path

import pytest

from integration_tests.product import spanmill

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
