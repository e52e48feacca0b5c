-- One row per series and minute, and emission; the one with the highest version stands. Rows that the store counted
-- itself (pipelines/recount.py) have versions above all others. Hours and days are added up when they are
-- read: a materialised view would see each row again that is written again, and count it twice.

CREATE TABLE IF NOT EXISTS metrics_1m_data
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'organisation of the API key',
    team LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'team of the API key',
    key_id LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'id of the API key, never the key',
    service LowCardinality(String) CODEC(ZSTD(1)) COMMENT '(other), as all names below, for what was beyond the limit of series',
    provider LowCardinality(String) CODEC(ZSTD(1)),
    model LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'as answered, else as asked for',
    operation LowCardinality(String) CODEC(ZSTD(1)),
    prompt_name LowCardinality(String) CODEC(ZSTD(1)),
    prompt_version LowCardinality(String) CODEC(ZSTD(1)),
    minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)) COMMENT 'UTC, unit s, start of the minute; 1970-01-01 when the time of the call is out of range',
    calls Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit billed calls, as in usage',
    errors Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit calls that failed, billed or not',
    attempts Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit calls that are billed, or failed and bill nothing',
    unpriced_calls Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit billed calls without a price',
    input_tokens Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit tokens of billed calls',
    output_tokens Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit tokens of billed calls',
    cache_read_tokens Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of input_tokens',
    cache_write_tokens Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of input_tokens',
    cache_write_1h_tokens Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of cache_write_tokens',
    reasoning_tokens Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of output_tokens',
    audio_input_tokens Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of input_tokens',
    audio_output_tokens Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of output_tokens',
    cost_nano Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit nano-dollars of the priced calls',
    duration_ns Map(Int16, UInt64) CODEC(ZSTD(1)) COMMENT 'unit ns, histogram of the billed calls: bucket i holds (b^i, b^(i+1)], b = 2^(1/64)',
    duration_zeros UInt64 CODEC(T64, ZSTD(1)) COMMENT 'unit billed calls of 0 ns',
    ttft_ns Map(Int16, UInt64) CODEC(ZSTD(1)) COMMENT 'unit ns, histogram of the time to the first token',
    ttft_zeros UInt64 CODEC(T64, ZSTD(1)) COMMENT 'unit billed calls of 0 ns',
    tpot_ns Map(Int16, UInt64) CODEC(ZSTD(1)) COMMENT 'unit ns, histogram of the time per output token after the first',
    tpot_zeros UInt64 CODEC(T64, ZSTD(1)) COMMENT 'unit billed calls of 0 ns',
    version UInt64 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(minute)
ORDER BY (org, minute, team, key_id, service, provider, model, operation, prompt_name, prompt_version)
SETTINGS
    index_granularity = 4096,
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

CREATE OR REPLACE VIEW metrics_1m AS SELECT * FROM metrics_1m_data FINAL;

CREATE OR REPLACE VIEW metrics_1h AS
SELECT
    org, team, key_id, service, provider, model, operation, prompt_name, prompt_version,
    toStartOfHour(minute) AS hour,
    sum(calls) AS calls,
    sum(errors) AS errors,
    sum(attempts) AS attempts,
    sum(unpriced_calls) AS unpriced_calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(reasoning_tokens) AS reasoning_tokens,
    sum(audio_input_tokens) AS audio_input_tokens,
    sum(audio_output_tokens) AS audio_output_tokens,
    sum(cost_nano) AS cost_nano,
    sumMap(duration_ns) AS duration_ns,
    sum(duration_zeros) AS duration_zeros,
    sumMap(ttft_ns) AS ttft_ns,
    sum(ttft_zeros) AS ttft_zeros,
    sumMap(tpot_ns) AS tpot_ns,
    sum(tpot_zeros) AS tpot_zeros
FROM (SELECT * FROM metrics_1m_data FINAL) AS stands
GROUP BY org, team, key_id, service, provider, model, operation, prompt_name, prompt_version, hour;

CREATE OR REPLACE VIEW metrics_1d AS
SELECT
    org, team, key_id, service, provider, model, operation, prompt_name, prompt_version,
    toDate(minute) AS day,
    sum(calls) AS calls,
    sum(errors) AS errors,
    sum(attempts) AS attempts,
    sum(unpriced_calls) AS unpriced_calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(cache_write_1h_tokens) AS cache_write_1h_tokens,
    sum(reasoning_tokens) AS reasoning_tokens,
    sum(audio_input_tokens) AS audio_input_tokens,
    sum(audio_output_tokens) AS audio_output_tokens,
    sum(cost_nano) AS cost_nano,
    sumMap(duration_ns) AS duration_ns,
    sum(duration_zeros) AS duration_zeros,
    sumMap(ttft_ns) AS ttft_ns,
    sum(ttft_zeros) AS ttft_zeros,
    sumMap(tpot_ns) AS tpot_ns,
    sum(tpot_zeros) AS tpot_zeros
FROM (SELECT * FROM metrics_1m_data FINAL) AS stands
GROUP BY org, team, key_id, service, provider, model, operation, prompt_name, prompt_version, day;

-- The latency at quantile q of a histogram (merged by sumMap) and its zeros, in ns: the value of rank ceil(q * n) within
-- 0.6 %; NULL where nothing was recorded.
CREATE OR REPLACE FUNCTION histogram_quantile AS (histogram, zeros, q) ->
    multiIf(
        zeros + arraySum(mapValues(histogram)) = 0, NULL,
        greatest(1, ceil(q * (zeros + arraySum(mapValues(histogram))))) <= zeros, 0.,
        pow(2., (mapKeys(mapSort(histogram))[arrayFirstIndex(
            seen -> seen + zeros >= greatest(1, ceil(q * (zeros + arraySum(mapValues(histogram))))),
            arrayCumSum(mapValues(mapSort(histogram))))] + 1) / 64.) * 2 / (1 + pow(2., 1 / 64.)));
