"""Traffic in the shape that the requirements plan for: calls of 3 spans, conversations that resend their history."""

import random
from dataclasses import dataclass

import numpy as np
import orjson
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

CALLS_PER_REQUEST = 33
SPANS_PER_CALL = 3
TURNS = 4  # calls of one conversation
SPANS_PER_REQUEST = CALLS_PER_REQUEST * SPANS_PER_CALL

_WORDS = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an
they which one you were all her she there would their we him been has when who will no more if out
so up said what its about than into them can only other time new some could these two may first then
do any like my now over such our man me model token latency price budget trace span stream query
answer question context retrieval document agent tool
""".split()  # noqa: SIM905 - a list of words reads as text
_MODELS = [
    ("openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    ("openai", "gpt-4o", "gpt-4o-2024-08-06"),
    ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
]
_TURN = "turn-0000000000000000"  # patched: makes the messages of each request its own


@dataclass(frozen=True)
class Template:
    """One request and where its ids stand in the bytes, so that a copy with new ids costs no encoding."""

    body: np.ndarray  # uint8[n]
    traces: list[np.ndarray]  # per call: positions of its 16-byte trace id
    spans: list[np.ndarray]  # per span: positions of its 8-byte span id
    times: np.ndarray  # positions of fixed64 times
    offsets: np.ndarray  # ns before now of each time
    turns: np.ndarray  # positions of the 16 hex digits in texts


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(_WORDS, k=words))


def _message(draw: random.Random, role: str, words: int) -> dict:
    return {"role": role, "parts": [{"type": "text", "content": f"{_TURN} {_text(draw, words)}"}]}


def _attribute(span, key: str, value: str | int | float) -> None:
    held = AnyValue()
    setattr(held, {str: "string_value", int: "int_value", float: "double_value"}[type(value)], value)
    span.attributes.add(key=key, value=held)


def _conversation(draw: random.Random, turns: int) -> list[dict]:
    """User and assistant in turn; call n of it resends the first 2n - 1 messages."""
    return [_message(draw, "user" if i % 2 == 0 else "assistant", 40 if i % 2 == 0 else 80) for i in range(2 * turns)]


def _call(scope, draw: random.Random, number: int, said: list[dict]) -> None:
    """A root, the call under it and a tool below the root; ids and times are placeholders.

    `said`: the conversation so far, the call's answer last.
    """
    provider, asked, answered = draw.choice(_MODELS)
    trace_id = number.to_bytes(2, "big") + b"trace-trace-id"
    ids = [number.to_bytes(2, "big") + b"span-%d" % i for i in range(SPANS_PER_CALL)]
    names = [
        ("invoke_agent support", ids[0], b""),
        (f"chat {asked}", ids[1], ids[0]),
        ("execute_tool search", ids[2], ids[0]),
    ]
    for position, (name, span_id, parent) in enumerate(names):
        span = scope.spans.add(trace_id=trace_id, span_id=span_id, parent_span_id=parent, name=name, kind=3)
        span.start_time_unix_nano = 2**62 + 3_000_000_000 - position * 400_000_000
        span.end_time_unix_nano = 2**62 + position * 100_000_000
        _attribute(span, "gen_ai.operation.name", name.split()[0])
        _attribute(span, "session.id", f"session-{draw.randrange(10_000)}")
    chat = scope.spans[-2]
    _attribute(chat, "gen_ai.provider.name", provider)
    _attribute(chat, "gen_ai.request.model", asked)
    _attribute(chat, "gen_ai.response.model", answered)
    _attribute(chat, "gen_ai.request.temperature", 0.2)
    _attribute(chat, "gen_ai.usage.input_tokens", 1_000 + draw.randrange(200))
    _attribute(chat, "gen_ai.usage.output_tokens", 500 + draw.randrange(100))
    _attribute(chat, "gen_ai.usage.cache_read.input_tokens", draw.choice([0, 0, 512]))
    _attribute(chat, "gen_ai.response.time_to_first_chunk", 0.25)
    _attribute(chat, "gen_ai.input.messages", orjson.dumps(said[:-1]).decode())
    _attribute(chat, "gen_ai.output.messages", orjson.dumps(said[-1:]).decode())
    _attribute(scope.spans[-1], "gen_ai.tool.name", "search")


def template(seed: int) -> Template:
    draw = random.Random(seed)
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name", value=AnyValue(string_value=f"support-{seed}"))
    scope = resource.scope_spans.add()
    scope.scope.name = "benchmark"
    said: list[dict] = []
    for number in range(CALLS_PER_REQUEST):
        turn = number % TURNS
        said = said if turn else _conversation(draw, TURNS)
        _call(scope, draw, number, said[: 2 * turn + 2])
    body = request.SerializeToString()
    numbers = [n.to_bytes(2, "big") for n in range(CALLS_PER_REQUEST)]
    times = list(_times(scope, body))
    return Template(
        body=np.frombuffer(body, np.uint8),
        traces=[_find(body, n + b"trace-trace-id") for n in numbers],
        spans=[_find(body, n + b"span-%d" % i) for n in numbers for i in range(SPANS_PER_CALL)],
        times=np.array([at for at, _ in times]),
        offsets=np.array([value - 2**62 for _, value in times]),
        turns=_find(body, _TURN.encode()) + len("turn-"),
    )


def _find(body: bytes, what: bytes) -> np.ndarray:
    found, at = [], body.find(what)
    while at >= 0:
        found.append(at)
        at = body.find(what, at + 1)
    return np.array(found)


def _times(scope, body: bytes):
    """(position, placeholder) of each start and end time; fields 7 and 8 are fixed64."""
    for field, tag in (("start_time_unix_nano", b"\x39"), ("end_time_unix_nano", b"\x41")):
        values = {getattr(span, field) for span in scope.spans}
        for value in values:
            for at in _find(body, tag + value.to_bytes(8, "little")):
                yield at + 1, value


def requests(templates: list[Template], count: int, now: int, seed: int) -> list[bytes]:
    """`count` requests with ids, times and texts of their own; every span ended at most 3 s before `now` (UTC ns)."""
    draw = np.random.default_rng(seed)
    made = []
    for number in range(count):
        t = templates[number % len(templates)]
        body = t.body.copy()
        for places in t.traces:
            _put(body, places, draw.bytes(16))
        for places in t.spans:
            _put(body, places, draw.bytes(8))
        when = (now - t.offsets).astype("<u8").view(np.uint8).reshape(-1, 8)
        body[t.times[:, None] + np.arange(8)] = when
        _put(body, t.turns, draw.bytes(8).hex().encode())
        made.append(body.tobytes())
    return made


def _put(body: np.ndarray, places: np.ndarray, value: bytes) -> None:
    body[places[:, None] + np.arange(len(value))] = np.frombuffer(value, np.uint8)
