-- API keys. Only the SHA-256 of a key is kept; prefix is what may be shown of it.
CREATE TABLE keys (
    key_id     VARCHAR(63) NOT NULL PRIMARY KEY,
    org        VARCHAR(63) NOT NULL REFERENCES organisations (org),
    team       VARCHAR(63) NOT NULL,
    name       VARCHAR(255) NOT NULL,
    prefix     VARCHAR(63) NOT NULL,
    sha256     CHAR(64) NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);

CREATE INDEX keys_by_org ON keys (org, created_at);
