"""The observe job as a process of its own between a real broker and a real store: start, stop, death, resume."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from integration_tests.ground import HEADERS, ROOT, Ground, Job, laid, wait_for
from integration_tests.traffic import all_files, renamed, span_count


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Iterator[Ground]:
    with laid(tmp_path_factory.mktemp("ground")) as made:
        yield made


@pytest.fixture
def job(ground, tmp_path) -> Iterator[Job]:
    made = Job(ground, tmp_path)
    yield made
    made.end()


def test_a_job_that_was_killed_goes_on_where_it_was_and_one_that_is_told_to_stops(ground, job):
    bodies = [renamed(path.read_bytes(), "job") for path in all_files()]
    job.start()
    ground.send(*bodies)
    wait_for(lambda: ground.number("SELECT sum(span_count) FROM traces") > 0)
    job.process.send_signal(signal.SIGKILL)
    job.process.wait()
    wait_for(lambda: not job.java.is_running() or job.java.status() == psutil.STATUS_ZOMBIE, 5)
    before = ground.number("SELECT count() FROM requests")

    more = [renamed(path.read_bytes(), "more") for path in all_files()]
    ground.send(*more, b"\xff\xff", headers=HEADERS)
    ground.send(more[0], headers=[("signal", b"traces")])
    job.start()
    wait_for(lambda: ground.number("SELECT count() FROM requests") == len(bodies) + len(more) + 2)
    assert before <= len(bodies)
    distinct = ground.number("SELECT count() FROM spans")
    assert distinct == ground.number("SELECT uniqExact(trace_id, span_id) FROM spans") > 300
    received = sum(map(span_count, bodies + more)) + 2
    assert ground.number("SELECT sum(written) FROM requests") == received - 2
    assert ground.number("SELECT sum(dead_lettered) FROM requests") == 2
    assert ground.number("SELECT count() FROM dead_letters WHERE error = 'MissingTenant'") == 1
    wait_for(lambda: ground.number("SELECT sum(span_count) FROM traces") == distinct)

    job.process.send_signal(signal.SIGTERM)
    assert job.process.wait(30) == 0
    assert not job.java.is_running() or job.java.status() == psutil.STATUS_ZOMBIE
    assert "Traceback" not in job.out.read_text()


def test_a_job_whose_java_died_says_so_and_fails(ground, job):
    job.start()
    job.java.kill()
    assert job.process.wait(30) == 1
    assert "observe: Java ended with -9" in job.out.read_text()


@pytest.mark.parametrize("wrong", [{"buckets": 0}, {"colour": "red"}])
def test_settings_that_make_no_sense_are_refused_with_2(ground, job, wrong):
    path = job.folder / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    command = [sys.executable, "-m", "jobs.observe", "--local", "--settings", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert next(iter(wrong)) in done.stderr
