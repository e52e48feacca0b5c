import json
import re
from pathlib import Path
from typing import Any

import pytest
from pyflink.datastream import StreamExecutionEnvironment

from pipelines.flink.local import configuration
from pipelines.flink.observe import assemble_settings, bill_settings, build, metrics_settings
from pipelines.flink.settings import LocalPlace, ObserveSettings, load_local

SPEC = Path(__file__).parents[3] / "jobs" / "observe.yaml"


@pytest.fixture
def settings(tmp_path):
    asked = {"brokers": "127.0.0.1:9", "store_url": "http://127.0.0.1:9", "folder": str(tmp_path)}
    (tmp_path / "settings.json").write_text(json.dumps(asked))
    return load_local(ObserveSettings, SPEC, tmp_path / "settings.json")[0]


@pytest.fixture
def place(tmp_path):
    return LocalPlace(folder=tmp_path, heap_mb=256)


@pytest.fixture
def graph(jvm, settings, place):
    """The stream graph as Flink would deploy it."""
    env = StreamExecutionEnvironment.get_execution_environment(configuration(settings, place, 0))
    build(env, settings)
    return env._generate_stream_graph(clear_transformations=True)


def test_every_operator_of_ours_has_its_name_and_its_uid_and_runs_alone_in_its_task(graph):
    vertices = graph.getJobGraph().getVerticesAsArray()
    # Flink numbers the nodes of all graphs of a process.
    names = [re.sub(r"(\$\d+\*)?\[\d+\]", "[n]", vertex.getName()) for vertex in vertices]
    assert sorted(names) == [
        "*anonymous_datastream_source[n] -> budget_log[n]: Writer -> budget_log[n]: Committer",
        "Map",
        "Map",
        "Map",
        "Map",
        "Map",
        "Source: spans_raw[n] -> Calc[n] -> TableToDataStream -> _stream_key_by_map_operator",
        "_stream_key_by_map_operator",
        "_stream_key_by_map_operator",
        "_stream_key_by_map_operator",
        "_stream_key_by_map_operator",
        "_stream_key_by_map_operator",
        "alerts",
        "assemble",
        "batch, observe",
        "bill",
        "charges",
        "metrics, _stream_key_by_map_operator",
        "tell alerts",
        "write facts",
        "write metrics",
        "write traces",
    ]
    uids = {node.getTransformationUID() for node in graph.getStreamNodes().toArray()}
    assert {"batch", "assemble", "bill", "metrics", "write-facts", "write-metrics", "write-traces"} <= uids


def test_without_a_topic_for_them_budgets_are_fed_nothing(jvm, settings, place):
    env = StreamExecutionEnvironment.get_execution_environment(configuration(settings, place, 0))
    build(env, settings.model_copy(update={"budget_topic": ""}))
    graph: Any = env._generate_stream_graph(clear_transformations=True)
    assert "charges" not in [vertex.getName() for vertex in graph.getJobGraph().getVerticesAsArray()]


def test_the_parallelism_reaches_every_task_and_the_key_groups_are_fixed(jvm, settings, place):
    env = StreamExecutionEnvironment.get_execution_environment(configuration(settings, place, 0))
    build(env, settings.model_copy(update={"parallelism": 2}))
    graph: Any = env._generate_stream_graph(clear_transformations=True)
    for vertex in graph.getJobGraph().getVerticesAsArray():
        assert (vertex.getParallelism(), vertex.getMaxParallelism()) == (2, 128), vertex.getName()


def test_the_fold_gets_the_times_of_the_settings(settings):
    fold = assemble_settings(settings)
    assert (fold.quiet_gap_ns, fold.horizon_ns, fold.tick_ns) == (5 * 10**9, 600 * 10**9, 10**9)
    assert fold.max_trace_spans == settings.limits.trace_spans


def test_metrics_forget_a_minute_before_its_traces_are_forgotten(settings):
    assert metrics_settings(settings).keep_ns == 480 * 10**9
    assert metrics_settings(settings.model_copy(update={"horizon_s": 30})).keep_ns == 0


def test_a_call_is_kept_longer_than_its_traces(settings):
    kept = assemble_settings(settings)
    assert bill_settings(settings).horizon_ns > kept.horizon_ns + kept.quiet_gap_ns
