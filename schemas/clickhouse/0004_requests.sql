-- One row per record of the log that was processed: completeness is read from it.

CREATE TABLE IF NOT EXISTS requests_data
(
    topic LowCardinality(String) CODEC(ZSTD(1)),
    partition Int32 CODEC(ZSTD(1)),
    offset Int64 CODEC(Delta(8), ZSTD(1)),
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'organisation of the API key',
    signal LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'traces|logs',
    received_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)) COMMENT 'UTC, unit ns, by the gateway',
    received Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit spans or log records, as far as they could be counted',
    written Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit rows, duplicates included',
    dead_lettered Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit spans or log records'
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset)
SETTINGS
    index_granularity = 4096,
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1
