"""Libraries that nobody here has seen: the captures, rewritten into conventions that follow a known one loosely."""

import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from schemas.limits import LIMITS
from tests.transforms.records import CAPTURES, raw
from tests.transforms.test_other_captures import FOLDER
from transforms.normalise.spans import normalise
from transforms.otlp.decode import decode

COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")
# Spans whose own attributes hold the counts under names that say what they are.
SOURCES = {
    "the conventions": CAPTURES / "otel-genai-openai/chat.binpb",
    "a stream": CAPTURES / "otel-genai-openai/chat_stream.binpb",
    "embeddings": CAPTURES / "otel-genai-openai/embeddings.binpb",
    "OpenInference": CAPTURES / "openinference-openai/responses.binpb",
    "Traceloop": FOLDER / "openllmetry-0.40.14/chat.binpb",
}
# Of each source, what is left of its keys when it is rewritten: whole prefixes that a fork would rename.
PREFIX = re.compile(r"^(gen_ai|llm|openinference|traceloop)\.")
KEPT = re.compile(
    r"(usage|token_count|request\.model|response\.model|model_name|response\.id|operation\.name|span\.kind)"
)

prefixes = st.sampled_from(["genai", "acme.llm", "llm", "ai.acme", "my_company.gen_ai"])
separators = st.sampled_from([".", "_", "/"])


@cache
def spans_of(source: str) -> bytes:
    return SOURCES[source].read_bytes()


def rewritten(source: str, prefix: str, separator: str) -> bytes:
    """The export as an unknown library would send it: another scope, another prefix, only the keys that say numbers."""
    request = ExportTraceServiceRequest.FromString(spans_of(source))
    for resource in request.resource_spans:
        del resource.resource.attributes[:]
        for scope in resource.scope_spans:
            scope.scope.name, scope.scope.version = "acme.tracer", "1"
            for span in scope.spans:
                kept = [pair for pair in span.attributes if KEPT.search(pair.key)]
                for pair in kept:
                    bare = PREFIX.sub("", pair.key)
                    pair.key = prefix + separator + bare.replace(".", separator)
                del span.attributes[:]
                span.attributes.extend(kept)
    return request.SerializeToString()


def calls(body: bytes) -> list[dict[str, Any]]:
    rows = normalise(decode(raw([body]), LIMITS))
    return [row for row in rows.iter_rows(named=True) if row["is_call"]]


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=15, deadline=None)
@given(prefix=prefixes, separator=separators)
def test_a_library_that_renames_a_convention_gives_the_same_tokens_and_models(source, prefix, separator):
    known, unknown = calls(spans_of(source)), calls(rewritten(source, prefix, separator))
    assert len(known) == len(unknown) > 0
    for one, other in zip(known, unknown, strict=True):
        assert other["dialect"] == "inferred"
        assert [other[name] or 0 for name in COUNTS] == [one[name] or 0 for name in COUNTS]
        assert (other["response_model"] or other["request_model"]) == (one["response_model"] or one["request_model"])
        assert other["kind"] == one["kind"]
