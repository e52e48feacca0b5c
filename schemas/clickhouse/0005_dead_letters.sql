-- One row per refused item with its raw bytes, so that it can be replayed.

CREATE TABLE IF NOT EXISTS dead_letters_data
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'organisation of the API key',
    team LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'team of the API key',
    key_id LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'id of the API key, never the key',
    received_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)) COMMENT 'UTC, unit ns, by the gateway',
    step LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'step that refused it',
    error LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'class of the error',
    message String CODEC(ZSTD(1)),
    topic LowCardinality(String) CODEC(ZSTD(1)),
    partition Int32 CODEC(ZSTD(1)),
    offset Int64 CODEC(Delta(8), ZSTD(1)),
    position Int64 CODEC(T64, ZSTD(1)) COMMENT 'place of the span in its record; -1 for the whole record',
    raw String CODEC(ZSTD(1)) COMMENT 'request that holds just the refused item',
    code_version LowCardinality(String) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
ORDER BY (org, received_at, topic, partition, offset, position)
SETTINGS
    index_granularity = 4096,
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1
