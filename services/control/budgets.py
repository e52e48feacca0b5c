"""Budgets: what an organisation, a team or a key may spend, and who changed it.

The ledger (transforms/budgets) knows the budgets of an organisation as a set with a revision. Every change makes the
next revision in the transaction that writes it, so that a set is never older than its number.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from schemas import budget_pb2 as pb
from services.control.budget_definition import Budget, InvalidBudget, as_proto, check_budget
from services.control.database import Conflict, NotFound
from services.control.tables import budget_history, budget_revisions, budgets, keys

MOST = 10_000  # budgets of one organisation


@dataclass(frozen=True)
class Change:
    """change: set | delete. budget: as it was set, or as it was when it was deleted."""

    revision: int
    change: str
    budget: Budget
    actor: str
    reason: str
    changed_at: int  # UTC ns


def set_budget(
    engine: sa.Engine, budget: Budget, actor: str, reason: str, now: int, expected: int | None = None
) -> Budget:
    """Puts `budget` in force at `now` (UTC ns), in the place of that of its name; the same one again changes nothing.

    expected: the revision that the one of its name must have, 0 for that there is none.
    Raises InvalidName, InvalidBudget, NotFound (organisation or key), Conflict.
    """
    check_budget(budget)
    with engine.connect() as connection:
        revision = _next_revision(connection, budget.org)
        known = _find(connection, budget.org, budget.name)
        _expect(budget.org, budget.name, known, expected)
        if known is not None and replace(budget, revision=known.revision, changed_at=known.changed_at) == known:
            return known  # without a commit: no revision was used
        if budget.key_id:
            _check_key(connection, budget)
        made = replace(budget, revision=revision, changed_at=now)
        mine = (budgets.c.org == made.org) & (budgets.c.name == made.name)
        connection.execute(sa.delete(budgets).where(mine))
        connection.execute(sa.insert(budgets).values(**_row(made)))
        count = sa.select(sa.func.count()).select_from(budgets).where(budgets.c.org == made.org)
        if (connection.scalar(count) or 0) > MOST:
            raise InvalidBudget(f"organisation {made.org!r} has {MOST} budgets already")
        _write_down(connection, Change(revision, "set", made, actor, reason, now))
        connection.commit()
    return made


def delete_budget(
    engine: sa.Engine, org: str, name: str, actor: str, reason: str, now: int, expected: int | None = None
) -> Budget:
    """Takes a budget out of force at `now` (UTC ns) and returns it. Raises NotFound, Conflict (see set_budget)."""
    with engine.connect() as connection:
        revision = _next_revision(connection, org)
        known = _find(connection, org, name)
        if known is None:
            raise NotFound(f"organisation {org!r} has no budget {name!r}")
        _expect(org, name, known, expected)
        connection.execute(sa.delete(budgets).where((budgets.c.org == org) & (budgets.c.name == name)))
        _write_down(connection, Change(revision, "delete", known, actor, reason, now))
        connection.commit()
    return known


def list_budgets(engine: sa.Engine, org: str | None = None) -> list[Budget]:
    """The budgets of `org`, or of all organisations, by organisation and name."""
    query = sa.select(budgets).order_by(budgets.c.org, budgets.c.name)
    if org is not None:
        query = query.where(budgets.c.org == org)
    with engine.connect() as connection:
        return [_budget(row) for row in connection.execute(query).mappings()]


def find_budget(engine: sa.Engine, org: str, name: str) -> Budget:
    """The budget `name` of `org`. Raises NotFound."""
    with engine.connect() as connection:
        found = _find(connection, org, name)
    if found is None:
        raise NotFound(f"organisation {org!r} has no budget {name!r}")
    return found


def history(engine: sa.Engine, org: str, name: str = "") -> list[Change]:
    """What was changed in `org`, or of its budget `name` alone, the newest first."""
    query = sa.select(budget_history).where(budget_history.c.org == org).order_by(budget_history.c.revision.desc())
    if name:
        query = query.where(budget_history.c.name == name)
    with engine.connect() as connection:
        return [_change(row) for row in connection.execute(query)]


def revisions(engine: sa.Engine) -> dict[str, int]:
    """The revision of the budgets of each organisation that ever had one."""
    with engine.connect() as connection:
        return {row.org: row.revision for row in connection.execute(sa.select(budget_revisions))}


def limits_of(engine: sa.Engine, org: str) -> pb.Limits:
    """The budgets of `org` as its ledger takes them; revision 0 when it never had one.

    The revision is read before the set, which so may be newer than its number, but never older: the next one, with
    its own number, is then published too.
    """
    with engine.connect() as connection:
        revision = connection.scalar(sa.select(budget_revisions.c.revision).where(budget_revisions.c.org == org))
    return pb.Limits(revision=revision or 0, budgets=[as_proto(budget) for budget in list_budgets(engine, org)])


def _check_key(connection: sa.Connection, budget: Budget) -> None:
    mine = (keys.c.key_id == budget.key_id) & (keys.c.org == budget.org)
    if connection.scalar(sa.select(keys.c.key_id).where(mine)) is None:
        raise NotFound(f"organisation {budget.org!r} has no key {budget.key_id!r}")


def _expect(org: str, name: str, known: Budget | None, expected: int | None) -> None:
    revision = known.revision if known else 0
    if expected is not None and expected != revision:
        raise Conflict(f"budget {name!r} of {org!r} has revision {revision}, not {expected}: look at it again")


def _next_revision(connection: sa.Connection, org: str) -> int:
    """Counts the revision on; until the end of the transaction nobody else changes the budgets of `org`."""
    count = sa.text(
        "INSERT INTO budget_revisions (org, revision) VALUES (:org, 1) "
        "ON CONFLICT (org) DO UPDATE SET revision = budget_revisions.revision + 1 RETURNING revision"
    )
    try:
        return connection.execute(count, {"org": org}).scalar_one()
    except IntegrityError:
        raise NotFound(f"there is no organisation {org!r}") from None


def _write_down(connection: sa.Connection, change: Change) -> None:
    budget = change.budget
    row = {name: getattr(change, name) for name in ("revision", "change", "actor", "reason", "changed_at")}
    row |= {"org": budget.org, "name": budget.name, "definition": json.dumps(asdict(budget))}
    connection.execute(sa.insert(budget_history).values(**row))


def _find(connection: sa.Connection, org: str, name: str) -> Budget | None:
    query = sa.select(budgets).where(budgets.c.org == org, budgets.c.name == name)
    row = connection.execute(query).mappings().first()
    return None if row is None else _budget(row)


def _row(budget: Budget) -> dict:
    return asdict(budget) | {"thresholds": json.dumps(budget.thresholds)}


def _budget(row: Mapping) -> Budget:
    return Budget(**{**row, "thresholds": tuple(json.loads(row["thresholds"]))})


def _change(row: sa.Row) -> Change:
    definition = json.loads(row.definition)
    budget = Budget(**{**definition, "thresholds": tuple(definition["thresholds"])})
    return Change(row.revision, row.change, budget, row.actor, row.reason, row.changed_at)
