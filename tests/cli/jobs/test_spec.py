from pathlib import Path

import pytest

from cli.exits import Exit, Failure
from cli.jobs.spec import SECRET, JobSpec, access_of, job_spec, known_jobs
from cli.local.profile import Running

RUNNING = Running(
    pid=1, gateway="http://g:4318", grpc="g:4317", store="http://s:8123", broker="b:9092", topic="spans.other",
    control="postgresql://c", pids={}, store_user="writer", store_password="hunter2",
    kafka={"protocol": "SASL_SSL", "username": "u", "password": "hunter2"},
)  # fmt: skip


def spec(*sets: str, file: Path | None = None, parallelism: int | None = None, job: str = "observe") -> JobSpec:
    return job_spec(job, RUNNING, file, sets, parallelism)


def refused(*sets: str, file: Path | None = None, job: str = "observe", parallelism: int | None = None) -> Failure:
    with pytest.raises(Failure) as caught:
        spec(*sets, file=file, job=job, parallelism=parallelism)
    assert caught.value.code is Exit.USAGE
    return caught.value


def test_the_place_says_where_and_the_spec_says_the_rest():
    made = spec()
    assert (made.name, made.entry) == ("observe", "jobs.observe")
    assert made.settings["brokers"] == "b:9092"
    assert made.settings["topic"] == "spans.other"
    assert made.settings["store_url"] == "http://s:8123"
    assert (made.settings["parallelism"], made.settings["buckets"]) == (2, 8)


def test_the_file_lies_over_the_spec_and_the_command_line_over_the_file(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("quiet_gap_s: 10\nhorizon_s: 700\nparallelism: 3\nlimits:\n  nesting: 7\n")
    made = spec("horizon_s=900", file=file, parallelism=4).settings
    assert (made["quiet_gap_s"], made["horizon_s"], made["parallelism"]) == (10, 900, 4)
    assert (made["limits"]["nesting"], made["limits"]["name_bytes"]) == (7, 1024)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("quiet_gap_s=1.5", "quiet_gap_s", 1.5),
        ("topic=a=b", "topic", "a=b"),
        ('topic="7"', "topic", "7"),
        ("buckets=16", "buckets", 16),
        ("database=prod", "database", "prod"),
    ],
)
def test_a_value_is_json_where_it_can_be_read_so_and_else_a_text(text, name, value):
    assert spec(text).settings[name] == value


def test_a_part_of_the_limits_may_be_set():
    assert spec('limits={"nesting": 9}').settings["limits"]["nesting"] == 9


def test_the_last_of_several_wins():
    assert spec("buckets=4", "buckets=16").settings["buckets"] == 16


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("buckets", "is not NAME=VALUE"),
        ("", "is not NAME=VALUE"),
        ("colour=red", "colour"),
        ("=1", "are wrong"),
        ("buckets=0", "buckets"),
        ("buckets=many", "buckets"),
        ("topic=7", "topic"),
        ("limits.nesting=9", "limits.nesting"),
        ('limits={"depth": 9}', "depth"),
    ],
)
def test_what_is_unknown_or_wrong_is_named(text, told):
    assert told in refused(text).what


def test_a_parallelism_out_of_range_is_refused():
    assert "parallelism" in refused(parallelism=0).what


def test_an_unknown_job_is_told_with_those_that_there_are():
    failure = refused(job="obsreve")
    assert "obsreve" in failure.what
    assert "observe" in failure.hint
    assert "observe" in known_jobs()


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words\n", "7\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    assert "holds no settings" in refused(file=tmp_path / "mine.yaml").what


@pytest.mark.parametrize("content", [b"a: [1", b"a: 1\na: 2\n", b"\xff\xfe\x00", b"a: !!python/object:os.system {}\n"])
def test_a_file_that_is_no_yaml_is_refused(tmp_path, content):
    (tmp_path / "mine.yaml").write_bytes(content)
    assert "cannot be read" in refused(file=tmp_path / "mine.yaml").what


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "none.yaml cannot be read" in refused(file=tmp_path / "none.yaml").what


def test_secrets_are_in_no_settings_wherever_they_came_from(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("store_password: hunter2\nkafka: {protocol: SASL_SSL, username: u, password: hunter2}\n")
    for made in (spec(), spec("store_password=hunter2"), spec(file=file)):
        assert not set(SECRET) & set(made.settings)
        assert "hunter2" not in repr(made)
    assert access_of(RUNNING) == {"kafka": RUNNING.kafka, "store_user": "writer", "store_password": "hunter2"}
    assert set(access_of(RUNNING)) == set(SECRET)
