-- works-with: 1
-- The trace of the request that made an event, and when the last backups were made.

-- W3C Trace Context, version 00. It is NULL if the request had no valid header `traceparent`.
ALTER TABLE events ADD COLUMN traceparent TEXT;

-- Both times are NULL before the first backup. `verified_at` is the time of the last backup that
-- was audited and had no findings.
CREATE TABLE last_backup (
    last_backup_id INTEGER NOT NULL PRIMARY KEY CHECK (last_backup_id = 1),
    made_at        TEXT,
    verified_at    TEXT
) STRICT;

INSERT INTO last_backup (last_backup_id) VALUES (1);
