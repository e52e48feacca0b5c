"""The fold over the log of budgets: one key is one organisation, and its outcome is a function of its log.

Time is that of the log, and never goes back: where a broker's clock does, it stands still. The fold asks for no
wake-up; a hold expires with the first event after its time.
"""

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b

import pyarrow as pa
from google.protobuf.message import DecodeError

from schemas import budget_pb2 as pb
from transforms.budgets.events import apply_event
from transforms.budgets.journal import Journal, Place
from transforms.budgets.ledger import Ledger, Memory
from transforms.budgets.limits import EMPTY, Book, read_book
from transforms.budgets.resolve import expire
from transforms.budgets.state import Segments, read_head
from transforms.folds.step import Fold, State, Step

_BOOKS_AT_HAND = 1_000


@dataclass(frozen=True)
class BudgetSettings:
    """memory: how long requests are remembered."""

    memory: Memory = Memory()


def make_budget(settings: BudgetSettings) -> Fold:
    """The fold over BUDGET_LOG rows of one organisation, in the order of the log.

    out, where not empty: "budget_replies", "budget_events", "budget_entries", "budget_balances" (schemas/arrow.py).
    bad: records and events that can't be read, limits and charges that can't be taken.
    Raises UnknownSchemaVersion on state that another version wrote.
    """
    books: OrderedDict[str, Book] = OrderedDict()  # by digest of their bytes: what was read once is not read again

    def fold(state: State, rows: pa.Table | None, now: int) -> Step:
        if rows is None or not rows.num_rows:
            return Step()
        head = read_head(state)
        book = _book(books, state, head.book)
        journal = Journal(Place(rows["org"][0].as_py()))
        ledger = Ledger(Segments(state, head), journal, book, settings.memory)
        for row in rows.to_pylist():
            _record(ledger, row)
        digest, data = head.book, None
        if ledger.book is not book:
            data = ledger.book.to_bytes()
            digest = blake2b(data, digest_size=16).hexdigest()
        writes = ledger.segments.close(digest, data)
        return Step(writes, journal.tables(), journal.dead_letters())

    return fold


def _record(ledger: Ledger, row: dict) -> None:
    place = ledger.place
    if row["org"] != place.org:
        raise ValueError(f"rows of {place.org} and {row['org']} in one call: the key is the organisation")
    place.partition, place.offset, place.entries = row["partition"], row["offset"], 0
    place.time = ledger.segments.time = max(ledger.segments.time, row["time"])
    expire(ledger)
    try:
        batch = pb.EventBatch.FromString(row["body"] or b"")
    except DecodeError as error:
        ledger.journal.letter(-1, row["body"], "InvalidEventBatch", str(error))
        return
    for position, event in enumerate(batch.events):
        apply_event(ledger, position, event)


def _book(books: OrderedDict[str, Book], state: State, digest: str) -> Book:
    """The limits in `state`, whose digest is `digest`: '' while there are none."""
    if not digest:
        return EMPTY
    book = books.get(digest)
    if book is None:
        book = books[digest] = read_book(state["limits"])
        if len(books) > _BOOKS_AT_HAND:
            books.popitem(last=False)
    return book
