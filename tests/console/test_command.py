"""`orderapi console` as a process: its link, its end, its log, and the files that it leaves."""

import http.client
import re
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from orderapi.store.sqlite.store import SqliteStore
from tests.support.audited import wal_can_be_reset
from tests.support.backup_files import backed_up, contents, findings, orderapi
from tests.support.console_pages import order
from tests.support.console_process import ConsoleProcess, console_running
from tests.support.running import Answer, Server, answer_of


def get(url: str, cookie: str = "") -> Answer:
    parts = urlsplit(url)
    assert parts.port is not None
    with closing(http.client.HTTPConnection("127.0.0.1", parts.port, timeout=30)) as connection:
        path = f"{parts.path or '/'}?{parts.query}"
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        return answer_of(connection.getresponse())


def enter(console: ConsoleProcess) -> str:
    """Open the newest link, and give the cookie that it gave."""
    answer = get(console.links()[-1])
    assert answer.status == 200
    return answer.headers["set-cookie"].partition(";")[0]


def found(console: ConsoleProcess, cookie: str, query: str) -> str:
    answer = get(f"{console.address}/search?{urlencode({'q': query})}", cookie)
    assert answer.status == 303, answer.body
    return answer.headers["location"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_console_ends_cleanly(
    store: SqliteStore, database: Path, number: signal.Signals
) -> None:
    order(store, "key-1")
    with console_running(database) as console:
        found(console, enter(console), "key-1")
        console.process.send_signal(number)
        assert console.process.wait(30) == 0
        printed = console.output.read_text()
    assert printed.endswith("The console has ended.\n")
    assert "Traceback" not in printed


def test_no_key_or_customer_that_was_searched_for_is_logged(
    store: SqliteStore, database: Path
) -> None:
    order(store, "secret-key", customer_id="secret-ann")
    with console_running(database) as console:
        cookie = enter(console)
        found(console, cookie, "secret-key")
        get(f"{console.address}/orders?customer=secret-ann", cookie)
        get(f"{console.address}/secret-path?q=secret", cookie)
        get(f"{console.address}/search?q={'secret' * 20_000}", cookie)
        console.process.send_signal(signal.SIGINT)
        console.process.wait(30)
        printed = console.output.read_text()
    lines = re.sub(r"/enter\?secret=\S+", "", printed)
    assert "secret" not in lines
    assert cookie.partition("=")[2] not in printed


def test_the_console_listens_only_on_the_loopback_address(
    store: SqliteStore, database: Path
) -> None:
    del store
    with console_running(database) as console:
        port = urlsplit(console.address).port
        listening = [
            line.split()[1]
            for file in ("/proc/net/tcp", "/proc/net/tcp6")
            for line in Path(file).read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
        ]
    assert listening == [f"0100007F:{port:04X}"]


def test_two_consoles_show_one_database_beside_a_service(server: Server, database: Path) -> None:
    server.order("key-1")
    with console_running(database) as one, console_running(database) as two:
        cookies = enter(one), enter(two)
        location = found(one, cookies[0], "key-1")
        assert found(two, cookies[1], "key-1") == location
        assert get(f"{two.address}/", cookies[0]).status == 401
        made = server.order("key-2").json["order_id"]
        assert found(one, cookies[0], "key-2") == f"/orders/{made}"
        # No snapshot is held between two pages, so the WAL can be reset.
        assert wal_can_be_reset(database)


def test_a_port_that_is_in_use_is_refused_with_one_line(store: SqliteStore, database: Path) -> None:
    del store
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = orderapi("console", "--port", str(taken.getsockname()[1]), database=database)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: cannot listen on 127.0.0.1:")
    assert done.stderr.endswith("choose another port with --port\n")
    assert done.stdout == ""


def test_a_database_that_is_missing_is_refused_with_one_line(tmp_path: Path) -> None:
    done = orderapi("console", "--port", "0", database=tmp_path / "missing.db")
    assert done.returncode == 2
    assert "No such file or directory" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_backup_is_shown_and_stays_as_it_was(store: SqliteStore, database: Path) -> None:
    made = order(store, "key-1").order_id
    backups = database.with_name("backups")
    backups.mkdir()
    backup = backed_up(database, backups / "orders-1.db")
    order(store, "later")
    with console_running(backup) as console:
        cookie = enter(console)
        assert found(console, cookie, "key-1") == f"/orders/{made}"
        assert b"Nothing has this id" in get(f"{console.address}/search?q=later", cookie).body
        assert get(f"{console.address}/orders/{made}", cookie).status == 200
        console.process.send_signal(signal.SIGINT)
        assert console.process.wait(30) == 0
    assert set(contents(backups)) - {"console-1.log"} == {"orders-1.db"}
    assert findings(backup) == []


def test_a_database_is_shown_that_this_user_may_only_read(
    store: SqliteStore, database: Path
) -> None:
    order(store, "key-1")
    store.close()
    subprocess.run(["chmod", "-R", "a-w", database.parent], check=True)
    try:
        log_directory = database.parent.parent
        linked = log_directory / f"{database.parent.name}-link.db"
        linked.symlink_to(database)
        with console_running(linked) as console:
            assert found(console, enter(console), "key-1").startswith("/orders/")
    finally:
        subprocess.run(["chmod", "-R", "u+w", database.parent], check=True)
        linked.unlink()
