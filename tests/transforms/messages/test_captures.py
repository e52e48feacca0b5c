"""What the scripted provider was asked and what it answered comes out of every library's own recording of it."""

import json
import re
from collections import Counter
from pathlib import Path

import orjson
import polars as pl
import pyarrow as pa
import pytest

from schemas.arrow import RAW
from schemas.limits import LIMITS
from transforms.messages import messages
from transforms.messages.logs import span_logs
from transforms.otlp.decode import decode, decode_logs

CAPTURES = Path(__file__).parents[2] / "captures"
EXPECTED = json.loads((CAPTURES / "EXPECTED.json").read_text("utf-8"))["captures"]

# These libraries recorded no content in these runs.
NO_CONTENT = {
    "anthropic-sdk-native/anthropic_chat",
    "anthropic-sdk-native/anthropic_stream",
    "anthropic-sdk-native/anthropic_stream_helper",
    "anthropic-sdk-native/anthropic_tool_call",
    "anthropic-sdk-native/error_500_anthropic",
}
NO_PROMPT = {
    "ai-sdk-v7/embeddings",
    "logfire-openai/embeddings",
    "openlit/error_429",
    "otel-genai-openai/embeddings",
    "otel-openai-v2/embeddings",
    "otel-openai-v2-default/embeddings",
}
# LiteLLM's typed attributes have the call without its id.
NO_CALL_ID = {"litellm/tool_call"}
# Agents, chains and tools were asked this instead of the run's prompt.
WEATHER = re.compile(r"(What will the weather be in|Weather in) .+\?")


def raw(name: str, signal: str) -> pa.Table:
    folder, scenario = name.split("/")
    pattern = f"{scenario}.logs*.binpb" if signal == "logs" else f"{scenario}*.binpb"
    paths = [
        path
        for path in sorted((CAPTURES / folder).glob(pattern))
        if (".logs" in path.name) == (signal == "logs") and path.name.split(".")[0] == scenario
    ]
    rows = [
        {
            "topic": "spans.raw",
            "partition": 0,
            "offset": number,
            "org": "acme",
            "team": "",
            "key_id": "k",
            "signal": signal,
            "redact": False,
            "received_at": 1_795_420_000 * 10**9,
            "body": path.read_bytes(),
        }
        for number, path in enumerate(paths)
    ]
    return pa.Table.from_pylist(rows, schema=RAW)


def said(name: str) -> tuple[list[dict], list[dict]]:
    """All input and all output messages of a capture, from its spans and its logs."""
    decoded = decode(raw(name, "traces"), LIMITS)
    own = pl.when(pl.col("scope") == "pydantic-ai").then(pl.lit("pydantic_ai")).otherwise(pl.lit("gen_ai"))
    found = messages(decoded, decoded.spans.select(dialect=own), LIMITS)
    logs, log_bodies = span_logs(decode_logs(raw(name, "logs"), LIMITS), LIMITS)
    tables = [found.bodies, log_bodies]
    bodies = {row["hash"]: orjson.loads(row["body"]) for table in tables for row in table.to_pylist()}
    inputs, outputs = (
        [bodies[item] for hashes in spans.to_list() + logs[column].to_pylist() for item in hashes]
        for spans, column in ((found.input_hashes, "input_hashes"), (found.output_hashes, "output_hashes"))
    )
    return inputs, outputs


def contents(said: list[dict]) -> list[str]:
    return [part["content"] for message in said for part in message["parts"] if part["type"] == "text"]


def has_prompt(name: str, entry: dict, inputs: list[dict]) -> bool:
    asked = contents(inputs)
    if any(entry["prompt"] in text for text in asked):
        return True
    steps = ("agent", "tool_call", "chain")
    return any(step in name for step in steps) and any(WEATHER.fullmatch(text) for text in asked)


def calls(said: list[dict], with_id: bool) -> list[tuple]:
    return [
        (part.get("id") if with_id else None, part["name"], part["arguments"])
        for message in said
        for part in message["parts"]
        if part["type"] == "tool_call"
    ]


@pytest.mark.parametrize("name", [name for name, entry in EXPECTED.items() if entry["files"]])
def test_what_was_said_comes_out(name):
    entry = EXPECTED[name]
    inputs, outputs = said(name)
    assert all(message["role"] in ("system", "developer", "user", "assistant", "tool") for message in inputs + outputs)
    if name in NO_CONTENT:
        assert inputs == outputs == []
        return
    assert has_prompt(name, entry, inputs) is (name not in NO_PROMPT)
    with_id = name not in NO_CALL_ID
    for index, call in enumerate(entry["calls"]):
        if index in entry["untraced_calls"] or call.get("text") is None:
            continue
        if call["text"]:
            assert any(call["text"] in text for text in contents(outputs)), call["text"]
        for tool in call.get("tool_calls") or []:
            sent = tool["arguments"]
            wanted = json.loads(sent) if isinstance(sent, str) else sent
            assert (tool["id"] if with_id else None, tool["name"], wanted) in calls(outputs, with_id)


def test_system_instructions_of_a_run_come_out_wherever_a_library_sends_them():
    score = Counter()
    for name, entry in EXPECTED.items():
        if entry["files"] and entry["system"] and re.search("/(chat|responses|anthropic_chat)$", name):
            inputs, _ = said(name)
            told = contents([message for message in inputs if message["role"] == "system"])
            score[name.split("/")[0]] += any(entry["system"] in text for text in told)
    silent = {library for library, found in score.items() if not found}
    assert silent <= {"anthropic-sdk-native"}
