import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from services.control.database import open_database
from services.control.keys import Grant, create_key, revoke_key, well_formed
from services.control.migrate import migrate
from services.control.organisations import create_org, set_redact
from services.shared import auth
from services.shared.answers import Refusal, Refused
from services.shared.auth import KeyRing, secret_in

NOW = 1_800_000_000_000_000_000


class Clock:
    """Monotonic seconds, set by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Ring:
    """A key ring over a real control database, which the test can lock."""

    def __init__(self, file: Path, anonymous_org: str = "local") -> None:
        self.file = file
        self.clock = Clock()
        self.engine = open_database(f"sqlite:///{file}", timeout_s=0.05)
        migrate(self.engine, NOW)
        self.executor = ThreadPoolExecutor(1)
        self.ring = KeyRing(self.engine, self.executor, self.clock, 5, 60, anonymous_org)
        self.blocker: sqlite3.Connection | None = None

    def grant(self, secret: str | None, loopback: bool = True) -> Grant:
        return asyncio.run(self.ring.grant(secret, loopback))

    def refusal(self, secret: str | None, loopback: bool = True) -> Refusal:
        with pytest.raises(Refused) as caught:
            self.grant(secret, loopback)
        return caught.value.refusal

    def lock(self) -> None:
        self.blocker = sqlite3.connect(self.file, isolation_level=None)
        self.blocker.execute("PRAGMA locking_mode = EXCLUSIVE")
        self.blocker.execute("BEGIN EXCLUSIVE")

    def unlock(self) -> None:
        if self.blocker is not None:
            self.blocker.close()
            self.blocker = None

    def close(self) -> None:
        self.unlock()
        self.executor.shutdown()
        self.engine.dispose()


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    ring = Ring(tmp_path / "control.db")
    yield ring
    ring.close()


def new_key(engine: sa.Engine) -> tuple[str, str]:
    create_org(engine, "acme", "Acme", True, NOW)
    key, secret = create_key(engine, "acme", "search", "prod", NOW)
    return key.key_id, secret


def test_a_key_grants_its_organisation_and_no_key_the_local_one_on_loopback_only(ring: Ring) -> None:
    key_id, secret = new_key(ring.engine)
    assert ring.grant(secret) == Grant("acme", "search", key_id, True)
    assert ring.grant(secret, loopback=False) == Grant("acme", "search", key_id, True)
    assert ring.grant(None) == Grant("local", "", "", False)
    assert ring.refusal(None, loopback=False) is Refusal.UNAUTHENTICATED


def test_keys_can_be_made_compulsory_on_loopback(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "control.db", anonymous_org="")
    try:
        assert ring.refusal(None) is Refusal.UNAUTHENTICATED
    finally:
        ring.close()


@pytest.mark.parametrize("secret", ["", "x", "sm_", "Bearer x", "sm_" + "a" * 12 + "_" + "b" * 43 + "_000000", "ä"])
def test_a_wrong_key_is_refused_on_loopback_too(ring: Ring, secret: str) -> None:
    assert ring.refusal(secret) is Refusal.UNAUTHENTICATED


def test_a_well_formed_key_that_nobody_made_is_refused(ring: Ring, tmp_path: Path) -> None:
    other = open_database(f"sqlite:///{tmp_path}/other.db")
    migrate(other, NOW)
    _, secret = new_key(other)
    other.dispose()
    assert well_formed(secret)
    assert ring.refusal(secret) is Refusal.UNAUTHENTICATED


def test_a_revoked_key_is_refused_once_its_time_to_live_is_over(ring: Ring) -> None:
    key_id, secret = new_key(ring.engine)
    ring.grant(secret)
    revoke_key(ring.engine, key_id, NOW)
    ring.clock.now += 4.9
    assert ring.grant(secret).key_id == key_id
    ring.clock.now += 0.2
    assert ring.refusal(secret) is Refusal.UNAUTHENTICATED


def test_a_switched_redaction_reaches_the_local_organisation_too(ring: Ring) -> None:
    assert not ring.grant(None).redact
    set_redact(ring.engine, "local", True)
    ring.clock.now += 5
    assert ring.grant(None).redact


def test_while_the_database_is_locked_known_keys_are_served_and_unknown_ones_told_to_wait(ring: Ring) -> None:
    key_id, secret = new_key(ring.engine)
    _, unseen = create_key(ring.engine, "acme", "", "other", NOW)
    ring.grant(secret)
    ring.lock()
    ring.clock.now += 59
    assert ring.grant(secret).key_id == key_id
    assert ring.refusal(unseen) is Refusal.UNAVAILABLE
    assert ring.refusal(None) is Refusal.UNAVAILABLE
    ring.clock.now += 2
    assert ring.refusal(secret) is Refusal.UNAVAILABLE
    ring.unlock()
    ring.clock.now += 1
    assert ring.grant(secret).key_id == key_id
    assert ring.grant(unseen).org == "acme"


def test_a_database_that_hangs_is_not_waited_for(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    key_id, secret = new_key(ring.engine)
    ring.grant(secret)
    hang = threading.Event()
    ring.executor.submit(hang.wait)
    ring.clock.now += 10
    with monkeypatch.context() as patch:
        patch.setattr(auth, "_LOOK_UP_TIMEOUT_S", 0.05)
        assert ring.grant(secret).key_id == key_id
        assert ring.refusal(None) is Refusal.UNAVAILABLE
    hang.set()
    ring.clock.now += 1
    assert ring.grant(None).org == "local"


def test_a_key_found_revoked_is_not_served_from_the_cache_when_the_database_fails(ring: Ring) -> None:
    key_id, secret = new_key(ring.engine)
    ring.grant(secret)
    revoke_key(ring.engine, key_id, NOW)
    ring.clock.now += 6
    ring.refusal(secret)
    ring.lock()
    ring.clock.now += 6
    assert ring.refusal(secret) is Refusal.UNAVAILABLE


def test_a_flood_of_unknown_keys_is_bounded_and_leaves_the_known_ones(ring: Ring, monkeypatch) -> None:
    monkeypatch.setattr(auth, "_MOST_KEYS", 10)
    key_id, secret = new_key(ring.engine)
    ring.grant(secret)
    for _ in range(30):
        _, unknown = create_key(ring.engine, "acme", "", "x", NOW)
        with ring.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM keys WHERE name = 'x'"))
        assert ring.refusal(unknown) is Refusal.UNAUTHENTICATED
    with ring.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM keys"))
    assert ring.grant(secret).key_id == key_id
    assert len(ring.ring._unknown) == 10


def test_requests_that_arrive_together_share_one_look_up(ring: Ring) -> None:
    _, secret = new_key(ring.engine)
    look_ups: list[object] = []
    event.listen(ring.engine, "before_cursor_execute", lambda *args: look_ups.append(args[2]))

    async def many() -> None:
        await asyncio.gather(*(ring.ring.grant(secret, True) for _ in range(50)))

    asyncio.run(many())
    assert len(look_ups) == 1


@pytest.mark.parametrize(
    ("authorization", "api_key", "secret"),
    [
        (None, None, None),
        ("Bearer k", None, "k"),
        ("bearer  k ", None, "k"),
        (None, " k ", "k"),
        ("Bearer k", "k", "k"),
        (None, "", ""),
    ],
)
def test_the_key_is_in_either_header(authorization: str | None, api_key: str | None, secret: str | None) -> None:
    assert secret_in(authorization, api_key) == secret


@pytest.mark.parametrize(
    ("authorization", "api_key"), [("Basic abc", None), ("Bearer", None), ("Bearer a", "b"), ("", None)]
)
def test_another_scheme_or_two_keys_are_refused(authorization: str, api_key: str | None) -> None:
    with pytest.raises(Refused) as caught:
        secret_in(authorization, api_key)
    assert caught.value.refusal is Refusal.UNAUTHENTICATED
