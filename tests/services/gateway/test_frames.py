import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.gateway.frames import cut
from services.shared.answers import Refused

shapes = st.lists(st.lists(st.integers(0, 5), max_size=4), max_size=4)


def request(shape: list[list[int]]) -> ExportTraceServiceRequest:
    """Groups of scopes of as many spans as `shape` says, numbered through."""
    built = ExportTraceServiceRequest()
    number = 0
    for scopes in shape:
        group = built.resource_spans.add(schema_url="group")
        group.resource.attributes.add(key="service.name").value.string_value = "x"
        for count in scopes:
            scope = group.scope_spans.add(schema_url="scope", scope={"name": "s"})
            for _ in range(count):
                number += 1
                scope.spans.add(name=str(number))
    return built


@given(shapes)
def test_a_request_within_the_limit_stays_byte_for_byte(shape: list[list[int]]) -> None:
    body = request(shape).SerializeToString()
    assert cut(body, 100) == (body, sum(map(sum, shape)), 0)


@given(shapes, st.integers(4, 30))
def test_a_cut_request_holds_its_first_items_and_all_of_their_surroundings(shape, most: int) -> None:
    whole = request(shape)
    if sum(map(len, shape)) > most:
        with pytest.raises(Refused):
            cut(whole.SerializeToString(), most)
        return
    kept, items, beyond = cut(whole.SerializeToString(), most)
    total = sum(map(sum, shape))
    assert (items, beyond) == (min(total, most), max(total - most, 0))
    left = most
    for group in whole.resource_spans:
        for scope in group.scope_spans:
            del scope.spans[left:]
            left -= len(scope.spans)
    assert ExportTraceServiceRequest.FromString(kept) == whole


def test_broken_frames_raise() -> None:
    with pytest.raises(DecodeError):
        cut(b"\n\x05\x12", 10)
