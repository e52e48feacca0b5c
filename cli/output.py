"""Data on standard output in the form that was asked for; talk on standard error."""

import csv
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

# Without a terminal there is no width to fit into: wide enough that nothing is cut.
_WIDE = 200

talk = Console(stderr=True, highlight=False, soft_wrap=True)
paper = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


class Form(StrEnum):
    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


def say(text: str) -> None:
    talk.print(text, markup=False)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], form: Form, title: str = "") -> None:
    """Prints `rows` (one mapping per row) with `columns` in this order."""
    if form is Form.table:
        paper.print(_table(rows, columns, title))
    elif form is Form.csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows([_plain(row.get(column)) for column in columns] for row in rows)
    else:
        picked = [{column: row.get(column) for column in columns} for row in rows]
        lines = (
            [orjson.dumps(picked, default=str)] if form is Form.json else [orjson.dumps(r, default=str) for r in picked]
        )
        sys.stdout.write("".join(line.decode() + "\n" for line in lines))


def _plain(value: Any) -> Any:
    return "" if value is None else value


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], title: str) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    return table


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("[", "\\[")


def dollars(nano: int | None) -> str:
    """Nano-dollars as dollars, exact: 1_234_000 -> '$0.001234'. '-' for None."""
    if nano is None:
        return "-"
    whole, rest = divmod(abs(nano), 10**9)
    digits = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}${whole}.{digits}"


def seconds(ns: int | None) -> str:
    """A duration in the unit that reads best: '2.31 s', '81 ms'. '-' for None."""
    if ns is None:
        return "-"
    if ns >= 10**9:
        return f"{ns / 10**9:.2f} s"
    return f"{ns / 10**6:.0f} ms" if ns >= 10**7 else f"{ns / 10**6:.1f} ms"
