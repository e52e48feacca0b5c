"""The compiled price book: its rows cover everything once, its look-ups are the package's own."""

import pickle
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from itertools import product
from pathlib import Path

import polars as pl
import pytest
from genai_prices.data import providers
from genai_prices.data_snapshot import find_provider_by_id
from genai_prices.types import ClauseEquals, ConditionalPrice, ModelInfo, ModelPrice, Provider, StartDateConstraint
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.price_book import YOCTO_PER_NANO, PriceBook, compile_book, price_column
from schemas.prices import Backdated, Discount, Supplement, load_names, load_supplement
from schemas.prices.compile import DAY_NS, Rate, bands, contexts, periods


@cache
def book() -> PriceBook:
    return compile_book()


def _edges(rows: list[dict[str, int | None]], low: str, high: str) -> list[int]:
    return sorted({row[key] for row in rows for key in (low, high) if row[key] is not None})  # type: ignore[type-var]


def _fits(row: dict[str, int | None], at: int, hour: int, size: int) -> bool:
    return (
        (row["effective_from"] is None or at >= row["effective_from"])
        and (row["effective_to"] is None or at < row["effective_to"])
        and (row["hours_from"] or 0) <= hour < (row["hours_to"] or 0)
        and (row["input_above"] is None or size > row["input_above"])
        and (row["input_up_to"] is None or size <= row["input_up_to"])
    )


def test_every_moment_hour_and_length_has_exactly_one_row_of_each_plan() -> None:
    for (plan,), group in book().rows.group_by("plan"):
        rows = group.to_dicts()
        starts = [-(2**63), 2**63 - 1, *_edges(rows, "effective_from", "effective_to")]
        hours = [h for h in _edges(rows, "hours_from", "hours_to") if h < DAY_NS]
        sizes = [0, 2**53, *(size + d for size in _edges(rows, "input_above", "input_up_to") for d in (0, 1))]
        for at, hour, size in product(starts, hours, sizes):
            assert sum(_fits(row, at, hour, size) for row in rows) == 1, (plan, at, hour, size)


def test_the_book_is_the_same_each_time_and_every_row_has_its_own_id() -> None:
    assert compile_book().rows.equals(book().rows)
    assert book().rows["price_id"].is_unique().all()


def test_the_book_is_the_same_in_every_process() -> None:
    program = "from schemas.price_book import compile_book; print(compile_book().rows.hash_rows().sum())"
    folder = Path(__file__).parents[2]
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, cwd=folder, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_a_price_id_says_provider_model_and_first_day_and_changes_with_the_price() -> None:
    ids = book().rows.filter(provider="openai", model="o3", context="")["price_id"].to_list()
    assert [price_id.partition("#")[0] for price_id in ids] == ["openai/o3@", "openai/o3@2025-06-10"]
    assert len({price_id.partition("#")[2] for price_id in ids}) == 2


def _provider(*prices: ConditionalPrice) -> Provider:
    model = ModelInfo(id="m", match=ClauseEquals("m"), prices=list(prices))
    return Provider(id="p", name="P", api_pattern="", models=[model])


def test_a_price_keeps_its_id_when_a_later_one_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(2)))
    later = ConditionalPrice(StartDateConstraint(date(2026, 1, 1)), prices=ModelPrice(input_mtok=Decimal(1)))
    found = []
    for prices in ((first,), (first, later)):
        monkeypatch.setattr("schemas.price_book.DATA", [_provider(*prices)])
        found.append(compile_book(Supplement()).rows["price_id"].to_list())
    assert found[0] == found[1][:1] and found[1][1].startswith("p/m@2026-01-01#")


def test_prices_are_whole_yoctodollars() -> None:
    row = book().rows.filter(provider="openai", model="gpt-4o", context="").row(0, named=True)
    assert row[price_column("input_tokens")] == 2500 * YOCTO_PER_NANO
    assert row[price_column("cache_read_tokens")] == 1250 * YOCTO_PER_NANO
    assert book().rows.schema[price_column("input_tokens")] == pl.Int128


def test_a_price_finer_than_a_yoctodollar_is_refused() -> None:
    with pytest.raises(ValueError, match="yoctodollars"):
        list(bands({"input_mtok": Rate(Decimal("1E-19"))}))


def test_a_tier_without_a_price_for_input_is_refused() -> None:
    with pytest.raises(ValueError, match="tier"):
        list(bands({"output_mtok": Rate(Decimal(1), ((1000, Decimal(2)),))}))


def test_the_compiled_book_travels_to_another_process() -> None:
    copy = pickle.loads(pickle.dumps(book()))
    provider = copy.find_provider("openai")
    assert copy.rows.equals(book().rows) and copy.find_model(provider, "gpt-4o").id == "gpt-4o"


def _model(provider: str, model: str) -> ModelInfo:
    return next(m for p in providers if p.id == provider for m in p.models if m.id == model)


FRAGMENTS = sorted({part for p in providers for m in p.models for part in (m.id, m.id.split("/")[-1])})
TAILS = ["", "-20251211", "-2025-12-11", "-20251311", "-20250230", "@20250101", "-latest", ":free", "-v1:0", "X"]


@settings(max_examples=400, deadline=None)
@given(
    provider=st.sampled_from(providers),
    head=st.sampled_from(["", "us.", "openai/", "FT:", "anthropic."]),
    name=st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=20)),
    tail=st.sampled_from(TAILS),
)
def test_a_name_leads_to_the_model_that_the_package_finds(provider, head: str, name: str, tail: str) -> None:  # type: ignore[no-untyped-def]
    theirs = provider.find_model(head + name + tail, all_providers=providers)
    ours = book().find_model(book().providers[provider.id], head + name + tail)
    assert (ours and ours.id) == (theirs and theirs.id)


@given(name=st.one_of(st.sampled_from([p.id for p in providers]), st.text(max_size=12)), dress=st.integers(0, 3))
def test_a_provider_name_leads_to_the_provider_that_the_package_finds(name: str, dress: int) -> None:
    name = [name, name.upper(), f" {name} ", f"my-{name}-host"][dress]
    theirs, ours = find_provider_by_id(providers, name), book().find_provider(name)
    assert (ours and ours.id) == (theirs and theirs.id)


def test_every_seller_in_the_rules_for_names_is_in_the_book() -> None:
    names = load_names()
    sellers = {*names.sellers.values(), *names.first_party, *names.gateways, *(f.seller for f in names.forms)}
    assert sellers <= book().providers.keys()


def test_every_rule_of_the_supplement_changes_a_price_and_names_its_source() -> None:
    rules = load_supplement()
    bare = compile_book(Supplement()).rows
    alone = [
        *((rule, Supplement(derived=(rule,))) for rule in rules.derived),
        *((rule, Supplement(backdated=(rule,))) for rule in rules.backdated),
        *((rule, Supplement(discounts=(rule,))) for rule in rules.discounts),
    ]
    for rule, supplement in alone:
        assert rule.source.startswith("https://")
        assert set(compile_book(supplement).rows["price_id"]) - set(bare["price_id"]), rule.name


def _priced_model(**fields: object) -> ModelInfo:
    prices = ModelPrice(input_mtok=Decimal(2), output_mtok=Decimal(8), web_searches_kcount=Decimal(10))
    return ModelInfo(id="m", match=ClauseEquals("m"), prices=prices, **fields)  # type: ignore[arg-type]


BATCH = ("processing", "batch")


def test_a_discount_starts_on_its_day_and_spares_what_is_not_tokens() -> None:
    rule = Discount("half", ("p",), ("m*",), date(2025, 1, 1), "https://x", BATCH, Decimal("0.5"))
    rules = Supplement(discounts=(rule,))
    model = _priced_model()
    assert contexts(model, rules, "p") == [frozenset(), frozenset([BATCH])]
    before, after = periods(model, frozenset([BATCH]), rules, "p")
    assert (before.start, after.start) == (None, date(2025, 1, 1))
    assert before.by_hours[0][2]["input_mtok"].base == 2
    assert {k: r.base for k, r in after.by_hours[0][2].items()} == {
        "input_mtok": 1, "output_mtok": 4, "web_searches_kcount": 10
    }  # fmt: skip
    assert contexts(model, rules, "other") == [frozenset()]


def test_a_backdated_price_holds_only_beside_the_standard_price_it_was_recorded_with() -> None:
    rule = Backdated("early", ("openai",), ("*",), date(2025, 1, 1), "https://x", ("service_tier", "flex"))
    found = periods(_model("openai", "o3"), frozenset([rule.context]), Supplement(backdated=(rule,)), "openai")
    prices = {period.start: period.by_hours[0][2]["input_mtok"].base for period in found}
    assert prices == {None: 10, date(2025, 6, 10): 1}  # flex came back to what the book first records, not before


def test_times_are_utc_nanoseconds() -> None:
    row = book().rows.filter(provider="openai", model="o3", context="").row(1, named=True)
    assert row["effective_from"] == int(datetime(2025, 6, 10, tzinfo=UTC).timestamp()) * 10**9
    hours = book().rows.filter(provider="deepseek", model="deepseek-chat")["hours_from"].to_list()
    assert hours == [0, 30 * 60 * 10**9, (16 * 60 + 30) * 60 * 10**9]
