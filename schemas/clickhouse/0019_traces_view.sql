-- One row per trace, whatever fragments it came in.
--
-- `by_size` orders the fragments: most spans first, then the highest version. When the first one holds every span
-- (`covered`), its row is the trace. Otherwise the trees stand one after the other, each span as the first fragment
-- that holds it has it, and what the arrays tell is counted again. What no array holds (cache and reasoning tokens,
-- unpriced calls, orphans) is added up when no span is in two fragments (`disjoint`); else the greatest stands.
--
-- A fragment whose spans are all in earlier ones is left out (`adding` has the others): an attempt of the job that was
-- lost may have begun the trace with some of its spans only, and what it took for calls may have been judged since.
--
-- The totals leave out the calls that another trace bills: what the ledger took back of a trace for that reason
-- (`elsewhere`) is subtracted, so that the totals of all traces are those of `usage`. The arrays show a trace by
-- itself; billed_elsewhere says which of its spans' numbers are not in the totals.
--
-- Every column is gathered by itself, so that a query reads only those it names. A filter on org and trace_id
-- reaches the primary key; for a list of recent traces, pick their ids from traces_data by start_time first.

CREATE OR REPLACE VIEW traces AS
SELECT
    org,
    team_of[by_size[1]] AS team,
    key_id_of[by_size[1]] AS key_id,
    trace_id,
    if(arrayExists(i -> state_of[i] = 'provisional', adding), 'provisional', 'final') AS state,
    arrayFirst(x -> x != '', arrayMap(i -> root_span_id_of[i], by_size)) AS root_span_id,
    root_name_of[if(root_span_id = '', by_size[1], indexOf(root_span_id_of, root_span_id))] AS root_name,
    fromUnixTimestamp64Nano(arrayMin(start_ns_of), 'UTC') AS start_time,
    arrayMax((start, length) -> start + length, start_ns_of, duration_ns_of) - arrayMin(start_ns_of) AS duration_ns,
    if(error_count > 0, 'error', 'ok') AS status,
    if(pieces = 1, error_count_of[1], toInt64(countEqual(statuses, 'error'))) AS error_count,
    if(pieces = 1, span_count_of[1], toInt64(length(span_ids))) AS span_count,
    multiIf(
        pieces = 1, orphan_count_of[1], covered, orphan_count_of[by_size[1]],
        disjoint, arraySum(orphan_count_of), arrayMax(orphan_count_of)) AS orphan_count,
    multiIf(
        pieces = 1, root_count_of[1], covered, root_count_of[by_size[1]],
        disjoint, arraySum(root_count_of), arrayMax(root_count_of)) AS root_count,
    multiIf(
        pieces = 1, cycle_count_of[1], covered, cycle_count_of[by_size[1]],
        disjoint, arraySum(cycle_count_of), arrayMax(cycle_count_of)) AS cycle_count,
    arrayMax(depth_of) AS depth,
    if(pieces = 1, call_count_of[1], toInt64(countEqual(span_billed, true))) - elsewhere.calls AS call_count,
    multiIf(
        pieces = 1, unpriced_count_of[1], covered, unpriced_count_of[by_size[1]],
        disjoint, arraySum(unpriced_count_of), arrayMax(unpriced_count_of)) - elsewhere.unpriced AS unpriced_count,
    if(pieces = 1, input_tokens_of[1], arraySum(self_input_tokens)) + elsewhere.input_tokens AS input_tokens,
    if(pieces = 1, output_tokens_of[1], arraySum(self_output_tokens)) + elsewhere.output_tokens AS output_tokens,
    multiIf(
        pieces = 1, cache_read_tokens_of[1], covered, cache_read_tokens_of[by_size[1]],
        disjoint, arraySum(cache_read_tokens_of), arrayMax(cache_read_tokens_of)) + elsewhere.cache_read_tokens AS cache_read_tokens,
    multiIf(
        pieces = 1, cache_write_tokens_of[1], covered, cache_write_tokens_of[by_size[1]],
        disjoint, arraySum(cache_write_tokens_of), arrayMax(cache_write_tokens_of)) + elsewhere.cache_write_tokens AS cache_write_tokens,
    multiIf(
        pieces = 1, reasoning_tokens_of[1], covered, reasoning_tokens_of[by_size[1]],
        disjoint, arraySum(reasoning_tokens_of), arrayMax(reasoning_tokens_of)) + elsewhere.reasoning_tokens AS reasoning_tokens,
    if(pieces = 1, cost_nano_of[1], arraySum(self_cost_nano)) + elsewhere.cost_nano AS cost_nano,
    multiIf(
        pieces = 1 AND elsewhere.calls = 0, cost_status_of[1], call_count = 0, 'none', unpriced_count = 0, 'priced',
        unpriced_count >= call_count, 'unpriced', 'partly') AS cost_status,
    if(pieces = 1, tupleElement(ttft_of[1], 1), if(
        arrayExists((ttft, billed) -> billed AND ttft >= 0, span_ttfts_ns, span_billed),
        tupleElement(arrayMin((offset, id, ttft, billed) -> if(
            billed AND ttft >= 0, (offset, id, offset + ttft), (9223372036854775807, '', 0)),
            start_offsets_ns, span_ids, span_ttfts_ns, span_billed), 3), NULL)) AS ttft_ns,
    if(
        pieces = 1, models_of[1], arrayDistinct(arrayFlatten(arrayMap(i -> models_of[i], adding)))) AS models,
    if(
        pieces = 1, providers_of[1], arrayDistinct(arrayFlatten(arrayMap(i -> providers_of[i], adding)))) AS providers,
    if(
        pieces = 1, services_of[1], arrayDistinct(arrayFlatten(arrayMap(i -> services_of[i], by_size)))) AS services,
    arrayFirst(x -> x != '', arrayMap(i -> session_id_of[i], by_size)) AS session_id,
    arrayFirst(x -> x != '', arrayMap(i -> user_id_of[i], by_size)) AS user_id,
    if(pieces = 1, span_ids_of[1], arrayFilter((x, nth) -> nth = 1, flat_ids, sighting)) AS span_ids,
    if(pieces = 1, parent_indexes_of[1], arrayFilter(
        (x, nth) -> nth = 1,
        arrayFlatten(arrayMap(
            (i, before) -> arrayMap(p -> toInt32(if(p < 0, -1, place[before + p + 1] - 1)), parent_indexes_of[i]),
            by_size, spans_before)),
        sighting)) AS parent_indexes,
    if(pieces = 1, depths_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> depths_of[i], by_size)),
        sighting)) AS depths,
    if(pieces = 1, names_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> names_of[i], by_size)),
        sighting)) AS names,
    if(pieces = 1, kinds_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> kinds_of[i], by_size)),
        sighting)) AS kinds,
    if(pieces = 1, statuses_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> statuses_of[i], by_size)),
        sighting)) AS statuses,
    if(pieces = 1, start_offsets_ns_of[1], arrayFilter(
        (x, nth) -> nth = 1,
        arrayFlatten(arrayMap(
            i -> arrayMap(x -> x + start_ns_of[i] - arrayMin(start_ns_of), start_offsets_ns_of[i]), by_size)),
        sighting)) AS start_offsets_ns,
    if(pieces = 1, durations_ns_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> durations_ns_of[i], by_size)),
        sighting)) AS durations_ns,
    if(pieces = 1, span_models_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> span_models_of[i], by_size)),
        sighting)) AS span_models,
    if(pieces = 1, span_ttfts_ns_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> span_ttfts_ns_of[i], by_size)),
        sighting)) AS span_ttfts_ns,
    if(pieces = 1, span_billed_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> span_billed_of[i], by_size)),
        sighting)) AS span_billed,
    if(pieces = 1, self_input_tokens_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> self_input_tokens_of[i], by_size)),
        sighting)) AS self_input_tokens,
    if(pieces = 1, self_output_tokens_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> self_output_tokens_of[i], by_size)),
        sighting)) AS self_output_tokens,
    if(pieces = 1, self_cost_nano_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> self_cost_nano_of[i], by_size)),
        sighting)) AS self_cost_nano,
    if(pieces = 1, total_input_tokens_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> total_input_tokens_of[i], by_size)),
        sighting)) AS total_input_tokens,
    if(pieces = 1, total_output_tokens_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> total_output_tokens_of[i], by_size)),
        sighting)) AS total_output_tokens,
    if(pieces = 1, total_cost_nano_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> total_cost_nano_of[i], by_size)),
        sighting)) AS total_cost_nano,
    if(pieces = 1, self_time_ns_of[1], arrayFilter(
        (x, nth) -> nth = 1, arrayFlatten(arrayMap(i -> self_time_ns_of[i], by_size)),
        sighting)) AS self_time_ns,
    arrayMin(day_of) AS day,
    arrayMax(version_of) AS version,
    length(adding) AS fragments,
    elsewhere.spans AS billed_elsewhere
FROM
(
    SELECT
        *,
        arraySort(
            i -> (-span_count_of[i], -toInt64(version_of[i]), fragment_of[i]), arrayEnumerate(fragment_of)) AS by_size,
        arrayFlatten(arrayMap(i -> span_ids_of[i], by_size)) AS flat_ids,
        arrayEnumerateUniq(flat_ids) AS sighting,
        arrayEnumerateDense(flat_ids) AS place,
        arrayPopBack(arrayCumSum(arrayPushFront(arrayMap(i -> length(span_ids_of[i]), by_size), 0))) AS spans_before,
        arrayFlatten(arrayMap(i -> arrayWithConstant(length(span_ids_of[i]), i), by_size)) AS holder,
        arrayDistinct(arrayFilter((i, nth) -> nth = 1, holder, sighting)) AS adding,
        countEqual(sighting, 1) AS distinct_spans,
        distinct_spans = length(span_ids_of[by_size[1]]) AS covered,
        distinct_spans = length(flat_ids) AS disjoint
    FROM
    (
        SELECT
            org,
            trace_id,
            count() AS pieces,
            groupArray(fragment) AS fragment_of,
            groupArray(version) AS version_of,
            groupArray(span_count) AS span_count_of,
            groupArray(span_ids) AS span_ids_of,
            groupArray(toUnixTimestamp64Nano(start_time)) AS start_ns_of,
            groupArray(tuple(ttft_ns)) AS ttft_of,
            groupArray(team) AS team_of,
            groupArray(key_id) AS key_id_of,
            groupArray(state) AS state_of,
            groupArray(root_span_id) AS root_span_id_of,
            groupArray(root_name) AS root_name_of,
            groupArray(duration_ns) AS duration_ns_of,
            groupArray(error_count) AS error_count_of,
            groupArray(orphan_count) AS orphan_count_of,
            groupArray(root_count) AS root_count_of,
            groupArray(cycle_count) AS cycle_count_of,
            groupArray(depth) AS depth_of,
            groupArray(call_count) AS call_count_of,
            groupArray(unpriced_count) AS unpriced_count_of,
            groupArray(input_tokens) AS input_tokens_of,
            groupArray(output_tokens) AS output_tokens_of,
            groupArray(cache_read_tokens) AS cache_read_tokens_of,
            groupArray(cache_write_tokens) AS cache_write_tokens_of,
            groupArray(reasoning_tokens) AS reasoning_tokens_of,
            groupArray(cost_nano) AS cost_nano_of,
            groupArray(cost_status) AS cost_status_of,
            groupArray(models) AS models_of,
            groupArray(providers) AS providers_of,
            groupArray(services) AS services_of,
            groupArray(session_id) AS session_id_of,
            groupArray(user_id) AS user_id_of,
            groupArray(parent_indexes) AS parent_indexes_of,
            groupArray(depths) AS depths_of,
            groupArray(names) AS names_of,
            groupArray(kinds) AS kinds_of,
            groupArray(statuses) AS statuses_of,
            groupArray(start_offsets_ns) AS start_offsets_ns_of,
            groupArray(durations_ns) AS durations_ns_of,
            groupArray(span_models) AS span_models_of,
            groupArray(span_ttfts_ns) AS span_ttfts_ns_of,
            groupArray(span_billed) AS span_billed_of,
            groupArray(self_input_tokens) AS self_input_tokens_of,
            groupArray(self_output_tokens) AS self_output_tokens_of,
            groupArray(self_cost_nano) AS self_cost_nano_of,
            groupArray(total_input_tokens) AS total_input_tokens_of,
            groupArray(total_output_tokens) AS total_output_tokens_of,
            groupArray(total_cost_nano) AS total_cost_nano_of,
            groupArray(self_time_ns) AS self_time_ns_of,
            groupArray(day) AS day_of
        FROM traces_data FINAL
        GROUP BY org, trace_id
    )
) AS united
LEFT JOIN
(
    SELECT
        org,
        trace_id,
        arraySort(groupUniqArray(span_id)) AS spans,
        toInt64(count()) AS calls,
        toInt64(countIf(cost_status = 'unpriced')) AS unpriced,
        ifNull(sum(input_tokens), 0) AS input_tokens,
        ifNull(sum(output_tokens), 0) AS output_tokens,
        ifNull(sum(cache_read_tokens), 0) AS cache_read_tokens,
        ifNull(sum(cache_write_tokens), 0) AS cache_write_tokens,
        ifNull(sum(reasoning_tokens), 0) AS reasoning_tokens,
        ifNull(sum(cost_nano), 0) AS cost_nano
    FROM usage_data FINAL
    WHERE startsWith(reason, 'duplicate of span ')
    GROUP BY org, trace_id
) AS elsewhere USING (org, trace_id)
