"""Arrow schemas of what flows between the steps and of what is written to the store.

Ids are lower-case hex strings: trace_id 32, span_id 16 characters, content hashes 32 (BLAKE2b-128).
Times are UTC nanoseconds, durations nanoseconds, money integer nano-dollars, token counts integers.
"""

import pyarrow as pa

NS = pa.timestamp("ns", "UTC")
TEXT = pa.string()
NAMES = pa.list_(pa.string())
ATTRIBUTES = pa.map_(pa.string(), pa.string())
EVENTS = pa.list_(pa.struct([("time", NS), ("name", TEXT), ("attributes", ATTRIBUTES)]))
LINKS = pa.list_(pa.struct([("trace_id", TEXT), ("span_id", TEXT), ("attributes", ATTRIBUTES)]))

# One row per Kafka record of `spans.raw`: the source's element, before anything is decoded.
RAW = pa.schema(
    [
        ("topic", TEXT),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("org", TEXT),
        ("team", TEXT),
        ("key_id", TEXT),
        ("signal", TEXT),  # traces | logs
        ("redact", pa.bool_()),
        ("received_at", pa.int64()),  # UTC ns, set by the gateway (else the record's timestamp)
        ("body", pa.binary()),
    ]
)

# Who owns a row. Always from the API key, never from the span.
_OWNER = [("org", TEXT), ("team", TEXT), ("key_id", TEXT)]

# What one inference cost and how it is known; shared by spans, skeletons and usage.
_CALL = [
    ("provider", TEXT),
    ("request_model", TEXT),
    ("response_model", TEXT),
    ("response_id", TEXT),
    ("operation", TEXT),
    ("input_tokens", pa.int64()),  # inclusive: uncached + cache read + cache write; NULL when not known
    ("output_tokens", pa.int64()),  # inclusive of reasoning
    ("cache_read_tokens", pa.int64()),
    ("cache_write_tokens", pa.int64()),
    ("cache_write_1h_tokens", pa.int64()),
    ("reasoning_tokens", pa.int64()),
    ("audio_input_tokens", pa.int64()),
    ("audio_output_tokens", pa.int64()),
    ("token_source", TEXT),  # reported | counted | estimated; NULL when there is no usage
    ("cost_nano", pa.int64()),
    ("cost_status", TEXT),  # priced | unpriced | no_usage | none (not a call)
    ("price_id", TEXT),
]

# Where a call came from and what it was for; shared by skeletons, claims and usage.
_CONTEXT = [
    ("service", TEXT),
    ("dialect", TEXT),
    ("session_id", TEXT),
    ("user_id", TEXT),
    ("prompt_name", TEXT),
    ("prompt_version", TEXT),
]

SPANS = pa.schema(
    [
        *_OWNER,
        ("trace_id", TEXT),
        ("span_id", TEXT),
        ("parent_span_id", TEXT),  # '' for a root
        ("name", TEXT),
        ("kind", TEXT),  # llm|embedding|rerank|tool|retrieval|agent|chain|guardrail|evaluator|other
        ("start_time", NS),
        ("duration_ns", pa.int64()),
        ("status", TEXT),  # unset | ok | error
        ("error", TEXT),  # class or code, then the message; '' when there is none
        ("service", TEXT),
        ("scope", TEXT),
        ("scope_version", TEXT),
        ("dialect", TEXT),
        *_CALL,
        ("streaming", pa.bool_()),
        ("finish_reasons", NAMES),
        ("ttft_ns", pa.int64()),
        ("ttft_kind", TEXT),  # first_chunk | first_content | server; NULL when not recorded
        ("tpot_ns", pa.int64()),
        ("client_cost_nano", pa.int64()),
        ("session_id", TEXT),
        ("user_id", TEXT),
        ("prompt_name", TEXT),
        ("prompt_version", TEXT),
        ("request_id", TEXT),  # of the budget's reservation that the call was made under; '' for none
        ("tags", NAMES),
        ("input_hashes", NAMES),
        ("output_hashes", NAMES),
        ("tool_definitions_hash", TEXT),  # the message with the tools that the call offers; '' when it offers none
        ("attributes", ATTRIBUTES),
        ("resource", ATTRIBUTES),
        ("events", EVENTS),
        ("links", LINKS),
        ("flags", NAMES),  # what was cut or does not add up
        ("token_flags", NAMES),  # how token counts were corrected, or contradict each other
        ("read_from", TEXT),  # JSON: column -> attribute or event that its value was read from
        ("received_at", NS),
        ("day", pa.date32()),  # of start_time; 1970-01-01 when that is out of range: bounds the partitions
        ("version", pa.uint64()),  # grows with the information in the span, never with the clock
    ]
)

# One distinct message of one organisation, in the GenAI conventions' shape.
MESSAGES = pa.schema(
    [
        ("org", TEXT),
        ("hash", TEXT),
        ("role", TEXT),
        ("body", TEXT),  # JSON {role, parts:[{type, ...}]}
        ("bytes", pa.int64()),  # before any cut
    ]
)

# A GenAI log record that belongs to a span: carries the hashes of what it said.
SPAN_LOGS = pa.schema(
    [
        ("org", TEXT),
        ("trace_id", TEXT),  # '' when the record has none: joined by response_id
        ("span_id", TEXT),
        ("response_id", TEXT),
        ("time", NS),
        ("event", TEXT),
        ("input_hashes", NAMES),
        ("output_hashes", NAMES),
        ("attributes", ATTRIBUTES),
        ("day", pa.date32()),
        ("id", TEXT),  # hash of the record's content: the same record twice is one row
    ]
)

# One row per Kafka record that was processed: the completeness equation and "caught up" are read from it.
REQUESTS = pa.schema(
    [
        ("topic", TEXT),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("org", TEXT),
        ("signal", TEXT),
        ("received_at", NS),
        ("received", pa.int64()),  # spans or log records in it, as far as they could be counted
        ("written", pa.int64()),  # rows that went to the store, duplicates included
        ("dead_lettered", pa.int64()),
    ]
)

DEAD_LETTERS = pa.schema(
    [
        ("org", TEXT),
        ("team", TEXT),
        ("key_id", TEXT),
        ("received_at", NS),
        ("step", TEXT),  # decode | normalise | ... : the step that refused it
        ("error", TEXT),  # error class, e.g. InvalidTraceId
        ("message", TEXT),
        ("topic", TEXT),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("position", pa.int64()),  # of the span in its record; -1 for the whole record
        ("raw", pa.binary()),  # a request that holds just the refused item, so that it can be replayed
        ("code_version", TEXT),
    ]
)

# What waits in state for the rest of its trace: at most 200 bytes a span.
SKELETONS = pa.schema(
    [
        *_OWNER,
        ("trace_id", TEXT),
        ("span_id", TEXT),
        ("parent_span_id", TEXT),
        ("name", TEXT),
        ("kind", TEXT),
        ("start_time", pa.int64()),  # UTC ns
        ("duration_ns", pa.int64()),
        ("status", TEXT),
        ("scope", TEXT),
        *_CONTEXT,
        *_CALL,
        ("request_id", TEXT),
        ("ttft_ns", pa.int64()),
        ("version", pa.uint64()),
        ("day", pa.date32()),
        ("billable", pa.bool_()),  # a leaf inference or embedding by its kind, with usage or without an error
    ]
)

# One fragment of one trace; the view `traces` unites the fragments. The tree is in depth-first order.
TRACES = pa.schema(
    [
        *_OWNER,
        ("trace_id", TEXT),
        ("fragment", TEXT),  # hash of the span ids that opened it
        ("state", TEXT),  # provisional | final
        ("root_span_id", TEXT),  # '' when the root never came
        ("root_name", TEXT),
        ("start_time", NS),
        ("duration_ns", pa.int64()),
        ("status", TEXT),  # error when any span failed, else ok
        ("error_count", pa.int64()),
        ("span_count", pa.int64()),
        ("orphan_count", pa.int64()),  # spans shown under a placeholder: their parent never came
        ("root_count", pa.int64()),
        ("cycle_count", pa.int64()),  # spans whose parent chain is a loop, cut at its first span
        ("depth", pa.int64()),
        ("call_count", pa.int64()),  # billed calls
        ("unpriced_count", pa.int64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cache_read_tokens", pa.int64()),
        ("cache_write_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        ("cost_nano", pa.int64()),  # of the priced calls
        ("cost_status", TEXT),  # priced | partly | unpriced | none
        ("ttft_ns", pa.int64()),  # from the trace's start to the first token of its first billed streamed call
        ("models", NAMES),
        ("providers", NAMES),
        ("services", NAMES),
        ("session_id", TEXT),
        ("user_id", TEXT),
        ("span_ids", NAMES),
        ("parent_indexes", pa.list_(pa.int32())),  # -1 for a root or an orphan
        ("depths", pa.list_(pa.int32())),
        ("names", NAMES),
        ("kinds", NAMES),
        ("statuses", NAMES),
        ("start_offsets_ns", pa.list_(pa.int64())),  # from the trace's start
        ("durations_ns", pa.list_(pa.int64())),
        ("span_models", NAMES),
        ("span_ttfts_ns", pa.list_(pa.int64())),  # -1 where not recorded
        ("span_billed", pa.list_(pa.bool_())),
        ("self_input_tokens", pa.list_(pa.int64())),
        ("self_output_tokens", pa.list_(pa.int64())),
        ("self_cost_nano", pa.list_(pa.int64())),  # 0 where not billed or not priced
        ("total_input_tokens", pa.list_(pa.int64())),  # of the span and all below it
        ("total_output_tokens", pa.list_(pa.int64())),
        ("total_cost_nano", pa.list_(pa.int64())),
        ("self_time_ns", pa.list_(pa.int64())),  # duration less the union of its children's intervals
        ("day", pa.date32()),
        ("version", pa.uint64()),
    ]
)

# The append-only ledger: a fact per row, so that sums over it are right at any moment.
USAGE = pa.schema(
    [
        *_OWNER,
        ("entry", TEXT),  # charge | reversal | reprice
        ("entry_id", TEXT),  # hash of org, call and kind of entry: the same fact twice is one row
        ("call_id", TEXT),
        ("trace_id", TEXT),
        ("span_id", TEXT),
        ("time", NS),  # start of the span: the price of that moment
        ("provider", TEXT),
        ("model", TEXT),  # as answered, else as asked
        *[f for f in _CALL if f[0] != "provider"],
        *_CONTEXT,
        ("request_id", TEXT),  # of the budget's reservation that the call was made under; '' for none
        ("reason", TEXT),  # why a reversal or a reprice was written; '' for a charge
        ("day", pa.date32()),
        ("version", pa.uint64()),
    ]
)

# What a trace says of a call that other traces may have seen too: from the fold over traces to that over calls.
CLAIMS = pa.schema(
    [
        *_OWNER,
        ("call_id", TEXT),
        ("trace_id", TEXT),
        ("span_id", TEXT),
        ("start_time", pa.int64()),  # UTC ns
        ("duration_ns", pa.int64()),
        *_CALL,
        *_CONTEXT,
        ("request_id", TEXT),
        ("ttft_ns", pa.int64()),
        ("day", pa.date32()),
        ("record", pa.uint64()),  # version of the span whose numbers these are
        ("mixed", pa.bool_()),  # sightings of the span disagree
        ("stands", pa.bool_()),  # by its own trace it bills this call
        ("version", pa.uint64()),  # grows with what the trace knows
    ]
)

# One row per Kafka record of `budget.log` (schemas/budget.proto): what the fold over one organisation's budgets reads.
BUDGET_LOG = pa.schema(
    [
        ("org", TEXT),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("time", pa.int64()),  # UTC ns, LogAppendTime of the record
        ("body", pa.binary()),  # EventBatch
    ]
)

# The usage ledger's entries as budgets read them: the rows of an event `charges`.
CHARGES = pa.schema(
    [
        *_OWNER,
        ("provider", TEXT),
        ("model", TEXT),
        ("entry_id", TEXT),  # counts with the numbers of its greatest version
        ("version", pa.uint64()),
        ("call_id", TEXT),
        ("response_id", TEXT),  # '' for none
        ("request_id", TEXT),  # of a reservation; '' for none
        ("time", pa.int64()),  # UTC ns, start of the span
        ("input_tokens", pa.int64()),  # signed as in USAGE; NULL when not known
        ("output_tokens", pa.int64()),
        ("cost_nano", pa.int64()),  # signed; NULL when unpriced
    ]
)

BUDGET_REPLIES = pa.schema(
    [
        ("org", TEXT),
        ("request_id", TEXT),
        ("body", pa.binary()),  # Reply
    ]
)

# A budget in one of its windows.
_BUDGET = [
    ("budget_id", TEXT),
    ("budget", TEXT),  # its name
    ("team", TEXT),  # what it counts; '' for any
    ("key_id", TEXT),
    ("provider", TEXT),
    ("model", TEXT),
    ("unit", TEXT),  # nano_dollars | tokens: of limit, spent and pending
    ("hard", pa.bool_()),
    ("window", TEXT),  # day | week | month | total
    ("time_zone", TEXT),
    ("window_start", NS),  # 1970-01-01 for total
    ("window_end", NS),  # when it resets; NULL for total
    ("limit", pa.int64()),
    ("spent", pa.int64()),  # posted
    ("pending", pa.int64()),  # reserved and not settled
]

# What people want to hear of, each once in a window and for one limit.
BUDGET_EVENTS = pa.schema(
    [
        ("org", TEXT),
        ("event_id", TEXT),
        ("kind", TEXT),  # threshold | exceeded | refused
        ("time", NS),
        ("threshold", pa.int32()),  # percent of the limit; 0 unless kind is threshold
        *_BUDGET,
        ("request_id", TEXT),  # of the call that brought it about; '' for none
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)

BUDGET_BALANCES = pa.schema(
    [
        ("org", TEXT),
        *_BUDGET,
        ("time", NS),  # of the event that changed it last
        ("version", pa.uint64()),  # offset of that event + 1
    ]
)

# The journal: sums over it by budget and window are the balances.
BUDGET_ENTRIES = pa.schema(
    [
        ("org", TEXT),
        ("entry_id", TEXT),  # partition-offset-number in the record: the same again after a replay
        ("time", NS),
        ("kind", TEXT),  # pending | post | void | expire | charge | overrun
        ("budget_id", TEXT),
        ("window_start", NS),
        ("unit", TEXT),
        ("spent", pa.int64()),  # by how much it changed what is posted
        ("pending", pa.int64()),  # by how much it changed what is pending
        ("request_id", TEXT),  # '' for a call without a reservation
        ("call_id", TEXT),  # of a charge; '' else
        *_OWNER[1:],
        ("provider", TEXT),
        ("model", TEXT),
        ("version", pa.uint64()),  # offset + 1
    ]
)

# What a row of metrics is about: one series of one minute. `(other)` in all but the organisation: what was beyond the
# limit of series.
SERIES = [
    *_OWNER,
    ("service", TEXT),
    ("provider", TEXT),
    ("model", TEXT),  # as answered, else as asked
    ("operation", TEXT),
    ("prompt_name", TEXT),
    ("prompt_version", TEXT),
]
_AMOUNTS = [
    ("calls", pa.int64()),  # billed, as `usage` has them
    ("errors", pa.int64()),  # calls that failed, billed or not
    ("attempts", pa.int64()),  # calls, and those that failed and bill nothing: what errors are a part of
    ("unpriced_calls", pa.int64()),
    ("input_tokens", pa.int64()),
    ("output_tokens", pa.int64()),
    ("cache_read_tokens", pa.int64()),
    ("cache_write_tokens", pa.int64()),
    ("cache_write_1h_tokens", pa.int64()),
    ("reasoning_tokens", pa.int64()),
    ("audio_input_tokens", pa.int64()),
    ("audio_output_tokens", pa.int64()),
    ("cost_nano", pa.int64()),
]
MEASURES = ("duration", "ttft", "tpot")  # latencies of the billed calls: each a histogram, and how many were 0
# Base-2 exponential histogram of the billed calls (transforms/metrics/histogram.py): bucket -> calls.
HISTOGRAM = pa.map_(pa.int16(), pa.uint64())

# One minute of one series. Of the rows of one series and minute that of the greatest version stands.
METRICS = pa.schema(
    [
        *SERIES,
        ("minute", pa.timestamp("s", "UTC")),  # its start; 1970-01-01 when the call's time is out of range
        *_AMOUNTS,
        *[field for name in MEASURES for field in ((f"{name}_ns", HISTOGRAM), (f"{name}_zeros", pa.uint64()))],
        ("version", pa.uint64()),
    ]
)

# By how much a series of a minute changed: what the folds over traces and over calls say to that over metrics.
METRIC_CHANGES = pa.schema(
    [
        *SERIES,
        ("minute", pa.int64()),  # UTC s of its start
        *_AMOUNTS,  # signed, as all numbers here
        *[(f"{name}_zeros", pa.int64()) for name in MEASURES],
        # measure: place in MEASURES
        ("buckets", pa.list_(pa.struct([("measure", pa.int8()), ("bucket", pa.int16()), ("n", pa.int64())]))),
        ("unsure", pa.bool_()),  # it may count what was counted before: the store must count the minute anew
    ]
)

# Minutes that the store must count anew from `usage` and `spans`.
RECOUNTS = pa.schema([("org", TEXT), ("minute", pa.int64())])  # UTC s of its start

# What changed of an incident of an alert rule, or that it goes on: the topic `alerts`.
INCIDENTS = pa.schema(
    [
        ("org", TEXT),
        ("incident_id", TEXT),  # hash of organisation, rule, series and the minute in which it began
        ("rule", TEXT),  # group/name
        ("kind", TEXT),
        ("state", TEXT),  # pending | firing | ok (was pending) | resolved
        ("renewed", pa.bool_()),  # it was firing before: said again, so that its end is noticed if nothing is said
        ("labels", TEXT),  # JSON: the dimensions that the rule groups by and their values
        ("value", pa.float64()),  # in `unit`; NULL where nothing can be said
        ("threshold", pa.float64()),  # NULL of an anomaly
        ("unit", TEXT),  # nano_dollars | ns | minutes | share | ''
        ("text", TEXT),  # for people
        ("severity", TEXT),
        ("summary", TEXT),
        ("runbook", TEXT),
        ("receivers", NAMES),
        ("started_at", pa.int64()),  # UTC ns, of the minute in which it began
        ("at", pa.int64()),  # UTC ns, the end of the minute that made it so
        ("valid_until", pa.int64()),  # UTC ns: not heard of until then, it is to be taken for gone
    ]
)

# What the sink writes, by table name.
TABLES: dict[str, pa.Schema] = {
    "spans": SPANS,
    "messages": MESSAGES,
    "span_logs": SPAN_LOGS,
    "requests": REQUESTS,
    "dead_letters": DEAD_LETTERS,
    "traces": TRACES,
    "usage": USAGE,
    "metrics_1m": METRICS,
    "budget_balances": BUDGET_BALANCES,
    "budget_entries": BUDGET_ENTRIES,
}


def to_ipc(table: pa.Table | pa.RecordBatch) -> bytes:
    """Arrow IPC stream of `table`, uncompressed: the form in which elements and state travel."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write(table)
    return sink.getvalue().to_pybytes()


def from_ipc(data: bytes) -> pa.Table:
    """The table in an Arrow IPC stream, without a copy. Raises pa.ArrowInvalid on other bytes."""
    return pa.ipc.open_stream(data).read_all()
