"""From the facts of a batch of spans to the rows that are written: schemas SPANS and SKELETONS."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.arrow import ATTRIBUTES, NS, SKELETONS, SPANS
from schemas.limits import Limits
from transforms.columns import text_lists
from transforms.content_hash import hash_rows, hash_values
from transforms.cuts import cut
from transforms.messages import Messages
from transforms.normalise.maps import Mapped, attribute_maps, lists_of
from transforms.otlp.attribute_limits import flag_rows
from transforms.otlp.decode import Decoded
from transforms.redact.texts import redact_text

_STATUS = pl.Series(["unset", "ok", "error"])
_END_BIT = 2**20
_HASH_BITS = 40
# texts that a client can put anything into
_PRIVATE = [
    "name",
    "error",
    "service",
    "provider",
    "request_model",
    "response_model",
    "response_id",
    "operation",
    "session_id",
    "user_id",
    "prompt_name",
    "prompt_version",
    "request_id",
]
# not in the hash of the content: the key, what follows from other columns (request_id is an attribute), what follows
# from the price book, and when it came: the same span sent again is the same version
_DERIVED = frozenset(
    (
        *("org", "trace_id", "span_id", "cost_nano", "cost_status", "price_id", "request_id"),
        *("flags", "token_flags", "read_from", "day", "version", "resource", "received_at"),
    )
)


@dataclass(frozen=True)
class SpanRows:
    """spans: schema SPANS; skeletons: schema SKELETONS; both a row per span, in order."""

    spans: pa.Table
    skeletons: pa.Table


@dataclass(frozen=True)
class _Nested:
    """What of SPANS holds maps.

    columns: attributes, resource, events, links. resource_hash: uint64 of each span's resource. flags: span, flag.
    size: int64, attributes, events and links of each span.
    """

    columns: dict[str, pa.Array]
    resource_hash: np.ndarray
    flags: pl.DataFrame
    size: np.ndarray


def span_rows(
    decoded: Decoded, normalised: pl.DataFrame, said: Messages, priced: pl.DataFrame, limits: Limits
) -> SpanRows:
    """Rows of all spans. normalised, priced: one row per span, in order (see `normalise`, `price`).

    `version` is (min(attributes + events + links, 2^20 - 1) + 2^20 if the end time is set) << 40, plus 40 bits of
    the row's content: of two sightings of a span the richer has the higher one, and equal rows have equal ones.
    """
    nested = _nested(decoded, said, limits)
    facts, name_flags = _facts(decoded, normalised, said, priced, limits)
    spans = pl.int_range(facts.height, dtype=pl.Int32, eager=True)
    cost_flags = pl.DataFrame({"span": spans, "flag": priced["cost_flag"]}).drop_nulls()
    flags = [decoded.flags, said.flags, nested.flags, name_flags, cost_flags, _listed(normalised["flags"])]
    facts = facts.with_columns(flags=_flag_lists(flags, facts.height), day=_days(decoded))
    columns = {name: _array(facts[name], name) for name in SPANS.names if name in facts.columns} | nested.columns
    hashed: list[pa.Array | np.ndarray] = [columns[name] for name in SPANS.names if name not in _DERIVED]
    content = hash_rows([*hashed, nested.resource_hash]) >> np.uint64(64 - _HASH_BITS)
    ended = (decoded.spans["end_ns"] > 0).to_numpy()
    size = np.minimum(nested.size, _END_BIT - 1) + ended * _END_BIT
    columns["version"] = pa.array((size.astype(np.uint64) << np.uint64(_HASH_BITS)) | content)
    rows = pa.table(columns).select(SPANS.names).cast(SPANS)
    return SpanRows(rows, _skeletons(rows, normalised["is_call"]))


def _facts(
    decoded: Decoded, normalised: pl.DataFrame, said: Messages, priced: pl.DataFrame, limits: Limits
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The plain columns of SPANS, redacted and cut, and the flag name_cut."""
    spans = decoded.spans
    start, end = pl.col("start_ns"), pl.col("end_ns")
    own = spans.select(
        *(
            "org",
            "team",
            "key_id",
            "trace_id",
            "span_id",
            "parent_span_id",
            "name",
            "service",
            "scope",
            "scope_version",
        ),
        start_time=start.cast(pl.Datetime("ns", "UTC")),
        duration_ns=pl.when(end > start).then(end - start).otherwise(0),
        status=_STATUS.gather(spans["status_code"].clip(0, 3).replace(3, 0)),
        received_at=pl.col("received_at").cast(pl.Datetime("ns", "UTC")),
    )
    rest = normalised.select(name for name in SPANS.names if name in normalised.columns and name != "flags")
    costs = priced.select("cost_nano", "cost_status", "price_id")
    hashes = pl.DataFrame(
        {name: getattr(said, name) for name in ("input_hashes", "output_hashes", "tool_definitions_hash")}
    )
    facts = pl.concat([own, rest, costs, hashes], how="horizontal")
    nullable = ("token_source", "ttft_kind")
    facts = facts.with_columns(pl.col(pl.String).exclude(nullable).fill_null(""), pl.col("streaming").fill_null(False))
    texts, lost = _private_texts([facts[name] for name in _PRIVATE], spans["redact"], limits)
    tags = _redacted_lists(facts["tags"], spans["redact"])
    return facts.with_columns(*texts, tags), flag_rows({"name_cut": lost})


def _private_texts(columns: list[pl.Series], enabled: pl.Series, limits: Limits) -> tuple[list[pl.Series], np.ndarray]:
    """The columns redacted and then cut, and the rows that were cut; one pass over all, as most texts repeat."""
    count = len(enabled)
    texts = pl.concat([values.rename("text") for values in columns])
    texts, long = cut(redact_text(texts, pl.concat([enabled] * len(columns))), limits.name_bytes)
    parts = [texts.slice(at * count, count).alias(values.name) for at, values in enumerate(columns)]
    return parts, np.flatnonzero(long) % max(count, 1)


def _redacted_lists(lists: pl.Series, enabled: pl.Series) -> pl.Series:
    rows = pl.DataFrame({"row": pl.int_range(len(lists), eager=True), "text": lists, "on": enabled})
    rows = rows.filter(pl.col("text").list.len() > 0).explode("text")
    rows = rows.with_columns(text=redact_text(rows["text"], rows["on"]))
    return text_lists(rows["row"].to_numpy(), rows["text"], len(lists)).alias(lists.name)


def _nested(decoded: Decoded, said: Messages, limits: Limits) -> _Nested:
    redact = decoded.spans["redact"].to_numpy()
    count = decoded.spans.height
    resource = decoded.spans["resource"].to_numpy()
    resource_redact = np.ones(decoded.resources.owners, bool)
    resource_redact[resource] = redact
    own = attribute_maps(decoded.attributes, ~said.consumed, redact, limits)
    shared = attribute_maps(decoded.resources, None, resource_redact, limits)
    events, links = decoded.events["span"].to_numpy(), decoded.links["span"].to_numpy()
    of_events = attribute_maps(decoded.event_attributes, ~said.event_consumed, redact[events], limits)
    of_links = attribute_maps(decoded.link_attributes, None, redact[links], limits)
    event_names = redact_text(decoded.events["name"], pl.Series(redact[events], dtype=pl.Boolean))
    lost = np.concatenate([own.cut, events[of_events.cut], links[of_links.cut]])
    lost_shared = np.isin(resource, shared.cut)
    sizes = (decoded.attributes.owner, events, links)
    return _Nested(
        columns={
            "attributes": own.maps,
            "resource": shared.maps.take(pa.array(resource)),
            "events": _event_lists(decoded, event_names, of_events, events),
            "links": _link_lists(decoded, of_links, links),
        },
        resource_hash=hash_values(shared.maps)[resource],
        flags=flag_rows({"attribute_cut": np.concatenate([lost, np.flatnonzero(lost_shared)]).astype(np.int32)}),
        size=sum((np.bincount(owner, minlength=count) for owner in sizes), np.zeros(count, np.int64)),
    )


def _event_lists(decoded: Decoded, names: pl.Series, attributes: Mapped, owner: np.ndarray) -> pa.ListArray:
    columns = {
        "time": pa.array(decoded.events["time_ns"].to_numpy(), pa.int64()).cast(NS),
        "name": names.to_arrow().cast(pa.string()),
        "attributes": attributes.maps.cast(ATTRIBUTES),
    }
    return lists_of(owner, decoded.spans.height, columns)


def _link_lists(decoded: Decoded, attributes: Mapped, owner: np.ndarray) -> pa.ListArray:
    columns: dict[str, pa.Array] = {
        name: decoded.links[name].to_arrow().cast(pa.string()) for name in ("trace_id", "span_id")
    }
    return lists_of(owner, decoded.spans.height, columns | {"attributes": attributes.maps.cast(ATTRIBUTES)})


def _days(decoded: Decoded) -> pl.Series:
    """The day of the start, 1970-01-01 where that is out of range."""
    far = decoded.flags.filter(pl.col("flag") == "time_out_of_range")["span"].to_numpy()
    start = decoded.spans["start_ns"].to_numpy().copy()
    start[far] = 0
    return pl.Series(start).cast(pl.Datetime("ns", "UTC")).dt.date()


def _listed(lists: pl.Series) -> pl.DataFrame:
    """(span, flag) out of one list of flags per span."""
    rows = pl.DataFrame({"span": pl.int_range(len(lists), dtype=pl.Int32, eager=True), "flag": lists})
    return rows.filter(pl.col("flag").list.len() > 0).explode("flag")


def _flag_lists(flags: list[pl.DataFrame], count: int) -> pl.Series:
    """The distinct flags of each of `count` spans, in alphabetical order."""
    rows = pl.concat([part.select(pl.col("span").cast(pl.Int32), "flag") for part in flags])
    rows = rows.unique().sort("span", "flag")
    return text_lists(rows["span"].to_numpy(), rows["flag"], count)


def _skeletons(spans: pa.Table, is_call: pl.Series) -> pa.Table:
    """What waits in state of each span. A failed call without usage bills nothing."""
    counted = spans["input_tokens"].is_valid().to_numpy() | spans["output_tokens"].is_valid().to_numpy()
    failed = (pl.Series(spans["status"], dtype=pl.String) == "error").to_numpy()
    billable = is_call.to_numpy() & (counted | ~failed)
    columns = {name: spans[name] for name in SKELETONS.names if name != "billable"}
    columns["start_time"] = spans["start_time"].cast(pa.int64())
    return pa.table(columns | {"billable": pa.array(billable)}, schema=SKELETONS)


def _array(values: pl.Series, name: str) -> pa.Array:
    found = values.to_arrow().cast(SPANS.field(name).type)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
