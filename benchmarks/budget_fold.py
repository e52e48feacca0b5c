"""`python -m benchmarks.budget_fold`: how many events of the log of budgets one core folds, by batch and open holds.

Each call reserves or settles, under three hard budgets (organisation, team, key) and one in tokens. Time is that of
the processor: it says the same on a machine that others use too, but for their share of its caches.
"""

import time
from collections.abc import Iterator

import pyarrow as pa

from schemas import budget_pb2 as pb
from schemas.arrow import BUDGET_LOG
from transforms.budgets.amounts import MAX_LIMIT
from transforms.budgets.fold import BudgetSettings, make_budget
from transforms.folds.step import apply

ORG, START, SECOND = "acme", 1_800_000_000 * 10**9, 10**9
KEYS = 100


def budget(name: str, unit: pb.Unit = pb.UNIT_NANO_DOLLARS, team: str = "", key_id: str = "") -> pb.Budget:
    return pb.Budget(
        budget_id=name,
        name=name,
        team=team,
        key_id=key_id,
        unit=unit,
        window=pb.WINDOW_DAY,
        time_zone="Europe/Berlin",
        hard=True,
        limit=MAX_LIMIT,
        thresholds=[50, 80, 100],
    )


def limits() -> pb.Event:
    above = [budget("org"), budget("team", team="red"), budget("tokens", unit=pb.UNIT_TOKENS)]
    keys = [budget(f"k{number}", key_id=f"k{number}") for number in range(KEYS)]
    return pb.Event(org=ORG, limits=pb.Limits(revision=1, budgets=[*above, *keys]))


def reserve(name: str, number: int, ttl_s: int = 600) -> pb.Event:
    owner = pb.Owner(team="red", key_id=f"k{number % KEYS}", provider="openai", model="gpt-4o")
    asked = pb.Reserve(request_id=name, owner=owner, cost_nano=10**6, tokens=1000, ttl_s=ttl_s, fingerprint=b"r" * 16)
    return pb.Event(org=ORG, event_id=name, reserve=asked)


def settle(name: str) -> pb.Event:
    done = pb.Settle(request_id=name, cost_nano=900_000, tokens=900, response_id=f"chatcmpl-{name:>020}")
    return pb.Event(org=ORG, event_id=name, settle=done)


def records(events: list[pb.Event], batch: int) -> Iterator[pa.Table]:
    for offset, first in enumerate(range(0, len(events), batch)):
        body = pb.EventBatch(events=events[first : first + batch]).SerializeToString()
        row = {"org": ORG, "partition": 0, "offset": offset, "time": START + offset * SECOND // 100, "body": body}
        yield pa.Table.from_pylist([row], BUDGET_LOG)


def rate(events: int, batch: int, holds: int) -> float:
    """Events a second of the processor, in records of `batch` events, with `holds` open."""
    fold, state = make_budget(BudgetSettings()), {}
    for record in records([limits(), *(reserve(f"held-{n}", n, 86_400) for n in range(holds))], 100):
        state = apply(state, fold(state, record, 0).writes)
    pairs = [event for n in range(events // 2) for event in (reserve(f"r{n}", n), settle(f"r{n}"))]
    took = 0.0
    for record in records(pairs, batch):
        began = time.process_time()
        step = fold(state, record, 0)
        took += time.process_time() - began
        state.update((name, value) for name, value in step.writes.items() if value is not None)
        for name in [name for name, value in step.writes.items() if value is None]:
            state.pop(name, None)
    return events / took


def main() -> None:
    for batch, holds in ((20, 0), (20, 20_000), (100, 0), (2, 0)):
        print(f"{batch:>4} events a record, {holds:>6,} holds open: {rate(10_000, batch, holds):>8,.0f} events/s")


if __name__ == "__main__":
    main()
