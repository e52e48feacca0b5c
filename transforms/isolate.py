"""Find the few items of a batch that make a step fail, and keep the results of all the others.

A batch is tried whole; on a named error it is split in halves, down to one item. With k bad items among n
this costs about k * log2(n) attempts, so that a batch without a bad item pays for one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Isolated(Generic[T]):
    """What `isolate` found.

    results: the result of every range that passed, in the order of the items.
    bad: (item, error) of every item that fails alone, ascending.
    """

    results: list[T]
    bad: list[tuple[int, Exception]]


def isolate(count: int, attempt: Callable[[int, int], T], errors: tuple[type[Exception], ...]) -> Isolated[T]:
    """Run `attempt(start, stop)` over the items 0..count, splitting a range that raises one of `errors`.

    An error that is not named in `errors` passes through. A count of 0 makes no attempt.
    """
    results: list[T] = []
    bad: list[tuple[int, Exception]] = []
    pending = [(0, count)] if count else []
    while pending:
        start, stop = pending.pop()
        try:
            results.append(attempt(start, stop))
        except errors as error:
            if stop - start == 1:
                bad.append((start, error))
                continue
            middle = (start + stop) // 2
            pending += [(middle, stop), (start, middle)]
    return Isolated(results, bad)
