"""The audit finds damage in the bytes of the file."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orderapi.app import create_app
from orderapi.errors import StoreRefused, StoreUnavailable
from orderapi.settings import read_settings
from orderapi.store.sqlite.store import SqliteStore
from tests.support.audited import GONE, ORDERS, PAGE_BYTES, findings


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


# In a row of idempotency_keys, the hash follows the client and the key. An index has no hash.
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


def test_orders_after_a_damaged_page_are_still_audited(database: Path) -> None:
    last = _order_id_of(database, f"key-{ORDERS - 1}")
    with closing(sqlite3.connect(database)) as db:
        db.execute("UPDATE idempotency_keys SET status_code = 500 WHERE order_id = ?", (last,))
        db.commit()
    middle = _order_id_of(database, "key-150").encode()
    # A row of orders begins with the order_id.
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


# SQLite quotes text that it cannot read. Bytes that are not UTF-8 then damage its message too.
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
