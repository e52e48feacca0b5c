"""From a decoded batch to the facts of each span in one vocabulary, whatever library wrote it.

Columns: dialect, kind, operation, provider, request_model, response_model, response_id, session_id, user_id,
prompt_name, prompt_version, request_id, service_tier, token_source, ttft_kind, error: String (NULL where not known;
kind, dialect and error never); the token columns of SPANS, ttft_ns, tpot_ns, client_cost_nano: Int64; streaming, batch,
is_call: Boolean; tags, finish_reasons, flags, token_flags: List(String); read_from: String, JSON from column to origin
(see origins).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.dialects import Dialect, dialects
from schemas.limits import LIMITS, Limits
from schemas.vocabulary import Vocabulary, vocabulary
from transforms.cuts import cut
from transforms.normalise.client_cost import client_cost
from transforms.normalise.conditions import Known
from transforms.normalise.counts import Count
from transforms.normalise.detect import detect
from transforms.normalise.dialects import Facts, Refinement, rules
from transforms.normalise.documents import Documents
from transforms.normalise.errors import ERROR, read_error
from transforms.normalise.fields import Texts, read_bool, read_list, read_text
from transforms.normalise.kinds import CALLS, implied_calls, operation_of, read_kind, read_operation
from transforms.normalise.latency import FirstToken, kind_names, masked, read_first_token, time_per_output_token
from transforms.normalise.models import infer_provider, read_provider
from transforms.normalise.origins import Origins
from transforms.normalise.reading import Events, Reading
from transforms.normalise.tokens import COLUMNS, Tokens, correct, hints, read_counts
from transforms.normalise.usage import Reader, Usage, read_usage
from transforms.otlp.decode import Decoded

# The fields that a column is read from: the first of them that a span has.
_ORIGINS = {
    **{name: (name,) for name in ("operation", "provider", "request_model", "response_model", "response_id")},
    **{name: (name,) for name in ("service_tier", "streaming", "batch")},
    **{column: (name, f"usage.{name}") for column, name in COLUMNS.items()},
    "kind": ("kind", "operation"),
    "input_tokens": ("input", "usage.input", "uncached", "total", "usage.total"),
    "output_tokens": ("output", "usage.output", "total", "usage.total"),
    "cache_write_tokens": ("cache_write", "usage.cache_write", "cache_write_5m", "usage.cache_write_5m"),
    "ttft_ns": ("ttft",),
    "client_cost_nano": ("cost",),
}

_TEXTS = ("session_id", "user_id", "prompt_name", "prompt_version", "service_tier")

# Our own attribute, whatever the dialect: the budget's reservation that the call was made under.
_REQUEST_ID = "spanmill.request_id"


@dataclass(frozen=True)
class _Who:
    """What each span says it is: String series, NULL where it does not say."""

    operation: pl.Series
    kind: pl.Series
    provider: pl.Series
    request_model: pl.Series
    response_model: pl.Series

    @property
    def model(self) -> pl.Series:
        return pl.select(pl.coalesce(self.response_model, self.request_model)).to_series()

    def is_kind(self, *kinds: str) -> np.ndarray:
        return self.kind.is_in(list(kinds)).fill_null(value=False).to_numpy()

    def decided(self, usage: Usage, known: Known) -> "_Who":
        """With a usage object, a span that names a model is a call, whatever else it does not say."""
        known.settle_kind(implied_calls(self.kind, self.model, _counted(usage.counts)))
        return replace(self, kind=known.kind)


def normalise(decoded: Decoded, limits: Limits = LIMITS) -> pl.DataFrame:
    """One row per span of `decoded`, in order; texts are cut at `limits.name_bytes` (flag name_cut).

    Tokens, cost and first token are those of calls (`is_call`: leaf inference or embedding) and NULL on all other
    spans, whatever those repeat.
    """
    reading = read(decoded, dialects(), vocabulary())
    known = Known()
    who, sent = _identify(reading, known)
    usage = read_usage(reading, known, _needed(sent, who), _usage_readers())
    who = who.decided(usage, known)
    call = who.is_kind(*CALLS)
    tokens = correct(sent, usage, hints(reading, who.provider, who.model))
    response_id = read_text(reading, "response_id", known)
    streams = read_bool(reading, "streaming", known)
    first = read_first_token(reading, known, who.is_kind("llm"), streams == 0)
    facts = Facts(
        call,
        _counted(tokens.counts),
        response_id.is_not_null().to_numpy(),
        (streams == 1) | (first.kind >= 0),
        _failed(reading),
    )
    refined = _refine(reading, facts)
    call = call & ~refined.not_calls
    provider, inferred = infer_provider(who.provider, who.model, call, reading.vocabulary)
    texts, name_cut = _text_columns(reading, known, replace(who, provider=provider), response_id, limits)
    flags = dict(refined.flags) | {
        "provider_inferred": inferred,
        "ttft_out_of_range": first.out_of_range,
        "name_cut": name_cut,
    }
    columns = {
        "dialect": _dialect_names(reading),
        **texts,
        **_token_columns(tokens, call, facts.usage, refined.estimated),
        **_latency_columns(reading, first, tokens.counts["output"], call),
        "streaming": facts.streaming,
        "batch": read_bool(reading, "batch", known) == 1,
        "client_cost_nano": client_cost(read_text(reading, "cost", known), call, facts.failed),
        "tags": read_list(reading, "tags", known),
        "finish_reasons": read_list(reading, "finish_reasons", known, _finish_reason),
        "error": read_error(reading, known),
        "flags": _flag_lists(flags, reading.rows),
        "token_flags": _flag_lists({name: rows & call for name, rows in tokens.flags.items()}, reading.rows),
        "is_call": call,
    }
    return pl.DataFrame(columns | {"read_from": _read_from(reading, columns)})


def _counted(counts: Mapping[str, Count]) -> np.ndarray:
    return counts["input"].known | counts["output"].known


def _failed(reading: Reading) -> np.ndarray:
    return (reading.spans["status_code"] == ERROR).to_numpy()


def _identify(reading: Reading, known: Known) -> tuple[_Who, Mapping[str, Count]]:
    """What each span is, and its counts as sent (which may give away that it is a call)."""
    operation = read_operation(reading, known)
    stated = read_kind(reading, known, operation)
    known.settle_kind(stated)
    known.provider = read_provider(reading, known)
    request_model = read_text(reading, "request_model", known)
    response_model = read_text(reading, "response_model", known)
    model = pl.select(pl.coalesce(response_model, request_model)).to_series()
    sent = read_counts(reading, known)
    counted = np.logical_or.reduce([sent[name].known for name in ("input", "output", "total")])
    kind = implied_calls(stated, model, counted)
    known.settle_kind(kind)
    who = _Who(
        operation=operation,
        kind=kind,
        provider=known.provider,
        request_model=request_model,
        response_model=response_model,
    )
    return who, sent


def read(decoded: Decoded, known_dialects: Sequence[Dialect], words: Vocabulary) -> Reading:
    """The batch with the dialect of each span."""
    events = decoded.events
    return Reading(
        spans=decoded.spans,
        attributes=decoded.attributes,
        events=Events(
            events["span"].to_numpy(), events["time_ns"].to_numpy(), events["name"], decoded.event_attributes
        ),
        dialects=known_dialects,
        dialect=detect(decoded.spans["scope"], decoded.attributes, known_dialects),
        vocabulary=words,
        documents=Documents(decoded.attributes.text),
        origins=Origins(decoded.spans.height),
    )


def _text_columns(
    reading: Reading, known: Known, who: _Who, response_id: pl.Series, limits: Limits
) -> tuple[dict[str, pl.Series], np.ndarray]:
    """The text columns within `limits.name_bytes`, and which rows lost text."""
    texts = {
        "kind": who.kind.fill_null("other"),
        "operation": operation_of(who.operation, who.kind, reading.vocabulary),
        "provider": who.provider,
        "request_model": who.request_model,
        "response_model": who.response_model,
        "response_id": response_id,
        **{name: read_text(reading, name, known) for name in _TEXTS},
        "request_id": _request_ids(reading),
    }
    shortened = {name: cut(values, limits.name_bytes) for name, values in texts.items()}
    lost = np.logical_or.reduce([lost for _, lost in shortened.values()])
    return {name: values for name, (values, _) in shortened.items()}, lost


def _request_ids(reading: Reading) -> pl.Series:
    texts = Texts(reading.rows, reading.attributes)
    for index in reading.present:
        positions = reading.positions(index, _REQUEST_ID)
        texts.put_positions(reading.attributes.owner[positions], positions)
    return texts.series()


def _needed(sent: Mapping[str, Count], who: _Who) -> np.ndarray:
    """bool[n]: spans for which the provider's usage object can add something. (Parsing bodies is dear.)"""
    no_input, no_output = ~sent["input"].known, ~sent["output"].known
    lifetimes = (sent["cache_write"].value > 0) & ~sent["cache_write_1h"].known
    # Anthropic's usage has no count of reasoning
    thoughts = ~sent["reasoning"].known & (who.provider != "anthropic").fill_null(True).to_numpy()
    undecided = (who.kind.is_null() & who.model.is_not_null()).to_numpy()
    inference = who.is_kind("llm") & (no_output | ~sent["cache_read"].known | lifetimes | thoughts)
    return undecided | inference | who.is_kind(*CALLS) & no_input


def _usage_readers() -> dict[str, Reader]:
    return {name: module.usage for name, module in rules().items() if hasattr(module, "usage")}


def _refine(reading: Reading, facts: Facts) -> Refinement:
    """The rules of all dialects present, united."""
    united = Refinement(np.zeros(reading.rows, bool), np.zeros(reading.rows, bool))
    for index in reading.present:
        module = rules().get(reading.dialects[index].name)
        if module is not None and hasattr(module, "refine"):
            one = module.refine(reading, reading.of_dialect(index), facts)
            united = Refinement(
                united.not_calls | one.not_calls, united.estimated | one.estimated, {**united.flags, **one.flags}
            )
    return united


def _token_columns(
    tokens: Tokens, call: np.ndarray, counted: np.ndarray, estimated: np.ndarray
) -> dict[str, pl.Series]:
    columns = {column: masked(tokens.counts[c].value, tokens.counts[c].known & call) for column, c in COLUMNS.items()}
    sources = pl.Series(["reported", "estimated", None], dtype=pl.String)
    return columns | {"token_source": sources.gather(np.where(counted & call, estimated.astype(np.int64), 2))}


def _latency_columns(reading: Reading, first: FirstToken, output: Count, call: np.ndarray) -> dict[str, pl.Series]:
    start, end = (reading.spans[name].to_numpy() for name in ("start_ns", "end_ns"))
    return {
        "ttft_ns": masked(first.ns, (first.kind >= 0) & call),
        "ttft_kind": kind_names(np.where(call, first.kind, -1)),
        "tpot_ns": time_per_output_token(end, start, first, output.value, output.known & call),
    }


def _read_from(reading: Reading, columns: Mapping[str, pl.Series | np.ndarray]) -> pl.Series:
    """Where each of the `columns` that a number rests on was read from, where it is known."""
    origins = reading.origins
    codes = {column: origins.of(*fields) for column, fields in _ORIGINS.items()}
    for column in codes:
        values = columns[column]
        if isinstance(values, pl.Series):
            codes[column] = np.where(values.is_not_null().to_numpy(), codes[column], 0)
    return origins.texts(codes)


def _dialect_names(reading: Reading) -> pl.Series:
    names = pl.Series([dialect.name for dialect in reading.dialects], dtype=pl.String)
    return names.gather(reading.dialect.astype(np.int64))


def _finish_reason(word: str) -> str | None:
    lowered = word.strip().lower()
    return vocabulary().finish_reasons.get(lowered, lowered)


def _flag_lists(flags: Mapping[str, np.ndarray], rows: int) -> pl.Series:
    """List(String)[rows]: the names of the flags that are set, in alphabetical order."""
    names = sorted(flags)
    table = np.stack([flags[name] for name in names], axis=1)
    lengths = table.sum(axis=1)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    chosen = pa.array(names).take(pa.array(np.nonzero(table)[1]))
    lists = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), chosen.cast(pa.large_string()))
    return pl.Series("flags", lists, dtype=pl.List(pl.String))
