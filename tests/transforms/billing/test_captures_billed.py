"""What the ledger says of the real captures, each sent by an organisation of its own."""

from collections import defaultdict
from functools import cache
from itertools import pairwise
from random import Random

import pyarrow as pa
import pytest

from schemas.arrow import RAW
from schemas.limits import LIMITS
from schemas.price_book import PriceBook, compile_book
from tests.transforms.folding import Chain, Row, Run
from tests.transforms.normalise.test_tokens import TOTALS, not_sent
from tests.transforms.records import CAPTURES, raw
from tests.transforms.skeletons import SECOND
from tests.transforms.spans import expected
from transforms.billing.fold import BillSettings, make_bill
from transforms.observe import observe
from transforms.otlp.wire import split
from transforms.traces.fold import AssembleSettings, make_assemble

# The calls that a wrapper and the provider's own SDK, or a framework and a client, report in traces of their own.
ACROSS_TRACES = {
    *(f"traceloop-anthropic/anthropic_{name}" for name in ("chat", "stream", "stream_helper", "tool_call")),
    *("traceloop-sdk/anthropic_chat", "traceloop-sdk/anthropic_stream"),
    *("openinference-langchain-plus-openai/agent", "openinference-langchain-plus-openai/chat"),
    "openinference-anthropic/anthropic_stream_helper",
}
# Streams that Traceloop reports with two output tokens too many.
OFF_BY_TWO = {name for name in ACROSS_TRACES if "traceloop" in name and "stream" in name}
# A generation written by hand: no call was made, so the truth has none.
NO_CALL = "langfuse/manual_generation"
BILLED = [name for name, entry in expected().items() if entry["traced_totals"] and name != NO_CALL]


@cache
def captured_skeletons() -> list[Row]:
    """The skeletons of all captures, each capture in an organisation of its own."""
    named = [(name, file) for name, entry in expected().items() for file in entry["files"] if ".logs." not in file]
    return skeletons_of([(name, (CAPTURES / file).read_bytes()) for name, file in named])


def skeletons_of(requests: list[tuple[str, bytes]]) -> list[Row]:
    """The skeletons of one batch of (organisation, request)."""
    records = raw([body for _, body in requests])
    at = RAW.get_field_index("org")
    records = records.set_column(at, RAW.field(at), pa.array([org for org, _ in requests], pa.string()))
    return observe(records, _book(), LIMITS, "test").skeletons.to_pylist()


@cache
def _book() -> PriceBook:
    return compile_book()


def new_chain() -> Chain:
    return Chain(Run(make_assemble(AssembleSettings())), Run(make_bill(BillSettings())))


@pytest.fixture(scope="module")
def skeletons() -> list[Row]:
    return captured_skeletons()


def ledger(rows: list[Row], seed: int) -> Chain:
    """The ledger after `rows` came in random order and in random groups, a second apart."""
    draw, rest = Random(seed), list(rows)
    draw.shuffle(rest)
    run = new_chain()
    while rest:
        size = draw.randint(1, 200)
        run.send(rest[:size], SECOND)
        rest = rest[size:]
    return run.drain()


@pytest.fixture(scope="module")
def sums(skeletons: list[Row]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in ledger(skeletons, 1).usage().values():
        for count in (*TOTALS, "cost_nano"):
            found[row["org"]][count] += row[count] or 0
    return found


@pytest.mark.parametrize("capture", BILLED)
def test_the_ledger_of_a_capture_sums_up_to_the_truth(capture: str, sums: dict[str, dict[str, int]]) -> None:
    truth = expected()[capture]["traced_totals"]
    wanted = {count: truth[total] for count, total in TOTALS.items() if count not in not_sent(capture)}
    assert {count: sums[capture][count] for count in wanted} == wanted


def test_only_calls_that_several_traces_saw_are_taken_back_by_the_fold_over_calls(skeletons: list[Row]) -> None:
    rows = ledger(skeletons, 1).calls.rows("usage")
    assert {row["org"] for row in rows if row["input_tokens"]} == ACROSS_TRACES


@pytest.mark.parametrize(
    "capture", sorted(name for name in ACROSS_TRACES if "traceloop" not in name or "stream" not in name)
)
@pytest.mark.parametrize("with_id", [set(), {"com.anthropic.sdk.python", "openinference.instrumentation.openai"}])
def test_layers_side_by_side_in_one_trace_are_matched_without_ids(
    capture: str, with_id: set[str], skeletons: list[Row]
) -> None:
    """As when the application opens a span around the calls."""
    spans = [row | {"trace_id": "ab" * 16} for row in skeletons if row["org"] == capture]
    rows = [row if row["scope"] in with_id else row | {"response_id": ""} for row in spans]
    total = sum(row["input_tokens"] or 0 for row in ledger(rows, 1).usage().values())
    assert total == expected()[capture]["traced_totals"]["input_tokens_total"]


def test_the_ledger_of_the_captures_does_not_depend_on_the_order(skeletons: list[Row]) -> None:
    assert ledger(skeletons, 2).usage() == ledger(skeletons, 3).usage()


@pytest.mark.parametrize("seed", [4, 5])
def test_the_ledger_does_not_depend_on_requests_repetition_or_a_crash(skeletons: list[Row], seed: int) -> None:
    """Each span in a request of its own, many twice, in any order and batches; what a lost attempt wrote stays."""
    draw = Random(seed)
    requests = [
        (name, one)
        for name, entry in expected().items()
        for file in entry["files"]
        if ".logs." not in file
        for one in split((CAPTURES / file).read_bytes())
    ]
    requests += draw.sample(requests, 40)
    draw.shuffle(requests)
    edges = [0, *sorted(draw.sample(range(1, len(requests)), 8)), len(requests)]
    batches = [skeletons_of(requests[start:stop]) for start, stop in pairwise(edges)]
    run = new_chain()
    checkpoint, crash = 3, 6
    for batch in batches[:checkpoint]:
        run.send(batch, SECOND)
    saved = run.saved()
    for batch in batches[checkpoint:crash]:
        run.send(batch, SECOND)
    run.restore(saved)
    run.traces.fold, run.calls.fold = new_chain().traces.fold, new_chain().calls.fold
    for batch in batches[checkpoint:]:
        run.send(batch, 3 * SECOND)
    assert run.drain().usage() == ledger(skeletons, 1).usage()
