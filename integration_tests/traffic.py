"""Captures as requests of a test's own: new ids each time, so that tests on one product do not meet."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from integration_tests.product import CAPTURES


@cache
def expected() -> dict[str, Any]:
    """What the provider really sent, by '<library>/<scenario>'."""
    return json.loads((CAPTURES / "EXPECTED.json").read_text())["captures"]


def capture(name: str) -> list[bytes]:
    """The trace exports of one capture as they were sent."""
    return [(CAPTURES / file).read_bytes() for file in expected()[name]["files"]]


def renamed(body: bytes, salt: str) -> bytes:
    """The same request with other trace and span ids: equal salts give equal ids."""
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.trace_id = _id(span.trace_id, salt, 16)
                span.span_id = _id(span.span_id, salt, 8)
                if span.parent_span_id:
                    span.parent_span_id = _id(span.parent_span_id, salt, 8)
    return request.SerializeToString()


def trace_ids(body: bytes) -> set[str]:
    request = ExportTraceServiceRequest.FromString(body)
    return {s.trace_id.hex() for r in request.resource_spans for c in r.scope_spans for s in c.spans}


def span_count(body: bytes) -> int:
    request = ExportTraceServiceRequest.FromString(body)
    return sum(len(c.spans) for r in request.resource_spans for c in r.scope_spans)


def all_files() -> list[Path]:
    return sorted(p for p in CAPTURES.rglob("*.binpb") if ".logs." not in p.name)


def _id(old: bytes, salt: str, size: int) -> bytes:
    return hashlib.blake2b(old, key=salt.encode()[:64], digest_size=size).digest()
