"""Budget commands, on a control database and a store that hold what a ledger would have written."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.budgets import bar, read_dollars, read_tokens
from cli.commands.budgets import commands
from cli.exits import Exit, Failure
from cli.local.profile import Running
from cli.output import dollars
from pipelines.store import connect_creating
from services.control.budget_definition import Budget
from services.control.database import open_database
from services.control.keys import create_key
from services.control.migrate import migrate
from services.control.organisations import create_org
from tests.store_process import running_store

NOW = 1_790_000_000_000_000_000
SET = ["set", "all", "--org", "acme", "--dollars", "25.50", "--time-zone", "Europe/Berlin", "--actor", "ann"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder on which nothing runs."""
    engine = open_database(f"sqlite:///{tmp_path}/control.db")
    migrate(engine, NOW)
    create_org(engine, "acme", "Acme", True, NOW)
    create_key(engine, "acme", "search", "ci", NOW)
    engine.dispose()
    return tmp_path


def invoke(data: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(commands, [*arguments, "--data", str(data)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def run(data: Path, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(invoke(data, *arguments, "-o", "json").stdout or "[]")


def test_a_budget_that_was_set_is_listed_in_numbers_for_programs_and_in_words_for_people(data: Path) -> None:
    [made] = run(data, *SET, "--team", "search", "--model", "gpt-4*", "--threshold", "90", "--threshold", "10")
    assert run(data, "list", "--org", "acme") == run(data, "list") == [made]
    assert (made["limit"], made["unit"], made["window"]) == (25_500_000_000, "nano_dollars", "month")
    assert (made["revision"], made["thresholds"], made["hard"], len(made["budget_id"])) == (1, [10, 90], True, 16)
    shown = re.sub(r" {2,}", "|", invoke(data, "list").stdout.splitlines()[1])
    assert shown.startswith("acme|all|$25.50|month, Europe/Berlin|team search, model gpt-4*|yes|10 %, 90 %|-|-|1")


def test_setting_the_same_budget_again_says_so_and_a_change_gets_the_next_revision(data: Path) -> None:
    assert "set; it holds within seconds" in invoke(data, *SET).stderr
    assert "it was so already" in invoke(data, *SET).stderr
    other = [*SET[:4], "--tokens", "1000", *SET[6:], "--advisory", "--from", "2026-01-01", "--reason", "new deal"]
    result = invoke(data, *other)
    assert "begins with nothing spent" in result.stderr
    told = [(row["revision"], row["limit"], row["unit"], row["actor"]) for row in run(data, "history", "--org", "acme")]
    assert told == [(2, 1000, "tokens", "ann"), (1, 25_500_000_000, "nano_dollars", "ann")]
    [last, _] = run(data, "history", "all", "--org", "acme")
    assert (last["reason"], last["from"], last["hard"]) == ("new deal", "2026-01-01T00:00:00Z", False)


def test_a_dry_run_checks_and_changes_nothing(data: Path) -> None:
    [row] = run(data, *SET, "--dry-run")
    assert row["revision"] == 0 and run(data, "list") == []
    with pytest.raises(Failure, match="time zone"):
        run(data, *SET[:6], "--time-zone", "Mars", "--dry-run")
    run(data, *SET)
    assert (
        "would delete the budget all of acme: $25.50"
        in invoke(data, "delete", "all", "--org", "acme", "--dry-run").stderr
    )
    assert len(run(data, "list")) == 1


def test_a_deleted_budget_is_kept_in_the_history(data: Path) -> None:
    run(data, *SET)
    invoke(data, "delete", "all", "--org", "acme", "--reason", "over", "--actor", "bob")
    assert run(data, "list") == []
    changes = [(row["change"], row["actor"], row["reason"]) for row in run(data, "history", "--org", "acme")]
    assert changes == [("delete", "bob", "over"), ("set", "ann", "")]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["set", "all", "--org", "acme"], "either as --dollars or as --tokens", Exit.USAGE),
        ([*SET, "--tokens", "5"], "either as --dollars or as --tokens", Exit.USAGE),
        ([*SET[:5], "1e3"], "--dollars: '1e3' is no amount", Exit.USAGE),
        ([*SET[:5], "-1"], "--dollars: '-1' is no amount", Exit.USAGE),
        ([*SET[:4], "--tokens", "1.5"], "--tokens: '1.5' is no number", Exit.USAGE),
        ([*SET[:4], "--dollars", "999999999999"], "a limit is from 0 to", Exit.USAGE),
        ([*SET, "--window", "year"], "window 'year'", Exit.USAGE),
        ([*SET, "--from", "soon"], "--from: 'soon' is no date", Exit.USAGE),
        (["set", "No", *SET[2:]], "budget 'No' is not a valid name", Exit.USAGE),
        (["set", "all", "--org", "nobody", *SET[4:]], "no organisation 'nobody'", Exit.REFUSED),
        ([*SET, "--key", "nokey"], "no key 'nokey'", Exit.REFUSED),
        ([*SET, "--if-revision", "3"], "has revision 0, not 3", Exit.REFUSED),
        (["show", "none", "--org", "acme"], "no budget 'none'", Exit.REFUSED),
        (["delete", "none", "--org", "acme"], "no budget 'none'", Exit.REFUSED),
    ],
)
def test_what_cannot_be_set_or_found_is_refused(data: Path, arguments: list[str], message: str, code: Exit) -> None:
    with pytest.raises(Failure, match=re.escape(message)) as refused:
        invoke(data, *arguments)
    assert refused.value.code is code and run(data, "list") == []


def test_a_team_without_keys_is_remarked_on(data: Path) -> None:
    assert "no key of acme belongs to the team serach" in invoke(data, *SET, "--team", "serach").stderr
    assert "note" not in invoke(data, "set", "two", *SET[2:], "--team", "search").stderr


def test_where_nothing_runs_a_budget_is_shown_without_what_is_spent(data: Path) -> None:
    run(data, *SET)
    result = invoke(data, "show", "all", "--org", "acme", "-o", "json")
    assert "nothing runs on the data folder" in result.stderr
    [row] = json.loads(result.stdout)
    assert (row["limit"], row["spent"], row["pending"], row["left"]) == (25_500_000_000, None, None, None)
    assert datetime.fromisoformat(row["resets_at"]) > datetime.now(UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running_store(tmp_path_factory.mktemp("store") / "store") as process:
        with connect_creating(process.settings) as client:
            client.command(
                "CREATE TABLE budget_balances (org String, budget_id String, window_start DateTime64(9, 'UTC'), "
                "spent Int64, pending Int64) ENGINE = MergeTree ORDER BY org"
            )
        yield process


def test_a_budget_is_shown_with_what_is_spent_pending_and_left_in_its_window_of_now(data: Path, store: Any) -> None:
    Running(1, "", "", store.url, "", "", f"sqlite:///{data}/control.db", {}).save(data)
    [made] = run(data, "set", "ever", "--org", "acme", "--dollars", "10", "--window", "total")
    [month] = run(data, *SET)
    with connect_creating(store.settings) as client:
        rows = [["acme", made["budget_id"], 0, 4 * 10**9, 10**9], ["acme", month["budget_id"], 0, 5, 5]]
        rows += [["globex", made["budget_id"], 0, 7, 7]]
        client.command(
            "INSERT INTO budget_balances VALUES "
            + ", ".join(f"('{org}', '{id}', {start}, {spent}, {held})" for org, id, start, spent, held in rows)
        )
    [row] = run(data, "show", "ever", "--org", "acme")
    assert (row["spent"], row["pending"], row["left"], row["resets_at"]) == (4 * 10**9, 10**9, 5 * 10**9, None)
    [row] = run(data, "show", "all", "--org", "acme")  # the store knows an old window of it only
    assert (row["spent"], row["pending"], row["left"]) == (0, 0, 25_500_000_000)
    text = invoke(data, "show", "ever", "--org", "acme").stdout
    assert "█" * 16 + "▒" * 4 + "░" * 20 in text and "$4.00" in text and "$5.00" in text


@given(st.integers(0, 10**18))
def test_dollars_are_read_as_they_are_written_to_the_nano(nano: int) -> None:
    assert read_dollars(dollars(nano).removeprefix("$")) == nano


@pytest.mark.parametrize("text", ["", "1e3", "-1", "+1", "1,5", ".5", "5.", "0.0000000001", "1_000", "٣", "nan"])
def test_an_amount_that_is_not_exact_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no amount of dollars"):
        read_dollars(text)
    with pytest.raises(ValueError, match="no number of tokens"):
        read_tokens(text)


@pytest.mark.parametrize(
    ("spent", "pending", "drawn"),
    [
        (0, 0, "░" * 40),
        (50, 25, "█" * 20 + "▒" * 10 + "░" * 10),
        (100, 0, "█" * 40),
        (300, 100, "█" * 30 + "▒" * 10),
        (-5, 0, "░" * 40),
    ],
)
def test_the_bar_shows_spent_and_pending_and_never_more_than_there_is(spent: int, pending: int, drawn: str) -> None:
    assert bar(Budget("acme", "all", 100), spent, pending) == drawn
