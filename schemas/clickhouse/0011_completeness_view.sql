-- What came of every span, per organisation: received = written + dead_lettered + difference, and
-- written = distinct + duplicates. A difference other than 0 is a loss or a fault in the counting.

CREATE OR REPLACE VIEW completeness AS
SELECT
    org,
    requests.received AS received,
    requests.written AS written,
    stored.spans AS `distinct`,
    written - `distinct` AS duplicates,
    requests.dead_lettered AS dead_lettered,
    received - written - dead_lettered AS difference
FROM
(
    SELECT org, sum(received) AS received, sum(written) AS written, sum(dead_lettered) AS dead_lettered
    FROM requests_data FINAL
    WHERE signal = 'traces'
    GROUP BY org
) AS requests
FULL JOIN (SELECT org, toInt64(count()) AS spans FROM spans_data FINAL GROUP BY org) AS stored USING (org);
