-- The alert rules that are in force, as the control database has them, for the jobs that judge by them.

CREATE TABLE IF NOT EXISTS alert_rules
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'whose rules',
    revision UInt64 CODEC(ZSTD(1)) COMMENT 'of the whole set; the greatest is in force',
    groups String CODEC(ZSTD(1)) COMMENT 'JSON: the groups of rules of a rules file, without receivers',
    changed_at DateTime64(9, 'UTC') CODEC(ZSTD(1)) COMMENT 'UTC, unit ns'
)
ENGINE = ReplacingMergeTree(revision)
ORDER BY org
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;
