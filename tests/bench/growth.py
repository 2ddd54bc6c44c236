"""What many stored orders cost: rates and latencies beside an empty database, bytes per order."""

import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from mmap import MAP_SHARED, PROT_READ, mmap
from pathlib import Path

from orderapi import idempotency
from orderapi.store.sqlite.store import SqliteStore
from tests.bench.contenders import Contender, all_contenders
from tests.bench.load import Load, Window
from tests.bench.report import MAIN_CLIENTS, median, table
from tests.bench.service import Place, Service, serving

_CHUNK = 100_000
_CUSTOMERS = 1000
_WORKS = ("new orders", "replays", "reads")
_LITTLE_MEMORY_BYTES = 1024**3
# mmap(2); Python names it from 3.13 on.
_MAP_LOCKED = 0x2000
# The limit's file in cgroups of version 2, and of version 1.
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/orderapi-bench/memory.max"),
    Path("/sys/fs/cgroup/memory/orderapi-bench/memory.limit_in_bytes"),
)

_NUMBERS = """\
CREATE TEMP TABLE chunk AS
WITH RECURSIVE numbers(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM numbers WHERE n < :last)
SELECT n, 'cust' || (n % 1000) AS customer_id,
       :begin_ms + n / 4 AS ms,
       printf('%08x-0000-4000-8000-%012d', n * 2654435761 & 0xffffffff, n) AS key,
       strftime('%Y-%m-%dT%H:%M:%S.000Z', (:begin_ms + n / 4) / 1000, 'unixepoch') AS created_at,
       '' AS order_id, '' AS body
FROM numbers"""

# UUIDv7: the time, then bits that grow within a millisecond, then random ones.
_FILL = (
    "UPDATE chunk SET order_id = printf('%08x-%04x-7%03x-8%03x-%s', ms >> 16, ms & 0xffff,"
    " n % 4 << 10 | (abs(random()) & 0x3ff), abs(random()) & 0xfff, lower(hex(randomblob(6))))",
    'UPDATE chunk SET body = \'{"order_id":"\' || order_id || \'","customer_id":"\' || customer_id'
    ' || \'","item_id":"item1","quantity":1,"status":"created"}\'',
    "INSERT INTO orders SELECT order_id, 'public', customer_id, 'item1', 1, 'created', created_at"
    " FROM chunk ORDER BY order_id",
    "INSERT INTO ledger (order_id, customer_id, item_id, quantity, entry_type, created_at)"
    " SELECT order_id, customer_id, 'item1', 1, 'order_created', created_at FROM chunk ORDER BY n",
    "INSERT INTO events (sequence, event_id, type, order_id, client_id, payload, created_at)"
    " SELECT n, lower(printf('%s-%s-4%s-8%s-%s', hex(randomblob(4)), hex(randomblob(2)),"
    " substr(hex(randomblob(2)), 2), substr(hex(randomblob(2)), 2), hex(randomblob(6)))),"
    " 'order.created', order_id, 'public', body, created_at FROM chunk ORDER BY n",
    "INSERT INTO idempotency_keys (client_id, idempotency_key, request_hash, status_code,"
    " response_body, order_id, created_at)"
    " SELECT 'public', key, hash, 201, body || char(10), order_id, created_at"
    " FROM chunk JOIN fingerprint USING (customer_id) ORDER BY n",
    "DROP TABLE chunk",
)


def run(rounds: int, seconds: float, orders: int, load: Load, place: Place, work: Path) -> None:
    """Compare the service on a database with so many orders to it on an empty one."""
    filled = fill(work, orders)
    ours = next(c for c in all_contenders() if c.letter == "e")
    with _held_in_memory(filled) as title:
        _print_comparison(title, rounds, seconds, ours, filled, load, place, work)
    with _little_memory() as cgroup:
        if isinstance(cgroup, str):
            print(f"\nNot measured under 1 GiB of memory: {cgroup}.")
        else:
            _forget(filled)
            little = replace(place, cgroup=cgroup)
            title = "servers and page cache in a memory cgroup of 1 GiB"
            _print_comparison(title, 1, seconds, ours, filled, load, little, work)
    print(f"\n{_bytes_per_order(filled)}", flush=True)


def fill(work: Path, orders: int) -> Path:
    """Make a database with so many orders; one that was begun before is gone on with."""
    path = work / f"filled-{orders}.db"
    store = SqliteStore(path)
    store.prepare()
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -2000000")
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("CREATE TEMP TABLE fingerprint (customer_id TEXT PRIMARY KEY, hash TEXT)")
        db.executemany("INSERT INTO fingerprint VALUES (?, ?)", _fingerprints())
        (stored,) = db.execute("SELECT COALESCE(MAX(sequence), 0) FROM events").fetchone()
        for first in range(stored + 1, orders + 1, _CHUNK):
            last = min(first + _CHUNK - 1, orders)
            _fill_chunk(db, first, last)
            print(f"filled {last:,} of {orders:,}", file=sys.stderr)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _fill_chunk(db: sqlite3.Connection, first: int, last: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    # From 2024 on, so that every new order is later.
    db.execute(_NUMBERS, {"first": first, "last": last, "begin_ms": 1_704_067_200_000})
    for statement in _FILL:
        db.execute(statement)
    db.execute("COMMIT")


def _fingerprints() -> Iterator[tuple[str, str]]:
    for number in range(_CUSTOMERS):
        order = {"customer_id": f"cust{number}", "item_id": "item1", "quantity": 1}
        yield f"cust{number}", idempotency.fingerprint("POST", "/orders", order)


def _print_comparison(
    title: str,
    rounds: int,
    seconds: float,
    ours: Contender,
    filled: Path,
    load: Load,
    place: Place,
    work: Path,
) -> None:
    windows: dict[tuple[str, str], list[Window]] = {}
    for number in range(rounds):
        for state in ("empty", "filled") if number % 2 == 0 else ("filled", "empty"):
            print(f"round {number + 1}, {title}: {state}", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=work) as name:
                database = filled if state == "filled" else None
                with serving(ours, Path(name), place, database) as service:
                    for kind, window in _windows(service, seconds, load):
                        windows.setdefault((state, kind), []).append(window)
    rows = []
    for kind in _WORKS:
        empty, full = windows["empty", kind], windows["filled", kind]
        rate = [f"{median(w, lambda w: w.per_s):,.0f}" for w in (empty, full)]
        p99 = [f"{median(w, lambda w: w.p99_ms):.1f}" for w in (empty, full)]
        kept = median(full, lambda w: w.per_s) / median(empty, lambda w: w.per_s)
        longer = median(full, lambda w: w.p99_ms) / median(empty, lambda w: w.p99_ms)
        rows.append([kind, *rate, f"{kept:.2f}", *p99, f"{longer:.2f}"])
    head = ["", "per s, empty", "filled", "ratio", "p99 ms, empty", "filled", "ratio"]
    print(
        f"\n**{filled.stem}**, {MAIN_CLIENTS} clients, {title}\n\n{table(head, rows)}", flush=True
    )


def _windows(service: Service, seconds: float, load: Load) -> Iterator[tuple[str, Window]]:
    for kind, act in zip(_WORKS, (load.new_orders, load.replays, load.reads), strict=True):
        act(service, MAIN_CLIENTS, 2.0)
        yield kind, act(service, MAIN_CLIENTS, seconds)


@contextmanager
def _little_memory() -> Iterator[Path | str]:
    """Lend a memory cgroup of 1 GiB, or say why there is none."""
    reason = "there is no memory controller"
    for limit in _CGROUP_LIMITS:
        try:
            limit.parent.mkdir(exist_ok=True)
            with limit.open("r+") as existing:  # the kernel's; a plain directory has none
                existing.write(str(_LITTLE_MEMORY_BYTES))
        except OSError as error:
            reason = f"{limit}: {error.strerror}"
            with suppress(OSError):
                limit.parent.rmdir()
            continue
        try:
            yield limit.parent
        finally:
            limit.parent.rmdir()
        return
    yield reason


@contextmanager
def _held_in_memory(path: Path) -> Iterator[str]:
    """Keep a file in the page cache, as after a day of service, and tell whether it is there.

    Without it, how much of it is would be the machine's to say: some drop within seconds what
    nobody reads.
    """
    with path.open("rb") as file:
        try:
            if path.stat().st_size > _available_bytes() * 3 / 4:
                raise OSError("there is not enough")
            locked = mmap(file.fileno(), 0, MAP_SHARED | _MAP_LOCKED, PROT_READ)
        except OSError as error:
            print(f"not held in memory: {error}", file=sys.stderr)
            yield "memory as it is"
            return
        with locked:
            yield "its file in memory"


def _available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kib) * 1024


def _forget(path: Path) -> None:
    """Drop a file from the page cache: what others have cached is not on a cgroup's account."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _bytes_per_order(path: Path) -> str:
    """Divide the file among tables and indexes (sqlite.org/dbstat.html)."""
    with closing(sqlite3.connect(path)) as db:
        (orders,) = db.execute("SELECT MAX(sequence) FROM events").fetchone()
        try:
            sizes = db.execute(
                # Its own sums (`aggregate`) have 32 bits in SQLite 3.40.
                "SELECT name, SUM(pgsize) AS size, SUM(payload), SUM(unused) FROM dbstat"
                " GROUP BY name ORDER BY size DESC"
            ).fetchall()
        except sqlite3.OperationalError:
            return f"{path.stat().st_size / orders:.0f} bytes per order; no dbstat here."
    rows = [
        [name, f"{size / orders:.0f}", f"{payload / orders:.0f}", f"{unused / size:.0%}"]
        for name, size, payload, unused in sizes
        if size / orders >= 1
    ]
    total = sum(size for _, size, _, _ in sizes) / orders
    return f"**Bytes per order**: {total:.0f}\n\n" + table(
        ["table or index", "bytes", "of them content", "of the pages unused"], rows
    )
