-- works-with: 1
-- The position of the relay: the last event that its receiver has accepted.

CREATE TABLE relay_position (
    relay_id   INTEGER NOT NULL PRIMARY KEY CHECK (relay_id = 1),
    sequence   INTEGER NOT NULL CHECK (sequence >= 0),
    changed_at TEXT    NOT NULL
) STRICT;

INSERT INTO relay_position (relay_id, sequence, changed_at)
VALUES (1, 0, '1970-01-01T00:00:00.000Z');
