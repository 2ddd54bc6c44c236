"""How fast the pages of the console are on many orders, and what it costs new orders."""

import http.client
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

from orderapi.orders import place_order
from orderapi.records import Claim, NewOrder, NewToken
from orderapi.settings import SqliteUrl
from orderapi.store.contract import WriteTx
from orderapi.store.open import open_store
from tests.bench import machine
from tests.bench.compare import Plan
from tests.bench.console_pages import PAGES, RARE_CLIENTS, Known, known_orders
from tests.bench.contenders import our_contender
from tests.bench.growth import drop_from_page_cache, fill, held_in_memory
from tests.bench.load import Load, Window, WindowInvalid
from tests.bench.report import Value, figure, median, table
from tests.bench.scenarios import MAIN_CLIENTS
from tests.bench.service import Place, Service, serving

PAGE_MAX_MS = 100
# How often each page is requested, each time for another order, customer or client.
_REQUESTS = 25
# How many browsers show the page "Now" at once, and the pause of its script between two requests.
_BROWSERS, _POLL_S = 3, 2.0
_COLUMNS: list[tuple[str, Value]] = [
    ("orders per s", lambda window: window.per_s),
    ("p50, ms", lambda window: window.p50_ms),
    ("p99, ms", lambda window: window.p99_ms),
    ("server CPU per order, µs", lambda window: window.cpu_us),
]
_COMMAND = [str(Path(sys.executable).with_name("orderapi")), "console", "--port", "0"]
_LINK = re.compile(r"http://\S+/enter\?secret=\S+")


def run(plan: Plan, orders: int, load: Load, work: Path) -> None:
    """Measure every page on a database with `orders` orders, and new orders beside a console.

    Prints its tables. Raises WindowInvalid if a page takes longer than PAGE_MAX_MS.
    """
    filled = fill(work, orders)
    add_rare_clients(filled)
    with (
        tempfile.TemporaryDirectory(dir=work) as name,
        serving(our_contender(), Path(name), Place(), filled) as service,
        _console(filled, Path(name)) as console,
    ):
        # Without new orders, the charts of the page "Now" would be empty.
        load.warm_up("orders", service, MAIN_CLIENTS, plan.warm_up_s)
        known = known_orders(filled, _REQUESTS)
        from_disk_ms = _first_times_ms(console, filled, known)
        with held_in_memory(filled) as where:
            slowest_ms = _measure_pages(f"{filled.stem}: {where}", console, known, from_disk_ms)
            _measure_orders(console, plan, load, service)
    if slowest_ms > PAGE_MAX_MS:
        raise WindowInvalid(f"A page took {slowest_ms:.0f} ms, which is over {PAGE_MAX_MS} ms.")


class _Console:
    """A browser that has entered a console. Any thread may call it."""

    def __init__(self, link: str, pid: int) -> None:
        self.pid = pid
        self._port = urlsplit(link).port
        self._headers: dict[str, str] = {}
        answer, _ = self.get(link.partition(str(self._port))[2])
        self._headers = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}

    def get(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Get a page on a connection of its own.

        Raises WindowInvalid if there is no such page.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with closing(connection):
            connection.request("GET", path, headers=self._headers)
            answer = connection.getresponse()
            body = answer.read()
        if answer.status not in (200, 303):
            raise WindowInvalid(f"{path} was answered with {answer.status}")
        return answer, body

    def timed_ms(self, path: str) -> float:
        """Get a page, and return how long that took."""
        began_at = time.perf_counter()
        self.get(path)
        return (time.perf_counter() - began_at) * 1000


@contextmanager
def _console(database: Path, directory: Path) -> Iterator[_Console]:
    """Run `orderapi console` until the block ends, and enter it."""
    output = directory / "console.log"
    with output.open("wb") as file:
        command = [*_COMMAND, "--database", f"sqlite:///{database}"]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        while (link := _LINK.search(output.read_text())) is None:
            if process.poll() is not None:
                raise WindowInvalid(f"The console does not run: {output.read_text()}")
            time.sleep(0.05)
        yield _Console(link[0], process.pid)
    finally:
        process.terminate()
        process.wait()


def _first_times_ms(console: _Console, database: Path, known: list[Known]) -> dict[str, float]:
    """Return how long each page takes when nothing of the database is in memory."""
    times_ms = {}
    for (title, path), each in zip(PAGES.items(), cycle(known), strict=False):
        drop_from_page_cache(database)
        times_ms[title] = console.timed_ms(path(each))
    return times_ms


def _measure_pages(
    title: str, console: _Console, known: list[Known], from_disk_ms: dict[str, float]
) -> float:
    """Print how long each page takes. Returns the time of the slowest one in milliseconds."""
    rows = []
    slowest_ms = 0.0
    for page, path in PAGES.items():
        cpu_s = -machine.cpu_s(console.pid)
        times_ms = [console.timed_ms(path(each)) for each in known]
        cpu_s += machine.cpu_s(console.pid)
        slowest_ms = max(slowest_ms, *times_ms)
        kib = len(console.get(path(known[0]))[1]) / 1024
        cpu_ms = cpu_s * 1000 / len(times_ms)
        figures = (statistics.median(times_ms), max(times_ms), cpu_ms, from_disk_ms[page], kib)
        rows.append([page, *map(figure, figures)])
    head = ["page", "median, ms", "longest, ms", "CPU, ms", "cache dropped, ms", "KiB"]
    print(f"\n**The pages of the console, {title}**\n\n{table(head, rows)}")
    print(f"\nThe slowest page took {slowest_ms:.0f} ms. {PAGE_MAX_MS} ms are allowed.", flush=True)
    return slowest_ms


def _measure_orders(console: _Console, plan: Plan, load: Load, service: Service) -> None:
    """Print what new orders cost while nobody uses the console, and while browsers poll it."""
    windows: dict[str, list[Window]] = {"alone": [], "beside": []}
    used_s, passed_s = 0.0, 0.0
    for number in range(plan.rounds):
        for state in ("alone", "beside") if number % 2 == 0 else ("beside", "alone"):
            print(f"round {number + 1}: {state}", file=sys.stderr)
            load.warm_up("orders", service, MAIN_CLIENTS, plan.warm_up_s)
            used_s -= machine.cpu_s(console.pid)
            with _polling(console, _BROWSERS if state == "beside" else 0):
                windows[state].append(load.measure("orders", service, MAIN_CLIENTS, plan.window_s))
            used_s += machine.cpu_s(console.pid)
        passed_s += plan.window_s
    rows = []
    for title, value in _COLUMNS:
        pairs = zip(windows["alone"], windows["beside"], strict=True)
        ratio = statistics.median(value(beside) / value(alone) for alone, beside in pairs)
        medians = [figure(median(windows[state], value)) for state in ("alone", "beside")]
        rows.append([title, *medians, f"{ratio:.2f}"])
    head = ["", "no console", f"{_BROWSERS} browsers show Now", "ratio"]
    print(f"\n**New orders, {MAIN_CLIENTS} clients**\n\n{table(head, rows)}")
    print(f"\nThe console itself used {used_s / passed_s:.1%} of one core.", flush=True)


@contextmanager
def _polling(console: _Console, browsers: int) -> Iterator[None]:
    """Let `browsers` browsers poll the page "Now" until the block ends."""
    is_over = threading.Event()

    def poll(first_pause_s: float) -> None:
        pause_s = first_pause_s
        while not is_over.wait(pause_s):
            console.get("/now")
            pause_s = _POLL_S

    threads = [
        threading.Thread(target=poll, args=(number / browsers * _POLL_S,))
        for number in range(browsers)
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def add_rare_clients(database: Path) -> None:
    """Give the database clients with a token and an order each, unless it has them already."""
    with closing(open_store(SqliteUrl(database))) as store:
        if not store.read(lambda tx: tx.lookup.is_client("client-0")):
            store.write(_add_all, time.monotonic() + 60)


def _add_all(tx: WriteTx) -> None:
    for number in range(RARE_CLIENTS):
        client_id = f"client-{number}"
        tx.tokens.insert_token(
            NewToken(f"{number:064x}", f"oapi_{number}", client_id, "bench", "read write", None)
        )
        claim = Claim(client_id, f"key-{number}", "0" * 64)
        place_order(tx, claim, NewOrder(client_id, f"cust{number}", "item1", 1))
