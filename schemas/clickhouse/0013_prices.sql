-- The price book and the contracts over it, as `usage.price_id` names them. Append-only: a correction is a further
-- entry. A contract has a row for each band of input lengths, the book one for each price that it ever had.

CREATE TABLE IF NOT EXISTS prices_data
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'whose contract; empty: for everybody',
    provider LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'seller, as the price book names it',
    model String CODEC(ZSTD(1)) COMMENT 'as the price book names it',
    context LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'key=value pairs; empty: the standard price',
    price_id String CODEC(ZSTD(1)) COMMENT 'of these prices',
    entry_id String CODEC(ZSTD(1)) COMMENT 'hash of the contract; empty for the book',
    effective_from Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)) COMMENT 'UTC, unit ns, inclusive; NULL: always',
    effective_to Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)) COMMENT 'UTC, unit ns, exclusive; NULL: without end',
    hours_from Int64 CODEC(ZSTD(1)) COMMENT 'unit ns since midnight UTC, inclusive',
    hours_to Int64 CODEC(ZSTD(1)) COMMENT 'unit ns since midnight UTC, exclusive',
    input_above Nullable(Int64) CODEC(ZSTD(1)) COMMENT 'unit tokens, for longer inputs than this; NULL: from nothing',
    withdrawn Bool CODEC(ZSTD(1)) COMMENT 'states no price: from here on what lies below it holds again',
    input Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    output Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    cache_read Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    cache_write Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    cache_write_1h Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    reasoning Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    audio_input Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    audio_output Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    audio_cache_read Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    image_input Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    image_output Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million tokens',
    web_search Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per search',
    request Nullable(Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per request',
    other Map(LowCardinality(String), Decimal(38, 18)) CODEC(ZSTD(1)) COMMENT 'unit dollars per million of a unit of the book that has no column',
    known_from DateTime64(9, 'UTC') CODEC(ZSTD(1)) COMMENT 'UTC, unit ns: holds for what is received from here on; 1970 for the book',
    reason String CODEC(ZSTD(1)) COMMENT 'why it was recorded; empty for the book',
    actor String CODEC(ZSTD(1)) COMMENT 'who recorded it; empty for the book',
    source String CODEC(ZSTD(1)) COMMENT 'contract, or the package of the book with its version',
    version UInt64 CODEC(ZSTD(1)) COMMENT 'of a contract: higher the earlier it was known; of the book: of its package'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (org, provider, model, context, price_id)
SETTINGS
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1;

-- One row per price_id. `in_force` are the periods for which it holds by what is known at last: none of a contract
-- that was corrected as a whole, two of one that was corrected in its middle.
CREATE OR REPLACE VIEW prices AS
SELECT
    stated.* EXCEPT (version),
    multiIf(
        entry_id != '', holding.periods,
        version = (SELECT max(version) FROM prices_data WHERE entry_id = ''), [(effective_from, effective_to)],
        []) AS in_force
FROM (SELECT * FROM prices_data FINAL) AS stated
LEFT JOIN
(
    SELECT
        winner,
        groupArray((
            CAST(fromUnixTimestamp64Nano(started, 'UTC'), 'Nullable(DateTime64(9, \'UTC\'))'),
            if(ended = 9223372036854775807, NULL, fromUnixTimestamp64Nano(ended, 'UTC')))) AS periods
    FROM
    (
        SELECT
            -- (known, entry, from, to) of each entry about the same prices, the one that wins last
            arraySort(groupUniqArray((
                known_from, entry_id, toUnixTimestamp64Nano(assumeNotNull(effective_from)),
                ifNull(toUnixTimestamp64Nano(effective_to), 9223372036854775807)))) AS entries,
            arraySort(arrayDistinct(arrayConcat(entries.3, entries.4))) AS edges,
            arrayMap(edge -> arrayLast(e -> e.3 <= edge AND edge < e.4, entries).2, edges) AS winners,
            arrayFilter((i, w) -> i = 1 OR w != winners[i - 1], arrayEnumerate(edges), winners) AS changes,
            arrayJoin(arrayZip(
                arrayMap(i -> edges[i], changes),
                arrayPushBack(arrayPopFront(arrayMap(i -> edges[i], changes)), 9223372036854775807),
                arrayMap(i -> winners[i], changes))) AS piece,
            piece.1 AS started,
            piece.2 AS ended,
            piece.3 AS winner
        FROM prices_data FINAL
        WHERE entry_id != ''
        GROUP BY org, provider, model, context
    )
    WHERE winner != ''
    GROUP BY winner
) AS holding ON stated.entry_id = holding.winner;
