"""Operators between processes, as Flink moves them: a client pickles one, a TaskManager that ran others reads it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.jobs.code import store

_PROBE = """
from pipelines.flink.ship import Shipped
from transforms.probed import WORD

class Probe(Shipped):
    def __init__(self, number):
        self.number = number

    def answer(self):
        from schemas.probed import LATE
        return [WORD, LATE, self.number]
"""
_CLIENT = """
import sys, cloudpickle
from pipelines.flink import ship
from jobs.probe import Probe
ship.ROOT = sys.argv[1] or None
sys.stdout.buffer.write(cloudpickle.dumps(Probe(7)))
"""
_TASK_MANAGER = """
import json, pickle, sys
from pathlib import Path
for name in sys.argv[1:]:
    operator = pickle.loads(Path(name).read_bytes())
    ours = ("schemas", "transforms", "pipelines", "jobs")
    files = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] in ours and getattr(m, "__file__", None)]
    print(json.dumps({"answer": operator.answer(), "files": files, "path": sys.path[0]}))
"""


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two folders of code that differ in a module that is imported at once and in one that is imported late."""
    made = {}
    for name in ("old", "new"):
        folder = tmp_path_factory.mktemp(name)
        root = made[name] = store(folder.as_uri())
        (root / "jobs" / "probe.py").write_text(_PROBE)
        (root / "transforms" / "probed.py").write_text(f"WORD = {name!r}\n")
        (root / "schemas" / "probed.py").write_text(f"LATE = 'late {name}'\n")
    return made


def pickled(root: Path, folder: Path, shipped: bool = True) -> Path:
    """The file with the operator that a client of the code in `root` submits."""
    command = [sys.executable, "-c", _CLIENT, str(root) if shipped else ""]
    file = folder / f"{root.parent.name}-{shipped}.pickle"
    file.write_bytes(subprocess.run(command, cwd=root, capture_output=True, check=True).stdout)
    return file


def read_in_turn(cwd: Path, *files: Path) -> list[dict[str, Any]]:
    """What a TaskManager that was started in `cwd` has after each file that it reads."""
    command = [sys.executable, "-c", _TASK_MANAGER, *map(str, files)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_upgraded_job_runs_its_new_code_where_the_old_one_ran_and_goes_back_too(codes, tmp_path):
    old, new = pickled(codes["old"], tmp_path), pickled(codes["new"], tmp_path)
    found = read_in_turn(tmp_path, old, new, new, old)
    words = ["old", "new", "new", "old"]
    assert [each["answer"] for each in found] == [[word, f"late {word}", 7] for word in words]
    assert [each["path"] for each in found] == [str(codes[word]) for word in words]


def test_nothing_that_was_loaded_from_the_old_folder_stays(codes, tmp_path):
    found = read_in_turn(tmp_path, pickled(codes["old"], tmp_path), pickled(codes["new"], tmp_path))
    for each, word in zip(found, ("old", "new"), strict=True):
        assert each["files"]
        assert all(file.startswith(str(codes[word])) for file in each["files"])


def test_modules_that_the_task_manager_had_before_any_job_are_passed_over(codes, tmp_path):
    """Its own folder has the old code, as on a machine where the project lies beside Flink."""
    (found,) = read_in_turn(codes["old"], pickled(codes["new"], tmp_path))
    assert found["answer"] == ["new", "late new", 7]


def test_without_a_folder_an_operator_is_pickled_like_any_other(codes, tmp_path):
    (found,) = read_in_turn(codes["old"], pickled(codes["old"], tmp_path, shipped=False))
    assert found["answer"] == ["old", "late old", 7]


def test_the_function_that_reads_an_operator_is_the_new_one_too(codes, tmp_path):
    """It travels by value: the TaskManager's own ship.py may be another version's."""
    (tmp_path / "pipelines" / "flink").mkdir(parents=True)
    (tmp_path / "pipelines" / "flink" / "ship.py").write_text("raise RuntimeError('the old one was read')")
    (found,) = read_in_turn(tmp_path, pickled(codes["new"], tmp_path))
    assert found["answer"] == ["new", "late new", 7]
