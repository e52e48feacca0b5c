import os
import shutil
from pathlib import Path

import pytest

from cli.exits import Exit, Failure
from cli.jobs.code import digest, store, stored


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small project: a file of each part that a job is made of, and some that it is not."""
    root = tmp_path / "project"
    for name in ("schemas/a.py", "transforms/deep/b.py", "pipelines/c.toml", "jobs/d.yaml", "flink-conf/e", "cli/f.py"):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content of {name}")
    return root


def test_equal_content_has_one_digest_wherever_it_lies_and_whenever_it_was_written(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    for number, file in enumerate((tmp_path / "copy").rglob("*.py")):
        os.utime(file, (number, number))
        file.chmod(0o600)
    assert digest(tmp_path / "copy") == digest(root)
    assert len(digest(root)) == 64


def test_neither_caches_nor_other_parts_count(root):
    before = digest(root)
    (root / "schemas" / "__pycache__").mkdir()
    (root / "schemas" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"x")
    (root / "cli" / "f.py").write_text("other")
    (root / "schemas" / "empty").mkdir()
    assert digest(root) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "schemas" / "a.py").write_text("other"),
        lambda root: (root / "schemas" / "a.py").write_text(""),
        lambda root: (root / "schemas" / "a.py").unlink(),
        lambda root: (root / "schemas" / "a.py").rename(root / "schemas" / "z.py"),
        lambda root: (root / "schemas" / "a.py").rename(root / "transforms" / "a.py"),
        lambda root: (root / "schemas" / "new.py").write_text(""),
        lambda root: (root / "flink-conf" / "e").write_text("other"),
    ],
)
def test_each_change_of_path_or_content_changes_the_digest(root, change):
    before = digest(root)
    change(root)
    assert digest(root) != before


def test_content_that_moves_from_one_file_to_the_next_changes_the_digest(root):
    first, second = root / "schemas" / "x.py", root / "schemas" / "y.py"
    first.write_text("ab")
    second.write_text("c")
    before = digest(root)
    first.write_text("a")
    second.write_text("bc")
    assert digest(root) != before


def test_the_code_is_copied_once_below_its_digest(root, tmp_path):
    folder = (tmp_path / "code").as_uri()
    kept = store(folder, root)
    assert kept == stored(folder, digest(root)) == tmp_path / "code" / digest(root)
    files = {str(file.relative_to(kept)) for file in kept.rglob("*") if file.is_file()}
    assert files == {"schemas/a.py", "transforms/deep/b.py", "pipelines/c.toml", "jobs/d.yaml", "flink-conf/e"}
    assert digest(kept) == digest(root)
    (kept / "marker").write_text("")
    assert store(folder, root) == kept
    assert (kept / "marker").exists()
    assert os.listdir(tmp_path / "code") == [digest(root)]


def test_each_revision_keeps_its_own_code(root, tmp_path):
    folder = (tmp_path / "code").as_uri()
    old = store(folder, root)
    (root / "schemas" / "a.py").write_text("new")
    new = store(folder, root)
    assert old != new
    assert (old / "schemas" / "a.py").read_text() == "content of schemas/a.py"
    assert (new / "schemas" / "a.py").read_text() == "new"


def test_a_folder_with_a_blank_in_its_name_is_the_one_that_is_named(root, tmp_path):
    folder = tmp_path / "my code"
    assert store(folder.as_uri(), root).parent == folder


@pytest.mark.parametrize("folder", ["s3://bucket/code", "", "/shared/code", "hdfs://nameserver/code"])
def test_a_folder_that_is_no_file_uri_is_refused(root, folder):
    for ask in (lambda: store(folder, root), lambda: stored(folder, "c" * 64)):
        with pytest.raises(Failure, match="is not a file:// URI") as caught:
            ask()
        assert caught.value.code is Exit.REFUSED
