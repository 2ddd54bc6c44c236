import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.app import create_app
from orderapi.errors import StoreRefused, StoreUnavailable
from orderapi.idempotency import fingerprint
from orderapi.ops import audit as audit_module
from orderapi.ops.audit import audit
from orderapi.records import Claim, NewOrder
from orderapi.settings import read_settings
from orderapi.store.sqlite import SqliteStore
from orderapi.web.orders import place_order
from tests.running import Server

ORDERS = 300
PAGE_BYTES = 4096
GONE = "01900000-0000-7000-8000-000000000000"


def findings(database: Path) -> list[str]:
    store = SqliteStore(database)
    try:
        return list(audit(store, lambda _done, _total: None))
    finally:
        store.close()


def place(store: SqliteStore, number: int) -> None:
    payload = {"customer_id": f"cust{number % 7}", "item_id": 'é"\\☃', "quantity": number % 9 + 1}
    claim = Claim("public", f"key-{number}", fingerprint("POST", "/orders", payload))
    new_order = NewOrder("public", **payload)  # type: ignore[arg-type]  # as the view does
    store.write(lambda tx: place_order(tx, claim, new_order))


@pytest.fixture(scope="module")
def sound_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database of ORDERS orders, made once through the store and copied for each test."""
    database = tmp_path_factory.mktemp("sound") / "orders.db"
    store = SqliteStore(database)
    store.prepare()
    for number in range(ORDERS):
        place(store, number)
    store.close()
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database.read_bytes()


@pytest.fixture
def database(tmp_path: Path, sound_bytes: bytes) -> Path:
    path = tmp_path / "orders.db"
    path.write_bytes(sound_bytes)
    return path


@pytest.fixture(params=[7, audit_module.RANGE_ORDERS], ids=["many-ranges", "one-range"])
def ranges(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Audit in ranges of few orders as well, so that every border between two is met."""
    monkeypatch.setattr(audit_module, "RANGE_ORDERS", request.param)
    monkeypatch.setattr(audit_module, "RANGE_KEYS", request.param)


@pytest.mark.usefixtures("ranges")
def test_a_sound_database_has_no_findings(database: Path) -> None:
    assert findings(database) == []


def test_an_empty_database_has_no_findings(store: SqliteStore) -> None:
    assert list(audit(store, lambda _done, _total: None)) == []


def test_progress_counts_every_order(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "RANGE_ORDERS", 70)
    seen: list[tuple[int, int]] = []
    store = SqliteStore(database)
    assert list(audit(store, lambda done, total: seen.append((done, total)))) == []
    store.close()
    assert [done for done, _ in seen] == [0, 70, 140, 210, 280, 300]
    assert seen[-1] == (ORDERS, ORDERS)


# What was broken by hand. {id}, {event}, {ledger} and {key} stand for the same order in the middle,
# {other} for the order_id of another; the lines must name the row as given.
NO_CHECKS = "PRAGMA ignore_check_constraints = ON;"
NO_LEDGER_TRIGGERS = (
    "DROP TRIGGER ledger_is_never_updated; DROP TRIGGER ledger_is_never_deleted;"
    " DROP TRIGGER ledger_is_never_replaced;"
)


def rebuilt(table: str) -> str:
    """Make a table anew without any constraint, as `CREATE TABLE ... AS` does."""
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


BROKEN: dict[str, tuple[str, list[str]]] = {
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
        ["orders order_id '': order_id is no UUIDv7", LEDGER + " there is no order '{id}'"],
    ),
    "order's id in capitals": (
        changed(IN_ORDERS, "order_id = upper(order_id)"),
        ["orders order_id '{ID}': order_id is no UUIDv7", LEDGER + " there is no order '{id}'"],
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
        [ORDER + " is there more than once", "schema: orders is not as the migrations made it"],
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
            KEY + " is there 2 times, for",
            "schema: idempotency_keys is not as the migrations made it",
        ],
    ),
    # events
    "last event deleted": (
        "DELETE FROM events WHERE sequence = 300",
        ["has 0 rows in events, not 1"],
    ),
    "event in the middle deleted": (
        "DELETE FROM events WHERE order_id = '{id}'",
        [ORDER + " has 0 rows in events", "events sequence {event}: is missing before"],
    ),
    "events in the middle deleted": (
        "DELETE FROM events WHERE sequence BETWEEN 60 AND 80",
        ["events sequence 60 to 80: is missing before 81"],
    ),
    "first event deleted": (
        "DELETE FROM events WHERE sequence = 1",
        ["events sequence 1: is missing before 2"],
    ),
    "event moved": (
        changed(IN_EVENTS, "sequence = 5000"),
        [EVENT + " is missing before", "events sequence 301 to 4999: is missing before 5000"],
    ),
    "event number not positive": (
        changed(IN_EVENTS, "sequence = -3"),
        ["events sequence -3: is less than 1", EVENT + " is missing before"],
    ),
    "event number doubled": (
        rebuilt("events") + changed(IN_EVENTS, "sequence = sequence + 1"),
        ["events sequence {event+1}: is there 2 times", EVENT + " is missing before"],
    ),
    "event of another type": (
        changed(IN_EVENTS, "type = 'order.deleted'"),
        [EVENT + " type is 'order.deleted', not 'order.created'"],
    ),
    "second event": (
        "INSERT INTO events SELECT 301, 'e', 'order.again', order_id, client_id, payload,"
        " created_at FROM events WHERE order_id = '{id}'",
        [ORDER + " has 2 rows in events", "events sequence 301: type is 'order.again'"],
    ),
    "event of another client": (
        changed(IN_EVENTS, "client_id = 'eve'"),
        [EVENT + " client_id is 'eve', not 'public'"],
    ),
    "event's payload changed": (
        changed(IN_EVENTS, "payload = replace(payload, 'cust3', 'cust4')"),
        [EVENT + " payload is"],
    ),
    "event's time changed": (
        changed(IN_EVENTS, "created_at = ''"),
        [EVENT + " created_at is ''"],
    ),
    "event of no order": (
        changed(IN_EVENTS, "order_id = '{gone}'"),
        [EVENT + " there is no order '{gone}'", ORDER + " has 0 rows in events"],
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


@pytest.mark.usefixtures("ranges")
@pytest.mark.parametrize(("script", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_what_was_broken_by_hand_is_named(database: Path, script: str, expected: list[str]) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        names = _names_of_the_middle(db)
        db.execute("PRAGMA foreign_keys = OFF")
        db.executescript(_filled(script, names))
    found = findings(database)
    for line in expected:
        assert any(_filled(line, names) in each for each in found), found
    assert all("\n" not in line for line in found)


def _names_of_the_middle(db: sqlite3.Connection) -> dict[str, str]:
    ((order_id, ledger_id, sequence),) = db.execute(
        "SELECT orders.order_id, ledger_id, sequence FROM idempotency_keys"
        " JOIN orders USING (order_id) JOIN ledger USING (order_id) JOIN events USING (order_id)"
        " WHERE idempotency_key = 'key-150'"
    ).fetchall()
    ((other,),) = db.execute(
        "SELECT order_id FROM idempotency_keys WHERE idempotency_key = 'key-42'"
    ).fetchall()
    return {
        "{id}": order_id,
        "{ID}": order_id.upper(),
        "{ledger}": str(ledger_id),
        "{event}": str(sequence),
        "{event+1}": str(sequence + 1),
        "{other}": other,
        "{gone}": GONE,
    }


def _filled(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(name, value)
    return text


# Damage in the file itself.


def _order_id_of(database: Path, key: str) -> str:
    with closing(sqlite3.connect(database)) as db:
        ((order_id,),) = db.execute(
            "SELECT order_id FROM idempotency_keys WHERE idempotency_key = ?", (key,)
        ).fetchall()
    return str(order_id)


def _overwrite(database: Path, offset: int, data: bytes) -> None:
    with database.open("r+b") as file:
        file.seek(offset)
        assert file.read(len(data)) != data
        file.seek(offset)
        file.write(data)


def _only_offset(database: Path, pattern: bytes) -> int:
    (match,) = re.finditer(pattern, database.read_bytes(), re.DOTALL)
    return match.start()


def _page_start(offset: int) -> int:
    return offset // PAGE_BYTES * PAGE_BYTES


# A row of idempotency_keys has the hash after client and key, an index on them has not.
KEY_IN_TABLE = rb"publickey-150[0-9a-f]{64}"
KEY_IN_INDEX = rb"publickey-150(?![0-9a-f]{64})"


def test_a_flipped_bit_in_a_saved_body_is_named(database: Path) -> None:
    offset = _only_offset(database, KEY_IN_TABLE) + len("publickey-150") + 64
    body = database.read_bytes()[offset : offset + 200]
    at = offset + body.index(b'"cust') + 4
    _overwrite(database, at, bytes([database.read_bytes()[at] ^ 1]))
    found = findings(database)
    assert len(found) == 1
    assert "idempotency_key 'key-150' client_id 'public': response_body is" in found[0]


def test_a_flipped_bit_in_an_index_is_found(database: Path) -> None:
    offset = _only_offset(database, KEY_IN_INDEX) + len("publickey-15")
    _overwrite(database, offset, b"z")
    assert any(
        "idempotency_keys: integrity_check: row" in line and "missing from index" in line
        for line in findings(database)
    )


def test_every_order_on_a_damaged_table_page_is_named(database: Path) -> None:
    page = _page_start(_only_offset(database, KEY_IN_TABLE))
    content = database.read_bytes()[page : page + PAGE_BYTES]
    keys = re.findall(rb"public(key-\d+)[0-9a-f]{64}", content)
    order_ids = {_order_id_of(database, key.decode()) for key in keys}
    assert 2 < len(order_ids) < ORDERS / 3
    _overwrite(database, page, b"\xee\xee")
    found = findings(database)
    named = [line for line in found if line.startswith("idempotency_keys of order_id")]
    assert {line.split("'")[1] for line in named} == order_ids
    assert any(line.startswith("idempotency_keys: ") for line in found)


def test_what_lies_behind_a_damaged_page_of_orders_is_audited_still(database: Path) -> None:
    last = _order_id_of(database, f"key-{ORDERS - 1}")
    with closing(sqlite3.connect(database)) as db:
        db.execute("UPDATE idempotency_keys SET status_code = 500 WHERE order_id = ?", (last,))
        db.commit()
    middle = _order_id_of(database, "key-150").encode()
    # A row of orders begins with its id.
    offset = _only_offset(database, re.escape(middle) + rb"publiccust\d")
    _overwrite(database, _page_start(offset), b"\xee\xee")
    found = findings(database)
    assert any(f"orders of order_id '{middle.decode()}': cannot be read" in line for line in found)
    assert any("'key-299'" in line and "status_code is 500" in line for line in found)


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7])
def test_bytes_flipped_in_the_middle_of_the_file_are_found(database: Path, part: float) -> None:
    size = database.stat().st_size
    start = _page_start(int(size * part))
    flipped = bytes(byte ^ 0xFF for byte in database.read_bytes()[start : start + PAGE_BYTES])
    _overwrite(database, start, flipped)
    assert findings(database)


# SQLite quotes what it cannot read; bytes that are not UTF-8 then break the message as well.
@pytest.mark.parametrize("damage", [b"CREATE TRIGGEL", b"CREATE \xffRIGGER"])
def test_damage_to_the_schema_itself_is_found(database: Path, damage: bytes) -> None:
    offset = _only_offset(database, rb"CREATE TRIGGER ledger_is_never_deleted")
    _overwrite(database, offset, damage)
    assert any(line.startswith("schema: ") for line in findings(database))


def test_a_table_whose_name_is_damaged_is_found(database: Path) -> None:
    offset = _only_offset(database, rb"tableordersorders")
    _overwrite(database, offset + len("table"), b"\xc5rders\xc5rders")
    assert any(line.startswith("schema: ") for line in findings(database))
    with pytest.raises(StoreRefused):
        SqliteStore(database).prepare()


def test_a_file_that_is_no_database_is_found(database: Path) -> None:
    _overwrite(database, 0, b"not a database")
    assert any("SQLITE_NOTADB" in line for line in findings(database))


def test_damage_is_answered_as_any_store_that_cannot_be_used(
    database: Path,
) -> None:
    _overwrite(database, 0, b"not a database")
    store = SqliteStore(database)
    answer = create_app(read_settings({}), store).test_client().get(f"/orders/{GONE}")
    store.close()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert answer.get_json()["type"] == "/problems/store-unavailable"


def test_a_database_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        findings(tmp_path / "nothing.db")


# While the database is served.

WRITERS = 4
ORDERS_EACH = 200


@pytest.mark.usefixtures("ranges")
def test_an_audit_under_load_finds_nothing(server: Server) -> None:
    def write(writer: int) -> None:
        for number in range(ORDERS_EACH):
            assert server.order(f"load-{writer}-{number}").status == 201

    store = SqliteStore(server.database)
    audits = 0
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(write, writer) for writer in range(WRITERS)]
        while not all(future.done() for future in writing):
            assert list(audit(store, lambda _done, _total: None)) == []
            audits += 1
        for future in writing:
            future.result()
    assert list(audit(store, lambda _done, _total: None)) == []
    store.close()
    assert audits > 1
    assert server.counts()["orders"] == WRITERS * ORDERS_EACH


def test_no_snapshot_is_held_from_one_range_to_the_next(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "RANGE_ORDERS", 50)
    others = SqliteStore(database)
    moved = []

    def order_and_begin_the_log_anew(done: int, _total: int) -> None:
        if done <= ORDERS:
            place(others, 1000 + done)
        moved.append(_log_can_begin_anew(database))

    store = SqliteStore(database)
    assert list(audit(store, order_and_begin_the_log_anew)) == []
    store.close()
    others.close()
    assert len(moved) > ORDERS / 50
    assert all(moved)


def _log_can_begin_anew(database: Path) -> bool:
    # Another store's own checkpoint passes; a snapshot that is held outlasts every attempt.
    with closing(sqlite3.connect(database, timeout=0.1)) as db:
        for _ in range(10):
            ((busy, _, _),) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if not busy:
                return True
            time.sleep(0.1)
    return False
