"""What the fold over metrics knows of minutes: which it holds, and which the store counts anew, when.

The fold knows all of a minute only if the minute began after its state did, and if what it is told of it was never told
before. Changes of other minutes are asked for as recounts: soon, after RECOUNT_NS in which more of them gather, and
once more AGAIN_NS after the last one, because another task writes the spans.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import RECOUNTS
from transforms.folds.segments import NEVER, pack_tables, unpack_tables

RECOUNT_NS = 5 * 10**9
AGAIN_NS = 60 * 10**9
_CELL = ["org", "minute"]


@dataclass(frozen=True)
class Minutes:
    """since: UTC ns, when the state began. opened: UTC ns, of the task that wrote last. epoch: UTC ms, grows with each.

    held: minutes (UTC s) with cells. counted: org, minute that the store counts until they are not held any more.
    asked: org, minute, soon and again (UTC ns, NEVER for not at all): when to ask for a recount.
    """

    since: int
    opened: int
    epoch: int
    held: np.ndarray
    counted: pl.DataFrame
    asked: pl.DataFrame

    def to_bytes(self) -> bytes:
        facts = pl.DataFrame({"since": [self.since], "opened": [self.opened], "epoch": [self.epoch]})
        return pack_tables((facts, pl.DataFrame({"minute": self.held}), self.counted, self.asked), "lz4")

    def due(self) -> int:
        """UTC ns of the next recount, NEVER for none."""
        times = self.asked.select(pl.min_horizontal("soon", "again").min()).item()
        return NEVER if times is None else times


def read(data: bytes | None, opened: int) -> tuple[Minutes, bool]:
    """What is in `data` (None: nothing yet), for the task that was opened at `opened`; and whether another wrote it."""
    if data is None:
        cells = pl.DataFrame(schema={"org": pl.String, "minute": pl.Int64})
        asked = cells.with_columns(soon=pl.lit(0, pl.Int64), again=pl.lit(0, pl.Int64))
        return Minutes(opened, opened, opened // 10**6, np.empty(0, np.int64), cells, asked), False
    facts, held, counted, asked = unpack_tables(data)
    since, before, epoch = facts.row(0)
    found = Minutes(since, opened, epoch, held["minute"].to_numpy(), counted, asked)
    if before == opened:
        return found, False
    return replace(found, epoch=max(opened // 10**6, epoch + 1)), True


def ask(minutes: Minutes, cells: pl.DataFrame, now: int) -> Minutes:
    """`minutes` with recounts of `cells` (org, minute) asked for."""
    if cells.is_empty():
        return minutes
    news = (
        cells.select(_CELL)
        .unique()
        .with_columns(soon=pl.lit(now + RECOUNT_NS, pl.Int64), again=pl.lit(now + AGAIN_NS, pl.Int64))
    )
    asked = pl.concat([minutes.asked, news]).group_by(_CELL).agg(pl.col("soon").min(), pl.col("again").max())
    return replace(minutes, asked=asked.sort(_CELL))


def take_due(minutes: Minutes, now: int) -> tuple[Minutes, pa.Table]:
    """RECOUNTS that are due, and `minutes` without them."""
    if minutes.due() > now:
        return minutes, RECOUNTS.empty_table()
    due = minutes.asked.filter((pl.col("soon") <= now) | (pl.col("again") <= now))
    soon = pl.when(pl.col("soon") <= now).then(NEVER).otherwise("soon").alias("soon")
    left = minutes.asked.filter(pl.col("again") > now).with_columns(soon)
    found = due.select(_CELL).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(RECOUNTS)
    return replace(minutes, asked=left), found
