"""Whole request and response bodies as JSON: OpenAI Chat and Responses, Anthropic, Gemini, LangChain, AI SDK.

Langfuse, LangSmith, MLflow, OpenInference's raw values, ADK and Traceloop's entities record these. What holds no
message in any known shape becomes one text message with the text as it was sent.
"""

from collections.abc import Callable
from typing import Any

from transforms.messages.json_text import Load, NotJson, load_container
from transforms.messages.message import Message, build, is_message, message_of, offered_tool
from transforms.messages.parts import parts_of, text_part

Body = dict[str, Any]


def parse_body(text: str, load: Load, role: str) -> list[Message]:
    """Messages of a body; raises NotJson for text that starts as JSON and is none. Other text is one message."""
    if text[:64].lstrip()[:1] not in ("{", "[", '"'):
        return parse_text(text, load, role)
    value = load(text)
    if isinstance(value, str):  # encoded twice
        inner = load_container(value, load)
        return parse_text(value, load, role) if inner is None else body_messages(inner, value, load, role)
    return body_messages(value, text, load, role)


def parse_text(text: str, load: Load, role: str) -> list[Message]:
    """One text message; nothing for an empty text."""
    return [build(role, text_part(text))] if text else []


def parse_texts(text: str, load: Load, role: str) -> list[Message]:
    """A list of texts, each possibly the JSON of a text, as the inputs of an embedding: a message each."""
    value = load(text)
    if not isinstance(value, list):
        return body_messages(value, text, load, role)
    return [message for item in value if isinstance(item, str) for message in _encoded_text(item, load, role)]


def _encoded_text(text: str, load: Load, role: str) -> list[Message]:
    if text[:1] == '"':
        try:
            inner = load(text)
        except NotJson:
            inner = text
        text = inner if isinstance(inner, str) else text
    return parse_text(text, load, role)


def body_messages(value: Any, text: str, load: Load, role: str) -> list[Message]:
    """Messages in `value`, else one message with `text`, the way it was sent."""
    found = _find(value, load, role)
    return parse_text(text, load, role) if found is None else found


def _find(value: Any, load: Load, role: str) -> list[Message] | None:
    if isinstance(value, list):
        return _list(value, load, role)
    if not isinstance(value, dict):
        return None
    if is_message(value):
        return [message_of(value, role, load)]
    for key, read in _READERS.items():
        if key in value:
            found = read(value, load, role)
            if found is not None:
                return found
    return None


def _list(items: list[Any], load: Load, role: str) -> list[Message] | None:
    items = [item for item in items if offered_tool(item) is None]
    if not items:
        return []
    if all(is_message(item) for item in items):
        return [message_of(item, role, load) for item in items]
    if all(isinstance(item, str) for item in items):
        return [message for item in items for message in parse_text(item, load, role)]
    if all(isinstance(item, list) for item in items):  # LangChain: a batch of conversations
        found = [_messages(item, load, role) for item in items]
        return None if any(part is None for part in found) else [m for part in found if part for m in part]
    if all(isinstance(item, dict) and isinstance(item.get("update"), dict) for item in items):
        found = [_find(item["update"], load, role) for item in items]  # LangGraph commands
        return None if any(part is None for part in found) else [m for part in found if part for m in part]
    if all(_is_block(item) for item in items):
        return [build(role, parts_of(items, load))]
    return None


def _is_block(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    if "toolUse" in item or "toolResult" in item or set(item) == {"text"}:
        return True
    return item.get("type") in ("text", "output_text", "tool_use", "thinking", "tool-call", "tool_call")


def _messages(items: Any, load: Load, role: str) -> list[Message] | None:
    """A list known to be messages: also pairs of role and text."""
    if not isinstance(items, list):
        return None
    if items and all(isinstance(item, list) for item in items) and not _are_pairs(items):
        return _list(items, load, role)
    known = all(is_message(item) or isinstance(item, str) for item in items) or _are_pairs(items)
    return [message_of(item, role, load) for item in items] if known else None


def _are_pairs(items: list[Any]) -> bool:
    return all(
        isinstance(item, list) and len(item) == 2 and all(isinstance(text, str) for text in item) for item in items
    )


def _system(content: Any, load: Load) -> list[Message]:
    parts = parts_of(content["parts"] if isinstance(content, dict) and "parts" in content else content, load)
    for part in parts:
        part.pop("cache_control", None)
    return [build("system", parts)] if parts else []


def _from_messages(body: Body, load: Load, role: str) -> list[Message] | None:
    found = _messages(body["messages"], load, role)
    return None if found is None else [*_system(body.get("system"), load), *found]


def _from_prompt(body: Body, load: Load, role: str) -> list[Message] | None:
    found = _conversation(body["prompt"], load, role)
    return None if found is None else [*_system(body.get("system"), load), *found]


def _from_input(body: Body, load: Load, role: str) -> list[Message] | None:
    found = _conversation(body["input"], load, role)
    return None if found is None else [*_system(body.get("instructions"), load), *found]


def _conversation(value: Any, load: Load, role: str) -> list[Message] | None:
    return parse_text(value, load, role) if isinstance(value, str) else _find(value, load, role)


def _from_contents(body: Body, load: Load, role: str) -> list[Message] | None:
    contents = body["contents"]
    found = parse_text(contents, load, role) if isinstance(contents, str) else _messages(contents, load, role)
    config = body.get("config")
    system = body.get("system_instruction", body.get("systemInstruction"))
    if system is None and isinstance(config, dict):
        system = config.get("system_instruction")
    return None if found is None else [*_system(system, load), *found]


def _from_choices(body: Body, load: Load, role: str) -> list[Message] | None:
    choices = body["choices"]
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        return None
    found = []
    for choice in choices:
        said = choice.get("message", choice.get("delta", choice.get("text")))
        if said is not None:
            found.append(message_of(said, "assistant", load))
    return found


def _from_output(body: Body, load: Load, role: str) -> list[Message] | None:
    """The Responses API lists reasoning, text and calls as items: together they are one answer."""
    output = body["output"]
    if isinstance(output, str):
        return parse_text(output, load, role)
    if not isinstance(output, list) or not output or not all(is_message(item) for item in output):
        return _find(output, load, role)
    said = [message_of(item, "assistant", load) for item in output]
    if any(message["role"] != "assistant" or "name" in message for message in said):
        return said
    return [build("assistant", [part for message in said for part in message["parts"]])]


def _from_generations(body: Body, load: Load, role: str) -> list[Message] | None:
    batches = body["generations"]
    flat = batches if isinstance(batches, list) else []
    flat = [item for batch in flat for item in (batch if isinstance(batch, list) else [batch])]
    said = [item.get("message", item.get("text")) for item in flat if isinstance(item, dict)]
    return [message_of(item, "assistant", load) for item in said] if said else None


def _from_candidates(body: Body, load: Load, role: str) -> list[Message] | None:
    candidates = body["candidates"]
    said = [c.get("content") for c in candidates if isinstance(c, dict)] if isinstance(candidates, list) else []
    return [message_of(item, "assistant", load) for item in said] if said and all(said) else None


def _from_content(body: Body, load: Load, role: str) -> list[Message] | None:
    """Gemini's answer as ADK records it: the message is one level down."""
    return [message_of(body["content"], role, load)] if is_message(body["content"]) else None


# In the order of trust: the first key that holds messages decides.
_READERS: dict[str, Callable[[Body, Load, str], list[Message] | None]] = {
    "messages": _from_messages,
    "prompt": _from_prompt,
    "contents": _from_contents,
    "choices": _from_choices,
    "candidates": _from_candidates,
    "generations": _from_generations,
    "content": _from_content,
    "input": _from_input,
    "output": _from_output,
}
