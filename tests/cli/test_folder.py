import json
import subprocess
import sys

import pytest

from cli.exits import Exit, Failure
from cli.local.folder import end_left_overs, hold, is_held


def test_a_data_folder_is_held_by_one_process_at_a_time(tmp_path):
    held = hold(tmp_path, "embedded")
    with pytest.raises(Failure) as refused:
        hold(tmp_path, "embedded")
    assert refused.value.code is Exit.REFUSED
    assert "already" in refused.value.what
    held.close()
    hold(tmp_path, "embedded").close()


def _sleeper(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *arguments], start_new_session=True)


def test_what_a_killed_command_left_running_on_the_folder_is_ended_and_nothing_else(tmp_path):
    ours, stranger = _sleeper(str(tmp_path / "store")), _sleeper("elsewhere")
    try:
        (tmp_path / "run.json").write_text(json.dumps({"pids": {"store": ours.pid, "x": stranger.pid}}))
        assert end_left_overs(tmp_path) == [ours.pid]
        assert ours.wait(10) == -9
        assert stranger.poll() is None
    finally:
        for process in (ours, stranger):
            process.kill()
            process.wait()


def test_a_damaged_run_file_does_not_stop_a_start(tmp_path):
    (tmp_path / "run.json").write_text("{half")
    assert end_left_overs(tmp_path) == []


def test_a_folder_that_was_begun_by_one_profile_is_refused_to_the_other(tmp_path):
    hold(tmp_path, "cluster").close()
    with pytest.raises(Failure, match="belongs to the cluster profile") as refused:
        hold(tmp_path, "embedded")
    assert refused.value.code is Exit.REFUSED


def test_whether_a_folder_is_held_can_be_asked_without_holding_it(tmp_path):
    assert not is_held(tmp_path)
    held = hold(tmp_path, "embedded")
    assert is_held(tmp_path)
    held.close()
    assert not is_held(tmp_path)
