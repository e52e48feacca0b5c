"""From rows of content to messages per owner: choose a set, group its rows into units, parse each unit once.

A unit is what makes one or more messages by itself: the text of one attribute, or the fields of one message.
Everything but the parsing of distinct units is columnar.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from schemas.limits import Limits
from transforms.messages.content import Distinct, address
from transforms.messages.formats import FORMATS
from transforms.messages.json_text import Load, NotJson, make_load
from transforms.messages.message import build
from transforms.messages.parts import text_part
from transforms.messages.sources import LAST, ranks

ROWS = pl.Schema({"owner": pl.Int32, "code": pl.Int64, "occurrence": pl.Int64, "text": pl.String})
_ROLES = {"input": "user", "output": "assistant"}
_SAID = {"owner": pl.Int32, "side": pl.String, "take": pl.Int32, "place": pl.Int64, "number": pl.Int64}


@dataclass(frozen=True)
class Extracted:
    """lists: owner i32, side str, hashes list[str]. taken: bool per row of the rows given.
    bodies: org, hash, role, body, bytes. flags: owner i32, flag str."""

    lists: pl.DataFrame
    taken: np.ndarray
    bodies: pl.DataFrame
    flags: pl.DataFrame


def extract(rows: pl.DataFrame, meanings: pl.DataFrame, owners: pl.DataFrame, limits: Limits) -> Extracted:
    """Messages of all owners.

    rows: columns ROWS; `code` stands for the name, `occurrence` for the event it belongs to (0 for attributes).
    meanings: what the codes mean (`sources.matches`). owners: owner i32, org str, redact bool, dialect str.
    """
    matched = (
        rows.with_row_index("row")
        .join(meanings, on="code")
        .join(owners.select("owner", "dialect"), on="owner")
        .join(ranks(owners["dialect"].unique().to_list()), on=["dialect", "set"])
        .with_columns(preference=pl.col("rank") + pl.when("main").then(0).otherwise(LAST))
    )
    distinct = Distinct()
    said, read, flags = _choose(matched, distinct, limits)
    said, dropped = _order(said, limits.messages_per_span)
    listed, bodies, cut = _addressed(said, owners, distinct, limits)
    return Extracted(
        listed, _taken(matched, read, rows.height), bodies, pl.concat([flags, dropped, cut]).unique(maintain_order=True)
    )


def _choose(
    matched: pl.DataFrame, distinct: Distinct, limits: Limits
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Reads for each owner and side the best set; where that says nothing, the next one.

    Returns what was said (columns _SAID), owner, side and rank of what was read, and flags.
    """
    said = [pl.DataFrame(schema=_SAID)]
    read = [pl.DataFrame(schema={"owner": pl.Int32, "side": pl.String, "read": pl.Int64})]
    flags = [pl.DataFrame(schema={"owner": pl.Int32, "flag": pl.String})]
    pending = matched
    while pending.height:
        pending = pending.with_columns(read=pl.col("preference").min().over("owner", "side") % LAST)
        found, unread = _read(pending.filter(pl.col("rank") == pl.col("read")), distinct, limits)
        done = found.filter(~pl.col("number").is_in(distinct.empty)).select("owner", "side").unique()
        said.append(found.join(done, on=["owner", "side"]).select(_SAID.keys()))
        read.append(pending.join(done, on=["owner", "side"]).select("owner", "side", "read").unique())
        flags.append(unread.select("owner", pl.lit("message_not_json").alias("flag")))
        pending = pending.filter(pl.col("rank") != pl.col("read")).join(done, on=["owner", "side"], how="anti")
    return pl.concat(said), pl.concat(read), pl.concat(flags)


def _read(rows: pl.DataFrame, distinct: Distinct, limits: Limits) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The messages of `rows` (columns _SAID), and the units that were no JSON (columns of _units)."""
    units = _units(rows)
    texts = units.select("format", "side", "text").unique(maintain_order=True).with_row_index("unit")
    numbers, not_json = _parse(texts, distinct, limits)
    found = units.join(texts, on=["format", "side", "text"]).drop("text")
    order = pl.col("index").clip(upper_bound=2**40) * 2**21 + pl.col("nth")
    said = found.join(numbers, on="unit").with_columns(place=order)
    return said, found.filter(pl.col("unit").is_in(not_json))


def _units(rows: pl.DataFrame) -> pl.DataFrame:
    """owner, side, take, index, format, text: one row per unit."""
    columns = ["owner", "side", "take", "index", "format", "text"]
    rows = rows.with_columns(index=pl.max_horizontal("index", "occurrence"))
    whole = rows.filter(pl.col("path").is_null()).select(columns)
    fields = rows.filter(pl.col("path").is_not_null())
    grouped = (
        fields.sort("path", maintain_order=True)
        .group_by("owner", "side", "take", "index", "format", maintain_order=True)
        .agg(p="path", v="text")
        .with_columns(text=pl.struct("p", "v").struct.json_encode())
    )
    return pl.concat([whole, grouped.select(columns)])


def _parse(texts: pl.DataFrame, distinct: Distinct, limits: Limits) -> tuple[pl.DataFrame, list[int]]:
    """unit, nth, number of each message in `texts`, and the units that are no JSON.

    The one loop over content: over distinct texts.
    """
    marks = texts.select(
        "format",
        "side",
        "text",
        exact=pl.col("text").str.contains("[0-9]{19}"),
        deep=pl.col("text").str.count_matches(r"[\[{]") > limits.nesting,
    )
    loads = {
        (exact, deep): make_load(limits.nesting, exact=exact, deep=deep)
        for exact in (False, True)
        for deep in (False, True)
    }
    parsed = [
        _numbers(name, side, text, loads[exact, deep], distinct, limits)
        for name, side, text, exact, deep in marks.iter_rows()
    ]
    lengths = np.array([len(numbers) for numbers, _ in parsed], dtype=np.int64)
    flat = np.array([number for numbers, _ in parsed for number in numbers], dtype=np.int64)
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    unit = np.repeat(np.arange(len(parsed), dtype=np.uint32), lengths)
    frame = pl.DataFrame({"unit": unit, "nth": np.arange(flat.size) - starts, "number": flat})
    return frame, [unit for unit, (_, not_json) in enumerate(parsed) if not_json]


def _numbers(name: str, side: str, text: str, load: Load, distinct: Distinct, limits: Limits) -> tuple[list[int], bool]:
    """The numbers of the messages in `text`, and whether it is kept as a plain text because it is no JSON."""
    role = "system" if name == "instructions" else _ROLES[side]
    try:
        messages = FORMATS[name](text, load, _ROLES[side])
        return [distinct.add(message) for message in messages[: limits.messages_per_span + 1]], False
    except NotJson:
        return [distinct.add(build(role, text_part(text)))], True


def _order(said: pl.DataFrame, limit: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`said` in order, system instructions that the messages repeat once, at most `limit` for each direction."""
    ordered = said.sort("owner", "side", "take", "place", maintain_order=True)
    first = pl.col("number").first().over("owner", "side")
    leading = pl.col("take").first().over("owner", "side") == 0
    repeated = leading & (pl.col("take") == 1) & (pl.col("number") == first)
    kept = ordered.filter(~repeated).with_columns(nth=pl.int_range(pl.len()).over("owner", "side"))
    dropped = kept.filter(pl.col("nth") >= limit).select("owner", pl.lit("messages_dropped").alias("flag"))
    return kept.filter(pl.col("nth") < limit), dropped


def _addressed(
    said: pl.DataFrame, owners: pl.DataFrame, distinct: Distinct, limits: Limits
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    keyed = said.join(owners.select("owner", "org", "redact"), on="owner", maintain_order="left")
    wanted = keyed.select("org", "redact", "number").unique(maintain_order=True)
    known = address(wanted, distinct, limits.message_bytes)
    hashed = keyed.join(
        known.select("org", "redact", "number", "hash", "cut"),
        on=["org", "redact", "number"],
        maintain_order="left",
    )
    listed = hashed.group_by("owner", "side", maintain_order=True).agg(hashes="hash")
    bodies = known.select("org", "hash", "role", "body", "bytes").unique(["org", "hash"], maintain_order=True)
    return listed, bodies, hashed.filter("cut").select("owner", pl.lit("message_cut").alias("flag"))


def _taken(matched: pl.DataFrame, read: pl.DataFrame, height: int) -> np.ndarray:
    """Rows that were read, and rows of other sets that tell the same again: of all sides that have messages."""
    done = matched.filter(~pl.col("beside")).join(read, on=["owner", "side"])
    rows = done.filter(pl.col("main") | (pl.col("rank") == pl.col("read")))["row"]
    taken = np.zeros(height, dtype=bool)
    taken[rows.to_numpy()] = True
    return taken
