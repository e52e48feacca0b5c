"""Every limit that protects the system from its input, in one frozen table.

Sizes are bytes, counts are items. A limit that cuts an item marks it with the flag named in the comment;
a limit that refuses names itself in the refusal.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    body_bytes: int = 20 * 2**20  # request on the wire; 413 / RESOURCE_EXHAUSTED
    inflated_bytes: int = 20 * 2**20  # request after decompression; the same answer
    spans_per_request: int = 16_384  # further spans are rejected, partial success
    log_records_per_request: int = 16_384  # the same for /v1/logs
    nesting: int = 100  # depth of JSON or AnyValue on the wire; 400 / INVALID_ARGUMENT
    attributes_per_span: int = 1_024  # flag attributes_dropped
    events_per_span: int = 128  # flag events_dropped
    links_per_span: int = 128  # flag links_dropped
    key_bytes: int = 256  # flag attribute_cut
    value_bytes: int = 4 * 2**10  # a plain attribute value; flag attribute_cut
    name_bytes: int = 1_024  # span, service, model and other names; flag name_cut
    message_bytes: int = 2**20  # one message body, hash and length kept; flag message_cut
    messages_per_span: int = 4_096  # flag messages_dropped
    past_ns: int = 30 * 86_400 * 10**9  # a span older than this at receipt; flag time_out_of_range
    future_ns: int = 600 * 10**9  # a span further ahead than this at receipt; flag time_out_of_range
    series_per_minute: int = 2_000  # of an organisation's metrics; the rest is counted under `(other)`
    trace_spans: int = 100_000  # spans of one trace held in state; then the trace continues in a new fragment


LIMITS = Limits()
