"""The prices in the store: reads and appends the entries of contracts, and writes down the default book."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from clickhouse_connect.driver.client import Client

from schemas.price_book import PriceBook
from schemas.prices.compile import DAY_NS
from schemas.prices.contracts import FIELDS, Band, Contract, Entry, dollars, yoctodollars

Row = dict[str, Any]  # of the table prices_data; times are UTC ns

_TABLE = "prices_data"
_TEXTS = ["org", "provider", "model", "context", "price_id", "entry_id", "reason", "actor", "source"]
_TIMES = ["effective_from", "effective_to", "known_from"]
_REST = ["hours_from", "hours_to", "input_above", "withdrawn", "other", "version"]
_COLUMNS = [*_TEXTS, *_TIMES, *FIELDS, *_REST]
_MILLION = 10**6
_CONTRACT = "contract"


def read_entries(client: Client) -> list[Entry]:
    """All that was ever recorded, in the order in which it became known.

    Raises clickhouse_connect's OperationalError when the store does not answer, DatabaseError when it refuses, and
    ValueError for a row that is no entry.
    """
    times = ", ".join(f"toUnixTimestamp64Nano({name}) AS {name}_ns" for name in _TIMES)
    found = client.query(
        f"SELECT {', '.join([*_TEXTS, *FIELDS])}, {times}, input_above, withdrawn FROM {_TABLE} FINAL"
        " WHERE entry_id != '' ORDER BY known_from, entry_id, input_above NULLS FIRST"
    )
    by_entry = groupby(found.named_results(), key=lambda row: row["entry_id"])
    return [_entry(list(rows)) for _, rows in by_entry]


def append_entries(client: Client, entries: Sequence[Entry]) -> None:
    """Records `entries`; one that is there already stays as it is. Raises as `read_entries` does."""
    _insert(client, [row for entry in entries for row in _rows(entry)])


def publish_book(client: Client, book: PriceBook) -> int:
    """Writes the default book down unless this version of it is there; returns the number of rows written."""
    (source,) = book.rows["source"].unique().to_list()
    there = client.query(f"SELECT count() FROM {_TABLE} FINAL WHERE source = {{s:String}}", parameters={"s": source})
    if there.result_rows[0][0] == book.rows.height:
        return 0
    _insert(client, [_book_row(row) for row in book.rows.iter_rows(named=True)])
    return book.rows.height


def _insert(client: Client, rows: Sequence[Row]) -> None:
    if rows:
        client.insert(_TABLE, [[row[name] for name in _COLUMNS] for row in rows], column_names=_COLUMNS)


def _entry(rows: Sequence[Row]) -> Entry:
    first = rows[0]
    bands = tuple(Band(row["input_above"], _prices(row)) for row in rows if not row["withdrawn"])
    key = (first["org"], first["provider"], first["model"], first["context"])
    made = Contract(*key, first["effective_from_ns"], first["effective_to_ns"], bands)
    return Entry(made, first["entry_id"], first["known_from_ns"], first["reason"], first["actor"])


def _prices(row: Row) -> tuple[tuple[str, int], ...]:
    stated = ((unit, row[field], count) for field, (unit, count) in FIELDS.items())
    return tuple(sorted((unit, yoctodollars(price, count)) for unit, price, count in stated if price is not None))


def _rows(entry: Entry) -> list[Row]:
    made = entry.contract
    common: Row = {
        "org": made.org,
        "provider": made.provider,
        "model": made.model,
        "context": made.context,
        "entry_id": entry.entry_id,
        "effective_from": made.effective_from,
        "effective_to": made.effective_to,
        "hours_from": 0,
        "hours_to": DAY_NS,
        "other": {},
        "known_from": entry.known_from,
        "reason": entry.reason,
        "actor": entry.actor,
        "source": _CONTRACT,
        "version": 2**63 - 1 - entry.known_from,
    }
    bands = made.bands or (Band(None, ()),)
    return [
        common
        | {"price_id": entry.price_id(band.above), "input_above": band.above, "withdrawn": not made.bands}
        | _dollars(dict(band.prices))
        for band in bands
    ]


def _book_row(row: Row) -> Row:
    prices = {name.removesuffix("_price"): price for name, price in row.items() if name.endswith("_price")}
    named = {unit for unit, _ in FIELDS.values()}
    other = {
        unit: dollars(price, _MILLION) for unit, price in prices.items() if price is not None and unit not in named
    }
    added = {"entry_id": "", "known_from": 0, "reason": "", "actor": "", "withdrawn": False, "other": other}
    return row | _dollars(prices) | added | {"version": _version(row["source"])}


def _dollars(prices: dict[str, int]) -> Row:
    """The price columns, from yoctodollars by unit."""
    stated = ((field, prices.get(unit), count) for field, (unit, count) in FIELDS.items())
    return {field: None if price is None else dollars(price, count) for field, price, count in stated}


def _version(source: str) -> int:
    """Of the book's package, as a number that grows: `genai-prices 0.2.3` is 2003."""
    major, minor, patch = (int(part) for part in source.split()[-1].split(".")[:3])
    return (major * 1000 + minor) * 1000 + patch
