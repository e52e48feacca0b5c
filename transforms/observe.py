"""The whole stateless path: raw records in, rows of every table and the skeletons for the folds out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import DEAD_LETTERS, MESSAGES, REQUESTS, SKELETONS, SPAN_LOGS, SPANS
from schemas.limits import Limits
from schemas.price_book import PriceBook
from transforms.columns import pc
from transforms.dead_letters import Refused, dead_letters
from transforms.isolate import isolate
from transforms.messages import messages
from transforms.messages.logs import span_logs
from transforms.messages.prompt_structure import with_structure
from transforms.normalise.count_text import TokenCache
from transforms.normalise.missing_tokens import fill_missing
from transforms.normalise.span_rows import span_rows
from transforms.normalise.spans import normalise
from transforms.otlp.decode import decode, decode_logs
from transforms.otlp.requests import request_rows
from transforms.otlp.signals import LOGS, TRACES
from transforms.otlp.wire import WireError, split
from transforms.prices.check import cost_differs
from transforms.prices.pricing import price

_TABLES = {
    "spans": SPANS,
    "messages": MESSAGES,
    "span_logs": SPAN_LOGS,
    "requests": REQUESTS,
    "dead_letters": DEAD_LETTERS,
}
_COST = pl.Schema({"cost_nano": pl.Int64, "cost_status": pl.String, "price_id": pl.String, "cost_flag": pl.String})


class StepError(Exception):
    """A step raised on a batch: the name of the step, and as `__cause__` what it raised."""

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step


@dataclass(frozen=True)
class Observed:
    """tables: rows by table name (spans, messages, span_logs, requests, dead_letters); skeletons: schema SKELETONS."""

    tables: dict[str, pa.Table]
    skeletons: pa.Table


def observe(
    raw: pa.Table, book: PriceBook, limits: Limits, code_version: str, tokens: TokenCache | None = None
) -> Observed:
    """Run every stateless step over the records of `raw` (schema RAW).

    A span on which a step raises, whatever it raises, goes to the dead letters with the name of the step and the class
    of the error: the batch is split by records and then by spans until the culprit stands alone, and all the rest is
    kept. Only a lack of memory passes through, as that says nothing about the data. `tokens` spares counting a message
    again that an earlier batch had.
    """
    cache = TokenCache(0) if tokens is None else tokens
    found = isolate(
        raw.num_rows, lambda start, stop: _observe(raw.slice(start, stop - start), book, limits, cache), (StepError,)
    )
    parts = found.results + [_by_items(raw.slice(row, 1), error, book, limits, cache) for row, error in found.bad]
    united = _unite(parts)
    letters = united.tables["dead_letters"]
    versions = pa.array([code_version] * letters.num_rows, pa.string())
    at = DEAD_LETTERS.get_field_index("code_version")
    return Observed(
        united.tables | {"dead_letters": letters.set_column(at, DEAD_LETTERS.field(at), versions)}, united.skeletons
    )


def _observe(raw: pa.Table, book: PriceBook, limits: Limits, tokens: TokenCache) -> Observed:
    decoded = _step("decode", decode, raw, limits)
    normalised = _step("normalise", normalise, decoded)
    said = _step("messages", messages, decoded, normalised, limits)
    normalised = _step("prompt", with_structure, normalised, said)
    normalised = _step("count", fill_missing, normalised, said, decoded, tokens)
    priced = _step("price", price_calls, decoded.spans, normalised, book)
    rows = _step("rows", span_rows, decoded, normalised, said, priced, limits)
    logs = _observe_logs(raw, limits)
    unknown_letters, unknown_requests = _unknown_signals(raw)
    return Observed(
        {
            "spans": rows.spans,
            "messages": pa.concat_tables([said.bodies, logs["messages"]]),
            "span_logs": logs["span_logs"],
            "requests": pa.concat_tables([decoded.requests, logs["requests"], unknown_requests]),
            "dead_letters": pa.concat_tables([decoded.bad, logs["dead_letters"], unknown_letters]),
        },
        rows.skeletons,
    )


def _observe_logs(raw: pa.Table, limits: Limits) -> dict[str, pa.Table]:
    """The tables of the log records in `raw`."""
    if not pc.any(pc.equal(raw["signal"], LOGS.name)).as_py():
        return {name: schema.empty_table() for name, schema in _TABLES.items()}
    logs = _step("decode", decode_logs, raw, limits)
    rows, bodies = _step("logs", span_logs, logs, limits)
    return {"span_logs": rows, "messages": bodies, "requests": logs.requests, "dead_letters": logs.bad}


def _step(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except MemoryError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        raise StepError(name) from error


def price_calls(spans: pl.DataFrame, normalised: pl.DataFrame, book: PriceBook) -> pl.DataFrame:
    """cost_nano, cost_status, price_id and cost_flag of every span; where it is no call the status is `none`.

    The flag is that of `price`, or cost_mismatch.
    """
    calls = normalised["is_call"].arg_true()
    asked = normalised.with_columns(spans["org"], spans["received_at"], spans["start_ns"])[calls]
    priced = price(asked, book).select(_COST.names())
    differs = cost_differs(asked.hstack(priced), book)
    priced = priced.with_columns(cost_flag=pl.when(differs).then(pl.lit("cost_mismatch")).otherwise("cost_flag"))
    row = np.full(spans.height, len(calls))
    row[calls.to_numpy()] = np.arange(len(calls))
    nothing = pl.DataFrame({name: [None] for name in _COST}, schema=_COST).with_columns(cost_status=pl.lit("none"))
    return pl.concat([priced.cast(_COST), nothing])[row]


def _unknown_signals(raw: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Dead letters and request rows of the records whose signal is neither of those that are taken."""
    known = pc.is_in(raw["signal"], pa.array([TRACES.name, LOGS.name]))
    strange = raw.filter(pc.invert(known))
    ones = np.ones(strange.num_rows, np.int64)
    refused = [
        Refused(row, -1, body or b"", "UnknownSignal", f"the record's signal is {signal!r}, not traces or logs")
        for row, (signal, body) in enumerate(
            zip(strange["signal"].to_pylist(), strange["body"].to_pylist(), strict=True)
        )
    ]
    signals = sorted({signal for signal in strange["signal"].to_pylist() if signal is not None})
    return dead_letters(strange, refused, "decode", ""), request_rows(strange, ones, ones, signals)


def _by_items(record: pa.Table, failure: Exception, book: PriceBook, limits: Limits, tokens: TokenCache) -> Observed:
    """`observe` for one record (a row of RAW) that makes a step fail, span by span."""
    try:
        ones = split(record["body"][0].as_py() or b"")
    except WireError:
        ones = []
    if len(ones) < 2:
        letters = _letters(record, [(0, failure)], [record["body"][0].as_py() or b""])
        return _whole(record, [], letters, 1)
    # every span is a record of its own, whose offset is its position: so that its dead letters tell that
    items = record.take(pa.array([0] * len(ones)))
    items = items.set_column(items.schema.get_field_index("offset"), "offset", pa.array(range(len(ones)), pa.int64()))
    items = items.set_column(items.schema.get_field_index("body"), "body", pa.array(ones, pa.binary()))
    found = isolate(
        len(ones), lambda start, stop: _observe(items.slice(start, stop - start), book, limits, tokens), (StepError,)
    )
    refused = [_with_positions(part.tables["dead_letters"], record) for part in found.results]
    return _whole(record, found.results, pa.concat_tables([*refused, _letters(record, found.bad, ones)]), len(ones))


def _with_positions(letters: pa.Table, record: pa.Table) -> pa.Table:
    at = DEAD_LETTERS.get_field_index("position")
    letters = letters.set_column(at, DEAD_LETTERS.field(at), letters["offset"])
    at = DEAD_LETTERS.get_field_index("offset")
    return letters.set_column(
        at, DEAD_LETTERS.field(at), pa.array(record["offset"].to_pylist() * letters.num_rows, pa.int64())
    )


def _letters(record: pa.Table, bad: list[tuple[int, Exception]], ones: list[bytes]) -> pa.Table:
    letters = []
    for position, error in bad:
        cause = error.__cause__ or error
        refused = Refused(0, position, ones[position], type(cause).__name__, str(cause))
        letters.append(dead_letters(record, [refused], getattr(error, "step", ""), ""))
    return pa.concat_tables([DEAD_LETTERS.empty_table(), *letters])


def _whole(record: pa.Table, parts: list[Observed], letters: pa.Table, received: int) -> Observed:
    """The parts of one record as its whole: one request row."""
    united = _unite(parts)
    counts = (np.array([received]), np.array([letters.num_rows]))
    requests = request_rows(record, *counts, record["signal"].to_pylist())
    return Observed(united.tables | {"requests": requests, "dead_letters": letters}, united.skeletons)


def _unite(parts: list[Observed]) -> Observed:
    tables = {
        name: pa.concat_tables([schema.empty_table(), *(part.tables[name] for part in parts)])
        for name, schema in _TABLES.items()
    }
    return Observed(tables, pa.concat_tables([SKELETONS.empty_table(), *(part.skeletons for part in parts)]))
