-- works-with: 1
-- Bearer tokens of clients: stored only as a hash, and shown once, when they are created.

CREATE TABLE tokens (
    token_id     INTEGER NOT NULL PRIMARY KEY,
    token_hash   TEXT    NOT NULL UNIQUE,
    prefix       TEXT    NOT NULL,
    client_id    TEXT    NOT NULL,
    label        TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    created_at   TEXT    NOT NULL,
    expires_at   TEXT,
    last_used_at TEXT,
    revoked_at   TEXT
) STRICT;

-- This number changes whenever the set of accepted tokens changes. Each process polls it instead of
-- the whole table. The time of the last use does not change it.
CREATE TABLE tokens_version (
    version_id INTEGER NOT NULL PRIMARY KEY CHECK (version_id = 1),
    version    INTEGER NOT NULL
) STRICT;

INSERT INTO tokens_version (version_id, version) VALUES (1, 1);

CREATE TRIGGER tokens_version_counts_inserts AFTER INSERT ON tokens
BEGIN
    UPDATE tokens_version SET version = version + 1;
END;

CREATE TRIGGER tokens_version_counts_changes
AFTER UPDATE OF token_hash, client_id, scopes, expires_at, revoked_at ON tokens
BEGIN
    UPDATE tokens_version SET version = version + 1;
END;

CREATE TRIGGER tokens_version_counts_deletions AFTER DELETE ON tokens
BEGIN
    UPDATE tokens_version SET version = version + 1;
END;
