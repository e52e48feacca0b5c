"""Price files and price commands."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.commands.prices import commands
from cli.exits import Exit, Failure
from cli.local.profile import Running
from cli.prices import tables
from cli.prices.lines import FileRefused, Line, read_lines
from cli.prices.statements import Statements, read_statements, read_time
from pipelines.migrate import migrate
from pipelines.price_store import read_entries
from pipelines.store import StoreSettings, connect_creating
from schemas.migrations import CLICKHOUSE
from schemas.price_book import PriceBook, compile_book
from schemas.prices.contracts import FIELDS, Band, Contract, dollars, record, yoctodollars
from tests.store_process import running_store
from transforms.prices.contracts import with_contracts

NOW = 1_790_000_000_000_000_000
TOML = """
[[price]]
org = "acme"
provider = "openai"
model = "gpt-4o"
from = 2026-01-01
to = 2026-07-01
input = 2.50
cache_read = "1.25"
output = 10

[[price]]
org = "acme"
provider = "openai"
model = "gpt-4o"
from = 2026-07-01T00:00:00Z
input = 2
cache_read = 1
output = 8
"""
YAML = """
price:
  - {org: acme, provider: openai, model: gpt-4o, from: 2026-01-01, to: 2026-07-01, input: 2.50, cache_read: '1.25',
     output: 10}
  - org: acme
    provider: openai
    model: gpt-4o
    from: 2026-07-01T00:00:00Z
    input: 2
    cache_read: 1
    output: 8
"""
CSV = """org,provider,model,from,to,input,cache_read,output
acme,openai,gpt-4o,2026-01-01,2026-07-01,2.50,1.25,10
acme,openai,gpt-4o,2026-07-01T00:00:00Z,,2,1,8
"""


@cache
def book() -> PriceBook:
    return compile_book()


def day(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def stated(folder: Path, text: str, ending: str = "toml", unlisted: bool = False) -> Statements:
    path = folder / f"prices.{ending}"
    path.write_text(text, "utf-8")
    return read_statements(read_lines(path), book(), unlisted)


def refusal(folder: Path, text: str, ending: str = "toml") -> str:
    with pytest.raises(FileRefused) as refused:
        stated(folder, text, ending)
    return str(refused.value)


def band(above: int | None = None, **prices: str) -> Band:
    made = ((FIELDS[f][0], yoctodollars(Decimal(p), FIELDS[f][1])) for f, p in prices.items())
    return Band(above, tuple(sorted(made)))


# ---- files


@pytest.mark.parametrize(("ending", "text"), [("toml", TOML), ("yaml", YAML), ("yml", YAML), ("csv", CSV)])
def test_a_file_of_any_kind_states_the_same_contracts(tmp_path: Path, ending: str, text: str):
    key = ("acme", "openai", "gpt-4o", "")
    found = stated(tmp_path, text, ending)
    assert found == Statements(
        [
            Contract(*key, day("2026-01-01"), day("2026-07-01"), (band(input="2.5", cache_read="1.25", output="10"),)),
            Contract(*key, day("2026-07-01"), None, (band(input="2", cache_read="1", output="8"),)),
        ],
        [
            f"line {line}: not stated, so billed as what they are part of or not at all: web_search"
            for line in ({"toml": (2, 12), "csv": (2, 3)}.get(ending, (3, 5)))
        ],
    )


def one(**fields: str) -> str:
    """A TOML file with one price, whose fields stand on lines 2, 3, ... in order; values are TOML."""
    usual = {"provider": '"openai"', "model": '"gpt-4o"', "from": "2026-01-01", "input": "1", "cache_read": "1"}
    given = {**usual, **fields}
    return "[[price]]\n" + "".join(f"{name} = {value}\n" for name, value in given.items() if value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"from": '"2026-02-30"'}, "line 4: from: '2026-02-30' is no date such as"),
        ({"from": '"01.02.2026"'}, "line 4: from: '01.02.2026' is no date such as"),
        ({"from": '"2026-1-1"'}, "line 4: from: '2026-1-1' is no date"),
        ({"from": "2026-01-01T00:00:00"}, "line 4: from: '2026-01-01T00:00:00' names no zone"),
        ({"from": "1969-12-31"}, "line 4: from: '1969-12-31' is not between 1970 and"),
        ({"from": "2262-01-01"}, "line 4: from: '2262-01-01' is not between"),
        ({"from": "0001-01-01T00:00:00+23:00"}, "line 4: from: "),
        ({"from": ""}, "line 1: from is missing"),
        ({"to": "2025-12-31"}, "line 1: it ends before it begins"),
        ({"to": "2026-01-01"}, "line 1: it ends before it begins"),
        ({"input": "-2.50"}, "line 5: input: -2.50 is negative"),
        ({"input": "-0.0"}, "line 5: input: -0.0 is negative"),
        ({"input": "nan"}, "line 5: input: 'nan' is not an exact decimal"),
        ({"input": "inf"}, "line 5: input: 'inf' is not an exact decimal"),
        ({"input": "2.5e0"}, "line 5: input: '2.5e0' is not an exact decimal"),
        ({"input": '"2,50"'}, "line 5: input: '2,50' is not an exact decimal"),
        ({"input": '"$2.50"'}, "line 5: input: '$2.50' is not an exact decimal"),
        ({"input": '"٢"'}, "line 5: input: '٢' is not an exact decimal"),
        ({"input": "0.30000000000000004"}, "line 5: input: 0.30000000000000004 has more than 12 decimal places"),
        ({"input": "99999999"}, "line 1: its prices are too high for an exact cost"),
        ({"input": "[1, 2]"}, "line 5: input: one value is expected"),
        ({"inptu": "1"}, "line 7: inptu: no such field (is input meant?)"),
        ({"input": "", "cache_read": ""}, "line 1: it states no price"),
        ({"withdraw": "true"}, "line 1: it states prices and that they end"),
        ({"withdraw": "1"}, "line 7: withdraw: '1' is not true or false"),
        ({"above": "128000"}, "line 7: above: the prices for up to 128000 tokens are missing"),
        ({"above": "-1"}, "line 7: above: '-1' is not a number of tokens"),
        ({"context": '"batch"'}, "line 7: context: 'batch' is not key=value pairs"),
        ({"context": '"procesing=batch"'}, "line 7: context: 'procesing=batch' is not key=value pairs"),
        ({"context": '"service_tier=flex,service_tier=priority"'}, "line 7: context: "),
        ({"model": '"gpt-4oo"'}, "line 3: model: openai has no gpt-4oo in the price book (is gpt-4o meant?)"),
        ({"model": '"gpt-4o-2024-08-06"'}, "line 3: model: gpt-4o-2024-08-06 is one name of gpt-4o"),
        ({"provider": '"opnai"'}, "line 2: provider: the price book has no opnai (is openai meant?)"),
        ({"provider": '"azure.ai.openai"'}, "line 2: provider: the price book calls it azure"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_line(tmp_path: Path, fields: dict[str, str], message: str):
    assert refusal(tmp_path, one(**fields)).startswith(message)


@pytest.mark.parametrize(
    ("ending", "text", "message"),
    [
        ("toml", "[[price]]\nfrom = 2026-13-01\n", "line 2"),
        ("toml", "[[price]]\ninput = 1\ninput = 2\n", "line 3"),
        ("toml", "[price]\ninput = 1\n", "one [[price]] table"),
        ("toml", "price = [{input = 1}]\n", "one [[price]] table"),
        ("toml", one() + "[other]\n", "not other"),
        ("toml", "", "states no price"),
        ("yaml", "price:\n - input: 1\n   input: 2\n", "line 3: input: it is stated twice"),
        ("yaml", "price:\n - input: [1]\n", "line 2: input: one value is expected"),
        ("yaml", "price:\n - 5\n", "line 2: a price is a mapping"),
        ("yaml", "prices: []\n", "line 1: a price file is a list"),
        ("yaml", "price:\n  - a: 'b\n", "line 3"),
        ("yaml", "", "line 1: a price file is a list"),
        ("csv", "provider,model\nopenai\n", "line 2: 1 cells, but the header has 2 columns"),
        ("csv", "model,model\na,b\n", "line 1: a column is named twice"),
        ("csv", 'model\n"a', "line 2"),
        ("csv", "provider,model,from,input\n\nopenai,gpt-4o,2026-02-30,1\n", "line 3: from: '2026-02-30'"),
        ("csv", "provider,model,from,input\n", "states no price"),
        ("txt", "", "a price file ends in .toml"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_line(tmp_path: Path, ending: str, text: str, message: str):
    assert message in refusal(tmp_path, text, ending)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path):
    (tmp_path / "prices.csv").write_bytes(b"model\n\xff")
    with pytest.raises(FileRefused, match="byte 6 is not UTF-8"):
        read_lines(tmp_path / "prices.csv")


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path):
    text = one(input="-1", to='"never"') + one(model='"gpt-4oo"') + one()
    lines = refusal(tmp_path, text).splitlines()
    assert [line.split(":")[0] for line in lines] == ["line 5", "line 7", "line 10"]


def test_periods_that_overlap_are_refused_with_both_lines(tmp_path: Path):
    text = one(to="2026-07-01") + one(**{"from": "2026-06-30"})
    assert refusal(tmp_path, text) == "line 8: it overlaps the period of line 1"
    assert refusal(tmp_path, one() + one()) == "line 7: it overlaps the period of line 1"
    apart = one(to="2026-07-01") + one(context='"processing=batch"') + one(org='"acme"')
    assert len(stated(tmp_path, apart).contracts) == 3


def test_a_gap_between_periods_is_told(tmp_path: Path):
    found = stated(tmp_path, one(to="2026-03-01") + one(**{"from": "2026-04-01"}))
    assert found.warnings[0].startswith("line 8: a gap: the price book holds between the end of line 1")


def test_a_price_of_the_book_that_is_left_out_is_told(tmp_path: Path):
    (warning,) = stated(tmp_path, one(cache_read="")).warnings
    assert (
        warning
        == "line 1: not stated, so billed as what they are part of or not at all: output, cache_read, web_search"
    )


def test_bands_of_one_period_are_one_contract(tmp_path: Path):
    text = (
        "provider,model,from,above,input,output,cache_read\n"
        "google,gemini-2.5-pro,2026-01-01,200000,2,12,0.2\n"
        "google,gemini-2.5-pro,2026-01-01,,1,8,0.1\n"
    )
    (made,) = stated(tmp_path, text, "csv").contracts
    assert made.bands == (
        band(input="1", output="8", cache_read="0.1"),
        band(200_000, input="2", output="12", cache_read="0.2"),
    )


def test_a_model_that_the_book_lacks_is_taken_when_asked_for(tmp_path: Path):
    text = one(provider='"my-host"', model='"Llama-X"')
    assert "the price book has no my-host" in refusal(tmp_path, text)
    assert stated(tmp_path, text, unlisted=True).contracts[0].key == ("", "my-host", "llama-x", "")


def test_a_withdrawal_states_no_price(tmp_path: Path):
    (made,) = stated(tmp_path, one(input="", cache_read="", withdraw="true")).contracts
    assert made.bands == ()


@given(st.integers(0, 10**15), st.integers(0, 12), st.sampled_from([1, 10**6]))
def test_dollars_become_yoctodollars_and_come_back_exactly(digits: int, places: int, count: int):
    price = Decimal(f"{digits}E-{places}")
    assert dollars(yoctodollars(price, count), count) == price
    assert Decimal(tables.decimal(price)) == price and "E" not in tables.decimal(price)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2261, 12, 31)))  # noqa: DTZ001
def test_a_time_is_shown_as_it_is_read(moment: datetime):
    at = read_time(moment.isoformat() + "Z")
    assert read_time(tables.utc_time(at) or "") == at


@given(st.text(), st.sampled_from(["toml", "yaml", "csv"]))
def test_any_text_is_a_file_or_is_refused(tmp_path_factory: pytest.TempPathFactory, text: str, ending: str):
    path = tmp_path_factory.mktemp("any") / f"a.{ending}"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        read_statements(read_lines(path), book(), True)
    except FileRefused as refused:
        assert str(refused)


def test_an_option_is_named_in_a_refusal():
    line = Line("", {"provider": "openai", "model": "gpt-4o", "from": "2026-01-01", "cache_read": "1,5"}, {})
    with pytest.raises(FileRefused, match=r"^--cache-read: '1,5' is not an exact decimal"):
        read_statements([line], book(), False)


# ---- what is shown


def shown(org: str = "", model: str = "gpt-4o", at: str = "2026-11-01", entries: list | None = None) -> list[Any]:
    rows = tables.prices_of(with_contracts(book(), entries or []), org, "openai", model, day(at))
    assert rows is not None
    return list(tables.show_rows(rows, {}))


def test_a_price_is_shown_by_context_with_its_dates_and_id():
    found = {row["context"]: row for row in shown(at="2025-03-01")}
    assert (found[""]["input"], found[""]["output"], found[""]["cache_read"]) == ("2.5", "10", "1.25")
    assert found["processing=batch"]["input"] == "1.25"
    assert found[""]["price_id"].startswith("openai/gpt-4o@") and found[""]["source"].startswith("genai-prices")


def test_a_contract_is_shown_to_its_organisation_only():
    made = Contract("acme", "openai", "gpt-4o", "", day("2026-01-01"), None, (band(input="2"),))
    (entry,) = record([made], [], NOW, "agreed", "tester")
    assert {row["price_id"] for row in shown("acme", entries=[entry]) if not row["context"]} == {entry.price_id(None)}
    assert shown("globex", entries=[entry]) == shown()
    (before,) = (row for row in shown("acme", at="2025-06-01", entries=[entry]) if not row["context"])
    assert before["price_id"] in {row["price_id"] for row in shown()} and before["to"] == "2026-01-01"
    everywhere = tables.in_force(with_contracts(book(), [entry]), day("2026-11-01"))
    plain = tables.in_force(book(), day("2026-11-01"))
    assert set(everywhere["price_id"]) - set(plain["price_id"]) == {entry.price_id(None)}
    assert set(plain["price_id"]) <= set(everywhere["price_id"])


def test_a_correction_for_everybody_replaces_what_is_listed():
    made = Contract("", "openai", "gpt-4o", "", day("2026-01-01"), None, (band(input="2"),))
    (entry,) = record([made], [], NOW, "the book is late", "tester")
    before, after = (
        {row["price_id"] for row in shown(entries=entries) if not row["context"]} for entries in ([], [entry])
    )
    listed = set(tables.in_force(with_contracts(book(), [entry]), day("2026-11-01"))["price_id"])
    assert after == {entry.price_id(None)} and after <= listed and not before & listed


def test_history_says_what_of_an_entry_is_in_force():
    first = Contract("acme", "openai", "gpt-4o", "", day("2026-01-01"), None, (band(input="2"),))
    later = replace(first, effective_from=day("2026-02-01"), effective_to=day("2026-03-01"), bands=())
    entries = record([first], [], NOW, "agreed", "tester")
    entries += record([later], entries, NOW, "strike", "tester")
    found = list(tables.show_entries(entries, entries))
    assert [row["in_force"] for row in found] == [
        "2026-01-01 to 2026-02-01, 2026-03-01 to further notice",
        "2026-02-01 to 2026-03-01",
    ]
    assert [row["input"] for row in found] == ["2", None]


# ---- the commands, against a store that runs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("instance")
    with running_store(folder / "store") as process:
        with connect_creating(process.settings) as client:
            migrate(client, CLICKHOUSE, NOW)
        Running(1, "", "", process.url, "", "", f"sqlite:///{folder}/control.db", {}).save(folder)
        yield folder


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("schemas.prices.contracts.LEAD_NS", 0)


def run(data: Path, *arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(commands, [*arguments, "--data", str(data), "-o", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout or "[]")


SET = ["set", "--provider", "openai", "--model", "gpt-4o", "--from", "2026-01-01", "--reason", "contract 4711"]


def test_a_price_that_is_set_is_shown_listed_and_kept_in_the_history(data: Path):
    terms = ["--org", "shown", "--input", "2.00", "--output", "8", "--cache-read", "1", "--actor", "ann"]
    (recorded,) = run(data, *SET, *terms)
    assert (recorded["input"], recorded["from"], recorded["in_force"]) == (
        "2",
        "2026-01-01",
        "2026-01-01 to further notice",
    )
    prices = run(data, "show", "gpt-4o-2024-08-06", "--provider", "openai", "--org", "shown")
    standard = [row for row in prices if not row["context"]]
    assert [(r["price_id"], r["reason"]) for r in standard] == [(recorded["price_id"], "contract 4711")]
    assert [r["price_id"] for r in run(data, "list", "--org", "shown")] == [recorded["price_id"]]
    assert [(r["entry_id"], r["actor"]) for r in run(data, "history", "--org", "shown")] == [
        (recorded["entry_id"], "ann")
    ]
    assert run(data, *SET, *terms) == []


def test_a_dry_run_records_nothing(data: Path):
    (would,) = run(data, *SET, "--org", "dry", "--input", "1", "--dry-run")
    assert run(data, "history", "--org", "dry") == []
    (done,) = run(data, *SET, "--org", "dry", "--input", "1")
    assert done["entry_id"] == would["entry_id"]


def test_a_file_is_recorded_once_and_whole(data: Path, tmp_path: Path):
    (tmp_path / "a.toml").write_text(TOML)
    arguments = ["import", str(tmp_path / "a.toml"), "--reason", "contracts of 2026"]
    assert len(run(data, *arguments)) == 2
    assert run(data, *arguments) == []


def test_of_a_file_with_a_mistake_nothing_is_recorded(data: Path, tmp_path: Path):
    (tmp_path / "a.toml").write_text((TOML + one(input="-1")).replace('"acme"', '"whole"'))
    with pytest.raises(Failure, match=r"nothing was recorded\nline 24: input: -1 is negative") as refused:
        run(data, "import", str(tmp_path / "a.toml"), "--reason", "x")
    assert refused.value.code is Exit.REFUSED
    with connect_creating(StoreSettings(json.loads((data / "run.json").read_text())["store"])) as client:
        assert "whole" not in {entry.contract.org for entry in read_entries(client)}


def test_a_correction_is_kept_beside_what_it_corrects(data: Path):
    for price in ("3", "4"):
        run(data, *SET, "--org", "corrected", "--input", price)
    assert [(row["input"], row["in_force"]) for row in run(data, "history", "--org", "corrected")] == [
        ("3", "no"),
        ("4", "2026-01-01 to further notice"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ([*SET, "--input", "2,5"], "--input: '2,5' is not an exact decimal", Exit.USAGE),
        ([*SET], "the contract: it states no price", Exit.USAGE),
        ([*SET[:-1], " ", "--input", "1"], "--reason is empty", Exit.USAGE),
        (["show", "gpt-9000"], "no price is known for gpt-9000", Exit.FAILED),
        (["list", "--at", "yesterday"], "--at: 'yesterday' is no date", Exit.USAGE),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(data: Path, arguments: list[str], message: str, code: Exit):
    with pytest.raises(Failure) as refused:
        run(data, *arguments)
    assert refused.value.what.startswith(message) and refused.value.code is code


@pytest.mark.parametrize("command", ["list", "history"])
@pytest.mark.parametrize(
    ("options", "remark"),
    [
        (["--provider", "opnai"], "nothing fits; is the provider openai meant?\n"),
        (["--provider", "openai", "--model", "no such"], "nothing fits\n"),
    ],
)
def test_that_nothing_was_found_is_said_apart_from_the_data(data: Path, command: str, options: list[str], remark: str):
    result = CliRunner().invoke(commands, [command, *options, "--data", str(data), "-o", "json"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "[]\n", remark)


def test_a_reason_is_needed(data: Path):
    result = CliRunner().invoke(commands, [*SET[:-2], "--input", "1", "--data", str(data)])
    assert result.exit_code == Exit.USAGE and "--reason" in result.output


def test_without_a_running_instance_the_default_book_is_listed_and_contracts_are_not(tmp_path: Path):
    found = run(tmp_path, "list", "--provider", "openai", "--model", "gpt-4o-mini")
    assert {row["model"] for row in found} >= {"gpt-4o-mini"}
    with pytest.raises(Failure) as refused:
        run(tmp_path, "list", "--org", "acme")
    assert refused.value.code is Exit.CANNOT_CONNECT
