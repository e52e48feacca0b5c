-- Alert rules: each change of an organisation's whole set is a revision. Without secrets. Times are UTC ns since 1970.
CREATE TABLE alert_sets (
    org        VARCHAR(63) NOT NULL REFERENCES organisations (org),
    revision   INTEGER NOT NULL,
    body       TEXT NOT NULL,
    actor      VARCHAR(255) NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (org, revision)
);

-- Where notifications go. secret: the key that signs a webhook, or a chat's URL; never shown.
CREATE TABLE alert_receivers (
    org      VARCHAR(63) NOT NULL REFERENCES organisations (org),
    name     VARCHAR(63) NOT NULL,
    kind     VARCHAR(15) NOT NULL,
    settings TEXT NOT NULL,
    secret   TEXT NOT NULL,
    PRIMARY KEY (org, name)
);

-- Incidents as the notifier heard of them; message: JSON of what was told last.
CREATE TABLE alert_incidents (
    incident_id VARCHAR(63) NOT NULL PRIMARY KEY,
    org         VARCHAR(63) NOT NULL,
    rule        VARCHAR(127) NOT NULL,
    state       VARCHAR(15) NOT NULL,
    message     TEXT NOT NULL,
    started_at  BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL,
    valid_until BIGINT NOT NULL
);

CREATE INDEX alert_incidents_by_org ON alert_incidents (org, changed_at);

-- One notification: an incident's state to one receiver. next_at: when to try it, or to say it again, the next time.
CREATE TABLE alert_deliveries (
    incident_id   VARCHAR(63) NOT NULL,
    state         VARCHAR(15) NOT NULL,
    receiver      VARCHAR(63) NOT NULL,
    org           VARCHAR(63) NOT NULL,
    message       TEXT NOT NULL,
    status        VARCHAR(15) NOT NULL,
    attempts      INTEGER NOT NULL,
    error         TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    next_at       BIGINT NOT NULL,
    done_at       BIGINT,
    PRIMARY KEY (incident_id, state, receiver)
);

CREATE INDEX alert_deliveries_due ON alert_deliveries (status, next_at);

-- Rules of which nobody wants to hear until then.
CREATE TABLE alert_silences (
    org    VARCHAR(63) NOT NULL,
    rule   VARCHAR(127) NOT NULL,
    until  BIGINT NOT NULL,
    reason TEXT NOT NULL,
    actor  VARCHAR(255) NOT NULL,
    PRIMARY KEY (org, rule)
);
