"""Time to first token and time per output token, from what the span records; never from its duration alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from schemas.dialects import Source
from transforms.normalise.conditions import Known
from transforms.normalise.fields import lacking_rows, scalars
from transforms.normalise.reading import NOTHING, Reading

_NS = {"s": 1e9, "ms": 1e6, "ns": 1.0}
# a value rounded to milliseconds may end up to one of them after the span
_ROUNDING_NS = 1_000_000
KINDS = ("first_chunk", "first_content", "server")


@dataclass(frozen=True)
class FirstToken:
    """ns: int64[n], from the start of the span, valid where `kind` (int8[n], index into KINDS) is not -1.
    out_of_range: bool[n], a time was sent that cannot be."""

    ns: np.ndarray
    kind: np.ndarray
    out_of_range: np.ndarray


def read_first_token(reading: Reading, known: Known, wanted: np.ndarray, unstreamed: np.ndarray) -> FirstToken:
    """The time to first token of the spans that are `wanted` (bool[n]), as the first source says that has one.

    A time below 0 or above the span's duration is left out; 0 means that the library measured nothing. On calls that
    say that they did not stream (`unstreamed`, bool[n]) a number is the whole duration and not believed; the time of
    a first chunk is.
    """
    start = reading.spans["start_ns"].to_numpy()
    duration = reading.spans["end_ns"].to_numpy() - start
    ns = np.zeros(reading.rows, np.int64)
    kind = np.full(reading.rows, -1, np.int8)
    odd = np.zeros(reading.rows, bool)
    for dialect, source in reading.sources("ttft"):
        rows = lacking_rows(reading, source, wanted & (kind < 0), known)
        positions = NOTHING
        if source.event or source.event_prefix:
            owners, value = _from_events(reading, dialect, source, rows)
        elif source.unit == "iso":
            positions, value = _from_times(reading, dialect, source, rows)
            owners = reading.attributes.owner[positions]
        else:
            positions, value = _from_numbers(reading, dialect, source, rows & ~unstreamed)
            owners = reading.attributes.owner[positions]
        if source.event or source.event_prefix or source.unit == "iso":
            value = value - start[owners]
        room = duration[owners]
        good = (value > 0) & (value <= room + _ROUNDING_NS)
        odd[owners[~good & (value != 0)]] = True
        ns[owners[good]] = np.minimum(value, room)[good]
        kind[owners[good]] = KINDS.index(source.kind or "first_chunk")
        reading.note("ttft", source, owners[good], positions[good] if len(positions) else NOTHING)
    return FirstToken(ns, kind, odd & (kind < 0))


def _from_numbers(reading: Reading, dialect: int, source: Source, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the attributes that hold a number, and those in ns."""
    positions = reading.candidates(dialect, source, rows)
    if len(positions) and (source.path or source.format):
        codes, values = scalars(reading, source, positions)
        number = np.array([v if type(v) in (int, float) else np.nan for v in values], np.float64)[codes]
        is_number = np.isfinite(number)
    else:
        numbers, known = reading.attributes.numbers
        number, is_number = numbers[positions], known[positions]
    scale = _NS[source.unit or "s"]
    # 2^62 ns are 146 years: beyond is out of range in any case, and would not fit
    scaled = np.clip(np.where(is_number, number, 0.0), -(2.0**62) / scale, 2.0**62 / scale) * scale
    return positions[is_number], np.rint(scaled).astype(np.int64)[is_number]


def _from_times(reading: Reading, dialect: int, source: Source, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the attributes that hold a time, and those in UTC ns."""
    positions = reading.candidates(dialect, source, rows)
    if len(positions) == 0:
        return positions, positions
    codes, values = scalars(reading, source, positions)
    times = _as_ns(values)
    known = np.array([time is not None for time in times], bool)[codes]
    value = np.array([time or 0 for time in times], np.int64)[codes]
    return positions[known], value[known]


def _as_ns(values: Sequence[Any]) -> list[int | None]:
    """UTC ns of ISO 8601 texts from 1970 to 2262; None for anything else. A time without an offset is taken as UTC."""
    times: list[int | None] = []
    for value in values:
        try:
            time = datetime.fromisoformat(value.strip().strip('"')) if isinstance(value, str) else None
        except ValueError:
            time = None
        if time is None:
            times.append(None)
            continue
        delta = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        whole_ns = (delta.days * 86_400 + delta.seconds) * 10**9 + delta.microseconds * 1_000
        times.append(whole_ns if 0 <= whole_ns < 2**63 else None)
    return times


def _from_events(reading: Reading, dialect: int, source: Source, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Owners and UTC ns of the earliest event of that name of each span.

    A time that lies within the span when it is taken for microseconds is one (MLflow to 3.9 sent those).
    """
    names = reading.events.name
    fits = names == source.event if source.event else names.str.starts_with(source.event_prefix)
    chosen = np.flatnonzero(fits.fill_null(False).to_numpy())
    owners = reading.events.span[chosen]
    chosen = chosen[rows[owners] & (reading.dialect[owners] == dialect)]
    owners, first = reading.events.span[chosen], np.full(reading.rows, np.iinfo(np.int64).max)
    np.minimum.at(first, owners, reading.events.time[chosen])
    owners = np.unique(owners)
    time, start, end = (
        values[owners] for values in (first, *(reading.spans[n].to_numpy() for n in ("start_ns", "end_ns")))
    )
    in_us = (time >= start // 1_000) & (time <= end // 1_000)
    return owners, np.where(in_us, time * 1_000, time)


def time_per_output_token(
    end: np.ndarray, start: np.ndarray, first: FirstToken, output: np.ndarray, output_known: np.ndarray
) -> pl.Series:
    """Int64 ns: (end - first token) / (output tokens - 1), rounded down; NULL without both, or below 2 tokens."""
    known = (first.kind >= 0) & output_known & (output >= 2)
    value = (end - start - first.ns) // np.maximum(output - 1, 1)
    return masked(value, known)


def masked(values: np.ndarray, known: np.ndarray) -> pl.Series:
    """Int64 series of `values`, NULL where not known."""
    return pl.select(pl.when(pl.Series(known)).then(pl.Series(values, dtype=pl.Int64))).to_series()


def kind_names(kind: np.ndarray) -> pl.Series:
    """String series of KINDS by index, NULL for -1."""
    return pl.Series([*KINDS, None], dtype=pl.String).gather(np.where(kind < 0, len(KINDS), kind).astype(np.int64))
