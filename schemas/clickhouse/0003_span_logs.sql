-- One row per GenAI log record that belongs to a span; the view `spans` joins their message hashes.

CREATE TABLE IF NOT EXISTS span_logs_data
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'organisation of the API key',
    trace_id String CODEC(ZSTD(1)) COMMENT '32 hex characters; empty when the record has none: joined by response_id',
    span_id String CODEC(ZSTD(1)) COMMENT '16 hex characters',
    response_id String CODEC(ZSTD(1)) COMMENT 'of the provider',
    time DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)) COMMENT 'UTC, unit ns',
    event LowCardinality(String) CODEC(ZSTD(1)),
    input_hashes Array(String) CODEC(ZSTD(1)) COMMENT '32 hex characters each',
    output_hashes Array(String) CODEC(ZSTD(1)) COMMENT '32 hex characters each',
    attributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    day Date CODEC(ZSTD(1)) COMMENT 'of time; 1970-01-01 when that is out of range',
    id String CODEC(ZSTD(1)) COMMENT 'hash of the content of the record'
)
ENGINE = ReplacingMergeTree
ORDER BY (org, trace_id, span_id, id)
SETTINGS
    index_granularity = 4096,
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1
