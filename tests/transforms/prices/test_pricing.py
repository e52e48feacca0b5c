"""price() against its oracle, genai_prices.calc_price, over the whole book; and what lies outside the oracle."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, localcontext
from functools import cache
from typing import Any

import polars as pl
import pytest
from genai_prices import Usage, calc_price, types
from genai_prices.data import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.price_book import YOCTO_PER_NANO, PriceBook, compile_book, price_column
from schemas.prices import Supplement
from transforms.prices.pricing import limit, price

COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_write_1h_tokens": "cache_write_1h_tokens",
    "reasoning_tokens": "output_reasoning_tokens",
    "audio_input_tokens": "input_audio_tokens",
    "audio_output_tokens": "output_audio_tokens",
    "cache_audio_read_tokens": "cache_audio_read_tokens",
    "input_image_tokens": "input_image_tokens",
    "web_searches": "web_searches",
}
SCHEMA: dict[str, Any] = {
    "provider": pl.String,
    "request_model": pl.String,
    "response_model": pl.String,
    "operation": pl.String,
    "start_ns": pl.Int64,
    "service_tier": pl.String,
    "batch": pl.Boolean,
    "speed": pl.String,
    **dict.fromkeys(COUNTS, pl.Int64),
}
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
Call = dict[str, Any]


@cache
def book() -> PriceBook:
    return compile_book()


@cache
def bare_book() -> PriceBook:
    return compile_book(Supplement())


def call(provider: str | None, model: str | None, at: datetime = NOW, **fields: Any) -> Call:
    return {
        **dict.fromkeys(SCHEMA),
        "provider": provider,
        "request_model": model,
        "operation": "chat",
        "start_ns": _ns(at),
        **fields,
    }


def priced(*calls: Call, by: PriceBook | None = None) -> list[dict[str, Any]]:
    return price(pl.DataFrame(list(calls), schema=SCHEMA), by or book()).to_dicts()


def cost(provider: str | None, model: str | None, at: datetime = NOW, **fields: Any) -> int | None:
    return priced(call(provider, model, at, **fields))[0]["cost_nano"]


def _ns(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


def _context(row: Mapping[str, Any]) -> dict[str, str]:
    context = {key: row[key] for key in ("service_tier", "speed") if row[key]}
    return context | ({"processing": "batch"} if row["batch"] else {})


def oracle(row: Call, precision: int = 28) -> int | None | str:
    """calc_price in nano-dollars; None if the name is not in the book, 'refused' if it refuses the counts."""
    counts = {unit: row[column] for column, unit in COUNTS.items() if row[column] is not None}
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=row["start_ns"] // 1000)
    with localcontext(prec=precision):
        try:
            found = calc_price(
                Usage(**counts),
                row["request_model"],
                provider_id=row["provider"],
                genai_request_timestamp=at,
                price_context=_context(row),
            )
        except LookupError:
            return None
        except ValueError:
            return "refused"
    with localcontext(prec=100):
        return int((found.total_price * 10**9).to_integral_value(ROUND_HALF_EVEN))


def names_of(model: types.ModelInfo) -> Iterator[str]:
    """Names that the model's own matcher takes."""
    pending = [model.match]
    yield model.id
    while pending:
        clause = pending.pop(0)
        if isinstance(clause, types.ClauseOr):
            pending += clause.or_
        elif isinstance(clause, types.ClauseAnd):
            pending += clause.and_
        else:
            yield str(next(iter(vars(clause).values())))


def reachable() -> list[tuple[types.Provider, types.ModelInfo, str]]:
    """Every model of the book under a name by which the package itself finds it."""
    found = []
    for provider in providers:
        for model in provider.models:
            name = next((n for n in names_of(model) if provider.find_model(n, all_providers=providers) is model), None)
            if name is not None:
                found.append((provider, model, name))
    return found


def moments(model: types.ModelInfo) -> list[datetime]:
    """Around each start date and each edge of the hours; long ago and now."""
    conditions = [] if isinstance(model.prices, types.ModelPrice) else [c.constraint for c in model.prices]
    conditions += [variant.constraint for variant in model.price_variants or ()]
    found = {NOW, datetime(2024, 2, 29, 23, 59, tzinfo=UTC)}
    for condition in conditions:
        if isinstance(condition, types.StartDateConstraint):
            midnight = datetime.combine(condition.start_date, datetime.min.time(), UTC)
            found |= {midnight - timedelta(microseconds=1), midnight}
        elif isinstance(condition, types.TimeOfDateConstraint):
            for edge in (condition.start_time, condition.end_time):
                at = datetime.combine(date(2026, 9, 30), edge).astimezone(UTC)
                found |= {at - timedelta(microseconds=1), at}
    return sorted(found)


def usages(model: types.ModelInfo) -> list[dict[str, int]]:
    whole = {"input_tokens": 12_345, "output_tokens": 678, "cache_read_tokens": 1_000, "cache_write_tokens": 333}
    grid = [
        {"input_tokens": 1, "output_tokens": 1},
        {"input_tokens": 0, "output_tokens": 0},
        {"output_tokens": 77},
        whole | {"cache_write_1h_tokens": 111, "reasoning_tokens": 55, "web_searches": 3},
        {"input_tokens": 10_007, "audio_input_tokens": 501, "output_tokens": 303, "audio_output_tokens": 99},
        {"input_tokens": 9, "cache_read_tokens": 11, "output_tokens": 1},
    ]
    for start in {start for prices in _all_prices(model) for start in _thresholds(prices)}:
        grid += [whole | {"input_tokens": start}, whole | {"input_tokens": start + 1}]
    return grid


def _all_prices(model: types.ModelInfo) -> list[types.ModelPrice]:
    standard = [model.prices] if isinstance(model.prices, types.ModelPrice) else [c.prices for c in model.prices]
    return standard + [variant.prices for variant in model.price_variants or ()]


def _thresholds(prices: types.ModelPrice) -> list[int]:
    return [t.start for v in vars(prices).values() if isinstance(v, types.TieredPrices) for t in v.tiers]


def contexts(model: types.ModelInfo) -> list[Call]:
    found: list[Call] = [{}, {"service_tier": "auto"}]
    for variant in model.price_variants or ():
        fields = {"batch": True} if variant.when == {"processing": "batch"} else dict(variant.when)
        if fields.keys() <= SCHEMA.keys() and fields not in found:
            found.append(fields)
    return found


def grid() -> list[Call]:
    return [
        call(provider.id, name, at, **usage, **context)
        for provider, model, name in reachable()
        for at in moments(model)
        for context in (contexts(model) if model.price_variants else [{}])
        for usage in usages(model)
    ]


def agrees(row: Call, got: Mapping[str, Any], expected: int | None | str) -> bool:
    if expected is None:
        return got["cost_flag"] == "model_not_in_book" and got["cost_nano"] is None
    if expected == "refused":
        return got["cost_flag"] == "counts_contradict" and got["cost_nano"] is None
    if got["cost_flag"] == "unit_not_counted":  # told apart from a cost of nothing, which is what the oracle says
        return expected == 0 and got["cost_nano"] is None
    return got["cost_status"] == "priced" and got["cost_nano"] == expected and bool(got["price_id"])


def test_every_model_of_the_book_costs_what_calc_price_says() -> None:
    calls = grid()
    found = priced(*calls, by=bare_book())
    wrong = [(c, f, o) for c, f in zip(calls, found, strict=True) if not agrees(c, f, o := oracle(c))]
    print(f"{len(calls)} calls of {len(reachable())} models compared")
    assert not wrong, wrong[:3]


def test_no_model_of_the_book_is_left_out() -> None:
    assert len(reachable()) == sum(len(provider.models) for provider in providers)


COUNT = st.one_of(st.none(), st.integers(0, 500), st.integers(0, 2**53))


@settings(max_examples=300, deadline=None)
@given(
    target=st.sampled_from([(provider.id, name) for provider, _, name in reachable()]),
    counts=st.fixed_dictionaries(dict.fromkeys(COUNTS, COUNT)),
    whole=st.booleans(),
    seconds=st.integers(1_600_000_000, 1_900_000_000),
    tier=st.sampled_from([None, "", "default", "flex", "priority", "auto"]),
    batch=st.booleans(),
)
def test_any_usage_of_any_model_costs_what_calc_price_says(
    target: tuple[str, str],
    counts: dict[str, int | None],
    whole: bool,
    seconds: int,
    tier: str | None,
    batch: bool,
) -> None:
    if whole:  # make the parts fit, so that more than refusals are compared
        counts = {unit: count and count % 1000 for unit, count in counts.items()}
        counts |= {
            "input_tokens": sum(filter(None, counts.values())),
            "output_tokens": 3000,
            "cache_write_1h_tokens": 0,
        }
    at = datetime.fromtimestamp(seconds, UTC)
    row = call(*target, at, service_tier=tier, batch=batch, **counts)
    got = priced(row, by=bare_book())[0]
    if all(count is None for count in counts.values()):
        assert got["cost_status"] == "no_usage" and got["cost_nano"] is None
    elif got["cost_flag"] == "count_out_of_range":
        assert any((row[column] or 0) > limit(unit) for column, unit in COUNTS.items())
    elif got["cost_flag"] == "cost_overflow":
        assert oracle(row, 100) > 2**63 - 1  # type: ignore[operator]
    else:
        assert agrees(row, got, oracle(row, 100)) and agrees(row, got, oracle(row))


def test_the_comparison_with_the_oracle_notices_one_changed_price() -> None:
    column = price_column("output_tokens")
    changed = PriceBook(
        bare_book().rows.with_columns(pl.col(column) + YOCTO_PER_NANO), bare_book().providers, bare_book().names
    )
    row = call("openai", "gpt-4o", input_tokens=10, output_tokens=1)
    assert agrees(row, priced(row, by=bare_book())[0], oracle(row))
    assert not agrees(row, priced(row, by=changed)[0], oracle(row))


@pytest.mark.parametrize(
    ("provider", "request_model", "response_model", "model"),
    [
        ("openai", "gpt-4o", "gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("openai.chat", "gpt-4o-mini", None, "openai/gpt-4o-mini"),
        ("openai.responses", "o4-mini", None, "openai/o4-mini"),
        ("OpenAI", "gpt-4o", None, "openai/gpt-4o"),
        ("anthropic.messages", "claude-sonnet-4-5", None, "anthropic/claude-sonnet-4-5"),
        ("azure.ai.openai", "my-deployment", "gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("az.ai.openai", "gpt-35-turbo", None, "openai/gpt-3.5-turbo"),
        ("azure.chat", "gpt-4o", None, "openai/gpt-4o"),
        ("azure-openai.chat", "o3-mini", None, "azure/o3-mini"),
        (
            "aws.bedrock",
            "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
            None,
            "aws/regional.anthropic.claude-3-5-sonnet",
        ),
        (
            "aws.bedrock",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0",
            None,
            "aws/regional.anthropic.claude-sonnet-4-20250514",
        ),
        ("", "arn:aws:bedrock:eu-west-1::foundation-model/meta.llama3-8b-instruct-v1:0", None, "aws/meta.llama3-8b"),
        (None, "global.anthropic.claude-opus-4-5-20251101-v1:0", None, "aws/global.anthropic.claude-opus-4-5"),
        ("bedrock", "bedrock/converse/us-east-1/us.amazon.nova-pro-v1:0", None, "aws/amazon.nova-pro"),
        ("aws", "eu.openai.gpt-5.4", None, "aws/openai.gpt-5.4"),
        ("litellm", "bedrock/converse/openai.gpt-5.4", None, "aws/openai.gpt-5.4"),
        ("gcp.vertex_ai", "publishers/google/models/gemini-2.5-pro", None, "google/gemini-2.5-pro"),
        ("", "projects/p/locations/l/publishers/google/models/gemini-2.5-flash", None, "google/gemini-2.5-flash"),
        ("gcp.gemini", "models/gemini-2.5-flash-lite", None, "google/gemini-2.5-flash-lite"),
        ("vertex_ai", "claude-3-5-sonnet@20240620", None, "google/claude-3-5-sonnet"),
        ("anthropic", "claude-sonnet-4-5@20250929", None, "anthropic/claude-sonnet-4-5"),
        ("openrouter", "openai/gpt-4o", None, "openrouter/openai/gpt-4o"),
        ("litellm", "openrouter/openai/gpt-4o", None, "openrouter/openai/gpt-4o"),
        ("openai", "anthropic/claude-sonnet-4-5", None, "anthropic/claude-sonnet-4-5"),
        ("google", "openai/gpt-4o", None, "openai/gpt-4o"),
        ("anthropic", "anthropic/claude-sonnet-4-5", None, "anthropic/claude-sonnet-4-5"),
        ("azure", "azure/gpt-4o", None, "openai/gpt-4o"),
        ("aws", "anthropic/claude-sonnet-4-5", None, None),
        ("litellm", "vertex_ai/gemini-2.5-pro", None, "google/gemini-2.5-pro"),
        ("pydantic-ai", "google-gla:gemini-2.5-pro", None, "google/gemini-2.5-pro"),
        ("langchain", "gpt-4o", None, "openai/gpt-4o"),
        ("strands-agents", "claude-haiku-4-5-20251001", None, "anthropic/claude-haiku-4-5"),
        ("", "text-embedding-3-small", None, "openai/text-embedding-3-small"),
        ("", "ft:gpt-4o-mini-2024-07-18:org::id", None, "openai/ft:gpt-4o-mini"),
        ("openai", "ft:gpt-4o-mini:org::id", None, "openai/ft:gpt-4o-mini"),
        ("openai", "gpt-4o-2031-01-31", None, "openai/gpt-4o"),
        ("anthropic", "claude-sonnet-4-6-20310131", None, "anthropic/claude-sonnet-4-6"),
        ("openai", "gpt-5.2-20251211", None, "openai/gpt-5.2"),
        ("openai", "gpt-4o", "model-nobody-knows", "openai/gpt-4o"),
        ("litellm", "openrouter/openrouter/openrouter/openrouter/openai/gpt-4o", None, None),
        ("groq", "groq/compound-nobody", None, None),
        ("openai", "ft:gpt-4.1-2025-04-14:org::id", None, None),
        ("openai", "claude-sonnet-4-5", None, None),
        ("openai", "mistralai/Mixtral-8x7B", None, None),
        ("openai", "openai/gpt-oss-20b", None, None),
        ("", "gemma-3-27b-it", None, None),
        ("litellm", "groq/openai/gpt-oss-20b", None, "groq/openai/gpt-oss-20b"),
        ("vllm", "gpt-4o", None, None),
        ("ibm.watsonx.ai", "openai/gpt-4o", None, None),
        ("together", "openai/gpt-4o", None, None),
        ("aws", "arn:aws:bedrock:us-east-1:1:application-inference-profile/abcdef", None, None),
        ("aws", "arn:aws:bedrock:us-east-1:1:provisioned-model/claude-3", None, None),
        ("google", "projects/p/locations/l/endpoints/123", None, None),
        ("openai", "my-gpt-4o-deployment", None, None),
        ("openai", "x" * 10_240, None, None),
        ("x" * 10_240, "gpt-4o", None, None),
        ("openai", "", "", None),
        ("openai", None, None, None),
        (None, None, None, None),
        (" ", "  ", "\n", None),
        ("openai", "gpt-4o\x00", None, None),
    ],
)
def test_names_seen_in_the_wild_lead_to_their_model_or_to_none(
    provider: str | None, request_model: str | None, response_model: str | None, model: str | None
) -> None:
    row = call(provider, request_model, response_model=response_model, input_tokens=1000, output_tokens=10)
    found = priced(row)[0]
    if model is None:
        assert found == {
            "cost_nano": None, "cost_status": "unpriced", "price_id": None, "cost_flag": "model_not_in_book"
        }  # fmt: skip
    else:
        assert found["cost_status"] == "priced" and found["cost_nano"] > 0
        assert found["price_id"].startswith(model)


def test_a_call_costs_what_its_response_model_costs() -> None:
    by_response = cost("openai", "gpt-4o", response_model="gpt-4o-mini-2024-07-18", input_tokens=1000)
    assert (
        by_response == cost("openai", "gpt-4o-mini", input_tokens=1000) != cost("openai", "gpt-4o", input_tokens=1000)
    )


def test_a_call_without_counts_has_no_usage_and_no_cost() -> None:
    nothing = {"cost_nano": None, "cost_status": "no_usage", "price_id": None, "cost_flag": None}
    assert priced(call("openai", "gpt-4o"), call("", "unknown")) == [nothing, nothing]


def test_a_model_that_the_book_lists_as_free_costs_nothing_and_is_priced() -> None:
    found = priced(call("google", "gemma-3-27b-it", input_tokens=1000, output_tokens=10))[0]
    assert (found["cost_nano"], found["cost_status"]) == (0, "priced")


def test_tokens_of_a_model_sold_by_the_hour_are_not_a_cost_of_zero() -> None:
    found = priced(call("openai", "whisper-1", input_tokens=1000))[0]
    assert (found["cost_nano"], found["cost_status"], found["cost_flag"]) == (None, "unpriced", "unit_not_counted")


@pytest.mark.parametrize(
    ("counts", "flag"),
    [
        ({"input_tokens": 10, "cache_read_tokens": 11}, "counts_contradict"),
        ({"output_tokens": 10, "cache_read_tokens": 11}, "counts_contradict"),
        ({"input_tokens": -1}, "count_out_of_range"),
        ({"input_tokens": 5, "reasoning_tokens": -1}, "count_out_of_range"),
        ({"input_tokens": 2**53 + 1}, "count_out_of_range"),
        ({"input_tokens": 2**63 - 1, "output_tokens": 2**63 - 1}, "count_out_of_range"),
        ({"input_tokens": 5, "web_searches": 2**40 + 1}, "count_out_of_range"),
        ({"input_tokens": 2**53, "output_tokens": 2**53}, "cost_overflow"),
    ],
)
def test_counts_that_cannot_be_billed_leave_the_call_unpriced_with_the_reason(counts: Call, flag: str) -> None:
    found = priced(call("openai", "gpt-4o", **counts))[0]
    assert found == {"cost_nano": None, "cost_status": "unpriced", "price_id": None, "cost_flag": flag}


def test_the_largest_counts_of_a_cheap_model_are_exact() -> None:
    assert cost("openai", "text-embedding-3-small", input_tokens=2**53) == 2**53 * 20


def test_no_sum_of_products_can_leave_128_bits() -> None:
    rows = book().rows
    highest = {unit: int(rows[price_column(unit)].max() or 0) for unit in book().units}  # type: ignore[arg-type]
    assert sum(price * limit(unit) for unit, price in highest.items()) < 2**127


@pytest.mark.parametrize(("tokens", "nano"), [(1, 38), (2, 75), (3, 112), (5, 188), (7, 262)])
def test_half_a_nano_dollar_is_rounded_to_even(tokens: int, nano: int) -> None:
    assert cost("google", "gemini-flash-1.5-8b", input_tokens=tokens) == nano  # 37.5 nano-dollars a token


def test_a_call_is_priced_by_its_own_time_and_hour() -> None:
    before, after = (datetime(2025, 6, day, tzinfo=UTC) for day in (9, 10))
    assert cost("openai", "o3", before, input_tokens=1000) == 10_000_000
    assert cost("openai", "o3", after, input_tokens=1000) == 2_000_000
    off_peak, peak = (datetime(2025, 6, 1, 0, minute, tzinfo=UTC) for minute in (29, 30))
    assert cost("deepseek", "deepseek-chat", off_peak, input_tokens=1000) == 135_000
    assert cost("deepseek", "deepseek-chat", peak, input_tokens=1000) == 270_000


def test_a_context_tier_applies_to_all_tokens_of_the_call() -> None:
    assert cost("google", "gemini-2.5-pro", input_tokens=200_000, output_tokens=10) == 250_100_000
    assert cost("google", "gemini-2.5-pro", input_tokens=200_001, output_tokens=10) == 500_152_500
    one, two = (priced(call("google", "gemini-2.5-pro", input_tokens=n))[0]["price_id"] for n in (200_000, 200_001))
    assert one != two


def test_one_hour_cache_writes_that_the_book_lacks_cost_twice_the_input() -> None:
    counts: Call = {"input_tokens": 1000, "cache_write_tokens": 600, "cache_write_1h_tokens": 400}
    model = "regional.anthropic.claude-opus-4-1-20250805"
    name = "us.anthropic.claude-opus-4-1-20250805-v1:0"
    found = priced(call("aws", name, **counts))[0]
    assert found["price_id"].startswith(f"aws/{model}")
    assert found["cost_nano"] == 400 * 15_000 + 200 * 18_750 + 400 * 30_000
    assert priced(call("aws", name, **counts), by=bare_book())[0]["cost_nano"] == 400 * 15_000 + 600 * 18_750


@pytest.mark.parametrize(
    ("provider", "model", "fields", "at", "nano"),
    [
        ("openai", "gpt-4o", {"batch": True}, date(2025, 3, 1), 1_250_000 + 5_000_000),
        ("openai", "gpt-4o", {"batch": True, "service_tier": "default"}, date(2025, 3, 1), 1_250_000 + 5_000_000),
        ("openai", "gpt-4o", {"service_tier": "batch"}, date(2025, 3, 1), 1_250_000 + 5_000_000),
        ("openai", "gpt-4o", {"batch": True}, date(2024, 4, 14), 2_500_000 + 10_000_000),
        ("openai", "o3", {"service_tier": "flex"}, date(2025, 9, 1), 1_000_000 + 4_000_000),
        ("openai", "o3", {"service_tier": "Flex"}, date(2026, 11, 1), 1_000_000 + 4_000_000),
        ("openai", "o3", {"service_tier": "flex"}, date(2025, 5, 1), 10_000_000 + 40_000_000),  # other standard price
        ("anthropic", "claude-3-haiku-20240307", {"batch": True}, date(2026, 1, 1), 125_000 + 625_000),
        ("anthropic", "claude-sonnet-4-5", {"batch": True}, date(2025, 12, 1), 1_500_000 + 7_500_000),
        ("anthropic", "claude-sonnet-4-5", {"batch": True}, date(2026, 11, 1), 1_500_000 + 7_500_000),
        ("openai", "text-embedding-3-small", {"batch": True, "output_tokens": 0}, date(2025, 1, 1), 10_000),
        ("google", "gemini-2.5-flash", {"batch": True}, date(2025, 8, 1), 150_000 + 1_250_000),
        ("azure", "gpt-4o", {"batch": True}, date(2026, 11, 1), 2_500_000 + 10_000_000),  # not OpenAI's batch price
    ],
)
def test_batch_and_flex_are_priced_from_the_day_they_were_sold(
    provider: str, model: str, fields: Call, at: date, nano: int
) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 1000} | fields
    assert cost(provider, model, datetime.combine(at, datetime.min.time(), UTC), **usage) == nano


def test_rows_keep_their_order_and_an_empty_batch_is_empty() -> None:
    calls = [call("openai", "gpt-4o", input_tokens=n) for n in range(50)] + [call("", "nobody", input_tokens=1)]
    assert [row["cost_nano"] for row in priced(*calls)] == [n * 2500 for n in range(50)] + [None]
    assert price(pl.DataFrame(schema=SCHEMA), book()).schema == {
        "cost_nano": pl.Int64, "cost_status": pl.String, "price_id": pl.String, "cost_flag": pl.String
    }  # fmt: skip


def test_only_the_contract_columns_are_needed() -> None:
    columns = [c for c in SCHEMA if c not in ("speed", "cache_audio_read_tokens", "input_image_tokens", "web_searches")]
    row = call("openai", "gpt-audio", input_tokens=100, audio_input_tokens=40, output_tokens=10)
    frame = pl.DataFrame([row], schema=SCHEMA).select(columns)
    assert price(frame, book())["cost_nano"].to_list() == [60 * 2500 + 40 * 32_000 + 10 * 10_000]


def test_cached_audio_without_its_split_is_refused_as_the_oracle_refuses_it() -> None:
    row = call("openai", "gpt-realtime", input_tokens=100, audio_input_tokens=40, cache_read_tokens=30)
    assert oracle(row) == "refused" and priced(row)[0]["cost_flag"] == "counts_contradict"
    split = row | {"cache_audio_read_tokens": 10}
    assert priced(split)[0]["cost_nano"] == oracle(split)
