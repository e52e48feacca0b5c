"""The parts of a message in the GenAI conventions' shape, from the block types of the providers.

Sources: GenAI semantic conventions (gen-ai-input-messages.json), OpenAI Chat Completions and Responses,
Anthropic Messages, Bedrock Converse, Gemini `Content`, Vercel AI SDK `ModelMessage`, LangChain content blocks.
"""

from collections.abc import Callable
from typing import Any

from transforms.messages.json_text import Load, load_container

Part = dict[str, Any]
Block = dict[str, Any]


def text_part(content: str) -> list[Part]:
    """A text part; nothing for an empty text, which some libraries send beside tool calls and some do not."""
    return [{"type": "text", "content": content}] if content else []


def tool_call(call_id: Any, name: Any, arguments: Any, load: Load) -> Part:
    """A call; `arguments` that are the JSON text of an object or a list are read."""
    if isinstance(arguments, str):
        read = load_container(arguments, load)
        arguments = arguments if read is None else read
    return _compact({"type": "tool_call", "id": call_id, "name": name, "arguments": arguments})


def tool_response(call_id: Any, response: Any, name: Any = None) -> Part:
    """What a tool answered; one text block stands for its text."""
    if isinstance(response, list) and len(response) == 1 and isinstance(response[0], dict):
        inner = response[0].get("text")
        response = inner if isinstance(inner, str) else response
    return _compact({"type": "tool_call_response", "id": call_id, "name": name, "response": response})


def parts_of(content: Any, load: Load) -> list[Part]:
    """Parts of a message's content: a text, a block, a list of both, or nothing."""
    if isinstance(content, list):
        return [part for item in content for part in parts_of(item, load)]
    if isinstance(content, dict):
        if is_text_part(content):  # by far the most common
            return [content] if content["content"] else []
        inner = content.get("parts")  # Gemini: the content of a content
        return parts_of(inner, load) if isinstance(inner, list) else block_parts(content, load)
    return [] if content is None else text_part(str(content))


def is_text_part(block: Any) -> bool:
    """Whether `block` is a text part and nothing more."""
    return (
        isinstance(block, dict)
        and len(block) == 2
        and block.get("type") == "text"
        and isinstance(block.get("content"), str)
    )


def block_parts(block: Block, load: Load) -> list[Part]:
    """Parts of one block; a block of an unknown kind is kept as it is."""
    kind = block.get("type")
    reader = _BY_TYPE.get(kind) if isinstance(kind, str) else None
    if reader is not None:
        return reader(block, load)
    for key, read in _BY_KEY.items():
        if key in block and ("type" not in block or key != "text"):
            return read(block, load)
    return [_compact({**block, "type": kind if isinstance(kind, str) else "generic"})]


def tool_call_of(call: Any, load: Load) -> list[Part]:
    """A part from an entry of `tool_calls` in any library's spelling."""
    if not isinstance(call, dict):
        return []
    function = call.get("function")
    inner = function if isinstance(function, dict) else call
    return [
        tool_call(
            _first(call, "id", "toolCallId", "tool_call_id", "call_id"),
            _first(inner, "name", "toolName"),
            _first(inner, "arguments", "args", "input"),
            load,
        )
    ]


def _compact(part: Part) -> Part:
    return {key: value for key, value in part.items() if value is not None}


def _first(block: Block, *keys: str) -> Any:
    return next((block[key] for key in keys if block.get(key) is not None), None)


def _text(block: Block, load: Load) -> list[Part]:
    content = _first(block, "content", "text")
    if not isinstance(content, str):
        return parts_of(content, load)
    notes = {key: block[key] for key in ("annotations", "citations") if block.get(key)}
    return [{**part, **notes} for part in text_part(content)]


def _reasoning(block: Block, load: Load) -> list[Part]:
    keys = ("content", "text", "thinking", "reasoning", "summary")
    content = next((block[key] for key in keys if block.get(key)), None)
    if isinstance(content, list):
        content = "\n".join(part["content"] for part in parts_of(content, load) if part.get("type") == "text")
    return [{"type": "reasoning", "content": content}] if content else []


def _tool_call(block: Block, load: Load) -> list[Part]:
    return tool_call_of({**block, "id": _first(block, "call_id", "id", "toolCallId")}, load)


def _tool_response(block: Block, load: Load) -> list[Part]:
    call_id = _first(block, "id", "tool_use_id", "toolUseId", "toolCallId", "call_id", "tool_call_id")
    response = _first(block, "response", "result", "output", "content")
    if isinstance(response, dict) and set(response) == {"type", "value"}:  # AI SDK v5 and later
        response = response["value"]
    return [tool_response(call_id, response, _first(block, "name", "toolName"))]


def _image(block: Block, load: Load) -> list[Part]:
    source = _first(block, "image_url", "image", "source")
    if isinstance(source, dict) and isinstance(source.get("image"), dict):  # OpenInference: image.image.url
        source = source["image"]
    if not isinstance(source, dict):
        return _link(source, block) if isinstance(source, str) else [_compact(block)]
    if isinstance(source.get("data"), str):
        mime = _first(source, "media_type", "mime_type")
        return [_compact({"type": "blob", "modality": "image", "mime_type": mime, "content": source["data"]})]
    return _link(source["url"], block) if isinstance(source.get("url"), str) else [_compact(block)]


def _link(url: str, block: Block) -> list[Part]:
    mime = _first(block, "mime_type", "mediaType", "mimeType")
    if not url.startswith("data:"):
        return [_compact({"type": "uri", "modality": "image", "mime_type": mime, "uri": url})]
    head, _, data = url[5:].partition(",")
    mime = head.partition(";")[0] or mime
    return [_compact({"type": "blob", "modality": "image", "mime_type": mime, "content": data})]


def _gemini_text(block: Block, load: Load) -> list[Part]:
    return _reasoning({"content": block["text"]}, load) if block.get("thought") is True else _text(block, load)


def _nested(key: str, read: Callable[[Block, Load], list[Part]]) -> Callable[[Block, Load], list[Part]]:
    """A reader of a block that holds its content under one key, as Bedrock and Gemini do."""

    def read_inner(block: Block, load: Load) -> list[Part]:
        inner = block[key]
        return read(inner, load) if isinstance(inner, dict) else [_compact({**block, "type": "generic"})]

    return read_inner


def _bedrock_call(block: Block, load: Load) -> list[Part]:
    return [tool_call(block.get("toolUseId"), block.get("name"), block.get("input"), load)]


def _bedrock_reasoning(block: Block, load: Load) -> list[Part]:
    inner = block.get("reasoningText")
    return _reasoning(inner if isinstance(inner, dict) else block, load)


_BY_TYPE: dict[str, Callable[[Block, Load], list[Part]]] = {
    **dict.fromkeys(("text", "input_text", "output_text", "summary_text", "reasoning_text"), _text),
    **dict.fromkeys(("reasoning", "thinking"), _reasoning),
    **dict.fromkeys(("tool_call", "tool-call", "tool_use", "function_call", "custom_tool_call"), _tool_call),
    **dict.fromkeys(
        (
            "tool_call_response",
            "tool-result",
            "tool_result",
            "function_call_output",
            "custom_tool_call_output",
        ),
        _tool_response,
    ),
    **dict.fromkeys(("image_url", "input_image", "image"), _image),
}
_BY_KEY: dict[str, Callable[[Block, Load], list[Part]]] = {
    "toolUse": _nested("toolUse", _bedrock_call),
    "toolResult": _nested("toolResult", _tool_response),
    "reasoningContent": _nested("reasoningContent", _bedrock_reasoning),
    "function_call": _nested("function_call", _tool_call),
    "functionCall": _nested("functionCall", _tool_call),
    "function_response": _nested("function_response", _tool_response),
    "functionResponse": _nested("functionResponse", _tool_response),
    "text": _gemini_text,
}
