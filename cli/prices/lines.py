"""Price files as lines of text fields: TOML, YAML or CSV. What the fields mean is in `statements.py`."""

import csv
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_TABLE = "price"
_HEADER = re.compile(rf"^\s*\[\[\s*{_TABLE}\s*\]\]", re.MULTILINE)


class FileRefused(ValueError):
    """A price file that cannot be taken; the message names every line that is wrong."""


@dataclass(frozen=True)
class Line:
    """One statement of a price: its fields as they were written, and where it stands and each of them (places).

    place: empty if it comes from the options of a command.
    """

    place: str
    fields: Mapping[str, str]
    places: Mapping[str, str]

    def __str__(self) -> str:
        return self.place or "the contract"

    def at(self, field: str) -> str:
        """Where a field stands: `line 3: input`, `--cache-read`."""
        option = f"--{field.replace('_', '-')}"
        return f"{self.places.get(field, self.place)}: {field}" if self.place else option


def read_lines(path: Path) -> list[Line]:
    """The prices of a file by its ending. Raises FileRefused with the line where it cannot be read."""
    readers = {".toml": _toml, ".yaml": _yaml, ".yml": _yaml, ".csv": _csv}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FileRefused(f"{path.name}: a price file ends in {', '.join(readers)}")
    try:
        lines = list(reader(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError as error:
        raise FileRefused(f"{path.name}: byte {error.start} is not UTF-8") from error
    if not lines:
        raise FileRefused(f"{path.name}: it states no price")
    return lines


def _line(number: int) -> str:
    return f"line {number}"


def _toml(text: str) -> Iterator[Line]:
    try:
        document = tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as error:
        raise FileRefused(str(error)) from error
    tables = document.pop(_TABLE, [])
    starts = [text.count("\n", 0, match.end()) + 1 for match in _HEADER.finditer(text)]
    if document or not isinstance(tables, list) or len(tables) != len(starts):
        names = f" (not {', '.join(document)})" if document else ""
        raise FileRefused(f"a price file has one [[{_TABLE}]] table for each price and nothing else{names}")
    rows = text.split("\n")
    for table, start, end in zip(tables, starts, [*starts, len(rows) + 1][1:], strict=True):
        places = {
            field: _line(next((n for n in range(start, end) if _sets(rows[n - 1], field)), start)) for field in table
        }
        fields = {field: _plain(value, places[field], field) for field, value in table.items()}
        yield Line(_line(start), fields, places)


def _sets(row: str, field: str) -> bool:
    return row.partition("=")[0].strip().strip("\"'") == field


def _plain(value: Any, place: str, field: str) -> str:
    if isinstance(value, dict | list):
        raise FileRefused(f"{place}: {field}: one value is expected here")
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _yaml(text: str) -> Iterator[Line]:
    try:
        root: Node | None = YAML(typ="rt").compose(text)
    except MarkedYAMLError as error:
        place = f"{_line(error.problem_mark.line + 1)}: " if error.problem_mark else ""
        raise FileRefused(f"{place}{error.problem}") from error
    except YAMLError as error:
        raise FileRefused(str(error)) from error
    if isinstance(root, MappingNode) and [key.value for key, _ in root.value] == [_TABLE]:
        root = root.value[0][1]
    if not isinstance(root, SequenceNode):
        raise FileRefused(f"line 1: a price file is a list of prices under `{_TABLE}`")
    for item in root.value:
        if not isinstance(item, MappingNode):
            raise FileRefused(f"{_of(item)}: a price is a mapping of fields")
        yield _mapping(item)


def _of(node: Node) -> str:
    return _line(node.start_mark.line + 1)


def _mapping(item: MappingNode) -> Line:
    fields: dict[str, str] = {}
    places: dict[str, str] = {}
    for key, value in item.value:
        if not isinstance(key, ScalarNode) or not isinstance(value, ScalarNode):
            raise FileRefused(f"{_of(key)}: {key.value}: one value is expected here")
        if key.value in fields:
            raise FileRefused(f"{_of(key)}: {key.value}: it is stated twice")
        fields[key.value], places[key.value] = value.value, _of(key)
    return Line(_of(item), fields, places)


def _csv(text: str) -> Iterator[Line]:
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            place = _line(reader.line_num)
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = [name.strip() for name in row]
                if len(set(header)) < len(header):
                    raise FileRefused(f"{place}: a column is named twice")
                continue
            if len(row) != len(header):
                raise FileRefused(f"{place}: {len(row)} cells, but the header has {len(header)} columns")
            cells = zip(header, row, strict=True)
            yield Line(place, {name: cell.strip() for name, cell in cells if cell.strip()}, {})
    except csv.Error as error:
        raise FileRefused(f"{_line(reader.line_num)}: {error}") from error
