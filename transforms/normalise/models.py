"""Who served a call: the provider in the conventions' words, by what the span says, else by the model's name."""

import numpy as np
import polars as pl
import pyarrow as pa

from schemas.vocabulary import Vocabulary
from transforms.normalise.conditions import Known
from transforms.normalise.documents import distinct
from transforms.normalise.fields import read_text
from transforms.normalise.reading import Reading


def provider_name(word: str, vocabulary: Vocabulary) -> str | None:
    """The provider meant by `word`; None for a framework that names itself. `openai.chat` is cut at its last dot."""
    whole = word.strip().lower()
    name = whole
    while name:
        if name in vocabulary.frameworks:
            return None
        if name in vocabulary.providers:
            return vocabulary.providers[name]
        name = name.rpartition(".")[0]
    return whole or None


def provider_of_model(model: str, vocabulary: Vocabulary) -> str | None:
    """The provider that the name of a model gives away; None when it does not.

    `openai/gpt-4o` names it before the slash (LiteLLM, OpenRouter); else the name's beginning tells.
    """
    name = model.strip().lower()
    head, slash, rest = name.partition("/")
    if slash and head in vocabulary.providers:
        return vocabulary.providers[head]
    for part in (name, rest):
        for prefix, provider in vocabulary.model_prefixes:
            if part.startswith(prefix):
                return provider
    return None


def read_provider(reading: Reading, known: Known) -> pl.Series:
    """The provider that each span states, String, NULL where it states none."""
    return read_text(reading, "provider", known, lambda word: provider_name(word, reading.vocabulary))


def infer_provider(
    provider: pl.Series, model: pl.Series, calls: np.ndarray, vocabulary: Vocabulary
) -> tuple[pl.Series, np.ndarray]:
    """`provider` with the calls that state none filled by their model, and bool[n]: which those are."""
    rows = np.flatnonzero(calls & provider.is_null().to_numpy() & model.is_not_null().to_numpy())
    codes, names = distinct(model.gather(rows).to_arrow().cast(pa.large_string()))
    guesses = pl.Series([provider_of_model(name, vocabulary) for name in names], dtype=pl.String).gather(codes)
    inferred = np.zeros(len(provider), bool)
    inferred[rows] = guesses.is_not_null().to_numpy()
    return provider.scatter(rows, guesses), inferred
