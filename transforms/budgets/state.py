"""How the ledger of one organisation lies in state: many small segments, so that an event touches a few.

| segment | holds | purged |
|---|---|---|
| `head` | Head | never |
| `limits` | Book | never |
| `r/<request id>` | Spend of that request | when its time to keep is over |
| `a/<request id>/<operation>` | the first reply to it | with `r/` |
| `u/<call id>` | Spend of a call without a reservation | as `r/` |
| `c/<call id>` | Call | as `r/` |
| `p/<response id>` | Response | as `r/` |
| `b/<budget id>/<window start>` | Balance | as `r/`; that of all time never |
| `log/<n>` | names of what call n of the fold opened, and of the holds that it moved | when it is looked at |
| `due/<second>` | numbers n whose `log/<n>` names holds that expire then | then |

What is forgotten depends on the time of the log alone: a segment whose time to keep is over counts as not there, and
is removed a little later, some with each call. Every segment starts with SCHEMA_VERSION of blobs.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from transforms.budgets.balances import Balance, read_balance
from transforms.budgets.blobs import mark, pack, unmark, unpack
from transforms.budgets.spends import Call, Response, Spend, read_call, read_spend
from transforms.budgets.windows import SECOND
from transforms.folds.step import State

FOREVER = 2**63 - 1
OPERATIONS = ("reserve", "settle", "release")
_PURGED_AT_ONCE = 4  # chunks of the log of names that a call looks at: faster than they grow


class Kept(Protocol):
    @property
    def keep(self) -> int: ...

    def to_state(self) -> list[Any]: ...


K = TypeVar("K", bound=Kept)


@dataclass(frozen=True)
class Head:
    """time: UTC ns of the last event. book: digest of `limits`. first, next: the chunks `log/<n>` that are there.

    first_due: UTC ns when the first of them is looked at. swept: the last second whose holds have expired.
    last_due: the last second at which a hold may expire.
    """

    time: int = 0
    book: str = ""
    first: int = 0
    next: int = 0
    first_due: int = 0
    swept: int = 0
    last_due: int = 0


def read_head(state: State) -> Head:
    """The head of `state`, the first one when there is none. Raises UnknownSchemaVersion."""
    data = state.get("head")
    return Head() if data is None else Head(*unpack(data))


class Segments:
    """State during one call of the fold: what was read, decoded, and what has changed."""

    def __init__(self, state: State, head: Head) -> None:
        self._state = state
        self._head = head
        self.time = head.time
        self._values: dict[str, Any] = {}
        self._changed: set[str] = set()
        self._writes: dict[str, bytes | None] = {}
        self._opened: list[str] = []
        self._dues: dict[int, list[str]] = {}
        self._swept, self._last_due = head.swept, head.last_due

    def spend(self, name: str) -> Spend | None:
        return self._get(name, read_spend)

    def call(self, call_id: str) -> Call | None:
        return self._get(f"c/{call_id}", read_call)

    def response(self, response_id: str) -> Response | None:
        return self._get(f"p/{response_id}", lambda value: Response(*value))

    def balance(self, name: str) -> Balance | None:
        return self._get(name, read_balance)

    def put(self, name: str, value: Kept) -> None:
        if self._values.get(name) is None and value.keep != FOREVER:
            self._opened.append(name)
        self._values[name] = value
        self._changed.add(name)

    def answer(self, request_id: str, operation: str) -> bytes | None:
        """The first reply to a request, None when it is forgotten with the request."""
        name = f"a/{request_id}/{operation}"
        data = self._writes.get(name) or self._state.get(name)
        return None if data is None else unmark(data)

    def put_answer(self, request_id: str, operation: str, reply: bytes) -> None:
        self._writes[f"a/{request_id}/{operation}"] = mark(reply)

    def expire_at(self, name: str, second: int) -> None:
        """Lets `overdue` name the hold `name` when `second` has come."""
        self._dues.setdefault(second, []).append(name)
        self._last_due = max(self._last_due, second)

    def overdue(self) -> list[tuple[int, str]]:
        """The seconds that have come by `self.time`, each with the names of holds that may expire then, in order.

        Those that were ended, or expire later, are among them: how many depends on what earlier calls read at once.
        """
        now, found = self.time // SECOND, []
        for second in range(self._swept + 1, min(now, self._last_due) + 1):
            name = f"due/{second}"
            names = set(self._dues.pop(second, ()))
            if (data := self._state.get(name)) is not None:
                names.update(hold for chunk in unpack(data) for hold in self._chunk(chunk)[1] if hold[0] == "r")
                self._writes[name] = None
            found += [(second, hold) for hold in sorted(names)]
        self._swept = max(self._swept, now)
        return found

    def close(self, book: str, limits: bytes | None) -> dict[str, bytes | None]:
        """What the call has to write. book: digest of the limits; limits: their bytes when they are new."""
        head = replace(self._head, time=self.time, book=book, swept=self._swept, last_due=self._last_due)
        if limits is not None:
            self._writes["limits"] = limits
        head = self._open_chunk(self._purge(head))
        self._writes.update((name, pack(self._values[name].to_state())) for name in self._changed)
        if head != self._head:
            self._writes["head"] = pack(list(vars(head).values()))
        return self._writes

    def _get(self, name: str, read: Callable[[list[Any]], K]) -> K | None:
        if name in self._values:
            value = self._values[name]
        else:
            data = self._state.get(name)
            value = self._values[name] = None if data is None else read(unpack(data))
        return value if value is not None and value.keep > self.time else None

    def _chunk(self, number: int) -> tuple[int, list[str]]:
        """When chunk `number` is to be looked at (UTC ns), and the names in it."""
        due, names = unpack(self._state[f"log/{number}"])
        return due, names

    def _open_chunk(self, head: Head) -> Head:
        """Writes down what this call opened, and which of it expires when."""
        names = list(dict.fromkeys([*self._opened, *(name for held in self._dues.values() for name in held)]))
        if not names:
            return head
        number = head.next
        due = max(self._keep_of(name) for name in names)
        self._writes[f"log/{number}"] = pack([due, names])
        for second in self._dues:
            known = self._state.get(f"due/{second}")
            self._writes[f"due/{second}"] = pack([*([] if known is None else unpack(known)), number])
        return replace(head, next=number + 1, first_due=due if head.first == number else head.first_due)

    def _purge(self, head: Head) -> Head:
        """Removes what is forgotten from the oldest chunks; what is to be kept longer is named again."""
        for _ in range(_PURGED_AT_ONCE):
            if head.first == head.next or head.first_due > self.time:
                return head
            for name in self._chunk(head.first)[1]:
                self._forget(name)
            self._writes[f"log/{head.first}"] = None
            first = head.first + 1
            head = replace(head, first=first, first_due=self._chunk(first)[0] if first < head.next else 0)
        return head

    def _forget(self, name: str) -> None:
        keep = self._keep_of(name)
        if keep > self.time:
            self._opened.append(name)
        elif keep:
            self._changed.discard(name)
            self._writes[name] = None
            if name[0] == "r":
                self._writes.update((f"a/{name[2:]}/{operation}", None) for operation in OPERATIONS)

    def _keep_of(self, name: str) -> int:
        """UTC ns until when the segment is kept; 0 when it is not there."""
        if (value := self._values.get(name)) is not None:
            return value.keep
        data = self._state.get(name)
        return 0 if data is None else unpack(data)[0]
