-- works-with: 1
-- What the console needs: two indexes for its searches, and how the last audit ended.

-- An order is found by the id of its trace. The index has no entry for an event without a trace, so
-- such an order costs nothing.
CREATE INDEX events_by_trace ON events (traceparent) WHERE traceparent IS NOT NULL;

CREATE INDEX tokens_by_client ON tokens (client_id);

-- The table has no row before the first audit. `first_findings` has one finding a line, and it may
-- have fewer of them than there were.
CREATE TABLE last_audit (
    last_audit_id  INTEGER NOT NULL PRIMARY KEY CHECK (last_audit_id = 1),
    ended_at       TEXT    NOT NULL,
    took_ms        INTEGER NOT NULL,
    orders         INTEGER NOT NULL,
    findings       INTEGER NOT NULL,
    first_findings TEXT    NOT NULL
) STRICT;
