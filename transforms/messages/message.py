"""One message in the GenAI conventions' shape `{role, parts, name?}`, from any provider's or framework's shape.

`finish_reason` is left out: it belongs to the call (the span's finish_reasons), and an answer must be the same
message when the next turn resends it as history.
"""

from typing import Any

from transforms.messages.json_text import Load
from transforms.messages.parts import Part, is_text_part, parts_of, tool_call_of, tool_response

Message = dict[str, Any]

_ROLES = {
    "human": "user",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "HumanMessageChunk": "user",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "model": "assistant",
    "function": "tool",
}
_LANGCHAIN_TYPES = {"human", "ai", "system", "tool", "function", "chat", "remove"} | set(_ROLES)
_ITEM_ROLES = {
    "function_call": "assistant",
    "custom_tool_call": "assistant",
    "reasoning": "assistant",
    "function_call_output": "tool",
    "custom_tool_call_output": "tool",
}


_NORMAL_ROLES = ("user", "assistant", "system", "tool", "developer")


def build(role: Any, parts: list[Part], name: Any = None) -> Message:
    """The normal form. A user message that only answers tool calls has role `tool`, as the conventions say."""
    role = _ROLES.get(role, role) if isinstance(role, str) and role else "user"
    if role == "user" and parts and all(part.get("type") == "tool_call_response" for part in parts):
        role = "tool"
    message: Message = {"role": role, "parts": parts}
    if isinstance(name, str) and name:
        message["name"] = name
    return message


def is_message(value: Any) -> bool:
    """Whether `value` is one message in a shape that `message_of` knows."""
    if not isinstance(value, dict):
        return False
    if "parts" in value and isinstance(value["parts"], list):
        return True
    if isinstance(value.get("role"), str) and ("content" in value or "tool_calls" in value or "function_call" in value):
        return True
    kind = value.get("type")
    if not isinstance(kind, str):
        return value.get("lc") == 1 and isinstance(value.get("kwargs"), dict)
    if kind == "constructor" and isinstance(value.get("kwargs"), dict):
        return "content" in value["kwargs"]
    if kind in _ITEM_ROLES:
        return True
    return kind in _LANGCHAIN_TYPES and ("content" in value or isinstance(value.get("data"), dict))


def offered_tool(value: Any) -> dict[str, Any] | None:
    """The definition of a tool that Langfuse's LangChain handler lists among the messages; None for anything else."""
    content = value.get("content") if isinstance(value, dict) and value.get("role") == "tool" else None
    return content if isinstance(content, dict) and isinstance(content.get("function"), dict) else None


def message_of(value: Any, role: str, load: Load) -> Message:
    """`value` as a message; `role` is for those that do not say theirs."""
    if isinstance(value, dict) and _is_normal(value):  # by far the most common
        return value
    if isinstance(value, list) and len(value) == 2 and all(isinstance(item, str) for item in value):
        return build(value[0], parts_of(value[1], load))  # LangChain: ["user", "text"]
    if not isinstance(value, dict):
        return build(role, parts_of(value, load))
    if isinstance(value.get("parts"), list):
        return build(value.get("role") or role, parts_of(value["parts"], load), value.get("name"))
    for holder in ("kwargs", "data"):
        if isinstance(value.get(holder), dict) and "content" in value[holder]:
            return message_of({"type": value.get("type"), **value[holder]}, role, load)
    kind = value.get("type")
    if isinstance(kind, str) and kind in _ITEM_ROLES and "role" not in value:
        return build(_ITEM_ROLES[kind], parts_of(value, load))
    said = value.get("role") or (kind if isinstance(kind, str) and kind in _LANGCHAIN_TYPES else role)
    return _chat_message(value, said, load)


def _is_normal(value: dict[str, Any]) -> bool:
    """Whether `value` is one text in the normal form, so that `build` would give the same."""
    parts = value.get("parts")
    return (
        isinstance(parts, list)
        and len(parts) == 1
        and len(value) == 2
        and value.get("role") in _NORMAL_ROLES
        and is_text_part(parts[0])
        and parts[0]["content"] != ""
    )


def _chat_message(value: dict[str, Any], role: Any, load: Load) -> Message:
    """OpenAI, Anthropic, AI SDK and LangChain: content beside tool calls, a tool's answer by its id."""
    content = value.get("content")
    call_id = value.get("tool_call_id")
    if role in ("tool", "function") and not _holds_responses(content):
        parts = [tool_response(call_id, content)] if content is not None or call_id is not None else []
        return build("tool", parts, value.get("name"))
    parts = [
        *parts_of(_reasoning_text(value), load),
        *parts_of(content, load),
        *parts_of(value.get("refusal"), load),
    ]
    seen = {str(part.get("id")) for part in parts if part.get("type") == "tool_call"}
    calls = value.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        parts += [part for part in tool_call_of(call, load) if str(part.get("id")) not in seen or not seen]
    parts += tool_call_of(value.get("function_call"), load)
    return build(role, parts, value.get("name"))


def _holds_responses(content: Any) -> bool:
    kinds = ("tool-result", "tool_result", "tool_call_response")
    return isinstance(content, list) and any(
        isinstance(item, dict) and (item.get("type") in kinds or "toolResult" in item) for item in content
    )


def _reasoning_text(value: dict[str, Any]) -> Any:
    text = value.get("reasoning_content")
    return {"type": "reasoning", "content": text} if isinstance(text, str) else None
