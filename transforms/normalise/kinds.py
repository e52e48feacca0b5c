"""What a span is: its kind, its operation, and whether it is a call that can be billed."""

import numpy as np
import polars as pl

from schemas.vocabulary import Vocabulary
from transforms.normalise.conditions import Known
from transforms.normalise.fields import read_text
from transforms.normalise.reading import Reading

CALLS = ("llm", "embedding")


def read_operation(reading: Reading, known: Known) -> pl.Series:
    """The operation in the conventions' words, String; a word of the library's own is kept in lower case."""
    aliases = reading.vocabulary.operation_aliases

    def canonical(word: str) -> str:
        lowered = word.strip().lower().replace(" ", "_")
        return aliases.get(lowered, lowered)

    return read_text(reading, "operation", known, canonical)


def read_kind(reading: Reading, known: Known, operation: pl.Series) -> pl.Series:
    """The kind that the span states, or that its operation implies; NULL when it states neither."""
    stated = read_text(reading, "kind", known)
    implied = operation.replace_strict(dict(reading.vocabulary.operation_kinds), default=None, return_dtype=pl.String)
    return pl.select(pl.coalesce(stated, implied)).to_series()


def implied_calls(kind: pl.Series, model: pl.Series, usage: np.ndarray) -> pl.Series:
    """`kind` with the spans that state no kind, but name a model and count tokens, as calls: that is what an
    inference is. String, NULL where still unknown."""
    rows = np.flatnonzero(kind.is_null().to_numpy() & model.is_not_null().to_numpy() & usage)
    embeds = model.gather(rows).str.to_lowercase().str.contains("embed", literal=True).to_numpy()
    words = pl.Series(["llm", "embedding"], dtype=pl.String)
    return kind.scatter(rows, words.gather(embeds.astype(np.int64)))


def operation_of(operation: pl.Series, kind: pl.Series, vocabulary: Vocabulary) -> pl.Series:
    """`operation`, or that of the kind where it is unknown."""
    implied = kind.replace_strict(dict(vocabulary.operations_of_kinds), default=None, return_dtype=pl.String)
    return pl.select(pl.coalesce(operation, implied)).to_series()
