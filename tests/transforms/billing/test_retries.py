"""Attempts of a call, from what libraries send to the ledger: each bills what its provider reported."""

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from schemas.limits import LIMITS
from schemas.price_book import PriceBook, compile_book
from tests.transforms.folding import Run
from tests.transforms.records import START, raw, request, span
from transforms.observe import observe
from transforms.traces.fold import AssembleSettings, make_assemble

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
USAGE = {"gen_ai.usage.input_tokens": 1_000, "gen_ai.usage.output_tokens": 100}
COST = 1_000 * 2_500 + 100 * 10_000
ROOT, FIRST, SECOND = 1, 2, 3


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return compile_book()


def attempt(
    number: int, more: dict[str, Any] | None = None, parent: int = ROOT, failed: bool = False, at_ms: int = 0
) -> Span:
    """A chat of 5 ms in one trace, with `more` attributes."""
    made = span(number, attributes=CHAT | (more or {}), trace_id=b"t" * 16, parent_span_id=parent.to_bytes(8, "big"))
    made.start_time_unix_nano = START + at_ms * 10**6
    made.end_time_unix_nano = made.start_time_unix_nano + 5 * 10**6
    if failed:
        made.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message="429 Too Many Requests"))
    return made


def billed(book: PriceBook, *spans: Span) -> dict[int, int]:
    """Nano-dollars of each span that has an entry in the ledger, by its number."""
    root = span(ROOT, trace_id=b"t" * 16)
    skeletons = observe(raw([request(root, *spans)]), book, LIMITS, "").skeletons
    run = Run(make_assemble(AssembleSettings())).send(skeletons.to_pylist()).drain()
    return {int(name, 16): cost for name, cost in run.usage_cost().items()}


def test_a_retry_within_one_span_is_one_call(book: PriceBook) -> None:
    assert billed(book, attempt(FIRST, USAGE | {"http.request.resend_count": 1})) == {FIRST: COST}


def test_a_failed_attempt_without_usage_has_no_entry_and_the_retry_bills(book: PriceBook) -> None:
    assert billed(book, attempt(FIRST, failed=True), attempt(SECOND, USAGE, at_ms=6)) == {SECOND: COST}


def test_a_failed_attempt_bills_what_its_provider_reported(book: PriceBook) -> None:
    spans = attempt(FIRST, USAGE, failed=True), attempt(SECOND, USAGE, at_ms=6)
    assert billed(book, *spans) == {FIRST: COST, SECOND: COST}


def test_a_failed_attempt_with_an_input_alone_bills_that(book: PriceBook) -> None:
    assert billed(book, attempt(FIRST, {"gen_ai.usage.input_tokens": 1_000}, failed=True)) == {FIRST: 2_500_000}


def test_what_a_failed_attempt_said_is_not_counted_from_its_text(book: PriceBook) -> None:
    said = '[{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]'
    asked = {"gen_ai.input.messages": said}
    assert billed(book, attempt(FIRST, asked, failed=True)) == {}
    assert billed(book, attempt(FIRST, asked)) != {}


def test_two_retries_of_equal_usage_at_other_times_are_two_calls_whatever_the_scope(book: PriceBook) -> None:
    spans = attempt(FIRST, USAGE), attempt(SECOND, USAGE, at_ms=6)
    assert billed(book, *spans) == {FIRST: COST, SECOND: COST}


def test_attempts_below_a_call_of_a_framework_bill_in_its_place(book: PriceBook) -> None:
    spans = attempt(FIRST, USAGE), attempt(SECOND, parent=FIRST, failed=True), attempt(4, USAGE, FIRST, at_ms=1)
    assert billed(book, *spans) == {FIRST: 0, 4: COST}
