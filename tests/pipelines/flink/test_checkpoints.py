import os
from pathlib import Path

import pytest

from pipelines.flink.checkpoints import StateMismatch, newest, pin, prune

COMPLETE = bytes.fromhex("4960672d") + b"rest"


def _checkpoint(folder: Path, job: str, number: int, at: int, content: bytes | None = COMPLETE) -> Path:
    path = folder / job / f"chk-{number}"
    path.mkdir(parents=True)
    if content is not None:
        (path / "_metadata").write_bytes(content)
        os.utime(path / "_metadata", ns=(at, at))
    return path


def test_without_a_checkpoint_there_is_no_newest(tmp_path):
    assert newest(tmp_path / "missing") is None
    (tmp_path / "job" / "shared").mkdir(parents=True)
    assert newest(tmp_path) is None


def test_the_newest_checkpoint_is_the_one_completed_last_whatever_its_number_or_job(tmp_path):
    _checkpoint(tmp_path, "aa", 9, at=1_000)
    last = _checkpoint(tmp_path, "bb", 3, at=2_000)
    assert newest(tmp_path) == last


def test_of_two_checkpoints_of_one_moment_the_higher_number_is_the_newest(tmp_path):
    last = _checkpoint(tmp_path, "aa", 10, at=1_000)
    _checkpoint(tmp_path, "aa", 9, at=1_000)
    assert newest(tmp_path) == last


@pytest.mark.parametrize("content", [None, b"", b"\0\0\0\0\0"])
def test_a_checkpoint_that_was_not_completed_is_passed_over(tmp_path, content):
    good = _checkpoint(tmp_path, "aa", 1, at=1_000)
    _checkpoint(tmp_path, "aa", 2, at=2_000, content=content)
    assert newest(tmp_path) == good


def test_what_killed_runs_left_behind_is_removed_but_for_the_newest_checkpoints(tmp_path):
    pin(tmp_path, {"buckets": 4})
    _checkpoint(tmp_path, "aa", 1, at=1_000)
    before = _checkpoint(tmp_path, "bb", 5, at=2_000)
    last = _checkpoint(tmp_path, "bb", 6, at=3_000)
    _checkpoint(tmp_path, "bb", 7, at=4_000, content=None)
    prune(tmp_path, keep=2)
    assert {path.relative_to(tmp_path) for path in tmp_path.glob("*/chk-*")} == {
        before.relative_to(tmp_path),
        last.relative_to(tmp_path),
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bb", "state.json"]
    assert newest(tmp_path) == last


def test_state_is_bound_to_the_settings_that_it_was_begun_with(tmp_path):
    pin(tmp_path, {"buckets": 4})
    pin(tmp_path, {"buckets": 4})
    with pytest.raises(StateMismatch, match="buckets"):
        pin(tmp_path, {"buckets": 8})
