"""What a sender is told: the outcomes of the OTLP specification, for HTTP and for gRPC.

Source: opentelemetry-proto 1.11, docs/specification.md, "OTLP/gRPC Response", "OTLP/HTTP Response". A passing
fault is never a 500: senders drop their data on that.
"""

from enum import Enum

from google.protobuf import json_format
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2


class Refusal(Enum):
    """A kind of refusal: (HTTP status, gRPC code). UNAVAILABLE and THROTTLED may be sent again unchanged."""

    UNDECODABLE = (400, 3)  # INVALID_ARGUMENT
    UNAUTHENTICATED = (401, 16)
    TOO_LARGE = (413, 8)  # RESOURCE_EXHAUSTED, which without RetryInfo means: do not retry
    UNSUPPORTED = (415, 12)  # UNIMPLEMENTED
    THROTTLED = (429, 8)  # RESOURCE_EXHAUSTED with RetryInfo
    UNAVAILABLE = (503, 14)

    @property
    def http_status(self) -> int:
        return self.value[0]

    @property
    def grpc_code(self) -> int:
        return self.value[1]


class Refused(Exception):
    """Nothing of the request was taken. retry_after_s: 0 where sending it again is pointless."""

    def __init__(self, refusal: Refusal, message: str, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.message = message
        self.retry_after_s = retry_after_s


def unavailable(message: str, retry_after_s: int) -> Refused:
    """The refusal for every passing fault: the same request will be welcome after `retry_after_s` seconds."""
    return Refused(Refusal.UNAVAILABLE, message, retry_after_s)


def status_of(refused: Refused) -> status_pb2.Status:
    """The google.rpc.Status of a refusal, with RetryInfo where a retry is welcome."""
    status = status_pb2.Status(code=refused.refusal.grpc_code, message=refused.message)
    if refused.retry_after_s:
        retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=refused.retry_after_s))
        detail = Any()
        detail.Pack(retry)
        status.details.append(detail)
    return status


class Form(Enum):
    """The two encodings of OTLP over HTTP, by content type."""

    PROTOBUF = "application/x-protobuf"
    JSON = "application/json"


def encode(message: Message, form: Form) -> bytes:
    """`message` in the form of the request that it answers."""
    if form is Form.PROTOBUF:
        return message.SerializeToString()
    return json_format.MessageToJson(message, indent=None).encode()
