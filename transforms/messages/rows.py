"""The rows of a batch that hold content, out of attributes of spans and attributes of events or log records."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from transforms.messages.extract import ROWS
from transforms.messages.sources import takes_of
from transforms.otlp.attributes import Attributes

Names = list[tuple[int, str]]


@dataclass(frozen=True)
class Selected:
    """Rows with content (columns ROWS) and their positions in the attributes that they were taken from."""

    rows: pl.DataFrame
    positions: np.ndarray

    def spread(self, taken: np.ndarray, size: int) -> np.ndarray:
        """`taken`, a bool per row, as a bool per attribute of all `size`."""
        spread = np.zeros(size, dtype=bool)
        spread[self.positions[taken]] = True
        return spread


def attribute_rows(attributes: Attributes) -> tuple[Selected, Names]:
    """The attributes that hold content, and the distinct names, numbered as in `attributes.keys`."""
    names = list(enumerate(attributes.keys))
    wanted = np.array([bool(takes_of(name)) for name in attributes.keys], dtype=bool)
    positions = np.flatnonzero(wanted[attributes.code])
    zeros = np.zeros(positions.size, dtype=np.int64)
    return _selected(attributes, positions, attributes.owner[positions], attributes.code[positions], zeros), names


def event_rows(events: pl.DataFrame, attributes: Attributes, base: int) -> tuple[Selected, Names]:
    """The attributes of events that hold content; a name is `event name/attribute`, numbered from `base`."""
    if events.is_empty():
        nothing = np.empty(0, dtype=np.int64)
        return Selected(pl.DataFrame(schema=ROWS), nothing), []
    told = events.select("span", "name").with_row_index("event")
    told = told.filter(pl.col("name").str.starts_with("gen_ai."))
    titles = told["name"].unique(maintain_order=True)
    told = told.join(pl.DataFrame({"name": titles}).with_row_index("title"), on="name")
    title = np.full(events.height + 1, -1, dtype=np.int64)
    title[told["event"].to_numpy()] = told["title"].to_numpy()
    pair = title[attributes.owner] * len(attributes.keys) + attributes.code
    positions = np.flatnonzero(title[attributes.owner] >= 0)
    seen, code = np.unique(pair[positions], return_inverse=True)
    width = max(len(attributes.keys), 1)
    names = [(base + n, f"{titles[int(p) // width]}/{attributes.keys[int(p) % width]}") for n, p in enumerate(seen)]
    owner = events["span"].to_numpy()[attributes.owner[positions]]
    occurrence = attributes.owner[positions].astype(np.int64)
    return _selected(attributes, positions, owner, base + code, occurrence), names


def _selected(
    attributes: Attributes, positions: np.ndarray, owner: np.ndarray, code: np.ndarray, occurrence: np.ndarray
) -> Selected:
    text = attributes.texts.gather(positions)
    columns = {"owner": owner, "code": code, "occurrence": occurrence, "text": text}
    return Selected(pl.DataFrame(columns, schema=ROWS), positions)
