-- The spans under the names that the Grafana plugin for ClickHouse and its OpenTelemetry dashboards expect.

CREATE OR REPLACE VIEW otel_traces AS
SELECT
    start_time AS Timestamp,
    trace_id AS TraceId,
    span_id AS SpanId,
    parent_span_id AS ParentSpanId,
    '' AS TraceState,
    name AS SpanName,
    multiIf(kind IN ('llm', 'embedding', 'rerank'), 'Client', 'Internal') AS SpanKind,
    service AS ServiceName,
    resource AS ResourceAttributes,
    scope AS ScopeName,
    scope_version AS ScopeVersion,
    attributes AS SpanAttributes,
    toUInt64(greatest(duration_ns, 0)) AS Duration,
    multiIf(status = 'error', 'Error', status = 'ok', 'Ok', 'Unset') AS StatusCode,
    error AS StatusMessage,
    arrayMap(e -> e.time, events) AS `Events.Timestamp`,
    arrayMap(e -> e.name, events) AS `Events.Name`,
    arrayMap(e -> e.attributes, events) AS `Events.Attributes`,
    arrayMap(l -> l.trace_id, links) AS `Links.TraceId`,
    arrayMap(l -> l.span_id, links) AS `Links.SpanId`,
    arrayMap(l -> l.attributes, links) AS `Links.Attributes`,
    org AS Organisation
FROM spans_data FINAL;
