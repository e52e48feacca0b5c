-- The budget's reservation that a call was made under. The views are made again, as they name the columns that there
-- were.

ALTER TABLE spans_data ADD COLUMN IF NOT EXISTS request_id String CODEC(ZSTD(1)) COMMENT 'of the reservation in a budget; empty for none' AFTER prompt_version;

ALTER TABLE usage_data ADD COLUMN IF NOT EXISTS request_id String CODEC(ZSTD(1)) COMMENT 'of the reservation in a budget; empty for none' AFTER prompt_version;

CREATE OR REPLACE VIEW usage AS SELECT * FROM usage_data FINAL;

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

CREATE OR REPLACE VIEW usage_explained AS
WITH
    if(isNull(price_audio_input), 0, ifNull(audio_input_tokens, 0)) AS audio_input_count,
    if(isNull(price_cache_read), 0, ifNull(cache_read_tokens, 0)) AS cache_read_count,
    if(isNull(price_cache_write_1h), 0, ifNull(cache_write_1h_tokens, 0)) AS cache_write_1h_count,
    if(isNull(price_cache_write), 0, ifNull(cache_write_tokens, 0) - cache_write_1h_count) AS cache_write_count,
    if(isNull(price_reasoning), 0, ifNull(reasoning_tokens, 0)) AS reasoning_count,
    if(isNull(price_audio_output), 0, ifNull(audio_output_tokens, 0)) AS audio_output_count,
    [
        ('input', ifNull(input_tokens, 0) - cache_read_count - cache_write_count - cache_write_1h_count
            - audio_input_count, price_input),
        ('cache_read', cache_read_count, price_cache_read),
        ('cache_write', cache_write_count, price_cache_write),
        ('cache_write_1h', cache_write_1h_count, price_cache_write_1h),
        ('audio_input', audio_input_count, price_audio_input),
        ('output', ifNull(output_tokens, 0) - reasoning_count - audio_output_count, price_output),
        ('reasoning', reasoning_count, price_reasoning),
        ('audio_output', audio_output_count, price_audio_output),
        ('request', if(entry = 'charge', 1, sign(ifNull(cost_nano, 0))), price_request * 1000000)
    ] AS counted
SELECT
    *
    EXCEPT (
        span_org, span_trace, span_span, named_id, seen_org, seen_id, price_input, price_output, price_cache_read,
        price_cache_write, price_cache_write_1h, price_reasoning, price_audio_input, price_audio_output, price_request),
    arrayMap(
        part -> CAST(
            (part.1, part.2, part.3, toDecimal256(assumeNotNull(part.3), 18) * part.2 * 1000),
            'Tuple(unit String, count Int64, dollars_per_million Decimal(38, 18), nano_dollars Decimal(38, 15))'),
        arrayFilter(part -> cost_status = 'priced' AND part.2 != 0 AND part.3 IS NOT NULL, counted)) AS parts,
    arraySum(part -> part.nano_dollars, parts) AS parts_nano
FROM (SELECT * FROM usage_data FINAL) AS ledger
LEFT JOIN
(
    SELECT
        org AS span_org,
        trace_id AS span_trace,
        span_id AS span_span,
        name AS span_name,
        kind,
        scope,
        scope_version,
        flags,
        token_flags,
        JSONExtract(read_from, 'Map(String, String)') AS read_from,
        mapFilter((key, value) -> has(arrayConcat(mapValues(read_from), arrayMap(
            origin -> arrayElement(splitByChar(':', origin), 1), mapValues(read_from))), key), attributes) AS sent,
        client_cost_nano,
        streaming,
        duration_ns,
        ttft_ns,
        ttft_kind,
        tpot_ns
    FROM spans_data FINAL
) AS span ON org = span_org AND trace_id = span_trace AND span_id = span_span
LEFT JOIN
(
    SELECT
        price_id AS named_id,
        source AS price_source,
        provider AS price_provider,
        model AS price_model,
        context AS price_context,
        reason AS price_reason,
        effective_from AS price_effective_from,
        effective_to AS price_effective_to,
        known_from AS price_known_from,
        input_above AS price_input_above,
        input AS price_input,
        output AS price_output,
        cache_read AS price_cache_read,
        cache_write AS price_cache_write,
        cache_write_1h AS price_cache_write_1h,
        reasoning AS price_reasoning,
        audio_input AS price_audio_input,
        audio_output AS price_audio_output,
        request AS price_request
    FROM prices_data FINAL
) AS price ON price_id = named_id
LEFT JOIN
(
    SELECT org AS seen_org, call_id AS seen_id, arraySort(groupUniqArray((trace_id, span_id))) AS seen_by
    FROM usage_data FINAL
    GROUP BY org, call_id
) AS seen ON org = seen_org AND call_id = seen_id;
