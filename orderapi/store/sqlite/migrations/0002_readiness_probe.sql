-- works-with: 1
-- The one row that /readyz rewrites to see whether writes commit.

CREATE TABLE readiness_probe (
    probe_id   INTEGER NOT NULL PRIMARY KEY CHECK (probe_id = 1),
    checked_at TEXT    NOT NULL
) STRICT;

INSERT INTO readiness_probe (probe_id, checked_at) VALUES (1, '1970-01-01T00:00:00.000Z');
