import json
import random
from collections import Counter
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from schemas.arrow import DEAD_LETTERS, MESSAGES, REQUESTS, SKELETONS, SPAN_LOGS, SPANS
from schemas.limits import LIMITS
from schemas.price_book import PriceBook, compile_book
from tests.transforms.records import CAPTURES, captures, raw, request, span, with_bad_name
from transforms import observe as module
from transforms.observe import Observed, observe
from transforms.otlp.decode import decode

SCHEMAS = {
    "spans": SPANS,
    "messages": MESSAGES,
    "span_logs": SPAN_LOGS,
    "requests": REQUESTS,
    "dead_letters": DEAD_LETTERS,
}
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.input.messages": json.dumps(
        [{"role": "user", "parts": [{"type": "text", "content": "mail bob@example.com"}]}]
    ),
}


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return compile_book()


@pytest.fixture(scope="module")
def everything(book: PriceBook) -> Observed:
    return observe(all_captures(), book, LIMITS, "1.2.3")


def all_captures() -> pa.Table:
    parts = [raw([path.read_bytes() for path in captures(signal)], signal) for signal in ("traces", "logs")]
    return pa.concat_tables(parts)


def rows_of(observed: Observed, table: str = "spans") -> list[dict[str, Any]]:
    return observed.tables[table].to_pylist()


def test_every_table_has_its_schema(everything: Observed):
    assert {name: table.schema for name, table in everything.tables.items()} == SCHEMAS
    assert everything.skeletons.schema == SKELETONS


def test_all_spans_of_all_captures_are_rows_with_exact_ids_names_and_times(everything: Observed):
    expected = []
    for path in captures():
        for group in ExportTraceServiceRequest.FromString(path.read_bytes()).resource_spans:
            for scope in group.scope_spans:
                for item in scope.spans:
                    expected.append(
                        (
                            item.trace_id.hex(),
                            item.span_id.hex(),
                            item.parent_span_id.hex(),
                            item.name.encode()[: LIMITS.name_bytes].decode(errors="ignore"),
                            item.start_time_unix_nano,
                            item.end_time_unix_nano - item.start_time_unix_nano,
                        )
                    )
    table = everything.tables["spans"].select(
        ["trace_id", "span_id", "parent_span_id", "name", "start_time", "duration_ns"]
    )
    table = table.set_column(4, "start_time", table["start_time"].cast(pa.int64()))
    assert [tuple(row.values()) for row in table.to_pylist()] == expected
    assert everything.tables["dead_letters"].to_pylist() == []
    skeletons = everything.skeletons.select(["trace_id", "span_id", "start_time", "version"]).to_pylist()
    versions = everything.tables["spans"]["version"].to_pylist()
    assert [tuple(row.values()) for row in skeletons] == [
        (row[0], row[1], row[4], version) for row, version in zip(expected, versions, strict=True)
    ]


def test_received_equals_written_plus_dead_lettered_for_every_capture(everything: Observed):
    rows = rows_of(everything, "requests")
    assert len(rows) == len(captures()) + len(captures("logs"))
    assert all(row["received"] == row["written"] + row["dead_lettered"] > 0 for row in rows)
    written = Counter()
    for row in rows:
        written[row["signal"]] += row["written"]
    assert written["traces"] == everything.tables["spans"].num_rows


def test_the_calls_that_the_captures_expect_have_their_tokens(everything: Observed):
    expected = json.loads((CAPTURES / "EXPECTED.json").read_text())["captures"]
    calls = [call for capture in expected.values() for call in capture["llm_spans"]]
    kinds = {(row["span_id"]): row for row in rows_of(everything)}
    assert calls and all(kinds[call["span_id"]]["kind"] in ("llm", "embedding") for call in calls)


def test_every_message_hash_of_a_span_has_its_body(everything: Observed):
    hashes = {digest for row in rows_of(everything) for digest in row["input_hashes"] + row["output_hashes"]}
    assert hashes and hashes <= {row["hash"] for row in rows_of(everything, "messages")}


@pytest.mark.parametrize("seed", range(4))
def test_the_rows_do_not_depend_on_order_or_batches(seed: int, book: PriceBook, everything: Observed):
    records = all_captures()
    chance = random.Random(seed)
    order = chance.sample(range(records.num_rows), records.num_rows)
    edges = sorted(chance.sample(range(1, records.num_rows), seed))
    parts = [
        observe(records.take(pa.array(order[start:stop])), book, LIMITS, "1.2.3")
        for start, stop in zip([0, *edges], [*edges, len(order)], strict=True)
    ]
    for name in ("spans", "span_logs", "requests", "messages"):
        found = {repr(row) for part in parts for row in rows_of(part, name)}
        assert found == {repr(row) for row in rows_of(everything, name)}


def test_a_record_of_an_unknown_signal_is_a_dead_letter(book: PriceBook):
    records = pa.concat_tables([raw([request(span(1))]), raw([b"metrics"], "metrics")])
    observed = observe(records, book, LIMITS, "")
    [letter] = rows_of(observed, "dead_letters")
    assert (letter["error"], letter["raw"], letter["position"]) == ("UnknownSignal", b"metrics", -1)
    assert [row["dead_lettered"] for row in rows_of(observed, "requests")] == [0, 1]


@pytest.mark.parametrize("step", ["normalise", "messages", "price"])
def test_a_span_on_which_a_step_always_throws_is_a_dead_letter_and_all_others_are_kept(
    step: str, book: PriceBook, monkeypatch: pytest.MonkeyPatch
):
    whole = getattr(module, step)

    def planted(*arguments):
        frame = arguments[0] if isinstance(arguments[0], pl.DataFrame) else arguments[0].spans
        column = frame["request_model"] if step == "price" else frame["name"]
        if column.str.contains("poison").any():
            raise ZeroDivisionError("planted")
        return whole(*arguments)

    monkeypatch.setattr(module, step, planted)
    poison = span(3, name="poison", attributes=CALL | {"gen_ai.request.model": "poison"})
    bad_name = with_bad_name(request(span(6), span(7, name="broken"), poison, span(8)), "broken")
    bodies = [request(span(1)), request(span(2), poison, span(4)), request(span(5)), request(poison), bad_name]
    observed = observe(raw(bodies), book, LIMITS, "9.9")
    letters = rows_of(observed, "dead_letters")
    found = {(row["offset"], row["position"], row["step"], row["error"], row["code_version"]) for row in letters}
    assert found == {
        (1, 1, step, "ZeroDivisionError", "9.9"),
        (3, 0, step, "ZeroDivisionError", "9.9"),
        (4, 1, "decode", "DecodeError", "9.9"),
        (4, 2, step, "ZeroDivisionError", "9.9"),
    }
    assert sorted(row["name"] for row in rows_of(observed)) == [f"span {number}" for number in (1, 2, 4, 5, 6, 8)]
    assert observed.skeletons.num_rows == 6
    counts = {
        row["offset"]: (row["received"], row["written"], row["dead_lettered"]) for row in rows_of(observed, "requests")
    }
    assert counts == {0: (1, 1, 0), 1: (3, 2, 1), 2: (1, 1, 0), 3: (1, 0, 1), 4: (4, 2, 2)}
    replayed = [row["raw"] for row in letters if row["step"] == step]
    assert {decode(raw([one]), LIMITS).spans["name"].to_list()[0] for one in replayed} == {"poison"}


def test_a_log_record_on_which_the_step_throws_is_a_dead_letter(book: PriceBook, monkeypatch: pytest.MonkeyPatch):
    whole = module.span_logs

    def planted(decoded, limits):
        if (decoded.records["event"] == "gen_ai.choice").any():
            raise ZeroDivisionError("planted")
        return whole(decoded, limits)

    events = Counter()
    bodies = [path.read_bytes() for path in captures("logs")]
    for body in bodies:
        for group in ExportLogsServiceRequest.FromString(body).resource_logs:
            events.update(record.event_name for scope in group.scope_logs for record in scope.log_records)
    poison = events.pop("gen_ai.choice")
    monkeypatch.setattr(module, "span_logs", planted)
    observed = observe(raw(bodies, "logs"), book, LIMITS, "")
    assert poison and Counter(row["event"] for row in rows_of(observed, "span_logs")) == events
    assert [row["step"] for row in rows_of(observed, "dead_letters")] == ["logs"] * poison


def test_a_lack_of_memory_is_not_taken_for_bad_data(book: PriceBook, monkeypatch: pytest.MonkeyPatch):
    def exhausted(*arguments):
        raise MemoryError

    monkeypatch.setattr(module, "normalise", exhausted)
    with pytest.raises(MemoryError):
        observe(raw([request(span(1))]), book, LIMITS, "")


def test_no_records_give_empty_tables(book: PriceBook):
    observed = observe(raw([]), book, LIMITS, "")
    assert {name: (table.schema, table.num_rows) for name, table in observed.tables.items()} == {
        name: (schema, 0) for name, schema in SCHEMAS.items()
    }
