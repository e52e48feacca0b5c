-- One row per distinct message body and organisation: a conversation that resends its history is stored once.

CREATE TABLE IF NOT EXISTS messages_data
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'organisation of the API key',
    hash String CODEC(ZSTD(1)) COMMENT 'BLAKE2b-128 of the message, 32 hex characters',
    role LowCardinality(String) CODEC(ZSTD(1)),
    body String CODEC(ZSTD(3)) COMMENT 'JSON {role, parts: [{type, ...}]}',
    bytes Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit bytes, before any cut'
)
ENGINE = ReplacingMergeTree
ORDER BY (org, hash)
SETTINGS
    index_granularity = 4096,
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1
