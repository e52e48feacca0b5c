"""The tools that a call offers its model, as `gen_ai.tool.definitions` has them: {type, name, description, parameters}.

They make one message of role `tool_definitions`, so that they are stored once like all other content. Shapes that are
read: GenAI conventions, OpenAI (Chat, Responses, the older functions), Anthropic, Gemini, Bedrock, AI SDK, pydantic-ai.
"""

from typing import Any

from transforms.messages.flattened import fields_of
from transforms.messages.json_text import Load, load_container
from transforms.messages.message import Message, offered_tool
from transforms.messages.parts import Part

ROLE = "tool_definitions"

_LISTS = ("tools", "functions", "function_tools", "output_tools", "function_declarations", "functionDeclarations")
# of a body, where the request's own parameters may be
_HOLDERS = ("config", "kwargs", "invocation_params", "toolConfig", "tool_config", "parameters", "body")
_WRAPPERS = ("function", "toolSpec", "custom")
_PARAMETERS = ("parameters", "input_schema", "inputSchema", "parameters_json_schema", "parametersJsonSchema")
_KEPT = ("name", "description")
# An object with one of these is a use of a tool, not its definition.
_OF_A_USE = ("id", "args", "input", "tool_call_id", "content")


def parse_tools(text: str, load: Load, role: str) -> list[Message]:
    """Tools as JSON: a list of definitions, one definition, or a whole request with its tools in it."""
    value = load_container(text, load)
    tools = _listed(value, load) if isinstance(value, list) else _in_body(value, load)
    return _message(tools)


def parse_tool_fields(text: str, load: Load, role: str) -> list[Message]:
    """Tools spread over attributes, one definition or one field of it under each index."""
    found: list[Part] = []
    for item in fields_of(text, load):
        whole = item.get("json_schema", item.get("tool"))
        whole = whole.get("json_schema", whole) if isinstance(whole, dict) else whole
        read = load_container(whole, load) if isinstance(whole, str) else item
        found += _tool(read, load)
    return _message(found)


def _message(tools: list[Part]) -> list[Message]:
    return [{"role": ROLE, "parts": tools}] if tools else []


def _in_body(body: Any, load: Load) -> list[Part]:
    if not isinstance(body, dict):
        return []
    found = [tool for key in _LISTS for tool in _listed(body.get(key), load)]
    if not found and _is_tool(body):
        return _tool(body, load)
    for key in _HOLDERS:
        if not found and isinstance(body.get(key), dict):
            found = [tool for name in _LISTS for tool in _listed(body[key].get(name), load)]
    return found


def _listed(items: Any, load: Load) -> list[Part]:
    if isinstance(items, dict):  # AI SDK: by name
        items = [{"name": name, **item} for name, item in items.items() if isinstance(item, dict)]
    return [tool for item in items for tool in _tool(item, load)] if isinstance(items, list) else []


def _is_tool(value: dict[str, Any]) -> bool:
    wrapped = any(isinstance(value.get(wrapper), dict) for wrapper in _WRAPPERS)
    return wrapped or isinstance(value.get("name"), str) and any(key in value for key in (*_PARAMETERS, "description"))


def _tool(item: Any, load: Load) -> list[Part]:
    """The definitions in `item`: one, those of a Gemini tool, or none when it is something else."""
    if isinstance(item, str):
        item = load_container(item, load)
    if not isinstance(item, dict):
        return []
    for key in ("function_declarations", "functionDeclarations"):
        if isinstance(item.get(key), list):
            return _listed(item[key], load)
    item = offered_tool(item) or item
    if any(key in item for key in _OF_A_USE):
        return []
    kind = item.get("type") if isinstance(item.get("type"), str) else "function"
    inner = next((item[wrapper] for wrapper in _WRAPPERS if isinstance(item.get(wrapper), dict)), item)
    tool: Part = {"type": kind, **{key: inner[key] for key in _KEPT if isinstance(inner.get(key), str) and inner[key]}}
    parameters = _parameters(inner, load)
    if parameters is not None:
        tool["parameters"] = parameters
    return [tool] if "name" in tool or "type" in item else []


def _parameters(inner: dict[str, Any], load: Load) -> Any:
    found = next((inner[key] for key in _PARAMETERS if inner.get(key) is not None), None)
    if isinstance(found, str):
        found = load_container(found, load)
    if isinstance(found, dict) and isinstance(found.get("json"), dict):  # Bedrock
        found = found["json"]
    if isinstance(found, dict) and isinstance(found.get("jsonSchema"), dict):  # AI SDK's wrapped schema
        found = found["jsonSchema"]
    return found if isinstance(found, dict) else None
