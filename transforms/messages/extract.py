"""From rows of content to messages per owner: choose a set, group its rows into units, read each unit once.

A unit is what makes one or more messages by itself: the text of one attribute, or the fields of one message.
Everything but the reading of distinct units is columnar. A group is an owner and a side: the number of the owner times
the number of SIDES, plus that of the side.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.content import SIDES
from schemas.limits import Limits
from transforms.columns import text_lists
from transforms.messages.content import Distinct, address
from transforms.messages.read import read_texts
from transforms.messages.sources import LAST, ranks
from transforms.otlp.attribute_limits import flag_rows

ROWS = pl.Schema({"owner": pl.Int32, "code": pl.Int64, "occurrence": pl.Int64, "text": pl.String})
_MOST = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Extracted:
    """hashes: by side, list[str] of each owner. taken: bool per row of the rows given.
    bodies: schema MESSAGES, distinct by (org, hash). flags: span i32 (the owner), flag str."""

    hashes: dict[str, pl.Series]
    taken: np.ndarray
    bodies: pa.Table
    flags: pl.DataFrame


@dataclass(frozen=True)
class _Said:
    """Messages: int64[n] each. `take` and `place` order those of a group, `number` is the one in `Distinct`."""

    group: np.ndarray
    take: np.ndarray
    place: np.ndarray
    number: np.ndarray

    def where(self, kept: np.ndarray) -> "_Said":
        return _Said(self.group[kept], self.take[kept], self.place[kept], self.number[kept])


def extract(rows: pl.DataFrame, meanings: pl.DataFrame, owners: pl.DataFrame, limits: Limits) -> Extracted:
    """Messages of all owners.

    rows: columns ROWS; `code` stands for the name, `occurrence` for the event it belongs to (0 for attributes).
    meanings: what the codes mean (`sources.matches`). owners: org str, redact bool, dialect str of each owner.
    """
    ranked = meanings.join(ranks(owners["dialect"].unique().to_list()), on="set")
    matched = rows.with_columns(row=pl.int_range(pl.len()), dialect=owners["dialect"][rows["owner"]]).join(
        ranked, on=["code", "dialect"]
    )
    side = pl.col("side").replace_strict(list(SIDES), list(range(len(SIDES))), return_dtype=pl.Int64)
    matched = matched.with_columns(group=pl.col("owner").cast(pl.Int64) * len(SIDES) + side)
    distinct = Distinct()
    said, read, not_json = _choose(matched, owners.height, distinct, limits)
    said, dropped = _order(said, limits.messages_per_span)
    hashes, bodies, cut = _addressed(said, owners, distinct, limits)
    flags = {"message_not_json": not_json, "messages_dropped": dropped, "message_cut": cut}
    return Extracted(
        hashes, _taken(matched, read, rows.height), bodies, flag_rows({f: g // len(SIDES) for f, g in flags.items()})
    )


def _choose(
    matched: pl.DataFrame, owners: int, distinct: Distinct, limits: Limits
) -> tuple[_Said, np.ndarray, np.ndarray]:
    """Reads for each group the best set; where that says nothing, the next one.

    Returns what was said, the rank of what was read for each group (-1 for nothing), and groups with bad JSON.
    """
    group, rank = matched["group"].to_numpy(), matched["rank"].to_numpy()
    preference = np.where(matched["main"].to_numpy(), rank, rank + LAST)
    read = np.full(owners * len(SIDES), -1)
    said, not_json = [_Said(*np.empty((4, 0), np.int64))], [np.empty(0, np.int64)]
    pending = np.arange(matched.height)
    while pending.size:
        best = np.full(read.size, _MOST)
        np.minimum.at(best, group[pending], preference[pending])
        best %= LAST
        chosen = rank[pending] == best[group[pending]]
        found, unread = _read(matched[pending[chosen]], distinct, limits)
        done = np.zeros(read.size, bool)
        done[found.group[~distinct.empty(found.number)]] = True
        said.append(found.where(done[found.group]))
        not_json.append(unread)
        read[done] = best[done]
        pending = pending[~chosen & ~done[group[pending]]]
    columns = (
        np.concatenate(column) for column in zip(*((s.group, s.take, s.place, s.number) for s in said), strict=True)
    )
    return _Said(*columns), read, np.concatenate(not_json)


def _read(rows: pl.DataFrame, distinct: Distinct, limits: Limits) -> tuple[_Said, np.ndarray]:
    """The messages of `rows`, and the groups of the units that were no JSON."""
    units = _units(rows)
    told = list(zip(*(units[name].to_list() for name in ("format", "side", "text")), strict=True))
    texts = {one: number for number, one in enumerate(dict.fromkeys(told))}
    unit = np.array([texts[one] for one in told], np.int64)
    read = read_texts(list(texts), distinct, limits)
    count = read.length[unit]
    nth = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    group, take, index = (np.repeat(units[name].to_numpy(), count) for name in ("group", "take", "index"))
    place = np.minimum(index, 2**40) * 2**21 + nth
    said = _Said(group, take.astype(np.int64), place, read.numbers[np.repeat(read.start[unit], count) + nth])
    return said, units["group"].to_numpy()[read.not_json[unit]]


def _units(rows: pl.DataFrame) -> pl.DataFrame:
    """group, side, take, index, format, text: one row per unit."""
    columns = ["group", "side", "take", "index", "format", "text"]
    rows = rows.with_columns(index=pl.max_horizontal("index", "occurrence"))
    fields = rows.filter(pl.col("path").is_not_null())
    if fields.is_empty():
        return rows.select(columns)
    grouped = (
        fields.sort("path", maintain_order=True)
        .group_by("group", "side", "take", "index", "format", maintain_order=True)
        .agg(p="path", v="text")
        .with_columns(text=pl.struct("p", "v").struct.json_encode())
    )
    return pl.concat([rows.filter(pl.col("path").is_null()).select(columns), grouped.select(columns)])


def _order(said: _Said, limit: int) -> tuple[_Said, np.ndarray]:
    """`said` in order, system instructions that the messages repeat once, at most `limit` in each group.

    Also the groups that lost messages by that.
    """
    said = said.where(np.lexsort((said.place, said.take, said.group)))
    first = np.searchsorted(said.group, said.group)
    leading = said.take[first] == 0
    repeated = leading & (said.take == 1) & (said.number == said.number[first])
    said = said.where(~repeated)
    over = np.arange(said.group.size) - np.searchsorted(said.group, said.group) >= limit
    return said.where(~over), said.group[over]


def _addressed(
    said: _Said, owners: pl.DataFrame, distinct: Distinct, limits: Limits
) -> tuple[dict[str, pl.Series], pa.Table, np.ndarray]:
    """The hashes of each side, the bodies, and the groups with a message that was cut."""
    owner, of_side = np.divmod(said.group, len(SIDES))
    orgs = owners["org"].unique(maintain_order=True)
    org = owners["org"].replace_strict(orgs, np.arange(len(orgs)), return_dtype=pl.Int64).to_numpy()
    holder = org * 2 + owners["redact"].to_numpy()
    _, first, known = np.unique(holder[owner] * len(distinct) + said.number, return_index=True, return_inverse=True)
    order = np.argsort(first)  # as they were first said
    wanted = owner[first[order]]
    found = address(
        owners["org"][wanted].to_list(),
        owners["redact"].to_numpy()[wanted],
        said.number[first[order]],
        distinct,
        limits.message_bytes,
    )
    at = np.argsort(order)[known]
    hashes = {
        side: text_lists(owner[of_side == n], found.hashes[at[of_side == n]], owners.height)
        for n, side in enumerate(SIDES)
    }
    return hashes, found.bodies, said.group[found.cut[at]]


def _taken(matched: pl.DataFrame, read: np.ndarray, height: int) -> np.ndarray:
    """Rows that were read, and rows of other sets that tell the same again: of all groups that have messages."""
    rank, main, beside = (matched[name].to_numpy() for name in ("rank", "main", "beside"))
    read_rank = read[matched["group"].to_numpy()]
    taken = np.zeros(height, bool)
    taken[matched["row"].to_numpy()[(read_rank >= 0) & ~beside & (main | (rank == read_rank))]] = True
    return taken
