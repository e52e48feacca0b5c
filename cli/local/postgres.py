"""A Postgres server of one's own for control data, on loopback, its data in a folder."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path

import psycopg

from cli.exits import Exit, Failure
from cli.local.process import Child, as_account

_USER = "spanmill"
_CURE = "install it (Debian: apt-get install postgresql), or name an existing server with --control-url"


def binaries() -> Path:
    """The folder of `postgres` and `initdb`: on PATH, or Debian's newest. Raises Failure when there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not versions:
        raise Failure("PostgreSQL is not installed", _CURE)
    return versions[-1].parent


class Postgres(Child):
    """A server on `port` with one role and one database, `spanmill`; the role's password lies beside its data."""

    def __init__(self, folder: Path, log: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.bin = binaries()
        args = [str(self.bin / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
        args += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder / 'socket'}"]
        super().__init__("postgres", args, log, account=_account())

    @property
    def url(self) -> str:
        """Of SQLAlchemy."""
        password = (self.folder / "password").read_text()
        return f"postgresql+psycopg://{_USER}:{password}@127.0.0.1:{self.port}/{_USER}"

    def start(self) -> None:
        if not (self.folder / "password").exists():
            self._create()
        # Left behind by a server that was killed; the data folder's lock says that none runs.
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        super().start()

    def _create(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "socket").mkdir(parents=True)
        secret = self.folder / "password.part"
        secret.touch(0o600)
        secret.write_text(secrets.token_hex(24))
        if self.account:
            for path in (self.folder, self.folder / "socket", secret):
                shutil.chown(path, self.account)
            for parent in self.folder.parents:
                _let_through(parent)
        tool = [str(self.bin / "initdb"), "-D", str(self.folder / "data"), "-U", _USER, "-A", "scram-sha-256"]
        done = subprocess.run(
            [*tool, "--pwfile", str(secret), "-E", "UTF8", "--locale", "C.UTF-8"],
            capture_output=True, text=True, check=False, cwd=self.folder, **as_account(self.account),
        )  # fmt: skip
        if done.returncode != 0:
            raise Failure(f"the control database could not be made: {done.stderr.strip()}")
        secret.rename(self.folder / "password")

    def stop(self, timeout: float = 20) -> None:
        """A fast shutdown: whoever is still connected is disconnected."""
        if self.process is not None and self.alive:
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout)
        self.kill()

    def wait_ready(self, timeout: float) -> str:
        """Waits until the server takes connections, and makes the database when it is not there. Raises Failure."""
        deadline = time.monotonic() + timeout
        server = self.url.replace("+psycopg", "").rsplit("/", 1)[0]
        while time.monotonic() < deadline:
            if not self.alive:
                raise Failure(f"postgres ended while starting:\n{self.tail()}", f"see {self.log}")
            try:
                with closing(psycopg.connect(f"{server}/postgres", autocommit=True, connect_timeout=2)) as connection:
                    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_USER,)).fetchone():
                        connection.execute(f"CREATE DATABASE {_USER}")
                return f"ready postgres=127.0.0.1:{self.port}"
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise Failure(f"postgres was not ready within {timeout:.0f} s", f"see {self.log}", Exit.TIMED_OUT)


def _account() -> str | None:
    """Whom to run as: Postgres refuses root, so root lends it the account that Debian's package made."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise Failure("PostgreSQL does not run as root, and there is no account `postgres`", _CURE)


def _let_through(folder: Path) -> None:
    """Lets other accounts pass through a folder of ours, as the server's own lies below it."""
    if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
        folder.chmod(folder.stat().st_mode | 0o001)
