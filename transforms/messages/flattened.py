"""Messages spread over attributes, one attribute per field: OpenInference, Traceloop, AI SDK, tool calls.

The extractor hands over the fields of one message as JSON {p: [path], v: [text]}, sorted by path.
"""

from typing import Any

from transforms.messages.json_text import Load, load_container
from transforms.messages.message import Message, build, message_of
from transforms.messages.openai_json import parse_text
from transforms.messages.parts import parts_of, text_part, tool_call, tool_call_of, tool_response

Tree = dict[str, Any]


def parse_openinference(text: str, load: Load, role: str) -> list[Message]:
    """`llm.{input,output}_messages.N.message.*`: role, content, contents.M.*, tool_calls.M.tool_call.*."""
    tree = _tree(text, load)
    contents = [_content_block(item) for item in _items(tree.get("contents"))]
    calls = [_openinference_call(item.get("tool_call")) for item in _items(tree.get("tool_calls"))]
    name = tree.get("function_call_name")
    if isinstance(name, str):
        calls.append({"name": name, "arguments": tree.get("function_call_arguments_json")})
    content = tree.get("content")
    message = {
        "role": tree.get("role") or role,
        "content": contents or content,
        "tool_calls": calls,
        "tool_call_id": tree.get("tool_call_id"),
        "name": tree.get("name"),
    }
    return [message_of(message, role, load)]


def parse_traceloop(text: str, load: Load, role: str) -> list[Message]:
    """`gen_ai.{prompt,completion}.N.*` of OpenLLMetry to 0.4x: role, content, tool_call_id, tool_calls.M.*."""
    tree = _tree(text, load)
    content = tree.get("content")
    if isinstance(content, str):
        blocks = load_container(content, load)
        if isinstance(blocks, list) and all(isinstance(item, dict) and "type" in item for item in blocks):
            content = blocks
    message = {
        "role": tree.get("role") or role,
        "content": content,
        "tool_calls": _items(tree.get("tool_calls")),
        "function_call": tree.get("function_call"),
        "tool_call_id": tree.get("tool_call_id"),
    }
    return [message_of(message, role, load)]


def parse_answer(text: str, load: Load, role: str) -> list[Message]:
    """AI SDK `ai.response.{reasoning,text,object,toolCalls,files}`: one assistant message."""
    tree = _tree(text, load)
    reasoning = tree.get("reasoning")
    parts = [{"type": "reasoning", "content": reasoning}] if isinstance(reasoning, str) and reasoning else []
    for key in ("text", "object"):
        value = tree.get(key)
        parts += text_part(value) if isinstance(value, str) else []
    calls, files = (_read_list(tree.get(key), load) for key in ("toolCalls", "files"))
    parts += [part for call in calls for part in tool_call_of(call, load)]
    parts += [part for item in files for part in parts_of(item, load)]
    return [build(role, parts)] if parts else []


def parse_tool(text: str, load: Load, role: str) -> list[Message]:
    """A tool span: {name, id, arguments} is the call that was made, {name, id, result} what the tool answered."""
    tree = _tree(text, load)
    if isinstance(tree.get("result"), str):
        return [build("tool", [tool_response(tree.get("id"), tree["result"])])]
    if isinstance(tree.get("arguments"), str):
        return [build("assistant", [tool_call(tree.get("id"), tree.get("name"), tree["arguments"], load)])]
    return []


def parse_field(text: str, load: Load, role: str) -> list[Message]:
    """A text of its own under each index: prompts of completions, inputs of embeddings."""
    return [m for value in load(text)["v"] for m in parse_text(value, load, role)]


def fields_of(text: str, load: Load) -> list[Tree]:
    """The objects under the indexes that the paths begin with, in order."""
    return _items(_tree(text, load))


def _tree(text: str, load: Load) -> Tree:
    """Nested objects from dotted paths; a path below a value, or a value above paths, keeps the first."""
    unit = load(text)
    root: Tree = {}
    for path, value in zip(unit["p"], unit["v"], strict=True):
        node = root
        *holders, leaf = path.split(".")
        for holder in holders:
            below = node.setdefault(holder, {})
            if not isinstance(below, dict):
                break
            node = below
        else:
            node.setdefault(leaf, value)
    return root


def _items(tree: Any) -> list[Tree]:
    """The objects under the numeric keys of `tree`, in numeric order."""
    if not isinstance(tree, dict):
        return []
    numbered = [(int(key), item) for key, item in tree.items() if key.isascii() and key.isdigit() and len(key) < 10]
    return [item for _, item in sorted(numbered, key=lambda pair: pair[0]) if isinstance(item, dict)]


def _content_block(item: Tree) -> Tree:
    if isinstance(item.get("tool_call"), dict):
        return {"type": "tool_call", **_openinference_call(item["tool_call"])}
    block = item.get("message_content")
    return block if isinstance(block, dict) else {**item, "type": "generic"}


def _openinference_call(call: Any) -> Tree:
    """A call with its function's fields beside its id; the tree has no lists, so a stray shape stays empty."""
    call = call if isinstance(call, dict) else {}
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return {"id": call.get("id"), "name": function.get("name"), "arguments": function.get("arguments")}


def _read_list(value: Any, load: Load) -> list[Any]:
    read = load_container(value, load) if isinstance(value, str) else None
    return read if isinstance(read, list) else []
