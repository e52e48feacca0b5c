"""The readers of message content, by the names that the content tables use."""

from collections.abc import Callable, Mapping

from transforms.messages.events import parse_event
from transforms.messages.flattened import (
    parse_answer,
    parse_field,
    parse_openinference,
    parse_tool,
    parse_traceloop,
)
from transforms.messages.genai_json import parse_events, parse_instructions, parse_messages
from transforms.messages.json_text import Load
from transforms.messages.message import Message
from transforms.messages.openai_json import parse_body, parse_text, parse_texts
from transforms.messages.tool_definitions import parse_tool_fields, parse_tools

# (text, reader of JSON, role of what does not say its own) -> messages; raises NotJson.
Parser = Callable[[str, Load, str], list[Message]]

FORMATS: Mapping[str, Parser] = {
    "messages": parse_messages,
    "instructions": parse_instructions,
    "events": parse_events,
    "body": parse_body,
    "text": parse_text,
    "texts": parse_texts,
    "event": parse_event,
    "field": parse_field,
    "openinference": parse_openinference,
    "traceloop": parse_traceloop,
    "answer": parse_answer,
    "tool": parse_tool,
    "tools": parse_tools,
    "tool_fields": parse_tool_fields,
}
