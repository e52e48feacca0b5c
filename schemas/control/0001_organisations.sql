-- Who may send and who pays. Times are UTC nanoseconds since 1970.
CREATE TABLE organisations (
    org        VARCHAR(63) NOT NULL PRIMARY KEY,
    name       VARCHAR(255) NOT NULL,
    redact     BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL
);

-- The organisation of what arrives without a key on a loopback address.
INSERT INTO organisations (org, name, redact, created_at) VALUES ('local', 'Local', FALSE, :now);
