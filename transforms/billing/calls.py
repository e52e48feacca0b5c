"""Claims on calls as the fold over calls computes with them and keeps them.

Claims are a frame with one row per (call, trace, span): the columns of CLAIMS, but start and duration (ns) for
start_time and duration_ns, hash (uint64, of the call) for call_id, and told (uint32): what was last told of it.
In state their texts are rows of side tables in which equal rows are stored once, and ids are binary.
"""

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.columns import intern
from transforms.folds.buckets import id_words
from transforms.folds.cold import Codec
from transforms.folds.segments import pack_tables, unpack_tables
from transforms.traces.blocks import LABEL, TOKENS, USER

CALL = ("hash", "response_id")
CLAIM = (*CALL, "trace_id", "span_id")
_LABEL = ("org", *(name for name in LABEL if name not in ("name", "kind", "status", "scope")))
_SIDES = {"label": _LABEL, "user": USER}
_RECORD = (*_LABEL, *USER, "start", "duration", *TOKENS, "cost_nano", "request_id", "ttft_ns", "day")
_COLUMNS = (*CLAIM, *_RECORD, "record", "mixed", "stands", "version", "told")


def from_claims(tables: list[pa.Table]) -> pl.DataFrame:
    """The claims in CLAIMS `tables`, each once, of which nothing was told."""
    frame = pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))
    news = frame.rename({"start_time": "start", "duration_ns": "duration"}).with_columns(
        pl.Series("hash", id_words(frame["call_id"])), told=pl.lit(0, pl.UInt32)
    )
    return unite(news.select(_COLUMNS))


def unite(claims: pl.DataFrame) -> pl.DataFrame:
    """`claims` with each once: its fullest record, and the newest word of its trace; of two, that it does not stand.

    A trace that was cut, or that went on after its horizon, may speak of a span twice.
    """
    several = claims.select(CLAIM).is_duplicated()
    if not several.any():
        return claims
    newest = ("version", "stands")
    united = (
        claims.filter(several)
        .group_by(CLAIM, maintain_order=True)
        .agg(
            pl.col(*_RECORD).sort_by("record").last(),
            pl.col("record").max(),
            pl.col("mixed").any(),
            pl.col("stands").sort_by(*newest, descending=[False, True]).last(),
            pl.col("version").max(),
            pl.col("told").max(),
        )
    )
    return pl.concat([claims.filter(~several), united.select(_COLUMNS)])


def _pack(claims: pl.DataFrame) -> bytes:
    sides, columns = [], []
    for name, texts in _SIDES.items():
        codes, side = intern(claims, texts)
        sides.append(side)
        columns.append(pl.Series(name, codes))
    rows = claims.drop(*_LABEL, *USER, "trace_id").with_columns(
        *columns,
        pl.Series("trace_high", id_words(claims["trace_id"])),
        pl.Series("trace_low", id_words(claims["trace_id"], 16)),
        pl.Series("span_id", id_words(claims["span_id"])),
    )
    return pack_tables((rows, *sides), "zstd")


def _unpack(data: bytes) -> pl.DataFrame:
    rows, *sides = unpack_tables(data)
    words = rows.select("trace_high", "trace_low").to_numpy(order="c")
    texts = [side[rows[name]] for name, side in zip(_SIDES, sides, strict=True)]
    named = rows.with_columns(
        pl.Series("trace_id", _hex(words, 16)), pl.Series("span_id", _hex(rows["span_id"].to_numpy(), 8))
    )
    found = pl.concat([named.drop(*_SIDES), *texts], how="horizontal")
    if "ttft_ns" not in found.columns:  # version 1
        found = found.with_columns(request_id=pl.lit(""), ttft_ns=pl.lit(None, pl.Int64))
    return found.select(_COLUMNS)


def _hex(words: np.ndarray, width: int) -> pl.Series:
    """uint64 `words` as texts of `width` bytes each, two hex digits a byte."""
    raw = pa.py_buffer(words.astype(">u8").tobytes())
    ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), words.size * 8 // width, [None, raw])
    return pl.Series(ids.cast(pa.binary()), dtype=pl.Binary).bin.encode("hex")


def _hashes(claims: pl.DataFrame) -> np.ndarray:
    return claims["hash"].to_numpy()


def _select(claims: pl.DataFrame, keep: np.ndarray) -> pl.DataFrame:
    return claims.filter(keep)


CLAIM_CHUNKS = Codec(_pack, _unpack, _hashes, _select)
