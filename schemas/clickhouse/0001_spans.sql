-- One row per span and sighting; the sighting with the highest version stands.
--
-- The bloom filter lets a look-up of one trace skip the parts that do not hold it. Small parts keep their columns
-- in one file, so that an insert is durable (fsync) for the price of a few files, not of two hundred. Maps and
-- hashes repeat each other over long distances: they get large blocks and a long window.

CREATE TABLE IF NOT EXISTS spans_data
(
    org LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'organisation of the API key',
    team LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'team of the API key',
    key_id LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'id of the API key, never the key',
    trace_id String CODEC(ZSTD(1)) COMMENT '32 hex characters',
    span_id String CODEC(ZSTD(1)) COMMENT '16 hex characters',
    parent_span_id String CODEC(ZSTD(1)) COMMENT '16 hex characters, empty for a root',
    name LowCardinality(String) CODEC(ZSTD(1)),
    kind LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'llm|embedding|rerank|tool|retrieval|agent|chain|guardrail|evaluator|other',
    start_time DateTime64(9, 'UTC') CODEC(T64('bit'), ZSTD(1)) COMMENT 'UTC, unit ns',
    duration_ns Int64 CODEC(T64, ZSTD(1)) COMMENT 'unit ns',
    status LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'unset|ok|error',
    error String CODEC(ZSTD(1)) COMMENT 'class or code, then the message; empty when there is none',
    service LowCardinality(String) CODEC(ZSTD(1)),
    scope LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'instrumentation scope',
    scope_version LowCardinality(String) CODEC(ZSTD(1)),
    dialect LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'convention by which the attributes were read',
    provider LowCardinality(String) CODEC(ZSTD(1)),
    request_model LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'as asked for',
    response_model LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'as answered',
    response_id String CODEC(ZSTD(1)) COMMENT 'of the provider',
    operation LowCardinality(String) CODEC(ZSTD(1)),
    input_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens: uncached + cache read + cache write; NULL when not known',
    output_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, reasoning included; NULL when not known',
    cache_read_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of input_tokens',
    cache_write_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of input_tokens',
    cache_write_1h_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of cache_write_tokens',
    reasoning_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of output_tokens',
    audio_input_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of input_tokens',
    audio_output_tokens Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit tokens, part of output_tokens',
    token_source LowCardinality(Nullable(String)) CODEC(ZSTD(1)) COMMENT 'reported|counted|estimated; NULL when there is no usage',
    cost_nano Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit nano-dollars; NULL when not priced',
    cost_status LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'priced|unpriced|no_usage|none (not a call)',
    price_id LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'entry of the price book',
    streaming Bool CODEC(ZSTD(1)),
    finish_reasons Array(LowCardinality(String)) CODEC(ZSTD(1)),
    ttft_ns Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit ns, from the start to the first token',
    ttft_kind LowCardinality(Nullable(String)) CODEC(ZSTD(1)) COMMENT 'first_chunk|first_content|server; NULL when not recorded',
    tpot_ns Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit ns per output token after the first',
    client_cost_nano Nullable(Int64) CODEC(T64, ZSTD(1)) COMMENT 'unit nano-dollars, as the client gave it',
    session_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    prompt_name LowCardinality(String) CODEC(ZSTD(1)),
    prompt_version LowCardinality(String) CODEC(ZSTD(1)),
    tags Array(LowCardinality(String)) CODEC(ZSTD(1)),
    input_hashes Array(String) COMMENT 'messages of the prompt in order, 32 hex characters each' CODEC(ZSTD(1, 22))
        SETTINGS (min_compress_block_size = 4194304, max_compress_block_size = 4194304),
    output_hashes Array(String) COMMENT 'messages of the completion in order, 32 hex characters each' CODEC(ZSTD(1, 22))
        SETTINGS (min_compress_block_size = 4194304, max_compress_block_size = 4194304),
    tool_definitions_hash LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'message with the tools on offer; empty when there are none',
    attributes Map(LowCardinality(String), String) COMMENT 'without message bodies' CODEC(ZSTD(1, 20))
        SETTINGS (min_compress_block_size = 1048576, max_compress_block_size = 1048576),
    resource Map(LowCardinality(String), String) CODEC(ZSTD(1, 20))
        SETTINGS (min_compress_block_size = 1048576, max_compress_block_size = 1048576),
    events Array(Tuple(time DateTime64(9, 'UTC'), name String, attributes Map(LowCardinality(String), String))) CODEC(ZSTD(1)),
    links Array(Tuple(trace_id String, span_id String, attributes Map(LowCardinality(String), String))) CODEC(ZSTD(1)),
    flags Array(LowCardinality(String)) CODEC(ZSTD(1)) COMMENT 'what was cut or does not add up',
    token_flags Array(LowCardinality(String)) CODEC(ZSTD(1)) COMMENT 'how token counts were corrected, or contradict each other',
    read_from LowCardinality(String) CODEC(ZSTD(1)) COMMENT 'JSON object from column to the attribute or event that its value was read from',
    received_at DateTime64(9, 'UTC') CODEC(ZSTD(1)) COMMENT 'UTC, unit ns, by the gateway',
    day Date CODEC(ZSTD(1)) COMMENT 'of start_time; 1970-01-01 when that is out of range',
    version UInt64 CODEC(T64, ZSTD(1)) COMMENT 'grows with the information in the span',
    INDEX trace_bloom trace_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY day
ORDER BY (org, trace_id, span_id)
SETTINGS
    index_granularity = 4096,
    min_bytes_for_wide_part = 67108864,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_compressed_bytes_to_fsync_after_merge = 1
