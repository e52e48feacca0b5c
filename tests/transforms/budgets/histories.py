"""Any history of the log of budgets, as Hypothesis draws it."""

from typing import Any

from hypothesis import strategies as st

from schemas import budget_pb2 as pb
from tests.transforms.budgets.log import (
    DAY,
    TICK,
    budget,
    charges,
    entry,
    extend,
    limits,
    owner,
    release,
    reserve,
    settle,
)
from transforms.budgets.windows import SECOND

HOUR = 3600 * SECOND
REQUESTS = [f"r{number}" for number in range(5)]
CALLS = [f"c{number}" for number in range(4)]
RESPONSES = ["", "chatcmpl-0123456789abcdef", "chatcmpl-fedcba9876543210"]

amounts = st.integers(0, 60)
unknown = st.one_of(st.none(), amounts)
owners = st.builds(
    owner,
    team=st.sampled_from(["red", "blue"]),
    key=st.sampled_from(["k1", "k2"]),
    provider=st.sampled_from(["", "openai"]),
    model=st.sampled_from(["", "gpt-4o", "o1"]),
)
ttls = st.sampled_from([0, 1, 30, 7200])


def scopes() -> list[pb.Budget]:
    tokens = {"unit": pb.UNIT_TOKENS}
    return [
        budget("org", 150, time_zone="Europe/Berlin", thresholds=[50, 80, 100]),
        budget("red", 90, team="red", window=pb.WINDOW_WEEK),
        budget("k1", 60, team="red", key_id="k1", window=pb.WINDOW_TOTAL),
        budget("openai", 70, provider="openai", window=pb.WINDOW_MONTH, time_zone="America/New_York"),
        budget("gpt", 80, model="gpt-*", hard=False, time_zone="Africa/Cairo"),
        budget("tokens", 100, **tokens),
        budget("advice", 50, hard=False, team="blue", **tokens),
    ]


@st.composite
def limit_sets(draw: st.DrawFn) -> list[pb.Budget]:
    chosen = []
    for one in draw(st.lists(st.sampled_from(scopes()), unique_by=lambda one: one.name)):
        changed = pb.Budget()
        changed.CopyFrom(one)
        changed.limit = draw(st.one_of(st.just(one.limit), st.integers(0, 200)))
        changed.hard = draw(st.booleans()) if draw(st.booleans()) else one.hard
        chosen.append(changed)
    return chosen


def requests() -> st.SearchStrategy[pb.Event]:
    names = st.sampled_from(REQUESTS)
    return st.one_of(
        st.builds(reserve, names, unknown, owners, tokens=unknown, ttl_s=ttls),
        st.builds(reserve, names, amounts, owners, tokens=amounts, ttl_s=ttls),
        st.builds(
            settle,
            names,
            unknown,
            tokens=unknown,
            response_id=st.sampled_from(RESPONSES),
            charge_without_reservation=st.booleans(),
            owner=owners,
        ),
        st.builds(release, names),
        st.builds(extend, names, ttls),
        st.just(TICK),
    )


def entries() -> st.SearchStrategy[dict[str, Any]]:
    def row(call: str, kind: str, cost: int | None, tokens: int | None, whose: pb.Owner, **fields: Any) -> dict:
        sign = -1 if kind == "reversal" else 1
        signed = [None if value is None else sign * value for value in (cost, tokens)]
        who = {"team": whose.team, "key_id": whose.key_id, "provider": whose.provider, "model": whose.model}
        return entry(call, signed[0], entry_id=f"{call}/{kind}", input_tokens=signed[1], **who, **fields)

    return st.builds(
        row,
        call=st.sampled_from(CALLS),
        kind=st.sampled_from(["charge", "charge", "reversal", "reprice"]),
        cost=unknown,
        tokens=unknown,
        whose=owners,
        version=st.integers(1, 3),
        request_id=st.sampled_from(["", "", *REQUESTS]),
        response_id=st.sampled_from(RESPONSES),
    )


# (ns since the record before, events); a clock may step back
steps = st.sampled_from([0, 0, 1, SECOND, 31 * SECOND, 6 * HOUR, 26 * HOUR, -HOUR])
events = st.one_of(requests(), requests(), st.lists(entries(), min_size=1, max_size=3).map(lambda rows: charges(*rows)))


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, list[pb.Event]]]:
    history, revision, passed = [(0, [limits(1, *scopes())])], 1, 0
    for _ in range(draw(st.integers(1, 14))):
        said = draw(st.lists(events, min_size=1, max_size=4))
        if draw(st.integers(0, 5)) == 0:
            revision += draw(st.integers(0, 2))
            said.insert(draw(st.integers(0, len(said))), limits(revision, *draw(limit_sets())))
        after = draw(steps)
        passed += max(after, 0)
        history.append((after if passed < 6 * DAY else 0, said))
    return history
