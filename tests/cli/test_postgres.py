from collections.abc import Iterator
from contextlib import closing

import psutil
import psycopg
import pytest

from cli.exits import Failure
from cli.local.postgres import Postgres, binaries
from pipelines.ports import free_port
from tests.services.control.engines import outside


@pytest.fixture
def server() -> Iterator[Postgres]:
    try:
        binaries()
    except Failure as failure:
        pytest.skip(f"{failure.what}: {failure.hint}")
    with outside() as folder:
        folder.chmod(0o700)  # nobody else may look into it
        made = Postgres(folder / "postgres", folder / "postgres.log", free_port())
        try:
            yield made
        finally:
            made.kill()


def asked(server: Postgres, query: str) -> object:
    with closing(psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True)) as connection:
        done = connection.execute(query.encode())
        return done.fetchone() if done.description else None


def test_a_server_that_was_killed_goes_on_where_it_was(server: Postgres):
    server.start()
    assert server.wait_ready(60) == f"ready postgres=127.0.0.1:{server.port}"
    asked(server, "CREATE TABLE kept AS SELECT 7 AS n")
    password = (server.folder / "password").read_text()
    server.kill()
    server.start()
    server.wait_ready(60)
    assert asked(server, "SELECT n FROM kept") == (7,)
    assert (server.folder / "password").read_text() == password
    assert (server.folder / "password").stat().st_mode & 0o077 == 0


def test_nobody_comes_in_without_the_password(server: Postgres):
    server.start()
    server.wait_ready(60)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://spanmill:wrong@127.0.0.1:{server.port}/spanmill")


def test_the_server_is_nobody_of_weight(server: Postgres):
    """Root lends it an account of its own, with no group of root's."""
    server.start()
    server.wait_ready(60)
    process = psutil.Process(server.pid)
    assert process.uids().effective != 0
    assert process.gids().effective != 0


def test_a_server_that_cannot_start_says_why(server: Postgres):
    server.start()
    server.wait_ready(60)
    other = Postgres(server.folder.parent / "other", server.log.with_name("other.log"), server.port)
    other.start()
    with pytest.raises(Failure, match="postgres ended while starting(.|\n)*could not bind"):
        other.wait_ready(60)


def test_a_stop_disconnects_whoever_is_connected(server: Postgres):
    server.start()
    server.wait_ready(60)
    with closing(psycopg.connect(server.url.replace("+psycopg", ""))) as connection:
        server.stop(20)
        assert not server.alive
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert "fast shutdown" in server.log.read_text()
