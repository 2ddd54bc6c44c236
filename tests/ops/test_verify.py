"""`orderapi verify` passes against servers that are right."""

import os
import pty
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orderapi.ops.target import ServerAnswer, Target
from orderapi.ops.verify import OK, new_trials, verify
from tests.support.engines import ENGINES, Engine
from tests.support.front import CREATE, FAIL, ROWS, STEPS, body, fronted, line, run, verdicts
from tests.support.running import Server, environ_with, serving
from tests.support.tokens import create

TOKEN = "oa_c2VjcmV0LXRva2Vu"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, engine_name: str) -> Iterator[Server]:
    """A right server, with fault injection."""
    directory = tmp_path_factory.mktemp("live")
    engine = ENGINES[engine_name](directory)
    with serving(directory, engine) as running:
        yield running
    engine.remove()


def test_a_right_server_passes_every_step_in_each_run(live: Server) -> None:
    before = live.counts()
    for _ in range(2):
        result = run(live.url)
        assert result.exit_code == 0, result.output
        assert verdicts(result) == dict.fromkeys(STEPS, "ok")
        assert "verified: 6 ok" in result.stdout
    # Each run leaves two orders.
    assert live.counts() == {table: count + 4 for table, count in before.items()}


def test_every_line_says_what_was_expected_and_seen(live: Server) -> None:
    result = run(live.url)
    for name in STEPS:
        assert re.search(r": expected \d{3} .*; saw \d{3}, ", line(result, name))
    assert "saw 409, /problems/idempotency-key-reused" in line(result, "step 3")
    assert "saw 500, /problems/simulated-failure" in line(result, "step 4")


def test_with_the_database_the_rows_are_checked(live: Server) -> None:
    result = run(live.url, "--database", live.engine.url_text)
    assert result.exit_code == 0, result.output
    assert verdicts(result) == dict.fromkeys(STEPS + ROWS, "ok")
    assert "SELECT" not in result.stdout


def test_without_the_database_sql_is_printed_that_runs_as_it_is(live: Server) -> None:
    result = run(live.url)
    (sql,) = re.findall(r"^SELECT.*?;$", result.stdout, re.M | re.S)
    rows = live.rows(sql)
    assert [row[1:] for row in rows] == [(1, 1, 1)] * 2
    assert all(row[0] in result.stdout for row in rows)


def test_without_fault_injection_two_steps_are_skipped_and_two_orders_are_made(
    tmp_path: Path, engine: Engine
) -> None:
    with serving(tmp_path, engine, FAULT_INJECTION="off") as server:
        result = run(server.url, "--database", server.engine.url_text)
        assert result.exit_code == 0, result.output
        assert verdicts(result) == dict.fromkeys(STEPS + ROWS, "ok") | {
            "step 4": "skipped",
            "step 5": "skipped",
        }
        for name in ("step 4", "step 5"):
            assert "fault injection is off" in line(result, name)
        assert set(server.counts().values()) == {2}


def test_a_lost_answer_counts_as_the_failure_after_the_commit(live: Server) -> None:
    is_over = threading.Event()

    def keep_waiting(answer: ServerAnswer) -> ServerAnswer:
        is_over.wait(60)
        return answer

    with fronted(live) as front:
        front.answers[FAIL] = keep_waiting
        # This is long enough for a right answer on a busy machine.
        results = list(verify(Target(front.url, timeout_s=5), new_trials()))
        is_over.set()
    assert [result.verdict for result in results] == [OK] * 6
    assert results[3].seen.startswith("no answer within 5 s; order ")


# The token.


@pytest.mark.parametrize("source", ["environment", "file"])
def test_the_token_is_sent_and_never_shown(live: Server, tmp_path: Path, source: str) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(f"{TOKEN}\n")
    with fronted(live) as front:
        # This server sends the token back.
        front.answers[CREATE] = body(f"Bearer {TOKEN}".encode())
        if source == "file":
            result = run(front.url, "--token-file", str(token_file), TOKEN="another")
        else:
            result = run(front.url, TOKEN=TOKEN)
        sent = {headers.get("Authorization") for _, _, headers in front.requests}
    assert sent == {f"Bearer {TOKEN}"}
    assert TOKEN not in result.output
    assert "Bearer [token]" in line(result, "step 1")


def test_the_token_is_read_from_stdin(live: Server) -> None:
    with fronted(live) as front:
        result = run(front.url, "--token-file", "-", stdin=f"{TOKEN}\n")
        sent = {headers.get("Authorization") for _, _, headers in front.requests}
    assert result.exit_code == 0, result.output
    assert sent == {f"Bearer {TOKEN}"}


def test_at_a_terminal_the_command_asks_for_the_token_and_does_not_show_it(live: Server) -> None:
    command = [str(Path(sys.executable).parent / "orderapi"), "verify"]
    master, terminal = pty.openpty()
    with fronted(live) as front:
        process = subprocess.Popen(
            [*command, front.url, "--token-file", "-"],
            env=environ_with(),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            # The command reads the token from a terminal of its own, not from that of the tests.
            start_new_session=True,
        )
        os.close(terminal)
        shown = b""
        # On Linux, reading fails with EIO when the other end is closed.
        with suppress(OSError):
            while chunk := os.read(master, 4096):
                if b"Token: " in chunk:
                    os.write(master, f"{TOKEN}\n".encode())
                shown += chunk
        os.close(master)
        sent = {headers.get("Authorization") for _, _, headers in front.requests}
    assert process.wait(30) == 0, shown
    assert sent == {f"Bearer {TOKEN}"}
    assert TOKEN.encode() not in shown


def test_where_a_token_is_required_the_first_step_says_so(tmp_path: Path, engine: Engine) -> None:
    with serving(tmp_path, engine, AUTH="required") as server:
        refused = run(server.url)
        assert refused.exit_code == 1
        assert line(refused, "step 1").endswith(
            "but the server requires a valid token (see --token-file)"
        )
        assert verdicts(refused) == dict.fromkeys(STEPS, "skipped") | {"step 1": "FAILED"}
        assert "SELECT" not in refused.stdout  # there are no rows to count
        _, readable = create(server.engine, "shop", "read")
        forbidden = run(server.url, "--token-file", "-", stdin=readable)
        assert line(forbidden, "step 1").endswith(
            "but the token does not have the scope write; this check needs read and write"
        )
        _, token = create(server.engine, "shop")
        result = run(
            *(server.url, "--token-file", "-", "--database", server.engine.url_text),
            stdin=token,
        )
    assert result.exit_code == 0, result.output
    assert verdicts(result) == dict.fromkeys(STEPS + ROWS, "ok")


def test_without_a_token_none_is_sent(live: Server) -> None:
    with fronted(live) as front:
        assert run(front.url).exit_code == 0
        assert all("Authorization" not in headers for _, _, headers in front.requests)


def test_https_means_tls() -> None:
    first_bytes: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                first_bytes.append(connection.recv(3))
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        result = run(f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert result.exit_code == 1
    assert "saw no answer" in line(result, "step 1")
    # A TLS handshake record, RFC 8446 section 5.1.
    assert first_bytes[0][:2] == b"\x16\x03"


def test_a_path_in_the_url_is_kept(live: Server) -> None:
    with fronted(live) as front:
        result = run(f"{front.url}/shop/")
        assert {path.partition("?")[0] for _, path, _ in front.requests} == {"/shop/orders"}
    # The right server has no such path.
    assert "saw 404, /problems/not-found" in line(result, "step 1")
