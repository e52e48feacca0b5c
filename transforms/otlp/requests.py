"""Open the records of one signal: decode their requests, salvage bad ones, and count what was in them."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from schemas.arrow import NS, REQUESTS
from transforms.columns import pc
from transforms.dead_letters import Refused
from transforms.otlp.signals import TRACES, Signal
from transforms.otlp.wire import Salvaged, WireError, salvage, salvage_logs, split

_REASONS = {
    "InvalidTraceId": "a trace id has 16 bytes that are not all zero",
    "InvalidSpanId": "a span id has 8 bytes that are not all zero",
    "InvalidParentSpanId": "a parent span id has 8 bytes, or none for a root",
    "TimeOutOfRange": "a time lies beyond the year 2262, the range of 64-bit nanoseconds",
}


@dataclass(frozen=True)
class Items:
    """The n spans or log records of some raw records, in order.

    items: struct[n]. request: int32[n], row of the raw table. position: int64[n], of the item in its record.
    resource: int32[n], row of `resources` (struct). scope: int32[n], row of `scopes` (struct).
    refused: what could not be decoded. received: int64, items by row of the raw table, the refused included.
    """

    items: pa.StructArray
    request: np.ndarray
    position: np.ndarray
    resource: np.ndarray
    resources: pa.StructArray
    scope: np.ndarray
    scopes: pa.StructArray
    refused: list[Refused]
    received: np.ndarray


def open_requests(raw: pa.Table, signal: Signal) -> Items:
    """The items of those rows of `raw` (schema RAW) that carry `signal`."""
    rows = np.flatnonzero(pc.equal(raw["signal"], signal.name).to_numpy())
    bodies = [body or b"" for body in raw["body"].take(pa.array(rows)).to_pylist()]
    parsed = signal.parse(bodies)
    salvaged = {index: _salvage(signal, bodies[index], reason) for index, reason in parsed.bad}
    if salvaged:
        bodies = [salvaged[at].good if at in salvaged else body for at, body in enumerate(bodies)]
        parsed = signal.parse(bodies)
    groups, group_row = _explode(parsed.groups)
    scope_groups, scope_group = _explode(pc.struct_field(groups, signal.scopes))
    items, item_scope = _explode(pc.struct_field(scope_groups, signal.items))
    resource = scope_group[item_scope]
    request = rows[parsed.rows[group_row[resource]]]
    refused = [
        Refused(int(rows[at]), position, one, "WireError" if position < 0 else "DecodeError", reason)
        for at, found in salvaged.items()
        for position, one, reason in found.bad
    ]
    if salvaged:  # not even what was salvaged: never seen, and never to be lost
        refused += [Refused(int(rows[at]), -1, bodies[at], "DecodeError", reason) for at, reason in parsed.bad]
    received = np.bincount(request, minlength=raw.num_rows)
    return Items(
        items=items,
        request=request.astype(np.int32),
        position=_positions(request, {int(rows[at]): found for at, found in salvaged.items()}),
        resource=resource.astype(np.int32),
        resources=pc.struct_field(groups, "resource"),
        scope=item_scope.astype(np.int32),
        scopes=pc.struct_field(scope_groups, "scope"),
        refused=refused,
        received=received + count_rows(refused, raw.num_rows),
    )


def without_refused(raw: pa.Table, opened: Items, errors: dict[str, np.ndarray]) -> Items:
    """`opened` without the items that have an error: they join `refused`, each with a request that holds just it.

    errors: bool[n] by error; of several errors of an item the first one counts.
    """
    if not errors:
        return opened
    names = list(errors)
    first = np.argmax(np.stack(list(errors.values())), axis=0)
    wrong = np.logical_or.reduce(list(errors.values()))
    ones: dict[int, list[bytes]] = {}
    refused = list(opened.refused)
    for at in np.flatnonzero(wrong):
        row, position, error = int(opened.request[at]), int(opened.position[at]), names[first[at]]
        if row not in ones:
            ones[row] = split(raw["body"][row].as_py())
        refused.append(Refused(row, position, ones[row][position], error, _REASONS[error]))
    kept = ~wrong
    return replace(
        opened,
        items=opened.items.filter(pa.array(kept)),
        request=opened.request[kept],
        position=opened.position[kept],
        resource=opened.resource[kept],
        scope=opened.scope[kept],
        refused=refused,
    )


def request_rows(raw: pa.Table, received: np.ndarray, dead: np.ndarray, signals: list[str]) -> pa.Table:
    """Rows of REQUESTS for the records of `signals`, from the counts by row of `raw` (int64[n] each)."""
    counted = raw.select(["topic", "partition", "offset", "org", "signal", "received_at"])
    counted = counted.set_column(5, "received_at", raw["received_at"].fill_null(0).cast(NS))
    for name, counts in (("received", received), ("written", received - dead), ("dead_lettered", dead)):
        counted = counted.append_column(name, pa.array(counts, pa.int64()))
    return counted.filter(pc.is_in(raw["signal"], pa.array(signals, pa.string()))).cast(REQUESTS)


def count_rows(refused: list[Refused], rows: int) -> np.ndarray:
    """int64[rows]: how many of `refused` came from each row of the raw table."""
    return np.bincount(np.array([item.row for item in refused], np.int64), minlength=rows)


def _salvage(signal: Signal, body: bytes, reason: str) -> Salvaged:
    try:
        return (salvage if signal is TRACES else salvage_logs)(body)
    except WireError as error:
        return Salvaged(b"", ((-1, body, f"{error}; {reason}"),))


def _explode(lists: pa.Array) -> tuple[pa.Array, np.ndarray]:
    return pc.list_flatten(lists), pc.list_parent_indices(lists).to_numpy()


def _positions(request: np.ndarray, salvaged: dict[int, Salvaged]) -> np.ndarray:
    """Position of every item in its record, given the records (ascending) of the items that were kept."""
    first = np.searchsorted(request, request)
    positions = np.arange(request.size) - first
    for row, found in salvaged.items():
        own = np.flatnonzero(request == row)
        bad = [position for position, _, _ in found.bad]
        positions[own] = np.setdiff1d(np.arange(own.size + len(bad)), bad)
    return positions
