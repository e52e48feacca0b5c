"""For which spans a source is to be read: the `if_...` parts of a dialect's source."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from schemas.dialects import Source
from transforms.normalise.reading import Reading


@dataclass
class Known:
    """What has been read so far and may decide where to read next: kind and provider of each span."""

    kind: pl.Series | None = None
    provider: pl.Series | None = None
    masks: dict[tuple, np.ndarray] = field(default_factory=dict)  # of conditions that were asked for before

    def settle_kind(self, kind: pl.Series) -> None:
        """`kind` holds from now on."""
        self.kind = kind
        self.masks = {asked: mask for asked, mask in self.masks.items() if asked[0] != "kind"}

    def mask(self, asked: tuple, answer: Callable[[], np.ndarray]) -> np.ndarray:
        if asked not in self.masks:
            self.masks[asked] = answer()
        return self.masks[asked]


def holds(reading: Reading, source: Source, known: Known) -> np.ndarray | None:
    """bool[n spans]: the source applies to the span; None when it applies to all."""
    kind, provider, spans = known.kind, known.provider, reading.spans
    masks = []
    if source.if_key:
        masks.append(known.mask(("key", source.if_key), lambda: reading.has_key(source.if_key)))
    if source.if_scope:
        starts = lambda: _true(spans["scope"].str.starts_with(source.if_scope))  # noqa: E731
        masks.append(known.mask(("scope", source.if_scope), starts))
    if source.if_name:
        fits = lambda: _true(spans["name"].str.contains(source.if_name))  # noqa: E731
        masks.append(known.mask(("name", source.if_name), fits))
    if source.if_kind and kind is not None:
        masks.append(known.mask(("kind", source.if_kind), lambda: _true(kind.is_in(list(source.if_kind)))))
    if source.if_provider and provider is not None:
        among = lambda: _true(provider.is_in(list(source.if_provider)))  # noqa: E731
        masks.append(known.mask(("provider", source.if_provider), among))
    return np.logical_and.reduce(masks) if masks else None


def _true(values: pl.Series) -> np.ndarray:
    return values.fill_null(False).to_numpy()
