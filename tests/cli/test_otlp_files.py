from pathlib import Path

import pytest

from cli.exits import Exit, Failure
from cli.otlp_files import read

CAPTURES = Path(__file__).parent.parent / "captures"


def test_a_folder_gives_all_its_requests_in_order_and_names_tell_logs_from_traces():
    requests = list(read([CAPTURES / "google-adk"]))
    assert [r.source.name for r in requests] == sorted(p.name for p in (CAPTURES / "google-adk").iterdir())
    assert {r.signal for r in requests if ".logs." in r.source.name} == {"logs"}
    assert {r.signal for r in requests if ".logs." not in r.source.name} == {"traces"}


def test_a_json_file_is_sent_as_json(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert [(r.json, r.body) for r in read([tmp_path])] == [(True, b"{}")]


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(Failure) as refused:
        list(read([tmp_path / "nothing.binpb"]))
    assert refused.value.code is Exit.USAGE
