"""Contracts over the price book: against a plain loop, cover for cover, organisation by organisation."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from itertools import combinations, product
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.price_book import YOCTO_PER_NANO, PriceBook, compile_book
from schemas.prices.compile import DAY_NS
from schemas.prices.contracts import LEAD_NS, Band, Contract, ContractError, Entry, record
from schemas.prices.index import read_context
from transforms.prices.contracts import find_listed, timeline, with_contracts
from transforms.prices.match import match
from transforms.prices.pricing import price

SCHEMA: dict[str, Any] = {
    "org": pl.String,
    "provider": pl.String,
    "request_model": pl.String,
    "response_model": pl.String,
    "start_ns": pl.Int64,
    "received_at": pl.Int64,
    "service_tier": pl.String,
    "batch": pl.Boolean,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
}
TOKEN = YOCTO_PER_NANO  # a price of one nano-dollar a token: a thousand dollars' thousandth a million
BATCH, TIER = "processing=batch", "service_tier=default"
Call = dict[str, Any]


@cache
def book() -> PriceBook:
    return compile_book()


def ns(day: int) -> int:
    """Midnight `day` days after 1 June 2025 (o3 became cheaper on the tenth)."""
    return (int(datetime(2025, 6, 1, tzinfo=UTC).timestamp()) + day * 86_400) * 10**9


def contract(
    first: int = 0,
    last: int | None = None,
    org: str = "acme",
    provider: str = "openai",
    model: str = "o3",
    context: str = "",
    prices: tuple[int, ...] = (5,),
) -> Contract:
    """prices: nano-dollars for an input token, one per band of 1,000 tokens; none for a withdrawal."""
    bands = tuple(
        Band(i * 1000 or None, (("input_tokens", p * TOKEN), ("output_tokens", 2 * p * TOKEN)))
        for i, p in enumerate(prices)
    )
    return Contract(org, provider, model, context, ns(first), None if last is None else ns(last), bands)


def entry(made: Contract, known: int = 0) -> Entry:
    (found,) = record([made], [], ns(known) - LEAD_NS, "agreed", "tester")
    return found


def call(
    org: str | None = "acme", provider: str | None = "openai", model: str = "o3", day: int = 0, **other: Any
) -> Call:
    blank = dict.fromkeys(SCHEMA) | {"input_tokens": 100, "output_tokens": 10, "received_at": ns(1000)}
    return blank | {"org": org, "provider": provider, "request_model": model, "start_ns": ns(day)} | other


def priced(by: PriceBook, *calls: Call) -> list[dict[str, Any]]:
    return price(pl.DataFrame(list(calls), schema=SCHEMA), by).to_dicts()


def cost(by: PriceBook, **fields: Any) -> int | None:
    return priced(by, call(**fields))[0]["cost_nano"]


# ---- the slow oracle

SOLD = [("openai", "o3"), ("google", "gemini-2.5-pro"), ("azure", "gpt-4o"), ("acme-host", "llama-x")]
DAYS = st.one_of(st.integers(0, 12), st.integers(33, 40))  # Gemini's batch price begins on day 36
CONTRACTS = st.builds(
    lambda sold, org, context, first, length, prices: contract(
        first, length and first + length, org, sold[0], sold[1], context, tuple(prices)
    ),
    st.sampled_from(SOLD),
    st.sampled_from(["", "acme", "globex"]),
    st.sampled_from(["", BATCH, TIER, f"{BATCH},{TIER}"]),
    DAYS,
    st.one_of(st.none(), st.integers(1, 8)),
    st.lists(st.integers(0, 90), max_size=3),
)
ENTRIES = st.lists(st.builds(entry, CONTRACTS, st.integers(0, 5)), max_size=12, unique_by=lambda e: e.entry_id)
CALLS = st.lists(
    st.builds(
        lambda sold, org, batch, tier, day, at, received, size: call(
            org,
            sold[0],
            sold[1],
            day,
            start_ns=ns(day) + at,
            batch=batch,
            service_tier=tier,
            input_tokens=size,
            received_at=received,
        ),
        st.sampled_from(SOLD),
        st.sampled_from(["acme", "globex", "other", "", None]),
        st.booleans(),
        st.sampled_from([None, "default", "auto"]),
        st.one_of(st.integers(-2, 22), st.integers(31, 42)),
        st.sampled_from([0, 1, DAY_NS - 1]),
        st.one_of(
            st.none(), st.just(0), st.builds(lambda day, more: ns(day) + more, st.integers(-1, 7), st.integers(-1, 1))
        ),
        st.sampled_from([0, 999, 1000, 1001, 2001, 300_000]),
    ),
    min_size=1,
    max_size=20,
)


@cache
def terms(provider: str, model: str, context: str, at: int) -> frozenset[tuple[Any, ...]]:
    """What the book charges in a context at a time, whatever the hour and the length; nothing where it lists none."""
    listed = find_listed(book(), provider, model)
    if listed is None:
        return frozenset()
    plan = listed.plan(read_context(context) if listed.provider == provider else frozenset())
    found = set()
    for row in book().rows.filter(plan=plan).to_dicts():
        if (row["effective_from"] or -(2**63)) <= at < (row["effective_to"] or 2**63):
            units = (row[name] for name in book().rows.columns if name.endswith("_price"))
            found.add((row["hours_from"], row["input_above"], row["input_up_to"], *units))
    return frozenset(found)


def expected(row: Call, entries: Iterable[Entry], default: str | None) -> str | None:
    """The price id by a plain loop; `default`: that of the book."""
    sold = (row["provider"], row["request_model"])
    pairs = [pair for asked, pair in ((row["batch"], BATCH), (row["service_tier"] == "default", TIER)) if asked]
    contexts = [",".join(sorted(chosen)) for size in (2, 1, 0) for chosen in combinations(sorted(pairs)[::-1], size)]
    here = terms(*sold, contexts[0], row["start_ns"])
    for org, context in product(dict.fromkeys((row["org"] or "", "")), contexts):
        best: Entry | None = None
        for candidate in entries:
            made = candidate.contract
            if (
                (made.org, made.provider, made.model, made.context) == (org, *sold, context)
                and made.effective_from <= row["start_ns"]
                and (made.effective_to is None or row["start_ns"] < made.effective_to)
                and (not row["received_at"] or candidate.known_from <= row["received_at"])
                and (best is None or candidate.order > best.order)
            ):
                best = candidate
        if best and best.contract.bands and terms(*sold, context, row["start_ns"]) == here:
            bands = best.contract.bands
            return best.price_id([b.above for b in bands if b.above is None or row["input_tokens"] > b.above][-1])
    return default


@settings(max_examples=50, deadline=None)
@given(ENTRIES, CALLS)
def test_any_contracts_give_any_call_the_price_that_a_plain_loop_picks(entries: list[Entry], calls: list[Call]):
    default = [row["price_id"] for row in priced(book(), *calls)]
    found = [row["price_id"] for row in priced(with_contracts(book(), entries), *calls)]
    assert found == [expected(row, entries, usual) for row, usual in zip(calls, default, strict=True)]


def test_the_plain_loop_notices_a_changed_contract():
    stated = entry(contract(0, 5))
    other = replace(stated, contract=contract(1, 5))
    default = priced(book(), call())[0]["price_id"]
    assert expected(call(), [stated], default) == stated.price_id(None)
    assert expected(call(), [other], default) == default


@settings(max_examples=50, deadline=None)
@given(ENTRIES)
def test_every_moment_length_and_knowledge_has_exactly_one_row_of_each_plan(entries: list[Entry]):
    composed = with_contracts(book(), entries)
    edges = sorted({ns(day) + d for day in range(-1, 22) for d in (-1, 0)} | {-(2**63), 2**63 - 1})
    known = [ns(day) + d for day in range(-1, 7) for d in (-1, 0)]
    for (org, seller, name), model in composed.contracts.items():
        for plan in model.plans.values():
            rows = composed.rows.filter(plan=plan)
            moments = pl.DataFrame({"at": edges}).join(pl.DataFrame({"known": known}), how="cross")
            moments = moments.join(pl.DataFrame({"size": [0, 1000, 1001, 2001, 200_001]}), how="cross").with_row_index()
            fits = moments.join(rows, how="cross").filter(
                pl.col("effective_from").is_null() | (pl.col("at") >= pl.col("effective_from")),
                pl.col("effective_to").is_null() | (pl.col("at") < pl.col("effective_to")),
                pl.col("input_above").is_null() | (pl.col("size") > pl.col("input_above")),
                pl.col("input_up_to").is_null() | (pl.col("size") <= pl.col("input_up_to")),
                pl.col("known_from").is_null() | (pl.col("known") >= pl.col("known_from")),
                pl.col("known_to").is_null() | (pl.col("known") < pl.col("known_to")),
            )
            assert fits["index"].is_unique().all(), (org, seller, name)
            if name != "llama-x":  # which only contracts list
                assert fits.height == moments.height, (org, seller, name)


@settings(max_examples=50, deadline=None)
@given(ENTRIES, CALLS)
def test_a_contract_of_one_organisation_never_prices_a_call_of_another(entries: list[Entry], calls: list[Call]):
    calls = [row for row in calls if row["org"] != "acme"]
    others = [one for one in entries if one.contract.org != "acme"]
    assert priced(with_contracts(book(), entries), *calls) == priced(with_contracts(book(), others), *calls)


# ---- what it means


def test_a_call_costs_what_the_contract_says_to_the_nano_dollar_and_names_it():
    stated = entry(contract())
    (row,) = priced(with_contracts(book(), [stated]), call())
    assert row == {
        "cost_nano": 100 * 5 + 10 * 10, "cost_status": "priced", "price_id": stated.price_id(None), "cost_flag": None
    }  # fmt: skip
    assert row["price_id"].startswith("acme:openai/o3@2025-06-01#")


def test_the_book_holds_before_and_after_a_contract():
    by = with_contracts(book(), [entry(contract(2, 12))])
    assert [cost(by, day=day) for day in (1, 2, 11, 12)] == [
        cost(book(), day=1), 600, 600, cost(book(), day=12)
    ]  # fmt: skip
    assert cost(book(), day=1) == 5 * cost(book(), day=12)  # type: ignore[operator]


def test_a_correction_that_became_known_later_wins_for_its_own_time_only():
    entries = [entry(contract(0, 10)), entry(contract(3, 6, prices=(7,)), known=1)]
    by = with_contracts(book(), entries)
    assert [cost(by, day=day) for day in (2, 3, 5, 6)] == [600, 840, 840, 600]
    assert [piece.entry for piece in timeline(entries)] == [entries[0], entries[1], entries[0]]


def test_what_was_received_before_a_correction_became_known_keeps_its_price():
    first, second = entry(contract()), entry(contract(prices=(7,)), known=3)
    by = with_contracts(book(), [first, second])
    found = [priced(by, call(received_at=at))[0]["price_id"] for at in (ns(3) - 1, ns(3), 0, None)]
    assert found == [first.price_id(None), *[second.price_id(None)] * 3]


def test_calls_without_organisation_or_time_of_receipt_are_priced_by_what_holds_for_everybody():
    by = with_contracts(book(), [entry(contract()), entry(contract(org="", prices=(9,)))])
    frame = pl.DataFrame([call()], schema=SCHEMA).drop("org", "received_at")
    assert price(frame, by)["cost_nano"].to_list() == [1080]


def test_an_own_contract_beats_the_one_for_everybody_even_if_that_is_known_later():
    by = with_contracts(book(), [entry(contract(0, 5)), entry(contract(org="", prices=(9,)), known=2)])
    assert [cost(by, org=org, day=day) for org, day in (("acme", 0), ("acme", 5), ("other", 0))] == [600, 1080, 1080]


def test_a_withdrawn_contract_leaves_what_lies_below_it():
    own, everybody = entry(contract()), entry(contract(org="", prices=(9,)))
    withdrawn = entry(contract(4, prices=()), known=1)
    by = with_contracts(book(), [own, everybody, withdrawn])
    assert [cost(by, day=day) for day in (3, 4)] == [600, 1080]


def test_a_contract_for_the_standard_price_leaves_the_batch_price_of_the_book():
    by = with_contracts(book(), [entry(contract(model="gpt-4o"))])
    assert cost(by, model="gpt-4o") == 600
    assert cost(by, model="gpt-4o", batch=True) == cost(book(), model="gpt-4o", batch=True) == 100 * 1250 + 10 * 5000


def test_a_contract_for_the_standard_price_holds_in_every_context_that_the_book_prices_alike():
    by = with_contracts(book(), [entry(contract(model="gpt-4o"))])
    assert cost(by, model="gpt-4o", service_tier="default") == 600
    own = entry(contract(model="gpt-4o", context=TIER, prices=(7,)), known=-1)
    by = with_contracts(book(), [entry(contract(model="gpt-4o")), own])
    assert [cost(by, model="gpt-4o", service_tier=tier) for tier in ("default", None, "auto")] == [840, 600, 600]


def test_a_contract_for_the_standard_price_ends_where_the_book_prices_a_context_apart():
    by = with_contracts(book(), [entry(contract(provider="google", model="gemini-2.5-pro"))])
    asked = {"provider": "google", "model": "gemini-2.5-pro", "batch": True}
    assert cost(by, day=35, **asked) == 600  # the batch price begins on the seventh of July
    assert cost(by, day=36, **asked) == cost(book(), day=36, **asked) != 600


def test_a_contract_for_a_context_that_the_book_does_not_know_holds_in_that_context_only():
    by = with_contracts(book(), [entry(contract(provider="azure", model="gpt-4o", context=BATCH))])
    assert cost(by, provider="azure", model="gpt-4o", batch=True) == 600
    assert cost(by, provider="azure", model="gpt-4o") == cost(book(), provider="azure", model="gpt-4o")
    assert cost(by, model="gpt-4o", batch=True) == 100 * 1250 + 10 * 5000


def test_a_contract_covers_every_name_of_the_model():
    by = with_contracts(book(), [entry(contract(model="gpt-4o"))])
    names = ["gpt-4o", "GPT-4o", "gpt-4o-2024-08-06", "openai/gpt-4o"]
    assert [cost(by, model=name) for name in names] == [600] * 4
    assert cost(by, model="gpt-4o", response_model="gpt-4o-mini") == cost(book(), model="gpt-4o-mini")


@pytest.mark.parametrize(
    ("provider", "model", "sold_by", "listed_as", "other"),
    [
        ("vllm", "Llama-X", "vllm", "llama-x", {}),
        ("azure.ai.openai", "my-deployment", "azure", "my-deployment", {"response_model": "gpt-4o-2024-08-06"}),
        ("azure.ai.openai", "my-deployment-2026-01-31", "azure", "my-deployment", {}),
        ("litellm", "azure/my-deployment", "azure", "my-deployment", {}),
        (None, "my-deployment", "azure", "my-deployment", {}),
        ("langchain", "llama-x", "vllm", "llama-x", {}),
        ("aws.bedrock", "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "aws",
         "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", {}),
    ],
)  # fmt: skip
def test_a_contract_prices_a_model_that_the_book_lacks(
    provider: str | None, model: str, sold_by: str, listed_as: str, other: Call
):
    by = with_contracts(book(), [entry(contract(provider=sold_by, model=listed_as))])
    assert cost(by, provider=provider, model=model, **other) == 600
    assert cost(by, org="other", provider=provider, model=model, **other) == cost(
        book(), org="other", provider=provider, model=model, **other
    )


def test_before_its_contract_a_deployment_costs_what_its_response_model_costs():
    by = with_contracts(book(), [entry(contract(5, 9, provider="azure", model="my-deployment"))])
    calls = [call(provider="azure", model="my-deployment", response_model="gpt-4o", day=day) for day in (4, 5, 9)]
    assert [row["cost_nano"] for row in priced(by, *calls)] == [350_000, 600, 350_000]
    unknown = call(provider="azure", model="my-deployment", day=4)
    assert priced(by, unknown)[0]["cost_flag"] == "model_not_in_book"


def test_a_name_without_a_provider_that_two_sellers_have_contracts_for_is_not_guessed():
    made = [entry(contract(provider=seller, model="llama-x")) for seller in ("vllm", "azure")]
    assert cost(with_contracts(book(), made), provider=None, model="llama-x") is None


def test_a_provider_that_only_contracts_know_changes_no_other_reading():
    by = with_contracts(book(), [entry(contract(provider="vllm", model="llama-x"))])
    assert match("openai", "vllm/openai/gpt-4o", None, by) == match("openai", "vllm/openai/gpt-4o", None, book())
    assert cost(by, provider="vllm", model="gpt-4o") is None


def test_without_contracts_the_book_is_as_it_was():
    same = with_contracts(book(), [])
    assert same.rows.equals(book().rows) and not same.contracts


def test_entries_in_any_order_give_the_same_book():
    entries = [entry(contract()), entry(contract(3, 6, prices=(7,)), known=1), entry(contract(org="", prices=(9,)))]
    one, other = with_contracts(book(), entries), with_contracts(book(), entries[::-1])
    assert one.rows.equals(other.rows) and one.contracts == other.contracts


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (contract(5, 5), "ends before it begins"),
        (contract(5, 4), "ends before it begins"),
        (contract(prices=(-1,)), "negative"),
        (contract(prices=(10**9,)), "too high"),
        (replace(contract(), bands=(Band(None, ()),)), "no price"),
        (replace(contract(), bands=(Band(10, (("input_tokens", 1),)),)), "first band"),
        (replace(contract(prices=(1, 2)), bands=contract(prices=(1, 2)).bands * 2), "one of its own"),
    ],
)
def test_a_contract_that_cannot_hold_is_refused(made: Contract, reason: str):
    with pytest.raises(ContractError, match=reason):
        with_contracts(book(), [entry(made)])


# ---- recording


def test_recording_the_same_contract_again_records_nothing():
    (first,) = record([contract()], [], 0, "agreed", "tester")
    assert record([contract()], [first], 10, "another reason", "another") == []
    assert record([contract()], [], 99, "agreed", "tester")[0].entry_id == first.entry_id


def test_a_corrected_contract_can_be_put_back_in_force():
    known: list[Entry] = []
    for prices in ((5,), (7,), (5,)):
        known += record([contract(prices=prices)], known, 0, "agreed", "tester")
    assert len({one.entry_id for one in known}) == 3
    assert [one.order for one in known] == sorted(one.order for one in known)
    assert cost(with_contracts(book(), known)) == 600
    assert record([contract()], known, 0, "agreed", "tester") == []


def test_a_file_of_periods_recorded_again_records_nothing():
    periods = [contract(0, 5), contract(5, prices=(7,)), contract(0, 5, context=BATCH)]
    known = record(periods, [], 0, "agreed", "tester")
    assert len(known) == 3 and record(periods, known, 1, "agreed", "tester") == []


def test_an_entry_is_known_only_after_every_reader_can_have_it_and_after_those_before_it():
    (first,) = record([contract()], [], ns(0), "agreed", "tester")
    assert first.known_from == ns(0) + LEAD_NS
    (second,) = record([contract(prices=(7,))], [first], 0, "a clock that is behind", "tester")
    assert second.known_from == first.known_from + 1
