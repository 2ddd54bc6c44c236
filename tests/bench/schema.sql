-- The tables in which the other stacks store their orders: those of orderapi's first migration.
-- They are a copy, so that a later migration of orderapi does not change what it is compared with.

CREATE TABLE orders (
    order_id    TEXT    NOT NULL PRIMARY KEY,
    client_id   TEXT    NOT NULL,
    customer_id TEXT    NOT NULL,
    item_id     TEXT    NOT NULL,
    quantity    INTEGER NOT NULL CHECK (quantity > 0),
    status      TEXT    NOT NULL,
    created_at  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_by_customer ON orders (customer_id, order_id);

CREATE TABLE ledger (
    ledger_id   INTEGER NOT NULL PRIMARY KEY CHECK (ledger_id > 0),
    order_id    TEXT    NOT NULL REFERENCES orders (order_id),
    customer_id TEXT    NOT NULL,
    item_id     TEXT    NOT NULL,
    quantity    INTEGER NOT NULL,
    entry_type  TEXT    NOT NULL,
    created_at  TEXT    NOT NULL,
    UNIQUE (order_id, entry_type)
) STRICT;

CREATE TRIGGER ledger_is_never_updated BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'ledger entries cannot be updated');
END;

CREATE TRIGGER ledger_is_never_deleted BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'ledger entries cannot be deleted');
END;

-- Without `recursive_triggers`, INSERT OR REPLACE deletes a row and does not fire the trigger above.
CREATE TRIGGER ledger_is_never_replaced BEFORE INSERT ON ledger
WHEN EXISTS (SELECT 1 FROM ledger WHERE ledger_id = NEW.ledger_id)
  OR EXISTS (SELECT 1 FROM ledger WHERE order_id = NEW.order_id AND entry_type = NEW.entry_type)
BEGIN
    SELECT RAISE(ABORT, 'ledger entries cannot be replaced');
END;

CREATE TABLE idempotency_keys (
    claim_id        INTEGER NOT NULL PRIMARY KEY,
    client_id       TEXT    NOT NULL,
    idempotency_key TEXT    NOT NULL,
    request_hash    TEXT    NOT NULL,
    status_code     INTEGER NOT NULL,
    response_body   TEXT    NOT NULL,
    order_id        TEXT    NOT NULL UNIQUE REFERENCES orders (order_id),
    created_at      TEXT    NOT NULL,
    UNIQUE (client_id, idempotency_key)
) STRICT;

CREATE TABLE events (
    sequence   INTEGER NOT NULL PRIMARY KEY,
    event_id   TEXT    NOT NULL,
    type       TEXT    NOT NULL,
    order_id   TEXT    NOT NULL REFERENCES orders (order_id),
    client_id  TEXT    NOT NULL,
    payload    TEXT    NOT NULL,
    created_at TEXT    NOT NULL,
    UNIQUE (order_id, type)
) STRICT;
