-- The ledger: one row per entry. A correction is a further row with the difference, so sums are right at any moment.

CREATE TABLE IF NOT EXISTS usage_data
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'organisation of the API key',
    team LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'team of the API key',
    key_id LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'id of the API key, never the key',
    entry LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'charge|reversal|reprice',
    entry_id String CODEC(ZSTD(1)) COMMENT 'hash of what the entry is about: the same fact twice is one row',
    call_id String CODEC(ZSTD(1)),
    trace_id String CODEC(ZSTD(1)) COMMENT '32 hex characters',
    span_id String CODEC(ZSTD(1)) COMMENT '16 hex characters',
    time DateTime64(9, 'UTC') CODEC(T64('bit'), ZSTD(1)) COMMENT 'UTC, unit ns, start of the span',
    provider LowCardinality(String) CODEC(ZSTD(1)),
    model LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'as answered, else as asked for',
    request_model LowCardinality(String) CODEC(ZSTD(1)),
    response_model LowCardinality(String) CODEC(ZSTD(1)),
    response_id String CODEC(ZSTD(1)) COMMENT 'of the provider',
    operation LowCardinality(String) CODEC(ZSTD(1)),
    input_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, negative in a reversal',
    output_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, negative in a reversal',
    cache_read_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of input_tokens',
    cache_write_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of input_tokens',
    cache_write_1h_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of cache_write_tokens',
    reasoning_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of output_tokens',
    audio_input_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of input_tokens',
    audio_output_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of output_tokens',
    token_source LowCardinality(Nullable(String)) CODEC(ZSTD(1)) COMMENT 'reported|counted|estimated; NULL when there is no usage',
    cost_nano Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit nano-dollars, negative in a reversal; NULL when not priced',
    cost_status LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'priced|unpriced|no_usage',
    price_id LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'entry of the price book',
    service LowCardinality(String) CODEC(ZSTD(1)),
    dialect LowCardinality(String) CODEC(ZSTD(1)),
    session_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    prompt_name LowCardinality(String) CODEC(ZSTD(1)),
    prompt_version LowCardinality(String) CODEC(ZSTD(1)),
    reason String CODEC(ZSTD(1)) COMMENT 'of a reversal or reprice; empty for a charge',
    day Date CODEC(ZSTD(1)) COMMENT 'of time; 1970-01-01 when that is out of range',
    version UInt64 CODEC(T64, ZSTD(1)),
    INDEX trace_bloom trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
ORDER BY (org, trace_id, entry_id)
SETTINGS
    index_granularity = 4096,
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1
