"""What many stored orders cost: rates and latencies beside an empty database, bytes per order."""

import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from mmap import MAP_SHARED, PROT_READ, mmap
from pathlib import Path

from orderapi import idempotency
from orderapi.settings import SqliteUrl
from orderapi.store.open import open_store
from tests.bench.compare import Plan
from tests.bench.contenders import our_contender
from tests.bench.load import Load, Window
from tests.bench.report import figure, median, table
from tests.bench.scenarios import MAIN_CLIENTS, WORK_TITLES, Work
from tests.bench.service import Place, serving

_CHUNK = 100_000
_CUSTOMERS = 1000
_WORKS: tuple[Work, ...] = ("orders", "replays", "reads")
_LITTLE_MEMORY_BYTES = 1024**3
# mmap(2). Python's mmap module has this name only from version 3.13 on.
_MAP_LOCKED = 0x2000
# The file of the limit in cgroups of version 2, and in those of version 1.
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

# An order_id is a UUIDv7: the time, then bits that grow within a millisecond, then random bits. The
# event has an id that follows the id of its order. Every hundredth request belonged to a trace.
_FILL = (
    "UPDATE chunk SET order_id = printf('%08x-%04x-7%03x-8%03x-%s', ms >> 16, ms & 0xffff,"
    " n % 4 << 10 | (abs(random()) & 0x3ff), abs(random()) & 0xfff,"
    " '0' || substr(lower(hex(randomblob(6))), 2))",
    'UPDATE chunk SET body = \'{"order_id":"\' || order_id || \'","customer_id":"\' || customer_id'
    ' || \'","item_id":"item1","quantity":1,"status":"created"}\'',
    "INSERT INTO orders (order_id, client_id, customer_id, item_id, quantity, status, created_at)"
    " SELECT order_id, 'public', customer_id, 'item1', 1, 'created', created_at"
    " FROM chunk ORDER BY order_id",
    "INSERT INTO ledger (order_id, customer_id, item_id, quantity, entry_type, created_at)"
    " SELECT order_id, customer_id, 'item1', 1, 'order_created', created_at FROM chunk ORDER BY n",
    "INSERT INTO events"
    " (sequence, event_id, type, order_id, client_id, payload, created_at, traceparent)"
    " SELECT n, substr(order_id, 1, 24) || 'f' || substr(lower(hex(randomblob(6))), 2),"
    " 'order.created', order_id, 'public', body, created_at,"
    " CASE WHEN n % 100 = 0 THEN printf('00-%s-%s-01', lower(hex(randomblob(16))),"
    " lower(hex(randomblob(8)))) END FROM chunk ORDER BY n",
    "INSERT INTO idempotency_keys (client_id, idempotency_key, request_hash, status_code,"
    " response_body, order_id, created_at)"
    " SELECT 'public', key, hash, 201, body || char(10), order_id, created_at"
    " FROM chunk JOIN fingerprint USING (customer_id) ORDER BY n",
    "DROP TABLE chunk",
)


def run(plan: Plan, orders: int, load: Load, work: Path) -> None:
    """Compare the service on a database with `orders` orders with the service on an empty one.

    Prints its tables. Raises WindowInvalid if the service does not do its work.
    """
    filled = fill(work, orders)
    with held_in_memory(filled) as title:
        _print_comparison(title, plan, filled, load, Place(), work)
    with _little_memory() as cgroup:
        if isinstance(cgroup, str):
            print(f"\nA memory of 1 GiB is not measured: {cgroup}.")
        else:
            drop_from_page_cache(filled)
            title = "the servers and the page cache have 1 GiB of memory"
            _print_comparison(title, plan, filled, load, Place(cgroup=cgroup), work)
    print(f"\n{_bytes_per_order(filled)}", flush=True)


def fill(work: Path, orders: int) -> Path:
    """Make a database with `orders` orders. An earlier run that did not finish is continued."""
    path = work / f"filled-{orders}.db"
    store = open_store(SqliteUrl(path))
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
            print(f"{last:,} of {orders:,} orders are stored", file=sys.stderr)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _fill_chunk(db: sqlite3.Connection, first: int, last: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    # The times begin in 2024, so that every order of the load is later.
    db.execute(_NUMBERS, {"first": first, "last": last, "begin_ms": 1_704_067_200_000})
    for statement in _FILL:
        db.execute(statement)
    db.execute("COMMIT")


def _fingerprints() -> Iterator[tuple[str, str]]:
    for number in range(_CUSTOMERS):
        order = {"customer_id": f"cust{number}", "item_id": "item1", "quantity": 1}
        yield f"cust{number}", idempotency.fingerprint("POST", "/orders", order)


def _print_comparison(
    title: str, plan: Plan, filled: Path, load: Load, place: Place, work: Path
) -> None:
    windows: dict[tuple[str, Work], list[Window]] = {}
    for number in range(plan.rounds):
        for state in ("empty", "filled") if number % 2 == 0 else ("filled", "empty"):
            print(f"round {number + 1}, {title}: {state}", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=work) as name:
                database = filled if state == "filled" else None
                with serving(our_contender(), Path(name), place, database) as service:
                    for kind in _WORKS:
                        load.warm_up(kind, service, MAIN_CLIENTS, plan.warm_up_s)
                        window = load.measure(kind, service, MAIN_CLIENTS, plan.window_s)
                        windows.setdefault((state, kind), []).append(window)
    rows = [_row(kind, windows["empty", kind], windows["filled", kind]) for kind in _WORKS]
    head = ["", "per s, empty", "filled", "ratio", "p99, ms, empty", "filled", "ratio"]
    head += ["server CPU, µs, empty", "filled", "ratio"]
    print(
        f"\n**{filled.stem}, {MAIN_CLIENTS} clients: {title}**\n\n{table(head, rows)}", flush=True
    )


def _row(kind: Work, empty: list[Window], filled: list[Window]) -> list[str]:
    cells: list[str] = [WORK_TITLES[kind]]
    for value in (lambda w: w.per_s, lambda w: w.p99_ms, lambda w: w.cpu_us):
        before, after = median(empty, value), median(filled, value)
        cells += [figure(before), figure(after), f"{after / before:.2f}"]
    return cells


@contextmanager
def _little_memory() -> Iterator[Path | str]:
    """Lend a memory cgroup of 1 GiB, or the reason why there is none."""
    reason = "there is no memory controller"
    for limit in _CGROUP_LIMITS:
        try:
            limit.parent.mkdir(exist_ok=True)
            # The kernel makes this file in a cgroup. A plain directory does not contain it.
            with limit.open("r+") as existing:
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
def held_in_memory(path: Path) -> Iterator[str]:
    """Keep a file in the page cache, as after a day of service. Lends a title that says so.

    Without this, the machine decides how much of the file is in memory. Some machines drop pages
    within seconds if nobody reads them.
    """
    with path.open("rb") as file:
        try:
            if path.stat().st_size > _available_bytes() * 3 / 4:
                raise OSError("the machine has not enough memory")
            _read_page_by_page(path)
            locked = mmap(file.fileno(), 0, MAP_SHARED | _MAP_LOCKED, PROT_READ)
        except OSError as error:
            print(f"The file is not kept in memory: {error}", file=sys.stderr)
            yield "the machine decides what is in memory"
            return
        with locked:
            yield "the file is in memory"


def _read_page_by_page(path: Path) -> None:
    """Read a file into the page cache in the way in which requests read it.

    A sequential read makes folios of many pages. On ext4 of Linux 6.16 and newer, a write of one
    page then goes through all pages of its folio. This doubled the processor time of an order.
    """
    drop_from_page_cache(path)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        while file.read(1024 * 1024):
            pass


def _available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kib) * 1024


def drop_from_page_cache(path: Path) -> None:
    """Drop a file from the page cache, because a cgroup does not pay for pages read outside it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _bytes_per_order(path: Path) -> str:
    """Return how the file divides among tables and indexes (sqlite.org/dbstat.html)."""
    with closing(sqlite3.connect(path)) as db:
        (orders,) = db.execute("SELECT MAX(sequence) FROM events").fetchone()
        try:
            sizes = db.execute(
                # The sums are made here, because those of dbstat itself (`aggregate`) have 32 bits
                # in SQLite 3.40.
                "SELECT name, SUM(pgsize) AS size, SUM(payload), SUM(unused) FROM dbstat"
                " GROUP BY name ORDER BY size DESC"
            ).fetchall()
        except sqlite3.OperationalError:
            size = path.stat().st_size / orders
            return f"An order takes {size:.0f} bytes. This SQLite has no dbstat for more detail."
    rows = [
        [name, f"{size / orders:.0f}", f"{payload / orders:.0f}", f"{unused / size:.0%}"]
        for name, size, payload, unused in sizes
        if size / orders >= 1
    ]
    total = sum(size for _, size, _, _ in sizes) / orders
    return f"**Bytes per order: {total:.0f}**\n\n" + table(
        ["table or index", "bytes", "bytes of content", "unused share of the pages"], rows
    )
