import os

import pytest

from pipelines.flink.checkpoints import StateMismatch, newest, pin

COMPLETE = bytes.fromhex("4960672d") + b"rest"


def _checkpoint(folder, job, number, at, content=COMPLETE):
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


def test_state_is_bound_to_the_settings_that_it_was_begun_with(tmp_path):
    pin(tmp_path, {"buckets": 4})
    pin(tmp_path, {"buckets": 4})
    with pytest.raises(StateMismatch, match="buckets"):
        pin(tmp_path, {"buckets": 8})
