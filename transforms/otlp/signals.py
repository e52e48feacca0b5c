"""The two OTLP signals as they come over the wire, and their decoding into nested Arrow columns.

Both requests have one layout (opentelemetry-proto, trace_service.proto and logs_service.proto):
request { 1: resource group { 1: resource, 2: scope group { 1: scope, 2: item } } }, an item being a Span or a
LogRecord. `TracesData` and `LogsData` have the same wire form.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from ptars import HandlerPool

from transforms.isolate import isolate


@dataclass(frozen=True)
class Parsed:
    """The valid ones among some request bodies.

    groups: list<resource group>[n], one entry per valid body.
    rows: int64[n], the index of the body that each came from, ascending.
    bad: (index, reason) of every other body, ascending.
    """

    groups: pa.ListArray
    rows: np.ndarray
    bad: list[tuple[int, str]]


@dataclass(frozen=True)
class Signal:
    """One kind of request: its name, its message class, the names of its nested lists and of its items."""

    name: str
    request: type[Message]
    groups: str
    scopes: str
    items: str
    item: str

    @cached_property
    def _handler(self):
        return HandlerPool([self.request.DESCRIPTOR.file]).get_for_message(self.request.DESCRIPTOR)

    def parse(self, bodies: list[bytes]) -> Parsed:
        """Decode request bodies into nested columns; one that is no valid request does not harm the others.

        A body is valid when two decoders take it. protobuf's own bounds the nesting of the wire format at 100
        (the value of Limits.nesting) and checks the UTF-8 of nested values; it must come first, as the
        vectorised one overflows the stack on groups nested a hundred thousand deep.
        """
        reasons: dict[int, str] = {}
        for index, body in enumerate(bodies):
            try:
                self.request.FromString(body)
            except DecodeError:
                reasons[index] = (
                    f"not a valid {self.item}: broken framing, invalid UTF-8 or nested deeper than 100 levels"
                )
        rows = [index for index in range(len(bodies)) if index not in reasons]
        kept = pa.array([bodies[row] for row in rows] if reasons else bodies, pa.binary())
        found = isolate(len(rows), lambda start, stop: self._columns(kept.slice(start, stop - start)), (ValueError,))
        refused = {rows[index]: str(error) for index, error in found.bad}
        groups = (
            found.results[0] if len(found.results) == 1 else pa.concat_arrays(found.results or [self._columns(kept)])
        )
        valid = np.array([row for row in rows if row not in refused], np.int64)
        return Parsed(groups, valid, sorted((reasons | refused).items()))

    def _columns(self, bodies: pa.Array) -> pa.ListArray:
        return self._handler.array_to_record_batch(bodies).column(self.groups)


TRACES = Signal("traces", ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans", "span")
LOGS = Signal("logs", ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records", "log record")
