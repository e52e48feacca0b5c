-- One row per span. The hashes are those of the span and of the log records that belong to it: by trace and span,
-- or by the provider's response id when a record came without a trace. A filter on org and trace_id reaches the
-- primary key.

CREATE OR REPLACE VIEW spans AS
SELECT
    *
    EXCEPT (log_org, log_trace_id, log_span_id, log_input, log_output, reply_org, reply_id, reply_input, reply_output)
    REPLACE (
        JSONExtract(read_from, 'Map(String, String)') AS read_from,
        arrayDistinct(arrayConcat(input_hashes, log_input, reply_input)) AS input_hashes,
        arrayDistinct(arrayConcat(output_hashes, log_output, reply_output)) AS output_hashes),
    read_from['ttft_ns'] AS ttft_origin
FROM (SELECT * FROM spans_data FINAL) AS span
LEFT JOIN
(
    SELECT
        org AS log_org,
        trace_id AS log_trace_id,
        span_id AS log_span_id,
        arrayFlatten(arrayMap(x -> x.3, arraySort(groupArray((time, id, input_hashes))))) AS log_input,
        arrayFlatten(arrayMap(x -> x.3, arraySort(groupArray((time, id, output_hashes))))) AS log_output
    FROM span_logs_data FINAL
    WHERE trace_id != ''
    GROUP BY org, trace_id, span_id
) AS log ON org = log_org AND trace_id = log_trace_id AND span_id = log_span_id
LEFT JOIN
(
    SELECT
        org AS reply_org,
        response_id AS reply_id,
        arrayFlatten(arrayMap(x -> x.3, arraySort(groupArray((time, id, input_hashes))))) AS reply_input,
        arrayFlatten(arrayMap(x -> x.3, arraySort(groupArray((time, id, output_hashes))))) AS reply_output
    FROM span_logs_data FINAL
    WHERE trace_id = '' AND response_id != ''
    GROUP BY org, response_id
) AS reply ON org = reply_org AND response_id = reply_id;
