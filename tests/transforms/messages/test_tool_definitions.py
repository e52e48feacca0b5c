"""The tools on offer: one shape for every dialect, stored once, and none where there are none."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "name": "get_weather", "description": "Forecast", "parameters": SCHEMA}
OPENAI = {"type": "function", "function": {"name": "get_weather", "description": "Forecast", "parameters": SCHEMA}}
ANTHROPIC = {"name": "get_weather", "description": "Forecast", "input_schema": SCHEMA}
GEMINI = {"function_declarations": [{"name": "get_weather", "description": "Forecast", "parameters": SCHEMA}]}
BEDROCK = {"toolSpec": {"name": "get_weather", "description": "Forecast", "inputSchema": {"json": SCHEMA}}}
AI_SDK = {"type": "function", "name": "get_weather", "description": "Forecast", "inputSchema": SCHEMA}
PYDANTIC = {"name": "get_weather", "description": "Forecast", "parameters_json_schema": SCHEMA}
USER = [{"role": "user", "content": "Weather in Lima?"}]

SPELLINGS = {
    "the conventions": ("gen_ai", {"gen_ai.tool.definitions": json.dumps([WEATHER])}),
    "OpenAI's under the conventions": ("gen_ai", {"gen_ai.tool.definitions": json.dumps([OPENAI])}),
    "Anthropic's under the conventions": ("gen_ai", {"gen_ai.tool.definitions": json.dumps([ANTHROPIC])}),
    "Bedrock's under the conventions": ("gen_ai", {"gen_ai.tool.definitions": json.dumps([BEDROCK])}),
    "OpenInference": ("openinference", {"llm.tools.0.tool.json_schema": json.dumps(OPENAI)}),
    "OpenInference's parameters": ("openinference", {"llm.invocation_parameters": json.dumps({"tools": [OPENAI]})}),
    "Traceloop to 0.4x": (
        "traceloop",
        {
            "llm.request.functions.0.name": "get_weather",
            "llm.request.functions.0.description": "Forecast",
            "llm.request.functions.0.parameters": json.dumps(SCHEMA),
        },
    ),
    "AI SDK": ("ai_sdk", {"ai.prompt.tools": json.dumps([json.dumps(AI_SDK)])}),
    "MLflow": ("mlflow", {"mlflow.chat.tools": json.dumps([OPENAI])}),
    "MLflow's request": ("mlflow", {"mlflow.spanInputs": json.dumps({"messages": USER, "tools": [OPENAI]})}),
    "LangSmith": ("langsmith", {"gen_ai.prompt": json.dumps({"messages": USER, "tools": [OPENAI]})}),
    "Langfuse": ("langfuse", {"langfuse.observation.input": json.dumps({"messages": USER, "tools": [OPENAI]})}),
    "Langfuse's LangChain handler": (
        "langfuse",
        {"langfuse.observation.input": json.dumps([*USER, {"role": "tool", "content": OPENAI}])},
    ),
    "ADK": (
        "google_adk",
        {"gcp.vertex.agent.llm_request": json.dumps({"contents": "Weather?", "config": {"tools": [GEMINI]}})},
    ),
    "pydantic-ai": ("pydantic_ai", {"model_request_parameters": json.dumps({"function_tools": [PYDANTIC]})}),
    "the older functions": (
        "langfuse",
        {"langfuse.observation.input": json.dumps({"functions": [OPENAI["function"]]})},
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_dialect_gives_the_same_definition(say, spelling):
    dialect, attributes = SPELLINGS[spelling]
    (said,) = say([attributes], dialect=dialect)
    assert said.tools == [WEATHER]
    assert all(message["role"] in ("user", "assistant") for message in said.inputs)


def test_tools_that_are_spread_over_attributes_keep_their_order(say):
    flat = {f"llm.tools.{n}.tool.json_schema": json.dumps({"name": f"t{n}", "parameters": SCHEMA}) for n in range(12)}
    (said,) = say([flat], dialect="openinference")
    assert [tool["name"] for tool in said.tools] == [f"t{n}" for n in range(12)]
    assert said.kept == set()


def test_a_request_that_says_more_than_its_tools_stays_an_attribute(say):
    attributes = {"llm.invocation_parameters": json.dumps({"tools": [OPENAI], "temperature": 0.5})}
    (said,) = say([attributes], dialect="openinference")
    assert (said.tools, said.kept) == ([WEATHER], {"llm.invocation_parameters"})


def test_the_same_tools_are_stored_once_whatever_the_dialect(read, span):
    spans = [span(SPELLINGS[name][1]) for name in ("the conventions", "OpenInference", "AI SDK")]
    found = read(spans)
    assert len(set(found.tool_definitions_hash)) == 1
    assert [row["role"] for row in found.bodies.to_pylist()] == ["tool_definitions"]


def test_a_built_in_tool_keeps_its_type(say):
    (said,) = say([{"gen_ai.tool.definitions": json.dumps([{"type": "web_search_preview"}, ANTHROPIC])}])
    assert said.tools == [{"type": "web_search_preview"}, WEATHER]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": USER},
        {"messages": USER, "tools": []},
        {"messages": USER, "tools": None},
        {"messages": USER, "tools": "none"},
        [{"name": "get_weather", "args": {"city": "Lima"}, "id": "call_1", "type": "tool_call"}],
        "plain text",
    ],
)
def test_a_call_without_tools_offers_none(say, body):
    (said,) = say([{"langfuse.observation.input": json.dumps(body)}], dialect="langfuse")
    assert said.tools == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "name", "function", "parameters", "tools", "id", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(anything, max_size=4))
def test_whatever_is_sent_as_tools_harms_nothing(say, items):
    bad, good = say([{"gen_ai.tool.definitions": json.dumps(items)}, SPELLINGS["the conventions"][1]])
    assert good.tools == [WEATHER]
    assert all(isinstance(tool["type"], str) for tool in bad.tools)
