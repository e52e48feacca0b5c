"""Rules files as the command reads them, and the example in the documentation."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cli.alerts.files import checked, read_file
from cli.alerts.past import fired, plot, points
from cli.exits import Failure
from tests.transforms.alerts.world import START, cell, rules, table
from transforms.alerts.receivers import Receiver, ReceiverKind
from transforms.alerts.replay import replay
from transforms.alerts.rules import Kind

DOCS = Path(__file__).parents[2] / "docs" / "alerts.md"
PATH = Path("rules.yaml")
HOOK = Receiver("hook", ReceiverKind.WEBHOOK, {"url": "https://h.example.com/a"}, "the-secret-of-before")


def _given(url: str = "https://h.example.com/a", secret: str = "${ALERT_TEST_SECRET}") -> dict[str, Any]:
    return {"org": "acme", "receivers": [{"name": "hook", "webhook": {"url": url, "secret": secret}}]}


def test_the_example_of_the_documentation_is_a_rules_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WEBHOOK_SECRET", "0123456789abcdef")
    monkeypatch.setenv("SLACK_URL", "slack://a/b/c")
    match = re.search(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert match
    read = checked(YAML(typ="safe").load(StringIO(match[1])), DOCS, {})
    assert {rule.kind for rule in read.rules} == set(Kind)
    assert {one.kind for one in read.receivers} == set(ReceiverKind)


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALERT_TEST_SECRET", "a-secret-of-today")
    assert checked(_given(), PATH, {"hook": HOOK}).receivers[0].secret == "a-secret-of-today"


def test_without_it_the_secret_stays_unless_the_address_changes():
    assert checked(_given(), PATH, {"hook": HOOK}).receivers == (HOOK,)
    for known, given in (({}, _given()), ({"hook": HOOK}, _given("https://evil.example.com/a"))):
        with pytest.raises(Failure, match="ALERT_TEST_SECRET is not set, which hook takes its secret from"):
            checked(given, PATH, known)


def test_a_file_that_is_no_rules_file_is_refused_with_its_faults(tmp_path: Path):
    file = tmp_path / "rules.yaml"
    for text, said in (("a: [", "neither YAML nor JSON"), ("- 1", "must be a mapping"), ("\xff", "must be a mapping")):
        file.write_text(text)
        with pytest.raises(Failure, match=said):
            read_file(file)
    with pytest.raises(Failure, match="nothing was changed\norg: '' is no name"):
        checked({"groups": []}, file, {})


def test_the_past_of_a_rule_is_shown_as_rows_and_as_a_plot():
    [rule] = rules(
        {"kind": "threshold", "metric": "cost", "above": 5, "window": "2m", "by": ["model"], "resolve_after": "1m"}
    )
    cells = [cell(m, model="a", calls=1, cost_nano=(4 if 10 <= m < 13 else 1) * 10**9) for m in range(30)]
    cells += [cell(m, model="b", calls=1) for m in range(30)]
    found = replay("acme", rule, table(cells), START, START + 29)
    [row] = fired(found)
    assert (row["labels"], row["value"]) == ('{"model": "a"}', 8 * 10**9)
    assert row["fired_at"] < row["resolved_at"]
    shown = points(found, rule)
    assert len(shown) == 60 and shown[0]["threshold"] == 5 * 10**9
    drawn = plot(found, rule, 100, colour=False)
    print(drawn)
    assert "g/r0: cost in 2 min (dollars) model=a" in drawn and "\x1b" not in drawn and "fired" in drawn
