"""Messages told as events, on spans or as log records (GenAI conventions 1.28 to 1.36, and Strands).

`gen_ai.{system,user,assistant,tool}.message` and `gen_ai.choice` carry their content in attributes or in the
body of the record; `gen_ai.content.{prompt,completion}` carry a whole body.
"""

from typing import Any

from transforms.messages.json_text import Load, load_container
from transforms.messages.message import Message, message_of
from transforms.messages.openai_json import parse_body

BODY = ""  # the field that stands for the body of a log record


def parse_event(text: str, load: Load, role: str) -> list[Message]:
    """Messages of one event: JSON {p: [event name/field], v: [its text]}, as the extractor groups them."""
    unit = load(text)
    name = unit["p"][0].partition("/")[0]
    fields = {path.partition("/")[2]: value for path, value in zip(unit["p"], unit["v"], strict=True)}
    body = fields.pop(BODY, None)
    if body is not None:
        value = load(body)
        fields = {**fields, **value} if isinstance(value, dict) else {**fields, "content": value}
    return event_messages(name, fields, load)


def event_messages(name: str, fields: dict[str, Any], load: Load) -> list[Message]:
    """Messages of the event called `name`; none when it has no content."""
    kind = name.removeprefix("gen_ai.")
    if kind in ("content.prompt", "content.completion"):
        side, default = ("prompt", "user") if kind == "content.prompt" else ("completion", "assistant")
        text = fields.get(f"gen_ai.{side}")
        return parse_body(text, load, default) if isinstance(text, str) else []
    if kind == "choice":
        return _choice(fields, load)
    role = kind.removesuffix(".message")
    said = {key: fields[key] for key in ("content", "tool_calls", "name") if key in fields}
    return _message({**said, "tool_call_id": fields.get("id"), "role": fields.get("role") or role}, load)


def _choice(fields: dict[str, Any], load: Load) -> list[Message]:
    message = _read_message(fields.get("message", fields.get("content")), load)
    said = {**message} if isinstance(message, dict) and not _is_block(message) else {"content": message}
    said.setdefault("tool_calls", fields.get("tool_calls"))
    return _message({**said, "role": said.get("role") or fields.get("role") or "assistant"}, load)


def _message(said: dict[str, Any], load: Load) -> list[Message]:
    said["content"] = _read_blocks(said.get("content"), load)
    if isinstance(said.get("tool_calls"), str):
        said["tool_calls"] = load_container(said["tool_calls"], load)
    message = message_of(said, said["role"], load)
    return [message] if message["parts"] else []


def _read_message(value: Any, load: Load) -> Any:
    """The message that an attribute holds as JSON text; other text as it is."""
    read = load_container(value, load) if isinstance(value, str) else None
    holds = isinstance(read, dict) and any(key in read for key in ("role", "content", "tool_calls"))
    return read if holds else value


def _read_blocks(value: Any, load: Load) -> Any:
    """The content blocks that an attribute holds as JSON text; other text, a tool's answer too, as it is."""
    read = load_container(value, load) if isinstance(value, str) else None
    return read if isinstance(read, list) and read and all(_is_block(item) for item in read) else value


def _is_block(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return bool({"toolUse", "toolResult", "text", "image", "reasoningContent"} & set(value)) and (
        "type" in value or len(value) == 1
    )
