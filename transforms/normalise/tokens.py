"""Token counts in one meaning: input holds uncached + cache read + cache write, output holds reasoning.

Nothing on a span says how its counts are meant. What decides, first to last: the provider's own usage object on the
same span; the count of uncached tokens, where sent; arithmetic (caches above the input, a total that only one reading
adds up to); the rules of the dialect; else inclusive, as the GenAI conventions demand. Every correction is flagged,
the raw numbers stay in the span's attributes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from schemas.dialects import UsageRules
from schemas.vocabulary import COUNTS
from transforms.normalise.conditions import Known
from transforms.normalise.counts import LARGEST, Count
from transforms.normalise.fields import read_count
from transforms.normalise.reading import Reading
from transforms.normalise.usage import Usage

# column of the spans table <- count
COLUMNS = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cache_read",
    "cache_write_tokens": "cache_write",
    "cache_write_1h_tokens": "cache_write_1h",
    "reasoning_tokens": "reasoning",
    "audio_input_tokens": "audio_input",
    "audio_output_tokens": "audio_output",
}


@dataclass(frozen=True)
class Hints:
    """bool[n spans] each, from the rules of the dialects: how counts are meant if the numbers do not say it."""

    exclusive: np.ndarray
    reasoning_twice: np.ndarray


@dataclass
class Tokens:
    """Corrected counts, and flags by name (bool[n spans])."""

    counts: Mapping[str, Count]
    flags: dict[str, np.ndarray] = field(default_factory=dict)

    def flag(self, name: str, rows: np.ndarray) -> None:
        self.flags[name] = self.flags.get(name, False) | rows


def read_counts(reading: Reading, known: Known) -> dict[str, Count]:
    """Every count as its attribute says it."""
    return {name: read_count(reading, name, known) for name in COUNTS}


def hints(reading: Reading, provider: pl.Series, model: pl.Series) -> Hints:
    """What the dialects' usage rules say of each span; `model` as answered, else as asked."""
    exclusive, twice = np.zeros(reading.rows, bool), np.zeros(reading.rows, bool)
    for index in reading.present:
        rules = reading.dialects[index].usage
        rows = np.flatnonzero(reading.of_dialect(index))
        exclusive[rows] = _exclusive(reading, rules, rows, provider, model)
        if rules.reasoning_twice:
            once = provider.gather(rows).is_in(list(rules.reasoning_once_providers)).fill_null(False)
            twice[rows] = ~once.to_numpy()
    return Hints(exclusive, twice)


def _exclusive(
    reading: Reading, rules: UsageRules, rows: np.ndarray, provider: pl.Series, model: pl.Series
) -> np.ndarray:
    if rules.exclusive or not (rules.exclusive_providers or rules.exclusive_models):
        return np.full(len(rows), rules.exclusive)
    fits = provider.gather(rows).is_in(list(rules.exclusive_providers)).fill_null(False).to_numpy().copy()
    lowered = model.gather(rows).str.to_lowercase()
    for part in rules.exclusive_models:
        fits |= lowered.str.contains(part, literal=True).fill_null(False).to_numpy()
    for key in rules.inclusive_if_key:
        fits &= ~reading.has_key(key)[rows]
    return fits


def correct(sent: Mapping[str, Count], usage: Usage, hints: Hints) -> Tokens:
    """The counts of every span in one meaning.

    sent: as its attributes say. usage: as the provider's usage object says, input and output already inclusive.
    """
    tokens = Tokens({name: _filled(sent[name], usage.counts[name]) for name in COUNTS})
    tokens.flag("bad_token_count", np.logical_or.reduce([count.bad for count in tokens.counts.values()]))
    tokens.flag("bad_usage", usage.broken)
    _sum_cache_write(tokens.counts)
    raw = {name: tokens.counts[name].value.copy() for name in ("input", "output")}
    settled = _settle(tokens, sent, usage)
    _include_caches(tokens, settled, hints.exclusive & sent["input"].known)
    _place_reasoning(tokens, usage.counts["output"].known & ~sent["output"].known, hints.reasoning_twice)
    _derive_from_total(tokens)
    _check_total(tokens, raw)
    _cap(tokens)
    return tokens


def _filled(sent: Count, usage: Count) -> Count:
    known = sent.known
    return Count(np.where(known, sent.value, usage.value), known | usage.known, sent.bad | usage.bad)


def _sum_cache_write(counts: Mapping[str, Count]) -> None:
    """Writes that came only by their lifetime (5 minutes, 1 hour) are added up."""
    write, short, long = (counts[name] for name in ("cache_write", "cache_write_5m", "cache_write_1h"))
    parts = short.known & long.known & ~write.known
    write.value[parts] = (short.value + long.value)[parts]
    write.known |= parts


def _settle(tokens: Tokens, sent: Mapping[str, Count], usage: Usage) -> np.ndarray:
    """Take the meaning of the input from the provider's own usage, or from the uncached count. bool[n]: settled."""
    count, own = tokens.counts["input"], usage.counts
    both = sent["input"].known & own["input"].known
    same = both & (sent["input"].value == own["input"].value)
    uncached = both & ~same & own["uncached"].known & (sent["input"].value == own["uncached"].value)
    count.value[uncached] = own["input"].value[uncached]
    tokens.flag("input_was_exclusive", uncached)
    tokens.flag("usage_mismatch", both & ~same & ~uncached)
    only_own = own["input"].known & ~sent["input"].known
    rest, cached = sent["uncached"], _cached(tokens)
    from_rest = rest.known & (count.value == rest.value) & (cached > 0) & ~both
    count.value[from_rest] += cached[from_rest]
    tokens.flag("input_was_exclusive", from_rest)
    no_input = rest.known & ~count.known
    count.value[no_input] = (rest.value + cached)[no_input]
    count.known |= no_input
    return same | uncached | only_own | rest.known


def _cached(tokens: Tokens) -> np.ndarray:
    return tokens.counts["cache_read"].value + tokens.counts["cache_write"].value


def _include_caches(tokens: Tokens, settled: np.ndarray, hinted: np.ndarray) -> None:
    count, cached = tokens.counts["input"], _cached(tokens)
    total, output = tokens.counts["total"], tokens.counts["output"].value
    adds_up_apart = total.known & (total.value == count.value + cached + output)
    exclusive = count.known & (cached > 0) & ~settled & (hinted | (cached > count.value) | adds_up_apart)
    count.value[exclusive] += cached[exclusive]
    tokens.flag("input_was_exclusive", exclusive)


def _place_reasoning(tokens: Tokens, settled: np.ndarray, twice: np.ndarray) -> None:
    """Output that lacks the reasoning gets it; output that holds it twice loses one.

    A total decides where it was sent. Without one, twice needs the dialect's word, and output of at least twice
    the reasoning; reasoning above the output cannot be part of it.
    """
    output, reasoning, total = (tokens.counts[name] for name in ("output", "reasoning", "total"))
    open_rows = output.known & reasoning.known & (reasoning.value > 0) & ~settled
    counted = tokens.counts["input"].value + output.value
    says = total.known & (total.value > 0)
    doubled = np.where(says, total.value == counted - reasoning.value, twice & (output.value >= 2 * reasoning.value))
    doubled &= open_rows
    apart = np.where(says, total.value == counted + reasoning.value, reasoning.value > output.value)
    apart &= open_rows
    output.value[doubled] -= reasoning.value[doubled]
    output.value[apart] += reasoning.value[apart]
    tokens.flag("reasoning_counted_twice", doubled)
    tokens.flag("output_excluded_reasoning", apart)


def _derive_from_total(tokens: Tokens) -> None:
    """One side that was not sent is the total less the other; with neither, nothing is known."""
    count, output, total = (tokens.counts[name] for name in ("input", "output", "total"))
    no_input = total.known & output.known & ~count.known & (total.value >= output.value)
    no_output = total.known & count.known & ~output.known & (total.value > count.value)
    count.value[no_input] = (total.value - output.value)[no_input]
    output.value[no_output] = (total.value - count.value)[no_output]
    count.known |= no_input
    output.known |= no_output
    tokens.flag("derived_from_total", no_input | no_output)


def _check_total(tokens: Tokens, raw: Mapping[str, np.ndarray]) -> None:
    count, output, total = (tokens.counts[name] for name in ("input", "output", "total"))
    as_read, as_sent = count.value + output.value, raw["input"] + raw["output"]
    off = total.known & count.known & (total.value != as_read) & (total.value != as_sent)
    tokens.flag("total_mismatch", off)
    parts = (_cached(tokens) > count.value) & count.known
    parts |= (tokens.counts["reasoning"].value > output.value) & output.known
    tokens.flag("parts_above_whole", parts)


def _cap(tokens: Tokens) -> None:
    """A sum above 2^53 is no count either."""
    for name in ("input", "output"):
        count = tokens.counts[name]
        above = count.known & ((count.value > LARGEST) | (count.value < 0))
        count.known &= ~above
        tokens.flag("bad_token_count", above)
