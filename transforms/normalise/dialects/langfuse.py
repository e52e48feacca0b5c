"""Langfuse's usage details with free keys: disjoint buckets (LangChain handler), or what the user wrote by hand."""

from collections.abc import Mapping
from typing import Any

# part of a bucket's name -> count that it belongs to; the first part found decides
_PARTS = (
    ("1h", "cache_write_1h"),
    ("5m", "cache_write_5m"),
    ("cache_creation", "cache_write"),
    ("cache_write", "cache_write"),
    ("cache", "cache_read"),
    ("reasoning", "reasoning"),
    ("input_audio", "audio_input"),
    ("output_audio", "audio_output"),
)


def usage(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Counts of a usage object with an `input` or `output` key; None for any other, such as OpenAI's own.

    Every key that contains `input` is a bucket of the input, every key that contains `output` one of the output, as
    Langfuse's server counts them (ingestion, usage details). If the plain keys alone add up to `total`, they were
    inclusive after all.
    """
    if "input" not in document and "output" not in document:
        return None
    sides = {"input": 0, "output": 0}
    counts: dict[str, Any] = {}
    for key, value in document.items():
        if type(value) is not int or value < 0:
            continue
        for side in sides:
            if side in key:
                sides[side] += value
        name = next((name for part, name in _PARTS if part in key), None)
        if name:
            counts[name] = counts.get(name, 0) + value
    plain = [document.get(side) for side in ("input", "output")]
    total = counts["total"] = document.get("total")
    if total is not None and total == sum(value for value in plain if type(value) is int):
        sides = {"input": plain[0] or 0, "output": plain[1] or 0}
    for side in ("input", "output"):
        if side in document:  # what is no number is handed on, so that it is marked
            counts[side] = sides[side] if type(document[side]) is int and document[side] >= 0 else document[side]
    counts["cache_write"] = max(
        counts.get("cache_write", 0), counts.get("cache_write_5m", 0) + counts.get("cache_write_1h", 0)
    )
    if type(counts.get("input")) is int:
        counts["uncached"] = counts["input"] - counts.get("cache_read", 0) - counts["cache_write"]
    return counts
