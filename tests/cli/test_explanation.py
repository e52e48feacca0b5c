from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

from rich.console import Console

from cli.explanation import call, no_call

ENTRY = {
    "org": "acme",
    "call_id": "c" * 32,
    "entry": "charge",
    "trace_id": "a" * 32,
    "span_id": "b" * 16,
    "span_name": "messages.create",
    "dialect": "ai_sdk",
    "scope": "ai",
    "sent": {"ai.operationId": "x.doGenerate", "ai.usage.inputTokens": "100"},
    "read_from": {"input_tokens": "ai.usage.inputTokens", "cache_read_tokens": "ai.response.providerMetadata:usage"},
    "token_source": "reported",
    "token_flags": ["input_was_exclusive"],
    "flags": [],
    "input_tokens": 1_600,
    "output_tokens": None,
    "cache_read_tokens": 1_500,
    "cost_status": "priced",
    "cost_nano": 750_000,
    "client_cost_nano": None,
    "price_id": "anthropic/claude@1",
    "price_context": "service_tier=flex",
    "price_reason": "agreed in May",
    "price_source": "contract",
    "price_input_above": 200_000,
    "price_effective_from": datetime(2026, 5, 1, tzinfo=UTC),
    "price_effective_to": None,
    "parts": [
        {"unit": "input", "count": 100, "dollars_per_million": Decimal("3.000"), "nano_dollars": Decimal("300000.0")},
        {"unit": "cache_read", "count": 1_500, "dollars_per_million": Decimal("0.3"), "nano_dollars": Decimal(450000)},
    ],
    "parts_nano": Decimal("750000.000"),
    "reason": "",
}
REVERSAL = ENTRY | {
    "entry": "reversal", "input_tokens": -1_600, "cost_nano": -750_000, "reason": "roll-up of its descendants",
}  # fmt: skip


def printed(part) -> str:
    out = StringIO()
    Console(width=200, file=out).print(part)
    return out.getvalue()


def test_a_call_tells_what_was_read_where_the_rules_the_price_each_multiplication_and_every_entry():
    text = printed(call([ENTRY, REVERSAL]))
    for told in (
        "call cccccccccccccccccccccccccccccccc of acme",
        "Vercel AI SDK v4 to v6 (ai_sdk), by scope ai, attribute ai.operationId",
        "input_was_exclusive: the input was sent without the cached tokens: they were added",
        "anthropic/claude@1 (service_tier=flex), from 2026-05-01 00:00:00+00:00 on, for inputs above 200,000 tokens,"
        " from contract, because agreed in May",
        "750,000 nano-dollars = $0.00075",
        "roll-up of its descendants",
    ):
        assert told in text
    lines = [line.split() for line in text.splitlines()]
    assert ["input_tokens", "1,600", "ai.usage.inputTokens", "100"] in lines
    assert ["cache_read", "1,500", "0.3", "450,000"] in lines
    assert ["sum", "750,000"] in lines
    assert ["sum", "0", "0", "$0.00"] in lines


def test_a_value_that_was_in_the_content_says_so_and_a_long_one_is_cut():
    long = ENTRY | {"sent": {"ai.usage.inputTokens": "9" * 500}}
    text = printed(call([long]))
    assert "stored apart: see the view messages" in text
    assert "9" * 80 in text
    assert "… (500 characters)" in text


def test_a_call_without_a_price_says_why_it_has_no_cost():
    unpriced = ENTRY | {"cost_status": "unpriced", "cost_nano": None, "flags": ["model_not_in_book"], "parts": []}
    text = printed(call([unpriced]))
    assert "cost        none: unpriced" in text
    assert "model_not_in_book: unpriced: the price book does not list the model" in text


def test_a_span_that_is_no_call_says_what_it_is_and_by_what():
    span = ENTRY | {"kind": "agent", "read_from": {"kind": "ai.operationId"}, "attributes": {}}
    assert "bills nothing: it is no call" in printed(no_call(span))
    assert "kind        agent, read from ai.operationId" in printed(no_call(span))
