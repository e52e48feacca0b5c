-- What was deployed: one row for each revision of a job. Times are UTC nanoseconds since 1970.
CREATE TABLE job_revisions (
    job          VARCHAR(63) NOT NULL,
    revision     INTEGER NOT NULL,
    target       VARCHAR(15) NOT NULL,
    spec         TEXT NOT NULL,
    code         CHAR(64) NOT NULL,
    graph        TEXT NOT NULL,
    state        VARCHAR(15) NOT NULL,
    message      TEXT NOT NULL,
    flink_job    VARCHAR(63) NOT NULL,
    started_from TEXT NOT NULL,
    savepoint    TEXT NOT NULL,
    operator     VARCHAR(255) NOT NULL,
    created_at   BIGINT NOT NULL,
    changed_at   BIGINT NOT NULL,
    PRIMARY KEY (job, revision)
);

-- Who changes a job at the moment; a holder that died is passed over after expires_at.
CREATE TABLE job_locks (
    job        VARCHAR(63) NOT NULL PRIMARY KEY,
    holder     VARCHAR(255) NOT NULL,
    token      CHAR(32) NOT NULL,
    taken_at   BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
