-- Budgets in force. Times are UTC nanoseconds since 1970, 0 for none; amount is nano-dollars or tokens.
CREATE TABLE budgets (
    org            VARCHAR(63) NOT NULL REFERENCES organisations (org),
    name           VARCHAR(63) NOT NULL,
    team           VARCHAR(63) NOT NULL,
    key_id         VARCHAR(63) NOT NULL,
    provider       VARCHAR(255) NOT NULL,
    model          VARCHAR(255) NOT NULL,
    period         VARCHAR(15) NOT NULL,
    time_zone      VARCHAR(63) NOT NULL,
    unit           VARCHAR(15) NOT NULL,
    amount         BIGINT NOT NULL,
    hard           BOOLEAN NOT NULL,
    thresholds     VARCHAR(255) NOT NULL,
    effective_from BIGINT NOT NULL,
    effective_to   BIGINT NOT NULL,
    revision       BIGINT NOT NULL,
    changed_at     BIGINT NOT NULL,
    PRIMARY KEY (org, name)
);

-- How often an organisation's budgets were changed: the revision that the ledger knows them by.
CREATE TABLE budget_revisions (
    org      VARCHAR(63) NOT NULL PRIMARY KEY REFERENCES organisations (org),
    revision BIGINT NOT NULL
);

-- Every change; definition is the budget as it was set, or as it was when it was deleted.
CREATE TABLE budget_history (
    org        VARCHAR(63) NOT NULL REFERENCES organisations (org),
    revision   BIGINT NOT NULL,
    name       VARCHAR(63) NOT NULL,
    change     VARCHAR(15) NOT NULL,
    definition TEXT NOT NULL,
    actor      VARCHAR(255) NOT NULL,
    reason     TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (org, revision)
);
