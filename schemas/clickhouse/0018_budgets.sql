-- What the budget job decided: balances as they are, and the journal whose sums they are. The job may write a row again.

CREATE TABLE IF NOT EXISTS budget_balances_data
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'organisation whose budget it is',
    budget_id String CODEC(ZSTD(1)),
    budget String CODEC(ZSTD(1)) COMMENT 'name of the budget',
    team LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'that it counts; empty for any',
    key_id LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'id of the API key that it counts; empty for any',
    provider LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'that it counts; empty for any',
    model LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'that it counts; empty for any',
    unit LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'nano_dollars|tokens: of limit, spent and pending',
    hard Bool CODEC(ZSTD(1)) COMMENT 'refuses what has no room; else it only warns',
    window LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'day|week|month|total',
    time_zone LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'IANA name: where its days begin',
    window_start DateTime64(9, 'UTC') CODEC(ZSTD(1)) COMMENT 'UTC, unit ns; 1970-01-01 for total',
    window_end Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)) COMMENT 'UTC, unit ns; NULL for total',
    limit Int64 CODEC(T64, ZSTD(1)) COMMENT 'in the unit of the row',
    spent Int64 CODEC(T64, ZSTD(1)) COMMENT 'posted, in the unit of the row',
    pending Int64 CODEC(T64, ZSTD(1)) COMMENT 'reserved and not settled, in the unit of the row',
    time DateTime64(9, 'UTC') CODEC(ZSTD(1)) COMMENT 'UTC, unit ns, of the event that changed it last',
    version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'offset of that event in the log of budgets, plus 1'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (org, budget_id, window_start)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

CREATE TABLE IF NOT EXISTS budget_entries_data
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'organisation whose budget it is',
    entry_id String CODEC(ZSTD(1)) COMMENT 'partition-offset-number in the log of budgets: the same again after a replay',
    time DateTime64(9, 'UTC') CODEC(T64('bit'), ZSTD(1)) COMMENT 'UTC, unit ns, of the log',
    kind LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'pending|post|void|expire|charge|overrun',
    budget_id LowCardinality(String) CODEC(ZSTD(1)),
    window_start DateTime64(9, 'UTC') CODEC(ZSTD(1)) COMMENT 'UTC, unit ns; 1970-01-01 for total',
    unit LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'nano_dollars|tokens: of spent and pending',
    spent Int64 CODEC(T64, ZSTD(1)) COMMENT 'by how much it changed what is posted, in the unit of the row',
    pending Int64 CODEC(T64, ZSTD(1)) COMMENT 'by how much it changed what is pending, in the unit of the row',
    request_id String CODEC(ZSTD(1)) COMMENT 'of a reservation; empty for a call without one',
    call_id String CODEC(ZSTD(1)) COMMENT 'of a charge; empty else',
    team LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'team of the API key',
    key_id LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'id of the API key, never the key',
    provider LowCardinality(String) CODEC(ZSTD(1)),
    model LowCardinality(String) CODEC(ZSTD(1)),
    version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'offset of the event in the log of budgets, plus 1'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(time)
ORDER BY (org, budget_id, window_start, entry_id)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

CREATE OR REPLACE VIEW budget_balances AS
SELECT *, limit - spent - pending AS available FROM budget_balances_data FINAL;

CREATE OR REPLACE VIEW budget_entries AS SELECT * FROM budget_entries_data FINAL;
