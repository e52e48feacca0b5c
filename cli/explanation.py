"""The explanation of a call in the terminal: rows of the view `usage_explained` as people read them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.output import dollars
from schemas.dialects import dialects
from schemas.vocabulary.flags import flags
from transforms.normalise.detect import signs

Row = Mapping[str, Any]

_APART = "(in the content, stored apart: see the view messages)"
_LONGEST = 100  # characters of a value as it was sent


def call(entries: Sequence[Row]) -> RenderableType:
    """All ledger entries of one call, in the order of its spans."""
    spans = {(row["trace_id"], row["span_id"]): row for row in entries}
    first = entries[0]
    parts: list[RenderableType] = [
        Text(f"call {first['call_id']} of {first['org']}, {len(spans)} of its spans in the ledger", style="bold")
    ]
    for row in spans.values():
        own = [one for one in entries if (one["trace_id"], one["span_id"]) == (row["trace_id"], row["span_id"])]
        parts += ["", *_span(row, _charge(own))]
    return Group(*parts, "", Text("ledger", style="bold"), _ledger(entries))


def no_call(span: Row) -> RenderableType:
    """A span that has no entry in the ledger: a row of the view `spans`."""
    return Group(
        Text(f"span {span['span_id']} of trace {span['trace_id']} bills nothing: it is no call", style="bold"),
        Text(f"kind        {span['kind']}, {_origin(span, 'kind')}"),
        *_dialect(span, span["attributes"]),
        *_flags(span),
    )


def _charge(entries: Sequence[Row]) -> Row:
    return next((row for row in entries if row["entry"] == "charge"), entries[0])


def _span(span: Row, charge: Row) -> list[RenderableType]:
    return [
        Text(f"span {span['span_id']} of trace {span['trace_id']}  {span['span_name']}", style="bold"),
        *_dialect(span, span["sent"]),
        _read(charge),
        *_flags(span),
        *_cost(charge),
    ]


def _dialect(span: Row, attributes: Mapping[str, str]) -> list[RenderableType]:
    found = next((one for one in dialects() if one.name == span["dialect"]), None)
    if found is None:
        return [Text("dialect     none")]
    told = ", ".join(signs(found, span["scope"], attributes)[:3]) or "its content, stored apart"
    return [Text(f"dialect     {found.title} ({found.name}), by {told}")]


def _read(row: Row) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("number", "is", "read from", "as sent"):
        table.add_column(name, overflow="fold")
    for column, origin in row["read_from"].items():
        value = row.get(column)
        if column in row and value not in (None, ""):
            table.add_row(column, _number(value), Text(origin), Text(_sent(row["sent"], origin)))
    if row["token_source"] in ("counted", "estimated"):
        table.add_row("token_source", row["token_source"], "", "")
    return table


def _sent(sent: Mapping[str, str], origin: str) -> str:
    if origin.startswith(("event:", "span:")):
        return ""
    value = sent.get(origin, sent.get(origin.split(":")[0]))
    if value is None:
        return _APART
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}… ({len(value)} characters)"


def _flags(row: Row) -> list[RenderableType]:
    return [Text(f"rule        {flag}: {flags().says(flag)}") for flag in [*row["token_flags"], *row["flags"]]]


def _cost(row: Row) -> list[RenderableType]:
    if row["cost_status"] != "priced":
        return [Text(f"cost        none: {row['cost_status']}")]
    context = f" ({row['price_context']})" if row["price_context"] else ""
    reason = f", because {row['price_reason']}" if row["price_reason"] else ""
    band = f", for inputs above {row['price_input_above']:,} tokens" if row["price_input_above"] is not None else ""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("unit", "count", "dollars per million", "nano-dollars"):
        table.add_column(name, justify="left" if name == "unit" else "right")
    for part in row["parts"]:
        table.add_row(
            part["unit"], f"{part['count']:,}", _plain(part["dollars_per_million"]), _plain(part["nano_dollars"])
        )
    table.add_row("sum", "", "", _plain(row["parts_nano"]), style="bold")
    return [
        Text(f"price       {row['price_id']}{context}, {_period(row)}{band}, from {row['price_source']}{reason}"),
        table,
        Text(f"cost        {row['cost_nano']:,} nano-dollars = {dollars(row['cost_nano'])}{_client_cost(row)}"),
    ]


def _client_cost(row: Row) -> str:
    return "" if row["client_cost_nano"] is None else f"; the client said {dollars(row['client_cost_nano'])}"


def _period(row: Row) -> str:
    begins, ends = row["price_effective_from"], row["price_effective_to"]
    since = f"from {_day(begins)}" if begins else "from the beginning"
    return f"{since} until {_day(ends)}" if ends else f"{since} on"


def _day(time: datetime) -> str:
    return time.isoformat(sep=" ", timespec="seconds")


def _ledger(entries: Sequence[Row]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("entry", "span", "in", "out", "cost", "why"):
        table.add_column(name, justify="right" if name in ("in", "out", "cost") else "left")
    for row in entries:
        counts = [_number(row[name]) for name in ("input_tokens", "output_tokens")]
        why = row["reason"] or "a call, billed when it was first seen"
        table.add_row(row["entry"], row["span_id"], *counts, dollars(row["cost_nano"]), why)
    total = sum(row["cost_nano"] or 0 for row in entries)
    counts = [f"{sum(row[name] or 0 for row in entries):,}" for name in ("input_tokens", "output_tokens")]
    table.add_row("sum", "", *counts, dollars(total), "", style="bold")
    return table


def _origin(span: Row, column: str) -> str:
    origin = span["read_from"].get(column)
    return f"read from {origin}" if origin else "as nothing on the span says otherwise"


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if type(value) is int else str(value)


def _plain(amount: Decimal) -> str:
    """Without trailing zeros or an exponent."""
    return f"{amount.normalize():,f}"
