"""Ways to break rows by hand, and the finding of the audit for each."""

# {id}, {event}, {ledger} and {key} stand for the rows of one order in the middle, and {other} for
# the order_id of another order.
NO_LEDGER_TRIGGERS = (
    "DROP TRIGGER ledger_is_never_updated; DROP TRIGGER ledger_is_never_deleted;"
    " DROP TRIGGER ledger_is_never_replaced;"
)


def rebuilt(table: str) -> str:
    """Rebuild a table without constraints, as `CREATE TABLE ... AS` does."""
    return (
        f"CREATE TABLE bare AS SELECT * FROM {table}; DROP TABLE {table};"
        f" ALTER TABLE bare RENAME TO {table};"
    )


IN_KEYS = "UPDATE idempotency_keys SET {change} WHERE order_id = '{id}'"
IN_EVENTS = "UPDATE events SET {change} WHERE order_id = '{id}'"
IN_LEDGER = NO_LEDGER_TRIGGERS + "UPDATE ledger SET {change} WHERE order_id = '{id}'"
IN_ORDERS = "UPDATE orders SET {change} WHERE order_id = '{id}'"
LEDGER = "ledger ledger_id {ledger}:"
KEY = "idempotency_keys idempotency_key 'key-150' client_id 'public':"
EVENT = "events sequence {event}:"
ORDER = "orders order_id '{id}':"


def changed(statement: str, change: str) -> str:
    return statement.replace("{change}", change)


BROKEN_ROWS: dict[str, tuple[str, list[str]]] = {
    # orders
    "order deleted": (
        "DELETE FROM orders WHERE order_id = '{id}'",
        [
            LEDGER + " there is no order '{id}'",
            KEY + " there is no order '{id}'",
            EVENT + " there is no order '{id}'",
            "ledger row {ledger}: foreign_key_check",
        ],
    ),
    "all orders deleted": ("DELETE FROM orders", [LEDGER + " there is no order '{id}'"]),
    "customer changed": (
        changed(IN_ORDERS, "customer_id = 'someone'"),
        [
            LEDGER + " customer_id is 'cust3', not 'someone'",
            KEY + " request_hash is",
            KEY + " response_body is",
            EVENT + " payload is",
        ],
    ),
    "item changed": (changed(IN_ORDERS, "item_id = 'x'"), [LEDGER + " item_id is"]),
    "quantity changed": (
        changed(IN_ORDERS, "quantity = 999"),
        [LEDGER + " quantity is 7, not 999"],
    ),
    "order of another client": (
        changed(IN_ORDERS, "client_id = 'eve'"),
        [KEY + " client_id is 'public', not 'eve'", EVENT + " client_id is 'public', not 'eve'"],
    ),
    "status changed": (
        changed(IN_ORDERS, "status = 'shipped'"),
        [ORDER + " status is 'shipped', not 'created'", KEY + " response_body is"],
    ),
    "order's time without milliseconds": (
        changed(IN_ORDERS, "created_at = '2026-01-01T00:00:00Z'"),
        [ORDER + " created_at is '2026-01-01T00:00:00Z'"],
    ),
    "order's time without Z": (
        changed(IN_ORDERS, "created_at = '2026-01-01T00:00:00.000+00:00'"),
        [ORDER + " created_at is"],
    ),
    "order's time not in the calendar": (
        changed(IN_ORDERS, "created_at = '2026-02-30T00:00:00.000Z'"),
        [ORDER + " created_at is"],
    ),
    "order's id empty": (
        changed(IN_ORDERS, "order_id = ''"),
        ["orders order_id '': order_id is not a UUIDv7", LEDGER + " there is no order '{id}'"],
    ),
    "order's id in capitals": (
        changed(IN_ORDERS, "order_id = upper(order_id)"),
        ["orders order_id '{ID}': order_id is not a UUIDv7", LEDGER + " there is no order '{id}'"],
    ),
    "order without all else": (
        "INSERT INTO orders SELECT '{gone}', client_id, customer_id, item_id, quantity, status,"
        " created_at FROM orders WHERE order_id = '{id}'",
        [
            "orders order_id '{gone}': has 0 rows in ledger",
            "orders order_id '{gone}': has 0 rows in idempotency_keys",
            "orders order_id '{gone}': has 0 rows in events",
        ],
    ),
    "order twice": (
        rebuilt("orders") + "INSERT INTO orders SELECT * FROM orders WHERE order_id = '{id}'",
        [ORDER + " occurs more than once", "schema: orders is not as the migrations made it"],
    ),
    # ledger
    "ledger entry deleted": (
        NO_LEDGER_TRIGGERS + "DELETE FROM ledger WHERE order_id = '{id}'",
        [ORDER + " has 0 rows in ledger", "schema: ledger_is_never_deleted is missing"],
    ),
    "ledger quantity changed": (
        changed(IN_LEDGER, "quantity = 999"),
        [LEDGER + " quantity is 999, not 7", "schema: ledger_is_never_updated is missing"],
    ),
    "ledger customer changed": (
        changed(IN_LEDGER, "customer_id = 'x'"),
        [LEDGER + " customer_id is 'x'"],
    ),
    "ledger item changed": (changed(IN_LEDGER, "item_id = 'x'"), [LEDGER + " item_id is 'x'"]),
    "ledger entry of another type": (
        changed(IN_LEDGER, "entry_type = 'refund'"),
        [LEDGER + " entry_type is 'refund', not 'order_created'"],
    ),
    "ledger time changed": (
        changed(IN_LEDGER, "created_at = 'yesterday'"),
        [LEDGER + " created_at is 'yesterday'"],
    ),
    "ledger entry of another order": (
        NO_LEDGER_TRIGGERS
        + rebuilt("ledger")
        + "UPDATE ledger SET order_id = '{other}' WHERE order_id = '{id}'",
        [
            ORDER + " has 0 rows in ledger",
            "orders order_id '{other}': has 2 rows in ledger",
            "schema: ledger is not as the migrations made it",
        ],
    ),
    "second ledger entry": (
        "INSERT INTO ledger SELECT 9999, order_id, customer_id, item_id, quantity, 'again',"
        " created_at FROM ledger WHERE order_id = '{id}'",
        [ORDER + " has 2 rows in ledger", "ledger ledger_id 9999: entry_type is 'again'"],
    ),
    "ledger entry of no order": (
        "INSERT INTO ledger SELECT 9999, '{gone}', customer_id, item_id, quantity, entry_type,"
        " created_at FROM ledger WHERE order_id = '{id}'",
        ["ledger ledger_id 9999: there is no order '{gone}'"],
    ),
    "triggers dropped": (
        NO_LEDGER_TRIGGERS,
        [
            "schema: ledger_is_never_updated is missing",
            "schema: ledger_is_never_deleted is missing",
            "schema: ledger_is_never_replaced is missing",
        ],
    ),
    "trigger made harmless": (
        "DROP TRIGGER ledger_is_never_deleted;"
        " CREATE TRIGGER ledger_is_never_deleted BEFORE DELETE ON ledger BEGIN SELECT 1; END",
        ["schema: ledger_is_never_deleted is not as the migrations made it"],
    ),
    # idempotency keys
    "key deleted": (
        "DELETE FROM idempotency_keys WHERE order_id = '{id}'",
        [ORDER + " has 0 rows in idempotency_keys"],
    ),
    "key of another client": (
        changed(IN_KEYS, "client_id = 'eve'"),
        ["idempotency_key 'key-150' client_id 'eve': client_id is 'eve', not 'public'"],
    ),
    "hash changed": (
        changed(IN_KEYS, "request_hash = lower(hex(zeroblob(32)))"),
        [KEY + " request_hash is '000"],
    ),
    "hash in capitals": (
        changed(IN_KEYS, "request_hash = upper(request_hash)"),
        [KEY + " request_hash is"],
    ),
    "saved status changed": (
        changed(IN_KEYS, "status_code = 200"),
        [KEY + " status_code is 200, not 201"],
    ),
    "saved body with white space": (
        changed(IN_KEYS, "response_body = replace(response_body, ',', ', ')"),
        [KEY + " response_body is"],
    ),
    "saved body without line feed": (
        changed(IN_KEYS, "response_body = trim(response_body, char(10))"),
        [KEY + " response_body is"],
    ),
    "key's time changed": (
        changed(IN_KEYS, "created_at = '2026-01-01 00:00:00.000'"),
        [KEY + " created_at is '2026-01-01 00:00:00.000'"],
    ),
    "key of no order": (
        changed(IN_KEYS, "order_id = '{gone}'"),
        [KEY + " there is no order '{gone}'", ORDER + " has 0 rows in idempotency_keys"],
    ),
    "two keys of one order": (
        rebuilt("idempotency_keys")
        + "UPDATE idempotency_keys SET order_id = '{id}' WHERE order_id = '{other}'",
        [
            ORDER + " has 2 rows in idempotency_keys",
            "orders order_id '{other}': has 0 rows in idempotency_keys",
        ],
    ),
    "one key of two orders": (
        rebuilt("idempotency_keys")
        + "UPDATE idempotency_keys SET idempotency_key = 'key-150' WHERE order_id = '{other}'",
        [
            KEY + " occurs 2 times, for",
            "schema: idempotency_keys is not as the migrations made it",
        ],
    ),
    # the schema and what SQLite sees
    "index dropped": (
        "DROP INDEX orders_by_customer",
        ["schema: orders_by_customer is missing"],
    ),
    "table dropped": ("DROP TABLE events", ["schema: events is missing"]),
    "column dropped": (
        "ALTER TABLE ledger DROP COLUMN quantity",
        ["schema: ledger is not as the migrations made it"],
    ),
    "text that is not UTF-8": (
        changed(IN_EVENTS, "payload = CAST(x'c328ff' AS TEXT)"),
        ["events of order_id '{id}': cannot be read"],
    ),
    "line breaks in a value": (
        changed(IN_EVENTS, "payload = char(10) || 'all is well' || char(8232)"),
        [EVENT + r" payload is '\nall is well\u2028'"],
    ),
}
