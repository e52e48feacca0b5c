"""JSON in the GenAI conventions' own shape (1.37 and later), and pydantic-ai's list of events."""

from typing import Any

from transforms.messages.events import event_messages
from transforms.messages.json_text import Load
from transforms.messages.message import Message, build, is_message, message_of
from transforms.messages.openai_json import body_messages
from transforms.messages.parts import parts_of

_SIDES = {"user": "input", "assistant": "output"}


def parse_messages(text: str, load: Load, role: str) -> list[Message]:
    """`gen_ai.{input,output}.messages`: a list of messages; other JSON is read as a body."""
    value = load(text)
    if isinstance(value, list) and all(isinstance(item, dict) and "parts" in item for item in value):
        return [message_of(item, role, load) for item in value]
    return body_messages(value, text, load, role)


def parse_instructions(text: str, load: Load, role: str) -> list[Message]:
    """`gen_ai.system_instructions`: parts that make one system message; a plain text is one, too."""
    value = load(text) if text[:64].lstrip()[:1] in ("[", "{", '"') else text
    if isinstance(value, list) and value and all(is_message(item) for item in value):
        return [message_of(item, "system", load) for item in value]
    parts = parts_of(value, load)
    return [build("system", parts)] if parts else []


def parse_events(text: str, load: Load, role: str) -> list[Message]:
    """pydantic-ai v1 `events`: prompts and choices in one list; `role` says which of the two is wanted."""
    value = load(text)
    events = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    found = [(side, message) for event in events for side, message in _event(event, load) if side == _SIDES[role]]
    return [message for _, message in found]


def _event(event: dict[str, Any], load: Load) -> list[tuple[str, Message]]:
    name = event.get("event.name")
    if not isinstance(name, str):
        return []
    side = "output" if name == "gen_ai.choice" else "input"
    return [(side, message) for message in event_messages(name, event, load)]
