-- works-with: 1
-- Which process has a lease, as the right to deliver events: only one may have it at a time.

-- `fence` grows whenever the lease goes to another holder, and it never shrinks. What only the
-- holder may write is written in one transaction with a check of the fence. `holder` is NULL when
-- the last holder has given the lease up. `expires_ms` is a time of `lease_clock_ms()`, a function
-- that the service defines: milliseconds since the machine was started.
CREATE TABLE leases (
    name       TEXT    NOT NULL PRIMARY KEY,
    holder     TEXT,
    fence      INTEGER NOT NULL CHECK (fence > 0),
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
