"""The fold over changes of metrics: holds the cells of the last minutes and writes those again that changed.

A minute is held for `keep_ns`. That is shorter than the horizon of traces, so that a sighting which counts again
because its trace was forgotten finds its minute gone. What the fold cannot answer for is counted by the store: see
minutes, and _counts. Rows of such a minute are written too as long as it is held, for those who watch the series; the
rows that the store counts have greater versions.

A run that goes on from a checkpoint writes all that it holds again, under a greater epoch: what an earlier run wrote
after that checkpoint is superseded, whatever it was, because each sighting in the replay touches its cell.
"""

from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import METRIC_CHANGES, METRICS
from schemas.limits import LIMITS
from transforms.folds.buckets import mix
from transforms.folds.segments import NEVER, Head, pack_tables, unpack_tables
from transforms.folds.step import Fold, State, Step
from transforms.folds.ticks import rested, ticking
from transforms.metrics.cells import Cells, add, from_changes, rows
from transforms.metrics.minutes import Minutes, ask, read, take_due

_SECOND = 10**9
# A span may begin so long after it is received, by a clock that is ahead.
_AHEAD_NS = 60 * _SECOND


@dataclass(frozen=True)
class MetricsSettings:
    """keep_ns: how long a minute is held. tick_ns: least time between two ticks. series: limit of an organisation in a
    minute."""

    keep_ns: int = 480 * _SECOND
    tick_ns: int = _SECOND
    series: int = LIMITS.series_per_minute


def make_metrics(settings: MetricsSettings, opened: int) -> Fold:
    """The fold over METRIC_CHANGES rows; out: "metrics_1m" (METRICS), "recounts" (RECOUNTS), where not empty.

    opened: UTC ns at which the task was opened: with each, versions begin anew, above all before.
    Raises UnknownSchemaVersion on state that another version wrote.
    """
    return ticking(partial(_tick, settings, opened), settings.tick_ns, METRIC_CHANGES)


def org_buckets(changes: pa.Table, buckets: int) -> np.ndarray:
    """The bucket, 0 to `buckets` - 1 (int64), of the organisation of each row."""
    orgs = pl.Series(changes["org"], dtype=pl.String)
    distinct = orgs.unique().sort()
    words = [int.from_bytes(blake2b(org.encode(), digest_size=8).digest(), "big") for org in distinct.to_list()]
    numbers = (mix(np.array(words, np.uint64)) % np.uint64(buckets)).astype(np.int64)
    return numbers[distinct.search_sorted(orgs).to_numpy()]


def _tick(settings: MetricsSettings, opened: int, state: State, head: Head, arrived: list[pa.Table], now: int) -> Step:
    minutes, restored = read(state.get("minutes"), opened)
    changes = pl.DataFrame(pl.from_arrow(pa.concat_tables([METRIC_CHANGES.empty_table(), *arrived])))
    closed = _closes(minutes.held, settings, now)
    writes: dict[str, bytes | None] = {f"m/{minute}": None for minute in minutes.held[closed].tolist()}
    held = minutes.held[~closed]
    counted = minutes.counted.filter(pl.col("minute").is_in(held))
    late = _closes(changes["minute"].to_numpy(), settings, now)
    minutes = ask(replace(minutes, held=held, counted=counted), changes.filter(late), now)
    changes = changes.filter(~late)
    minutes = _count(minutes, changes.filter(_unsure(changes, minutes, now)), now)
    told = []
    touched = changes["minute"].unique().sort().to_list()
    for minute in sorted({*touched, *(held.tolist() if restored else ())}):
        cells, which, other = _added(state, minutes, changes.filter(minute=minute), minute, settings.series)
        minutes = _count(
            minutes, cells.series[np.intersect1d(which, other)].select("org", minute=pl.lit(minute, pl.Int64)), now
        )
        which = np.arange(cells.series.height) if restored else which
        cells, found = rows(cells, which, minute, minutes.epoch)
        writes[f"m/{minute}"] = pack_tables((cells.series, cells.buckets), "lz4")
        told.append(found)
    minutes = replace(minutes, held=np.union1d(held, np.array(touched, np.int64)))
    minutes = ask(minutes, changes.select("org", "minute").join(minutes.counted, on=["org", "minute"], how="semi"), now)
    minutes, recounts = take_due(minutes, now)
    wake = _wake(minutes, settings, now)
    writes |= rested(head, now, wake) | {"minutes": minutes.to_bytes()}
    out = (("metrics_1m", pa.concat_tables([METRICS.empty_table(), *told])), ("recounts", recounts))
    return Step(writes, tuple((name, found) for name, found in out if found.num_rows), wake_at=wake)


def _added(
    state: State, minutes: Minutes, changes: pl.DataFrame, minute: int, limit: int
) -> tuple[Cells, np.ndarray, np.ndarray]:
    """The cells of a minute with its changes, which of them changed, and which are OTHER."""
    before = Cells(*unpack_tables(state[f"m/{minute}"])) if minute in minutes.held else None
    return add(before, from_changes(changes), limit)


def _closes(minute: np.ndarray, settings: MetricsSettings, now: int) -> np.ndarray:
    """Which minutes (UTC s) are not held (any more)."""
    return minute * _SECOND <= now - settings.keep_ns


def _unsure(changes: pl.DataFrame, minutes: Minutes, now: int) -> pl.Series:
    """Which changes are of a minute that the fold may not know all of: it began before the state did or lies ahead, or
    what it is told may have been told before."""
    start = pl.col("minute") * _SECOND
    return changes.select((start <= minutes.since) | (start > now + _AHEAD_NS) | pl.col("unsure")).to_series()


def _count(minutes: Minutes, cells: pl.DataFrame, now: int) -> Minutes:
    """`minutes` in which the store counts `cells` (org, minute) from now on."""
    if cells.is_empty():
        return minutes
    counted = pl.concat([minutes.counted, cells.select("org", "minute")]).unique().sort("minute", "org")
    return ask(replace(minutes, counted=counted), cells, now)


def _wake(minutes: Minutes, settings: MetricsSettings, now: int) -> int | None:
    """When something is due next, not before the next tick."""
    closes = int(minutes.held.min()) * _SECOND + settings.keep_ns if len(minutes.held) else NEVER
    due = min(closes, minutes.due())
    return None if due == NEVER else max(due, now + settings.tick_ns)
